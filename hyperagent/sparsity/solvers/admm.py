"""ADMM for data term + penalty, with an exact least-squares step."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hyperagent.errors import SparsityError
from hyperagent.sparsity import checks
from hyperagent.sparsity.groups import Groups
from hyperagent.sparsity.penalties.base import Penalty
from hyperagent.sparsity.solvers.csalsa import X_UPDATES, auto_update, inverse
from hyperagent.sparsity.solvers.ista import Items, convex, finish
from hyperagent.sparsity.solvers.operators import Linear, as_linear
from hyperagent.sparsity.solvers.solution import Solution


@torch.no_grad()
def admm(
    operator: Linear | Tensor,
    y: Tensor,
    penalty: Penalty,
    *,
    groups: Groups | None = None,
    start: Tensor | None = None,
    kappa: float | None = None,
    iterations: int = 500,
    tol: float = 1e-6,
    x_update: str = "auto",
) -> Solution:
    """Minimise ``1/2 ||A x - y||^2 + pen(z)`` subject to x = z by alternating directions.

    With the scaled multiplier c::

        z = prox(x + c, 1 / kappa)
        x = argmin 1/2 ||A x - y||^2 + kappa/2 ||x - z + c||^2
        c = c + x - z

    Pays off against `ista` where A is badly conditioned: the least-squares step is solved,
    not walked.

    Parameters
    ----------
    operator : Linear, or (m, n) tensor
        A, real or complex.
    y : (..., *codomain) tensor
        Data; leading dimensions are a batch of independent problems.
    penalty : Penalty
        For a plug-and-play prior ``1 / kappa`` is the noise variance that its denoiser sees.
    groups : Groups, optional
        Single entries by default; else groups that leave batch dimensions alone.
    start : (..., *domain) tensor, optional
        First x, 0 by default.
    kappa : float, optional
        Coupling > 0, in units of ``||A||^2``'s. For a convex penalty every value converges to
        the minimum and ``||A||^2 / 10`` is the default. For others the default is
        ``2.1 ||A||^2``: above twice that Lipschitz constant the augmented Lagrangian falls
        and its limits are stationary; below it nothing is promised.
    iterations : int
        At most.
    tol : float
        An item stops, and no longer moves, when ``||x - z||`` and the last change of z are
        below ``tol max(||x||, ||z||)``.
    x_update : {"auto", "woodbury", "normal", "cg"}
        As in `csalsa`.

    Returns
    -------
    Solution
        Its ``x`` is z, the sparse copy; the residual is taken at step ``1 / kappa``.

    Raises
    ------
    SparsityError
        For NaN, `kappa` not positive, other dtypes and shapes.

    References
    ----------
    Boyd et al., Found. Trends Mach. Learn. 3(1), 2011; Li and Pong, SIAM J. Optim. 25(4),
    2015 (penalties that are not convex).
    """
    a = as_linear(operator)
    checks.finite("y", y)
    checks.count("iterations", iterations, 1)
    checks.positive("tol", tol)
    checks.choice("x_update", x_update, X_UPDATES)
    if kappa is None:
        lipschitz = a.norm() ** 2 or 1.0
        kappa = lipschitz / 10 if convex(penalty) else 2.1 * lipschitz
    kappa = float(checks.positive("kappa", kappa))
    back = a.rmv(y)
    batch = back.shape[: back.ndim - len(a.domain)]
    x = torch.zeros_like(back) if start is None else checks.finite("start", start)
    checks.same_shape("start", x, "A^H y", back)
    # `inverse` wants one batch dimension; Groups see the shape that the caller gave.
    shape = x.shape
    how = auto_update(a) if x_update == "auto" else x_update
    solve = inverse(a, kappa, how, tol=0.1 * tol)
    regulariser = penalty.on(groups)
    items = Items(batch)
    data = y.reshape(-1, *a.codomain)
    z, c = x, torch.zeros_like(x)
    dual = torch.zeros_like(data)
    done = torch.zeros(batch, dtype=torch.bool, device=y.device)
    used = 0
    with checks.trusted():
        while used < iterations and not bool(done.all()):
            used += 1
            stay = items.wide(done, x)
            new = torch.where(stay, z, regulariser.prox(x + c, 1 / kappa))
            u = (new - c).reshape(-1, *a.domain)
            dual = solve(data - a.mv(u), dual)
            x = torch.where(stay, x, (u + a.rmv(dual)).reshape(shape))
            c = torch.where(stay, c, c + x - new)
            size = torch.maximum(items.norm(x), items.norm(new))
            still = torch.maximum(items.norm(x - new), items.norm(new - z)) <= tol * size
            # The first z may be 0 only because x starts there.
            done = done | (still & (used > 1))
            z = new
        found = finish(a, y, z, regulariser, 1 / kappa, used, done)
    if not math.isfinite(float(found.residual.sum())):
        raise SparsityError(f"kappa must be larger: the iteration diverged at kappa = {kappa:g}")
    return found
