"""Proximal gradient iterations, with momentum where that is known to be safe."""

from __future__ import annotations

import torch
from torch import Tensor

from hyperagent.errors import SparsityError
from hyperagent.sparsity import checks
from hyperagent.sparsity.groups import Groups
from hyperagent.sparsity.penalties.base import Penalty, Regulariser
from hyperagent.sparsity.solvers.operators import Linear, as_linear
from hyperagent.sparsity.solvers.solution import Solution


@torch.no_grad()
def ista(
    operator: Linear | Tensor,
    y: Tensor,
    penalty: Penalty,
    *,
    groups: Groups | None = None,
    start: Tensor | None = None,
    step: float | None = None,
    iterations: int = 500,
    momentum: bool = False,
    tol: float = 1e-6,
) -> Solution:
    """Minimise ``1/2 ||A x - y||^2 + pen(x)`` by ``x <- prox(x - s A^H (A x - y), s)``.

    The objective never rises, whatever the penalty, because ``s <= 1 / ||A||^2`` is enforced.

    Parameters
    ----------
    operator : Linear, or (m, n) tensor
        A, real or complex.
    y : (..., *codomain) tensor
        Data; leading dimensions are a batch of independent problems.
    penalty : Penalty
    groups : Groups, optional
        Single entries by default. Groups must leave batch dimensions alone, i.e. name
        dimensions from the right.
    start : (..., *domain) tensor, optional
        Start, 0 by default. Matters where the penalty is not convex.
    step : float, optional
        s in (0, 1 / ||A||^2]; 0.99 / ||A||^2 by default.
    iterations : int
        At most.
    momentum : bool
        FISTA with adaptive restart. Only for convex penalties (rho 0): for others there is no
        guarantee, and in practice it jumps over minima.
    tol : float
        An item stops when its residual is below ``tol ||A^H y||``, and then no longer moves,
        so that a batch gives what its items give alone.

    Returns
    -------
    Solution
        Batch-shaped; residual at the step used.

    Raises
    ------
    SparsityError
        For a step above ``1 / ||A||^2``, momentum with a penalty that is not convex, NaN,
        other dtypes and shapes.

    References
    ----------
    Beck and Teboulle, SIAM J. Imaging Sci. 2(1), 2009; O'Donoghue and Candes, Found. Comput.
    Math. 15, 2015 (gradient restart); Attouch, Bolte and Svaiter, Math. Program. 137, 2013
    (convergence without convexity).
    """
    a = as_linear(operator)
    checks.finite("y", y)
    checks.count("iterations", iterations, 1)
    checks.positive("tol", tol)
    if momentum and not convex(penalty):
        raise SparsityError(f"momentum must be False for a penalty that is not convex: {penalty!r}")
    norm = a.norm()
    largest = 1 / norm**2 if norm else 1.0
    step = 0.99 * largest if step is None else checks.positive("step", step)
    if step > largest * (1 + 1e-6):
        raise SparsityError(f"step must be <= 1 / ||A||^2 = {largest:g}, got {step:g}")

    back = a.rmv(y)
    x = torch.zeros_like(back) if start is None else checks.finite("start", start)
    checks.same_shape("start", x, "A^H y", back)
    regulariser = penalty.on(groups)
    items = Items(back.shape[: back.ndim - len(a.domain)])
    goal = tol * items.norm(back).clamp_min(torch.finfo(back.dtype).tiny)
    done = torch.zeros_like(goal, dtype=torch.bool)
    age = torch.ones_like(goal)
    ahead, used = x, 0
    with checks.trusted():
        while used < iterations and not bool(done.all()):
            used += 1
            new = regulariser.prox(ahead - step * a.rmv(a.mv(ahead) - y), step)
            new = torch.where(items.wide(done, x), x, new)
            done = done | (items.norm(new - ahead) <= step * goal)
            if momentum:
                # Restart an item whose last move went uphill.
                uphill = items.dot(ahead - new, new - x) > 0
                age = torch.where(uphill, torch.ones_like(age), age)
                older = (1 + (1 + 4 * age * age).sqrt()) / 2
                speed = torch.where(done, torch.zeros_like(age), (age - 1) / older)
                age, ahead = older, new + items.wide(speed, x) * (new - x)
            else:
                ahead = new
            x = new
        return finish(a, y, x, regulariser, step, used, done)


def finish(
    a: Linear,
    y: Tensor,
    x: Tensor,
    regulariser: Regulariser,
    step: float,
    iterations: int,
    converged: Tensor,
) -> Solution:
    """The `Solution` of a batch at `x`: objective and residual, measured afresh."""
    items = Items(converged.shape)
    miss = a.mv(x) - y
    penalty = regulariser.penalty
    try:
        value = penalty.value(x if penalty.signed else regulariser.groups.magnitudes(x))
        value = items.total(value)
    except SparsityError:  # a plug-and-play prior has a prox and no value
        value = torch.full_like(items.norm(miss), torch.nan)
    moved = x - regulariser.prox(x - step * a.rmv(miss), step)
    return Solution(
        x=x,
        objective=0.5 * items.norm(miss).square() + value,
        residual=items.norm(moved) / step,
        iterations=iterations,
        converged=converged,
    )


def convex(penalty: Penalty) -> bool:
    """Whether the weak convexity of a penalty is 0."""
    rho = penalty.rho
    return bool((rho == 0).all()) if isinstance(rho, Tensor) else rho == 0


class Items:
    """Norms and products per item of a batch of the given leading shape."""

    def __init__(self, shape: torch.Size) -> None:
        self.shape = shape

    def norm(self, x: Tensor) -> Tensor:
        return torch.linalg.vector_norm(self._flat(x), dim=-1)

    def dot(self, a: Tensor, b: Tensor) -> Tensor:
        both = (a.conj() * b).real if a.is_complex() else a * b
        return self.total(both)

    def total(self, x: Tensor) -> Tensor:
        return self._flat(x).sum(-1)

    def _flat(self, x: Tensor) -> Tensor:
        return x.flatten(len(self.shape)) if x.ndim > len(self.shape) else x.unsqueeze(-1)

    def wide(self, per_item: Tensor, x: Tensor) -> Tensor:
        return per_item.reshape(*self.shape, *[1] * (x.ndim - len(self.shape)))
