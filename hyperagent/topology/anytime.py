"""A learned policy that asks one agent after the other and stops when it pays to.

After each reply it knows who was asked, how the answers agree, and how each reply looks. Three
models stand on each other, all fitted on recorded replies, none of them on a row it predicts:

1. P(agent is right | question) and P(agent is right | question, its reply), logistic; the second is
   the mean log-odds of a model of the agent alone and one of all agents together.
2. P(leading answer is right | state): the naive-Bayes posterior with the reliabilities of 1 in the
   place of one number per agent, calibrated by a logistic model for each set of agents asked.
3. The value of asking one more agent: regressed on the state, backwards from the state in which
   everybody was asked (fitted value iteration; Ernst, Geurts and Wehenkel, JMLR 2005).

The policy takes the larger of stopping and the best ask, for accuracy − price · cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from hyperagent.errors import ConfigError
from hyperagent.topology.cascade import tally
from hyperagent.topology.logistic import Logistic, cross_fit, logit
from hyperagent.topology.replies import Objective, Played, Replies

MOST_AGENTS = 6
"""Agents of a team: a state is a set of them, and six have 64."""
STOP = -1


@dataclass(frozen=True)
class Settings:
    """Strengths of the penalties.

    Attributes
    ----------
    question, reply, pooled, state : float
        Of the logistic models of the question, of one agent's reply, of any agent's reply, and of
        the state.
    value : float
        Of the regression of values.
    inner : int
        Folds within the training questions for predictions that a second model learns from.
    """

    question: float = 100.0
    reply: float = 30.0
    pooled: float = 100.0
    state: float = 3.0
    value: float = 30.0
    inner: int = 5


@dataclass(frozen=True)
class Trust:
    """P(agent is right | question, its reply).

    What makes a reply doubtful is much the same for all models, so that a model of all replies
    together, with one column for each agent, learns it from N times as many rows; a model of each
    agent alone knows what is special about it. Their log-odds are averaged.

    Attributes
    ----------
    own : tuple of Logistic
        One for each agent.
    pooled : Logistic
    """

    own: tuple[Logistic, ...]
    pooled: Logistic

    @classmethod
    def learn(
        cls, asked: np.ndarray, looks: np.ndarray, correct: np.ndarray, settings: Settings
    ) -> Trust:
        """Fit on question columns (n, F), reply features (n, N, G) and verdicts (n, N)."""
        size = correct.shape[1]
        right = correct.astype(np.float64)
        own = tuple(
            Logistic.fit(np.column_stack([asked, looks[:, j]]), right[:, j], settings.reply)
            for j in range(size)
        )
        rows = np.concatenate([cls._pooled_columns(asked, looks, j) for j in range(size)])
        return cls(own, Logistic.fit(rows, right.T.ravel(), settings.pooled))

    def predict(self, asked: np.ndarray, looks: np.ndarray) -> np.ndarray:
        """Probabilities, shape (n, N)."""
        columns = []
        for j, model in enumerate(self.own):
            own = model.predict(np.column_stack([asked, looks[:, j]]))
            pooled = self.pooled.predict(self._pooled_columns(asked, looks, j))
            odds = 0.5 * (logit(own, 1e-4) + logit(pooled, 1e-4))
            columns.append(1.0 / (1.0 + np.exp(-odds)))
        return np.column_stack(columns)

    @staticmethod
    def _pooled_columns(asked: np.ndarray, looks: np.ndarray, agent: int) -> np.ndarray:
        n, size = looks.shape[:2]
        seat = np.tile(np.arange(size) == agent, (n, 1))
        return np.column_stack([asked, looks[:, agent], seat])


@dataclass(frozen=True)
class _State:
    """One set of agents on every question."""

    looks: np.ndarray  # (n, d) what the value of asking on is regressed on; column 0 is 1
    sure: np.ndarray  # (n,) P(leading answer is right)
    leader: np.ndarray  # (n,)


@dataclass(frozen=True)
class Beliefs:
    """The models that do not depend on the price, and what they said of the training rows.

    Attributes
    ----------
    agents : tuple of str
    kinds : tuple of str
    by_question : tuple of Logistic
        One for each agent.
    trust : Trust
    by_state : mapping of int to Logistic
        By the set of agents asked, as a bit mask.
    training : Replies or None
        None where the models were read from a file; no further policies can be made then.
    states : mapping of int to _State
        Of the training rows, from predictions of models that had not seen the row.
    settings : Settings
    """

    agents: tuple[str, ...]
    kinds: tuple[str, ...]
    by_question: tuple[Logistic, ...]
    trust: Trust
    by_state: Mapping[int, Logistic]
    training: Replies | None = None
    states: Mapping[int, _State] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)

    @classmethod
    def learn(cls, replies: Replies, settings: Settings | None = None) -> Beliefs:
        """Fit the models.

        Parameters
        ----------
        replies : Replies
            Training questions with the replies of at most `MOST_AGENTS` agents.
        settings : Settings, optional

        Raises
        ------
        ConfigError
            If there are too many agents, or too few questions to fill the inner folds.
        """
        settings = settings or Settings()
        n, size = replies.answers.shape
        folds = replies.folds(settings.inner, part=1)
        if not 1 <= size <= MOST_AGENTS or len(np.unique(folds)) < 2:
            raise ConfigError(
                f"the policy needs 1 to {MOST_AGENTS} agents and questions in two inner folds, "
                f"got {size} agents and {n} questions"
            )
        kinds = tuple(np.unique(replies.kinds).tolist())
        asked = _question_columns(replies, kinds)
        prior, posterior = np.zeros((2, n, size))
        by_question = []
        for j in range(size):
            right = replies.correct[:, j].astype(np.float64)
            prior[:, j] = cross_fit(asked, right, settings.question, folds)
            by_question.append(Logistic.fit(asked, right, settings.question))
        looks, correct = replies.reply_features, replies.correct
        for fold in np.unique(folds):
            held = folds == fold
            model = Trust.learn(asked[~held], looks[~held], correct[~held], settings)
            posterior[held] = model.predict(asked[held], looks[held])
        trust = Trust.learn(asked, looks, correct, settings)
        by_state, states = {}, {0: _nobody(prior)}
        for mask in range(1, 1 << size):
            columns, leader = _state_columns(replies, mask, prior, posterior)
            right = replies.correct[np.arange(n), leader].astype(np.float64)
            by_state[mask] = Logistic.fit(columns, right, settings.state)
            sure = cross_fit(columns, right, settings.state, folds)
            states[mask] = _State(_looks(sure, columns), sure, leader)
        return cls(
            replies.agents, kinds, tuple(by_question), trust, by_state, replies, states, settings,
        )  # fmt: skip

    def question_probabilities(self, replies: Replies) -> np.ndarray:
        """P(agent is right | question), shape (n, N), before anybody is asked."""
        asked = _question_columns(replies, self.kinds)
        return np.column_stack([model.predict(asked) for model in self.by_question])

    def reply_probabilities(self, replies: Replies) -> np.ndarray:
        """P(agent is right | question, its reply), shape (n, N); of replies that are there."""
        return self.trust.predict(_question_columns(replies, self.kinds), replies.reply_features)

    def states_of(self, replies: Replies, sets: Iterable[int] | None = None) -> dict[int, _State]:
        """States of every question in `replies`, by the set of agents asked.

        Parameters
        ----------
        replies : Replies
        sets : iterable of int, optional
            Bit masks; all by default. Replies of agents outside them are not read.
        """
        prior = self.question_probabilities(replies)
        posterior = self.reply_probabilities(replies)
        states = {}
        for mask in (0, *self.by_state) if sets is None else sets:
            if not mask:
                states[mask] = _nobody(prior)
                continue
            columns, leader = _state_columns(replies, mask, prior, posterior)
            sure = self.by_state[mask].predict(columns)
            states[mask] = _State(_looks(sure, columns), sure, leader)
        return states

    def policies(
        self,
        prices: tuple[float, ...],
        objective: Objective = "dollars",
        unit: float | None = None,
    ) -> tuple[AnytimePolicy, ...]:
        """One policy for each price, by backward induction on the training rows.

        Parameters
        ----------
        prices : tuple of float
            Accuracy that one unit of cost is worth, each >= 0.
        objective : {"dollars", "tokens"}
        unit : float, optional
            Cost, in the objective's own unit, that counts 1. Default: the mean cost, on the
            training rows, of the agent that is right most often.

        Raises
        ------
        ConfigError
            If the training rows are not there.
        """
        if self.training is None:
            raise ConfigError("these beliefs were read from a file, without their training rows")
        size = len(self.agents)
        cost = self.training.costs(objective)
        if unit is None:
            unit = float(cost[:, self.training.correct.sum(axis=0).argmax()].mean())
        cost = cost / unit
        penalty = self.settings.value
        solvers = {mask: _Solver(state.looks, penalty) for mask, state in self.states.items()}
        made = []
        for price in prices:
            asks: dict[tuple[int, int], np.ndarray] = {}
            value: dict[int, np.ndarray] = {}
            for mask in sorted(self.states, key=lambda m: (-m.bit_count(), m)):
                state = self.states[mask]
                best = state.sure if mask else np.full(len(state.sure), -np.inf)
                # What the chosen move leads to on this row, not what was forecast: a maximum over
                # forecasts would be too large.
                won = state.sure
                for j in range(size):
                    if mask >> j & 1:
                        continue
                    target = value[mask | 1 << j] - price * cost[:, j]
                    asks[mask, j] = solvers[mask].fit(target)
                    forecast = state.looks @ asks[mask, j]
                    better = forecast > best
                    best, won = np.where(better, forecast, best), np.where(better, target, won)
                value[mask] = won
            policy = AnytimePolicy(self, price, objective, unit, asks)
            asked = policy.run(self.training, self.states).asked
            spent = (asked * self.training.costs("tokens")).mean(axis=0)
            shares = tuple(asked.mean(axis=0).tolist())
            made.append(replace(policy, shares=shares, spent=tuple(spent.tolist())))
        return tuple(made)


@dataclass(frozen=True)
class AnytimePolicy:
    """What to do in every state.

    Attributes
    ----------
    beliefs : Beliefs
    price : float
        Accuracy that one `unit` of cost is worth.
    objective : {"dollars", "tokens"}
    unit : float
        Cost, in the objective's own unit, that counts 1.
    asks : mapping of (int, int) to ndarray
        Weights of the forecast value of asking an agent, by state and agent.
    shares, spent : tuple of float
        By agent the share of the training questions on which it is asked, and the tokens that it
        took there, per training question.
    """

    beliefs: Beliefs
    price: float
    objective: Objective
    unit: float
    asks: Mapping[tuple[int, int], np.ndarray]
    shares: tuple[float, ...] = ()
    spent: tuple[float, ...] = ()

    def run(self, replies: Replies, states: Mapping[int, _State] | None = None) -> Played:
        """Ask and stop on every question of `replies`.

        Parameters
        ----------
        replies : Replies
            Of the agents that the policy was learned with, in that order.
        states : mapping, optional
            ``beliefs.states_of(replies)``, to compute them once for many prices.
        """
        if replies.agents != self.beliefs.agents:
            raise ConfigError(
                f"the policy knows the agents {self.beliefs.agents}, got {replies.agents}"
            )
        states = states or self.beliefs.states_of(replies)
        n, size = replies.answers.shape
        moves = {mask: self.moves(mask, state) for mask, state in states.items()}
        at, leader = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        # A later state is always a larger number, so one pass in order is enough.
        for mask in sorted(states):
            here = at == mask
            if mask:
                leader[here] = states[mask].leader[here]
            go = here & (moves[mask] != STOP)
            at[go] = mask | 1 << moves[mask][go]
        asked = (at[:, None] >> np.arange(size) & 1).astype(bool)
        return Played.of(replies, leader, asked)

    def moves(self, mask: int, state: _State) -> np.ndarray:
        """Agent to ask, or `STOP`, shape (n,), where the agents in `mask` were asked."""
        best = state.sure if mask else np.full(len(state.sure), -np.inf)
        move = np.full(len(best), STOP)
        for j in range(len(self.beliefs.agents)):
            if not mask >> j & 1:
                forecast = state.looks @ self.asks[mask, j]
                move, best = np.where(forecast > best, j, move), np.maximum(forecast, best)
        return move


class _Solver:
    """Ridge regression on fixed rows for many targets; the first column is the intercept."""

    def __init__(self, looks: np.ndarray, penalty: float) -> None:
        scale = np.where(looks.std(axis=0) > 1e-9, looks.std(axis=0), np.inf)
        ridge = np.diag(np.where(np.isfinite(scale), penalty * scale**2, 0.0))
        ridge[0, 0] = 0.0
        gram = looks.T @ looks + ridge + 1e-9 * len(looks) * np.eye(looks.shape[1])
        self._map = np.linalg.solve(gram, looks.T)

    def fit(self, target: np.ndarray) -> np.ndarray:
        return self._map @ target


def _question_columns(replies: Replies, kinds: tuple[str, ...]) -> np.ndarray:
    """Question features and the kind; the penalty draws the rates of the kinds together."""
    return np.column_stack(
        [replies.question_features, replies.kinds[:, None] == np.array(kinds)[None, :]]
    ).astype(np.float64)


def _nobody(prior: np.ndarray) -> _State:
    looks = np.column_stack([np.ones(len(prior)), logit(prior)])
    zeros = np.zeros(len(prior))
    return _State(looks, zeros, zeros.astype(np.int64))


def _state_columns(
    replies: Replies, mask: int, prior: np.ndarray, posterior: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Columns of a state and the agent with the leading answer."""
    members = np.array([j for j in range(prior.shape[1]) if mask >> j & 1])
    votes = tally(replies.answers[:, members], posterior[:, members], replies.wrong)
    agrees = (replies.answers[:, members] == votes.answer[:, None]) & (votes.distinct > 0)[:, None]
    own = logit(posterior[:, members])
    # Each agent's trust in its own reply speaks for the leader if it agrees, against if not.
    signed = np.where(agrees, 1.0, -1.0) * (own + 1.0)
    columns = np.column_stack(
        [
            logit(votes.posterior),
            logit(prior).mean(axis=1),
            signed,
            agrees.sum(axis=1),
            votes.distinct,
        ]
    )
    return columns, members[votes.leader]


def _looks(sure: np.ndarray, columns: np.ndarray) -> np.ndarray:
    odds = logit(sure)
    return np.column_stack([np.ones(len(sure)), sure, odds, odds**2, columns[:, 1:-2]])
