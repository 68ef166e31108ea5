"""How a transport problem is solved: a ladder in gamma, then the limit k."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hyperagent.sparsity.transport.dual import Dual
from hyperagent.sparsity.transport.inputs import Problem
from hyperagent.sparsity.transport.newton import Maximum, Point, maximise, pick
from hyperagent.sparsity.transport.semi_dual import SemiDual

TOLERANCE = 1e-11
"""Largest error of a row, relative to the largest marginal, at which a solver stops."""
LOOSE = 1e-2
"""The same on the way there."""
RUNG, DESCENT = 8.0, 12
"""Ratio of one gamma of the ladder to the next, and how many may follow the own one."""
MOST, POLISH, REPAIR = 600, 8, 40
"""Evaluations at most: without a limit, with it, and of a repair."""


def oracle(
    problem: Problem, form: str = "semi_dual", limit: bool = False, gamma: float = 1.0
) -> SemiDual | Dual:
    """The function to maximise, at `gamma` times the problem's gamma."""
    kind = Dual if form == "dual" else SemiDual
    k = problem.k if limit else None
    return kind(problem.cost, problem.a, problem.b, problem.gamma * gamma, k, problem.capacity)


def breadth(problem: Problem) -> Tensor:
    """Largest minus smallest allowed cost, shape (B,)."""
    high = problem.cost.masked_fill(torch.isinf(problem.cost), -torch.inf).amax((1, 2))
    return high - problem.cost.amin((1, 2))


def top(problem: Problem) -> int:
    """The rung of the ladder to start from: gamma times RUNG to this power.

    There a column of average mass spreads over a few rows: the plan connects all rows and
    Newton's method is at its best. Negative where the own gamma is larger than that.
    """
    mass = problem.b.mean(-1)
    wide = breadth(problem) / (problem.a.shape[-1] * mass)
    wide = torch.where(mass > 0, wide, 0)  # without mass there is nothing to solve
    ratio = float((wide / problem.gamma).max())
    return max(min(math.floor(math.log(max(ratio, 1e-300), RUNG)), 12), -12)


def scale(problem: Problem) -> Tensor:
    """The largest marginal of a row, the unit of row errors, shape (B,)."""
    return problem.a.amax(-1)


def solve(problem: Problem, form: str = "semi_dual", start: Tensor | None = None) -> Maximum:
    """Row potentials that maximise the (semi-)dual of each problem, without its limit k.

    The function is smooth and the answer exact to rounding.

    Parameters
    ----------
    problem : Problem
    form : {"semi_dual", "dual"}
        What Newton's method works on; the plan comes from the semi-dual in both cases, so
        that its column sums are exact.
    start : Tensor, shape (B, A), optional
        Row potentials near the answer; the ladder is left out.
    """
    size = scale(problem)
    x = torch.zeros_like(problem.a)
    steps = torch.zeros_like(size, dtype=torch.long)
    first = max(top(problem), 0)
    if start is not None:
        x, first = (start.clamp_max(0) if problem.capacity else start), 0
    for rung in range(first, -1, -1):
        gamma, tol = RUNG**rung, LOOSE if rung else TOLERANCE
        if form == "dual":
            x, more = through_dual(problem, x, gamma, tol, limit=False)
            steps += more
        found = maximise(oracle(problem, gamma=gamma), x, size, tol, MOST)
        x, steps = found.x, steps + found.steps
    return Maximum(x, found.point, steps)


def within(problem: Problem, share: Tensor) -> bool:
    """Whether every column of the plans (B, T, A) keeps the limit."""
    return problem.k is None or bool(((share > 0).sum(-1, keepdim=True) <= problem.k).all())


def limit(problem: Problem, found: Maximum, form: str = "semi_dual") -> Maximum:
    """The same with the limit k, from the answer without it.

    Newton's method goes on from there until a kink stops it. For k = 1 the semi-dual is
    that of unregularised transport whatever gamma (plus a constant), so the ladder goes on
    down to the vertex first.
    """
    x, steps = found.x, found.steps
    if isinstance(problem.k, int) and problem.k == 1:
        x, more = descend(problem, x)
        steps = steps + more
    if form == "dual":
        x, more = through_dual(problem, x, 1.0, TOLERANCE, limit=True)
        steps = steps + more
    last = maximise(oracle(problem, limit=True), x, scale(problem), TOLERANCE, POLISH)
    return Maximum(last.x, last.point, steps + last.steps)


def descend(problem: Problem, x: Tensor) -> tuple[Tensor, Tensor]:
    """Row potentials of unregularised transport, and the evaluations.

    Smaller and smaller gammas, until each column uses one row or the semi-dual of k = 1
    no longer rises.
    """
    single = oracle(problem, limit=True)
    best, steps = single.at(x).value, 0
    least = 1e-9 * breadth(problem) * problem.b.sum(-1)
    first = min(top(problem), 0) - 1
    for rung in range(first, first - DESCENT, -1):
        found = maximise(oracle(problem, gamma=RUNG**rung), x, scale(problem), LOOSE, MOST)
        value = single.at(found.x).value
        x, steps = pick(value > best, found.x, x), steps + found.steps
        settled = ((found.point.share > 0).sum(-1) <= 1).all(-1)
        settled |= value - best <= least
        best = torch.maximum(best, value)
        if bool(settled.all()):
            break
    return x, steps


def through_dual(
    problem: Problem, x: Tensor, gamma: float, tol: float, limit: bool
) -> tuple[Tensor, Tensor]:
    """Row potentials after Newton's method on the full dual, and the evaluations."""
    beta = -oracle(problem, limit=limit, gamma=gamma).at(x).tau
    found = maximise(
        oracle(problem, "dual", limit, gamma),
        torch.cat([x, beta], dim=-1),
        scale(problem),
        tol,
        POLISH if limit else MOST,
    )
    return found.x[:, : x.shape[-1]], found.steps


def repair(problem: Problem, found: Maximum) -> Maximum:
    """A plan within the limit that meets the marginals, where the kept pairs allow one.

    Each column keeps its k best pairs at the prices found and the rest is forbidden; the
    unlimited problem over the kept pairs is smooth again. Its plan is feasible, so the
    difference to the dual value is a true bound of what the limit may have cost. Where
    they allow none, the plan is left as it was.
    """
    reduced = found.x[:, None, :] - problem.cost
    order = reduced.sort(dim=-1, descending=True, stable=True).indices
    rank = torch.arange(order.shape[-1], device=order.device).expand(order.shape)
    kept = torch.zeros_like(reduced, dtype=torch.bool).scatter(-1, order, rank < problem.k)
    limited = problem._replace(cost=problem.cost.masked_fill(~kept, torch.inf), k=None)
    size = scale(problem)
    again = maximise(oracle(limited), found.x, size, TOLERANCE, REPAIR)
    slope = again.point.gradient
    error = -slope if problem.capacity else slope.abs()
    met = error.amax(-1) <= 1e-9 * size
    point = Point(*(pick(met, n, o) for n, o in zip(again.point, found.point, strict=True)))
    return Maximum(pick(met, again.x, found.x), point, found.steps + again.steps)
