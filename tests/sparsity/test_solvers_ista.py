"""Proximal gradient: it never rises, its restrictions hold, and CEL0 has the minima of l0."""

from __future__ import annotations

import itertools

import pytest
import torch

from hyperagent.errors import SparsityError
from hyperagent.sparsity.groups import Groups
from hyperagent.sparsity.penalties.firm import CEL0, MCP
from hyperagent.sparsity.penalties.l0 import L0
from hyperagent.sparsity.penalties.l1 import L1, GroupLasso
from hyperagent.sparsity.penalties.log_sum import LogSum
from hyperagent.sparsity.penalties.lq import Lq
from hyperagent.sparsity.penalties.scad import SCAD
from hyperagent.sparsity.solvers import Dense, Functional, PnP, admm, coordinate_descent, ista

D = torch.float64
CURVED = [
    L0(0.1),
    CEL0(0.1),
    MCP(0.3, 1.5),
    SCAD(0.3, 3.0),
    Lq(0.2, 0.3),
    Lq(0.2, 0.5),
    LogSum(0.2, 0.1),
]


def problem(m=30, n=60, batch=(), seed=0, dtype=D) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(m, n, generator=generator, dtype=dtype)
    return a / a.norm(dim=0), torch.randn(*batch, m, generator=generator, dtype=dtype)


def objective(a, y, penalty, x) -> torch.Tensor:
    return 0.5 * (x @ a.mT - y).abs().square().sum(-1) + penalty.value(x.abs()).sum(-1)


@pytest.mark.parametrize("momentum", [False, True])
def test_l1_meets_the_conditions_of_the_lasso(momentum) -> None:
    a, y = problem()
    lam = 0.2
    found = ista(a, y, L1(lam), iterations=20_000, tol=1e-11, momentum=momentum)
    pull = a.mT @ (y - a @ found.x)
    on = found.x != 0
    assert found.converged
    assert 0 < int(on.sum()) < 60
    torch.testing.assert_close(pull[on], lam * found.x[on].sign(), atol=1e-8, rtol=0)
    assert pull[~on].abs().max() <= lam
    torch.testing.assert_close(found.objective, objective(a, y, L1(lam), found.x))


def test_momentum_needs_fewer_iterations() -> None:
    a, y = problem()
    plain, fast = (
        ista(a, y, L1(0.1), iterations=50_000, tol=1e-9, momentum=m) for m in (False, True)
    )
    assert fast.iterations * 3 < plain.iterations
    torch.testing.assert_close(fast.x, plain.x, atol=1e-6, rtol=0)


@pytest.mark.parametrize("penalty", [L1(0.2), *CURVED], ids=repr)
def test_the_objective_never_rises(penalty) -> None:
    a, y = problem(batch=(4,))
    step = 1 / float(torch.linalg.matrix_norm(a, 2)) ** 2
    x = torch.randn(4, 60, dtype=D)
    before = objective(a, y, penalty, x)
    first = before
    for _ in range(60):
        x = ista(a, y, penalty, start=x, step=step, iterations=1, tol=1e-15).x
        now = objective(a, y, penalty, x)
        assert (now <= before + 1e-12).all()
        before = now
    assert (before < first).all()


@pytest.mark.parametrize("penalty", CURVED, ids=repr)
def test_momentum_is_refused_without_convexity(penalty) -> None:
    a, y = problem()
    with pytest.raises(SparsityError, match="momentum"):
        ista(a, y, penalty, momentum=True)


def test_larger_steps_are_refused_and_would_diverge() -> None:
    a, y = problem()
    largest = 1 / float(torch.linalg.matrix_norm(a, 2)) ** 2
    ista(a, y, CEL0(0.1), step=largest, iterations=2)
    with pytest.raises(SparsityError, match="step"):
        ista(a, y, CEL0(0.1), step=1.01 * largest)
    x = torch.zeros(60, dtype=D)  # the control: what the restriction prevents
    for _ in range(200):
        x = CEL0(0.1).on().prox(x - 2.3 * largest * (a.mT @ (a @ x - y)), 2.3 * largest)
    assert objective(a, y, CEL0(0.1), x) > 1e3


