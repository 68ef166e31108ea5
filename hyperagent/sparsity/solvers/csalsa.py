"""C-SALSA: the smallest penalty among all x that explain the data to within the noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hyperagent.errors import SparsityError
from hyperagent.sparsity import checks
from hyperagent.sparsity.groups import Groups
from hyperagent.sparsity.penalties.base import Penalty
from hyperagent.sparsity.solvers.operators import Linear, as_linear

X_UPDATES = ("auto", "woodbury", "normal", "cg")
_DIRECT = 2048
"""Largest side of a matrix that "auto" factorises; beyond it, conjugate gradients."""


@dataclass(frozen=True)
class Constrained:
    """What `csalsa` found, with the numbers that say how far to trust it.

    Attributes
    ----------
    x : (..., *domain) tensor
        The estimate.
    split : (..., *domain) tensor
        The copy of x that left the prox last: exactly sparse for l1, where x has small
        entries everywhere. It equals x at the solution.
    misfit : (...) real tensor
        ``||y - A x||``, computed anew at the end, in units of y.
    eps : (...) real tensor
        The bound that was asked for.
    gap : (...) real tensor
        ``||x - split|| / ||x||``.
    iterations : (...) int64 tensor
    converged : (...) bool tensor
        Whether the stopping rule was met before the iterations ran out.
    x_update : str
        "woodbury", "normal" or "cg".
    """

    x: Tensor
    split: Tensor
    misfit: Tensor
    eps: Tensor
    gap: Tensor
    iterations: Tensor
    converged: Tensor
    x_update: str


@torch.no_grad()
def csalsa(
    operator: Linear | Tensor,
    y: Tensor,
    penalty: Penalty,
    eps: float | Tensor,
    *,
    step: float = 0.1,
    kappa: float = 1.0,
    iterations: int = 1000,
    tol: float = 5e-4,
    x_update: str = "auto",
    groups: Groups | None = None,
    start: Tensor | None = None,
) -> Constrained:
    """Minimise ``penalty(|x|)`` subject to ``||y - A x|| <= eps``.

    The alternating direction method of multipliers with two copies, v = x for the penalty
    and w = A x for the ball (c, d are the scaled multipliers)::

        x = argmin kappa ||x - v - c||^2 + ||A x - w - d||^2
        v = prox(x - c, step)              w = projection of A x - d on the ball around y
        c = c - (x - v)                    d = d - (A x - w)

    For a convex penalty the limit depends on neither `step` nor `kappa`; they set the speed.
    For a plug-and-play prior `step` is part of the model: the noise variance that the
    denoiser is told. Scale A to columns of about unit norm, then kappa of 0.2 to 2 is right.

    Parameters
    ----------
    operator : Linear, or (m, n) tensor
        Real or complex; the dtype of the whole computation.
    y : (..., *codomain) tensor
        Data; leading dimensions are a batch of independent problems.
    penalty : Penalty
        Its weight is without effect on a convex solution.
    eps : float or (...) tensor
        Bound on the misfit, >= 0, in units of y; ``sqrt(m)`` times the standard deviation of
        the noise. One for all or one per item.
    step : float
        Step > 0 of the prox: threshold of l1 at weight 1, variance for plug-and-play.
    kappa : float
        Weight > 0 of the penalty's copy against the data's copy.
    iterations : int
        At most; >= 1.
    tol : float
        An item stops when its magnitudes move by less than ``tol ||x||``, v is as near to x,
        and w within ``tol ||y||`` of A x, so that the misfit is at most ``eps + tol ||y||``.
        It is then left alone: a batch gives what its items give, and no item goes past its
        end because another one is slow.
    x_update : {"auto", "woodbury", "normal", "cg"}
        How the x-update is solved: Cholesky on the data side (m, m) or on the unknowns'
        side (n, n), or conjugate gradients. "auto" factorises the smaller side up to 2048.
    groups : Groups, optional
        What the penalty looks at; single entries by default, complex ones by modulus. Its
        first dimension is the batch.
    start : (..., *domain) tensor, optional
        First x. By default ``A^H y`` scaled to the best fit of y, and never modified.

    Returns
    -------
    Constrained

    Raises
    ------
    SparsityError
        For NaN, shapes or dtypes that do not fit, a negative `eps`.

    References
    ----------
    Afonso, Bioucas-Dias and Figueiredo, "An augmented Lagrangian approach to the constrained
    optimization formulation of imaging inverse problems", IEEE Trans. Image Process. 20(3),
    2011. Oral and Oktem, "Plug-and-play regularization on magnitude with deep priors for 3D
    near-field MIMO imaging", IEEE Trans. Comput. Imaging 10, 2024, for magnitudes.
    """
    a = as_linear(operator)
    checks.finite("y", y)
    step, kappa = float(checks.positive("step", step)), float(checks.positive("kappa", kappa))
    tol = float(checks.weight("tol", tol))
    checks.count("iterations", iterations, 1)
    batch = a._batch("y", y, a.codomain)
    y = y.reshape(-1, *a.codomain)
    bound = _bounds(eps, batch, y)
    if start is None:
        x = a.rmv(y)
        fitted = a.mv(x)
        # The best real factor: a phase turned into y must come out of x as it went in.
        overlap = (fitted.conj() * y).real.flatten(1).sum(1)
        energy = fitted.abs().square().flatten(1).sum(1)
        x = x * _wide(overlap / energy.clamp_min(torch.finfo(energy.dtype).tiny), x)
    else:
        checks.finite("start", start)
        if a._batch("start", start, a.domain) != batch:
            raise SparsityError(f"start must have the batch {batch} of y, got {start.shape}")
        x = start.reshape(-1, *a.domain)
    if x_update == "auto":
        x_update = auto_update(a)
    solve = inverse(a, kappa, x_update)
    prior = penalty.on(groups)

    # Items of `live` are still moving; the results hold all of them.
    live = torch.arange(len(y), device=y.device)
    result, split = x.clone(), x.clone()
    count = torch.full((len(y),), iterations, device=y.device)
    done = torch.zeros(len(y), dtype=torch.bool, device=y.device)
    v, w = x, a.mv(x)
    c, d, s = torch.zeros_like(v), torch.zeros_like(w), torch.zeros_like(w)
    data, size, e, first = y, _norms(y), bound, _norms(x)
    for k in range(iterations):
        old = x.abs()
        u = v + c
        projected = a.mv(u)
        s = solve(w + d - projected, s)
        x = u + a.rmv(s)
        forward = w + d - kappa * s if x_update != "cg" else a.mv(x)
        v = prior.prox(x - c, step)
        w = _ball(forward - d, data, e)
        c, d = c - (x - v), d - (forward - w)
        # A start with v = x and w = A x does not move in the first iteration, and a still x
        # alone proves nothing: both copies must have come to it as well.
        near = tol * torch.maximum(_norms(x), tol * first)
        ended = (_norms(x.abs() - old) <= near) & (_norms(x - v) <= near)
        ended &= _norms(forward - w) <= tol * size
        last = k + 1 == iterations
        if last or bool(ended.any()):
            out = torch.ones_like(ended) if last else ended
            result[live[out]], split[live[out]] = x[out], v[out]
            done[live[ended]] = True
            count[live[ended]] = k + 1
            keep = ~out
            live = live[keep]
            if not len(live):
                break
            x, v, c, w, d, s, data, size, e, first = (
                t[keep] for t in (x, v, c, w, d, s, data, size, e, first)
            )
    misfit = _norms(y - a.mv(result))
    tiny = torch.finfo(misfit.dtype).tiny
    gap = _norms(result - split) / _norms(result).clamp_min(tiny)
    return Constrained(
        result.reshape(*batch, *a.domain),
        split.reshape(*batch, *a.domain),
        *(t.reshape(batch) for t in (misfit, bound, gap, count, done)),
        x_update,
    )


def auto_update(operator: Linear) -> str:
    """The exact update where the smaller side is at most 2048, else "cg"."""
    if min(operator.m, operator.n) > _DIRECT:
        return "cg"
    return "woodbury" if operator.m <= operator.n else "normal"


Inverse = Callable[[Tensor, Tensor], Tensor]


def inverse(operator: Linear, kappa: float, how: str, tol: float = 1e-6) -> Inverse:
    """A function that applies ``(kappa I + A A^H)^-1`` to data.

    With ``r = w - A u`` and ``s`` its image, ``u + A^H s`` minimises ``kappa ||x - u||^2 +
    ||A x - w||^2`` over x, and there ``A x = w - kappa s``: the Woodbury identity makes
    an update cost one application of A and one of its adjoint.

    Parameters
    ----------
    operator : Linear
    kappa : float
        > 0.
    how : {"woodbury", "normal", "cg"}
        Cholesky factor of the (m, m) or of the (n, n) matrix, or at most 100 conjugate
        gradient steps.
    tol : float
        Relative residual at which conjugate gradients end, per item.

    Returns
    -------
    callable
        ``(r, guess) -> s``, both (b, *codomain); the guess serves "cg" alone.
    """
    checks.choice("x_update", how, X_UPDATES[1:])
    if how == "cg":
        return lambda r, guess: _conjugate_gradients(operator, kappa, r, guess, tol)
    square = operator.gram() if how == "woodbury" else operator.normal()
    square.diagonal().add_(kappa)
    factor, failed = torch.linalg.cholesky_ex(square)
    if bool(failed):
        raise SparsityError(
            f"kappa must be large enough for {square.dtype} to see it beside "
            f"||A||^2 = {operator.norm() ** 2:.3g}, got {kappa:g}"
        )

    def solved(b: Tensor, shape: tuple[int, ...]) -> Tensor:
        flat = torch.cholesky_solve(b.flatten(1).mT, factor).mT
        return flat.reshape(-1, *shape)

    if how == "woodbury":
        return lambda r, guess: solved(r, operator.codomain)
    return lambda r, guess: (r - operator.mv(solved(operator.rmv(r), operator.domain))) / kappa


def _conjugate_gradients(
    a: Linear, kappa: float, b: Tensor, s: Tensor, tol: float, steps: int = 100
) -> Tensor:
    def apply(t: Tensor) -> Tensor:
        return kappa * t + a.mv(a.rmv(t))

    def dot(p: Tensor, q: Tensor) -> Tensor:
        return (p.conj() * q).real.flatten(1).sum(1)

    r = b - apply(s)
    p, rr = r, dot(r, r)
    enough = tol**2 * dot(b, b)
    for _ in range(steps):
        going = rr > enough
        if not bool(going.any()):
            break
        ap = apply(p)
        # An item that has converged gets steps of length 0, and so stays where it is.
        length = torch.where(going, rr / dot(p, ap), 0)
        s = s + _wide(length, s) * p
        r = r - _wide(length, r) * ap
        new = dot(r, r)
        ratio = torch.where(going, new / rr, 0)
        p, rr = r + _wide(ratio, p) * p, new
    return s


def _bounds(eps: float | Tensor, batch: tuple[int, ...], y: Tensor) -> Tensor:
    checks.weight("eps", eps)
    checks.broadcasts("eps", eps, batch)
    value = torch.as_tensor(eps, dtype=y.real.dtype, device=y.device)
    return value.expand(batch).reshape(-1)


def _ball(z: Tensor, centre: Tensor, radius: Tensor) -> Tensor:
    """The point of the ball around `centre` that is nearest to `z`."""
    off = z - centre
    length = _norms(off)
    factor = torch.where(length > radius, radius / length, torch.ones_like(length))
    return centre + _wide(factor, off) * off


def _norms(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x.flatten(1), dim=1)


def _wide(per_item: Tensor, like: Tensor) -> Tensor:
    return per_item.reshape(-1, *[1] * (like.ndim - 1))
