"""Masks: who is kept, and zeros that survive every optimizer."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperagent.errors import SparsityError
from hyperagent.sparsity.groups import Groups, Slice
from hyperagent.sparsity.masks import Mask, keep_best


def kept(*args, **kwargs) -> list[int]:
    return torch.nonzero(keep_best(*args, **kwargs)).squeeze(1).tolist()


def test_scopes_on_an_example() -> None:
    scores = torch.tensor([9.0, 8, 7, 6, 1, 2, 3, 4])
    layers = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    assert kept(scores, k=4, layers=layers, scope="global") == [0, 1, 2, 7]  # floor 1
    assert kept(scores, k=4, layers=layers, scope="global", floor=0) == [0, 1, 2, 3]
    assert kept(scores, k=2, layers=layers) == [0, 1, 6, 7]
    assert kept(scores, k=[1, 3], layers=layers) == [0, 5, 6, 7]
    assert kept(scores, fraction=0.5, layers=layers, scope="uniform") == [0, 1, 6, 7]
    assert kept(scores, fraction=0.25, layers=layers, scope="global") == [0, 7]


def test_ties_keep_the_first() -> None:
    assert kept(torch.ones(6), k=3) == [0, 1, 2]


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_global_selection_is_the_best_one(data) -> None:
    """Against all subsets: the largest score under the floors, at exactly k."""
    m = data.draw(st.integers(2, 8))
    scores = torch.tensor(
        data.draw(st.lists(st.integers(-20, 20), min_size=m, max_size=m))
    ).double()
    layers = torch.tensor(
        [0, *data.draw(st.lists(st.integers(0, 1), min_size=m - 1, max_size=m - 1))]
    )
    k = data.draw(st.integers(len(layers.unique()), m))
    keep = keep_best(scores, k=k, layers=layers, scope="global", floor=1)
    assert int(keep.sum()) == k
    best = max(
        sum(float(scores[i]) for i in subset)
        for subset in itertools.combinations(range(m), k)
        if all(any(int(layers[i]) == layer for i in subset) for layer in layers.unique().tolist())
    )
    assert float(scores[keep].sum()) == best


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 17), min_size=1, max_size=4),
    round_to=st.integers(1, 5),
    fraction=st.floats(0, 1),
    scope=st.sampled_from(["layer", "global"]),
    floor=st.integers(0, 1),
    flat=st.booleans(),
)
def test_rounding_floors_and_best_first(sizes, round_to, fraction, scope, floor, flat) -> None:
    torch.manual_seed(0)
    layers = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    m = len(layers)
    scores = torch.full((m,), 0.1) if flat else torch.rand(m)
    least = sum(min(size, round_to * floor) for size in sizes)
    arguments = {"layers": layers, "scope": scope, "floor": floor, "round_to": round_to}
    if scope == "global" and least > round(fraction * m):
        with pytest.raises(SparsityError, match="floor"):
            keep_best(scores, fraction=fraction, **arguments)
        return
    keep = keep_best(scores, fraction=fraction, **arguments)
    for layer, size in enumerate(sizes):
        mine = layers == layer
        n = int(keep[mine].sum())
        assert n == size or n % round_to == 0
        assert n >= min(floor, size)
        if 0 < n < size:
            assert scores[mine & keep].min() >= scores[mine & ~keep].max()
        if scope == "layer":
            assert n <= max(round(fraction * size), round_to * floor)
    if scope == "global":
        assert int(keep.sum()) <= round(fraction * m)


@settings(deadline=None, max_examples=60)
@given(
    costs=st.lists(st.floats(0.1, 10), min_size=1, max_size=12),
    part=st.floats(0, 1),
)
def test_a_budget_is_met_to_one_group(costs, part) -> None:
    cost = torch.tensor(costs, dtype=torch.float64)
    scores = torch.arange(len(costs), dtype=torch.float64)
    budget = part * float(cost.sum())
    keep = keep_best(scores, budget=budget, cost=cost, scope="global", floor=0)
    used = float(cost[keep].sum())
    assert used <= budget * (1 + 1e-6) + 1e-6
    if not bool(keep.all()):
        assert used + float(cost[~keep][-1]) > budget  # the best one left out does not fit


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({}, "exactly one"),
        ({"k": 1, "fraction": 0.5}, "exactly one"),
        ({"k": 9}, "k must"),
        ({"k": [1, 2]}, "k must"),
        ({"fraction": 1.5}, "fraction"),
        ({"budget": 3.0}, "budget"),
        ({"k": 1, "scope": "all"}, "scope"),
        ({"k": 1, "floor": -1}, "floor"),
        ({"k": 1, "round_to": 0}, "round_to"),
        ({"k": 1, "layers": torch.zeros(3, dtype=torch.int64)}, "layers"),
        ({"budget": 3.0, "scope": "global", "cost": torch.zeros(4)}, "cost"),
        ({"k": 1, "scope": "global", "floor": 2}, "floor"),
        (
            {"fraction": 0.5, "scope": "uniform", "layers": torch.tensor([0, 1, 1, 1])},
            "uniform",
        ),
    ],
)
def test_bad_arguments_are_named(arguments, name) -> None:
    with pytest.raises(SparsityError, match=name):
        keep_best(torch.rand(4), **arguments)
    with pytest.raises(SparsityError, match="scores"):
        keep_best(torch.tensor([1.0, torch.nan]), k=1)


def test_a_mask_of_groups_over_several_tensors() -> None:
    channel = torch.arange(3)
    groups = Groups.slices(
        [Slice("conv", 0, channel, channel), Slice("scale", 0, channel, channel)]
    )
    tensors = {"conv": torch.randn(3, 2, 2), "scale": torch.randn(3), "other": torch.randn(5)}
    before = {k: v.clone() for k, v in tensors.items()}
    mask = Mask.of_groups(groups, tensors, torch.tensor([True, False, True]))
    mask.apply_(tensors)
    assert mask.density == pytest.approx(2 / 3)
    assert torch.equal(tensors["other"], before["other"])
    for name in ("conv", "scale"):
        assert torch.equal(tensors[name][[0, 2]], before[name][[0, 2]])
        assert not tensors[name][1].any()
    single = Mask.of_groups(Groups.columns(), {"w": torch.randn(2, 3)}, torch.tensor([1, 0, 1]) > 0)
    assert single.keep["w"].tolist() == [[True, False, True]] * 2


OPTIMIZERS = {
    "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, 0.1, amsgrad=True, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.1, momentum=0.9, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, 0.1),
    "adadelta": lambda p: torch.optim.Adadelta(p, 1.0),
    "rprop": lambda p: torch.optim.Rprop(p, 0.1),
    "lbfgs": lambda p: torch.optim.LBFGS(p, 0.5, max_iter=3),
}


@pytest.mark.parametrize("hold", ["zero", "value"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_masked_entries_do_not_move(name, hold) -> None:
    """The optimizer has run before, so its state is full when the mask comes."""
    torch.manual_seed(0)
    w = torch.nn.Parameter(torch.randn(6, 4))
    free = torch.nn.Parameter(torch.randn(4))
    target = torch.randn(6, 4)
    optimizer = OPTIMIZERS[name]([w, free])

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = ((w + free - target) ** 2).sum()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    keep = torch.rand(6, 4) > 0.5
    start, start_free = w.detach().clone(), free.detach().clone()
    attached = Mask({"w": keep}).attach({"w": w}, optimizer, hold=hold)
    expected = start[~keep] if hold == "value" else torch.zeros_like(start[~keep])
    for _ in range(5):
        optimizer.step(closure)
        assert torch.equal(w.detach()[~keep], expected)
        for value in optimizer.state[w].values():
            if isinstance(value, torch.Tensor) and value.shape == w.shape:
                assert not value[~keep].any()
    assert not torch.equal(free, start_free)
    assert (w.detach()[keep] != start[keep]).all()
    attached.remove()
    for _ in range(2):
        optimizer.step(closure)
    assert (w.detach()[~keep] != expected).any()


def test_without_the_mask_momentum_moves_zeros() -> None:
    """The control: zeroing once, and the gradients after it, is not enough."""
    w = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([w], 0.1)
    w.grad = torch.ones(2)
    optimizer.step()
    with torch.no_grad():
        w[0] = 0
    w.grad = torch.tensor([0.0, 1.0])
    optimizer.step()
    assert w[0] != 0


def test_no_nan_comes_back_and_names_are_checked() -> None:
    w = torch.nn.Parameter(torch.tensor([torch.inf, 1.0, torch.nan]))
    mask = Mask({"w": torch.tensor([False, True, False])})
    mask.apply_({"w": w})
    assert w.tolist() == [0.0, 1.0, 0.0]
    optimizer = torch.optim.SGD([w], 0.1)
    with pytest.raises(SparsityError, match="'w'"):
        mask.attach({"v": w}, optimizer)
    with pytest.raises(SparsityError, match="shape"):
        Mask({"w": torch.ones(2) > 0}).apply_({"w": w})
    with pytest.raises(SparsityError, match="hold"):
        mask.attach({"w": w}, optimizer, hold="nothing")
    with pytest.raises(SparsityError, match="bool"):
        Mask({"w": torch.ones(3)})
