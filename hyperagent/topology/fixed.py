"""The same topology for every task: an anchor over the agents, best first."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from hyperagent.hypergraph import Hypergraph, build_anchor, parse_anchor
from hyperagent.topology.design import AgentLike, Design, TaskLike, best_first


class FixedDesigner:
    """Lays one anchor over the team, whatever the task.

    Agents are ordered by reliability, unknown ones last and otherwise as given, so that
    the hub of a star or the first seat of a chain goes to the best one.

    Parameters
    ----------
    anchor : str
        Name of an anchor with parameters if wanted, e.g. ``"star"``,
        ``"self_consistency:k=7"``.

    Raises
    ------
    UnknownNameError, ConfigError
        If there is no such anchor or parameter.
    """

    def __init__(self, anchor: str) -> None:
        parse_anchor(anchor)
        self.name = self.anchor = anchor

    def design(self, task: TaskLike, agents: Sequence[AgentLike], *, seed: int = 0) -> Design:
        """The anchor over `agents`; `task` and `seed` change nothing."""
        ordered = best_first(agents)
        nodes = tuple(agent.id for agent in ordered)
        roles = tuple((agent.id, agent.role) for agent in ordered)
        return Design(_lay(self.anchor, nodes, roles), name=self.name)


# One team answers thousands of questions: its topology and digest are computed once.
@lru_cache(maxsize=256)
def _lay(anchor: str, nodes: tuple[str, ...], roles: tuple[tuple[str, str], ...]) -> Hypergraph:
    return build_anchor(anchor, nodes, roles=dict(roles))
