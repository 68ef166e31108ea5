"""Schedules: the published tables, the ends, the joins, and refused tables."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperagent.errors import SparsityError
from hyperagent.sparsity.schedules import (
    Constant,
    Cosine,
    Exponential,
    Linear,
    SineStages,
    schedules,
)

# ProSparse, LLaMA2-7B: stage 0 ends at 5000 (arXiv 2402.13516, table of hyper-parameters).
ENDS = (6000, 10000, 12000, 16000, 16500)
PEAKS = (5e-3, 5e-2, 5e-2, 2e-1, 2e-1)


def test_prosparse_table_of_the_paper() -> None:
    lam = SineStages(ENDS, PEAKS, silent=5000)
    assert [lam(t) for t in (0, 1, 4999, 5000)] == [0.0] * 4
    assert {lam(t) for t in range(5001, 6001)} == {5e-3}
    for end, peak in zip(ENDS, PEAKS, strict=True):
        assert abs(lam(end) - peak) <= 1e-12
        assert abs(lam(end + 1) - lam(end)) < 1e-6 * PEAKS[-1]
    values = [lam(t) for t in range(17000)]
    assert all(b >= a for a, b in itertools.pairwise(values))
    for i in range(1, len(ENDS)):
        middle = (ENDS[i - 1] + ENDS[i]) // 2
        assert abs(lam(middle) - (PEAKS[i - 1] + PEAKS[i]) / 2) < 1e-9
    assert lam(10**9) == PEAKS[-1]


def test_the_sine_is_the_formula_of_the_paper() -> None:
    lam = SineStages((10, 50), (0.2, 1.0))
    for t in range(11, 51):
        eta = 0.5 * (math.sin(-math.pi / 2 + math.pi * (t - 10) / 40) + 1)
        assert lam(t) == pytest.approx(0.2 + eta * 0.8, abs=1e-12)


def test_one_stage_is_a_constant() -> None:
    lam = SineStages([100], [0.3])
    assert (lam(0), lam(1), lam(100), lam(101)) == (0.0, 0.3, 0.3, 0.3)


@pytest.mark.parametrize(
    ("ends", "peaks", "silent"),
    [
        ((), (), 0),
        ((10, 20), (1.0,), 0),
        ((20, 10), (0.1, 0.2), 0),
        ((10, 10), (0.1, 0.2), 0),
        ((10, 20), (0.2, 0.1), 0),
        ((10, 20), (-0.1, 0.1), 0),
        ((10, 20), (0.1, math.nan), 0),
        ((10, 20), (0.1, math.inf), 0),
        ((10, 20), (0.1, 0.2), 10),
        ((10.5, 20), (0.1, 0.2), 0),
    ],
)
def test_bad_tables_are_refused(ends, peaks, silent) -> None:
    with pytest.raises(SparsityError, match=r"ends|peaks"):
        SineStages(ends, peaks, silent)


@given(
    start=st.floats(0, 10),
    end=st.floats(0, 10),
    steps=st.integers(1, 500),
    delay=st.integers(0, 50),
    kind=st.sampled_from([Linear, Cosine]),
)
def test_ramps_meet_their_ends_and_stay_between(start, end, steps, delay, kind) -> None:
    ramp = kind(start, end, steps, delay)
    assert ramp(0) == ramp(delay) == start
    assert ramp(delay + steps) == ramp(delay + steps + 7) == end
    values = [ramp(t) for t in range(delay, delay + steps + 1)]
    low, high = sorted((start, end))
    slack = 1e-12
    assert all(low - slack <= v <= high + slack for v in values)
    steps_taken = [b - a for a, b in itertools.pairwise(values)]
    assert all(d * (end - start) >= -slack for d in steps_taken)


def test_cosine_is_flat_at_its_ends_and_linear_is_not() -> None:
    cosine, line = Cosine(0.0, 1.0, 1000), Linear(0.0, 1.0, 1000)
    assert cosine(1) < 1e-5
    assert 1 - cosine(999) < 1e-5
    assert line(1) == pytest.approx(1e-3)
    assert cosine(500) == pytest.approx(0.5)


def test_exponential_ramp() -> None:
    ramp = Exponential(50000.0, 200)
    assert ramp(0) == 0.0
    assert ramp(200) == ramp(900) == 50000.0
    assert ramp(100) == pytest.approx(50000 * (math.e**0.5 - 1) / (math.e - 1))
    nearly_straight = Exponential(1.0, 10, alpha=1e-6)
    assert nearly_straight(3) == pytest.approx(0.3, abs=1e-6)


def test_schedules_have_names_values_and_no_state() -> None:
    assert schedules.names() == ["constant", "cosine", "exponential", "linear", "sine_stages"]
    made = schedules.get("linear")(start=1.0, end=0.0, steps=4)
    assert made == Linear(1.0, 0.0, 4)
    assert [made(t) for t in (3, 0, 3)] == [0.25, 1.0, 0.25]
    assert "steps=4" in repr(made)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Constant(-1.0), "value"),
        (lambda: Linear(0.0, math.nan, 3), "end"),
        (lambda: Linear(0.0, 1.0, 0), "steps"),
        (lambda: Cosine(0.0, 1.0, 3, delay=-1), "delay"),
        (lambda: Exponential(1.0, 3, alpha=0.0), "alpha"),
    ],
)
def test_bad_numbers_name_the_argument(make, name) -> None:
    with pytest.raises(SparsityError, match=name):
        make()
