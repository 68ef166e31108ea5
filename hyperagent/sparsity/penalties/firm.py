"""Firm thresholding: MCP and CEL0 are one function with three names for its numbers.

Both are ``b z - r z^2 / 2`` up to the knee b / r and constant, b^2 / (2 r), from there on.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from hyperagent.sparsity import checks
from hyperagent.sparsity.checks import Number
from hyperagent.sparsity.penalties.base import Elementwise
from hyperagent.sparsity.penalties.l1 import soft


def either(condition: bool | Tensor, yes: Callable[[], Tensor], no: Callable[[], Tensor]) -> Tensor:
    """The branch that holds; both, chosen by element, if the condition is a tensor."""
    if isinstance(condition, Tensor):
        return torch.where(condition, yes(), no())
    return yes() if condition else no()


def keep_above(v: Tensor, threshold: Number) -> Tensor:
    """`v` where it exceeds `threshold` >= 0, else 0: the hard threshold."""
    if isinstance(threshold, float):
        return functional.threshold(v, threshold, 0.0)  # one pass
    # A comparison written as numbers and multiplied is several times faster than a mask.
    return torch.gt(v, threshold, out=torch.empty_like(v)).mul_(v)


def firm_value(z: Tensor, slope: Number, rho: Number) -> Tensor:
    """``slope z - rho z^2 / 2`` up to the knee ``slope / rho``, constant beyond."""
    if isinstance(slope, Tensor) or isinstance(rho, Tensor):
        inside = torch.minimum(z, torch.as_tensor(slope / rho))
    else:
        inside = z.clamp(max=slope / rho)
    return slope * inside - 0.5 * rho * inside * inside


def firm_slope(z: Tensor, slope: Number, rho: Number) -> Tensor:
    """Derivative of `firm_value`."""
    return (slope - rho * z).clamp(min=0)


def firm_prox(v: Tensor, step: Number, slope: Number, rho: Number) -> Tensor:
    """Prox of `firm_value`: firm threshold for ``step rho < 1``, else hard threshold.

    The usual formula alone is wrong for ``step rho >= 1``: the objective is then concave up
    to the knee, so that only 0 and `v` can win, with a tie at ``slope sqrt(step / rho)``.
    """
    curvature = step * rho

    def firm() -> Tensor:
        gain = 1 / (1 - curvature)
        if isinstance(gain, Tensor):
            # Elements of the other branch must not turn up as inf * 0.
            gain = torch.where(curvature < 1, gain, torch.ones_like(gain))
        return torch.minimum(soft(v, step * slope).mul_(gain), v)

    return either(curvature < 1, firm, lambda: keep_above(v, slope * (step / rho) ** 0.5))


class MCP(Elementwise):
    """Minimax concave penalty: l1 near 0, constant ``gamma lam^2 / 2`` from ``gamma lam`` on.

    Parameters
    ----------
    lam : float or tensor
        Slope at 0, >= 0, loss units per unit of magnitude.
    gamma : float or tensor
        > 0; the penalty bends by 1 / gamma.

    References
    ----------
    Zhang, "Nearly unbiased variable selection under minimax concave penalty", Ann. Statist.
    38(2), 2010, eq. 2.2.
    """

    parameters = ("lam", "gamma")
    two_wells = True

    def __init__(self, lam: Number, gamma: Number) -> None:
        self.lam = checks.weight("lam", lam)
        self.gamma = checks.positive("gamma", gamma)

    @property
    def rho(self) -> Number:
        return 1 / self.gamma

    @staticmethod
    def _value(z: Tensor, lam: Number, gamma: Number) -> Tensor:
        return firm_value(z, lam, 1 / gamma)

    @staticmethod
    def _slope(z: Tensor, lam: Number, gamma: Number) -> Tensor:
        return firm_slope(z, lam, 1 / gamma)

    @staticmethod
    def _solve(v: Tensor, step: Number, lam: Number, gamma: Number) -> Tensor:
        return firm_prox(v, step, lam, 1 / gamma)


class CEL0(Elementwise):
    """Continuous exact l0: the largest penalty below ``lam [z != 0]`` that keeps its minima.

    With the norms of the columns of A in ``1/2 ||A x - y||^2 + pen(x)`` it has the global
    minimisers of the l0 problem and fewer local ones. It is MCP with slope ``a sqrt(2 lam)``
    and gamma ``1 / a^2``.

    Parameters
    ----------
    lam : float or tensor
        Price >= 0 of one non-zero group, in loss units (the value at saturation).
    norm : float or tensor
        Norm a > 0 of the column of A that belongs to the element. Exactness needs the real
        norms. With ``a = sqrt(2 lam) / theta`` a weight counts as fully on from theta on.

    References
    ----------
    Soubies, Blanc-Feraud and Aubert, "A continuous exact l0 penalty (CEL0) for least squares
    regularized problem", SIAM J. Imaging Sci. 8(3), 2015.
    """

    parameters = ("lam", "norm")
    two_wells = True

    def __init__(self, lam: Number, norm: Number = 1.0) -> None:
        self.lam = checks.weight("lam", lam)
        self.norm = checks.positive("norm", norm)

    @property
    def rho(self) -> Number:
        return self.norm**2

    @staticmethod
    def _value(z: Tensor, lam: Number, norm: Number) -> Tensor:
        return firm_value(z, norm * (2 * lam) ** 0.5, norm**2)

    @staticmethod
    def _slope(z: Tensor, lam: Number, norm: Number) -> Tensor:
        return firm_slope(z, norm * (2 * lam) ** 0.5, norm**2)

    @staticmethod
    def _solve(v: Tensor, step: Number, lam: Number, norm: Number) -> Tensor:
        return firm_prox(v, step, norm * (2 * lam) ** 0.5, norm**2)
