"""SCAD: l1 near 0, a quadratic bend, constant beyond; right for large steps too."""

from __future__ import annotations

import torch
from torch import Tensor

from hyperagent.sparsity import checks
from hyperagent.sparsity.checks import Number
from hyperagent.sparsity.penalties.base import Elementwise
from hyperagent.sparsity.penalties.firm import either, keep_above
from hyperagent.sparsity.penalties.l1 import soft


class SCAD(Elementwise):
    """Smoothly clipped absolute deviation.

    Parameters
    ----------
    lam : float or tensor
        Slope >= 0 at 0, loss units per unit of magnitude.
    c : float or tensor
        > 2; slope lam up to lam, falling to 0 at ``c lam``, constant ``lam^2 (c + 1) / 2``
        from there on.

    Notes
    -----
    For ``step >= c - 1`` the bend is concave in the prox objective, so that only the soft
    threshold and `v` can win. They tie at ``lam (c + 1 + step) / 2`` while the soft threshold
    is positive there, i.e. for ``step <= c + 1``, and at ``lam sqrt(step (c + 1))`` beyond.

    References
    ----------
    Fan and Li, "Variable selection via nonconcave penalized likelihood and its oracle
    properties", J. Amer. Statist. Assoc. 96, 2001.
    """

    parameters = ("lam", "c")

    def __init__(self, lam: Number, c: Number = 3.7) -> None:
        self.lam = checks.weight("lam", lam)
        self.c = checks.number("c", c, low=2.0, open_low=True, open_high=True)

    @property
    def rho(self) -> Number:
        return 1 / (self.c - 1)

    @staticmethod
    def _value(z: Tensor, lam: Number, c: Number) -> Tensor:
        # Three pieces as integrals of the slope: lam up to lam, then a triangle.
        over = _between(z - lam, 0.0, (c - 1) * lam)
        return lam * (_between(z, 0.0, lam) + over) - over * over / (2 * (c - 1))

    @staticmethod
    def _slope(z: Tensor, lam: Number, c: Number) -> Tensor:
        bend = ((c * lam - z) / (c - 1)).clamp(min=0)
        return torch.minimum(bend, lam * torch.ones_like(z))

    @staticmethod
    def _solve(v: Tensor, step: Number, lam: Number, c: Number) -> Tensor:
        shrunk = soft(v, step * lam)

        def bent() -> Tensor:
            # The middle line lies below the soft threshold before its piece, above v after.
            room = c - 1 - step
            if isinstance(room, Tensor):
                room = torch.where(room > 0, room, torch.ones_like(room))
            line = torch.mul(v, (c - 1) / room).sub_(c * lam * step / room)
            return torch.maximum(torch.minimum(line, v, out=line), shrunk)

        def jump() -> Tensor:
            return torch.maximum(keep_above(v, _threshold(step, lam, c)), shrunk)

        return either(step < c - 1, bent, jump)


def _threshold(step: Number, lam: Number, c: Number) -> Number:
    near, far = lam * (c + 1 + step) / 2, lam * (step * (c + 1)) ** 0.5
    short = step <= c + 1
    if isinstance(short, Tensor):
        return torch.where(short, torch.as_tensor(near), torch.as_tensor(far))
    return near if short else far


def _between(x: Tensor, low: Number, high: Number) -> Tensor:
    """`x` cut to [low, high]; the gradient of `high` flows."""
    cut = x.clamp(min=low)
    return torch.minimum(cut, high) if isinstance(high, Tensor) else cut.clamp(max=high)
