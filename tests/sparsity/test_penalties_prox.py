"""Every prox is the global minimiser, for every step, in both precisions."""

from __future__ import annotations

import pytest
import torch
from penalty_list import CASES, ELEMENTWISE, SEPARABLE, Case, signed_or_not
from torch import Tensor

from hyperagent.sparsity.penalties import Elementwise, apply, penalties

POINTS = 240_001


def objective(case: Case, z: Tensor, v: Tensor, step: float) -> Tensor:
    """pen(z) + (z - v)^2 / (2 s); summed over the last dimension if not separable."""
    square = (z - v).square() / (2 * step)
    if case.penalty.separable:
        return case.penalty.value(z) + square
    return case.penalty.value(z) + square.sum(-1)


def on_the_grid(case: Case, v: Tensor, step: float) -> Tensor:
    """Smallest objective over the grid for each input."""
    grid = torch.linspace(case.low, case.high, POINTS, dtype=torch.float64)
    fixed = case.penalty.value(grid) + grid.square() / (2 * step)
    lowest = [torch.add(fixed, grid, alpha=-float(x) / step).amin() for x in v]
    return torch.stack(lowest) + v.square() / (2 * step)


@pytest.mark.parametrize("case", SEPARABLE, ids=str)
def test_no_point_of_a_fine_grid_is_better(case: Case) -> None:
    v = signed_or_not(case, torch.linspace(-6, 6, 161, dtype=torch.float64))
    for step in case.steps:
        best = on_the_grid(case, v, step)
        gap = objective(case, case.penalty.prox(v, step), v, step) - best
        assert gap.max() <= 1e-8, f"step {step}: {gap.max():g} at {v[gap.argmax()]:g}"

        single = case.penalty.prox(v.float(), step)
        assert single.dtype == torch.float32
        # The bounds of a box, rounded to float32, may lie an ulp outside in float64.
        inside = single.double()
        if case.penalty.signed:
            inside = inside.clamp(case.low, case.high)
        gap = objective(case, inside, v, step) - best
        assert (gap <= 1e-5 * best + 1e-9).all(), f"step {step} in float32: {gap.max():g}"


