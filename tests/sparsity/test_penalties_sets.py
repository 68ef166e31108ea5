"""Hard sets against enumeration, boxes against their rule, masks and budget terms."""

from __future__ import annotations

import itertools

import pytest
import torch
from scipy.optimize import minimize

from hyperagent.sparsity import Groups, apply
from hyperagent.sparsity.penalties import (
    CEL0,
    L0,
    L1,
    Box,
    Budget,
    HoyerSquare,
    KSparse,
    Lagrangian,
    Masked,
    NonNegative,
    log_ratio,
)


def nearest(v: torch.Tensor, k: int, within: str, high: float) -> float:
    """Squared distance to the k-sparse set, by trying every support."""
    best = float("inf")
    for support in itertools.combinations(range(len(v)), k):
        x, on = torch.zeros_like(v), list(support)
        if within == "simplex":
            top = v[on].sort(descending=True).values
            levels = (top.cumsum(0) - 1) / torch.arange(1, k + 1)
            x[on] = (v[on] - levels.max()).clamp(min=0)
        else:
            low = None if within == "free" else 0.0
            x[on] = v[on] if low is None else v[on].clamp(0, high if within == "box" else None)
        best = min(best, float((x - v).square().sum()))
    return best


@pytest.mark.parametrize("within", ["free", "nonneg", "box", "simplex"])
def test_k_sparse_sets_equal_enumeration(within: str) -> None:
    generator = torch.Generator().manual_seed(9)
    for round_ in range(75):
        m = 3 + round_ % 4
        k = 1 + round_ % m
        v = 1.2 * torch.randn(m, dtype=torch.float64, generator=generator)
        if round_ % 4 == 0:
            v = (2 * v).round() / 2
        v = v.abs() if within == "free" else v
        pen = KSparse(k, within, high=0.8)
        z = pen.prox(v)
        assert pen.value(z) == 0
        assert int((z != 0).sum()) <= k
        assert float((z - v).square().sum()) <= nearest(v, k, within, 0.8) + 1e-9


def test_k_per_row_and_the_first_of_equal_entries() -> None:
    v = torch.tensor([[1.0, 1.0, 1.0], [3.0, 2.0, 1.0]])
    z = KSparse(torch.tensor([1, 2])).prox(v)
    assert z.tolist() == [[1, 0, 0], [3, 2, 0]]
    columns = KSparse(1, "box", dim=-2)
    assert columns.prox(v).tolist() == [[0, 0, 1], [1, 1, 0]]
    assert columns.support(v).sum() == 3
    assert torch.isinf(KSparse(1).value(v)).all()
    whole_rows = apply(KSparse(1), v, 1.0, Groups.rows())
    assert whole_rows.tolist() == [[0, 0, 0], [3, 2, 1]]


def test_l0_in_a_box_follows_its_rule() -> None:
    """Keep the cut value iff lam + (cut - v)^2 / (2 s) < v^2 / (2 s)."""
    v = torch.linspace(-2, 4, 997, dtype=torch.float64)
    for lam, step in ((0.1, 1.0), (0.4, 0.5), (0.6, 1.5)):
        z = Box(L0(lam)).prox(v, step)
        threshold = (2 * lam * step) ** 0.5
        if threshold > 1:
            threshold = 0.5 + lam * step
        assert torch.equal(z, torch.where(v > threshold, v.clamp(0, 1), torch.zeros_like(v)))
        assert not torch.signbit(z[z == 0]).any()
    assert torch.equal(NonNegative(L1(0.3)).prox(v, 1.0), (v - 0.3).clamp(min=0))


def test_masked_groups_stay_bit_for_bit() -> None:
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    keep = torch.rand(50, generator=torch.Generator().manual_seed(1)) < 0.4
    for base in (L1(0.5), CEL0(0.5), L0(3.0)):
        out = apply(Masked(base, keep), x, 0.7, Groups.rows())
        assert torch.equal(out[keep], x[keep])
        assert torch.equal(out[~keep], apply(base, x, 0.7, Groups.rows())[~keep])
        assert not torch.equal(out[~keep], x[~keep])
    assert float(Masked(L1(1.0), keep).value(torch.ones(50)).sum()) == float((~keep).sum())


