"""Stop rules: whether the answers so far are enough to leave the later phases closed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import agent_of
from hyperagent.topology.cascade import Reliabilities, tally
from hyperagent.topology.design import Vote
from hyperagent.topology.replies import answer_codes

UNKNOWN_RELIABILITY = 0.7
"""Stands in for a reliability that nobody measured, as in `hyperagent.team.vote`."""


class _Counting:
    """A rule that counts answers and knows nothing of the agents."""

    name: ClassVar[str]

    @property
    def rates(self) -> Mapping[str, float]:
        """Empty."""
        return {}


@dataclass(frozen=True)
class Agreement(_Counting):
    """Stop when more than a share of the nodes that spoke give one answer.

    A node without an answer counts in the whole and not in the part.

    Parameters
    ----------
    share : float
        In [0, 1); more than this share must agree.

    Raises
    ------
    ConfigError
        If `share` is out of range.

    References
    ----------
    Liu et al., "A dynamic LLM-powered agent network for task-oriented agent collaboration"
    (DyLAN), COLM 2024, arXiv 2310.02170, early stopping.
    """

    share: float = 2 / 3
    name: ClassVar[str] = "agreement"

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ConfigError(f"agreement: share must be in [0, 1), got {self.share!r}")

    def __call__(self, votes: Sequence[Vote]) -> bool:
        counts = _counts(votes)
        return bool(counts) and counts[0] > self.share * len(votes) + 1e-9


@dataclass(frozen=True)
class Window(_Counting):
    """Stop when all answers of a full window are equal.

    Windows follow each other without overlap; earlier windows are not looked at.

    Parameters
    ----------
    size : int
        Samples of a window, at least 1.

    Raises
    ------
    ConfigError
        If `size` is no integer >= 1.

    References
    ----------
    Li et al., "Escape sky-high cost: early-stopping self-consistency for multi-step reasoning"
    (ESC), ICLR 2024, arXiv 2401.10480, section 3.
    """

    size: int = 5
    name: ClassVar[str] = "window"

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 1:
            raise ConfigError(f"window: size must be an integer >= 1, got {self.size!r}")

    def __call__(self, votes: Sequence[Vote]) -> bool:
        if not votes or len(votes) % self.size:
            return False
        answers = {vote.answer for vote in votes[-self.size :]}
        return len(answers) == 1 and None not in answers


@dataclass(frozen=True)
class Adaptive(_Counting):
    r"""Stop when the leading answer is probably the majority of ever more samples.

    With :math:`v_1` votes for the leader and :math:`v_2` for the second, and a uniform prior over
    the share `p` of the leader among the two,
    :math:`P(p > 1/2 \mid v) = 1 - I_{1/2}(v_1 + 1, v_2 + 1)`, which for whole numbers is the
    chance that a fair coin thrown :math:`v_1 + v_2 + 1` times shows at most :math:`v_1` heads.

    Parameters
    ----------
    level : float
        Stop above this probability, in (0, 1).

    Raises
    ------
    ConfigError
        If `level` is out of range.

    References
    ----------
    Aggarwal et al., "Let's sample step by step: adaptive-consistency for efficient reasoning and
    coding with LLMs", EMNLP 2023, arXiv 2305.11860, the Beta criterion.
    """

    level: float = 0.95
    name: ClassVar[str] = "adaptive"

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise ConfigError(f"adaptive: level must be in (0, 1), got {self.level!r}")

    def __call__(self, votes: Sequence[Vote]) -> bool:
        return self.probability(votes) > self.level

    @staticmethod
    def probability(votes: Sequence[Vote]) -> float:
        """Probability in [0.5, 1] that the leader is the majority; 0.5 without answers."""
        first, second, *_ = (*_counts(votes), 0, 0)
        throws = first + second + 1
        return sum(math.comb(throws, heads) for heads in range(first + 1)) / 2**throws


@dataclass(frozen=True)
class Posterior:
    """Stop when the posterior of the leading answer reaches a threshold.

    The posterior is that of `hyperagent.team.vote.poll`. Its reliabilities can differ from one
    kind of task to another, and they weigh the final vote too. A designer that predicts each
    agent for each task (`Beliefs.question_probabilities`) gives its predictions as
    `reliabilities`.

    Parameters
    ----------
    threshold : float
        At least 0; above 1 the rule never stops.
    reliabilities : mapping of str to float
        Probability in [0, 1] that an agent is right; agents that are not listed count
        `UNKNOWN_RELIABILITY`.
    wrong : int
        Number of plausible wrong answers, at least 1.
    by_kind : mapping of str to (mapping of str to float)
        Reliabilities on the tasks of a kind; they win over `reliabilities`.
    kind : str
        Kind of the task at hand, by any division of tasks that `by_kind` has, e.g. that of
        `hyperagent.topology.replies.question_kind`. A kind that is not listed has none of its own.

    Raises
    ------
    ConfigError
        Naming what is out of range.
    """

    threshold: float
    reliabilities: Mapping[str, float] = field(default_factory=dict)
    wrong: int = 10
    by_kind: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    kind: str = ""
    name: ClassVar[str] = "posterior"

    def __post_init__(self) -> None:
        if not self.threshold >= 0:
            raise ConfigError(f"posterior: threshold must be at least 0, got {self.threshold!r}")
        if self.wrong < 1:
            raise ConfigError(f"posterior: wrong must be at least 1, got {self.wrong!r}")
        for rates in (self.reliabilities, *self.by_kind.values()):
            for agent, rate in rates.items():
                if not 0 <= rate <= 1:
                    raise ConfigError(
                        f"posterior: the reliability of {agent!r} must be in [0, 1], got {rate!r}"
                    )

    @classmethod
    def measured(
        cls, threshold: float, agents: Sequence[str], known: Reliabilities, *, wrong: int = 10
    ) -> Posterior:
        """The rule with reliabilities as `Reliabilities.measure` counts them.

        Parameters
        ----------
        threshold : float
        agents : sequence of str
            Names of the columns of `known`.
        known : Reliabilities
        wrong : int
        """
        by_kind = {kind: _named(agents, rates) for kind, rates in known.by_kind}
        return cls(threshold, _named(agents, known.overall), wrong, by_kind)

    def of_kind(self, kind: str) -> Posterior:
        """The same rule for a task of `kind`."""
        return replace(self, kind=kind)

    @property
    def rates(self) -> Mapping[str, float]:
        """Reliabilities by agent on tasks of this kind."""
        return {**self.reliabilities, **self.by_kind.get(self.kind, {})}

    def __call__(self, votes: Sequence[Vote]) -> bool:
        return self.probability(votes) >= self.threshold

    def probability(self, votes: Sequence[Vote]) -> float:
        """Posterior of the leading answer; 0 without answers."""
        if not votes:
            return 0.0
        rates = self.rates
        row = [rates.get(agent_of(vote.author)[0], UNKNOWN_RELIABILITY) for vote in votes]
        codes = answer_codes(np.array([[vote.answer for vote in votes]], dtype=object))
        return float(tally(codes, np.array([row]), np.array([self.wrong])).posterior[0])


def _counts(votes: Sequence[Vote]) -> list[int]:
    """How many votes each answer has, most first."""
    counts = Counter(vote.answer for vote in votes if vote.answer is not None)
    return sorted(counts.values(), reverse=True)


def _named(agents: Sequence[str], rates: np.ndarray) -> dict[str, float]:
    return dict(zip(agents, rates.tolist(), strict=True))
