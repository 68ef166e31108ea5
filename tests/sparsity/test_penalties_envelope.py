"""The sparse envelope: its value, its gates, the exact-k rule, layers and budgets."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hyperagent.errors import SparsityError
from hyperagent.sparsity.penalties import Budget, HoyerSquare, SparseEnvelope

METHODS = ("sort", "linear", "bisect")


def support_norm(z: torch.Tensor, k: int) -> float:
    """Half the squared k-support norm by the sorted formula of Argyriou et al."""
    z = z.sort(descending=True).values
    for r in range(k):
        tail = float(z[r:].sum()) / (k - r)
        if (r == 0 or float(z[r - 1]) >= tail) and tail >= float(z[r]) - 1e-14:
            return 0.5 * (float(z[:r].square().sum()) + (k - r) * tail**2)
    raise AssertionError("no such r")


@st.composite
def problems(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, int, float]:
    m = draw(st.integers(1, 9))
    numbers = st.floats(0, 4).map(lambda x: round(x, 2))
    v = torch.tensor(draw(st.lists(numbers, min_size=m, max_size=m)), dtype=torch.float64)
    weights = st.floats(0.2, 3)
    d = torch.tensor(draw(st.lists(weights, min_size=m, max_size=m)), dtype=torch.float64)
    return v, d, draw(st.integers(1, m)), draw(st.floats(-3, 3).map(lambda x: 10**x))


@given(problems())
def test_the_three_forms_agree_and_are_optimal(
    problem: tuple[torch.Tensor, torch.Tensor, int, float],
) -> None:
    v, d, k, lam = problem
    forms = [SparseEnvelope(lam, k, d, method=m) for m in METHODS]
    z = forms[0].prox(v, 0.7)
    for form in forms[1:]:
        assert torch.allclose(form.prox(v, 0.7), z, atol=1e-12, rtol=1e-10)
        assert torch.allclose(form.value(v), forms[0].value(v), atol=1e-12, rtol=1e-10)
    assert abs(float(forms[0].value(v)) / lam - support_norm(d.sqrt() * v, k)) <= 1e-11 * (
        1 + float(v.square().sum() * 3)
    )
    # Fenchel-Young: p = (v - z) / step is a subgradient, so value + conjugate = <p, z>.
    p = (v - z) / 0.7
    conjugate = (p.square() / d).topk(k).values.sum() / (2 * lam)
    gap = float(forms[0].value(z) + conjugate - (p * z).sum())
    assert abs(gap) <= 1e-9 * (1 + float((p * z).sum().abs()) + float(conjugate))
    gates = forms[0].gates(v, 0.7)
    assert float(gates.sum()) <= k + 1e-9 or (v > 0).sum() <= k


@given(problems())
def test_properties_of_the_value(problem: tuple[torch.Tensor, torch.Tensor, int, float]) -> None:
    v, d, k, lam = problem
    pen, free = SparseEnvelope(lam, k, d), SparseEnvelope(lam, k, d, debiased=True)
    ridge = lam / 2 * float((d * v.square()).sum())
    slack = 1e-9 * (1 + ridge)
    assert float(pen.value(v)) >= ridge - slack
    assert abs(float(pen.value(3 * v)) - 9 * float(pen.value(v))) <= 100 * slack
    if int((v > 0).sum()) <= k:
        assert abs(float(pen.value(v)) - ridge) <= slack
        assert abs(float(free.value(v))) <= slack


def test_limits() -> None:
    z = torch.tensor([3.0, 1.0, 2.0], dtype=torch.float64)
    assert float(SparseEnvelope(1.0, 1).value(z)) == pytest.approx(0.5 * 6**2)
    assert float(SparseEnvelope(1.0, 3).value(z)) == pytest.approx(0.5 * 14)
    assert torch.allclose(SparseEnvelope(1.0, 3).prox(z, 1.0), z / 2)


@pytest.mark.parametrize("debiased", [False, True])
def test_the_exact_k_rule(debiased: bool) -> None:
    generator = torch.Generator().manual_seed(5)
    hits = 0
    for _ in range(400):
        v = torch.rand(8, dtype=torch.float64, generator=generator).square()
        lam = float(torch.rand(1, generator=generator)) * (0.99 if debiased else 3.0) + 1e-3
        pen = SparseEnvelope(lam, 3, debiased=debiased)
        top = v.sort(descending=True).values
        rule = float(top[3] / top[2]) <= (lam if debiased else lam / (1 + lam))
        z = pen.prox(v, 1.0)
        seen = int((z > 0).sum())
        found = pen.certificate(v, 1.0)
        assert seen >= 3
        assert (seen == 3) == rule
        assert found.exact == rule
        assert found.active == seen
        assert (found.margin >= 1) == rule
        hits += rule
    assert 40 < hits < 360


def test_the_debiased_form_leaves_open_groups_alone() -> None:
    v = torch.rand(1000, generator=torch.Generator().manual_seed(0)) * 5
    v[:60] += 500  # groups that stay whatever the step
    for step in (0.3, 0.9, 2.0):
        pen = SparseEnvelope(1.0, 100, debiased=True)
        z = pen.prox(v, step)
        open_ = pen.gates(v, step) >= 1 if step < 1 else z > 0
        assert open_.sum() > 50
        assert torch.equal(z[open_], v[open_])
    assert torch.equal((z > 0).nonzero().squeeze(), v.topk(100).indices.sort().values)


def test_large_steps_of_the_debiased_form_are_hard_thresholding() -> None:
    """Enumeration over supports and, within, over scaled copies never wins."""
    generator = torch.Generator().manual_seed(8)
    for _ in range(20):
        v = torch.rand(5, dtype=torch.float64, generator=generator)
        pen = SparseEnvelope(1.3, 2, debiased=True)
        z = pen.prox(v, 1.0)
        ours = float(pen.value(z) + (z - v).square().sum() / 2)
        for keep in itertools.combinations(range(5), 2):
            x = torch.zeros_like(v)
            x[list(keep)] = v[list(keep)]
            assert ours <= float(pen.value(x) + (x - v).square().sum() / 2) + 1e-12


def test_stationary_certificate() -> None:
    pen = SparseEnvelope(2.0, 2, debiased=True)
    z = torch.tensor([1.0, 0.5, 0.0, 0.0])
    assert pen.stationary(z, torch.tensor([0.0, 0.0, 0.9, 0.2])).exact
    loose = pen.stationary(z, torch.tensor([0.0, 0.0, 1.1, 0.2]))
    assert not loose.exact
    assert loose.margin == pytest.approx(1 / 1.1)
    assert pen.stationary(torch.zeros(4), torch.ones(4)).active == 0


def test_each_layer_has_its_own_k() -> None:
    generator = torch.Generator().manual_seed(2)
    v = torch.rand(40, dtype=torch.float64, generator=generator)
    layer = torch.arange(40) % 3
    k = torch.tensor([2, 5, 9])
    for debiased in (False, True):
        for step in (0.3, 3.0):
            pen = SparseEnvelope(0.5, k, layer=layer, debiased=debiased)
            z = pen.prox(v, step)
            for i, n in enumerate(k.tolist()):
                alone = SparseEnvelope(0.5, n, debiased=debiased).prox(v[layer == i], step)
                assert torch.allclose(z[layer == i], alone, atol=1e-12)
    rows = v[:39].view(3, 13)
    together = SparseEnvelope(0.5, k).prox(rows, 0.4)
    for row, n, z in zip(rows, k.tolist(), together, strict=True):
        for method in METHODS:
            assert torch.allclose(SparseEnvelope(0.5, n, method=method).prox(row, 0.4), z)


def test_a_budget_is_spent_exactly() -> None:
    generator = torch.Generator().manual_seed(4)
    v = torch.rand(30, dtype=torch.float64, generator=generator)
    cost = 1 + 9 * torch.rand(30, dtype=torch.float64, generator=generator)
    for method in METHODS:
        gates = SparseEnvelope(0.4, 50.0, cost=cost, method=method).gates(v, 1.0)
        assert float((cost * gates).sum()) == pytest.approx(50.0, abs=1e-9)
    equal = SparseEnvelope(0.4, 5.0, cost=torch.ones(30, dtype=torch.float64)).prox(v, 1.0)
    assert torch.allclose(equal, SparseEnvelope(0.4, 5).prox(v, 1.0))


def test_single_precision_and_huge_weights() -> None:
    v = torch.rand(5000, generator=torch.Generator().manual_seed(1))
    for lam in (1e-5, 1.0, 1e6):
        wide = SparseEnvelope(lam, 500).prox(v.double(), 1.0)
        for method in METHODS:
            z = SparseEnvelope(lam, 500, method=method).prox(v, 1.0)
            assert torch.allclose(z.double(), wide, rtol=3e-7, atol=0)


def test_monotone_descent_and_the_planted_support() -> None:
    generator = torch.Generator().manual_seed(6)
    a = torch.randn(60, 30, dtype=torch.float64, generator=generator)
    truth = torch.zeros(30, dtype=torch.float64)
    truth[:5] = torch.tensor([3.0, -2.5, 2.0, -3.0, 2.2], dtype=torch.float64)
    y = a @ truth + 0.1 * torch.randn(60, dtype=torch.float64, generator=generator)
    step = 0.99 / float(torch.linalg.matrix_norm(a, 2)) ** 2
    pen = SparseEnvelope(0.3 / step, 5, debiased=True)
    x, costs = torch.zeros(30, dtype=torch.float64), []
    for _ in range(400):
        grad = a.T @ (a @ x - y)
        costs.append(float(pen.on().value(x) + (a @ x - y).square().sum() / 2))
        x = pen.on().prox(x - step * grad, step)
    assert all(b <= a + 1e-9 * abs(a) for a, b in itertools.pairwise(costs))
    grad = a.T @ (a @ x - y)
    assert float(pen.residual(x, grad, step)) < 1e-6
    assert (x != 0).nonzero().squeeze().tolist() == [0, 1, 2, 3, 4]
    assert pen.stationary(x.abs(), grad.abs()).exact


@pytest.mark.parametrize("method", ["bisect", "sort", "linear"])
@pytest.mark.parametrize("size", [1e-310, 1e-150, 1e200])
def test_every_form_survives_extreme_magnitudes(method, size):
    v = torch.full((4,), size, dtype=torch.float64)
    out = SparseEnvelope(0.5, 2, method=method).prox(v, 0.1)
    expected = v * 0.5 / 0.55 if size > 1e-300 else torch.zeros_like(v)
    torch.testing.assert_close(out, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0)])
def test_a_penalty_of_vectors_wants_groups(shape):
    for penalty in (SparseEnvelope(0.5, 1), HoyerSquare(0.5), Budget(1.0)):
        with pytest.raises(SparsityError, match="vectors"):
            penalty.prox(torch.ones(shape), 0.1)
        with pytest.raises(SparsityError, match="vectors"):
            penalty.value(torch.ones(shape))


def test_steps_that_do_not_broadcast():
    for penalty in (SparseEnvelope(0.5, 1), Budget(1.0)):
        with pytest.raises(SparsityError, match="step"):
            penalty.prox(torch.ones(4), torch.ones(3))
