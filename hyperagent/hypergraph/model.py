"""The one data type that everything shares: a hypergraph over named agents."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hyperagent.errors import HypergraphError
from hyperagent.hypergraph import convert, hif

if TYPE_CHECKING:
    import networkx
    import numpy as np

    from hyperagent.hypergraph.pyg import TeamData

MODES = ("discuss", "verify", "decide")
"""What a group does, in the order in which equal phases list it."""


def agent_of(node: str) -> tuple[str, int]:
    """Split a node name into the agent and the index of its sample.

    ``"solver#2"`` is a third, independent sample of the agent ``solver``; plain
    ``"solver"`` is its sample 0. Self-consistency is written this way.
    """
    name, mark, index = node.rpartition("#")
    if mark and name and index.isdecimal():
        return name, int(index)
    return node, 0


@dataclass(frozen=True, slots=True)
class Hyperedge:
    """A small group of agents that works over one shared board.

    Parameters
    ----------
    members : sequence of str
        Node names, at least one, none twice. Their order carries no meaning.
    mode : {"discuss", "verify", "decide"}
        What the group does.
    phase : int
        Groups of equal phase run in parallel; phases run in ascending order.
    weight : float
        Positive weight of the group, e.g. its gate probability.

    Raises
    ------
    HypergraphError
        Naming the offending member, mode, phase or weight.
    """

    members: tuple[str, ...]
    mode: str = "discuss"
    phase: int = 0
    weight: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.members, str):
            raise HypergraphError(
                f"members must be a sequence of node names, got the string {self.members!r}"
            )
        members = tuple(self.members)
        object.__setattr__(self, "members", members)
        if not members:
            raise HypergraphError("a hyperedge needs at least one member, got none")
        for name in members:
            if not isinstance(name, str) or not name.strip():
                raise HypergraphError(f"a member must be a non-empty string, got {name!r}")
        if len(set(members)) != len(members):
            twice = next(m for i, m in enumerate(members) if m in members[:i])
            raise HypergraphError(f"member {twice!r} stands twice in hyperedge {members!r}")
        if self.mode not in MODES:
            raise HypergraphError(f"mode must be one of {', '.join(MODES)}, got {self.mode!r}")
        if isinstance(self.phase, bool) or not isinstance(self.phase, int) or self.phase < 0:
            raise HypergraphError(f"phase must be an integer >= 0, got {self.phase!r}")
        weight = self.weight
        if isinstance(weight, bool) or not isinstance(weight, (int, float)):
            raise HypergraphError(f"weight must be a number, got {weight!r}")
        if not (math.isfinite(weight) and weight > 0):
            raise HypergraphError(f"weight must be finite and > 0, got {weight!r}")
        object.__setattr__(self, "weight", float(weight))

    @property
    def key(self) -> tuple[int, int, tuple[str, ...]]:
        """What makes two hyperedges the same: phase, mode and set of members."""
        return self.phase, MODES.index(self.mode), tuple(sorted(self.members))


@dataclass(frozen=True)
class Hypergraph:
    """Agents and the groups that they form.

    Parameters
    ----------
    nodes : sequence of str
        All agents, seated or not. Order is kept here and forgotten by `canonical`.
    edges : sequence of Hyperedge

    Raises
    ------
    HypergraphError
        Naming the duplicate or empty node, or the member that is no node.

    Examples
    --------
    >>> team = Hypergraph(("ann", "bob", "eve"), (Hyperedge(("bob", "ann")),))
    >>> team.seated(), team.benched()
    (('ann', 'bob'), ('eve',))
    """

    nodes: tuple[str, ...]
    edges: tuple[Hyperedge, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.nodes, str):
            raise HypergraphError(
                f"nodes must be a sequence of names, got the string {self.nodes!r}"
            )
        nodes, edges = tuple(self.nodes), tuple(self.edges)
        object.__setattr__(self, "nodes", nodes)
        object.__setattr__(self, "edges", edges)
        seen: set[str] = set()
        for name in nodes:
            if not isinstance(name, str) or not name.strip():
                raise HypergraphError(f"a node must be a non-empty string, got {name!r}")
            if name in seen:
                raise HypergraphError(f"node {name!r} stands twice")
            seen.add(name)
        for edge in edges:
            if not isinstance(edge, Hyperedge):
                raise HypergraphError(f"an edge must be a Hyperedge, got {edge!r}")
            for name in edge.members:
                if name not in seen:
                    listed = ", ".join(nodes[:20]) + (", …" if len(nodes) > 20 else "")
                    raise HypergraphError(
                        f"unknown member {name!r} in hyperedge {edge.members!r}; "
                        f"the nodes are {listed or 'none'}"
                    )

    # Computed once: the digest is a key in every ledger row and every set of designs.
    @cached_property
    def _canonical(self) -> Hypergraph:
        merged: dict[tuple[int, int, tuple[str, ...]], float] = {}
        for edge in self.edges:
            key = edge.key
            merged[key] = max(merged.get(key, 0.0), edge.weight)
        return Hypergraph(
            tuple(sorted(self.nodes)),
            tuple(
                Hyperedge(members, MODES[mode], phase, merged[phase, mode, members])
                for phase, mode, members in sorted(merged)
            ),
        )

    def canonical(self) -> Hypergraph:
        """The same topology in the one agreed spelling.

        Nodes and members sorted, equal hyperedges merged (the larger weight stays),
        edges ordered by phase, mode and members.
        """
        return self._canonical

    @cached_property
    def _digest(self) -> str:
        text = json.dumps(
            self.canonical().to_hif(), sort_keys=True, separators=(",", ":"), ensure_ascii=True
        )
        return hashlib.sha256(text.encode()).hexdigest()

    def digest(self) -> str:
        """SHA-256 of the canonical HIF JSON: equal for equal topologies, however spelled."""
        return self._digest

    def seated(self) -> tuple[str, ...]:
        """Nodes that are in at least one hyperedge, in the order of `nodes`."""
        used = {name for edge in self.edges for name in edge.members}
        return tuple(name for name in self.nodes if name in used)

    def benched(self) -> tuple[str, ...]:
        """Nodes that are in no hyperedge and are therefore never called."""
        used = {name for edge in self.edges for name in edge.members}
        return tuple(name for name in self.nodes if name not in used)

    def phases(self) -> tuple[tuple[int, tuple[Hyperedge, ...]], ...]:
        """The hyperedges by phase, phases ascending."""
        numbers = sorted({edge.phase for edge in self.edges})
        return tuple((n, tuple(e for e in self.edges if e.phase == n)) for n in numbers)

    def incidence(self) -> np.ndarray:
        """Incidence matrix.

        Returns
        -------
        ndarray, shape (n_nodes, n_edges), float64
            1 where the node is in the hyperedge, 0 elsewhere. Rows follow `nodes`,
            columns follow `edges`.
        """
        return convert.incidence(self.nodes, [edge.members for edge in self.edges])

    @classmethod
    def from_incidence(
        cls,
        matrix: Any,
        nodes: Sequence[str],
        *,
        modes: Sequence[str] | None = None,
        phases: Sequence[int] | None = None,
        weights: Sequence[float] | None = None,
        threshold: float = 0.5,
    ) -> Hypergraph:
        """Hypergraph of a (soft) incidence matrix.

        Parameters
        ----------
        matrix : array_like, shape (n_nodes, n_edges)
            A node is a member where the entry is > `threshold`. Empty columns are left out.
        nodes : sequence of str, length n_nodes
        modes, phases, weights : sequences of length n_edges, optional
        """
        groups = convert.columns(matrix, nodes, threshold)
        given = {"mode": modes, "phase": phases, "weight": weights}
        for name, values in given.items():
            if values is not None and len(values) != len(groups):
                raise HypergraphError(
                    f"{name}s must have one entry per column: {len(groups)}, got {len(values)}"
                )
        edges = []
        for column, members in enumerate(groups):
            extra = {name: v[column] for name, v in given.items() if v is not None}
            if members:
                edges.append(Hyperedge(members, **extra))
        return cls(tuple(nodes), tuple(edges))

    def to_hif(self) -> dict[str, Any]:
        """This topology as Hypergraph Interchange Format, ready for `json.dumps`."""
        return hif.dump(self.nodes, self.edges)

    @classmethod
    def from_hif(cls, data: Any) -> Hypergraph:
        """Read Hypergraph Interchange Format, ours or anybody's.

        Numbers as identifiers become strings; an edge without incidences is left out;
        what other programs add in ``attrs`` is ignored.

        Raises
        ------
        HypergraphError
            If `data` is not HIF.
        """
        nodes, edges = hif.load(data)
        return cls(nodes, tuple(Hyperedge(**edge) for edge in edges))

    def to_networkx(self) -> networkx.Graph:
        """Bipartite graph of agents and groups; see `convert.to_networkx`."""
        return convert.to_networkx(self.nodes, self.edges)

    @classmethod
    def from_networkx(cls, graph: networkx.Graph) -> Hypergraph:
        """Read a bipartite graph as `to_networkx` writes it, or any plain graph.

        In a plain graph (no node has ``bipartite=1``) each edge becomes a group of two
        and a self-loop a group of one; names become strings.
        """
        nodes, edges = convert.from_networkx(graph)
        return cls(nodes, tuple(Hyperedge(**edge) for edge in edges))

    def to_pyg(self) -> TeamData:
        """PyTorch Geometric data; see `convert.to_pyg`."""
        return convert.to_pyg(self.nodes, self.edges)

    def clique_expansion(self) -> Hypergraph:
        """Every hyperedge replaced by all pairs of its members (same mode, phase, weight).

        A group of one stays as it is.
        """
        pairs: list[Hyperedge] = []
        for edge in self.edges:
            if len(edge.members) < 2:
                pairs.append(edge)
                continue
            for i, a in enumerate(edge.members):
                pairs.extend(
                    Hyperedge((a, b), edge.mode, edge.phase, edge.weight)
                    for b in edge.members[i + 1 :]
                )
        return Hypergraph(self.nodes, tuple(pairs))

    def with_edges(self, edges: Iterable[Hyperedge]) -> Hypergraph:
        """The same nodes with other hyperedges."""
        return Hypergraph(self.nodes, tuple(edges))
