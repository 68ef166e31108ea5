"""The implicit gradient: against finite differences, and what can be learned with it."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from hyperagent.errors import SparsityError
from hyperagent.sparsity.transport import Continuation, TransportPlan
from hyperagent.sparsity.transport.semi_dual import laplacian


def double(*values: float, grad: bool = True) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


@pytest.mark.parametrize("form", ["semi_dual", "dual"])
@pytest.mark.parametrize("k", [None, 4])
def test_gradcheck_with_capacities(form, k):
    generator = torch.Generator().manual_seed(0)
    cost = torch.rand(2, 5, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    a, b, gamma = double(2, 1, 1.5, 3, 1.2), double(1, 0.5, 1, 1, 0.7, 1, 1), double(0.4, 0.6)

    def outputs(cost, a, b, gamma):
        plan = TransportPlan(k, gamma, row="le", form=form)(cost, a, b)
        assert int(plan.n_tied.sum()) == 0
        return plan.share, plan.price

    assert gradcheck(outputs, (cost, a, b, gamma), atol=1e-5)


@pytest.mark.parametrize("k", [None, 4])
def test_gradcheck_with_marginals(k):
    generator = torch.Generator().manual_seed(2)
    cost = torch.rand(5, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    logits = 0.3 * torch.randn(5, generator=generator, dtype=torch.float64)
    logits.requires_grad_()

    def outputs(cost, logits, gamma):
        plan = TransportPlan(k, gamma)(cost, 7 * torch.softmax(logits, 0))
        assert int(plan.n_tied) == 0
        # Prices are known up to one constant.
        return plan.share, plan.price - plan.price.mean()

    assert gradcheck(
        outputs, (cost, logits, torch.tensor(0.4).double().requires_grad_()), atol=1e-5
    )


@pytest.mark.parametrize(
    ("gamma", "row", "slack"), [(0.5, "le", 1.2), (3.0, "le", 2.0), (0.5, "eq", 1.0)]
)
def test_gradient_equals_finite_differences(gamma, row, slack):
    generator = torch.Generator().manual_seed(4)
    cost = torch.randn(6, 24, generator=generator, dtype=torch.float64)
    weight = torch.randn(6, 24, generator=generator, dtype=torch.float64)
    a = torch.full((6,), slack * 4, dtype=torch.float64)
    module = TransportPlan(None, gamma, row=row)
    cost.requires_grad_()
    (module(cost, a).share * weight).sum().backward()
    direction = torch.randn(6, 24, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        step = 1e-6
        up = (module(cost + step * direction, a).share * weight).sum()
        down = (module(cost - step * direction, a).share * weight).sum()
    measured = float(up - down) / (2 * step)
    assert abs(measured) > 1e-3
    assert float((cost.grad * direction).sum()) == pytest.approx(measured, rel=1e-3)


def test_no_gradient_off_the_support_and_none_when_switched_off():
    cost = torch.rand(5, 9, dtype=torch.float64, requires_grad=True)
    a = torch.full((5,), 2.0, dtype=torch.float64)
    plan = TransportPlan(2, 0.5, row="le")(cost, a)
    (plan.share * torch.randn(5, 9)).sum().backward()
    assert not cost.grad[~plan.support].any()
    assert cost.grad[plan.support].any()
    assert not TransportPlan(2, 0.5, row="le", differentiable=False)(cost, a).share.requires_grad


def test_curvature_is_the_hypergraph_laplacian_of_the_support():
    plan = TransportPlan(3, 0.5, row="le")(torch.rand(6, 8), torch.full((6,), 2.0))
    incidence = plan.support.double()
    expected = torch.diag(incidence.sum(1)) - incidence / incidence.sum(0) @ incidence.T
    assert torch.allclose(laplacian(plan.share.T[None])[0].double(), expected, atol=1e-6)
    assert torch.allclose(expected.sum(0), torch.zeros(6, dtype=torch.float64), atol=1e-12)


def learned(path: Continuation | None, seed: int) -> float:
    """Share of 32 tasks whose planted agent is found through the plan alone, 120 steps."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randperm(32, generator=generator) % 8
    logits = 0.1 * torch.randn(8, 32, generator=generator, dtype=torch.float64)
    logits.requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.1)
    module = TransportPlan(2, 0.3, row="le", tol=1.0)
    room = torch.full((8,), 5.0, dtype=torch.float64)
    for step in range(120):
        if path is not None:
            path.apply(module, step / 119)
        loss = -module(-logits, room).share[target, torch.arange(32)].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    final = TransportPlan(2, 0.3, row="le", tol=1.0)(-logits.detach(), room).share
    return float((final.argmax(0) == target).double().mean())


def test_continuation_finds_what_a_fixed_limit_cannot():
    path = Continuation((3.0, 0.3), (8, 4, 2))
    for seed in range(2):
        assert learned(path, seed) >= 0.95
        assert learned(None, seed) <= 0.9


def test_continuation_path():
    path = Continuation((3.0, 0.3), (8, 4, 2))
    assert path.at(0.0) == (3.0, 8)
    assert path.at(1.0) == (pytest.approx(0.3), 2)
    gammas = [path.at(i / 20)[0] for i in range(21)]
    assert gammas == sorted(gammas, reverse=True)
    module = TransportPlan(8, 3.0)
    path.apply(module, 0.5)
    assert (module.gamma, module.k) == path.at(0.5)
    for bad in (lambda: Continuation((1.0,), (2,)), lambda: Continuation((1.0, 0.1), ())):
        with pytest.raises(SparsityError, match="gamma must hold two"):
            bad()
    with pytest.raises(SparsityError, match="progress"):
        path.at(1.5)
