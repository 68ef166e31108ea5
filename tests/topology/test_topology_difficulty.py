"""Difficulty features: fixed numbers, right counts, hardly any time."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

from hyperagent.tasks import load
from hyperagent.topology.difficulty import FEATURES, difficulty, raw_difficulty

QUESTION = (
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in "
    "May. How many clips did Natalia sell altogether in April and May?"
)


def column(text: str, name: str) -> float:
    return raw_difficulty(text)[FEATURES.index(name)].item()


@pytest.mark.parametrize(
    ("text", "name", "count"),
    [
        ("one two three", "log words", 3),
        ("He has 3,500 coins and 2.5 bags.", "log numbers", 2),
        ("He has 3,500 coins and 2.5 bags.", "log largest number", 3500),
        ("9" * 400, "log largest number", 1e12),
        ("It grew 5% and 1/2 more.", "log percents and fractions", 2),
        ("One. Two! Three? Pi is 3.14 today.", "log sentences", 4),
        ("If it rains, unless he hides", "log conditions", 2),
        ("more than twice as large", "log comparatives", 3),
        ("each day, 3 per box", "log rates", 2),
        ("It is not and was never", "log negations", 2),
        ("Which?\n(A) one\n(B) two\nC. three", "log options", 3),
        ("Why? And how?", "log question marks", 2),
        ("x + y = 2", "log symbols", 2),
        ("when Anna meets Bob", "log names", 2),
        ("and, but; so", "log clauses", 5),
    ],
)
def test_counts(text: str, name: str, count: float) -> None:
    assert column(text, name) == pytest.approx(np.log1p(count), rel=1e-6)


def test_code_is_seen() -> None:
    assert column("def f(x):\n    return x", "code") == 1
    assert column("What does `f(x)` return?", "code") == 1
    assert column(QUESTION, "code") == 0
    assert column("We return goods.", "code") == 0


def test_shape_and_fixed_values() -> None:
    row = difficulty(QUESTION)
    assert row.shape == (len(FEATURES),)
    assert row.dtype == np.float32
    assert np.array_equal(row, difficulty(QUESTION))
    # A literal: with another constant, saved networks would be wrong.
    assert row[0] == pytest.approx((np.log(31) - 3.362) / 0.624, abs=1e-5)


@pytest.mark.parametrize("text", ["", "?", "\n" * 100, "é" * 5000, "🙂 " * 500, "A" * 20000])
def test_any_text_gives_finite_bounded_numbers(text: str) -> None:
    row = difficulty(text)
    assert np.isfinite(row).all()
    assert np.abs(row).max() <= 5


@pytest.mark.skipif("HYPERAGENT_DATA" not in os.environ, reason="HYPERAGENT_DATA is not set")
def test_features_are_standardised_on_real_questions() -> None:
    rows = np.array([difficulty(task.question) for task in list(load("gsm8k", "train"))[500:800]])
    assert np.abs(rows.mean(0)).max() < 1.5
    assert (rows.std(0) < 2).all()
    assert (rows.std(0) > 0.3).sum() >= 11, "most columns vary on word problems alone"


def test_it_takes_microseconds() -> None:
    best = min(_seconds() for _ in range(5))
    assert best < 3 * 50e-6, "three times the goal, for a busy machine"


def _seconds() -> float:
    start = time.process_time()
    for _ in range(200):
        difficulty(QUESTION)
    return (time.process_time() - start) / 200
