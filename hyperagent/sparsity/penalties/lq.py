"""The lq quasi-norm, 0 < q < 1: one scaled root for every q, no closed form needed."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from hyperagent.sparsity import checks
from hyperagent.sparsity.checks import Number
from hyperagent.sparsity.penalties.base import Elementwise
from hyperagent.sparsity.penalties.firm import keep_above
from hyperagent.sparsity.penalties.lq_table import HIGHEST_Q, lookup, table

_LN2 = 0.6931471805599453
_DEGREE = 6
_LONG = 1 << 15
_SMALLEST_TAU = 1e-6  # below, v / tau may overflow in float32


class Lq(Elementwise):
    """``lam z^q``: keeps large groups nearly unshrunk, jumps to 0 below a threshold.

    Parameters
    ----------
    lam : float or tensor
        Weight >= 0, loss units per magnitude^q.
    q : float or tensor
        Exponent, 0 < q < 1.

    Notes
    -----
    With u = step lam the smallest non-zero result is z0 = (2 u (1 - q))^(1 / (2 - q)), reached
    at tau = z0 + u q z0^(q - 1). Above it the result is r v, where r solves
    ``r + c r^(q - 1) = 1`` with ``c = u q v^(q - 2)``; c lies in (0, c_max(q)], so one
    function of one variable serves all weights and steps. The known closed forms for q = 1/2
    and 2/3 are not used: the second gives NaN in float32 near the threshold.

    References
    ----------
    Marjanovic and Solo, "On lq optimization and matrix completion", IEEE Trans. Signal
    Process. 60(11), 2012. Xu et al., "L1/2 regularization", IEEE TNNLS 23(7), 2012.
    """

    parameters = ("lam", "q")
    two_wells = True

    def __init__(self, lam: Number, q: Number) -> None:
        self.lam = checks.weight("lam", lam)
        self.q = checks.number("q", q, low=0.0, high=1.0, open_low=True, open_high=True)

    @property
    def rho(self) -> float:
        return float("inf")

    @staticmethod
    def _value(z: Tensor, lam: Number, q: Number) -> Tensor:
        return lam * z**q

    @staticmethod
    def _slope(z: Tensor, lam: Number, q: Number) -> Tensor:
        return lam * q * z ** (q - 1)

    @staticmethod
    def _solve(v: Tensor, step: Number, lam: Number, q: Number) -> Tensor:
        u = step * lam
        z0 = (2 * u * (1 - q)) ** (1 / (2 - q))
        tau = z0 * (1 + 0.5 * q / (1 - q))  # the same as z0 + u q z0^(q - 1)
        kept = keep_above(v, tau)
        if isinstance(tau, float) and isinstance(q, float) and _worth_a_table(v, tau, q):
            return lookup(v, tau, table(q, v.dtype, _ratio_from_one)).mul_(kept)
        return _ratio(v, tau, q).mul_(kept)


def _worth_a_table(v: Tensor, tau: float, q: float) -> bool:
    fits = q <= HIGHEST_Q and tau > _SMALLEST_TAU
    return fits and v.numel() >= _LONG and v.device.type == "cpu"


def _ratio_from_one(x: Tensor, q: float) -> Tensor:
    return _ratio(x, 1.0, q)


def _ratio(v: Tensor, tau: Number, q: Number) -> Tensor:
    """prox / v for v > tau; some number in (0, 1] elsewhere.

    The larger root r of ``r + c r^(q - 1) = 1``, by Halley steps in y = log2 r. In y the
    equation is a sum of exponentials, convex, and a step needs no logarithm.
    """
    tiny = torch.finfo(v.dtype).tiny
    scaled = v / tau.clamp(min=tiny) if isinstance(tau, Tensor) else v / max(tau, tiny)
    lowest = 2 * (1 - q) / (2 - q)  # r at the threshold, where c is largest
    x = scaled.clamp_(min=1).log2_().mul_(q - 2).exp2_()  # c / c_max
    if isinstance(q, Tensor):
        y, steps = torch.zeros_like(x), 8
    else:
        powers, steps = _start(q, v.dtype)
        y = torch.full_like(x, powers[0])
        for a in powers[1:]:
            torch.addcmul(a, y, x, out=y)  # Horner, one pass a power
    c = x.mul_((1 - lowest) * lowest ** (1 - q))
    bend = torch.as_tensor(q - 1, dtype=v.dtype, device=v.device)
    for _ in range(steps):
        r = y.exp2()
        p = torch.mul(y, bend).exp2_().mul_(c)  # c r^(q - 1)
        first = torch.addcmul(r, p, bend)
        second = torch.lerp(r, first, bend)  # r + bend^2 p
        f = p.add_(r).sub_(1)
        bottom = torch.mul(first, first).addcmul_(f, second, value=-0.5)
        y = y.sub_(f.mul_(first).div_(bottom), alpha=1 / _LN2)
    return y.exp2_()


@lru_cache(maxsize=256)
def _start(q: float, dtype: torch.dtype) -> tuple[tuple[Tensor, ...], int]:
    """A polynomial in c / c_max for log2 r, and how many Halley steps it leaves to do.

    c is an explicit function of r, so the inverse is fitted on a grid of r, and the steps
    are counted there in float64 until the change is below the precision of `dtype`.
    """
    from numpy.polynomial import Chebyshev, Polynomial

    lowest = 2 * (1 - q) / (2 - q)
    r = torch.linspace(lowest, 1, 2001, dtype=torch.float64)
    c = (1 - r) * r ** (1 - q)
    fit = Chebyshev.fit((c / c[0]).numpy(), r.log2().numpy(), _DEGREE, domain=[0, 1])
    powers = fit.convert(kind=Polynomial, domain=[-1, 1], window=[-1, 1]).coef[::-1]
    y, exact = torch.from_numpy(fit((c / c[0]).numpy())), r.log2()
    enough = 3e-8 if dtype == torch.float32 else 1e-14
    steps = 0
    while float((y - exact).abs().max()) > enough and steps < 8:
        ratio, p = y.exp2(), c * ((q - 1) * y).exp2()
        f, first, second = ratio + p - 1, ratio + (q - 1) * p, ratio + (q - 1) ** 2 * p
        y = y - f * first / (first * first - f * second / 2) / _LN2
        steps += 1
    return tuple(torch.tensor(a, dtype=dtype) for a in powers.tolist()), steps