def theorem_problem(seed: int, rescale: float = 1.0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(6, 8, generator=generator, dtype=D)
    norms = 0.5 + 1.5 * torch.rand(8, generator=generator, dtype=D)
    norms[0] *= rescale
    a = a / a.norm(dim=0) * norms
    y = torch.randn(6, generator=generator, dtype=D)
    starts = torch.randn(96, 8, generator=generator, dtype=D) * 1.5
    return a, y, norms, starts


def corners(a: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The least-squares solution on each of the 256 supports."""
    on = torch.tensor(list(itertools.product([0.0, 1.0], repeat=8)), dtype=D)
    return (torch.linalg.pinv(a * on[:, None, :]) @ y) * on


def best_l0(a: torch.Tensor, y: torch.Tensor, lam: float) -> float:
    """The global minimum, over all supports."""
    best = 0.5 * float(y @ y)
    for k in range(1, a.shape[1] + 1):
        for support in itertools.combinations(range(a.shape[1]), k):
            part = a[:, support]
            miss = y - part @ torch.linalg.lstsq(part, y, driver="gelsd").solution
            best = min(best, 0.5 * float(miss @ miss) + lam * k)
            if k > a.shape[0]:
                break  # a superset of a full basis only costs more
    return best


def test_cel0_has_the_global_minima_of_l0_and_finds_them_more_often() -> None:
    """25 problems of 6 x 8, one column tripled in every fifth; hit rates from random starts."""
    lam, hits = 0.1, {"cel0": 0.0, "l0": 0.0}
    for seed in range(25):
        a, y, norms, starts = theorem_problem(seed, 3.0 if seed % 5 == 0 else 1.0)
        starts = torch.cat([starts, corners(a, y)])
        data = y.expand(len(starts), -1)
        target = best_l0(a, y, lam)
        smooth = ista(a, data, CEL0(lam, norms), start=starts, iterations=300, tol=1e-7)
        hard = ista(a, data[:96], L0(lam), start=starts[:96], iterations=300, tol=1e-7)
        least, which = smooth.objective.min(0)
        assert least >= target - 1e-7  # never below
        assert least <= target + 1e-6  # and equal
        x = smooth.x[which]
        x = torch.where(x.abs() < (2 * lam) ** 0.5 / norms, 0.0, x)  # a minimiser of l0
        assert objective(a, y, L0(lam), x) == pytest.approx(target, abs=1e-5)
        hits["cel0"] += float((smooth.objective[:96] < target + 1e-3).double().mean()) / 25
        hits["l0"] += float((hard.objective < target + 1e-3).double().mean()) / 25
    assert hits["cel0"] >= 1.4 * hits["l0"], hits


def test_wrong_norms_lose_the_theorem() -> None:
    """The control: with norms below the real ones the relaxation has other, lower minima."""
    below = 0
    for seed in range(6):
        a, y, norms, starts = theorem_problem(seed)
        data = y.expand(len(starts), -1)
        found = ista(a, data, CEL0(0.1, 0.3 * norms), start=starts, iterations=500)
        below += bool(found.objective.min() < best_l0(a, y, 0.1) - 1e-3)
    assert below >= 3


@pytest.mark.parametrize("penalty", [L1(0.3), CEL0(0.1)], ids=repr)
def test_a_batch_gives_what_its_items_give(penalty) -> None:
    a, y = problem(batch=(2, 3))
    y[0, 1] *= 5  # needs another number of iterations
    both = [penalty.rho == 0, False]
    for momentum in set(both):
        all_ = ista(a, y, penalty, iterations=3000, tol=1e-5, momentum=momentum)
        assert all_.x.shape == (2, 3, 60)
        assert all_.objective.shape == all_.converged.shape == (2, 3)
        counts = set()
        for i, j in itertools.product(range(2), range(3)):
            one = ista(a, y[i, j], penalty, iterations=3000, tol=1e-5, momentum=momentum)
            torch.testing.assert_close(all_.x[i, j], one.x, atol=1e-12, rtol=0)
            counts.add(one.iterations)
        assert all_.iterations == max(counts) > min(counts)


def test_complex_numbers_keep_their_phase() -> None:
    a, y = problem(dtype=torch.complex128)
    found = ista(a, y, L1(0.3), iterations=5000, tol=1e-11, momentum=True)
    turn = torch.exp(torch.tensor(0.7j, dtype=torch.complex128))
    turned = ista(a, turn * y, L1(0.3), iterations=5000, tol=1e-11, momentum=True)
    torch.testing.assert_close(turned.x, turn * found.x, atol=1e-9, rtol=0)
    pull, on = a.mH @ (y - a @ found.x), found.x != 0
    assert 0 < int(on.sum()) < 60
    torch.testing.assert_close(pull[on], 0.3 * found.x[on].sgn(), atol=1e-8, rtol=0)


def test_groups_and_operators() -> None:
    a, y = problem(m=40, n=24)
    operator = Functional(
        lambda x: x.flatten(1) @ a.mT, lambda r: (r @ a).reshape(-1, 6, 4), (6, 4), (40,), D
    )
    found = ista(operator, y, GroupLasso(1.3), groups=Groups.rows(), iterations=4000, tol=1e-9)
    assert found.x.shape == (6, 4)
    zero = (found.x == 0).all(-1)
    assert 0 < int(zero.sum()) < 6
    assert torch.equal(zero, (found.x == 0).any(-1))
    assert found.residual < 1e-7


def test_a_prior_without_a_value_runs_and_says_nan() -> None:
    a, y = problem()
    found = ista(a, y, PnP(lambda z, sigma: (z - 0.1 * sigma).clamp_min(0)), iterations=20)
    assert found.objective.isnan()
    assert found.x.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_single_precision_and_inputs_left_alone(dtype) -> None:
    a, y = problem(dtype=dtype, batch=(2,))
    start = torch.ones(2, 60, dtype=dtype)
    copies = a.clone(), y.clone(), start.clone()
    found = ista(a, y, CEL0(0.1), start=start, iterations=200)
    assert found.x.dtype == dtype
    for now, then in zip((a, y, start), copies, strict=True):
        assert torch.equal(now, then)


def test_bad_input_is_named() -> None:
    a, y = problem()
    nan = y.clone()
    nan[0] = torch.nan
    for call, name in (
        (lambda: ista(a, nan, L1(0.1)), "y must be finite"),
        (lambda: ista(a, y[:-1], L1(0.1)), "y must have the shape"),
        (lambda: ista(a, y.float(), L1(0.1)), "y must be"),
        (lambda: ista(a.long(), y, L1(0.1)), "matrix"),
        (lambda: ista(a, y, L1(0.1), step=-1.0), "step"),
        (lambda: ista(a, y, L1(0.1), iterations=0), "iterations"),
        (lambda: ista(a, y, L1(0.1), tol=0.0), "tol"),
        (lambda: ista(Dense(a), y, L1(0.1), start=y), "start"),
    ):
        with pytest.raises(SparsityError, match=name):
            call()


@pytest.mark.parametrize("solver", [ista, admm, coordinate_descent])
def test_an_empty_batch_has_an_empty_solution(solver):
    found = solver(torch.ones(2, 3), torch.zeros(0, 2), L1(0.5))
    assert found.x.shape == (0, 3)
    assert found.objective.shape == found.residual.shape == (0,)


@pytest.mark.parametrize("solver", [ista, admm, coordinate_descent])
def test_data_of_another_dtype(solver):
    with pytest.raises(SparsityError, match="y must be"):
        solver(torch.ones(2, 3), torch.ones(2, dtype=torch.float64), L1(0.5))
