"""The l0 count: a price for every group that is not zero."""

from __future__ import annotations

import torch
from torch import Tensor

from hyperagent.sparsity import checks
from hyperagent.sparsity.checks import Number
from hyperagent.sparsity.penalties.base import Elementwise
from hyperagent.sparsity.penalties.firm import keep_above


class L0(Elementwise):
    """``lam [z != 0]``: hard thresholding at ``sqrt(2 step lam)``, 0 at the tie.

    Parameters
    ----------
    lam : float or tensor
        Price >= 0 of one non-zero group, loss units.

    References
    ----------
    Blumensath and Davies, "Iterative thresholding for sparse approximations", J. Fourier
    Anal. Appl. 14, 2008.
    """

    parameters = ("lam",)
    two_wells = True
    _single_pass = True

    def __init__(self, lam: Number) -> None:
        self.lam = checks.weight("lam", lam)

    @property
    def rho(self) -> float:
        return float("inf")

    @staticmethod
    def _value(z: Tensor, lam: Number) -> Tensor:
        return lam * (z != 0).to(z.dtype)

    @staticmethod
    def _slope(z: Tensor, lam: Number) -> Tensor:
        return torch.zeros_like(z)

    @staticmethod
    def _solve(v: Tensor, step: Number, lam: Number) -> Tensor:
        return keep_above(v, (2 * step * lam) ** 0.5)
