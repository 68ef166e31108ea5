"""Gates: exact probabilities, exact zeros, gradients, no noise outside training, freezing."""

from __future__ import annotations

import pytest
import torch

from hyperagent.errors import SparsityError
from hyperagent.sparsity.gates import (
    HardConcreteGate,
    LogisticGate,
    hard_concrete_gate,
    hard_concrete_probability,
    logistic_gate,
    logistic_noise,
)

N = 40_000
LOGITS = (-2.0, -0.5, 0.0, 0.7, 3.0)
GATES = [LogisticGate, HardConcreteGate]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("temperature", [0.1, 0.4, 1.0])
def test_logistic_gates_are_bernoulli_at_every_temperature(temperature) -> None:
    for logit in LOGITS:
        draw = logistic_gate(
            torch.full((N,), logit), temperature=temperature, generator=generator()
        )
        p = torch.sigmoid(torch.tensor(logit))
        error = (p * (1 - p) / N) ** 0.5
        assert abs(draw.hard.mean() - p) < 4 * error
        assert set(draw.hard.unique().tolist()) <= {0.0, 1.0}


def test_hard_concrete_probability_and_exact_ends() -> None:
    for logit in LOGITS:
        logits = torch.full((N,), logit)
        draw = hard_concrete_gate(logits, generator=generator())
        p = hard_concrete_probability(logits[0])
        assert abs((draw.soft > 0).float().mean() - p) < 4 * (p * (1 - p) / N) ** 0.5
        assert torch.equal(draw.hard, (draw.soft > 0).float())
        assert 0 <= float(draw.soft.min()) <= float(draw.soft.max()) <= 1
    middle = hard_concrete_gate(torch.zeros(N), generator=generator()).soft
    assert (middle == 0).any()
    assert (middle == 1).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_noise_is_logistic_and_finite(dtype) -> None:
    noise = logistic_noise(torch.zeros(200_000, dtype=dtype), generator()).float()
    assert noise.isfinite().all()
    assert abs(noise.mean()) < 0.02
    assert noise.var() == pytest.approx(torch.pi**2 / 3, rel=0.02)


@pytest.mark.parametrize("gate", GATES)
def test_hard_values_carry_the_gradient_of_soft_ones(gate) -> None:
    made = gate(torch.tensor(LOGITS, dtype=torch.float64))
    weights = torch.arange(1.0, 6.0, dtype=torch.float64)
    grads = []
    for part in ("soft", "hard"):
        made.zero_grad()
        draw = made(generator(1))
        (weights * getattr(draw, part)).sum().backward()
        grads.append(made.logits.grad.clone())
    assert torch.equal(grads[0], grads[1])
    assert grads[0].any()
    made.zero_grad()
    made.expected_cost(weights).backward()
    p = made.probability().detach()
    torch.testing.assert_close(made.logits.grad, weights * p * (1 - p))


@pytest.mark.parametrize("gate", GATES)
def test_evaluation_has_no_noise(gate) -> None:
    made = gate(torch.tensor(LOGITS))
    training = [made().soft for _ in range(2)]
    assert not torch.equal(*training)
    made.eval()
    quiet = [made() for _ in range(2)]
    assert torch.equal(quiet[0].soft, quiet[1].soft)
    assert torch.equal(quiet[0].hard, quiet[1].hard)
    assert quiet[0].hard[0] == 0 or gate is HardConcreteGate
    assert quiet[0].hard[-1] == 1


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.8])
def test_freezing_meets_the_budget_to_one_gate(gate, share) -> None:
    torch.manual_seed(3)
    made = gate(torch.randn(4, 30))
    cost = torch.rand(4, 30) + 0.5
    layers = torch.arange(4)[:, None].expand(4, 30)
    budget = share * float(cost.sum())
    keep = made.freeze(budget, cost, layers=layers, floor=1)
    used = float(cost[keep].sum())
    assert budget - float(cost.max()) < used <= budget * (1 + 1e-6)
    assert keep.any(dim=1).all()
    assert made.is_frozen
    for _ in range(2):  # in training mode too
        draw = made()
        assert torch.equal(draw.hard, keep.float())
        assert torch.equal(draw.soft, draw.hard)
    again = gate(torch.zeros(4, 30))
    assert not again.is_frozen
    again.load_state_dict(made.state_dict())
    assert torch.equal(again().hard, keep.float())


def test_freezing_opens_the_most_probable() -> None:
    made = LogisticGate(torch.tensor([0.1, 3.0, -1.0, 2.0]))
    assert made.freeze(2).tolist() == [False, True, False, True]
    floors = LogisticGate(torch.tensor([0.1, 3.0, -1.0, 2.0]))
    layers = torch.tensor([0, 1, 0, 1])
    assert floors.freeze(2, layers=layers).tolist() == [True, True, False, False]
    with pytest.raises(SparsityError, match="floor"):
        floors.freeze(1, layers=layers)


@pytest.mark.parametrize("gate", GATES)
def test_a_budget_can_be_learned(gate) -> None:
    """Expected cost as a penalty drives useless gates shut and leaves useful ones open."""
    torch.manual_seed(0)
    made = gate(torch.zeros(20))
    useful = torch.arange(20) < 6
    optimizer = torch.optim.Adam(made.parameters(), 0.1)
    for _ in range(150):
        optimizer.zero_grad()
        hard = made().hard
        loss = (1 - hard[useful]).sum() + 0.3 * made.expected_cost()
        loss.backward()
        optimizer.step()
    p = made.probability()
    assert p[useful].min() > 0.8
    assert p[~useful].max() < 0.2


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: LogisticGate(torch.tensor([1, 2])), "logits"),
        (lambda: LogisticGate(torch.tensor([torch.nan])), "logits"),
        (lambda: LogisticGate(torch.zeros(2), temperature=0.0), "temperature"),
        (lambda: HardConcreteGate(torch.zeros(2), temperature=1.0), "temperature"),
        (lambda: HardConcreteGate(torch.zeros(2), low=0.0), "low"),
        (lambda: HardConcreteGate(torch.zeros(2), high=1.0), "high"),
        (lambda: LogisticGate(torch.zeros(2)).freeze(1, torch.ones(3)), "cost"),
        (lambda: LogisticGate(torch.zeros(2)).freeze(-1), "budget"),
    ],
)
def test_bad_arguments_are_named(make, name) -> None:
    with pytest.raises(SparsityError, match=name):
        make()


def test_costs_that_are_no_tensor_or_no_numbers():
    gate = LogisticGate(torch.zeros(3))
    with pytest.raises(SparsityError, match="cost"):
        gate.freeze(2, cost=[1, 1, 1])
    for cost in ([1, 2, 3], torch.full((3,), float("nan"))):
        with pytest.raises(SparsityError, match="cost"):
            gate.expected_cost(cost)
