"""Splits by content: one question can never be in two of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from hyperagent.errors import TaskError
from hyperagent.tasks.task import Task

PARTS: Mapping[str, float] = {"train": 0.6, "validation": 0.2, "test": 0.2}
"""Share of each part in `split_by_hash`."""


def part_of(task: Task, parts: Mapping[str, float] = PARTS) -> str:
    """Name of the part that a task belongs to, decided by its content hash alone.

    The first 64 bits of the hash are a uniform number in [0, 1) that falls into one of the
    intervals of `parts`; neither the other tasks nor their order matter.
    """
    if any(share < 0 for share in parts.values()) or not math.isclose(sum(parts.values()), 1.0):
        raise TaskError(f"the shares of a split must be >= 0 and sum to 1, got {dict(parts)}")
    place, upper = int(task.content_hash()[:16], 16) / 2**64, 0.0
    for name, share in parts.items():
        upper += share
        if place < upper:
            return name
    return next(name for name in reversed(parts) if parts[name] > 0)


def split_by_hash(
    tasks: Iterable[Task], parts: Mapping[str, float] = PARTS
) -> dict[str, tuple[Task, ...]]:
    """Divide tasks by the hash of their content.

    Parameters
    ----------
    tasks : iterable of Task
    parts : mapping of str to float
        Share of each part; they sum to 1.

    Returns
    -------
    dict of str to tuple of Task
        Every part, also an empty one, in the order of `parts`; tasks keep their order.
    """
    divided: dict[str, list[Task]] = {name: [] for name in parts}
    for task in tasks:
        divided[part_of(task, parts)].append(task)
    return {name: tuple(members) for name, members in divided.items()}
