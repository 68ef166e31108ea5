"""Agents to hyperedges with hard limits on group size and load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hyperagent.errors import SparsityError
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.sparsity import checks
from hyperagent.sparsity.transport.inputs import spread
from hyperagent.sparsity.transport.plan import Plan, TransportPlan
from hyperagent.sparsity.transport.rounding import matched, round_bmatching


@dataclass(frozen=True)
class Route:
    """Who joins which group, and what the limits cost.

    Attributes
    ----------
    taken : Tensor of bool, shape (..., A, T)
        Agent i is in group j. Every limit holds.
    price : Tensor, shape (..., A)
        Price of congestion: what one more seat of the agent would add to the utility of
        the best assignment; 0 for an agent with free seats.
    plan : Plan
        The soft, differentiable counterpart: ``plan.share`` is how the work of a group is
        split, in seats; it sums to the size of the group.
    utility : Tensor, shape (..., A, T)
        Affinity minus cost; ``-inf`` where forbidden.
    """

    taken: Tensor
    price: Tensor
    plan: Plan
    utility: Tensor

    @property
    def load(self) -> Tensor:
        """Groups of each agent, int64, shape (..., A)."""
        return self.taken.sum(-1)

    @property
    def size(self) -> Tensor:
        """Agents of each group, int64, shape (..., T)."""
        return self.taken.sum(-2)

    @property
    def total(self) -> Tensor:
        """Utility of all taken pairs, shape (...)."""
        return torch.where(self.taken, self.utility, 0).sum((-2, -1))

    def prices(self, agents: Sequence[str]) -> dict[str, float]:
        """Price of congestion by agent, in the units of the affinity. Unbatched routes only."""
        self._named(agents)
        return dict(zip(agents, self.price.tolist(), strict=True))

    def members(self, agents: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """The agents of each group, in the order of `agents`. Unbatched routes only."""
        self._named(agents)
        return tuple(
            tuple(name for name, seated in zip(agents, column, strict=True) if seated)
            for column in self.taken.T.tolist()
        )

    def hypergraph(
        self, agents: Sequence[str], *, mode: str = "discuss", phase: int = 0
    ) -> Hypergraph:
        """The groups as a `Hypergraph` over all `agents`; an empty group is left out."""
        groups = self.members(agents)
        return Hypergraph(tuple(agents), tuple(Hyperedge(g, mode, phase) for g in groups if g))

    def _named(self, agents: Sequence[str]) -> None:
        if self.taken.dim() != 2:
            raise SparsityError("a batch of routes has no names; take one item of it first")
        if len(agents) != self.taken.shape[0]:
            raise SparsityError(
                f"agents must hold one name per row: {self.taken.shape[0]}, got {len(agents)}"
            )


def route(
    affinity: Tensor,
    cost: Tensor | None = None,
    *,
    max_size: int | Tensor,
    load: int | Tensor,
    min_size: int | Tensor = 1,
    allowed: Tensor | None = None,
    gamma: float | Tensor | None = None,
    follow: str = "utility",
) -> Route:
    """Seat agents in groups: no group above its size, no agent above its load.

    Parameters
    ----------
    affinity : Tensor, shape (..., A, T)
        Worth of agent i in group j, in loss units.
    cost : Tensor, broadcastable to (..., A, T), optional
        Price of that seat in the same units, e.g. expected tokens times price; shape
        (A, 1) for one price per agent.
    max_size, min_size : int, or integer Tensor broadcastable to (..., T)
        Seats of a group. Above `min_size` only seats of positive utility are filled.
    load : int, or integer Tensor broadcastable to (..., A)
        Most groups of an agent.
    allowed : Tensor of bool, broadcastable to (..., A, T), optional
        False forbids a pair.
    gamma : float, or Tensor broadcastable to (...), optional
        Smoothness of the plan (`TransportPlan`); default one standard deviation of the
        affinity, at which a group of k is shared by about k agents.
    follow : {"utility", "plan"}
        What the assignment maximises: the utility, exactly; or the part of the plan that
        it keeps, for training through `straight_through`.

    Returns
    -------
    Route

    Raises
    ------
    SparsityError
        If an argument is wrong or no assignment keeps the limits.

    Examples
    --------
    >>> affinity = torch.tensor([[0.9, 0.8, 0.7], [0.5, 0.1, 0.6], [0.2, 0.3, 0.4]])
    >>> seated = route(affinity, max_size=2, load=2)
    >>> seated.members(["ann", "bob", "eve"])
    (('ann', 'bob'), ('ann', 'eve'), ('bob', 'eve'))
    """
    checks.finite("affinity", affinity, complex_ok=False)
    checks.choice("follow", follow, ("utility", "plan"))
    if affinity.dim() < 2 or 0 in affinity.shape:
        raise SparsityError(
            f"affinity must have shape (..., agents, groups), got {tuple(affinity.shape)}"
        )
    utility = affinity
    if cost is not None:
        checks.finite("cost", cost, complex_ok=False)
        utility = affinity - spread(cost, tuple(affinity.shape), "cost")
    if gamma is None:
        gamma = float(affinity.detach().std(correction=0)) or 1.0
    if allowed is not None:
        if not isinstance(allowed, Tensor) or allowed.dtype != torch.bool:
            raise SparsityError("allowed must be a bool tensor")
        utility = utility.masked_fill(
            ~spread(allowed, tuple(affinity.shape), "allowed"), -torch.inf
        )
    taken, price = matched(
        utility, load, max_size, min_size, names=("load", "max_size", "min_size")
    )
    # With the sizes of a possible assignment as masses the plan is possible too.
    mass = taken.sum(-2).to(torch.float64)
    capacity = torch.as_tensor(load, dtype=torch.float64, device=affinity.device)
    plan = TransportPlan(max_size, gamma, row="le")(
        -utility, spread(capacity, tuple(affinity.shape[:-1]), "load"), mass
    )
    if follow == "plan":
        taken = round_bmatching(plan.share.detach(), load, max_size, min_size, utility.detach())
    return Route(taken, price, plan, utility.detach())
