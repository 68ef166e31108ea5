"""The guard lets through what is surely better and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.topology.outcomes import Outcome
from hyperagent.topology.verdict import judge

TEAM = Hypergraph(("ann",), (Hyperedge(("ann",)),))
PRICE = {"price": 0.25, "scale": 6000}


def runs(n: int, p: float, tokens: float, seed: int) -> list[Outcome]:
    right = np.random.default_rng(seed).random(n) < p
    return [Outcome(f"t{i}", TEAM, float(r), tokens) for i, r in enumerate(right)]


def test_a_clear_gain_ships() -> None:
    verdict = judge(runs(500, 0.95, 2000, 1), runs(500, 0.8, 4000, 2), **PRICE)
    assert verdict.shipped
    assert 0 < verdict.low < verdict.difference < verdict.high
    assert verdict.tokens_ratio == pytest.approx(0.5)
    assert "learned policy ships" in verdict.reason


def test_equal_policies_are_let_through_no_more_often_than_the_level_says() -> None:
    passed = sum(
        judge(
            runs(200, 0.9, 3000, 2 * seed),
            runs(200, 0.9, 3000, 2 * seed + 1),
            **PRICE,
            rounds=400,
        ).shipped
        for seed in range(200)
    )
    # 2.5 % of 200 is 5; 14 has probability below 1e-3.
    assert passed < 14


def test_few_tasks_and_one_sided_noise_fall_back() -> None:
    verdict = judge(runs(20, 0.95, 2900, 1), runs(20, 0.95, 3000, 5), **PRICE)
    assert not verdict.shipped
    assert "fixed topology stays" in verdict.reason


def test_repeats_of_a_task_are_one_task() -> None:
    learned, fixed = runs(10, 0.95, 2000, 1), runs(10, 0.7, 4000, 2)
    once = judge(learned, fixed, **PRICE)
    assert judge(learned * 50, fixed[::-1] * 3, **PRICE).low == pytest.approx(once.low)


def test_unlike_tasks_are_refused() -> None:
    with pytest.raises(ConfigError, match="t9"):
        judge(runs(10, 0.9, 100, 0), runs(9, 0.9, 100, 0), **PRICE)
    with pytest.raises(ConfigError, match="at least 2"):
        judge(runs(1, 0.9, 100, 0), runs(1, 0.9, 100, 0), **PRICE)


def test_a_policy_over_its_budget_does_not_ship() -> None:
    learned, fixed = runs(500, 0.95, 2000, 1), runs(500, 0.8, 4000, 2)
    assert judge(learned, fixed, **PRICE, budget=2000).shipped
    verdict = judge(learned, fixed, name="star", **PRICE, budget=1999)
    assert not verdict.shipped
    assert verdict.low > 0
    assert verdict.rival == "star"
    assert "2,000 tokens a task, more than the budget of 1,999" in verdict.reason
