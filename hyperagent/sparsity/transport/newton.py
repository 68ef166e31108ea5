"""Damped semismooth Newton for a batch of concave, piecewise quadratic functions."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

FAST, SHRINK, GROW, LEAST, MOST = 0.01, 1 / 3, 3.0, 1e-10, 1e8
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
    quadratic and the last step is exact; at a kink no step gains, the damping passes its
    range and the item stops.

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
    slope = free_slope(x, point.gradient, function.upper)
    # Damping and decisions are a few numbers per item: they live on the host, one transfer
    # a step.
    value, height = point.value.tolist(), slope.abs().amax(-1).tolist()
    rest = slope.abs().sum(-1).tolist()
    goal = (tol * scale).tolist()
    mu, steps, matrix = [damping] * len(x), [1] * len(x), None
    for _ in range(most):
        live = [h > g and m <= MOST for h, g, m in zip(height, goal, mu, strict=True)]
        if not any(live):
            break
        if matrix is None:
            matrix = function.curvature(point)
            if function.upper is not None:
                loose = (slope == point.gradient).to(x.dtype)
                matrix = matrix * loose[:, :, None] * loose[:, None, :]
        damped = matrix.clone()
        damped.diagonal(dim1=1, dim2=2).add_((x.new_tensor(mu) * function.unit)[:, None])
        new = x + torch.cholesky_solve(slope[..., None], torch.linalg.cholesky_ex(damped).L)[..., 0]
        if function.upper is not None:
            new = torch.minimum(new, function.upper)
        move, there = new - x, function.at(new)
        ahead = free_slope(new, there.gradient, function.upper)
        promise = (move * (slope - 0.5 * (matrix @ move[..., None])[..., 0])).sum(-1)
        size = ahead.abs()
        facts = torch.stack([there.value, promise, size.amax(-1), size.sum(-1)]).tolist()
        taken = []
        for i, (reached, hoped, high, left) in enumerate(zip(*facts, strict=True)):
            taken.append(False)
            if not live[i]:
                continue
            steps[i] += 1
            gain, was = reached - value[i], height[i]
            # Below the resolution of the value only the gradient can judge a step.
            tiny = hoped <= 1e-15 * (1 + abs(value[i]))
            taken[i] = good = left <= rest[i] if tiny else gain > 1e-4 * hoped
            if good:
                value[i], height[i], rest[i] = reached, high, left
            if good and (tiny or gain > 0.9 * hoped):
                # A kept promise and a fallen gradient: no kink was crossed, the end is near.
                near = not tiny and abs(gain - hoped) <= 1e-4 * hoped and high < 0.3 * was
                mu[i] = max(mu[i] * (FAST if near else SHRINK), LEAST)
            elif not good or gain < 0.25 * hoped:
                mu[i] *= GROW
        if all(taken):
            x, point, slope, matrix = new, there, ahead, None
        elif any(taken):
            take = torch.tensor(taken, device=x.device)
            x, slope, matrix = pick(take, new, x), pick(take, ahead, slope), None
            point = Point(*(pick(take, n, o) for n, o in zip(there, point, strict=True)))
    return Maximum(x, point, torch.tensor(steps, device=x.device))
