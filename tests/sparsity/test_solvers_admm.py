"""ADMM against proximal gradient, in every form of its least-squares step."""

from __future__ import annotations

import pytest
import torch

from hyperagent.errors import SparsityError
from hyperagent.sparsity.groups import Groups
from hyperagent.sparsity.penalties.firm import CEL0, MCP
from hyperagent.sparsity.penalties.l0 import L0
from hyperagent.sparsity.penalties.l1 import L1, GroupLasso
from hyperagent.sparsity.solvers import PnP, admm, ista

D = torch.float64


def problem(m=30, n=60, batch=(), dtype=D, seed=0):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(m, n, generator=generator, dtype=dtype)
    return a / a.norm(dim=0), torch.randn(*batch, m, generator=generator, dtype=dtype)


@pytest.mark.parametrize("x_update", ["auto", "woodbury", "normal", "cg"])
@pytest.mark.parametrize("kappa", [None, 0.3, 5.0])
def test_l1_does_not_depend_on_kappa_or_on_the_x_update(x_update, kappa) -> None:
    a, y = problem(batch=(2,))
    found = admm(a, y, L1(0.2), kappa=kappa, x_update=x_update, iterations=4000, tol=1e-7)
    best = ista(a, y, L1(0.2), iterations=20_000, tol=1e-10, momentum=True)
    assert found.converged.all()
    torch.testing.assert_close(found.x, best.x, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.objective, best.objective, atol=1e-5, rtol=0)
    assert torch.equal(found.x == 0, best.x == 0)


def test_badly_conditioned_problems_need_fewer_iterations_than_ista() -> None:
    a, y = problem(60, 40)
    a = a * torch.logspace(0, -2, 40, dtype=D)
    penalty = L1(1e-3)
    found = admm(a, y, penalty, kappa=1e-3, iterations=3000, tol=1e-8)
    slow = ista(a, y, penalty, iterations=found.iterations, momentum=True, tol=1e-14)
    assert found.converged
    assert found.objective < slow.objective - 1e-4


@pytest.mark.parametrize("penalty", [CEL0(0.1), MCP(0.3, 1.5), L0(0.1)], ids=repr)
def test_without_convexity_the_default_ends_at_a_stationary_point(penalty) -> None:
    a, y = problem()
    found = admm(a, y, penalty, iterations=30_000, tol=1e-9)
    assert found.converged
    assert found.residual < 1e-5
    assert 0 < int((found.x != 0).sum()) < 60
    start = 0.5 * float(y @ y)
    assert found.objective < start


def test_complex_groups_and_single_precision() -> None:
    a, y = problem(dtype=torch.complex64)
    found = admm(a, y, L1(0.3), iterations=800, tol=1e-5)
    best = ista(a, y, L1(0.3), iterations=3000, tol=1e-6, momentum=True)
    assert found.x.dtype == torch.complex64
    torch.testing.assert_close(found.x, best.x, atol=2e-3, rtol=0)
    a, y = problem(40, 24)
    pairs = Groups.blocks(4)
    found = admm(a, y, GroupLasso(1.3), groups=pairs, iterations=3000, tol=1e-8)
    best = ista(a, y, GroupLasso(1.3), groups=pairs, iterations=9000, tol=1e-10, momentum=True)
    torch.testing.assert_close(found.x, best.x, atol=1e-5, rtol=0)
    assert (found.x == 0).any()


def test_a_batch_gives_what_its_items_give() -> None:
    a, y = problem(batch=(3,))
    y[1] *= 6
    all_ = admm(a, y, L1(0.2), iterations=2000, tol=1e-6)
    for i in range(3):
        one = admm(a, y[i], L1(0.2), iterations=2000, tol=1e-6)
        torch.testing.assert_close(all_.x[i], one.x, atol=1e-10, rtol=0)


def test_plug_and_play_sees_the_noise_of_its_step() -> None:
    a, y = problem()
    seen = []

    def denoiser(z, sigma):
        seen.append(float(sigma))
        return (z - 0.2 * sigma).clamp_min(0)

    found = admm(a, y, PnP(denoiser), kappa=4.0, iterations=30)
    assert found.objective.isnan()
    assert set(seen) == {0.5}


def test_bad_input_is_named() -> None:
    a, y = problem()
    for call, name in (
        (lambda: admm(a, y * torch.nan, L1(0.1)), "y must be finite"),
        (lambda: admm(a, y, L1(0.1), kappa=0.0), "kappa"),
        (lambda: admm(a, y, L1(0.1), x_update="fft"), "x_update"),
        (lambda: admm(a, y, L1(0.1), start=y), "start"),
        (lambda: admm(a, y[1:], L1(0.1)), "y must have the shape"),
    ):
        with pytest.raises(SparsityError, match=name):
            call()
