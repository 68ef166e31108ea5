"""Noise in the wording never touches what decides the answer."""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path

from hyperagent.tasks.wordproblems import generate

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "pocket"))
from noise import noisy

KEPT = re.compile(r"\b(?:half|twice|more|fewer|each|third|percent|dozen|times)\b|\d+", re.I)


def deciding(question: str) -> list[str]:
    # "Every day" and "each day" say the same and stand for each other.
    return KEPT.findall(re.sub(r"\bevery\b", "each", question.lower()))


def test_numbers_and_deciding_words_stay_in_their_order() -> None:
    rng = random.Random(0)
    changed = 0
    for task in generate(400, split="train", seed=8):
        said = noisy(task.question, rng)
        assert deciding(said) == deciding(task.question)
        changed += said != task.question
    assert 250 < changed < 400


def test_the_same_draw_gives_the_same_words() -> None:
    question = "Ann buys 3 apples and gives 2 of them to a friend. How many apples are left?"
    first, second = (
        [noisy(question, rng) for _ in range(20)] for rng in (random.Random(4), random.Random(4))
    )
    assert first == second
    assert len(set(first)) > 5
