"""Intervals and paired tests for accuracies: small, exact where exact is possible.

The unit of every test here is the question. Several seeds of one question are not independent, so
they are averaged first; pooling them would make every interval too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

Z95 = 1.959963984540054
"""Quantile of the standard normal distribution that leaves 2.5 % above it."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % confidence interval.

    Attributes
    ----------
    value, low, high : float
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def wilson(successes: float, n: int, *, z: float = Z95) -> Interval:
    """Score interval of a proportion (Wilson 1927).

    Parameters
    ----------
    successes : float
        Between 0 and `n`; a fraction when several seeds of a question were averaged.
    n : int
        Independent trials. With 0 of them nothing is known: the interval is [0, 1] and the value
        is nan.
    z : float
        Normal quantile; the default gives 95 %.
    """
    if n < 0 or not 0 <= successes <= n:
        raise ValueError(f"successes must lie in [0, n], got {successes!r} of {n!r}")
    if n == 0:
        return Interval(math.nan, 0.0, 1.0)
    p = successes / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At p = 0 and p = 1 the exact bound is 0 or 1; rounding must not move it inwards.
    low = 0.0 if successes == 0 else max(0.0, (centre - half) / scale)
    high = 1.0 if successes == n else min(1.0, (centre + half) / scale)
    return Interval(p, low, high)


def mcnemar(first_only: int, second_only: int) -> float:
    """Exact two-sided McNemar test (McNemar 1947, with the binomial distribution).

    Parameters
    ----------
    first_only, second_only : int
        Questions that only the first, only the second method gets right.

    Returns
    -------
    float
        p-value of the hypothesis that both kinds are equally likely; 1 without such questions.
    """
    if first_only < 0 or second_only < 0:
        raise ValueError(f"counts must be >= 0, got {first_only!r} and {second_only!r}")
    n, k = first_only + second_only, min(first_only, second_only)
    tail, binomial = 0, 1
    for i in range(k + 1):
        tail += binomial
        binomial = binomial * (n - i) // (i + 1)
    # Integers are exact here; a float of 2**n would overflow beyond n = 1023.
    return min(1.0, 2 * tail / (1 << n))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for testing several hypotheses at once (Holm 1979), in the given order."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def mean_by_question(
    outcomes: Iterable[tuple[Hashable, float]],
) -> dict[Hashable, float]:
    """Mean outcome of each question over its seeds.

    Parameters
    ----------
    outcomes : iterable of (question, value)
    """
    found: dict[Hashable, list[float]] = {}
    for question, value in outcomes:
        found.setdefault(question, []).append(float(value))
    return {question: sum(values) / len(values) for question, values in found.items()}


def bootstrap_mean(values: Sequence[float], *, rounds: int = 2000, seed: int = 0) -> Interval:
    """Percentile bootstrap of a mean over questions (Efron 1979).

    For a paired comparison the values are the differences per question.

    Parameters
    ----------
    values : sequence of float
    rounds : int
        Resamples.
    seed : int
        Equal seeds give equal intervals.
    """
    n = len(values)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan)
    import numpy as np

    # Few distinct values: drawing how often each occurs is the same as drawing the questions.
    distinct, counts = np.unique(np.asarray(values, dtype=np.float64), return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(n, counts / n, size=rounds)
    low, high = np.quantile(drawn @ distinct / n, (0.025, 0.975))
    return Interval(sum(values) / n, float(low), float(high))


@dataclass(frozen=True, slots=True)
class Comparison:
    """One method against another on the same questions.

    Attributes
    ----------
    questions : int
        Questions that both answered.
    difference : Interval
        Mean difference (first minus second) with its paired bootstrap interval.
    better, worse : int
        Questions on which the first does better, worse.
    p : float
        Exact McNemar p-value; with several seeds the sign test on the mean differences per
        question, which is the same test when there is one seed.
    """

    questions: int
    difference: Interval
    better: int
    worse: int
    p: float


def compare(first: Mapping[Hashable, float], second: Mapping[Hashable, float]) -> Comparison:
    """Compare two methods question by question.

    Parameters
    ----------
    first, second : mapping of question to float
        Mean outcome over seeds; only questions in both are used.
    """
    # Sorted, so that the bootstrap does not depend on the order in which tasks finished.
    shared = sorted(set(first) & set(second), key=str)
    differences = [first[q] - second[q] for q in shared]
    better = sum(d > 1e-12 for d in differences)
    worse = sum(d < -1e-12 for d in differences)
    return Comparison(
        len(shared), bootstrap_mean(differences), better, worse, mcnemar(better, worse)
    )


def inside_noise(adjusted_p: float, comparison: Comparison, *, level: float = 0.05) -> bool:
    """Whether a difference must not be called one.

    It counts only if the test, adjusted for the number of comparisons, and the interval agree.
    """
    straddles = comparison.difference.low <= 0 <= comparison.difference.high
    return comparison.questions == 0 or adjusted_p >= level or straddles
