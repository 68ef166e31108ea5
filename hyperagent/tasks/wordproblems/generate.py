"""Arithmetic word problems made on the spot: no file, no licence, any number of them.

A problem is a schema (`schemas`: one situation told as a whole) or a chain (`chains`: one quantity
and what happens to it); its difficulty is the number of calculations, 1 to 8. The splits use
different frames, so that what is learned on one split cannot be a template of another.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from itertools import islice

from hyperagent.errors import DataError, UnknownNameError
from hyperagent.tasks.task import Task
from hyperagent.tasks.wordproblems.chains import tell_chain
from hyperagent.tasks.wordproblems.pieces import SPLITS, spell
from hyperagent.tasks.wordproblems.schemas import schemas, tell_schema

STEPS = range(1, 9)
"""Difficulties: numbers of calculations."""
LEVELS = {"easy": (1, 2), "medium": (3, 4), "hard": (5, 6, 7, 8)}
"""Numbers of calculations of each level."""
_SCHEMA_SHARE = 0.65
"""Share of schemas among problems as long as a schema can be."""
_IN_WORDS = 0.06
"""Share of problems that write their small numbers as words."""
_SMALL = re.compile(r"(?<![\w$/.,-])(\d{1,2})(?![\w%/:-]|[.,]\d)")
_WORDS = (
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)


def generate(
    count: int,
    *,
    split: str = "test",
    seed: int = 0,
    steps: Iterable[int] = STEPS,
) -> tuple[Task, ...]:
    """Make word problems.

    Parameters
    ----------
    count : int
        How many; no question occurs twice.
    split : {"train", "validation", "test"}
        Whose frames to tell.
    seed : int
        The same seed gives the same problems; a larger `count` only appends.
    steps : iterable of int
        Difficulties, taken in turn.

    Returns
    -------
    tuple of Task
        Kind ``"number"``; ``meta`` holds ``steps``, ``level``, ``skill``, ``template`` and
        ``solution``, whose lines mark each calculation as ``<<12-5=7>>`` and end with
        ``#### answer``.
    """
    return tuple(islice(stream(split=split, seed=seed, steps=steps), count))


def stream(*, split: str = "test", seed: int = 0, steps: Iterable[int] = STEPS) -> Iterator[Task]:
    """Word problems without end; see `generate`."""
    if split not in SPLITS:
        raise UnknownNameError("split of wordproblems", split, SPLITS)
    wanted = tuple(steps)
    if not wanted or not all(number in STEPS for number in wanted):
        raise DataError(f"steps must be numbers from 1 to 8, got {wanted}")
    return _stream(split, seed, wanted)


def _stream(split: str, seed: int, wanted: tuple[int, ...]) -> Iterator[Task]:
    rng = random.Random(f"{seed}/{split}")
    seen: set[bytes] = set()
    made = 0
    while True:
        task = _problem(rng, split, wanted[made % len(wanted)], f"{split}_{seed}_{made:05d}")
        if task is None:
            continue
        key = bytes.fromhex(task.content_hash())
        if key not in seen:
            seen.add(key)
            made += 1
            yield task


def _problem(rng: random.Random, split: str, steps: int, label: str) -> Task | None:
    """One problem with exactly `steps` calculations, or None if the draw led nowhere."""
    whole = steps in schemas(split) and rng.random() < _SCHEMA_SHARE
    told = (tell_schema if whole else tell_chain)(rng, split, steps)
    if told is None:
        return None
    draft, skill = told
    question, answer = " ".join(draft.sentences), spell(draft.quantity)
    if rng.random() < _IN_WORDS:
        question = _SMALL.sub(_word, question)
    return Task(
        question=question,
        id=f"wordproblems_{label}",
        answer=answer,
        meta={
            "steps": steps,
            "level": next(name for name, counts in LEVELS.items() if steps in counts),
            "skill": skill,
            "template": "+".join(draft.template),
            "solution": "\n".join([*draft.lines, f"#### {answer}"]),
        },
    )


def _word(match: re.Match[str]) -> str:
    number = int(match[1])
    return _WORDS[number - 2] if 2 <= number <= 12 and match[1][0] != "0" else match[0]
