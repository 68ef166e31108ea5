"""Directed graphs over agents: their distribution, and how our orchestrator executes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from hyperagent.errors import HypergraphError
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.topology.design import AgentLike, TaskLike, best_first

Arc = tuple[int, int]
"""Numbers of two nodes; the second reads the first."""


def ordered(agents: Sequence[AgentLike]) -> list[AgentLike]:
    """Best first, equals by id, so that the order in which they are given is forgotten.

    Raises
    ------
    HypergraphError
        If there is no agent.
    """
    if not agents:
        raise HypergraphError("a designer needs at least one agent, got none")
    return best_first(sorted(agents, key=lambda agent: agent.id))


def generator(seed: int, task: TaskLike, purpose: str) -> torch.Generator:
    """Independent random numbers for each seed, task and purpose."""
    text = f"{seed}\0{task.id}\0{task.question}\0{purpose}"
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def as_phases(nodes: Sequence[str], arcs: Iterable[Arc]) -> Hypergraph:
    """Execute a directed acyclic graph in phases of pairs.

    An arc i -> j says that j reads i's note. The depth of a node is the longest path that ends in
    it. A node without predecessors is a group of its own in phase 0; every arc i -> j is the
    hyperedge {i, j} in the phase of j's depth, where j speaks for the first time, once for all its
    pairs, after reading its predecessors. Different graphs give different hypergraphs.

    A group is symmetric where an arc is not: a pair that disagrees may revise, and then i reads j
    too. With ``rounds=0`` in the routing nobody does, and the notes flow one way only.

    Parameters
    ----------
    nodes : sequence of str, length N
    arcs : iterable of (int, int)

    Raises
    ------
    HypergraphError
        If the arcs form a cycle.
    """
    before: list[set[int]] = [set() for _ in nodes]
    for i, j in arcs:
        before[j].add(i)
    depth: dict[int, int] = {}
    waiting = set(range(len(nodes)))
    while waiting:
        ready = [j for j in waiting if before[j] <= depth.keys()]
        if not ready:
            raise HypergraphError(f"the arcs form a cycle over {sorted(nodes[j] for j in waiting)}")
        for j in ready:
            depth[j] = 1 + max((depth[i] for i in before[j]), default=-1)
        waiting.difference_update(ready)
    edges = []
    for j, name in enumerate(nodes):
        if not before[j]:
            edges.append(Hyperedge((name,)))
        edges += [Hyperedge(tuple(sorted((nodes[i], name))), phase=depth[j]) for i in before[j]]
    return Hypergraph(tuple(nodes), Hypergraph(tuple(nodes), tuple(edges)).canonical().edges)


def arcs_of(nodes: Sequence[str], hypergraph: Hypergraph) -> set[Arc] | None:
    """The arcs that `as_phases` made a hypergraph from; None if it made it from none."""
    if set(hypergraph.nodes) != set(nodes):
        odd = sorted(set(hypergraph.nodes) ^ set(nodes))[0]
        raise HypergraphError(f"the hypergraph is not over these agents: {odd!r} differs")
    place = {name: i for i, name in enumerate(nodes)}
    depth: dict[int, int] = {}
    for edge in sorted(hypergraph.edges, key=lambda edge: edge.phase):
        for name in edge.members:
            depth.setdefault(place[name], edge.phase)
    arcs = set()
    for edge in hypergraph.edges:
        if len(edge.members) == 2:
            i, j = sorted((place[name] for name in edge.members), key=depth.__getitem__)
            arcs.add((i, j))
    try:
        same = as_phases(nodes, arcs).digest() == hypergraph.digest()
    except HypergraphError:
        return None
    return arcs if same else None


class ArcDistribution:
    """Arcs drawn one by one in row order, those left out that would close a cycle.

    For i = 0, 1, … and j = 0, 1, …: unless j already leads to i, the arc i -> j is drawn with
    probability ``sigmoid(logits[i, j])``. Likelihoods are exact, because which arcs were drawn at
    all follows from those before them.

    The probability that a given pair ends in a given phase has no closed form, so that designs
    from here carry no `Design.probabilities`.

    Parameters
    ----------
    logits : Tensor, shape (N, N)
        The diagonal is not looked at; -inf forbids an arc.
    nodes : sequence of str, length N
    """

    def __init__(self, logits: Tensor, nodes: Sequence[str]) -> None:
        self.logits = logits
        self.nodes = tuple(nodes)

    @property
    def probabilities(self) -> Tensor:
        """Of each arc if it is drawn, shape (N, N), in [0, 1]."""
        return self.logits.sigmoid()

    def sample(self, generator: torch.Generator) -> set[Arc]:
        """Draw a graph."""
        dice = torch.rand(self.logits.shape, generator=generator, dtype=torch.float64)
        return self._walk((dice < self.probabilities.detach()).tolist())[0]

    def mode(self) -> set[Arc]:
        """Take each arc that is more probable than not when its turn comes."""
        return self._walk((self.logits.detach() > 0).tolist())[0]

    def log_prob(self, arcs: Iterable[Arc]) -> Tensor:
        """Log-probability of a graph; scalar, differentiable in the logits.

        -inf for arcs that cannot be drawn together.
        """
        arcs = set(arcs)
        n = len(self.nodes)
        chosen = [[(i, j) in arcs for j in range(n)] for i in range(n)]
        walked, drawn = self._walk(chosen)
        if walked != arcs:
            return self.logits.new_tensor(-torch.inf)
        taken = torch.tensor(chosen)[drawn]
        logits = self.logits[drawn]
        return logsigmoid(torch.where(taken, logits, -logits)).sum()

    def log_prob_of(self, hypergraph: Hypergraph) -> Tensor:
        """Log-probability of what is executed; -inf if `as_phases` cannot give it."""
        arcs = arcs_of(self.nodes, hypergraph)
        return self.logits.new_tensor(-torch.inf) if arcs is None else self.log_prob(arcs)

    def _walk(self, wanted: Sequence[Sequence[bool]]) -> tuple[set[Arc], Tensor]:
        """Arcs taken, and which were drawn at all, bool of shape (N, N)."""
        n = len(self.nodes)
        leads = [1 << i for i in range(n)]  # bit sets of the nodes that each node leads to
        arcs: set[Arc] = set()
        drawn = torch.zeros(n, n, dtype=torch.bool)
        for i in range(n):
            for j in range(n):
                if leads[j] >> i & 1:  # j leads to i, or is i
                    continue
                drawn[i, j] = True
                if wanted[i][j]:
                    arcs.add((i, j))
                    for k in range(n):
                        if leads[k] >> i & 1:
                            leads[k] |= leads[j]
        return arcs, drawn
