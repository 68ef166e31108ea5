"""The price of tokens that a token budget stands for."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from hyperagent.topology.design import TaskLike
from hyperagent.topology.least_price import least_price
from hyperagent.topology.surrogate_designer import SurrogateDesigner


def price_for_budget(
    designer: SurrogateDesigner, tasks: Sequence[TaskLike], budget: float
) -> float:
    r"""The smallest price at which the designer is expected to keep a budget.

    It is the multiplier :math:`\lambda` of the constraint :math:`E[\hat\tau] \le B`: mean expected
    tokens never rise with the price, so that bisection finds it.

    Parameters
    ----------
    designer : SurrogateDesigner
        Its own price is not looked at. Its fixed topology is known to keep the budget: if it is
        expected to take more, that is the surrogate's error, and the others may take as much.
    tasks : sequence of TaskLike
        Questions over which the mean is taken.
    budget : float
        Tokens a question.

    Returns
    -------
    float
        0 if the budget does not bind.
    """
    predicted = [designer.surrogate.predict(task, designer.candidates) for task in tasks]
    budget = max(budget, float(np.mean([p.tokens[0] for p in predicted])))
    trial = copy.copy(designer)

    def mean_tokens(price: float) -> float:
        trial.price = price
        return float(np.mean([p.tokens[int(trial.scores(p).argmax())] for p in predicted]))

    return least_price(mean_tokens, budget)
