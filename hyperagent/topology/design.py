"""What a designer sees, what it returns, and the protocol between the two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

from hyperagent.hypergraph import Hypergraph


class AgentLike(Protocol):
    """What a designer may know about an agent."""

    @property
    def id(self) -> str:
        """Unique name; it becomes the node."""

    @property
    def role(self) -> str:
        """What the agent is asked to be, e.g. ``"solver"``."""

    @property
    def profile(self) -> str | None:
        """One line about the agent."""

    @property
    def reliability(self) -> float | None:
        """Probability in (0, 1) that its answer is right; None if unknown."""


class TaskLike(Protocol):
    """What a designer may know about a task."""

    @property
    def id(self) -> str:
        """Name of the task in its data set."""

    @property
    def question(self) -> str:
        """The text that the agents will read."""


class Vote(NamedTuple):
    """The latest word of one node.

    Attributes
    ----------
    author : str
        Node, e.g. ``"ann"`` or ``"ann#2"``.
    answer : str or None
        In the canonical spelling of the task's kind; None: no answer.
    confidence : float or None
        As the agent states it, in [0, 1].
    text : str
        The whole reply.
    """

    author: str
    answer: str | None
    confidence: float | None = None
    text: str = ""


class StopRule(Protocol):
    """Says after a phase whether the answers so far are enough."""

    @property
    def name(self) -> str:
        """Short name of the rule."""

    @property
    def rates(self) -> Mapping[str, float]:
        """Reliabilities by agent that the rule judges by. The votes are weighed by them too, so
        that the answer given is the one the rule was sure of. Empty: the agents' own."""

    def __call__(self, votes: Sequence[Vote]) -> bool:
        """Whether to stop.

        Parameters
        ----------
        votes : sequence of Vote
            One a node, in the order in which the nodes first spoke.
        """


@runtime_checkable
class Guide(StopRule, Protocol):
    """A stop rule that also says which phase comes next, and how far to trust each reply."""

    def next(self, votes: Sequence[Vote], closed: Mapping[int, Sequence[str]]) -> int | None:
        """Phase to open, or None to stop.

        Parameters
        ----------
        votes : sequence of Vote
            Empty before the first phase, in which somebody must be asked.
        closed : mapping of int to sequence of str
            Phases that have not been opened, and the nodes of each.
        """

    def trust(self, votes: Sequence[Vote]) -> Mapping[str, float]:
        """Probability in [0, 1] that each vote is right, by author, in place of `rates`."""


@dataclass(frozen=True)
class Expected:
    """What a designer expects of a design that decides on its way.

    Attributes
    ----------
    tokens : float
        Of all calls, on average over the questions that the designer was learned on.
    by_edge : mapping of str to float
        Tokens of each hyperedge, ``"e0"``, ``"e1"``, …, weighted by how often it is opened; empty
        if they are not known one by one.
    """

    tokens: float
    by_edge: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Design:
    """A topology for one task, and how likely the designer was to choose it.

    Attributes
    ----------
    hypergraph : Hypergraph
        What is executed.
    log_prob : float
        Natural logarithm of the probability of `hypergraph` under the designer's
        distribution; 0 for a designer that always returns the same.
    probabilities : mapping or None
        For a designer that draws: ``"e0"``, ``"e1"``, … (the hyperedges in their order) to
        the probability in [0, 1] that this group is formed. None otherwise.
    name : str
        Name of the designer.
    stop : StopRule or None
        Asked after every phase whether to leave the later ones closed; a `Guide` is asked which
        one to open. None: the anytime threshold of the routing decides.
    expected : Expected or None
        Set by designers whose stop rule decides how much of the hypergraph is used.
    """

    hypergraph: Hypergraph
    log_prob: float = 0.0
    probabilities: Mapping[str, float] | None = None
    name: str = ""
    stop: StopRule | None = None
    expected: Expected | None = None


@runtime_checkable
class Designer(Protocol):
    """Draws a topology for a task. Any object with these two members is one."""

    name: str

    def design(self, task: TaskLike, agents: Sequence[AgentLike], *, seed: int = 0) -> Design:
        """Topology over `agents` for `task`; equal arguments give an equal design."""


A = TypeVar("A", bound=AgentLike)


def best_first(agents: Sequence[A]) -> list[A]:
    """Agents by falling reliability, unknown ones last; equals keep their order."""
    return sorted(agents, key=lambda a: -1.0 if a.reliability is None else -a.reliability - 1.0)
