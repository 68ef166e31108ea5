"""The pieces of the loss of a learned designer, each a function with its source.

``loss = -E[reward - price * cost] + kl + anchor + diversity + expected tokens + groups``; the
expected tokens are `SlotDistribution.expected_tokens`. Weights and schedules
(`hyperagent.sparsity.Linear` and others) belong to the trainer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, normalize

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.sparsity import Groups, Penalty
from hyperagent.sparsity.penalties import penalties
from hyperagent.topology.plan_net import Gaussian
from hyperagent.topology.slots import SlotDistribution

_GROUPS = {"agents": Groups.by_agent, "hyperedges": Groups.by_hyperedge}


def rloo_advantages(
    rewards: Tensor, costs: Tensor | None = None, *, price: float = 0.1, scale: bool = True
) -> Tensor:
    r"""Leave-one-out advantages of K topologies for each of B tasks.

    With :math:`R = u - \lambda \tau`, :math:`A_k = R_k - \frac{1}{K-1} \sum_{j \ne k} R_j`.
    Where all K rewards are equal, only the cost part is left: among topologies that all solve a
    task the cheaper ones gain.

    Parameters
    ----------
    rewards : Tensor, shape (B, K), K >= 2
        u, e.g. 1 where the answer is right.
    costs : Tensor, shape (B, K), optional
        :math:`\tau`, e.g. tokens over the mean tokens of the task.
    price : float
        :math:`\lambda`, reward that one unit of cost is worth.
    scale : bool
        Divide by the root mean square over the batch. Over a task it would give tasks that are
        nearly solved too much weight. The scaled gradient keeps its direction but is unbiased
        only without it.

    Returns
    -------
    Tensor, shape (B, K), without gradient

    Raises
    ------
    ConfigError
        If there are fewer than two topologies a task, or the shapes differ.

    References
    ----------
    Kool, van Hoof and Welling, "Buy 4 REINFORCE samples, get a baseline for free!", ICLR 2019
    workshop, eq. 7; Ahmadian et al., arXiv 2402.14740, eq. 7.
    """
    if rewards.ndim != 2 or rewards.shape[1] < 2:
        raise ConfigError(
            f"rewards must have the shape (tasks, K) with K >= 2, got {tuple(rewards.shape)}"
        )
    total = rewards.detach().to(torch.float64)
    if costs is not None:
        if costs.shape != rewards.shape:
            raise ConfigError(
                f"costs must have the shape {tuple(rewards.shape)}, got {tuple(costs.shape)}"
            )
        total = total - price * costs.detach().to(torch.float64)
    k = total.shape[1]
    advantages = (total - total.mean(1, keepdim=True)) * k / (k - 1)
    # What is left of equal numbers is rounding, and must not be blown up to size 1.
    size = total.abs().amax(1, keepdim=True)
    advantages = advantages.masked_fill(advantages.abs() <= 1e-12 * size, 0.0)
    root = advantages.square().mean().sqrt()
    return advantages / root if scale and root > 0 else advantages


def policy_loss(log_probs: Tensor, advantages: Tensor) -> Tensor:
    """Loss whose gradient is the score-function gradient (Williams, 1992); scalar.

    Parameters
    ----------
    log_probs, advantages : Tensor, one shape
        Log-probabilities of the executed hypergraphs; advantages get no gradient.
    """
    return -(advantages.detach() * log_probs).mean()


def edge_credit(
    hypergraphs: Sequence[Hypergraph], advantages: Sequence[float] | Tensor
) -> dict[Hyperedge, float]:
    """Advantage of each hyperedge: mean over the topologies with it minus mean over those without.

    Shrunk by ``n / (n + 4)``, where n is the smaller of the two counts, as it is the smaller side
    that makes the difference noisy. A hyperedge that all have, or that stands alone against
    nothing, says nothing and is left out.

    Parameters
    ----------
    hypergraphs : sequence of Hypergraph, length K
        Topologies of one task.
    advantages : sequence of float, length K

    Returns
    -------
    dict of Hyperedge to float
        Members sorted, weight 1.

    References
    ----------
    The edge-level credit of Graph-GRPO, with shrinkage towards zero as for a mean under a normal
    prior worth four observations.
    """
    values = [float(a) for a in advantages]
    if len(values) != len(hypergraphs):
        raise ConfigError(f"{len(hypergraphs)} hypergraphs need as many advantages: {len(values)}")
    having: dict[Hyperedge, list[float]] = {}
    for graph, value in zip(hypergraphs, values, strict=True):
        for edge in graph.canonical().edges:
            plain = Hyperedge(edge.members, edge.mode, edge.phase)
            having.setdefault(plain, []).append(value)
    total, credit = math.fsum(values), {}
    for edge, mine in having.items():
        others = len(values) - len(mine)
        if others:
            with_it, without = math.fsum(mine) / len(mine), (total - math.fsum(mine)) / others
            n = min(len(mine), others)
            credit[edge] = (with_it - without) * n / (n + 4)
    return credit


def credit_loss(policy: SlotDistribution, credit: Mapping[Hyperedge, float]) -> Tensor:
    """``-sum credit * P(hyperedge is formed)``; scalar.

    A biased but quiet companion of `policy_loss`. With the logarithm of the probability, which is
    right for a hyperedge that was just drawn, a bad hyperedge would be pushed away for ever and
    take the gates of the good ones with it.
    """
    if not credit:
        return policy.gate_logits.sum() * 0.0
    formed = policy.formed(Hypergraph(policy.nodes, tuple(credit)))
    return -(formed.new_tensor(list(credit.values())) * formed).sum()


def kl_free_bits(q: Gaussian, p: Gaussian, free: float = 0.1) -> Tensor:
    """``sum_d max(free, mean KL(q_d || p_d))`` of diagonal Gaussians, in nats; scalar.

    The mean is over the batch, if there is one. Below `free` a component costs the same whatever
    it says, so that the plan is not given up before the decoder has learned to listen.

    References
    ----------
    Kingma et al., "Improved variational inference with inverse autoregressive flow", NeurIPS
    2016, eq. 15 (free bits).
    """
    ratio = 2 * (q.log_sigma - p.log_sigma)
    shift = (q.mean - p.mean) * (-p.log_sigma).exp()
    kl = 0.5 * (ratio.exp() + shift.square() - 1 - ratio)
    return kl.reshape(-1, kl.shape[-1]).mean(0).clamp(min=free).sum()


def anchor_kl(policy: SlotDistribution, anchor: SlotDistribution) -> Tensor:
    r"""KL divergence of the slots from an anchor's, slot by slot, in nats; scalar.

    :math:`\sum_m KL(G_m \| G^a_m) + \sigma(g_m) \sum_i KL(H_{im} \| H^a_{im})`: exact for the
    draws, since memberships of a closed slot are not drawn (chain rule).

    Raises
    ------
    ConfigError
        If the nodes or the numbers of slots differ.
    """
    if policy.nodes != anchor.nodes or policy.slots != anchor.slots:
        raise ConfigError("policy and anchor must have the same nodes and number of slots")
    gates = _bernoulli_kl(policy.gate_logits, anchor.gate_logits)
    members = _bernoulli_kl(policy.member_logits, anchor.member_logits).sum(0)
    return (gates + policy.gate_logits.sigmoid() * members).sum()


def _bernoulli_kl(a: Tensor, b: Tensor) -> Tensor:
    on = a.sigmoid() * (logsigmoid(a) - logsigmoid(b))
    return on + (-a).sigmoid() * (logsigmoid(-a) - logsigmoid(-b))


def diversity(policy: SlotDistribution) -> Tensor:
    """Mean cosine between the memberships of two open slots, in [0, 1]; scalar.

    A pair counts by the probability that both are open. 0 with fewer than two slots.
    """
    columns = normalize(policy.member_logits.sigmoid(), dim=0)
    gates = policy.gate_logits.sigmoid()
    pairs = gates.unsqueeze(1) * gates
    off = pairs - pairs.diagonal().diag()
    return (off * (columns.t() @ columns)).sum() / off.sum().clamp(min=1e-12)


def named_penalty(name: str, **parameters: Any) -> Penalty:
    """A penalty of `hyperagent.sparsity` by name: ``named_penalty("cel0", lam=0.01)``.

    Raises
    ------
    UnknownNameError
        If no penalty has that name.
    ConfigError
        Naming the parameter that the penalty does not take.
    """
    make = penalties.get(name)
    try:
        return make(**parameters)
    except TypeError as error:
        raise ConfigError(f"penalty {name!r}: {error}") from None


def group_penalty(policy: SlotDistribution, penalty: Penalty, over: str) -> Tensor:
    """A penalty on the norms of the rows or columns of the soft incidence; scalar, loss units.

    Group lasso on hyperedges closes slots; CEL0 is a price for each hyperedge, whatever its size
    once it is open; the debiased envelope with k is free up to k agents.

    Parameters
    ----------
    policy : SlotDistribution
    penalty : Penalty
        Any of `hyperagent.sparsity.penalties`.
    over : {"agents", "hyperedges"}
        Rows, or columns.

    Raises
    ------
    ConfigError
        If `over` is neither.

    References
    ----------
    Yuan and Lin, "Model selection and estimation in regression with grouped variables", JRSS B
    68, 2006, for the groups; each penalty names its own source.
    """
    if over not in _GROUPS:
        raise ConfigError(f"over must be 'agents' or 'hyperedges', got {over!r}")
    return penalty.on(_GROUPS[over]()).value(policy.soft_incidence())


def dual_ascent(price: float, tokens: float, budget: float, step: float = 0.05) -> float:
    """Next price of a token: ``max(0, price + step * (tokens / budget - 1))``.

    The user names a budget and the price follows: it rises while the mean tokens of the last
    batch exceed the budget, and falls to zero where they stay below.

    Parameters
    ----------
    price : float
        Reward per unit of cost, >= 0.
    tokens, budget : float
        Mean tokens of a task and what is allowed, > 0.
    step : float

    Raises
    ------
    ConfigError
        If the budget is not positive.

    References
    ----------
    Arrow, Hurwicz and Uzawa, "Studies in linear and non-linear programming", 1958: ascent in the
    multiplier of a constraint.
    """
    if not 0 < budget < math.inf:
        raise ConfigError(f"budget must be a number > 0, got {budget!r}")
    return max(0.0, price + step * (tokens / budget - 1.0))
