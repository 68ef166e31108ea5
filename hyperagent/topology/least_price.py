"""The least price of cost at which a choice keeps a budget."""

from __future__ import annotations

from collections.abc import Callable

STEPS = 40
HIGHEST = 2.0**20


def least_price(mean_cost: Callable[[float], float], budget: float) -> float:
    """Bisection over the price: the multiplier of the constraint that the mean cost is in budget.

    Parameters
    ----------
    mean_cost : callable
        Mean cost of what is chosen at a price; it never rises with the price.
    budget : float

    Returns
    -------
    float
        0 if the budget does not bind; at most `HIGHEST`, where it cannot be kept.
    """
    if mean_cost(0.0) <= budget:
        return 0.0
    low, high = 0.0, 2.0**-10
    # At a price that is high enough, nothing but the cheapest is chosen.
    while mean_cost(high) > budget and high < HIGHEST:
        low, high = high, 2 * high
    for _ in range(STEPS):
        middle = (low + high) / 2
        if mean_cost(middle) > budget:
            low = middle
        else:
            high = middle
    return high
