"""From a plan to a 0/1 assignment that keeps every limit."""

from __future__ import annotations

import torch
from torch import Tensor

from hyperagent.errors import SparsityError
from hyperagent.sparsity import checks
from hyperagent.sparsity.transport.inputs import spread, whole


def b_matching(
    score: Tensor, load: int | Tensor, k: int | Tensor, least: int | Tensor = 1
) -> Tensor:
    """The assignment of highest total score within hard limits, exactly.

    Maximises ``sum of score over taken pairs`` with between `least` and `k` rows in each
    column and at most `load` columns for each row. The constraint matrix is the incidence
    of a bipartite graph and therefore totally unimodular: the vertex that the simplex
    method (HiGHS) ends in is 0/1.

    Parameters
    ----------
    score : Tensor, shape (..., A, T)
        ``-inf`` forbids a pair. A pair of negative score is taken only where `least`
        demands it.
    load : int, or integer Tensor broadcastable to (..., A)
        Most columns of a row.
    k : int, or integer Tensor broadcastable to (..., T)
        Most rows of a column, 1 to A.
    least : int, or integer Tensor broadcastable to (..., T)
        Fewest rows of a column.

    Returns
    -------
    Tensor of bool, shape (..., A, T)

    Raises
    ------
    SparsityError
        If an argument is wrong or no assignment keeps the limits.
    """
    return matched(score, load, k, least)[0]


def matched(
    score: Tensor,
    load: int | Tensor,
    k: int | Tensor,
    least: int | Tensor,
    names: tuple[str, str, str] = ("load", "k", "least"),
) -> tuple[Tensor, Tensor]:
    """`b_matching`, and the price of each row's load: what one more column would be worth.

    The prices, shape (..., A), >= 0 and in units of the score, are the multipliers of the
    load limits; 0 where a limit does not bind. `names` are what the caller calls the limits.
    """
    checks.tensor("score", score, complex_ok=False)
    if score.dim() < 2 or 0 in score.shape:
        raise SparsityError(f"score must have shape (..., rows, columns), got {tuple(score.shape)}")
    if bool((torch.isnan(score) | (score == torch.inf)).any()):
        raise SparsityError("score must be finite or -inf (a forbidden pair), it holds NaN or inf")
    lead, (rows, columns) = tuple(score.shape[:-2]), score.shape[-2:]
    limits = []
    bounds = (
        (names[0], load, rows, 0, 2**31),
        (names[1], k, columns, 1, rows),
        (names[2], least, columns, 0, rows),
    )
    for name, value, length, low, high in bounds:
        whole(value, low, high, name)
        shape = (*lead, length)
        limits.append(spread(torch.as_tensor(value).cpu(), shape, name).reshape(-1, length))
    if bool((limits[2] > limits[1]).any()):
        raise SparsityError(f"{names[2]} must be <= {names[1]} in every column")
    scores = score.detach().cpu().to(torch.float64).reshape(-1, rows, columns)
    found = [_match(*item, names) for item in zip(scores, *limits, strict=True)]
    taken, price = (torch.stack(part) for part in zip(*found, strict=True))
    taken = taken.reshape(score.shape).to(score.device)
    return taken, price.reshape(*lead, rows).to(score)


def _match(
    score: Tensor, load: Tensor, k: Tensor, least: Tensor, names: tuple[str, str, str]
) -> tuple[Tensor, Tensor]:
    import numpy as np
    from scipy.optimize import linprog
    from scipy.sparse import coo_array

    rows, columns = score.shape
    i, j = np.nonzero(np.isfinite(score.numpy()))
    # HiGHS stops at a reduced cost of 1e-7: bring the scores to unit size.
    unit = max(np.abs(score.numpy()[i, j]).max(initial=0), 1e-300)
    pair = np.arange(len(i))
    ones = np.ones(len(i))
    limits = coo_array(
        (
            np.concatenate([ones, ones, -ones]),
            (np.concatenate([i, rows + j, rows + columns + j]), np.concatenate([pair] * 3)),
        ),
        shape=(rows + 2 * columns, len(i)),
    ).tocsr()
    bound = np.concatenate([load.numpy(), k.numpy(), -least.numpy()]).astype(float)
    if not len(i) and not bool(least.any()):
        return torch.zeros(rows, columns, dtype=torch.bool), torch.zeros(rows, dtype=score.dtype)
    found = None
    if len(i):
        found = linprog(
            -score.numpy()[i, j] / unit, A_ub=limits, b_ub=bound, bounds=(0, 1), method="highs-ds"
        )
    if found is None or found.x is None:
        raise SparsityError(
            f"{', '.join(names)} cannot be met together: {columns} columns need at least "
            f"{int(least.sum())} places, the rows offer {int(load.clamp_max(columns).sum())}"
            + (", some pairs are forbidden" if len(i) < rows * columns else "")
        )
    taken = torch.zeros(rows, columns, dtype=torch.bool)
    taken[i, j] = torch.from_numpy(found.x > 0.5)
    price = torch.from_numpy(-found.ineqlin.marginals[:rows] * unit).clamp_min(0)
    return taken, price


def round_bmatching(
    share: Tensor,
    load: int | Tensor,
    k: int | Tensor,
    least: int | Tensor = 1,
    affinity: Tensor | None = None,
) -> Tensor:
    """The assignment that keeps as much of a plan as hard limits allow.

    Each pair of the plan's support counts ``1 + share``; pairs outside it count up to
    0.001 by their `affinity`, so that free places are filled with the best of the rest
    (without `affinity` they stay free unless `least` demands them).

    Parameters
    ----------
    share : Tensor, shape (..., A, T)
        A plan, >= 0.
    load, k, least
        As in `b_matching`.
    affinity : Tensor, shape (..., A, T), optional
        ``-inf`` forbids a pair.

    Returns
    -------
    Tensor of bool, shape (..., A, T)
    """
    checks.magnitudes("share", share)
    score = torch.where(share > 0, 1 + share.to(torch.float64), 0)
    if affinity is not None:
        checks.tensor("affinity", affinity, complex_ok=False)
        checks.same_shape("affinity", affinity, "share", share)
        known = affinity.detach().to(torch.float64)
        low = known.masked_fill(known == -torch.inf, torch.inf).amin((-2, -1), keepdim=True)
        width = (known.amax((-2, -1), keepdim=True) - low).clamp_min(1e-300)
        score = score + 1e-3 * ((known - low) / width).clamp_min(0)
        score = score.masked_fill(affinity == -torch.inf, -torch.inf)
    return b_matching(score.detach(), load, k, least)


def straight_through(share: Tensor, taken: Tensor) -> Tensor:
    """Weights of a hard assignment whose gradient is that of the plan.

    Parameters
    ----------
    share : Tensor, shape (..., A, T)
        A plan with its gradient.
    taken : Tensor of bool, shape (..., A, T)

    Returns
    -------
    Tensor, shape (..., A, T)
        Forward: the shares of the taken pairs, scaled to the mass of their column (even
        where none of them has a share). Backward: the identity on `share`.
    """
    checks.same_shape("taken", taken, "share", share)
    kept = torch.where(taken, share, 0).detach()
    mass = kept.sum(-2, keepdim=True)
    kept = torch.where(mass > 0, kept, taken.to(share.dtype))
    whole_mass = share.detach().sum(-2, keepdim=True)
    hard = kept / kept.sum(-2, keepdim=True).clamp_min(1e-300) * whole_mass
    return share + (hard - share).detach()
