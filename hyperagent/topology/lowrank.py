"""Low-rank refit of an affinity matrix under a nuclear norm, with exact gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _ShrinkSpectrum(torch.autograd.Function):
    """``U max(s - t, 0) V^T`` of a square matrix ``U s V^T``.

    The derivative of a spectral function by divided differences: finite also where
    singular values are equal, unlike the derivative through `torch.linalg.svd`.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, threshold: float) -> Tensor:
        u, s, vh = torch.linalg.svd(matrix)
        shrunk = (s - threshold).clamp(min=0.0)
        ctx.save_for_backward(u, s, vh)
        ctx.threshold = threshold
        return (u * shrunk) @ vh

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        u, s, vh = ctx.saved_tensors
        shrunk = (s - ctx.threshold).clamp(min=0.0)
        slope = (s > ctx.threshold).to(s.dtype)
        inner = u.mT @ grad @ vh.mT
        even, odd = (inner + inner.mT) / 2, (inner - inner.mT) / 2
        gap = s.unsqueeze(1) - s.unsqueeze(0)
        equal = gap.abs() <= 1e-9 * s[:1].clamp(min=1e-30)
        difference = (shrunk.unsqueeze(1) - shrunk.unsqueeze(0)) / gap.masked_fill(equal, 1.0)
        difference = torch.where(equal, slope.unsqueeze(1).expand_as(gap), difference)
        total = s.unsqueeze(1) + s.unsqueeze(0)
        zero = total == 0
        ratio = (shrunk.unsqueeze(1) + shrunk.unsqueeze(0)) / total.masked_fill(zero, 1.0)
        if ctx.threshold == 0:
            ratio = ratio.masked_fill(zero, 1.0)
        return u @ (difference * even + ratio * odd) @ vh, None


class _TopBasis(torch.autograd.Function):
    """Orthonormal basis (N, r) of the top-r left singular space of a matrix (N, N).

    Its derivative turns the space only, since no use of the basis here depends on the
    choice of axes inside it.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, rank: int) -> Tensor:
        u, s, vh = torch.linalg.svd(matrix)
        ctx.save_for_backward(u, s, vh)
        ctx.rank = rank
        return u[:, :rank].contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        u, s, vh = ctx.saved_tensors
        rank = ctx.rank
        top, rest = s[:rank].unsqueeze(0), s[rank:].unsqueeze(1)
        gap = top.square() - rest.square()
        # Where the r-th and the next value coincide the space itself is a free choice.
        free = gap <= 1e-12 * s[:1].square().clamp(min=1e-30)
        turn = (u[:, rank:].mT @ grad / gap.masked_fill(free, 1.0)).masked_fill(free, 0.0)
        towards_rest = u[:, rank:] @ (turn * top) @ vh[:rank]
        towards_top = u[:, :rank] @ (turn * rest).mT @ vh[rank:]
        return towards_rest + towards_top, None


def shrink_spectrum(matrix: Tensor, threshold: float) -> Tensor:
    """Singular values lowered by `threshold`, not below zero.

    The proximal map of the nuclear norm: ``argmin_W 1/2 |W - matrix|_F^2 + threshold |W|_*``
    (Cai, Candès and Shen 2010, theorem 2.1).

    Parameters
    ----------
    matrix : Tensor, shape (n, n)
    threshold : float, >= 0
    """
    return _ShrinkSpectrum.apply(matrix, threshold)


def refit(sketch: Tensor, anchor: Tensor, *, rank: int, zeta: float) -> Tensor:
    r"""Low-rank affinities that stay near a sketch and near an anchor.

    With `Q` the top-`rank` left singular vectors of the sketch `S`, and `A` the anchor,

    .. math:: \min_W \tfrac12 |S - QWQ^T|_F^2 + \tfrac12 |A - QWQ^T|_F^2 + \zeta |W|_*

    Because `Q` is orthonormal, the two squares are :math:`|W - Q^T \frac{S+A}{2} Q|_F^2`
    plus a constant, so the minimiser is exactly one proximal step,
    ``shrink_spectrum(Q^T (S + A)/2 Q, zeta / 2)``; there is nothing to iterate.

    Parameters
    ----------
    sketch, anchor : Tensor, shape (N, N)
    rank : int
        At `N` or above there is no truncation and `Q` is the identity.
    zeta : float
        Weight of the nuclear norm.

    Returns
    -------
    Tensor, shape (N, N)
        :math:`QWQ^T`, differentiable with respect to both matrices.
    """
    middle = (sketch + anchor) / 2
    if rank >= sketch.shape[0]:
        return shrink_spectrum(middle, zeta / 2)
    basis = _TopBasis.apply(sketch, rank)
    return basis @ shrink_spectrum(basis.mT @ middle @ basis, zeta / 2) @ basis.mT