@pytest.mark.parametrize("case", ELEMENTWISE, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_nothing_breaks_at_the_threshold(case: Case, dtype: torch.dtype) -> None:
    for step in case.steps:
        low, high = torch.tensor(0.0, dtype=dtype), torch.tensor(20.0, dtype=dtype)
        while (middle := (low + high) / 2) not in (low, high):
            on = bool(case.penalty.prox(middle, step) > 0)
            low, high = (low, middle) if on else (middle, high)
        near = torch.stack([low, high, *(high + high * torch.finfo(dtype).eps * k for k in (1, 4))])
        near.requires_grad_()
        z = case.penalty.prox(near, step)
        z.sum().backward()
        assert z.isfinite().all()
        assert near.grad.isfinite().all()
        assert z[0] == 0
        assert (z[1:] > 0).all()
        ends = torch.tensor([0.0, torch.finfo(dtype).tiny, 1e-30, 1e15], dtype=dtype)
        assert case.penalty.prox(ends, step).isfinite().all()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_perturbation_is_better(case: Case) -> None:
    generator = torch.Generator().manual_seed(0)
    for step in case.steps:
        for round_ in range(30):
            v = torch.randn(6, dtype=torch.float64, generator=generator)
            if round_ % 3 == 0:
                v[torch.rand(6, generator=generator) < 0.3] = 0
            if round_ % 5 == 0:
                v = (v * 4).round() / 4  # ties
            v = signed_or_not(case, v)
            z = case.penalty.prox(v, step)
            width = 10 ** (-6 * torch.rand(300, 1, dtype=torch.float64, generator=generator))
            moved = z + width * torch.randn(300, 6, dtype=torch.float64, generator=generator)
            moved *= (torch.rand(300, 6, generator=generator) > 0.15).to(moved.dtype)
            moved = moved.clamp(case.low, case.high)
            if not case.penalty.signed:
                moved = moved.clamp(min=0)
            ours, theirs = (objective(case, x, v, step) for x in (z, moved))
            if case.penalty.separable:
                ours, theirs = ours.sum(), theirs.sum(-1)
            assert theirs.min() >= ours - 1e-11, f"step {step}, v {v.tolist()}"


@pytest.mark.parametrize("case", ELEMENTWISE, ids=str)
def test_tensor_parameters_broadcast_and_agree_with_numbers(case: Case) -> None:
    pen = case.penalty
    assert isinstance(pen, Elementwise)
    v = torch.rand(4, 50, dtype=torch.float64) * 5
    for step in case.steps:
        numbers = pen.prox(v, step)
        # Each row has its own parameters and only row 2 those of the case.
        factors = torch.tensor([0.8, 1.1, 1.0, 0.9], dtype=torch.float64).view(4, 1)
        given = [getattr(pen, name) for name in pen.parameters]
        rows = [
            x * factors if name not in ("q", "c") else torch.full_like(factors, x)
            for name, x in zip(pen.parameters, given, strict=True)
        ]
        steps = torch.tensor([0.5, 2.0, 1.0, 1.5], dtype=torch.float64).view(4, 1) * step
        tensors = type(pen)(*rows).prox(v, steps)
        assert torch.allclose(tensors[2], numbers[2], atol=1e-12, rtol=0)
        single = [float(x[3]) for x in rows]
        assert torch.allclose(
            tensors[3], type(pen)(*single).prox(v[3], float(steps[3])), atol=1e-12, rtol=0
        )


@pytest.mark.parametrize("case", ELEMENTWISE, ids=str)
def test_a_long_vector_is_a_short_one_many_times(case: Case) -> None:
    for dtype, atol in ((torch.float32, 2e-6), (torch.float64, 1e-10)):
        v = torch.rand(150_001, dtype=dtype) * 5
        v[::7] = 10 ** (24 * torch.rand(len(v[::7]), dtype=dtype) - 12)
        for step in case.steps[:2]:
            z = case.penalty.prox(v, step)
            pieces = torch.cat([case.penalty.prox(p, step) for p in v.split(1000)])
            assert torch.allclose(z, pieces, atol=atol, rtol=atol)
            strided = torch.stack([v, v], 1)[:, 0]
            assert torch.allclose(case.penalty.prox(strided, step), z, atol=atol, rtol=atol)
            signs = torch.where(torch.arange(len(v)) % 2 == 0, -1.0, 1.0).to(dtype)
            assert torch.equal(apply(case.penalty, v * signs, step), z * signs)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_zero_stays_and_input_is_not_modified(case: Case, capsys: pytest.CaptureFixture) -> None:
    v = signed_or_not(case, torch.randn(6, dtype=torch.float64))
    before = v.clone()
    for step in case.steps:
        case.penalty.prox(v, step)
        zero = case.penalty.prox(torch.zeros(6, dtype=torch.float64), step)
        if getattr(case.penalty, "within", "") != "simplex":
            assert (zero == 0).all()
        for dtype in (torch.float32, torch.float64):
            assert case.penalty.prox(v.to(dtype), step).dtype == dtype
    case.penalty.value(v)
    assert torch.equal(v, before)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("case", ELEMENTWISE, ids=str)
def test_half_precision_is_worked_on_in_single(case: Case) -> None:
    v = torch.rand(64).to(torch.bfloat16) * 4
    z = case.penalty.prox(v, case.steps[0])
    assert z.dtype == torch.bfloat16
    assert torch.equal(z, case.penalty.prox(v.float(), case.steps[0]).to(torch.bfloat16))


@pytest.mark.parametrize("case", SEPARABLE, ids=str)
def test_rho_makes_it_convex_and_nothing_smaller_does(case: Case) -> None:
    rho = float(case.penalty.rho)
    if rho == float("inf"):
        pytest.skip("no weak convexity")
    low = case.low if case.penalty.signed else 0.0
    grid = torch.linspace(low, case.high if case.penalty.signed else 8.0, 4001, dtype=torch.float64)
    value = case.penalty.value(grid)
    width = float(grid[1] - grid[0])

    def bends(with_rho: float) -> float:
        return float((value + with_rho / 2 * grid.square()).diff(n=2).min()) / width**2

    assert bends(rho) >= -1e-6
    if rho:
        assert bends(0.9 * rho) < -1e-3


def test_the_list_has_every_registered_penalty() -> None:
    listed = {type(case.penalty) for case in CASES}
    assert {penalties.get(name) for name in penalties.names()} <= listed


@pytest.mark.parametrize("case", ELEMENTWISE, ids=str)
def test_huge_finite_magnitudes_stay_finite(case):
    v = torch.tensor([1e15, 1e20, 1e30, 3e38])
    for step in case.steps:
        torch.testing.assert_close(case.penalty.prox(v, step), v)
