"""The routers that the study compares: affinity (A, T) in, 0/1 assignment (A, T) out."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from hyperagent.sparsity.transport import (
    MarginalWarning,
    TransportPlan,
    b_matching,
    round_bmatching,
    route,
)
from hyperagent.sparsity.transport.inputs import problem
from hyperagent.sparsity.transport.solve import oracle

AGENTS, TASKS, K, CAPACITY, HOT = 16, 256, 2, 40, 2
"""Sizes of the problem; the capacity counts assignments of one agent."""
MASS = CAPACITY / K
"""The same capacity in tasks: each task is a mass of one."""


def affinities(seed: int) -> Tensor:
    """Softmax affinities; two agents are everybody's favourites."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(AGENTS, TASKS, generator=generator, dtype=torch.float64)
    logits[:HOT] += 2
    return torch.softmax(logits, dim=0)


def best(score: Tensor, k: int, dim: int) -> Tensor:
    """The k largest entries along a dimension, as a mask."""
    mask = torch.zeros_like(score, dtype=torch.bool)
    return mask.scatter(dim, score.topk(k, dim=dim).indices, True)


def top_k(affinity: Tensor) -> Tensor:
    """Each task takes its k best agents; nobody counts."""
    return best(affinity, K, 0)


def top_k_drop(affinity: Tensor) -> Tensor:
    """The same in the order of the tasks; a full agent drops what comes later."""
    taken, left = torch.zeros_like(affinity, dtype=torch.bool), [CAPACITY] * AGENTS
    for task, agents in enumerate(affinity.topk(K, dim=0).indices.T.tolist()):
        for agent in agents:
            if left[agent]:
                taken[agent, task] = True
                left[agent] -= 1
    return taken


def expert_choice(affinity: Tensor) -> Tensor:
    """Each agent takes its k T / A best tasks (Zhou et al. 2022)."""
    return best(affinity, K * TASKS // AGENTS, 1)


def sinkhorn_plan(affinity: Tensor, steps: int = 100, epsilon: float = 0.05) -> Tensor:
    """Entropic plan with column sums one and row sums at most the capacity, differentiable."""
    scores = affinity / epsilon
    row, column = torch.zeros(AGENTS, 1).to(affinity), torch.zeros(1, TASKS).to(affinity)
    limit = torch.log(torch.tensor(MASS)).to(affinity)
    for _ in range(steps):
        column = -torch.logsumexp(scores + row, 0, keepdim=True)
        row = (limit - torch.logsumexp(scores + column, 1, keepdim=True)).clamp_max(0)
    column = -torch.logsumexp(scores + row, 0, keepdim=True)
    return torch.exp(scores + row + column)


def sinkhorn(affinity: Tensor) -> Tensor:
    """The k largest entries of each column of the entropic plan."""
    return best(sinkhorn_plan(affinity), K, 0)


def base(affinity: Tensor) -> Tensor:
    """Balanced linear assignment, one agent for each task (Lewis et al. 2021)."""
    from scipy.optimize import linear_sum_assignment

    copies = affinity.repeat_interleave(int(MASS), dim=0)
    i, j = linear_sum_assignment(copies.numpy(), maximize=True)
    taken = torch.zeros_like(affinity, dtype=torch.bool)
    taken[torch.from_numpy(i) // int(MASS), torch.from_numpy(j)] = True
    return taken


def plan(affinity: Tensor, gamma: float, k: int | None = K) -> Tensor:
    """Share (A, T) of the cardinality-constrained plan."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MarginalWarning)
        capacity = torch.full((AGENTS,), MASS, dtype=torch.float64)
        return TransportPlan(k, gamma, row="le")(-affinity, capacity).share


def prices_then_top_k(affinity: Tensor) -> Tensor:
    """The k best agents of each task after the congestion prices of the unlimited plan."""
    capacity = torch.full((AGENTS,), MASS, dtype=torch.float64)
    price = TransportPlan(None, 0.05, row="le")(-affinity, capacity).price
    return best(affinity - price[:, None], K, 0)


def adam_then_top_k(affinity: Tensor) -> Tensor:
    """The V-MoE project's solver: 20 steps of Adam (rate 0.01) on the row potentials, gamma 1."""
    capacity = torch.full((AGENTS,), MASS, dtype=torch.float64)
    function = oracle(problem(-affinity, capacity, None, 1.0, K, True), limit=True)
    alpha = torch.zeros(1, AGENTS, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([alpha], lr=0.01)
    for _ in range(20):
        alpha.grad = -function.at(alpha.detach()).gradient
        optimizer.step()
        alpha.data.clamp_(max=0)
    return best(affinity + alpha.detach()[0][:, None], K, 0)


def scot_support(affinity: Tensor) -> Tensor:
    """The support of the plan as it is: mass is within capacity, seats need not be."""
    return plan(affinity, 0.05) > 0


def scot_rounded(gamma: float) -> Callable[[Tensor], Tensor]:
    """The plan rounded by exact b-matching."""

    def router(affinity: Tensor) -> Tensor:
        return round_bmatching(plan(affinity, gamma), CAPACITY, K, affinity=affinity)

    return router


def exact(affinity: Tensor) -> Tensor:
    """The assignment of highest affinity within all limits (linear program, HiGHS)."""
    return b_matching(affinity, CAPACITY, K)


def ours(affinity: Tensor) -> Tensor:
    """`sparsity.transport.route`: exact assignment, its prices and a plan for training."""
    return route(affinity, max_size=K, load=CAPACITY).taken


ROUTERS: dict[str, Callable[[Tensor], Tensor]] = {
    "top-k, no capacity": top_k,
    "top-k, drop at capacity": top_k_drop,
    "expert choice, c = kT/A": expert_choice,
    "Sinkhorn (eps .05, 100 steps) + top-k": sinkhorn,
    "BASE (one agent a task)": base,
    "SCOT prices (k = A) + top-k": prices_then_top_k,
    "SCOT, 20 Adam steps + top-k": adam_then_top_k,
    "SCOT support, gamma .05": scot_support,
    "SCOT gamma .02 + b-matching": scot_rounded(0.02),
    "SCOT gamma .05 + b-matching": scot_rounded(0.05),
    "SCOT gamma .3 + b-matching": scot_rounded(0.3),
    "exact b-matching LP": exact,
    "`route` (LP + prices + plan)": ours,
}
