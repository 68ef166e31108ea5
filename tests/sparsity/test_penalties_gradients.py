"""Derivatives of the proxes in v, step and every parameter."""

from __future__ import annotations

import pytest
import torch
from penalty_list import CASES, ELEMENTWISE, Case, signed_or_not
from torch.autograd import gradcheck

from hyperagent.sparsity.penalties import L1, HoyerSquare, Lq, SparseEnvelope


def away(case: Case, step: float) -> torch.Tensor:
    """Inputs whose prox is smooth nearby: its slope is the same on both sides."""
    v = torch.linspace(-5.3, 5.7, 67, dtype=torch.float64)
    v = signed_or_not(case, v)
    h = 1e-4
    left, mid, right = (case.penalty.prox(v + d, step) for d in (-h, 0, h))
    return v[((right - mid) - (mid - left)).abs() < 1e-6][::5].clone().requires_grad_()


@pytest.mark.parametrize("case", ELEMENTWISE, ids=str)
def test_derivatives_in_all_arguments(case: Case) -> None:
    for step in case.steps:
        v = away(case, step)
        assert len(v) > 5
        pen = case.penalty
        given = [torch.tensor(getattr(pen, n), dtype=torch.float64) for n in pen.parameters]
        inputs = [x.requires_grad_() for x in (torch.tensor(step, dtype=torch.float64), *given)]

        def prox(v: torch.Tensor, s: torch.Tensor, *p: torch.Tensor, pen: object = pen) -> object:
            return type(pen)(*p).prox(v, s)

        if abs(step * float(pen.rho) - 1) < 1e-6:
            continue  # at step rho = 1 the branch itself changes with the parameters
        assert gradcheck(prox, (v, *inputs), eps=1e-7, atol=1e-5)
        assert gradcheck(lambda v, pen=pen: pen.value(v.abs() + 0.1), (v,))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_derivatives_in_v_for_vectors(case: Case) -> None:
    generator = torch.Generator().manual_seed(11)
    for step in case.steps[:2]:
        v = torch.randn(6, dtype=torch.float64, generator=generator)
        v = (signed_or_not(case, v) * 1.7).requires_grad_()
        assert gradcheck(lambda v, s=step: case.penalty.prox(v, s), (v,), eps=1e-7, atol=1e-5)


def test_parameters_per_element_get_their_own_gradient() -> None:
    v = torch.tensor([0.5, 2.0, 3.0], dtype=torch.float64)
    lam = torch.tensor([1.0, 1.0, 0.5], dtype=torch.float64, requires_grad=True)
    q = torch.tensor([0.5, 0.5, 0.3], dtype=torch.float64, requires_grad=True)
    Lq(lam, q).prox(v, 0.7).sum().backward()
    assert lam.grad[0] == 0
    assert (lam.grad[1:] < 0).all()
    assert q.grad[0] == 0
    shared = torch.tensor(0.4, requires_grad=True)
    L1(shared).prox(torch.tensor([0.1, 1.0, 2.0]), 1.0).sum().backward()
    assert shared.grad == -2


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("method", ["sort", "linear", "bisect"])
def test_envelope_derivatives(debiased: bool, method: str) -> None:
    v = torch.tensor([0.1, 0.9, 0.7, 0.2, 0.8, 0.6], dtype=torch.float64, requires_grad=True)
    lam = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    d = torch.tensor([0.6, 1.2, 0.9, 1.4, 0.7, 1.0], dtype=torch.float64, requires_grad=True)

    def prox(v: torch.Tensor, lam: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
        return SparseEnvelope(lam, 3, d, debiased=debiased, method=method).prox(v, 0.8)

    def value(v: torch.Tensor, lam: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
        return SparseEnvelope(lam, 3, d, debiased=debiased, method=method).value(v)

    assert gradcheck(prox, (v, lam, d))
    assert gradcheck(value, (v, lam, d))


def test_hoyer_derivative_in_the_weight() -> None:
    v = torch.tensor([[2.0, 1.5, 0.3, 1.0], [0.2, 1.5, 0.3, 1.0]], dtype=torch.float64)
    lam = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda v, lam: HoyerSquare(lam).prox(v, 1.3), (v.requires_grad_(), lam))


def test_a_learned_weight_is_found() -> None:
    """Gradient descent on the weight recovers the one that made the data."""
    torch.manual_seed(0)
    v = torch.rand(200, dtype=torch.float64) * 3
    wanted = Lq(0.6, 0.5).prox(v, 1.0)
    lam = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([lam], lr=0.02)
    for _ in range(80):
        optimizer.zero_grad()
        (Lq(lam, 0.5).prox(v, 1.0) - wanted).square().mean().backward()
        optimizer.step()
    assert abs(float(lam.detach()) - 0.6) < 0.02
