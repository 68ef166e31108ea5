"""One agent is asked first; its answer, confidence and wording decide which topology follows.

Most questions need no meeting. The probe is one agent's ordinary reply, on the ledger like any
other; afterwards the team stops or opens the phases of one topology, in which the probe's reply
stands as that agent's first word, so that nothing is asked twice. Two small models decide:

1. P(the probe is right | question, its reply), logistic; its log-odds are the one number by which
   the rest judges. On the training questions it comes from models that had not seen the question.
2. For stopping and for each topology, P(the answer is right) and the cost as functions of it.

Debate that opens only where one reply is doubtful is Eo et al. (DOWN, arXiv 2504.05047), with a
threshold on the stated confidence, and Fan et al. (iMAD, arXiv 2511.11306), with a classifier. Here
there are several topologies to choose from, and a price.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.topology.least_price import least_price
from hyperagent.topology.logistic import Logistic, cross_fit, logit
from hyperagent.topology.outcomes import Objective
from hyperagent.topology.replies import folds_of
from hyperagent.topology.reply_features import question_features, reply_features

STOP = 0
"""Column of stopping after the probe; branch k has column k + 1."""
FOLDS = 5
LEAST_QUESTIONS = 20
_READING, _CHANCE, _COST = 30.0, 3.0, 3.0  # penalties
_LOW = -4.0  # log-odds are clipped to [-4, 4]


def with_probe(graph: Hypergraph, agent: str) -> Hypergraph:
    """`graph` one phase later, after a phase in which `agent` is asked alone."""
    later = [replace(edge, phase=edge.phase + 1) for edge in graph.edges]
    nodes = graph.nodes if agent in graph.nodes else (agent, *graph.nodes)
    return Hypergraph(nodes, (Hyperedge((agent,)), *later))


@dataclass(frozen=True)
class Probes:
    """What the probe said to training questions, and where each way to go on led.

    Attributes
    ----------
    questions, texts : tuple of str
    answers : tuple of (str or None)
    hashes : ndarray, shape (n,), uint64
        Of the questions' contents; they divide the questions into folds.
    correct, tokens : ndarray, shape (n, K + 1), float64
        Of the probe alone, then of each of K branches, the probe included.
    dollars : ndarray, shape (n, K + 1), float64
        NaN where no price is known.
    """

    questions: tuple[str, ...]
    texts: tuple[str, ...]
    answers: tuple[str | None, ...]
    hashes: np.ndarray
    correct: np.ndarray
    tokens: np.ndarray
    dollars: np.ndarray

    def looks(self) -> np.ndarray:
        """Question and reply features, shape (n, F)."""
        rows = zip(self.questions, self.texts, self.answers, strict=True)
        return np.array([_look(*row) for row in rows])

    def costs(self, objective: Objective) -> np.ndarray:
        """Tokens or dollars, shape (n, K + 1)."""
        cost = self.tokens if objective == "tokens" else self.dollars
        if np.isnan(cost).any():
            raise ConfigError("the price list lacks a model that was asked (--prices)")
        return cost


@dataclass(frozen=True)
class ProbePolicy:
    """When to stop after the probe, and which topology to open otherwise.

    Attributes
    ----------
    probe : str
        Agent that is asked first.
    branches : tuple of Hypergraph
        Topologies that may follow, without the probe.
    reading : Logistic
        P(the probe is right | question and reply features).
    chances : tuple of Logistic
        K + 1 models of the log-odds of `reading`.
    costs : ndarray, shape (K + 1, 2), float64
        Level and slope, in the log-odds, of what is spared.
    price, unit : float
        Correctness that `unit` tokens, or dollars, are worth.
    objective : {"tokens", "dollars"}
    shares, spent : tuple of float
        By column, the share of the training questions on which it is chosen, and tokens per
        training question: of the probe, and what each branch added where it was chosen.
    """

    probe: str
    branches: tuple[Hypergraph, ...]
    reading: Logistic
    chances: tuple[Logistic, ...]
    costs: np.ndarray
    price: float
    unit: float
    objective: Objective = "tokens"
    shares: tuple[float, ...] = ()
    spent: tuple[float, ...] = ()

    @classmethod
    def learn(
        cls,
        probe: str,
        branches: Sequence[Hypergraph],
        probes: Probes,
        *,
        price: float,
        unit: float,
        objective: Objective = "tokens",
        budget: float | None = None,
    ) -> ProbePolicy:
        """Fit all models.

        Parameters
        ----------
        probe : str
        branches : sequence of Hypergraph
        probes : Probes
            With one column for each of `branches` besides the first.
        price, unit : float
            Correctness that `unit` is worth; the price is not looked at where there is a budget.
        objective : {"tokens", "dollars"}
        budget : float, optional
            Tokens a question: the price is the smallest one that keeps the mean on the training
            questions within it.

        Raises
        ------
        ConfigError
            If there are too few questions, or not one column for each branch.
        """
        n, columns = probes.correct.shape
        if columns != len(branches) + 1 or n < LEAST_QUESTIONS:
            raise ConfigError(
                f"a probe with {len(branches)} branches needs {len(branches) + 1} outcomes of at "
                f"least {LEAST_QUESTIONS} questions, got {columns} of {n}"
            )
        looks, right = probes.looks(), probes.correct
        folds = folds_of(probes.hashes, FOLDS)
        doubt = _clip(cross_fit(looks, right[:, 0], _READING, folds))
        policy = cls(
            probe,
            tuple(branches),
            Logistic.fit(looks, right[:, 0], _READING),
            tuple(Logistic.fit(doubt, column, _CHANCE) for column in right.T),
            _lines(doubt, probes.costs(objective)),
            price,
            unit,
            objective,
        )
        if budget is not None:
            policy = policy._within(doubt, budget)
        chosen = policy._choose(doubt)
        shares = np.bincount(chosen, minlength=columns) / n
        added = probes.tokens[np.arange(n), chosen] - probes.tokens[:, STOP]
        spent = np.bincount(chosen, added, columns) / n
        spent[STOP] = probes.tokens[:, STOP].mean()
        return replace(policy, shares=tuple(shares.tolist()), spent=tuple(spent.tolist()))

    def choose(self, question: str, text: str, answer: str | None) -> int:
        """Column to take after the probe said `text`: `STOP`, or 1 + the branch."""
        return int(self._choose(self._doubt(question, text, answer))[0])

    def probability(self, question: str, text: str, answer: str | None) -> float:
        """Calibrated P(the probe's answer is right)."""
        return float(self.chances[STOP].predict(self._doubt(question, text, answer))[0])

    def _doubt(self, question: str, text: str, answer: str | None) -> np.ndarray:
        return _clip(self.reading.predict(_look(question, text, answer)[None]))

    def _choose(self, doubt: np.ndarray) -> np.ndarray:
        chance = np.column_stack([model.predict(doubt) for model in self.chances])
        return (chance - self.price * self._predict(self.costs, doubt) / self.unit).argmax(axis=1)

    @staticmethod
    def _predict(lines: np.ndarray, doubt: np.ndarray) -> np.ndarray:
        """Cost of each column, shape (n, K + 1)."""
        level, slope = lines.T
        return np.maximum(level + doubt * slope, 0.0)

    def _within(self, doubt: np.ndarray, budget: float) -> ProbePolicy:
        cost = self._predict(self.costs, doubt)
        rows = np.arange(len(doubt))

        def at(price: float) -> ProbePolicy:
            return replace(self, price=price)

        def mean(price: float) -> float:
            return float(cost[rows, at(price)._choose(doubt)].mean())

        return at(least_price(mean, budget))

    def arrays(self) -> Mapping[str, np.ndarray]:
        """All numbers by name, for a file."""
        models = {"reading": self.reading}
        models |= {f"chance.{i}": model for i, model in enumerate(self.chances)}
        parts = {k: a for name, m in models.items() for k, a in m.to_arrays(name).items()}
        return {**parts, "costs": self.costs}


def _look(question: str, text: str, answer: str | None) -> np.ndarray:
    return np.concatenate([question_features(question), reply_features(question, text, answer)])


def _clip(probability: np.ndarray) -> np.ndarray:
    """Log-odds as a column, shape (n, 1)."""
    return np.clip(logit(probability, 1e-6), _LOW, -_LOW)[:, None]


def _lines(doubt: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Level at doubt 0 and slope of each column of `values`, shape (C, 2), by ridge regression."""
    centred = doubt[:, 0] - doubt.mean()
    slopes = centred @ values / (centred @ centred + _COST)
    return np.column_stack([values.mean(axis=0) - slopes * doubt.mean(), slopes])
