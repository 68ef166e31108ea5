"""Budget terms: what the groups that are on may cost together."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hyperagent.errors import SparsityError
from hyperagent.sparsity import checks
from hyperagent.sparsity.checks import Number
from hyperagent.sparsity.penalties.base import Penalty


class Budget(Penalty):
    """``lam max(sum c z - limit, 0)``: free below the limit, a price on what is above.

    Parameters
    ----------
    limit : float
        >= 0, in units of cost times magnitude (for gates in [0, 1]: of cost).
    cost : float or tensor
        c > 0 of each group.
    lam : float
        Loss units per unit above the limit; ``inf`` (default) never exceeds it, and the prox
        is then the projection onto ``sum c z <= limit``.

    Notes
    -----
    The prox is ``max(v - t c, 0)`` with the smallest t in [0, step lam] that meets the limit.
    That t is the largest of ``(sum c v - limit) / sum c^2`` over the groups of largest v / c.
    """

    separable = False

    def __init__(self, limit: float, cost: Number = 1.0, lam: float = math.inf) -> None:
        self.limit = checks.weight("limit", limit)
        self.cost = checks.positive("cost", cost)
        self.lam = checks.number("lam", lam, low=0.0)

    @property
    def rho(self) -> float:
        return 0.0

    def value(self, z: Tensor) -> Tensor:
        used = (self._cost(checks.vectors("z", z)) * z).sum(-1)
        if not math.isinf(self.lam):
            return self.lam * (used - self.limit).clamp(min=0)
        slack = z.shape[-1] * torch.finfo(z.dtype).eps * (used + self.limit)
        return torch.where(used - self.limit > slack, torch.inf, 0.0).to(z.dtype)

    def prox(self, v: Tensor, step: Number) -> Tensor:
        c = self._cost(checks.vectors("v", v))
        most = checks.positive("step", step) * self.lam
        checks.broadcasts("step", step, v.shape)
        order = (v.detach() / c).argsort(dim=-1, descending=True)
        spent = (c * v).gather(-1, order).cumsum(-1) - self.limit
        level = (spent / c.square().gather(-1, order).cumsum(-1)).amax(-1, keepdim=True)
        return (v - level.clamp(min=0).clamp(max=most) * c).clamp(min=0)

    def _cost(self, z: Tensor) -> Tensor:
        checks.broadcasts("cost", self.cost, z.shape)
        return torch.as_tensor(self.cost, dtype=z.dtype, device=z.device).expand(z.shape)


def log_ratio(used: Tensor, target: float) -> Tensor:
    """``|log(used / target)|``: a two-sided budget loss without a scale of its own.

    Parameters
    ----------
    used : tensor
        Expected cost of the gates, > 0.
    target : float
        Wanted cost > 0 in the same units.

    References
    ----------
    Gao et al., "DISP-LLM: Dimension-independent structural pruning for large language
    models", NeurIPS 2024, eq. 6.
    """
    checks.positive("target", target)
    checks.positive("used", used)
    return (used / target).log().abs()


class Lagrangian(nn.Module):
    """``l1 (used - target) / total + l2 ((used - target) / total)^2``, l1 and l2 ascending.

    Minimise over the gates and maximise over the two multipliers, e.g. with a second
    optimizer made with ``maximize=True``: the budget is then met without a weight to tune.

    Parameters
    ----------
    target, total : float
        Wanted and full cost, ``0 < target <= total``.

    References
    ----------
    Wang, Wohlwend and Lei, "Structured pruning of large language models", EMNLP 2020, eq. 8.
    """

    def __init__(self, target: float, total: float) -> None:
        super().__init__()
        self.total = checks.positive("total", total)
        self.target = checks.positive("target", target)
        if self.target > self.total:
            raise SparsityError(f"target must be <= total, {total:g}, got {target:g}")
        self.linear = nn.Parameter(torch.zeros(()))
        self.quadratic = nn.Parameter(torch.zeros(()))

    def forward(self, used: Tensor) -> Tensor:
        """Loss of an expected cost; 0-dim."""
        gap = (used - self.target) / self.total
        return self.linear * gap + self.quadratic * gap.square()
