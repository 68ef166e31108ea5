"""C-SALSA: optimality, the data ball, the three x-updates, batches, phases, refusals."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hyperagent.errors import SparsityError
from hyperagent.sparsity.penalties import L1, MCP
from hyperagent.sparsity.solvers.csalsa import auto_update, csalsa, inverse
from hyperagent.sparsity.solvers.denoise import PnP
from hyperagent.sparsity.solvers.operators import Dense, Functional

DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]
EXACT = {"tol": 0.0, "iterations": 1500}


def problem(
    dtype: torch.dtype = torch.complex128, m: int = 24, n: int = 60, items: int = 3, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Matrix with unit columns, sparse truths, data at about 30 dB, bounds."""
    g = torch.Generator().manual_seed(seed)
    a = torch.randn(m, n, dtype=dtype, generator=g)
    a = a / torch.linalg.vector_norm(a, dim=0)
    x = torch.randn(items, n, dtype=dtype, generator=g)
    x[torch.rand(items, n, generator=g) > 0.08] = 0
    noise = torch.randn(items, m, dtype=dtype, generator=g) * 0.02
    return a, x, x @ a.mT + noise, torch.linalg.vector_norm(noise, dim=1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_l1_solution_meets_the_optimality_conditions(dtype):
    """A^H r = mu sgn(x) on the support, |A^H r| <= mu off it, ||r|| = eps."""
    a, _, y, eps = problem(dtype)
    found = csalsa(a, y, L1(1.0), eps, step=0.1, **EXACT)
    x = found.split
    r = y - x @ a.mT
    torch.testing.assert_close(torch.linalg.vector_norm(r, dim=1), eps, rtol=1e-8, atol=0)
    pull = r @ a.conj()
    mu = pull.abs().amax(1, keepdim=True)
    on = x.abs() > 1e-6
    assert 3 <= int(on.sum()) < on.numel() // 2
    assert float(((pull / mu - torch.sgn(x)).abs() * on).max()) < 1e-6
    assert float(found.gap.max()) < 1e-8


def test_the_limit_for_a_convex_penalty_depends_on_no_setting():
    a, _, y, eps = problem()
    one = csalsa(a, y, L1(1.0), eps, step=0.1, kappa=1.0, **EXACT)
    two = csalsa(a, y, L1(0.4), eps, step=0.5, kappa=0.4, **EXACT)
    torch.testing.assert_close(one.x, two.x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_misfit_and_recovery(dtype):
    a, x, y, eps = problem(dtype)
    before = [t.clone() for t in (a, y, eps)]
    found = csalsa(a, y, L1(1.0), eps.to(torch.float64), tol=1e-4)
    assert found.x.dtype == dtype
    assert found.x.shape == x.shape
    assert bool(found.converged.all())
    size = torch.linalg.vector_norm(y, dim=1)
    fresh = torch.linalg.vector_norm(y - found.x @ a.mT, dim=1)
    torch.testing.assert_close(found.misfit, fresh)
    assert bool((found.misfit <= eps + 2e-4 * size).all())
    assert float(torch.linalg.vector_norm(found.x - x) / torch.linalg.vector_norm(x)) < 0.15
    assert all(torch.equal(s, t) for s, t in zip((a, y, eps), before, strict=True))


@pytest.mark.parametrize(("m", "n"), [(20, 50), (50, 20)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex64, torch.complex128])
def test_the_three_x_updates_agree(dtype, m, n):
    a, *_ = problem(dtype, m, n)
    op = Dense(a)
    r = torch.randn(4, m, dtype=dtype, generator=torch.Generator().manual_seed(1))
    exact = torch.linalg.solve(a @ a.mH + 0.6 * torch.eye(m, dtype=dtype), r.mT).mT
    for how in ("woodbury", "normal", "cg"):
        s = inverse(op, 0.6, how)(r, torch.zeros_like(r))
        assert float((s - exact).abs().max() / exact.abs().max()) < 5e-5, how
    assert auto_update(op) == ("woodbury" if m < n else "normal")


@pytest.mark.parametrize("how", ["woodbury", "normal", "cg"])
def test_solutions_agree_over_x_updates(how):
    a, _, y, eps = problem()
    auto = csalsa(a, y, L1(1.0), eps, iterations=150)
    found = csalsa(a, y, L1(1.0), eps, iterations=150, x_update=how)
    assert auto.x_update == "woodbury"
    assert found.x_update == how
    torch.testing.assert_close(found.x, auto.x, rtol=0, atol=1e-4)


def test_large_operators_get_conjugate_gradients():
    op = Functional(lambda x: x, lambda y: y, (3000,), (3000,))
    assert auto_update(op) == "cg"
    y = torch.zeros(3000)
    y[7] = 2.0
    found = csalsa(op, y, L1(1.0), 0.5, tol=1e-5)
    # The smallest l1 norm within 0.5 of y.
    assert found.split[7] == pytest.approx(1.5, abs=1e-3)
    assert found.x_update == "cg"


def test_a_batch_gives_what_its_items_give():
    a, _, y, eps = problem(items=5)
    y[1] *= 100  # items of different size, and so of different ends
    eps[1] *= 100
    whole = csalsa(a, y, L1(1.0), eps, tol=1e-4)
    for i in range(5):
        one = csalsa(a, y[i], L1(1.0), eps[i], tol=1e-4)
        assert one.x.shape == (60,)
        assert int(one.iterations) == int(whole.iterations[i])
        torch.testing.assert_close(one.x, whole.x[i], rtol=0, atol=1e-8 * float(y[i].abs().max()))
        torch.testing.assert_close(one.misfit, whole.misfit[i], rtol=1e-6, atol=0)
    assert len(set(whole.iterations.tolist())) > 1


def test_an_item_is_left_alone_after_its_end():
    """The operator sees fewer items once some have ended."""
    a, _, y, eps = problem(items=4)
    y, eps = y.clone(), eps.clone()
    y[1:] *= torch.tensor([10.0, 100.0, 1000.0])[:, None]
    sizes: list[int] = []

    def mv(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return x @ a.mT

    op = Functional(mv, lambda r: r @ a.conj(), (60,), (24,), a.dtype)
    found = csalsa(op, y, L1(1.0), eps, x_update="cg", tol=1e-3)
    assert min(sizes[:-1]) < 4
    assert sizes[-1] == 4  # the misfit of all
    assert bool(found.converged.all())


def test_batch_dimensions_and_one_bound_for_all():
    a, _, y, eps = problem(items=6)
    flat = csalsa(a, y, L1(1.0), float(eps.max()))
    deep = csalsa(a, y.reshape(2, 3, -1), L1(1.0), float(eps.max()))
    assert deep.misfit.shape == deep.iterations.shape == (2, 3)
    torch.testing.assert_close(deep.x.reshape(6, -1), flat.x)


@pytest.mark.parametrize("penalty", [L1(1.0), MCP(1.0, 3.0), PnP(lambda z, s: z * 0.9)])
def test_a_global_phase_turns_the_image_and_nothing_else(penalty):
    a, _, y, eps = problem()
    turn = torch.polar(torch.ones((), dtype=torch.float64), torch.tensor(1.234).double())
    plain = csalsa(a, y, penalty, eps, iterations=60)
    turned = csalsa(a, y * turn, penalty, eps, iterations=60)
    torch.testing.assert_close(turned.x, plain.x * turn, rtol=0, atol=1e-10)


def test_noiseless_data_are_met():
    a, x, *_ = problem()
    found = csalsa(a, x @ a.mT, L1(1.0), 0.0, tol=1e-7, iterations=3000)
    assert bool(found.converged.all())
    torch.testing.assert_close(found.split, x, rtol=0, atol=1e-4)


def test_a_bound_above_the_data_gives_zero():
    a, _, y, _ = problem()
    found = csalsa(a, y, L1(1.0), 10 * float(torch.linalg.vector_norm(y)), **EXACT)
    assert float(found.split.abs().max()) == 0
    assert bool(csalsa(a, y, L1(1.0), 1e3).converged.all())


def test_iterations_that_run_out_are_told():
    a, _, y, eps = problem()
    found = csalsa(a, y, L1(1.0), eps, iterations=2)
    assert found.converged.tolist() == [False] * 3
    assert found.iterations.tolist() == [2] * 3


def test_zero_data():
    a, *_ = problem()
    found = csalsa(a, torch.zeros(2, 24, dtype=a.dtype), L1(1.0), 0.0)
    assert float(found.x.abs().max()) == 0
    assert bool(found.converged.all())


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"y": torch.zeros(3, 5, dtype=torch.complex128)}, "y"),
        ({"y": torch.zeros(3, 24)}, "y"),
        ({"y": torch.full((24,), float("nan"), dtype=torch.complex128)}, "y"),
        ({"eps": -1.0}, "eps"),
        ({"eps": torch.ones(4)}, "eps"),
        ({"step": 0.0}, "step"),
        ({"kappa": -1.0}, "kappa"),
        ({"tol": -1.0}, "tol"),
        ({"iterations": 0}, "iterations"),
        ({"x_update": "fft"}, "x_update"),
        ({"start": torch.zeros(60, dtype=torch.complex128)}, "start"),
        ({"start": torch.zeros(3, 59, dtype=torch.complex128)}, "start"),
        ({"operator": "A"}, "operator"),
    ],
)
def test_refusals_name_the_argument(change, name):
    a, _, y, eps = problem()
    arguments = {"operator": a, "y": y, "penalty": L1(1.0), "eps": eps} | change
    with pytest.raises(SparsityError, match=rf"^{name} must"):
        csalsa(**arguments)


def test_a_kappa_below_rounding_is_refused():
    a, _, y, eps = problem(torch.float32, m=24, n=12)
    with pytest.raises(SparsityError, match=r"^kappa must"):
        csalsa(1e6 * a, 1e6 * y, L1(1.0), eps, kappa=1e-30, x_update="woodbury")
