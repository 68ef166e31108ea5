"""Coordinate descent: coordinatewise global minima, skglm's optimum, and its speed."""

from __future__ import annotations

import statistics
import time

import pytest
import torch

from hyperagent.errors import SparsityError
from hyperagent.sparsity.penalties import Masked, NonNegative
from hyperagent.sparsity.penalties.capped_l1 import CappedL1
from hyperagent.sparsity.penalties.envelope import SparseEnvelope
from hyperagent.sparsity.penalties.firm import CEL0, MCP
from hyperagent.sparsity.penalties.l0 import L0
from hyperagent.sparsity.penalties.l1 import L1, GroupLasso
from hyperagent.sparsity.penalties.log_sum import LogSum
from hyperagent.sparsity.penalties.lq import Lq
from hyperagent.sparsity.penalties.scad import SCAD
from hyperagent.sparsity.solvers import coordinate_descent, ista

D = torch.float64
PENALTIES = [
    L1(0.1),
    GroupLasso(0.1, 1.5),
    L0(0.05),
    CEL0(0.05),
    CEL0(0.05, torch.linspace(0.5, 2.0, 60, dtype=D)),
    MCP(0.2, 1.2),
    MCP(0.2, 0.5),
    SCAD(0.2, 2.5),
    Lq(0.1, 0.5),
    LogSum(0.1, 0.1),
    CappedL1(0.2, 0.3),
]


