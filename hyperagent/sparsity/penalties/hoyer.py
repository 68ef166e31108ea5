"""Hoyer-square: a sparsity measure that does not see the scale."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hyperagent.errors import SparsityError
from hyperagent.sparsity import checks
from hyperagent.sparsity.checks import Number
from hyperagent.sparsity.penalties.base import Penalty


class HoyerSquare(Penalty):
    """``lam (sum z)^2 / sum z^2`` along the last dimension, 0 at 0.

    Between lam (one non-zero group) and lam m (all equal): a soft count, whatever the scale.

    Parameters
    ----------
    lam : float or 0-dim tensor
        Weight > 0, loss units per group.

    Notes
    -----
    A minimiser of the prox objective is ``c max(v - t, 0)``. For given t the best c is
    ``<w, v> / <w, w>`` with ``w = max(v - t, 0)``, and between two sorted entries of v the
    rest is a ratio of two quadratics in t, whose stationary points are roots of a quadratic.
    All pieces are tried, so the result is the global minimum. Not weakly convex at 0.

    References
    ----------
    Yang, Wen and Li, "DeepHoyer: learning sparser neural network with differentiable
    scale-invariant sparsity measures", ICLR 2020.
    """

    separable = False

    def __init__(self, lam: Number) -> None:
        self.lam = checks.positive("lam", lam)
        if isinstance(self.lam, Tensor) and self.lam.ndim:
            raise SparsityError(f"lam must be one number, got the shape {tuple(self.lam.shape)}")

    @property
    def rho(self) -> float:
        return float("inf")

    def value(self, z: Tensor) -> Tensor:
        checks.vectors("z", z)
        square = z.square().sum(-1)
        some = square > 0
        return self.lam * z.sum(-1).square() / torch.where(some, square, torch.ones_like(square))

    def prox(self, v: Tensor, step: Number) -> Tensor:
        checks.vectors("v", v)
        step = checks.positive("step", step)
        if isinstance(step, Tensor) and step.ndim:
            raise SparsityError(f"step must be one number, got the shape {tuple(step.shape)}")
        u = torch.as_tensor(step * self.lam, dtype=torch.float64, device=v.device)
        return _HoyerProx.apply(v.double(), u).to(v.dtype)


class _HoyerProx(torch.autograd.Function):
    """Global minimum forward; implicit differentiation on the support backward."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, u: Tensor) -> Tensor:
        z = _solve(v, u)
        ctx.save_for_backward(z, u)
        return z

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        z, u = ctx.saved_tensors
        on = (z > 0).to(z.dtype)
        total, square = z.sum(-1, keepdim=True), z.square().sum(-1, keepdim=True)
        square = torch.where(square > 0, square, torch.ones_like(square))
        # z - v + u p(z) = 0 with p the gradient of (sum z)^2 / sum z^2. The Jacobian is a
        # multiple of the identity plus a term in the span of 1 and z, so three numbers.
        ratio = total / square
        base = on, z
        diagonal = 1 - 2 * u * ratio.square()
        cross = -4 * u * ratio / square
        inner = torch.stack(
            [
                torch.cat([2 * u / square, cross], -1),
                torch.cat([cross, 8 * u * ratio.square() / square], -1),
            ],
            -2,
        )
        span = torch.stack(base, -1)
        gram = span.mT @ span
        right = inner @ (span.mT @ (grad * on).unsqueeze(-1))
        eye = torch.eye(2, dtype=z.dtype, device=z.device)
        middle = torch.linalg.solve(diagonal.unsqueeze(-1) * eye + inner @ gram, right)
        solved = ((grad * on) - (span @ middle).squeeze(-1)) / diagonal
        slope = 2 * (ratio - ratio.square() * z) * on
        return solved, -(solved * slope).sum().reshape(u.shape)


def _solve(v: Tensor, u: Tensor) -> Tensor:
    m = v.shape[-1]
    top = v.sort(dim=-1, descending=True).values
    first, second = top.cumsum(-1), top.square().cumsum(-1)
    r = torch.arange(1, m + 1, dtype=v.dtype, device=v.device)
    below = torch.cat([top[..., 1:], torch.zeros_like(top[..., :1])], -1)

    def objective(t: Tensor) -> Tensor:
        """u (sum w)^2 / <w, w> - <w, v>^2 / (2 <w, w>), the part that depends on t."""
        sums, dots = first - r * t, second - t * first
        squares = second - 2 * t * first + r * t * t
        # Where all kept entries equal t there is no direction left: w = 0.
        some = squares > 1e-14 * second
        found = (u * sums.square() - dots.square() / 2) / torch.where(some, squares, 1.0)
        return torch.where(some, found, torch.inf)

    # Numerator n0 + n1 t + n2 t^2 and denominator d0 + d1 t + d2 t^2 of the objective.
    n0, d0 = u * first.square() - second.square() / 2, second
    n1, d1 = -2 * u * r * first + second * first, -2 * first
    n2, d2 = u * r * r - first.square() / 2, r
    qa, qb, qc = n2 * d1 - n1 * d2, 2 * (n2 * d0 - n0 * d2), n1 * d0 - n0 * d1
    root = (qb * qb - 4 * qa * qc).clamp(min=0).sqrt()
    # The form of the quadratic formula that does not cancel.
    half = -(qb + torch.copysign(root, qb)) / 2
    candidates = [below]
    for up, down in ((half, qa), (qc, half)):
        t = up / torch.where(down == 0, torch.ones_like(down), down)
        candidates.append(torch.maximum(torch.minimum(t, top), below))
    tried = torch.cat(candidates, -1)
    found = torch.cat([objective(t) for t in candidates], -1)
    # One group alone: direction e_1 for every t between the two largest.
    best, at = found.min(-1, keepdim=True)
    w = (v - tried.gather(-1, at)).clamp(min=0)
    dot, square = (w * v).sum(-1, keepdim=True), w.square().sum(-1, keepdim=True)
    z = w * (dot / torch.where(square > 0, square, torch.ones_like(square)))
    return torch.where(best < 0, z, torch.zeros_like(z))
