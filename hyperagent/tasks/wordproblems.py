"""Arithmetic word problems made on the spot: no file, no licence, any number of them.

A problem is a story (`stories`) with events chosen and numbers drawn at random; its difficulty
is the number of calculations, 1 to 8. The splits use different stories, so that what is learned
on one split cannot be a template of another.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hyperagent.errors import DataError, UnknownNameError
from hyperagent.tasks.data import TaskSet
from hyperagent.tasks.stories import NAMES, SPLITS, Event, Story, stories
from hyperagent.tasks.task import Task

STEPS = range(1, 9)
"""Difficulties: numbers of calculations."""
SPLIT_SIZE = 300
"""Problems of a split as `load` gives them."""
_LARGEST = 5000
_LINKS = ("", "", "", "Then ", "After that, ", "Later, ", "The next day, ")


@dataclass
class _Draft:
    """A problem in the making: its sentences, its calculations and the present quantity."""

    quantity: int
    sentences: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def calculate(self, left: int, sign: str, right: int, things: str) -> int:
        result = {"+": left + right, "-": left - right, "*": left * right}.get(sign)
        result = left // right if result is None else result
        shown = f"{left}{sign}{right}={result}"
        self.lines.append(f"{left} {sign} {right} = <<{shown}>>{result} {things}")
        return result


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
        Whose stories to tell.
    seed : int
        The same seed gives the same problems; a larger `count` only appends.
    steps : iterable of int
        Difficulties, taken in turn.

    Returns
    -------
    tuple of Task
        Kind ``"number"``; ``meta`` holds ``steps``, ``template`` and ``solution``, whose lines
        mark each calculation as ``<<12-5=7>>`` and end with ``#### answer``.
    """
    if split not in SPLITS:
        raise UnknownNameError("split of wordproblems", split, SPLITS)
    wanted = tuple(steps)
    if not wanted or not all(number in STEPS for number in wanted):
        raise DataError(f"steps must be numbers from 1 to 8, got {wanted}")
    rng = random.Random(f"{seed}/{split}")
    tasks: list[Task] = []
    seen: set[str] = set()
    while len(tasks) < count:
        number = wanted[len(tasks) % len(wanted)]
        task = _problem(
            rng, rng.choice(stories()[split]), number, f"{split}_{seed}_{len(tasks):05d}"
        )
        if task is not None and task.content_hash() not in seen:
            seen.add(task.content_hash())
            tasks.append(task)
    return tuple(tasks)


def _problem(rng: random.Random, story: Story, steps: int, label: str) -> Task | None:
    """One problem with exactly `steps` calculations, or None if the draw led nowhere."""
    who, friend = rng.sample(NAMES, 2)
    names = {"who": who, "friend": friend}
    start = rng.randint(12, 90)
    draft = _Draft(start, [rng.choice(story.start).format(n=start, **names)])
    priced = bool(story.price) and rng.random() < 0.4
    left, before = steps - priced, None
    while left:
        event = _choose(rng, story.events, left, before)
        sentence = None if event is None else _happen(rng, draft, event, story.things, names)
        if event is None or sentence is None:
            return None
        # A name or a number may follow the link; other words lose their capital.
        link = rng.choice(_LINKS) if before else ""
        keep = sentence.startswith((who, friend)) or not link
        draft.sentences.append(link + (sentence if keep else sentence[0].lower() + sentence[1:]))
        left, before = left - event.steps, event
    if priced:
        price = rng.randint(2, 9)
        draft.sentences.append(rng.choice(story.price).format(n=price, **names))
        draft.quantity = draft.calculate(draft.quantity, "*", price, "dollars")
    else:
        draft.sentences.append(rng.choice(story.ask).format(**names))
    return Task(
        question=" ".join(draft.sentences),
        id=f"wordproblems_{label}",
        answer=str(draft.quantity),
        meta={
            "steps": steps,
            "template": story.name,
            "solution": "\n".join([*draft.lines, f"#### {draft.quantity}"]),
        },
    )


def _choose(
    rng: random.Random, events: Sequence[Event], left: int, before: Event | None
) -> Event | None:
    fitting = [event for event in events if event.steps <= left and event is not before]
    return rng.choice(fitting) if fitting else None


def _happen(
    rng: random.Random, draft: _Draft, event: Event, things: str, names: dict[str, str]
) -> str | None:
    """Draw the event's numbers, change the quantity, and return the sentence."""
    now, many = draft.quantity, 0
    if event.kind == "*":
        n = rng.randint(2, 4)
        if now * n > _LARGEST:
            return None
    elif event.kind == "/":
        divisors = [d for d in range(2, 8) if now % d == 0 and now // d > 1]
        if not divisors:
            return None
        n = rng.choice(divisors)
    elif event.kind in ("+", "-"):
        if event.kind == "-" and now < 6:
            return None
        n = rng.randint(2, 60 if event.kind == "+" else min(now - 2, 60))
    else:
        if event.kind[0] == "-" and now < 8:
            return None
        n = rng.randint(2, 6)
        most = 12 if event.kind[0] == "+" else min(12, (now - 2) // n)
        if most < 2:
            return None
        many = rng.randint(2, most)
    by = draft.calculate(n, "*", many, things) if many else n
    draft.quantity = draft.calculate(now, event.kind[0], by, things)
    return rng.choice(event.forms).format(n=n, m=many, **names)


class _WordProblems:
    """The generator as a data set."""

    name = "wordproblems"
    splits = SPLITS

    def load(
        self,
        split: str,
        *,
        data_dir: str | os.PathLike[str] | None = None,
        limit: int | None = None,
        download: bool = False,
    ) -> TaskSet:
        """The first `limit` of `SPLIT_SIZE` problems; there is nothing to find or download."""
        tasks = generate(SPLIT_SIZE if limit is None else min(limit, SPLIT_SIZE), split=split)
        content = json.dumps([[task.question, task.answer] for task in tasks]).encode()
        return TaskSet(
            self.name,
            split,
            tasks,
            hashlib.sha256(content).hexdigest(),
            ("numeric", "strict", "flexible"),
            source="hyperagent.tasks.wordproblems, seed 0",
            licence="Apache-2.0",
        )


WORDPROBLEMS = _WordProblems()
