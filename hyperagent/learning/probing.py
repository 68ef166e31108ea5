"""Executions that a probe policy is learned from: the probe alone, and each topology after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hyperagent.hypergraph import Hypergraph
from hyperagent.learning.alone import column, sample_rows, seat_alone
from hyperagent.tasks import Task
from hyperagent.team import Agent
from hyperagent.topology.outcomes import Execute, Objective, Outcome
from hyperagent.topology.probe import Probes, with_probe
from hyperagent.topology.replies import content_hashes

MOST_BRANCHES = 3
"""Topologies that may follow the probe: each has to be executed on every question learned from."""


TRIED = 0.25
"""Share of the executions in which all topologies are tried, where there are more than that."""


def ways_on(
    agents: Sequence[Agent], probe: str, branches: Sequence[Hypergraph]
) -> list[Hypergraph]:
    """The probe alone, and the probe followed by each branch."""
    return [seat_alone(agents)[probe], *(with_probe(branch, probe) for branch in branches)]


def ask_probe(
    ways: Sequence[Hypergraph],
    tasks: Sequence[Task],
    execute: Execute,
    executions: int,
    *,
    price: float,
    scale: float,
    objective: Objective = "tokens",
    known: Mapping[tuple[str, str], Outcome] | None = None,
    seed: int = 0,
) -> tuple[tuple[int, ...], tuple[Task, ...]]:
    """Try all ways on, then execute the best of them for as many questions as there can be.

    The best are those that bring most where the probe alone is wrong, for that is where they are
    meant to be opened.

    Parameters
    ----------
    ways : sequence of Hypergraph
        As `ways_on` gives them.
    tasks : sequence of Task
    execute : Execute
    executions : int
        At most.
    price, scale, objective
        Reward is ``correct - price * cost / scale``.
    known : mapping of (str, str) to Outcome, optional
        What was executed before, by the task's id and the digest of the hypergraph.
    seed : int

    Returns
    -------
    kept : tuple of int
        Places in `ways`, the probe alone first.
    asked : tuple of Task
        All of them were answered in every way that was kept.
    """
    known = known or {}
    kept = tuple(range(len(ways)))
    tried = 0

    def every(task: Task) -> list[Outcome]:
        found = (known.get((task.id, ways[i].digest())) for i in kept)
        return [
            execute(task, ways[i], seed) if outcome is None else outcome
            for i, outcome in zip(kept, found, strict=True)
        ]

    if len(ways) > MOST_BRANCHES + 1:
        tried = max(1, int(TRIED * executions) // len(ways))
        rows = [every(task) for task in tasks[:tried]]
        rewards = np.array([[o.reward(price, scale, objective) for o in row] for row in rows])
        gains = rewards - rewards[:, :1]
        wrong = np.array([row[0].correct < 1 for row in rows])
        worth = gains[wrong].sum(axis=0) if wrong.any() else gains.sum(axis=0)
        best = sorted(kept[1:], key=lambda i: -worth[i])[:MOST_BRANCHES]
        kept = (0, *sorted(best))
    left = (executions - tried * len(ways)) // len(kept)
    asked = tuple(tasks[: tried + left])
    for task in asked[tried:]:
        every(task)
    return kept, asked


def read_probes(
    samples: Mapping[str, Mapping[str, Any]],
    ways: Sequence[Hypergraph],
    tasks: Sequence[Task],
    *,
    seed: int = 0,
) -> Probes:
    """What the probe said and where each way led, as `ProbePolicy.learn` takes it.

    Parameters
    ----------
    samples : mapping of str to mapping
        Lines of ``samples.jsonl`` by their item, as `ask_probe` leaves them in a run folder.
    ways : sequence of Hypergraph
        The probe alone first.
    tasks : sequence of Task
        All of them were asked in every way.
    seed : int
        That of the run.
    """
    rows = sample_rows(samples, ways, tasks, seed)
    asked = column(rows, "prompt_tokens", np.float64)
    return Probes(
        tuple(task.question for task in tasks),
        tuple(row[0].get("text", "") for row in rows),
        tuple(row[0]["answer"] for row in rows),
        content_hashes(tasks),
        column(rows, "correct", np.float64),
        asked + column(rows, "completion_tokens", np.float64),
        column(rows, "price", np.float64),
    )
