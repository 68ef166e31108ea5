"""Statistics against published values and against scipy."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperagent.bench import statistics as s


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe (1998), table I, method 3 (score without continuity correction).
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_matches_newcombe(successes: int, n: int, low: float, high: float) -> None:
    found = s.wilson(successes, n)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_matches_scipy(counts: tuple[int, int]) -> None:
    stats = pytest.importorskip("scipy.stats")
    k, n = counts
    expected = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    found = s.wilson(k, n)
    assert math.isclose(found.low, expected.low, abs_tol=1e-9)
    assert math.isclose(found.high, expected.high, abs_tol=1e-9)
    assert found.low <= found.value <= found.high


def test_wilson_without_trials_knows_nothing() -> None:
    found = s.wilson(0, 0)
    assert math.isnan(found.value)
    assert (found.low, found.high) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "n"), [(-1, 3), (4, 3), (0, -1)])
def test_wilson_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="successes"):
        s.wilson(successes, n)


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_matches_binomial_test(b: int, c: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert math.isclose(s.mcnemar(b, c), expected, rel_tol=1e-9)


def test_mcnemar_survives_thousands_of_discordant_pairs() -> None:
    assert s.mcnemar(3000, 3000) == 1.0
    assert 0 < s.mcnemar(2800, 3200) < 1e-6


def test_holm_matches_a_hand_computed_case() -> None:
    assert s.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert s.holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_only_raises_and_keeps_the_order(p: list[float]) -> None:
    adjusted = s.holm(p)
    assert all(a >= b or math.isclose(a, b) for a, b in zip(adjusted, p, strict=True))
    assert all(0 <= a <= 1 for a in adjusted)
    order = sorted(range(len(p)), key=p.__getitem__)
    assert [adjusted[i] for i in order] == sorted(adjusted)


def test_seeds_are_averaged_per_question() -> None:
    assert s.mean_by_question([("a", 1), ("a", 0), ("b", 1)]) == {"a": 0.5, "b": 1.0}


def test_bootstrap_agrees_with_the_normal_interval_and_is_repeatable() -> None:
    draw = random.Random(5)
    values = [draw.choice([-1.0, 0.0, 0.0, 0.0, 1.0, 1.0]) for _ in range(400)]
    found = s.bootstrap_mean(values, seed=3)
    assert found == s.bootstrap_mean(values, seed=3)
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values) / len(values))
    assert found.value == pytest.approx(mean)
    assert found.low == pytest.approx(mean - s.Z95 * spread, abs=0.25 * spread)
    assert found.high == pytest.approx(mean + s.Z95 * spread, abs=0.25 * spread)


def test_bootstrap_interval_covers_at_its_nominal_rate() -> None:
    draw = random.Random(11)
    hits = 0
    for round_ in range(100):
        values = [float(draw.random() < 0.7) for _ in range(80)]
        found = s.bootstrap_mean(values, rounds=300, seed=round_)
        hits += found.low <= 0.7 <= found.high
    assert 86 <= hits <= 100


def test_compare_uses_shared_questions_only() -> None:
    first = {"a": 1.0, "b": 1.0, "c": 0.0, "only first": 1.0}
    second = {"a": 0.0, "b": 1.0, "c": 1.0}
    found = s.compare(first, second)
    assert (found.questions, found.better, found.worse) == (3, 1, 1)
    assert found.difference.value == 0
    assert found.p == 1.0


def test_compare_does_not_depend_on_the_order_of_questions() -> None:
    first = {f"q{i}": float(i % 3 == 0) for i in range(50)}
    second = {f"q{i}": float(i % 5 == 0) for i in range(50)}
    backwards = dict(reversed(first.items()))
    assert s.compare(first, second) == s.compare(backwards, second)


def test_noise_verdict_needs_test_and_interval() -> None:
    ahead = s.compare(dict.fromkeys(range(30), 1.0), {i: float(i < 10) for i in range(30)})
    assert ahead.p < 1e-5
    assert not s.inside_noise(ahead.p, ahead)
    assert s.inside_noise(0.2, ahead)
    even = s.compare(dict.fromkeys(range(3), 1.0), dict.fromkeys(range(3), 1.0))
    assert s.inside_noise(even.p, even)
    assert s.inside_noise(0.0, s.compare({}, {}))
