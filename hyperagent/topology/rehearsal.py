"""Which policy to ship: rehearsed on questions it did not learn from, and only if surely better.

Every part of the training questions is held out in turn; the learned policy, the searched cascade
and the best single agent are fitted on the rest and run on it. The price of the learned policy is
chosen there, and a paired bootstrap (Efron 1979) decides whether it may replace the simpler ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hyperagent.errors import ConfigError
from hyperagent.topology.anytime import AnytimePolicy, Beliefs, Settings
from hyperagent.topology.cascade import Cascade, Reliabilities, Searched, search_cascades
from hyperagent.topology.replies import Objective, Played, Replies

Goal = Literal["match", "budget"]
PRICES = (
    0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.1, 0.12, 0.14, 0.17, 0.2, 0.25, 0.3,
    0.4, 0.6, 1.0, 2.0,
)  # fmt: skip
"""Accuracy that the mean cost of the best single agent is worth."""


@dataclass(frozen=True)
class Rehearsal:
    """What each policy did on questions that were held out when it was fitted.

    Attributes
    ----------
    prices : tuple of float
    unit : float
        Mean cost of the best single agent. Which agent is best may differ from part to part, so
        that a price means the same only with a common unit.
    learned_right, learned_cost : ndarray, shape (P, n), float64
        One row a price. All costs here are in units of `unit`.
    cascade_right, cascade_cost : dict of str to ndarray, shape (n,)
        Of the cascade searched for each goal.
    single_right, single_cost : ndarray, shape (n,), float64
        Of the single agent that is right most often.
    """

    prices: tuple[float, ...]
    unit: float
    learned_right: np.ndarray
    learned_cost: np.ndarray
    cascade_right: dict[Goal, np.ndarray]
    cascade_cost: dict[Goal, np.ndarray]
    single_right: np.ndarray
    single_cost: np.ndarray

    def price(self, goal: Goal) -> float:
        """The price that reaches the goal: the best single agent's accuracy at the least cost
        (``"match"``), or the largest accuracy at no more than its cost (``"budget"``)."""
        right, cost = self.learned_right.mean(axis=1), self.learned_cost.mean(axis=1)
        if goal == "match":
            goals = right >= min(self.single_right.mean(), right.max()) - 1e-12
            return self.prices[int(np.where(goals, cost, np.inf).argmin())]
        return self.within(self.unit)

    def within(self, budget: float) -> float:
        """The price of the largest accuracy at a mean cost of at most `budget`, in the objective's
        own unit; if none is as cheap, the price of the least cost."""
        right, cost = self.learned_right.mean(axis=1), self.learned_cost.mean(axis=1)
        goals = cost <= max(budget / self.unit, cost.min()) + 1e-12
        return self.prices[int(np.where(goals, right, -np.inf).argmax())]


@dataclass(frozen=True)
class Choice:
    """The policy to ship.

    Attributes
    ----------
    name : {"learned", "cascade", "single"}
        What the guard lets through.
    learned : AnytimePolicy
    fallback : Cascade
        The searched cascade, or a cascade of one agent.
    gain, low : float
        Mean of accuracy − price · cost of the learned policy minus that of the fallback on held-out
        questions, and the lower end of its bootstrap interval.
    """

    name: str
    learned: AnytimePolicy
    fallback: Cascade
    gain: float
    low: float

    def run(self, replies: Replies) -> Played:
        """Run the policy that was let through."""
        return (self.learned if self.name == "learned" else self.fallback).run(replies)


def find_cascade(found: Searched, replies: Replies, goal: Goal, objective: Objective) -> Cascade:
    """The searched cascade for a goal set by the best single agent of `replies`."""
    best = int(replies.correct.sum(axis=0).argmax())
    if goal == "match":
        return found.cheapest(float(replies.correct[:, best].mean()))
    return found.most_accurate(float(replies.costs(objective)[:, best].mean()))


def rehearse(
    replies: Replies,
    objective: Objective = "dollars",
    *,
    prices: Sequence[float] = PRICES,
    parts: int = 4,
    settings: Settings | None = None,
) -> Rehearsal:
    """Fit on all parts but one and run on that one, for each part.

    Parameters
    ----------
    replies : Replies
        Training and validation questions.
    objective : {"dollars", "tokens"}
    prices : sequence of float
    parts : int
        At least 2; the questions are divided by content hash.
    settings : Settings, optional
    """
    if parts < 2:
        raise ConfigError(f"a rehearsal needs at least 2 parts, got {parts}")
    n, best = len(replies), int(replies.correct.sum(axis=0).argmax())
    cost = replies.costs(objective)[:, best]
    unit = float(cost.mean())
    folds = _parts(replies, parts)
    right, paid = np.zeros((2, len(prices), n))
    goals: tuple[Goal, ...] = ("match", "budget")
    hand_right, hand_paid = ({goal: np.zeros(n) for goal in goals} for _ in range(2))
    for part in range(parts):
        held = folds == part
        if not held.any():
            continue
        fitted, tested = replies.take(~held), replies.take(held)
        beliefs = Beliefs.learn(fitted, settings)
        states = beliefs.states_of(tested)
        for row, policy in enumerate(beliefs.policies(tuple(prices), objective, unit)):
            outcome = policy.run(tested, states)
            right[row, held], paid[row, held] = outcome.correct, outcome.cost(objective) / unit
        found = search_cascades(fitted, objective)
        for goal in goals:
            outcome = find_cascade(found, fitted, goal, objective).run(tested)
            hand_right[goal][held] = outcome.correct
            hand_paid[goal][held] = outcome.cost(objective) / unit
    return Rehearsal(
        tuple(prices), unit, right, paid, hand_right, hand_paid,
        replies.correct[:, best].astype(np.float64), cost / unit,
    )  # fmt: skip


def run_held_out(
    replies: Replies, price: float, unit: float, objective: Objective = "dollars", parts: int = 4
) -> Played:
    """Every question by a policy that was learned without the part in which it lies.

    Parameters
    ----------
    replies : Replies
    price, unit, objective
        As for `Beliefs.policies`.
    parts : int
        At least 2; the questions are divided by content hash.
    """
    n, size = replies.answers.shape
    played = Played(np.zeros(n, bool), np.zeros((n, size), bool), np.zeros(n), np.zeros(n))
    folds = _parts(replies, parts)
    for part in np.unique(folds):
        held = folds == part
        beliefs = Beliefs.learn(replies.take(~held))
        (policy,) = beliefs.policies((price,), objective, unit)
        done = policy.run(replies.take(held))
        for name in ("correct", "asked", "dollars", "tokens"):
            getattr(played, name)[held] = getattr(done, name)
    return played


def _parts(replies: Replies, parts: int) -> np.ndarray:
    """Part of each question: narrow slices, dealt out in turn, so that a test fold that was cut out
    by the same half of the hash leaves the parts even."""
    return replies.folds(parts * 7) % parts


def choose_policy(
    replies: Replies,
    goal: Goal,
    objective: Objective = "dollars",
    *,
    rehearsal: Rehearsal | None = None,
    level: float = 0.8,
    rounds: int = 2000,
    seed: int = 0,
    settings: Settings | None = None,
) -> Choice:
    """Fit all policies on `replies` and let the learned one through only if it is surely better.

    Parameters
    ----------
    replies : Replies
        Training and validation questions.
    goal : {"match", "budget"}
    objective : {"dollars", "tokens"}
    rehearsal : Rehearsal, optional
        Of the same replies and objective, to choose for several goals after one rehearsal.
    level : float
        Of the two-sided bootstrap interval that must lie above zero.
    rounds, seed : int
        Of the bootstrap.
    settings : Settings, optional
    """
    held = rehearsal or rehearse(replies, objective, settings=settings)
    price = held.price(goal)
    row = held.prices.index(price)
    single = held.single_right - price * held.single_cost
    hand = held.cascade_right[goal] - price * held.cascade_cost[goal]
    name = "cascade" if hand.mean() > single.mean() else "single"
    gains = held.learned_right[row] - price * held.learned_cost[row]
    gains = gains - (hand if name == "cascade" else single)
    draws = np.random.default_rng(seed).integers(len(gains), size=(rounds, len(gains)))
    low = float(np.quantile(gains[draws].mean(axis=1), (1 - level) / 2))
    if name == "cascade":
        fallback = find_cascade(search_cascades(replies, objective), replies, goal, objective)
    else:
        best = replies.agents[int(replies.correct.sum(axis=0).argmax())]
        fallback = Cascade((best,), 1.1, Reliabilities.measure(replies.seat([best])))
    (learned,) = Beliefs.learn(replies, settings).policies((price,), objective, held.unit)
    passed = low > 0
    return Choice("learned" if passed else name, learned, fallback, float(gains.mean()), low)
