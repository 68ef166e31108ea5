"""Chats of the first stage: a problem, its solution in steps, the note with the answer."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import corpora
import overlap
from examples import Chat, note
from marks import Example
from noise import noisy, renamed
from vary import vary

from hyperagent.tasks import Task
from hyperagent.tasks.wordproblems import stream

STEPS = (1,) * 7 + (2,) * 9 + (3,) * 6 + (4,) * 3 + (5, 6, 7, 8)
"""Lengths of generated problems, as often as they stand here."""
SHARES = {"generated": 0.875, "gsm8k": 0.12, "aqua": 0.005}
"""Share of each source among the chats."""
_VARIED = 0.8
"""Share of GSM8K's problems that get new numbers, where that is possible."""
_MARK = re.compile(r"<<[^<>]*>>-?[\d.]*\d")
_LABEL = 3
"""Most words of a label."""
_WORD = re.compile(
    r"\b(?!(?:an?|the|is|are|was|were|be|by|of|for|and|to|so|then|which|that|if|at|on|it|as|will|has"
    r"|have|had|he|she|they|his|her|their|this|there|because|than|with)\b)[^\W\d_]+(?:['-][^\W\d_]+)*",
    re.IGNORECASE,
)


def work_of(task: Task) -> str:
    """The solution of a generated problem without its last line."""
    solution: str = task.meta["solution"]
    return solution.rsplit("\n", 1)[0]


def terse(example: Example) -> Example:
    """A public example with its work as the generator writes it: ``clips in May: <<48/2=24>>24``.

    The label is made of the words behind the value, else of those before it. Free prose would
    take most of a small model's capacity, and what it must learn is which numbers to combine.
    """
    lines = []
    for line in example.work.split("\n"):
        marks = list(_MARK.finditer(line))
        for place, mark in enumerate(marks):
            end = marks[place + 1].start() if place + 1 < len(marks) else len(line)
            begin = marks[place - 1].end() if place else 0
            behind = re.split(r"[.;,:(]", line[mark.end() : end], maxsplit=1)[0]
            label = (
                _WORD.findall(behind)[:_LABEL]
                or _WORD.findall(line[begin : mark.start()])[-_LABEL:]
            )
            lines.append(f"{' '.join(label).lower() or 'so'}: {mark[0]}")
    return replace(example, work="\n".join(lines)) if lines else example


def chat_of(question: str, work: str, answer: str, kind: str) -> Chat:
    """A chat without a system message."""
    return Chat("", question, f"{work}\n{note(answer)}", kind)


class Words:
    """Draws chats from the generator and the public training sets.

    Parameters
    ----------
    data_dir : Path, optional
        Training problems that share 13 words in a row with a test set are left out, also if
        only the numbers differ.
    """

    def __init__(self, data_dir: Path | None = None) -> None:
        tests = overlap.held_out(data_dir)
        self.pools: dict[str, Sequence[Example]] = {
            "gsm8k": overlap.drop(corpora.gsm8k(data_dir), tests, masked=True),
            "aqua": overlap.drop(corpora.aqua(data_dir), tests, masked=True),
        }

    def draw(self, rng: random.Random, count: int) -> list[Chat]:
        """`count` chats; those of the generator are new in every call."""
        kinds = rng.choices(list(SHARES), list(SHARES.values()), k=count)
        wanted = [rng.choice(STEPS) for kind in kinds if kind == "generated"]
        made = iter(stream(split="train", seed=rng.getrandbits(48), steps=wanted or (1,)))
        chats = [
            self._generated(next(made), rng) if kind == "generated" else self._shown(kind, rng)
            for kind in kinds
        ]
        return [replace(chat, user=noisy(chat.user, rng)) for chat in chats]

    @staticmethod
    def _generated(task: Task, rng: random.Random) -> Chat:
        question, work = renamed(task.question, work_of(task), rng)
        return chat_of(question, work, task.answer or "", f"s{task.meta['steps']}")

    def public(self, kind: str, rng: random.Random) -> Example:
        """An example of a public training set in terse form, GSM8K's mostly with new numbers."""
        example = rng.choice(self.pools[kind])
        if kind == "gsm8k" and rng.random() < _VARIED:
            example = vary(example, rng) or example
        return terse(example)

    def _shown(self, kind: str, rng: random.Random) -> Chat:
        example = self.public(kind, rng)
        question, work = renamed(example.question, example.work, rng)
        return chat_of(question, work, example.answer, kind)
