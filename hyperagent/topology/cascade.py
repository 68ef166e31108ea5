"""The strongest rule we can make by hand: ask by price, count votes, stop when sure enough.

The posterior over answers is that of `hyperagent.team.vote.poll`, the one-coin model of Dawid and
Skene (1979), for many questions at once. Which agents, in which order, and the threshold are found
by trying all of them on questions that are not tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hyperagent.errors import ConfigError
from hyperagent.topology.replies import NO_ANSWER, Objective, Played, Replies

MOST_AGENTS = 6
"""Agents whose subsets and orders are all tried: six have 1,956."""
THRESHOLDS = (
    0.0, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99,
    0.9925, 0.995, 0.9965, 0.998, 0.999, 0.9995, 0.9998, 0.9999, 0.99999, 1.1,
)  # fmt: skip
"""Posteriors at which to stop; the last one is never reached, so everybody is asked."""
_CLIP = 0.01


@dataclass(frozen=True)
class Reliabilities:
    """How often each agent is right.

    Attributes
    ----------
    overall : ndarray, shape (N,), float64
        Posterior mean under a Beta(1, 1) prior.
    by_kind : tuple of (str, ndarray of shape (N,))
        The same for each kind of question, drawn towards `overall`; empty if kinds are not used.
    """

    overall: np.ndarray
    by_kind: tuple[tuple[str, np.ndarray], ...] = ()

    @classmethod
    def measure(cls, replies: Replies, *, strength: float | None = None) -> Reliabilities:
        """Count on `replies`.

        Parameters
        ----------
        replies : Replies
        strength : float, optional
            Questions that the overall rate counts for in the rate of a kind (the prior of each
            kind is Beta with that mean and weight). None: no kinds.
        """
        overall = (replies.correct.sum(axis=0) + 1.0) / (len(replies) + 2.0)
        if strength is None:
            return cls(overall)
        kinds = []
        for kind in np.unique(replies.kinds):
            right = replies.correct[replies.kinds == kind]
            rate = (right.sum(axis=0) + strength * overall) / (len(right) + strength)
            kinds.append((str(kind), rate))
        return cls(overall, tuple(kinds))

    def rates(self, replies: Replies) -> np.ndarray:
        """Reliability of each agent on each question, shape (n, N)."""
        rates = np.tile(self.overall, (len(replies), 1))
        for kind, rate in self.by_kind:
            rates[replies.kinds == kind] = rate
        return rates


@dataclass(frozen=True)
class Tally:
    """Votes counted on every question.

    Attributes
    ----------
    leader : ndarray, shape (n,), int64
        Column of the first agent that gave the leading answer; 0 without answers.
    answer : ndarray, shape (n,), int64
        Code of the leading answer, `NO_ANSWER` without answers.
    posterior : ndarray, shape (n,), float64
        Probability that it is right; 0 without answers.
    distinct : ndarray, shape (n,), int64
        Different answers given.
    """

    leader: np.ndarray
    answer: np.ndarray
    posterior: np.ndarray
    distinct: np.ndarray


def tally(answers: np.ndarray, rates: np.ndarray, wrong: np.ndarray) -> Tally:
    """Naive-Bayes posterior over the answers of `k` agents.

    Parameters
    ----------
    answers : ndarray, shape (n, k), int64
        Codes as in `Replies.answers`.
    rates : ndarray, shape (n, k), float64
        Probability that each agent is right.
    wrong : ndarray, shape (n,), int64
        κ, number of plausible wrong answers.

    Returns
    -------
    Tally
        Equal to `hyperagent.team.vote.poll` question by question, ties included.
    """
    n, k = answers.shape
    rates = np.clip(rates, _CLIP, 1 - _CLIP)
    odds = np.log(wrong[:, None] * rates / (1 - rates))
    width = max(int(answers.max(initial=0)) + 1, 1)
    weight, log_odds = np.zeros((2, n, width))
    given = np.zeros((n, width), dtype=bool)
    for j in range(k):
        rows = np.flatnonzero(answers[:, j] != NO_ANSWER)
        at = rows, answers[rows, j]
        # An agent worse than chance would vote against its own answer; it gets no weight instead.
        weight[at] += np.maximum(odds[rows, j], 0.0)
        log_odds[at] += odds[rows, j]
        given[at] = True
    distinct = given.sum(axis=1)
    # Codes are in the order of the spelling, so that argmax breaks ties as the poll does.
    answer = np.where(given, weight, -np.inf).argmax(axis=1)
    top = np.maximum(np.where(given, log_odds, -np.inf).max(axis=1), 0.0)
    evidence = (given * np.exp(np.where(given, log_odds, 0.0) - top[:, None])).sum(axis=1)
    evidence += np.maximum(wrong + 1 - distinct, 0) * np.exp(-top)
    some = distinct > 0
    posterior = np.where(some, np.exp(log_odds[np.arange(n), answer] - top) / evidence, 0.0)
    answer = np.where(some, answer, NO_ANSWER)
    leader = ((answers == answer[:, None]) & some[:, None]).argmax(axis=1)
    return Tally(leader, answer, posterior, distinct)


@dataclass(frozen=True)
class Cascade:
    """Agents in the order in which they are asked, and the posterior at which to stop.

    Attributes
    ----------
    order : tuple of str
    threshold : float
    reliabilities : Reliabilities
        Of the agents of `order`, in that order.
    """

    order: tuple[str, ...]
    threshold: float
    reliabilities: Reliabilities

    def run(self, replies: Replies) -> Played:
        """Ask until the posterior reaches the threshold or nobody is left."""
        seated = replies.seat(self.order)
        rates = self.reliabilities.rates(seated)
        n, k = seated.answers.shape
        leader, open_ = np.zeros(n, dtype=np.int64), np.ones(n, dtype=bool)
        asked = np.zeros((n, k), dtype=bool)
        for j in range(k):
            asked[open_, j] = True
            votes = tally(seated.answers[:, : j + 1], rates[:, : j + 1], seated.wrong)
            leader[open_] = votes.leader[open_]
            open_ &= votes.posterior < self.threshold
        columns = np.array([replies.agents.index(agent) for agent in self.order])
        everybody = np.zeros(replies.answers.shape, dtype=bool)
        everybody[:, columns] = asked
        return Played.of(replies, columns[leader], everybody)


@dataclass(frozen=True)
class Searched:
    """Every cascade over a team, with what it did on the questions of the search.

    Attributes
    ----------
    agents : tuple of str
    orders : tuple of tuple of int
        Length M; columns of the agents.
    thresholds : ndarray, shape (T,), float64
    accuracy, cost : ndarray, shape (M, T), float64
        Means over the questions; the cost in units of the objective.
    reliabilities : Reliabilities
    """

    agents: tuple[str, ...]
    orders: tuple[tuple[int, ...], ...]
    thresholds: np.ndarray
    accuracy: np.ndarray
    cost: np.ndarray
    reliabilities: Reliabilities

    def best(self, price: float) -> Cascade:
        """The cascade with the largest accuracy − price · cost."""
        return self._at(int((self.accuracy - price * self.cost).argmax()))

    def cheapest(self, accuracy: float) -> Cascade:
        """The cheapest cascade that reaches `accuracy`, or else the most accurate one."""
        goal = min(accuracy, float(self.accuracy.max())) - 1e-12
        return self._at(int(np.where(self.accuracy >= goal, self.cost, np.inf).argmin()))

    def most_accurate(self, cost: float) -> Cascade:
        """The most accurate cascade that costs at most `cost`, or else the cheapest one."""
        limit = max(cost, float(self.cost.min())) + 1e-12
        return self._at(int(np.where(self.cost <= limit, self.accuracy, -np.inf).argmax()))

    def _at(self, index: int) -> Cascade:
        row, column = divmod(index, len(self.thresholds))
        order = list(self.orders[row])
        rates = Reliabilities(
            self.reliabilities.overall[order],
            tuple((kind, rate[order]) for kind, rate in self.reliabilities.by_kind),
        )
        names = tuple(self.agents[j] for j in order)
        return Cascade(names, float(self.thresholds[column]), rates)


def search_cascades(
    replies: Replies,
    objective: Objective = "dollars",
    *,
    strength: float | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Searched:
    """Try all subsets of the team in all orders at all thresholds.

    Parameters
    ----------
    replies : Replies
        Of at most `MOST_AGENTS` agents, on questions that will not be tested.
    objective : {"dollars", "tokens"}
    strength : float, optional
        As in `Reliabilities.measure`.
    thresholds : sequence of float

    Raises
    ------
    ConfigError
        If there are more agents, or no questions.
    """
    n, size = replies.answers.shape
    if not 1 <= size <= MOST_AGENTS or n == 0:
        raise ConfigError(
            f"the search needs 1 to {MOST_AGENTS} agents and some questions, "
            f"got {size} agents and {n} questions"
        )
    known = Reliabilities.measure(replies, strength=strength)
    rates, cost = known.rates(replies), replies.costs(objective)
    limits = np.array(thresholds, dtype=np.float64)
    right, posterior = np.zeros((2, 1 << size, n))
    for mask in range(1, 1 << size):
        members = [j for j in range(size) if mask >> j & 1]
        votes = tally(replies.answers[:, members], rates[:, members], replies.wrong)
        # The answer of a group does not depend on the order in which its members spoke.
        leader = np.array(members)[votes.leader]
        right[mask], posterior[mask] = replies.correct[np.arange(n), leader], votes.posterior
    orders: list[tuple[int, ...]] = []
    accuracies: list[np.ndarray] = []
    costs: list[np.ndarray] = []

    def grow(
        order: tuple[int, ...], mask: int, alive: np.ndarray, got: np.ndarray, paid: np.ndarray
    ) -> None:
        for j in range(size):
            if mask >> j & 1:
                continue
            group = mask | 1 << j
            spent = paid + alive @ cost[:, j]
            orders.append((*order, j))
            accuracies.append((got + alive @ right[group]) / n)
            costs.append(spent / n)
            if group != (1 << size) - 1:
                stop = alive * (posterior[group] >= limits[:, None])
                grow(orders[-1], group, alive - stop, got + stop @ right[group], spent)

    zeros = np.zeros(len(limits))
    grow((), 0, np.ones((len(limits), n)), zeros, zeros)
    return Searched(
        replies.agents, tuple(orders), limits, np.array(accuracies), np.array(costs), known
    )
