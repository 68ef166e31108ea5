"""The l1 norm and the group lasso: convex, and the only ones that shrink what they keep."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from hyperagent.sparsity import checks
from hyperagent.sparsity.checks import Number
from hyperagent.sparsity.penalties.base import Elementwise


def soft(v: Tensor, threshold: Number) -> Tensor:
    """``max(v - threshold, 0)`` for v >= 0."""
    if isinstance(threshold, float):
        return functional.softshrink(v, threshold)  # one pass
    return torch.sub(v, threshold).clamp_(min=0)


class L1(Elementwise):
    """``lam z``: soft thresholding by ``step lam``.

    Parameters
    ----------
    lam : float or tensor
        Weight >= 0, loss units per unit of magnitude.

    References
    ----------
    Donoho, "De-noising by soft-thresholding", IEEE Trans. Inf. Theory 41(3), 1995.
    """

    parameters = ("lam",)
    two_wells = True
    _single_pass = True

    def __init__(self, lam: Number) -> None:
        self.lam = checks.weight("lam", lam)

    @property
    def rho(self) -> float:
        return 0.0

    @staticmethod
    def _value(z: Tensor, lam: Number) -> Tensor:
        return lam * z

    @staticmethod
    def _slope(z: Tensor, lam: Number) -> Tensor:
        return lam * torch.ones_like(z)

    @staticmethod
    def _solve(v: Tensor, step: Number, lam: Number) -> Tensor:
        return soft(v, step * lam)


class GroupLasso(L1):
    """``lam d_g z_g`` on group norms: l1 between groups, l2 within.

    Parameters
    ----------
    lam : float or tensor
        Weight >= 0, loss units per unit of norm.
    weights : float or tensor
        Weight d_g >= 0 of each group; the usual choice is the square root of its size.

    References
    ----------
    Yuan and Lin, "Model selection and estimation in regression with grouped variables",
    J. R. Stat. Soc. B 68(1), 2006.
    """

    parameters = ("lam", "weights")

    def __init__(self, lam: Number, weights: Number = 1.0) -> None:
        super().__init__(lam)
        self.weights = checks.weight("weights", weights)

    @staticmethod
    def _value(z: Tensor, lam: Number, weights: Number) -> Tensor:
        return lam * weights * z

    @staticmethod
    def _slope(z: Tensor, lam: Number, weights: Number) -> Tensor:
        return lam * weights * torch.ones_like(z)

    @staticmethod
    def _solve(v: Tensor, step: Number, lam: Number, weights: Number) -> Tensor:
        return soft(v, step * lam * weights)
