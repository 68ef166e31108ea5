"""Find the level of piecewise linear gates that spends a budget exactly.

The gates are ``u = clip((eta a - b) / w, 0, 1)`` and ``sum c u = k`` fixes the level eta > 0.
Each gate turns on at ``eta = b / a`` and saturates at ``(b + w) / a``. All arithmetic is in
float64, because sums over a million groups are compared with one number.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def gates(a: Tensor, b: Tensor, w: Tensor, c: Tensor, k: Tensor, method: str) -> Tensor:
    """Gates along the last dimension, differentiable in `a`, `b`, `w` and `c`.

    Parameters
    ----------
    a, b, w, c : (..., m) float64 tensors
        ``a, b >= 0``, ``w, c > 0``.
    k : (..., 1) float64 tensor
        Budget > 0. Where ``sum c [a > 0] <= k`` all gates are 1.
    method : {"sort", "linear", "bisect"}

    Returns
    -------
    (..., m) float64 tensor
        The gates; on the fixed sets of open, partly open and closed gates the level is an
        explicit function, so autograd is exact almost everywhere.
    """
    with torch.no_grad():
        full = (b + w) / a
        # A group without magnitude never opens, whatever the level; nor does one that is so
        # small that its level overflows.
        alive = (a > 0) & full.isfinite()
        fits = (c * alive).sum(-1, keepdim=True) <= k
        on, full = (torch.where(alive, x, torch.inf) for x in (b / a, full))
        eta = METHODS[method](a * alive, b, w, c, k, on, full, fits)
        ones = ((full <= eta) | fits) & (alive | (a == 0))
        part = (on < eta) & ~ones
    zero = torch.zeros((), dtype=a.dtype, device=a.device)
    spent = torch.where(ones, c, zero).sum(-1, keepdim=True)
    # From membership, not from running sums, which lose all digits where b is large.
    shift = torch.where(part, c * b / w, zero).sum(-1, keepdim=True)
    slope = torch.where(part, c * a / w, zero).sum(-1, keepdim=True)
    exact = (k - spent + shift) / torch.where(slope > 0, slope, torch.ones_like(slope))
    partly = ((exact * a - b) / w).clamp(0, 1)
    return torch.where(part, partly, ones.to(a.dtype))


def _spent(eta: Tensor, a: Tensor, b: Tensor, w: Tensor, c: Tensor) -> Tensor:
    return torch.mul(a, eta).sub_(b).div_(w).clamp_(0, 1).mul_(c).sum(-1, keepdim=True)


def _bisect(
    a: Tensor, b: Tensor, w: Tensor, c: Tensor, k: Tensor, on: Tensor, full: Tensor, fits: Tensor
) -> Tensor:
    """64 halvings of log eta: batched, no sort, nothing read back by the host."""
    finite = torch.where(full.isfinite(), full, torch.zeros_like(full))
    high = finite.amax(-1, keepdim=True).clamp(min=1e-300)
    # Below its saturation a gate is at most eta / full, which bounds the budget from above.
    share = (k / c.sum(-1, keepdim=True)).clamp(max=1) / 2
    low = full.amin(-1, keepdim=True).clamp(1e-300, 1e300) * share
    low, high = low.log(), high.log()
    for _ in range(64):
        middle = (low + high) / 2
        under = _spent(middle.exp(), a, b, w, c) < k
        low, high = torch.where(under, middle, low), torch.where(under, high, middle)
    return ((low + high) / 2).exp()


def _by_row(search: Callable[..., float]) -> Callable[..., Tensor]:
    def rows(
        a: Tensor,
        b: Tensor,
        w: Tensor,
        c: Tensor,
        k: Tensor,
        on: Tensor,
        full: Tensor,
        fits: Tensor,
    ) -> Tensor:
        flat = [x.expand(a.shape).reshape(-1, a.shape[-1]) for x in (a, b, w, c, on, full)]
        budgets = k.expand(*a.shape[:-1], 1).reshape(-1).tolist()
        done = fits.expand(*a.shape[:-1], 1).reshape(-1).tolist()
        found = [
            1.0 if skip else search(*(x[i] for x in flat), budget)
            for i, (budget, skip) in enumerate(zip(budgets, done, strict=True))
        ]
        return torch.tensor(found, dtype=a.dtype, device=a.device).view(*a.shape[:-1], 1)

    return rows


def _sorted(
    a: Tensor, b: Tensor, w: Tensor, c: Tensor, on: Tensor, full: Tensor, k: float
) -> float:
    """Sort the breakpoints, then halve their index."""
    points = torch.cat([on, full])
    points = points[points.isfinite()].sort().values
    low, high = -1, len(points)  # spent(points[low]) < k <= spent(points[high])
    while high - low > 1:
        middle = (low + high) // 2
        if float(_spent(points[middle], a, b, w, c)) < k:
            low = middle
        else:
            high = middle
    left = float(points[low]) if low >= 0 else 0.0
    return (left + float(points[min(high, len(points) - 1)])) / 2


def _medians(
    a: Tensor, b: Tensor, w: Tensor, c: Tensor, on: Tensor, full: Tensor, k: float
) -> float:
    """Pivot on the median breakpoint and drop the groups that it settles.

    Half of the breakpoints go in every round, so the work is a geometric series.
    """
    low, high = 0.0, float("inf")
    rest = (a > 0).nonzero().squeeze(-1)
    settled = 0.0  # budget of saturated groups that were dropped
    slope = shift = 0.0  # the linear part of the dropped groups that are partly open
    a, b, w, c, on, full = (x[rest] for x in (a, b, w, c, on, full))
    while len(a):
        points = torch.cat([on, full])
        pivot = float(points[(points > low) & (points < high)].median())
        spent = settled + slope * pivot - shift
        spent += float(_spent(a.new_tensor(pivot), a, b, w, c))
        if spent < k:
            low = pivot
        else:
            high = pivot
        ones, part = full <= low, (on <= low) & (full >= high)
        settled += float(c[ones].sum())
        slope += float((c * a / w)[part].sum())
        shift += float((c * b / w)[part].sum())
        keep = ~(ones | part | (on >= high))
        a, b, w, c, on, full = (x[keep] for x in (a, b, w, c, on, full))
    return (low + high) / 2 if high < float("inf") else 2 * low


METHODS = {"sort": _by_row(_sorted), "linear": _by_row(_medians), "bisect": _bisect}
