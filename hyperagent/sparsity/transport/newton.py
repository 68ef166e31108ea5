"""Damped semismooth Newton for a batch of concave, piecewise quadratic functions."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

SHRINK, GROW, LEAST, MOST = 1 / 3, 3.0, 1e-10, 1e8
"""How the damping moves, and its range, in units of `Concave.unit`."""


class Point(NamedTuple):
    """A function at one place.

    Attributes
    ----------
    value : Tensor, shape (B,)
    gradient : Tensor, shape (B, n)
    share : Tensor, shape (B, T, A)
        The plan that belongs to it, from which the curvature follows.
    tau : Tensor, shape (B, T)
        Threshold of each column.
    """

    value: Tensor
    gradient: Tensor
    share: Tensor
    tau: Tensor


class Concave(Protocol):
    """What `maximise` needs to know."""

    upper: Tensor | None
    """Bound of the variables, broadcastable to (B, n), or None."""
    unit: Tensor
    """Size of the curvature, shape (B,): what one entry of the support adds to it."""

    def at(self, x: Tensor) -> Point: ...

    def curvature(self, point: Point) -> Tensor:
        """Minus a generalised Hessian, shape (B, n, n), positive semidefinite."""
        ...


class Maximum(NamedTuple):
    """Where `maximise` stopped: place (B, n), function there, evaluations per item (B,)."""

    x: Tensor
    point: Point
    steps: Tensor


def pick(take: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Items of `new` where `take` (B,) holds, else of `old`."""
    return torch.where(take.reshape(-1, *[1] * (new.dim() - 1)), new, old)


def free_slope(x: Tensor, gradient: Tensor, upper: Tensor | None) -> Tensor:
    """The gradient, 0 for a variable that sits on its bound and wants to go beyond it."""
    if upper is None:
        return gradient
    return gradient.masked_fill((x >= upper) & (gradient > 0), 0)


def maximise(
    function: Concave, x: Tensor, scale: Tensor, tol: float, most: int, damping: float = 1.0
) -> Maximum:
    """Maximise each item of a batch.

    Every step solves ``(curvature + damping I) d = gradient`` on the variables that are
    not blocked by their bound. The damping follows the ratio of the gain to the gain that
    the quadratic model promised (Levenberg and Marquardt), so that a singular curvature,
    which every disconnected plan has, needs no line search. Between kinks the function is
    quadratic and the last step is exact; at a kink the damping runs to its end and the
    item stops.

    Parameters
    ----------
    function : Concave
    x : Tensor, shape (B, n)
        Start, within the bound.
    scale : Tensor, shape (B,)
        Unit of the gradient: an item is done when no free component is > `tol` * scale.
    tol : float
    most : int
        Evaluations at most.
    damping : float
        At the start.
    """
    point = function.at(x)
    steps = torch.ones(len(x), dtype=torch.long, device=x.device)
    mu = torch.full_like(scale, damping)
    goal, matrix = tol * scale, None
    resolution = 1e-15 * (1 + point.value.abs())
    done = torch.zeros_like(mu, dtype=torch.bool)
    for _ in range(most):
        slope = free_slope(x, point.gradient, function.upper)
        done = done | (slope.abs().amax(-1) <= goal) | (mu > MOST)
        if bool(done.all()):
            break
        if matrix is None:
            matrix = function.curvature(point)
            if function.upper is not None:
                loose = (slope == point.gradient).to(x.dtype)
                matrix = matrix * loose[:, :, None] * loose[:, None, :]
        damped = matrix.clone()
        damped.diagonal(dim1=1, dim2=2).add_((mu * function.unit)[:, None])
        factor = torch.linalg.cholesky_ex(damped).L
        new = x + torch.cholesky_solve(slope[..., None], factor)[..., 0]
        if function.upper is not None:
            new = torch.minimum(new, function.upper)
        move = new - x
        there = function.at(new)
        promise = (move * (slope - 0.5 * (matrix @ move[..., None])[..., 0])).sum(-1)
        gain = there.value - point.value
        # Below the resolution of the value only the gradient can judge a step.
        tiny = promise <= resolution
        rest = free_slope(new, there.gradient, function.upper)
        better = rest.abs().sum(-1) <= slope.abs().sum(-1)
        taken = ~done & torch.where(tiny, better, gain > 1e-4 * promise)
        mu = torch.where(
            taken & (tiny | (gain > 0.9 * promise)), (mu * SHRINK).clamp_min(LEAST), mu
        )
        mu = torch.where(~taken | (~tiny & (gain < 0.25 * promise)), mu * GROW, mu)
        steps += ~done
        if bool(taken.all()):
            x, point, matrix = new, there, None
        elif bool(taken.any()):
            x = pick(taken, new, x)
            point = Point(*(pick(taken, n, o) for n, o in zip(there, point, strict=True)))
            matrix = None
    return Maximum(x, point, steps)
