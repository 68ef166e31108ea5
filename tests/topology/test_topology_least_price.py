"""The price that a budget stands for."""

from __future__ import annotations

import pytest

from hyperagent.topology.least_price import HIGHEST, least_price

OPTIONS = [(0.9, 100.0), (0.8, 40.0), (0.5, 10.0)]
"""Worth and cost."""


def cost(price: float) -> float:
    return max(OPTIONS, key=lambda option: option[0] - price * option[1])[1]


@pytest.mark.parametrize(
    ("budget", "expected"),
    # Where 0.9 - 100 p = 0.8 - 40 p, and where 0.8 - 40 p = 0.5 - 10 p.
    [(100.0, 0.0), (99.0, 0.1 / 60), (40.0, 0.1 / 60), (39.0, 0.01), (10.0, 0.01)],
)
def test_it_is_the_least_price_at_which_the_budget_is_kept(budget: float, expected: float) -> None:
    price = least_price(cost, budget)
    assert price == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert cost(price) <= budget


def test_a_budget_that_cannot_be_kept_ends_at_the_highest_price() -> None:
    assert least_price(cost, 9.0) == pytest.approx(HIGHEST)
