"""Hard limits: exact b-matching, rounding of plans, and routes for a team."""

from __future__ import annotations

import itertools

import pytest
import torch

from hyperagent.errors import SparsityError
from hyperagent.hypergraph import Hypergraph
from hyperagent.sparsity.transport import (
    TransportPlan,
    b_matching,
    round_bmatching,
    route,
    straight_through,
)


def best_by_enumeration(score, load, k, least):
    """Highest score over all 0/1 matrices within the limits, or None."""
    rows, columns = score.shape
    cells = torch.tensor(list(itertools.product([False, True], repeat=rows * columns)))
    taken = cells.reshape(-1, rows, columns)
    fine = (
        (taken.sum(2) <= load).all(1) & (taken.sum(1) <= k).all(1) & (taken.sum(1) >= least).all(1)
    )
    fine &= ~(taken & torch.isinf(score)).flatten(1).any(1)
    if not fine.any():
        return None
    return float(torch.where(taken[fine], score, 0).sum((1, 2)).max())


def test_b_matching_is_exact():
    generator = torch.Generator().manual_seed(0)
    solved = refused = 0
    for _ in range(60):
        score = torch.randn(3, 4, generator=generator, dtype=torch.float64)
        score = score.masked_fill(torch.rand(3, 4, generator=generator) < 0.2, -torch.inf)
        load = torch.randint(1, 4, (3,), generator=generator)
        k = torch.randint(1, 4, (4,), generator=generator)
        least = torch.minimum(k, torch.randint(0, 3, (4,), generator=generator))
        best = best_by_enumeration(score, load[None], k[None], least[None])
        if best is None:
            with pytest.raises(SparsityError, match="cannot be met together"):
                b_matching(score, load, k, least)
            refused += 1
            continue
        taken = b_matching(score, load, k, least)
        assert (taken.sum(1) <= load).all()
        assert (taken.sum(0) <= k).all()
        assert (taken.sum(0) >= least).all()
        assert float(torch.where(taken, score, 0).sum()) == pytest.approx(best, abs=1e-9)
        solved += 1
    assert min(solved, refused) >= 5


def test_b_matching_of_a_batch():
    score = torch.rand(2, 3, 5, 6)
    taken = b_matching(score, 4, 2)
    assert taken.shape == score.shape
    assert torch.equal(taken[1, 2], b_matching(score[1, 2], 4, 2))


def drop_at_capacity(affinity, k, capacity):
    """Top-k in the order of the tasks; what finds a full agent is dropped."""
    taken = torch.zeros_like(affinity, dtype=torch.bool)
    left = torch.full((affinity.shape[0],), capacity)
    for task, agents in enumerate(affinity.topk(k, dim=0).indices.T.tolist()):
        for agent in agents:
            if left[agent] > 0:
                taken[agent, task] = True
                left[agent] -= 1
    return taken


def test_hard_router(hot_affinity):
    ratios = []
    for seed in range(5):
        affinity = hot_affinity(seed)
        plan = TransportPlan(2, 0.05, row="le")(-affinity, torch.full((16,), 20.0))
        taken = round_bmatching(plan.share, 40, 2, affinity=affinity)
        assert int(taken.sum(1).max()) <= 40
        assert int(taken.sum(0).min()) >= 1
        assert int(taken.sum(0).max()) <= 2
        exact = b_matching(affinity, 40, 2)
        dropped = drop_at_capacity(affinity, 2, 40)
        worth = [float((x * affinity).sum()) for x in (taken, exact, dropped)]
        ratios.append(worth[0] / worth[1])
        assert worth[0] >= 1.25 * worth[2]
    assert sum(ratios) / 5 >= 0.97


def test_rounding_keeps_the_support_where_it_can():
    share = torch.tensor([[1.0, 0.6, 0.0], [0.0, 0.4, 0.3], [0.0, 0.0, 0.7]])
    assert torch.equal(round_bmatching(share, 2, 2), share > 0)
    tight = round_bmatching(share, 1, 2)
    assert tight.sum(0).tolist() == [1, 1, 1]
    assert tight.diagonal().all()
    filled = round_bmatching(share, 3, 2, affinity=torch.eye(3).flip(0) + 0.1)
    assert (filled.sum(0) == 2).all()
    assert bool(filled[2, 0])


def test_straight_through_is_hard_forward_and_soft_backward():
    share = torch.tensor([[0.9, 0.5], [0.1, 0.2], [0.0, 0.3]], requires_grad=True)
    taken = torch.tensor([[True, False], [True, False], [False, True]])
    hard = straight_through(share, taken)
    assert torch.allclose(hard, torch.tensor([[0.9, 0.0], [0.1, 0.0], [0.0, 1.0]]))
    weight = torch.randn(3, 2)
    (hard * weight).sum().backward()
    assert torch.equal(share.grad, weight)
    empty = straight_through(torch.tensor([[1.0], [0.0]]), torch.tensor([[False], [True]]))
    assert torch.allclose(empty, torch.tensor([[0.0], [1.0]]))


AGENTS = ("ann", "bob", "eve", "joe")


