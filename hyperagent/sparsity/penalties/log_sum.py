"""The log-sum penalty: reweighted l1 in one function."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from hyperagent.sparsity import checks
from hyperagent.sparsity.checks import Number
from hyperagent.sparsity.penalties.base import Elementwise


class LogSum(Elementwise):
    """``lam log(1 + z / eps)``.

    Parameters
    ----------
    lam : float or tensor
        Weight >= 0, loss units.
    eps : float or tensor
        > 0, the magnitude at which the logarithm sets in.

    Notes
    -----
    With u = step lam the stationary points solve r^2 + (eps - v) r + u - v eps = 0. The larger
    root is a minimum. While sqrt(u) <= eps it leaves 0 continuously at v = u / eps; otherwise
    it jumps, where its objective falls below that of 0.

    References
    ----------
    Candes, Wakin and Boyd, "Enhancing sparsity by reweighted l1 minimization", J. Fourier
    Anal. Appl. 14, 2008. Prater-Bennette, Shen and Tripp, "The proximity operator of the
    log-sum penalty", J. Sci. Comput. 93, 2022.
    """

    parameters = ("lam", "eps")
    two_wells = True

    def __init__(self, lam: Number, eps: Number) -> None:
        self.lam = checks.weight("lam", lam)
        self.eps = checks.positive("eps", eps)

    @property
    def rho(self) -> Number:
        return self.lam / self.eps**2

    @staticmethod
    def _value(z: Tensor, lam: Number, eps: Number) -> Tensor:
        return lam * torch.log1p(z / eps)

    @staticmethod
    def _slope(z: Tensor, lam: Number, eps: Number) -> Tensor:
        return lam / (eps + z)

    @staticmethod
    def _solve(v: Tensor, step: Number, lam: Number, eps: Number) -> Tensor:
        u = step * lam
        half = torch.add(v, eps).mul_(0.5)
        minus = torch.as_tensor(-u, dtype=v.dtype, device=v.device)
        most = torch.finfo(v.dtype)
        square = torch.addcmul(minus, half, half).clamp_(min=most.tiny, max=most.max)
        # x rsqrt(x): several times faster than sqrt on CPUs.
        shifted = torch.addcmul(half, square.rsqrt(), square, out=square)  # r + eps
        # Where the square overflows, r is v to the last digit.
        torch.where(half > most.max**0.5 / 2, 2 * half, shifted, out=shifted)
        if not (isinstance(u, Tensor) or isinstance(eps, Tensor)):
            # r grows with v, so the threshold on v is one on r.
            return functional.threshold_(shifted, eps + _smallest(u, eps), eps).sub_(eps)
        r = shifted.sub_(eps).clamp_(min=0)
        gain = r * v - u * torch.log1p(r / eps) - r * r / 2
        # Without a jump r itself is right; the gain of a tiny r drowns in rounding.
        smooth = torch.as_tensor(u <= eps * eps, device=v.device)
        return torch.where(smooth | (gain > 0), r, torch.zeros_like(r))


@lru_cache(maxsize=1024)
def _smallest(u: float, eps: float) -> float:
    """The value that the larger root has where its objective equals that of 0.

    With v = r + u / (eps + r) the difference of the two objectives is a function of r alone.
    """
    low = math.sqrt(u) - eps
    if low <= 0:
        return 0.0

    def excess(r: float) -> float:
        return u * math.log1p(r / eps) - r * r / 2 - u * r / (eps + r)

    high = max(low, math.sqrt(u), eps)
    while excess(high) > 0:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return high
