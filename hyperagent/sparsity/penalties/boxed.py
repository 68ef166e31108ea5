"""Penalties on an interval, e.g. incidence weights in [0, 1], with their condition checked."""

from __future__ import annotations

import torch
from torch import Tensor

from hyperagent.errors import SparsityError
from hyperagent.sparsity import checks
from hyperagent.sparsity.checks import Number
from hyperagent.sparsity.penalties.base import Elementwise, Penalty


class Box(Penalty):
    """A separable penalty plus the constraint ``low <= x <= high``, on real numbers.

    Parameters
    ----------
    base : Elementwise
        Penalty on |x|.
    low, high : float
        ``low <= 0 <= high``; may be infinite.

    Notes
    -----
    Where ``step rho < 1`` the objective is convex and the prox is the cut prox of `base`.
    Where `base` says `two_wells` its objective has only 0 and one other local minimum; if that
    lies outside, the bound itself competes with 0, which makes the result exact for every
    step. For l0 that is the rule ``lam + (bound - v)^2 / (2 s) < v^2 / (2 s)``. Any other
    case is refused rather than answered wrongly.
    """

    signed = True

    def __init__(self, base: Elementwise, low: float = 0.0, high: float = 1.0) -> None:
        if not isinstance(base, Elementwise):
            raise SparsityError(f"base must be an elementwise penalty, got {base!r}")
        self.base = base
        self.low = checks.number("low", float(low), high=0.0)
        self.high = checks.number("high", float(high), low=0.0)

    @property
    def rho(self) -> Number:
        return self.base.rho

    def value(self, z: Tensor) -> Tensor:
        checks.finite("z", z, complex_ok=False)
        outside = (z < self.low) | (z > self.high)
        return self.base.value(z.abs()).masked_fill(outside, torch.inf)

    def prox(self, v: Tensor, step: Number) -> Tensor:
        checks.finite("v", v, complex_ok=False)
        checks.positive("step", step)
        self._check_step(step)
        size = v.abs()
        bound = torch.full_like(size, self.high).masked_fill_(v.detach() < 0, -self.low)
        free = self.base.prox(size, step)
        over = free.detach() > bound
        out = torch.where(over, bound, free)
        if bool(over.any()):
            reach = torch.where(over, bound, torch.zeros_like(bound))
            with torch.no_grad():
                cost = self.base.value(reach) * step
                wins = cost + (reach - size).square() / 2 < size.square() / 2
            out = torch.where(over & ~wins, torch.zeros_like(out), out)
        return torch.copysign(out, v) + 0.0  # no -0.0 where v < 0 was cut to 0

    def _check_step(self, step: Number) -> None:
        if self.base.two_wells:
            return
        curvature = step * self.base.rho
        if isinstance(curvature, Tensor):
            curvature = float(curvature.detach().max())
        if not curvature < 1:
            raise SparsityError(
                f"step must keep step * rho < 1 for {self.base!r} in a box, "
                f"got step * rho = {curvature:g}"
            )


class NonNegative(Box):
    """A separable penalty plus ``x >= 0``; see `Box`."""

    def __init__(self, base: Elementwise) -> None:
        super().__init__(base, 0.0, float("inf"))
