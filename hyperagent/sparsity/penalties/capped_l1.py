"""Capped l1: l1 up to a cap, constant beyond."""

from __future__ import annotations

import torch
from torch import Tensor

from hyperagent.sparsity import checks
from hyperagent.sparsity.checks import Number
from hyperagent.sparsity.penalties.base import Elementwise
from hyperagent.sparsity.penalties.firm import keep_above
from hyperagent.sparsity.penalties.l1 import soft


class CappedL1(Elementwise):
    """``lam min(z / t, 1)``.

    Parameters
    ----------
    lam : float or tensor
        Price >= 0 of a group beyond the cap, loss units.
    t : float or tensor
        Cap > 0, a magnitude.

    Notes
    -----
    With w = step lam / t the soft threshold and `v` tie at ``t + w / 2`` while the soft
    threshold is positive there (w <= 2 t), and at ``sqrt(2 step lam)`` beyond.

    References
    ----------
    Zhang, "Analysis of multi-stage convex relaxation for sparse regularization", JMLR 11,
    2010.
    """

    parameters = ("lam", "t")

    def __init__(self, lam: Number, t: Number) -> None:
        self.lam = checks.weight("lam", lam)
        self.t = checks.positive("t", t)

    @property
    def rho(self) -> float:
        return float("inf")

    @staticmethod
    def _value(z: Tensor, lam: Number, t: Number) -> Tensor:
        return lam * (z / t).clamp(max=1)

    @staticmethod
    def _slope(z: Tensor, lam: Number, t: Number) -> Tensor:
        return lam / t * (z < t).to(z.dtype)

    @staticmethod
    def _solve(v: Tensor, step: Number, lam: Number, t: Number) -> Tensor:
        w = step * lam / t
        threshold = (
            torch.where(w <= 2 * t, t + w / 2, (2 * w * t) ** 0.5)
            if isinstance(w, Tensor)
            else (t + w / 2 if w <= 2 * t else (2 * w * t) ** 0.5)
        )
        return torch.maximum(keep_above(v, threshold), soft(v, w))
