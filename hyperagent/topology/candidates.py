"""The hypergraphs that a learner chooses from: a portfolio of anchors and parts of an anchor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from math import comb

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hyperedge, Hypergraph, build_anchor
from hyperagent.topology.design import AgentLike, best_first

PORTFOLIO = (
    "single", "self_consistency", "pair", "role_cover", "group", "chain", "star", "tree",
    "windows", "bridge", "complete",
)  # fmt: skip
"""Anchors that every study starts from."""


def portfolio(
    agents: Sequence[AgentLike], names: Sequence[str] = PORTFOLIO
) -> dict[str, Hypergraph]:
    """Anchors over a team by name; of equal ones the first stays.

    Parameters
    ----------
    agents : sequence of AgentLike
    names : sequence of str
        Anchors, with parameters if wanted.
    """
    ordered = best_first(agents)
    nodes = [agent.id for agent in ordered]
    roles = {agent.id: agent.role for agent in ordered}
    found: dict[str, Hypergraph] = {}
    seen: set[tuple] = set()
    for name in names:
        graph = build_anchor(name, nodes, roles=roles)
        if graph.canonical().edges not in seen:
            seen.add(graph.canonical().edges)
            found[name] = graph
    return found


def sub_hypergraphs(
    anchor: Hypergraph, size: int | None = None, *, most: int = 4096
) -> tuple[Hypergraph, ...]:
    """What is left of an anchor when some of its seated nodes are benched, the anchor included.

    Hyperedges keep the members that stay. One that lies inside another of the same mode and
    phase adds nothing and is dropped.

    Parameters
    ----------
    anchor : Hypergraph
    size : int, optional
        Most nodes that stay besides in the anchor itself; None: no limit.
    most : int
        Most hypergraphs.

    Returns
    -------
    tuple of Hypergraph
        Canonical, each once, small ones first, all with the nodes of the anchor.

    Raises
    ------
    ConfigError
        If nobody is seated, `size` is below 1 or there would be more than `most`.
    """
    seated = anchor.seated()
    size = len(seated) if size is None else size
    if not seated or size < 1:
        raise ConfigError(f"an anchor with seats and a size >= 1 are needed, got size {size!r}")
    sizes = range(1, min(size, len(seated)) + 1)
    count = sum(comb(len(seated), k) for k in sizes)
    if count > most:
        raise ConfigError(
            f"{count} sub-hypergraphs of {len(seated)} seats up to size {size}, but at most "
            f"{most} are allowed: choose a smaller size"
        )
    kept = [restrict(anchor, stay) for k in sizes for stay in combinations(seated, k)]
    return unique([*kept, anchor.canonical()])


def restrict(graph: Hypergraph, stay: Iterable[str]) -> Hypergraph:
    """The canonical hypergraph that is left when only the nodes in `stay` keep their seats."""
    stay = set(stay)
    cut: list[Hyperedge] = []
    for edge in graph.edges:
        members = tuple(name for name in edge.members if name in stay)
        if members:
            cut.append(Hyperedge(members, edge.mode, edge.phase, edge.weight))
    maximal = [
        edge
        for edge in cut
        if not any(
            (edge.mode, edge.phase) == (other.mode, other.phase)
            and set(edge.members) < set(other.members)
            for other in cut
        )
    ]
    return graph.with_edges(maximal).canonical()


def unique(graphs: Iterable[Hypergraph]) -> tuple[Hypergraph, ...]:
    """Each topology once, in the order of its first appearance."""
    found: dict[str, Hypergraph] = {}
    for graph in graphs:
        found.setdefault(graph.digest(), graph)
    return tuple(found.values())
