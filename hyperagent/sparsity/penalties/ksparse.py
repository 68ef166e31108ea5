"""At most k non-zeros, exactly: projections instead of prices."""

from __future__ import annotations

import torch
from torch import Tensor

from hyperagent.errors import SparsityError
from hyperagent.sparsity import checks
from hyperagent.sparsity.checks import Number
from hyperagent.sparsity.penalties.base import Penalty
from hyperagent.sparsity.transport.project import project_simplex

SETS = ("free", "nonneg", "box", "simplex")


class KSparse(Penalty):
    """Indicator of "at most k non-zeros along a dimension", within a set.

    Parameters
    ----------
    k : int or integer tensor
        Most non-zeros along `dim`, >= 1; a tensor broadcasts over the other dimensions.
    within : {"free", "nonneg", "box", "simplex"}
        "free" sees magnitudes, so it works on any groups. The others see real numbers:
        ``x >= 0``, ``0 <= x <= high``, or ``x >= 0`` and ``sum x = total``.
    dim : int
        Rows or columns of an incidence matrix: -1 caps the load of an agent, -2 the size of
        a hyperedge. Both at once is a matching problem; alternating projections may cycle.
    high, total : float
        Size > 0 of the box and of the simplex.

    Notes
    -----
    The prox is the Euclidean projection for every step: the k largest entries, then the set.
    For the box that is exact because what an entry gains, ``v^2 - (clip v - v)^2``, grows with
    v. Of equal entries the first ones stay.

    References
    ----------
    Kyrillidis, Becker, Cevher and Koch, "Sparse projections onto the simplex", ICML 2013.
    """

    separable = False

    def __init__(
        self,
        k: int | Tensor,
        within: str = "free",
        *,
        dim: int = -1,
        high: float = 1.0,
        total: float = 1.0,
    ) -> None:
        if isinstance(k, Tensor):
            if k.is_floating_point() or k.is_complex() or k.dtype == torch.bool:
                raise SparsityError(f"k must be an integer tensor, got {k.dtype}")
            if k.numel() and int(k.min()) < 1:
                raise SparsityError(f"k must be >= 1, got {int(k.min())}")
        else:
            checks.count("k", k, 1)
        self.k, self.within, self.dim = k, checks.choice("within", within, SETS), dim
        self.high, self.total = checks.positive("high", high), checks.positive("total", total)
        self.signed = within != "free"

    @property
    def rho(self) -> float:
        return float("inf")

    def value(self, z: Tensor) -> Tensor:
        """0 inside the set and inf outside, per slice along `dim`; sums up to rounding."""
        self._checked("z", z)
        z = z.movedim(self.dim, -1)
        good = (z != 0).sum(-1, keepdim=True) <= self._k(z)
        if self.within != "free":
            good &= (z >= 0).all(-1, keepdim=True)
        if self.within == "box":
            good &= (z <= self.high).all(-1, keepdim=True)
        if self.within == "simplex":
            slack = z.shape[-1] * torch.finfo(z.dtype).eps * self.total
            good &= (z.sum(-1, keepdim=True) - self.total).abs() <= 4 * slack
        return torch.where(good, 0.0, torch.inf).to(z.dtype).squeeze(-1)

    def prox(self, v: Tensor, step: Number = 1.0) -> Tensor:
        self._checked("v", v)
        checks.positive("step", step)
        if self.within == "simplex":
            return project_simplex(v, self.k, self.total, self.dim)
        kept = torch.where(self.support(v), v, torch.zeros_like(v))
        if self.within == "free":
            return kept
        return kept.clamp(0, self.high if self.within == "box" else None)

    def support(self, v: Tensor) -> Tensor:
        """Boolean tensor of the shape of `v`: the k largest entries along `dim`."""
        scores = self._checked("v", v).detach().movedim(self.dim, -1)
        order = scores.argsort(dim=-1, descending=True, stable=True)
        rank = torch.arange(scores.shape[-1], device=v.device).expand(scores.shape)
        kept = torch.zeros_like(scores, dtype=torch.bool)
        return kept.scatter_(-1, order, rank < self._k(scores)).movedim(-1, self.dim)

    def _k(self, z: Tensor) -> Tensor:
        k = torch.as_tensor(self.k, device=z.device)
        checks.broadcasts("k", k, z.shape[:-1])
        if int(k.max()) > z.shape[-1]:
            raise SparsityError(f"k must be <= {z.shape[-1]}, the length along dim, got {k.max()}")
        return k.unsqueeze(-1)

    def _checked(self, name: str, z: Tensor) -> Tensor:
        if self.signed:
            checks.finite(name, z, complex_ok=False)
        else:
            checks.magnitudes(name, z)
        if not -z.ndim <= self.dim < z.ndim:
            raise SparsityError(f"{name} must have the dimension {self.dim}, got {tuple(z.shape)}")
        return z
