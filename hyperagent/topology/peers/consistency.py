"""Samples and votes: early-stopping self-consistency, adaptive consistency, plurality.

The best agent is the first of `best_first`, the one that the anchor ``self_consistency`` samples
too; of equally reliable agents it is the one given first.
"""

from __future__ import annotations

from collections.abc import Sequence

from hyperagent.errors import ConfigError, HypergraphError
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.topology.design import AgentLike, Design, StopRule, TaskLike, best_first
from hyperagent.topology.stops import Adaptive, Window


class EarlyStoppingConsistency:
    """Samples of the best agent in windows, until all answers of a window agree (ESC).

    The samples of a window are drawn in parallel; the last window is shorter if `cap` is no
    multiple of `window`. Ties of the final vote are broken as for every other designer. With a
    temperature of 0 all samples are alike, and the first window ends it.

    Parameters
    ----------
    window : int
        Samples of a window, at least 1.
    cap : int
        Most samples, at least 1.

    Raises
    ------
    ConfigError
        Naming the option that is out of range.

    References
    ----------
    Li et al., "Escape sky-high cost: early-stopping self-consistency for multi-step reasoning",
    ICLR 2024, arXiv 2401.10480. There the cap is 40, and windows of 5 suit GSM8K.
    """

    name = "esc"

    def __init__(self, *, window: int = 5, cap: int = 40) -> None:
        self.stop = Window(window)
        self.window, self.cap = window, _at_least_one(self.name, "cap", cap)

    def design(self, task: TaskLike, agents: Sequence[AgentLike], *, seed: int = 0) -> Design:
        """The same for every task and seed."""
        return _samples(self.name, agents, self.cap, self.window, self.stop)


class AdaptiveConsistency:
    """Samples of the best agent one by one, until its majority is probably settled.

    Parameters
    ----------
    level : float
        Probability, in (0, 1), above which the leader counts as the majority.
    cap : int
        Most samples, at least 1.

    Raises
    ------
    ConfigError
        Naming the option that is out of range.

    References
    ----------
    Aggarwal et al., "Let's sample step by step", EMNLP 2023, arXiv 2305.11860, with the Beta
    criterion, its level of 0.95 and its cap of 40.
    """

    name = "adaptive"

    def __init__(self, *, level: float = 0.95, cap: int = 40) -> None:
        self.stop = Adaptive(level)
        self.cap = _at_least_one(self.name, "cap", cap)

    def design(self, task: TaskLike, agents: Sequence[AgentLike], *, seed: int = 0) -> Design:
        """The same for every task and seed."""
        return _samples(self.name, agents, self.cap, 1, self.stop)


class Plurality:
    """Every agent answers once and alone; the votes decide.

    How votes are weighed and ties are broken is the routing's matter: with
    ``Routing(vote="plurality", decision="never")`` every agent has one vote and there is no
    further call.
    """

    name = "plurality"

    def design(self, task: TaskLike, agents: Sequence[AgentLike], *, seed: int = 0) -> Design:
        """The same for every task and seed."""
        nodes = _best_first(agents)
        return Design(Hypergraph(nodes, tuple(Hyperedge((n,)) for n in nodes)), name=self.name)


def _samples(
    name: str, agents: Sequence[AgentLike], cap: int, window: int, stop: StopRule
) -> Design:
    """`cap` samples of the best agent, each alone, `window` of them a phase."""
    best, *others = _best_first(agents)
    nodes = (best, *(f"{best}#{i}" for i in range(1, cap)))
    edges = tuple(Hyperedge((node,), phase=i // window) for i, node in enumerate(nodes))
    return Design(Hypergraph((*nodes, *others), edges), name=name, stop=stop)


def _best_first(agents: Sequence[AgentLike]) -> tuple[str, ...]:
    if not agents:
        raise HypergraphError("a designer needs at least one agent, got none")
    return tuple(agent.id for agent in best_first(agents))


def _at_least_one(name: str, option: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name}: {option} must be an integer >= 1, got {value!r}")
    return value
