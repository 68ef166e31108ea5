"""Cardinality-constrained transport side by side with POT and cvxpy."""

from __future__ import annotations

import contextlib
import io
import time
import warnings
from typing import Any

import torch
from torch import Tensor

from hyperagent.sparsity.transport import MarginalWarning, TransportPlan
from hyperagent.sparsity.transport.inputs import problem
from hyperagent.sparsity.transport.solve import oracle

SIZE, GAMMA, LIMITS = 40, 0.5, (2, 5, 39, 40)


def random_problem(seed: int, dirichlet: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Uniform costs; Dirichlet(1) or uniform marginals."""
    generator = torch.Generator().manual_seed(seed)
    cost = torch.rand(SIZE, SIZE, generator=generator, dtype=torch.float64)
    a = torch.ones(SIZE, dtype=torch.float64)
    b = torch.ones(SIZE, dtype=torch.float64)
    if dirichlet:
        a = -torch.log(torch.rand(SIZE, generator=generator, dtype=torch.float64))
        b = -torch.log(torch.rand(SIZE, generator=generator, dtype=torch.float64))
    return cost, a / a.sum(), b / b.sum()


def measured(share: Tensor, alpha: Tensor | float, data: tuple, k: int) -> dict[str, Any]:
    """The same yardstick for everybody's plan; the dual value at row potentials if given."""
    cost, a, b = data
    if isinstance(alpha, Tensor):
        function = oracle(problem(cost, a, b, GAMMA, k, False), limit=True)
        alpha = float(function.at(alpha[None]).value)
    return {
        "dual": alpha,
        "row_error": float((share.sum(1) - a).abs().sum()),
        "column_error": float((share.sum(0) - b).abs().sum()),
        "most": int((share > 1e-12).sum(0).max()),
    }


def solve_ours(cost: Tensor, a: Tensor, b: Tensor, k: int) -> tuple[Tensor, float]:
    plan = TransportPlan(k, GAMMA)(cost, a, b)
    return plan.share, float(plan.value)


def solve_pot(form: str, tight: bool):
    """POT's solver as it comes, or with its tolerance at 1e-15 and 5000 iterations."""
    from ot import smooth

    function = getattr(smooth, f"smooth_ot_{form}")
    extra = {"stopThr": 1e-15, "numItermax": 5000} if tight else {}

    def solve(cost: Tensor, a: Tensor, b: Tensor, k: int) -> tuple[Tensor, Tensor]:
        share, log = function(
            a.numpy().copy(),
            b.numpy().copy(),
            cost.numpy().copy(),
            GAMMA,
            reg_type="sparsity_constrained",
            max_nz=k,
            log=True,
            **extra,
        )
        return torch.as_tensor(share), torch.as_tensor(log["alpha"])

    return solve


def run(seeds: int, rounds: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of the table, and why peers are missing."""
    solvers: dict[str, Any] = {"ours": solve_ours}
    missing = []
    try:
        for form in ("semi_dual", "dual"):
            solvers[f"POT {form}"] = solve_pot(form, False)
            solvers[f"POT {form}, tight"] = solve_pot(form, True)
    except ImportError as error:
        missing.append(f"POT skipped: {error}")
    rows = []
    for dirichlet in (False, True):
        for k in LIMITS:
            for seed in range(seeds):
                data = random_problem(seed, dirichlet)
                for name, solve in solvers.items():
                    row = {"marginals": "Dirichlet" if dirichlet else "uniform", "k": k}
                    row |= {"seed": seed, "solver": name}
                    rows.append(row | timed(solve, data, k, rounds))
    return rows, missing


def timed(solve: Any, data: tuple[Tensor, Tensor, Tensor], k: int, rounds: int) -> dict[str, Any]:
    """Least CPU time of some rounds, what was printed and warned, and the yardstick."""
    best, said = float("inf"), io.StringIO()
    try:
        for _ in range(rounds):
            said = io.StringIO()
            with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(said):
                warnings.simplefilter("always")
                began = time.process_time()
                share, alpha = solve(*data, k)
                best = min(best, time.process_time() - began)
    except Exception as error:  # A peer's crash is a result.
        return {"failed": f"{type(error).__name__}: {error}"}
    return measured(share, alpha, data, k) | {
        "ms": best * 1e3,
        "printed": len(said.getvalue().splitlines()),
        "warned": any(issubclass(w.category, MarginalWarning) for w in caught),
    }


def against_cvxpy(seeds: int) -> dict[str, Any] | None:
    """Unlimited plan against a quadratic program: largest differences, and CPU times."""
    try:
        import cvxpy
    except ImportError:
        return None
    value_gap, plan_gap, ours, theirs = 0.0, 0.0, [], []
    for seed in range(seeds):
        cost, a, b = random_problem(seed, True)
        began = time.process_time()
        plan = TransportPlan(None, GAMMA)(cost, a, b)
        ours.append((time.process_time() - began) * 1e3)
        share = cvxpy.Variable(cost.shape, nonneg=True)
        paid = cvxpy.sum(cvxpy.multiply(cost.numpy(), share)) + GAMMA / 2 * cvxpy.sum_squares(share)
        limits = [cvxpy.sum(share, axis=1) == a.numpy(), cvxpy.sum(share, axis=0) == b.numpy()]
        task = cvxpy.Problem(cvxpy.Minimize(paid), limits)
        began = time.process_time()
        value = task.solve(solver="CLARABEL")
        theirs.append((time.process_time() - began) * 1e3)
        value_gap = max(value_gap, abs(float(plan.value) - value))
        plan_gap = max(plan_gap, float(abs(plan.share.numpy() - share.value).max()))
    return {"value_gap": value_gap, "plan_gap": plan_gap, "ours_ms": min(ours), "ms": min(theirs)}