def test_the_residual_is_zero_exactly_at_fixed_points() -> None:
    generator = torch.Generator().manual_seed(3)
    a = torch.randn(20, 8, dtype=torch.float64, generator=generator)
    y = torch.randn(20, dtype=torch.float64, generator=generator)
    step = 0.9 / float(torch.linalg.matrix_norm(a, 2)) ** 2
    pen = CEL0(0.05, torch.linalg.vector_norm(a, dim=0))
    x = torch.zeros(8, dtype=torch.float64)
    assert float(pen.residual(x, a.T @ (a @ x - y), step)) > 0.1
    for _ in range(3000):
        x = apply(pen, x - step * (a.T @ (a @ x - y)), step)
    assert float(pen.residual(x, a.T @ (a @ x - y), step)) < 1e-10


def test_budget_projection_is_that_of_a_general_solver() -> None:
    generator = torch.Generator().manual_seed(1)
    for lam in (float("inf"), 0.2):
        v = 2 * torch.rand(5, dtype=torch.float64, generator=generator)
        c = 0.3 + torch.rand(5, dtype=torch.float64, generator=generator)
        pen = Budget(1.0, c, lam)
        z = pen.prox(v, 0.8)
        if lam == float("inf"):
            assert float((c * z).sum()) == pytest.approx(1.0, abs=1e-12)

        # The hinge as a linear program's slack h >= sum c z - limit, h >= 0.
        def cost(w: object, v: torch.Tensor = v, lam: float = lam) -> float:
            x = torch.as_tensor(w)
            price = 0.0 if lam == float("inf") else lam * float(x[5])
            return price + float((x[:5] - v).square().sum()) / 1.6

        found = minimize(
            cost,
            [*v.tolist(), 5.0],
            bounds=[(0, None)] * 5 + [(0, 0 if lam == float("inf") else None)],
            constraints={"type": "ineq", "fun": lambda w, c=c: 1 + w[5] - w[:5] @ c.numpy()},
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        assert torch.allclose(z, torch.as_tensor(found.x[:5]), atol=1e-5)
    small = torch.full((5,), 1e-3)
    assert torch.equal(Budget(1.0).prox(small, 1.0), small)


def test_the_lagrangian_meets_its_budget() -> None:
    gates = torch.zeros(40, requires_grad=True)
    worth = torch.linspace(0, 1, 40)
    term = Lagrangian(target=10.0, total=40.0)
    down = torch.optim.Adam([gates], lr=0.05)
    up = torch.optim.Adam(term.parameters(), lr=0.05, maximize=True)
    for _ in range(600):
        loss = -(worth * gates.sigmoid()).mean() + term(gates.sigmoid().sum())
        down.zero_grad()
        up.zero_grad()
        loss.backward()
        down.step()
        up.step()
    on = gates.detach().sigmoid()
    assert float(on.sum()) == pytest.approx(10.0, abs=0.5)
    assert on[-5:].mean() > on[:5].mean()


def test_log_ratio_and_hoyer_measure() -> None:
    assert float(log_ratio(torch.tensor(4.0), 2.0)) == pytest.approx(0.693147, abs=1e-6)
    assert float(log_ratio(torch.tensor(1.0), 2.0)) == pytest.approx(0.693147, abs=1e-6)
    pen = HoyerSquare(2.0)
    assert float(pen.value(torch.tensor([0.0, 3.0, 0.0]))) == 2.0
    assert float(pen.value(torch.full((5,), 0.7))) == pytest.approx(10.0)
    assert float(pen.value(torch.zeros(3))) == 0.0
    v = torch.tensor([2.0, 1.0, 0.1], dtype=torch.float64)
    scaled = HoyerSquare(0.2).prox(v, 1.0)
    # Scaling v by t and the weight by t^2 scales the result by t.
    assert torch.allclose(HoyerSquare(0.2 * 9).prox(3 * v, 1.0), 3 * scaled)
