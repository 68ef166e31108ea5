"""The guard of a learned topology: it ships only if it is surely better than the fixed ones.

Outcomes on the same validation tasks are compared pair by pair; the interval is the bootstrap of
the paired differences (Efron 1979). Nothing inside the noise is called a win.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hyperagent.errors import ConfigError
from hyperagent.topology.outcomes import Objective, Outcome


@dataclass(frozen=True)
class Verdict:
    """Whether a learned policy may replace what needs no learning.

    Attributes
    ----------
    shipped : bool
        False: fall back to a fixed topology.
    difference : float
        Mean reward of the learned policy minus that of the rival.
    low, high : float
        Bootstrap interval of `difference`.
    tokens_ratio : float
        Mean tokens of the learned policy over those of the rival.
    tasks : int
        On which the two were compared.
    rival : str
        Its name.
    reason : str
        One sentence.
    """

    shipped: bool
    difference: float
    low: float
    high: float
    tokens_ratio: float
    tasks: int
    rival: str
    reason: str


def judge(
    learned: Sequence[Outcome],
    rival: Sequence[Outcome],
    *,
    name: str = "best fixed",
    price: float,
    scale: float,
    objective: Objective = "tokens",
    budget: float | None = None,
    level: float = 0.95,
    rounds: int = 2000,
    seed: int = 0,
) -> Verdict:
    """Compare a learned policy with what it is to replace.

    Parameters
    ----------
    learned, rival : sequence of Outcome
        On the same tasks, in any order. Several outcomes of a task are averaged, so that the task
        stays the unit.
    name : str
        Of the rival.
    price, scale : float
        Reward is ``correct - price * cost / scale``.
    objective : {"tokens", "dollars"}
        What costs.
    budget : float, optional
        Mean tokens above which the policy does not ship, however good it is.
    level : float
        Of the two-sided interval, in (0, 1).
    rounds, seed : int
        Of the bootstrap; equal arguments give an equal verdict.

    Raises
    ------
    ConfigError
        If there are fewer than 2 tasks, the tasks differ, or `level` is no probability.
    """
    if not 0 < level < 1 or not scale > 0:
        raise ConfigError(f"level in (0, 1) and scale > 0 are needed, got {level!r}, {scale!r}")
    ours = _by_task(learned, price, scale, objective)
    theirs = _by_task(rival, price, scale, objective)
    tasks = sorted(ours)
    if set(theirs) != set(ours):
        odd = sorted(set(theirs) ^ set(ours))[0]
        raise ConfigError(f"the outcomes of {name} are of other tasks: {odd!r} differs")
    if len(tasks) < 2:
        raise ConfigError(f"a verdict needs at least 2 validation tasks, got {len(tasks)}")
    draws = np.random.default_rng(seed).integers(len(tasks), size=(rounds, len(tasks)))
    gains = np.array([ours[task][0] - theirs[task][0] for task in tasks])
    difference = float(gains.mean())
    low, high = map(
        float, np.quantile(gains[draws].mean(axis=1), ((1 - level) / 2, (1 + level) / 2))
    )
    taken = _tokens(ours)
    ratio = taken / _tokens(theirs)
    shipped = low > 0 and (budget is None or taken <= budget)
    outcome = "is above zero" if low > 0 else "is below zero" if high < 0 else "is inside the noise"
    spent = ""
    if budget is not None and taken > budget:
        spent = f"; it took {taken:,.0f} tokens a task, more than the budget of {budget:,.0f}"
    reason = (
        f"On {len(tasks)} held-out tasks the reward against {name} differs by {difference:+.3f} "
        f"[{low:+.3f}, {high:+.3f}], which {outcome}{spent}: "
        f"the {'learned policy ships' if shipped else 'fixed topology stays'}."
    )
    return Verdict(shipped, difference, low, high, ratio, len(tasks), name, reason)


def _by_task(
    outcomes: Sequence[Outcome], price: float, scale: float, objective: Objective
) -> dict[str, tuple[float, float]]:
    """Mean reward and mean tokens by task."""
    found: dict[str, list[tuple[float, float]]] = {}
    for outcome in outcomes:
        pair = (outcome.reward(price, scale, objective), outcome.tokens)
        found.setdefault(outcome.task, []).append(pair)
    return {
        task: (sum(r for r, _ in pairs) / len(pairs), sum(t for _, t in pairs) / len(pairs))
        for task, pairs in found.items()
    }


def _tokens(pairs: dict[str, tuple[float, float]]) -> float:
    return sum(tokens for _, tokens in pairs.values()) / len(pairs)