def test_route_seats_a_team():
    generator = torch.Generator().manual_seed(1)
    affinity = torch.rand(4, 6, generator=generator)
    affinity[0] += 1
    seated = route(affinity, torch.full((4, 1), 0.1), max_size=2, load=3)
    assert (seated.load <= 3).all()
    assert ((seated.size >= 1) & (seated.size <= 2)).all()
    prices = seated.prices(AGENTS)
    assert max(prices, key=prices.get) == "ann"
    assert prices["ann"] > 0
    assert float(seated.plan.row_error) <= 1e-6
    assert torch.allclose(seated.plan.share.sum(0), seated.size.float(), atol=1e-5)
    team = seated.hypergraph(AGENTS, mode="verify", phase=1)
    assert isinstance(team, Hypergraph)
    assert tuple(e.members for e in team.edges) == seated.members(AGENTS)
    assert {(e.mode, e.phase) for e in team.edges} == {("verify", 1)}
    assert (team.incidence() == seated.taken.numpy()).all()


def test_route_never_beats_nor_misses_the_exact_optimum():
    generator = torch.Generator().manual_seed(2)
    for _ in range(10):
        affinity = torch.randn(4, 3, generator=generator, dtype=torch.float64)
        seated = route(affinity, max_size=2, load=2)
        assert float(seated.total) == pytest.approx(
            best_by_enumeration(affinity, 2, 2, 1), abs=1e-9
        )
        follows = route(affinity, max_size=2, load=2, follow="plan")
        assert float(follows.total) <= float(seated.total) + 1e-9
        assert (follows.load <= 2).all()


def test_route_price_is_what_one_more_seat_is_worth():
    affinity = torch.rand(5, 8, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    affinity[:2] += 0.4
    load = torch.tensor([3, 3, 4, 4, 4])
    seated = route(affinity, max_size=2, load=load)
    assert float(seated.price[:2].min()) > 0
    for i in range(5):
        step = torch.zeros(5, dtype=torch.long)
        step[i] = 1
        more = float(route(affinity, max_size=2, load=load + step).total - seated.total)
        less = float(seated.total - route(affinity, max_size=2, load=load - step).total)
        # The best value is concave in the load: the price lies between the two slopes.
        assert more - 1e-9 <= float(seated.price[i]) <= less + 1e-9


def test_route_respects_forbidden_pairs_and_own_limits():
    affinity = torch.rand(4, 5, generator=torch.Generator().manual_seed(3))
    allowed = torch.ones(4, 5, dtype=torch.bool)
    allowed[0, :4] = False
    seated = route(
        affinity,
        max_size=torch.tensor([1, 2, 3, 1, 4]),
        min_size=torch.tensor([1, 1, 3, 0, 1]),
        load=torch.tensor([1, 3, 2, 5]),
        allowed=allowed,
    )
    assert not seated.taken[~allowed].any()
    assert not seated.plan.support[~allowed].any()
    assert int(seated.size[2]) == 3
    assert (seated.load <= torch.tensor([1, 3, 2, 5])).all()


def test_route_teaches_through_its_plan():
    affinity = torch.rand(4, 6, dtype=torch.float64, requires_grad=True)
    seated = route(affinity, max_size=2, load=4, follow="plan")
    weights = straight_through(seated.plan.share, seated.taken)
    (weights * torch.rand(4, 6)).sum().backward()
    assert torch.isfinite(affinity.grad).all()
    assert affinity.grad.any()


def test_batched_routes_have_no_names():
    seated = route(torch.rand(2, 4, 6), max_size=2, load=4)
    assert seated.taken.shape == (2, 4, 6)
    assert seated.total.shape == (2,)
    with pytest.raises(SparsityError, match="a batch of routes has no names"):
        seated.members(AGENTS)
    with pytest.raises(SparsityError, match="one name per row: 4, got 2"):
        route(torch.rand(4, 6), max_size=2, load=4).members(["ann", "bob"])


def test_nothing_worth_seating_is_an_empty_route():
    worth = torch.tensor([[0.3, 0.6], [0.5, 0.1]])
    never = torch.zeros(2, 2, dtype=torch.bool)
    for seated in (
        route(-worth, max_size=2, load=1, min_size=0),
        route(worth, max_size=2, load=0, min_size=0),
        route(worth, max_size=2, load=1, min_size=0, allowed=never),
        route(torch.stack([-worth, worth]), max_size=2, load=1, min_size=0),
    ):
        assert torch.equal(seated.plan.share.sum(-2), seated.size.to(seated.plan.share))
        assert bool((seated.plan.row_error < 1e-9).all())


def test_route_names_its_own_arguments():
    worth = torch.ones(2, 3)
    with pytest.raises(SparsityError, match="max_size must be in"):
        route(worth, max_size=5, load=3)
    with pytest.raises(SparsityError, match="min_size must be <= max_size"):
        route(worth, max_size=1, min_size=2, load=3)
    with pytest.raises(SparsityError, match="load, max_size, min_size cannot"):
        route(worth, max_size=1, load=1)
