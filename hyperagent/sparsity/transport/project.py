"""Projection onto the k-sparse simplex and the convex conjugates that transport is built on.

Omega(t) = gamma/2 ||t||^2 over t >= 0 with at most k non-zeros. Its conjugate, with or
without the constraint sum(t) = mass, keeps the k largest entries and thresholds them
(Liu, Puigcerver, Blondel, "Sparsity-Constrained Optimal Transport", ICLR 2023; the exact
projection is that of Kyrillidis et al., "Sparse projections onto the simplex", ICML 2013).
Everything here works along the last dimension.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hyperagent.errors import SparsityError
from hyperagent.sparsity import checks
from hyperagent.sparsity.transport.inputs import spread, whole


class Projected(NamedTuple):
    """A k-sparse simplex projection.

    Attributes
    ----------
    point : Tensor, shape (..., n)
        Non-negative, at most k non-zeros, sums to the mass.
    tau : Tensor, shape (..., 1)
        What was taken off each kept entry.
    """

    point: Tensor
    tau: Tensor


def project(v: Tensor, mass: Tensor, k: Tensor | int | None = None) -> Projected:
    """Nearest point of ``{t >= 0, sum(t) = mass, at most k non-zeros}``; no checks.

    Parameters
    ----------
    v : Tensor, shape (..., n)
        Real; ``-inf`` marks an entry that must stay 0.
    mass : Tensor, broadcastable to (..., 1)
        Non-negative.
    k : int, or integer Tensor broadcastable to (..., 1), optional
        None: no limit.

    Notes
    -----
    Of equal entries at the boundary the one with the lower index is kept, whatever the
    device's top-k would do.
    """
    n = v.shape[-1]
    width = n if k is None else min(int(k.max()) if isinstance(k, Tensor) else k, n)
    cut = isinstance(k, Tensor) or width < n
    top = v.topk(width, dim=-1).values if cut else v.sort(dim=-1, descending=True).values
    rank = torch.arange(1, width + 1, dtype=v.dtype, device=v.device)
    if isinstance(k, Tensor):
        top = top.masked_fill(rank > k, -torch.inf)
    # (sum of the r largest - mass) / r rises up to the right r and falls after it.
    tau = ((top.cumsum(-1) - mass) / rank).amax(-1, keepdim=True)
    point = (v - tau).clamp_min(0)
    if not cut:
        return Projected(point, tau)
    if isinstance(k, Tensor):
        seats = k.expand(tau.shape).clamp_max(n)
        edge = top.gather(-1, seats - 1)
    else:
        seats, edge = width, top[..., -1:]
    point = torch.where(v >= edge, point, 0)
    if bool(((point > 0).sum(-1, keepdim=True) > seats).any()):
        tied = v == edge
        free = seats - (v > edge).sum(-1, keepdim=True)
        point = torch.where(tied & (tied.cumsum(-1) > free), 0, point)
    return Projected(point, tau)


def project_simplex(
    v: Tensor, k: int | Tensor | None = None, mass: float | Tensor = 1.0, dim: int = -1
) -> Tensor:
    """Euclidean projection onto the k-sparse simplex, exact and differentiable.

    Parameters
    ----------
    v : Tensor
        float32 or float64, any shape.
    k : int or integer Tensor, optional
        Most non-zeros along `dim`, one number or one per slice. None: no limit.
    mass : float or Tensor
        What each slice sums to, > 0, one number or one per slice.
    dim : int

    Returns
    -------
    Tensor of the shape of `v`
        The nearest point; of equal entries the lower index is kept.

    Raises
    ------
    SparsityError
        If `v` is not a finite floating-point tensor, `k` is outside [1, n] or `mass` is
        not positive.
    """
    checks.finite("v", v, complex_ok=False)
    if v.dim() < 1:
        raise SparsityError("v must have at least one dimension, got a scalar")
    v = v.movedim(dim, -1)
    mass = torch.as_tensor(checks.positive("mass", mass), dtype=v.dtype, device=v.device)
    mass = spread(mass, tuple(v.shape[:-1]), "mass")[..., None]
    whole(k, 1, v.shape[-1])
    if isinstance(k, Tensor):
        k = spread(k.to(v.device), tuple(v.shape[:-1]), "k")[..., None]
    return project(v, mass, k).point.movedim(-1, dim)


def conjugate_free(
    s: Tensor, gamma: Tensor, k: Tensor | int | None = None
) -> tuple[Tensor, Tensor]:
    """Conjugate of Omega on t >= 0: ``1/(2 gamma) * sum of the k largest [s]_+ squared``.

    Parameters
    ----------
    s : Tensor, shape (..., n)
    gamma : Tensor, broadcastable to (..., 1), > 0
    k : as in `project`

    Returns
    -------
    value : Tensor, shape (...)
    gradient : Tensor, shape (..., n)
        The maximiser t: at most k non-zeros.
    """
    t = s.clamp_min(0) / gamma
    if k is not None:
        width = min(int(k.max()) if isinstance(k, Tensor) else k, s.shape[-1])
        order = t.sort(dim=-1, descending=True, stable=True).indices[..., :width]
        rank = torch.arange(width, device=s.device).expand(order.shape)
        kept = torch.zeros_like(t, dtype=torch.bool).scatter(-1, order, rank < k)
        t = torch.where(kept, t, 0)
    return 0.5 * (gamma * t.square()).sum(-1), t


def conjugate_mass(
    s: Tensor, gamma: Tensor, mass: Tensor, k: Tensor | int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Conjugate of Omega on t >= 0, sum(t) = mass.

    Parameters
    ----------
    s, gamma, k
        As in `conjugate_free`.
    mass : Tensor, broadcastable to (..., 1)

    Returns
    -------
    value : Tensor, shape (...)
    gradient : Tensor, shape (..., n)
        The maximiser t.
    tau : Tensor, shape (..., 1)
        Threshold; the multiplier of the sum is ``tau``.
    """
    point, tau = project(s, gamma * mass, k)
    # s = tau + gamma t on the support, so this is (s^2 - tau^2) / (2 gamma) uncancelled.
    share = point / gamma
    value = tau * mass + 0.5 * (point * share).sum(-1, keepdim=True)
    return value[..., 0], share, tau
