"""Coordinate descent with exact steps, working sets and Newton jumps on a settled support.

Every coordinate moves to its own minimiser, which for step ``1 / ||A_i||^2`` is one prox. A
loop over thousands of columns would be slow in Python, so columns are first screened all at
once, the loop runs over a small working set on its Gram matrix, and as soon as a sweep no
longer changes the pattern (which entries are zero, negative, positive, past the knee) the
remaining smooth problem is solved at once, as a linear system.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hyperagent.errors import SparsityError
from hyperagent.sparsity import checks
from hyperagent.sparsity.penalties.base import Penalty
from hyperagent.sparsity.solvers.kernels import Kernel, kernel_of, widened
from hyperagent.sparsity.solvers.solution import Solution


@torch.no_grad()
def coordinate_descent(
    matrix: Tensor,
    y: Tensor,
    penalty: Penalty,
    *,
    start: Tensor | None = None,
    tol: float = 1e-8,
    sweeps: int = 10_000,
    working_set: int = 20,
) -> Solution:
    """Minimise ``1/2 ||A x - y||^2 + sum_i pen(x_i)`` one coordinate at a time.

    For a penalty that is not convex the result is a coordinatewise minimum: no single entry
    can be changed for the better, however far it moves. With CEL0 and the norms of the
    columns it is one of the l0 problem too.

    Parameters
    ----------
    matrix : (M, N) real tensor
        A, dense. A column that is zero gets the minimiser of its penalty, 0.
    y : (M,) or (B, M) real tensor
        Data; a batch is solved one item after the other.
    penalty : Penalty
        Separable. Its parameters may be tensors of shape (N,). L1, group lasso weights on
        elements, L0, MCP and CEL0 run on a threshold kernel; others call their prox for
        every entry, which is right but 4 to 24 times slower.
    start : tensor of the shape of x, optional
        Start, 0 by default.
    tol : float
        Stop when the optimality residual of every entry is below ``tol max |A^T y|``.
    sweeps : int
        Most passes over a working set, in all.
    working_set : int
        Columns of the first working set; it grows to twice the support.

    Returns
    -------
    Solution
        ``x`` is (N,) or (B, N). Its residual is ``||(x_i - prox_i(x_i - s_i grad_i)) / s_i||``
        with ``s_i = 1 / ||A_i||^2``.

    Raises
    ------
    SparsityError
        For NaN, a complex or integer tensor, shapes that do not fit, or a penalty that is
        not separable.

    Notes
    -----
    Runs on the CPU. Screening uses the dtype of `matrix`, the working set float64.

    References
    ----------
    Bertrand et al., "Beyond L1: faster and better sparse models with skglm", NeurIPS 2022
    (working sets for penalties that are not convex). The Newton jumps are ours.
    """
    checks.finite("matrix", matrix, complex_ok=False)
    checks.finite("y", y, complex_ok=False)
    if matrix.ndim != 2 or y.ndim not in (1, 2) or y.shape[-1] != matrix.shape[0]:
        raise SparsityError(
            "matrix must be (M, N) and y (M,) or (B, M), got "
            f"{tuple(matrix.shape)} and {tuple(y.shape)}"
        )
    if y.dtype != matrix.dtype:
        raise SparsityError(f"y must be {matrix.dtype} as the matrix, got {y.dtype}")
    if not penalty.separable:
        raise SparsityError(f"penalty must be separable, got {penalty!r}")
    checks.positive("tol", tol)
    checks.count("sweeps", sweeps, 1)
    checks.count("working_set", working_set, 1)
    shape = (*y.shape[:-1], matrix.shape[1])
    if start is not None:
        checks.finite("start", start, complex_ok=False)
        if start.shape != torch.Size(shape):
            raise SparsityError(f"start must have the shape {shape}, got {tuple(start.shape)}")

    a = matrix.detach().cpu().numpy()
    squares = np.einsum("mn,mn->n", a, a).astype(np.float64)
    rows = np.atleast_2d(y.detach().cpu().numpy())
    starts = np.zeros((len(rows), shape[-1]))
    if start is not None:
        starts = np.atleast_2d(start.detach().cpu().double().numpy()).copy()
    with checks.trusted():
        kernel = kernel_of(penalty, squares)
        found = [
            _one(a, row, squares, kernel, first, tol, sweeps, working_set)
            for row, first in zip(rows, starts, strict=True)
        ]
        x = torch.as_tensor(np.stack([f.x for f in found]) if found else starts)
        fit = torch.as_tensor([f.fit for f in found], dtype=torch.float64)
        seen = x if penalty.signed else x.abs()
        objective = fit + widened(penalty).value(seen).sum(-1)
    residual = torch.as_tensor([f.residual for f in found], dtype=torch.float64)
    converged = torch.tensor([f.converged for f in found])
    one = y.ndim == 1
    return Solution(
        x=(x[0] if one else x).to(dtype=matrix.dtype, device=matrix.device),
        objective=(objective[0] if one else objective).to(matrix.dtype),
        residual=(residual[0] if one else residual).to(matrix.dtype),
        iterations=max((f.sweeps for f in found), default=0),
        converged=converged[0] if one else converged,
    )


@dataclass
class _Found:
    x: np.ndarray
    fit: float
    residual: float
    sweeps: int
    converged: bool


def _one(
    A: np.ndarray,
    y: np.ndarray,
    squares: np.ndarray,
    kernel: Kernel,
    x: np.ndarray,
    tol: float,
    sweeps: int,
    size: int,
) -> _Found:
    """The whole solve for one right-hand side; `x` is the start and is overwritten."""
    correlation = A.T @ y
    # An item of data that no column explains at all is solved by 0.
    goal = tol * float(np.abs(correlation).max(initial=0.0)) or tol
    support = np.flatnonzero(x)
    pull = correlation if not len(support) else A.T @ (y - (A[:, support] @ x[support]))
    used, members = 0, support
    while True:
        moved = np.abs(kernel.prox(x + pull / kernel.squares) - x) * squares
        worst = float(moved.max(initial=0.0))
        if worst <= goal or used >= sweeps:
            break
        support = np.flatnonzero(x)
        size = min(max(size, 2 * len(support)), len(x))
        moved[support] = np.inf
        best = np.argpartition(moved, len(x) - size)[len(x) - size :]
        # A set that repeats has been solved as far as rounding lets it: look further.
        if len(best) == len(members) and len(x) > size and not np.setdiff1d(best, members).size:
            size = min(2 * size, len(x))
            best = np.argpartition(moved, len(x) - size)[len(x) - size :]
        members = best[np.argsort(-moved[best], kind="stable")]
        part = A[:, members].astype(np.float64)
        gram = part.T @ part
        known = correlation[members].astype(np.float64)
        used += _inner(gram, known, x, members, kernel.of(members), 0.3 * goal, sweeps - used)
        pull = A.T @ (y - (part @ x[members]).astype(A.dtype))
    remainder = y.astype(np.float64) - A[:, support := np.flatnonzero(x)] @ x[support]
    return _Found(
        x,
        0.5 * float(remainder @ remainder),
        float(np.linalg.norm(moved)),
        used,
        worst <= goal,
    )


def _inner(
    gram: np.ndarray,
    known: np.ndarray,
    x: np.ndarray,
    members: np.ndarray,
    kernel: Kernel,
    goal: float,
    sweeps: int,
) -> int:
    """Solve on a working set; writes ``x[members]`` and returns the number of sweeps."""
    own = x[members]
    pull = known - gram @ own
    before: bytes | None = None
    used = 0
    while used < sweeps:
        used += 1
        moved = np.abs(kernel.prox(own + pull / kernel.squares) - own) * kernel.squares
        if moved.max(initial=0.0) <= goal:
            break
        kernel.sweep(gram, own, pull, np.flatnonzero((own != 0) | (moved > goal)).tolist())
        pattern = kernel.pattern(own)
        settled = pattern is not None and pattern == before
        # A convex problem has one minimum, and no shortcut can lead to a worse one.
        if (settled or (kernel.convex and used % 4 == 0)) and kernel.jump(gram, known, own):
            pull = known - gram @ own
        before = pattern
    x[members] = own
    return used
