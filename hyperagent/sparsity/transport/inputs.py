"""What a transport problem must look like, and whether any plan can meet it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hyperagent.errors import SparsityError
from hyperagent.sparsity import checks

BALANCE = 1e-5
"""Relative difference of the two sums of marginals that is put down to rounding."""


class Problem(NamedTuple):
    """A batch of problems as the solvers want them: float64, columns first.

    Attributes
    ----------
    cost : Tensor, shape (B, T, A)
    a : Tensor, shape (B, A)
    b : Tensor, shape (B, T)
    gamma : Tensor, shape (B,)
    k : int, Tensor of shape (B, T, 1) or None
        None where no column is limited.
    capacity : bool
        Whether `a` is an upper bound of the loads.
    """

    cost: Tensor
    a: Tensor
    b: Tensor
    gamma: Tensor
    k: Tensor | int | None
    capacity: bool


def real(value: Tensor, name: str) -> Tensor:
    """A detached float64 copy of a finite, non-negative, real tensor."""
    value = checks.finite(name, value, complex_ok=False).detach().to(torch.float64)
    if bool((value < 0).any()):
        raise SparsityError(f"{name} must not be negative, its least entry is {value.min():g}")
    return value


def whole(k: int | Tensor | None, low: int, high: int, name: str = "k") -> None:
    """SparsityError unless every entry of `k` is an integer in [low, high]."""
    if k is None:
        return
    if isinstance(k, Tensor):
        good = not (k.is_floating_point() or k.is_complex() or k.dtype == torch.bool) and k.numel()
    else:
        good = isinstance(k, int) and not isinstance(k, bool)
    if not good:
        raise SparsityError(f"{name} must be an integer or a tensor of integers, got {k!r}")
    least, most = (int(k.min()), int(k.max())) if isinstance(k, Tensor) else (k, k)
    if least < low or most > high:
        got = f"{least}" if least == most else f"{least} to {most}"
        raise SparsityError(f"{name} must be in [{low}, {high}], got {got}")


def spread(value: Tensor, shape: tuple[int, ...], name: str) -> Tensor:
    """`value` broadcast to `shape`, or SparsityError."""
    try:
        return value.expand(shape)
    except RuntimeError:
        raise SparsityError(
            f"{name} must broadcast to shape {shape}, got {tuple(value.shape)}"
        ) from None


def problem(
    cost: Tensor,
    a: Tensor,
    b: Tensor | None,
    gamma: float | Tensor,
    k: int | Tensor | None,
    capacity: bool,
) -> Problem:
    """Check a batch of problems and bring it into the solvers' form.

    Parameters
    ----------
    cost : Tensor, shape (..., A, T)
    a : Tensor, broadcastable to (..., A)
    b : Tensor, broadcastable to (..., T), optional
        Default 1 for each column.
    gamma : float, or Tensor broadcastable to (...)
    k : int, or integer Tensor broadcastable to (..., T), optional
    capacity : bool

    Raises
    ------
    SparsityError
        Naming the argument, or the rows or columns that no plan can satisfy.
    """
    checks.tensor("cost", cost, complex_ok=False)
    if bool((torch.isnan(cost) | (cost == -torch.inf)).any()):
        raise SparsityError("cost must be finite or +inf (a forbidden pair), it holds NaN or -inf")
    if cost.dim() < 2 or 0 in cost.shape:
        raise SparsityError(f"cost must have shape (..., rows, columns), got {tuple(cost.shape)}")
    lead, (rows, columns) = tuple(cost.shape[:-2]), cost.shape[-2:]
    cost = cost.detach().to(torch.float64).reshape(-1, rows, columns).mT.contiguous()
    size, device = len(cost), cost.device

    def margin(value: Tensor, length: int, name: str) -> Tensor:
        return spread(real(value, name).to(device), (*lead, length), name).reshape(size, length)

    a = margin(a, rows, "a")
    b = a.new_ones(size, columns) if b is None else margin(b, columns, "b")
    # A column without mass asks for no row, so all of its pairs may be forbidden.
    idle = (b == 0)[..., None] & torch.isinf(cost).all(-1, keepdim=True)
    cost = cost.masked_fill(idle, 0)
    weight = torch.as_tensor(checks.positive("gamma", gamma)).detach().to(device, torch.float64)
    weight = spread(weight, lead, "gamma").reshape(size)
    whole(k, 1, rows)
    if isinstance(k, Tensor):
        k = spread(k.to(device), (*lead, columns), "k").reshape(size, columns, 1)
        k = int(k.max()) if bool((k == k.max()).all()) else k
    k = None if isinstance(k, int) and k == rows else k
    a = attainable(cost, a, b, k, capacity)
    return Problem(cost, a, b, weight, k, capacity)


def attainable(
    cost: Tensor, a: Tensor, b: Tensor, k: Tensor | int | None, capacity: bool
) -> Tensor:
    """`a`, balanced against `b` to the last digit, if the marginals can be met.

    The conditions are exact without a limit `k`; with one they are necessary (whether a
    limited plan exists is a hard problem in general: see the plan's certificate).
    """
    supply, demand = a.sum(-1), b.sum(-1)
    short = supply < demand * (1 - BALANCE)
    if not capacity and bool((demand <= 0).any()):
        raise SparsityError("b must have a positive entry in every problem")
    if capacity and bool(short.any()):
        i = int(short.nonzero()[0])
        raise SparsityError(f"a: the capacities sum to {supply[i]:g}, b needs {demand[i]:g}")
    if not capacity:
        off = (supply - demand).abs() > BALANCE * demand
        if bool(off.any()):
            i = int(off.nonzero()[0])
            raise SparsityError(
                f"a and b must have equal sums, got {supply[i]:g} and {demand[i]:g}"
            )
        a = a * (demand / supply)[:, None]
    forbidden = torch.isinf(cost)
    closed = bool(forbidden.any())
    if closed or k is not None:
        reach = a[:, None, :].expand(cost.shape).masked_fill(forbidden, 0)
        width = a.shape[-1] if k is None else int(k.max()) if isinstance(k, Tensor) else k
        best = reach.topk(width, dim=-1).values
        if isinstance(k, Tensor):
            best = best.masked_fill(torch.arange(1, width + 1, device=a.device) > k, 0)
        lacking = best.sum(-1) < b * (1 - BALANCE)
        if bool(lacking.any()):
            i, j = lacking.nonzero()[0].tolist()
            raise SparsityError(
                f"b: column {j} needs {b[i, j]:g}, the rows it may use hold {best[i, j].sum():g}"
                + ("" if k is None else " within its limit k")
            )
    if k is not None and not capacity:
        seats = (
            k.clamp_max(a.shape[-1]).sum((1, 2))
            if isinstance(k, Tensor)
            else torch.full_like(demand, k * b.shape[-1])
        )
        if bool((seats < (a > 0).sum(-1)).any()):
            raise SparsityError(
                f"k is too small: the columns have {int(seats.min())} places, "
                f"{int((a > 0).sum(-1).max())} rows must each have one"
            )
    if closed:
        for i in range(len(cost)):
            missing = unmet(~forbidden[i].T, a[i], b[i]) if demand[i] > 0 else 0.0
            if missing > BALANCE:
                raise SparsityError(
                    f"cost: the forbidden pairs leave {missing:.2%} of b without a row that can "
                    f"take it (max-flow check, problem {i})"
                )
    return a


def unmet(allowed: Tensor, a: Tensor, b: Tensor) -> float:
    """Share of the demand `b` that cannot flow to the capacities `a` over `allowed` pairs.

    Parameters
    ----------
    allowed : Tensor of bool, shape (A, T)
    a : Tensor, shape (A,)
    b : Tensor, shape (T,)
    """
    import numpy as np
    from scipy.sparse import coo_array, csr_array
    from scipy.sparse.csgraph import maximum_flow

    rows, columns = allowed.shape
    # The flow solver counts in 32-bit integers.
    unit = 1e8 / float(b.sum())
    supply = np.minimum(np.ceil(a.cpu().numpy() * unit), 2e8).astype(np.int32)
    demand = np.floor(b.cpu().numpy() * unit).astype(np.int32)
    i, j = np.nonzero(allowed.cpu().numpy())
    source, sink = rows + columns, rows + columns + 1
    start = np.concatenate([np.full(columns, source), rows + j, np.arange(rows)])
    end = np.concatenate([rows + np.arange(columns), i, np.full(rows, sink)])
    size = np.concatenate([demand, demand[j], supply])
    graph = csr_array(coo_array((size, (start, end)), shape=(sink + 1, sink + 1)))
    flow = maximum_flow(graph, source, sink).flow_value
    return 1 - flow / max(int(demand.sum()), 1)
