"""Exact distribution over the hypergraphs that a fixed number of slots can form.

Every *slot* opens or stays closed; an open slot seats each agent or not. What is executed is the
set of the groups that come out: closed and empty slots vanish, equal groups merge, the order of
the slots is forgotten. `SlotDistribution.log_prob` is the probability of exactly that set, summed
over all the ways in which the slots could have produced it, so that a policy gradient weighs
what was run and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from hyperagent.errors import HyperagentError, HypergraphError
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.sparsity.gates import Draw, hard_concrete_gate, hard_concrete_probability

MAX_TERMS = 1 << 22
"""Largest number of terms that `SlotDistribution.log_prob` will add up."""


class SlotDistribution:
    r"""M slots over N agents: gates, and memberships that count only where the gate is open.

    .. math::
        G_m \sim \mathrm{Bern}(\sigma(g_m)), \qquad
        H_{im} \mid G_m = 1 \sim \mathrm{Bern}(\sigma(l_{im})).

    With :math:`q_m(S)` the probability that slot `m` forms the group `S` and :math:`q_m(\emptyset)`
    that it forms none (closed, or open and empty), a set `T` of groups has the probability

    .. math::
        P(T) = \sum_{a:\ \text{slots} \to T \cup \{\emptyset\},\ \text{onto}\ T}\ \prod_m q_m(a(m)).

    The sum has :math:`(|T| + 1)^M` terms; it is taken slot by slot over the set of groups formed
    so far, which needs at most ``M (2 |T| + 1) 2^|T|``.

    If no slot forms a group, the agent with the highest seat probability is seated alone. This is
    part of the environment and deterministic; its probability is that of the group it executes.

    Parameters
    ----------
    gate_logits : Tensor, shape (M,)
        :math:`g`, finite.
    member_logits : Tensor, shape (N, M)
        :math:`l`, finite.
    nodes : sequence of str, length N
        Names of the agents.

    Raises
    ------
    HypergraphError
        If the shapes do not fit or a logit is not finite.

    Notes
    -----
    Works in float64 whatever the logits are; everything but `sample`, `draw` and `mode` is
    differentiable in the logits. The sum over slots is our own.
    """

    def __init__(self, gate_logits: Tensor, member_logits: Tensor, nodes: Sequence[str]) -> None:
        self.nodes = tuple(nodes)
        want = (len(self.nodes), *gate_logits.shape)
        if gate_logits.ndim != 1 or member_logits.shape != want or not all(want):
            raise HypergraphError(
                f"{len(self.nodes)} nodes and gate logits of the shape {tuple(gate_logits.shape)} "
                f"need member logits (nodes, slots), got {tuple(member_logits.shape)}"
            )
        self.gate_logits = gate_logits.to(torch.float64)
        self.member_logits = member_logits.to(torch.float64)
        if not bool(self.gate_logits.detach().sum().isfinite()) or not bool(
            self.member_logits.detach().sum().isfinite()
        ):
            raise HypergraphError("the logits of slots must be finite, got NaN or infinity")
        self.agents, self.slots = self.member_logits.shape

    def draw(self, generator: torch.Generator, count: int) -> Tensor:
        """Independent draws of all slots, before groups merge.

        Returns
        -------
        bool tensor, shape (count, N, M)
            Memberships; the columns of closed slots are empty.
        """
        shape = (count, self.agents, self.slots)
        options = {"dtype": torch.float64, "generator": generator}
        gates = torch.rand(count, 1, self.slots, **options) < self.gate_logits.detach().sigmoid()
        return (torch.rand(shape, **options) < self.member_logits.detach().sigmoid()) & gates

    def sample(self, generator: torch.Generator) -> Hypergraph:
        """Draw what is executed."""
        return self.executed(self.draw(generator, 1)[0])

    def mode(self) -> Hypergraph:
        """What is executed if every gate and membership takes its more probable value."""
        return self.executed((self.member_logits.detach() > 0) & (self.gate_logits.detach() > 0))

    def executed(self, incidence: Tensor) -> Hypergraph:
        """The canonical hypergraph of one draw of the slots, shape (N, M)."""
        columns = incidence.bool().t().tolist()
        groups = {tuple(i for i, seated in enumerate(column) if seated) for column in columns}
        groups = groups - {()} or {(self.fallback,)}
        edges = (Hyperedge(tuple(self.nodes[i] for i in group)) for group in groups)
        return Hypergraph(self.nodes, tuple(edges)).canonical()

    @cached_property
    def fallback(self) -> int:
        """Number of the agent that works alone if no slot forms a group; ties by name."""
        chance = self.seat_probabilities(fallback=False).tolist()
        return min(range(self.agents), key=lambda i: (-chance[i], self.nodes[i]))

    def seat_probabilities(self, *, fallback: bool = True) -> Tensor:
        """Probability that each agent is seated at all, shape (N,), float64.

        Parameters
        ----------
        fallback : bool
            Whether being seated because nobody else is counts.
        """
        joint = self.soft_incidence()
        seated = -torch.expm1(torch.log1p(-joint.clamp(max=1 - 1e-15)).sum(1))
        if not fallback:
            return seated
        alone = torch.zeros_like(seated)
        alone[self.fallback] = 1.0
        return seated + alone * self._nothing.sum().exp()

    def soft_incidence(self) -> Tensor:
        """Probability that slot m is open and seats agent i: shape (N, M), float64."""
        return self.gate_logits.sigmoid() * self.member_logits.sigmoid()

    def log_prob(self, hypergraph: Hypergraph) -> Tensor:
        """Exact log-probability that this hypergraph is executed.

        Parameters
        ----------
        hypergraph : Hypergraph
            Over the same nodes. Equal hyperedges merge and weights are not looked at.

        Returns
        -------
        Tensor, scalar, float64
            -inf for what cannot be executed: no hyperedge, more than M, a phase other than 0 or
            a mode other than ``"discuss"``.

        Raises
        ------
        HypergraphError
            If the nodes are not those of the distribution.
        HyperagentError
            If the sum is out of reach: more than `MAX_TERMS` terms. With 16 slots it never is;
            64 slots allow 11 groups.
        """
        return log_probs([self], [hypergraph])[0]

    def _groups(self, hypergraph: Hypergraph) -> list[tuple[int, ...]] | None:
        """Different groups of a hypergraph, sorted; None for what cannot be executed."""
        if set(hypergraph.nodes) != set(self.nodes):
            odd = sorted(set(hypergraph.nodes) ^ set(self.nodes))[0]
            raise HypergraphError(f"the hypergraph is not over these agents: {odd!r} differs")
        if any(edge.phase != 0 or edge.mode != "discuss" for edge in hypergraph.edges):
            return None
        place = {name: i for i, name in enumerate(self.nodes)}
        groups = {tuple(sorted(place[n] for n in edge.members)) for edge in hypergraph.edges}
        return sorted(groups) if 1 <= len(groups) <= self.slots else None

    def group_log_probs(self, groups: Iterable[Iterable[int]]) -> Tensor:
        """Log-probability that each slot forms each group: shape (n_groups, M), float64."""
        rows = [sorted(group) for group in groups]
        inside = self.member_logits.new_zeros(len(rows), self.agents)
        for row, members in zip(inside, rows, strict=True):
            row[members] = 1.0
        # log sigmoid(l) = log sigmoid(-l) + l, so nobody has to be listed as absent.
        return inside @ self.member_logits + self._all_absent + logsigmoid(self.gate_logits)

    def formed(self, hypergraph: Hypergraph) -> Tensor:
        """Probability that each hyperedge is among those executed, in their order.

        Returns
        -------
        Tensor, shape (n_edges,), float64
        """
        place = {name: i for i, name in enumerate(self.nodes)}
        groups = [sorted(place[name] for name in edge.members) for edge in hypergraph.edges]
        if not groups:
            return self.gate_logits.new_zeros(0)
        each = self.group_log_probs(groups).exp().clamp(max=1 - 1e-15)
        chance = -torch.expm1(torch.log1p(-each).sum(1))
        alone = chance.new_tensor([float(group == [self.fallback]) for group in groups])
        return chance + alone * self._nothing.sum().exp()

    def expected_tokens(self, edge_cost: Tensor | float, seat_cost: Tensor | float) -> Tensor:
        r"""Expected cost of the open slots.

        :math:`\sum_m \sigma(g_m)(c_m + \sum_i c_i \sigma(l_{im}))`, the closed-form L0 penalty
        in tokens. An agent in two groups pays twice and groups that merge pay each, so it is an
        upper bound on the expectation of what is executed, up to the fallback.

        Parameters
        ----------
        edge_cost : float or Tensor of shape (M,)
            Tokens of an open slot, e.g. its digest.
        seat_cost : float or Tensor of shape (N,)
            Tokens of one speech of an agent.

        Returns
        -------
        Tensor, scalar, float64, tokens

        References
        ----------
        Louizos, Welling and Kingma, "Learning sparse neural networks through l0 regularization",
        ICLR 2018, eq. 12, with prices.
        """
        seats = torch.as_tensor(seat_cost).to(self.member_logits).expand(self.agents)
        edges = torch.as_tensor(edge_cost).to(self.gate_logits)
        return (self.gate_logits.sigmoid() * (edges + seats @ self.member_logits.sigmoid())).sum()

    def relaxed(self, generator: torch.Generator, *, temperature: float = 2 / 3) -> Draw:
        """Hard-concrete incidence with gradient, for differentiable surrogates only.

        Logits are moved so that an entry is non-zero with exactly the probability with which
        `draw` sets it: `hard` has the distribution of `draw` and the gradient of `soft`.

        Returns
        -------
        Draw
            `soft` and `hard`, shape (N, M), float64: gate times membership.
        """
        zero = self.gate_logits.new_zeros(())
        shift = hard_concrete_probability(zero, temperature=temperature).logit()
        options = {"temperature": temperature, "generator": generator}
        gates = hard_concrete_gate(self.gate_logits - shift, **options)
        members = hard_concrete_gate(self.member_logits - shift, **options)
        return Draw(gates.soft * members.soft, gates.hard * members.hard)

    @property
    def _all_absent(self) -> Tensor:
        """Log-probability that an open slot is empty, shape (M,)."""
        return logsigmoid(-self.member_logits).sum(0)

    @property
    def _nothing(self) -> Tensor:
        """Log-probability that each slot forms no group, shape (M,)."""
        empty = logsigmoid(self.gate_logits) + self._all_absent
        return torch.logaddexp(logsigmoid(-self.gate_logits), empty)


def log_probs(policies: Sequence[SlotDistribution], hypergraphs: Sequence[Hypergraph]) -> Tensor:
    """`SlotDistribution.log_prob` of many pairs at once, shape (B,), float64.

    Parameters
    ----------
    policies, hypergraphs : sequence, length B
        All policies with the same number of slots.
    """
    groups = [p._groups(h) for p, h in zip(policies, hypergraphs, strict=True)]
    total = policies[0].gate_logits.new_full((len(groups),), -torch.inf)
    for count in sorted({len(g) for g in groups if g is not None}):
        rows = [i for i, g in enumerate(groups) if g is not None and len(g) == count]
        q = torch.stack([policies[i].group_log_probs(groups[i]) for i in rows])
        nothing = torch.stack([policies[i]._nothing for i in rows])
        found = _onto(q, nothing)
        if count == 1:
            alone = torch.tensor([groups[i] == [(policies[i].fallback,)] for i in rows])
            found = torch.where(alone, torch.logaddexp(found, nothing.sum(-1)), found)
        total = total.index_copy(0, torch.tensor(rows), found)
    return total


def _onto(log_q: Tensor, nothing: Tensor) -> Tensor:
    """Log of the sum over all maps of slots to groups or nothing that reach every group.

    Parameters
    ----------
    log_q : Tensor, shape (..., E, M)
    nothing : Tensor, shape (..., M)

    Returns
    -------
    Tensor, shape (...)
    """
    edges, slots = log_q.shape[-2:]
    terms = sum_terms(edges, slots)
    if terms > MAX_TERMS:
        raise HyperagentError(
            f"the exact probability of {edges} groups in {slots} slots is a sum of {terms} "
            f"terms, more than {MAX_TERMS}; use fewer slots"
        )
    if edges == 1:
        # prod (1 - p + q) - prod (1 - p), without its cancellation where q is small.
        ratio = softplus(log_q[..., 0, :] - nothing).sum(-1)
        return nothing.sum(-1) + ratio + torch.log(-torch.expm1(-ratio))
    sums = log_q.new_full((*log_q.shape[:-2], 1 << edges), -torch.inf)
    sums[..., 0] = 0.0
    for m, (band, outside, without) in enumerate(_steps(edges, slots)):
        mine = log_q[..., None, :, m].masked_fill(outside, -torch.inf)
        stay = sums[..., band].unsqueeze(-1)
        closed = stay + nothing[..., m, None, None]
        ways = torch.cat([closed, stay + mine, sums[..., without] + mine], -1)
        sums = torch.full_like(sums, -torch.inf).index_copy(-1, band, ways.logsumexp(-1))
    return sums[..., -1]


def sum_terms(edges: int, slots: int) -> int:
    """Number of terms of the exact probability of `edges` groups in `slots` slots."""
    states = sum(math.comb(edges, n) for a, b in _sizes(edges, slots) for n in range(a, b + 1))
    return states * (2 * edges + 1)


def _sizes(edges: int, slots: int) -> list[tuple[int, int]]:
    """Smallest and largest number of groups that can stand after each slot.

    After m slots at most m groups can, and the slots to come must reach the rest.
    """
    return [(max(0, edges - slots + m), min(edges, m)) for m in range(1, slots + 1)]


# Few, as the largest takes 40 MB.
@lru_cache(maxsize=8)
def _steps(edges: int, slots: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For each slot the sets of groups, as bit masks, that can stand after it.

    Returns
    -------
    list, length M, of
        band : int64, (B,), the sets
        outside : bool, (B, E), whether the group is not in the set
        without : int64, (B, E), the set less the group
    """
    masks = torch.arange(1 << edges)
    bits = 1 << torch.arange(edges)
    inside = (masks.unsqueeze(1) & bits) > 0
    count, without = inside.sum(1), masks.unsqueeze(1) & ~bits
    bands = [
        ((count >= least) & (count <= most)).nonzero().squeeze(1)
        for least, most in _sizes(edges, slots)
    ]
    return [(band, ~inside[band], without[band]) for band in bands]