def problem(m=30, n=60, active=6, seed=0, unit=True):
    """Columns of norm 1 (or 0.5 ... 2) and data of a sparse truth with noise."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(m, n, generator=generator, dtype=D)
    a = a / a.norm(dim=0)
    if not unit:
        a = a * torch.linspace(0.5, 2.0, n, dtype=D)
    x = torch.zeros(n, dtype=D)
    where = torch.randperm(n, generator=generator)[:active]
    size = 1 + torch.rand(active, generator=generator, dtype=D) * active
    x[where] = size * torch.randint(0, 2, (active,), generator=generator).mul(2).sub(1)
    return a, a @ x + 0.05 * torch.randn(m, generator=generator, dtype=D)


def objective(a, y, penalty, x) -> torch.Tensor:
    return 0.5 * (x @ a.mT - y).square().sum(-1) + penalty.value(x.abs()).sum(-1)


@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
def test_no_single_entry_can_be_improved_however_far_it_moves(penalty) -> None:
    a, y = problem(unit=False)
    found = coordinate_descent(a, y, penalty)
    assert found.converged
    assert found.residual < 1e-6
    best = objective(a, y, penalty, found.x)
    torch.testing.assert_close(found.objective, best)
    assert 0 < int((found.x != 0).sum()) < 60
    grid = torch.cat([torch.linspace(-8, 8, 1601, dtype=D), torch.zeros(1, dtype=D)])
    for i in range(60):
        tried = found.x.expand(len(grid), -1).clone()
        tried[:, i] = grid
        assert objective(a, y, penalty, tried).min() >= best - 1e-10


@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
def test_the_threshold_kernel_is_the_prox(penalty) -> None:
    """A subclass has no kernel of its own and runs through its prox: the same result."""
    kind = type(penalty)
    other = type("Other", (kind,), {})(*[getattr(penalty, n) for n in kind.parameters])
    a, y = problem(unit=False, seed=1)
    fast, slow = coordinate_descent(a, y, penalty), coordinate_descent(a, y, other)
    torch.testing.assert_close(fast.x, slow.x, atol=1e-7, rtol=0)
    assert torch.equal(fast.x == 0, slow.x == 0)


def test_l1_is_the_lasso_of_ista_even_where_nearly_all_is_active() -> None:
    a, y = problem(m=40, n=60, seed=2)
    for lam in (1e-3, 0.05, 0.5, 100.0):
        found = coordinate_descent(a, y, L1(lam))
        best = ista(a, y, L1(lam), iterations=50_000, tol=1e-11, momentum=True)
        torch.testing.assert_close(found.objective, best.objective, rtol=1e-9, atol=1e-9)
    assert not found.x.any()


def test_cel0_ends_in_a_local_minimum_of_l0() -> None:
    a, y = problem(seed=3, unit=False)
    found = coordinate_descent(a, y, CEL0(0.05, a.norm(dim=0)))
    on = found.x != 0
    part = a[:, on]
    free = torch.linalg.lstsq(part, y[:, None]).solution[:, 0]
    torch.testing.assert_close(found.x[on], free)
    assert (found.x[on].abs() >= (2 * 0.05) ** 0.5 / a.norm(dim=0)[on] - 1e-9).all()


def test_batches_starts_zero_columns_and_float32() -> None:
    a, y = problem()
    a[:, 7] = 0
    data = torch.stack([y, -2 * y, torch.zeros_like(y)])
    found = coordinate_descent(a, data, MCP(0.2, 1.2))
    assert found.x.shape == (3, 60)
    for i in range(3):
        one = coordinate_descent(a, data[i], MCP(0.2, 1.2))
        assert torch.equal(one.x, found.x[i])
    assert not found.x[:, 7].any()
    assert not found.x[2].any()
    again = coordinate_descent(a, data, MCP(0.2, 1.2), start=found.x)
    assert again.iterations <= 1
    torch.testing.assert_close(again.x, found.x)
    single = coordinate_descent(a.float(), y.float(), MCP(0.2, 1.2), tol=1e-5)
    assert single.x.dtype == torch.float32
    torch.testing.assert_close(single.x.double(), found.x[0], atol=1e-4, rtol=0)


def test_penalties_around_penalties() -> None:
    a, y = problem()
    keep = torch.arange(60) < 3
    masked = coordinate_descent(a, y, Masked(L1(0.3), keep))
    assert masked.converged
    assert (a.mT @ (a @ masked.x - y))[:3].abs().max() < 1e-6  # no pull of the penalty there
    positive = coordinate_descent(a, y, NonNegative(L1(0.3)))
    assert positive.converged
    assert positive.x.min() == 0
    pull = a.mT @ (y - a @ positive.x)
    on = positive.x > 0
    torch.testing.assert_close(pull[on], torch.full_like(pull[on], 0.3), atol=1e-6, rtol=0)
    assert pull[~on].max() <= 0.3 + 1e-6


def test_bad_input_is_named() -> None:
    a, y = problem()
    nan = a.clone()
    nan[0, 0] = torch.nan
    for call, name in (
        (lambda: coordinate_descent(nan, y, L1(0.1)), "matrix must be finite"),
        (lambda: coordinate_descent(a, y[1:], L1(0.1)), "matrix must be"),
        (lambda: coordinate_descent(a.to(torch.complex128), y, L1(0.1)), "matrix"),
        (lambda: coordinate_descent(a.long(), y, L1(0.1)), "matrix"),
        (lambda: coordinate_descent(a, y, SparseEnvelope(0.1, 3)), "separable"),
        (lambda: coordinate_descent(a, y, L1(0.1), start=y), "start"),
        (lambda: coordinate_descent(a, y, L1(0.1), tol=0.0), "tol"),
        (lambda: coordinate_descent(a, y, L1(0.1), working_set=0), "working_set"),
    ):
        with pytest.raises(SparsityError, match=name):
            call()


CASES = [
    # rows, columns, active, lam
    (100, 200, 12, 0.02),
    (100, 200, 12, 0.05),
    (500, 5000, 40, 0.02),
    (500, 5000, 40, 0.05),
]


@pytest.mark.parametrize(("m", "n", "active", "lam"), CASES)
def test_skglm_finds_the_same_optimum_and_is_at_most_five_times_faster(m, n, active, lam) -> None:
    """Its inner solver without validation, on a matrix in its favourite layout, compiled before.

    CEL0 with unit columns is MCP with gamma 1, up to skglm's factor 1 / rows. Gamma is 0.1 %
    larger for both, because skglm's prox is only right for gamma above the step.
    """
    np = pytest.importorskip("numpy")
    solvers = pytest.importorskip("skglm.solvers", reason="skglm is not installed")
    from skglm.datafits import Quadratic
    from skglm.penalties import MCPenalty
    from skglm.utils.jit_compilation import compiled_clone

    a, y = problem(m, n, active, seed=4)
    theirs, data = np.asfortranarray(a.numpy()), y.numpy()
    slope = (2 * lam) ** 0.5
    penalty = compiled_clone(MCPenalty(alpha=slope / m, gamma=1.001 * m))
    fit = compiled_clone(Quadratic())
    solver = solvers.AndersonCD(tol=1e-10, fit_intercept=False, warm_start=False)

    def they() -> torch.Tensor:
        return torch.as_tensor(solver._solve(theirs, data, fit, penalty)[0])

    def we() -> torch.Tensor:
        return coordinate_descent(a, y, MCP(slope, 1.001)).x

    def cel0() -> torch.Tensor:
        return coordinate_descent(a, y, CEL0(lam)).x

    ends = [run() for run in (they, we, cel0)]
    values = [float(objective(a, y, MCP(slope, 1.001), x)) for x in ends]
    assert values[1] == pytest.approx(values[0], abs=1e-6)
    assert values[2] == pytest.approx(values[0], abs=1e-6)
    assert torch.equal(ends[0] != 0, ends[1] != 0)
    assert torch.equal(ends[0] != 0, ends[2] != 0)

    times: dict = {run: [] for run in (they, we, cel0)}
    for _ in range(7):  # interleaved: a slow moment hits all
        for run, spent in times.items():
            begin = time.process_time()
            run()
            spent.append(time.process_time() - begin)
    medians = {run: statistics.median(spent) for run, spent in times.items()}
    assert medians[we] <= 5 * medians[they]
    assert medians[cel0] <= 5 * medians[they]
