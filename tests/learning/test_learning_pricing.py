"""The price that a budget stands for, with a surrogate that is known."""

from __future__ import annotations

import numpy as np
import pytest

from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.learning import price_for_budget
from hyperagent.tasks import Task
from hyperagent.team import Agent
from hyperagent.topology.surrogate import Prediction
from hyperagent.topology.surrogate_designer import SurrogateDesigner

GRAPHS = [Hypergraph(tuple("abc"), (Hyperedge(tuple("abc")[:n]),)) for n in (2, 1, 3)]
AGENTS = [Agent(name) for name in "abc"]
TASKS = [Task(f"What is {i} + {i}?") for i in range(8)]


class Known:
    """Tokens 100 a seat; the third candidate is the better, the harder the task."""

    def predict(self, task, graphs):
        hard = TASKS.index(task) / 10
        sizes = np.array([len(graph.seated()) for graph in graphs])
        right = 0.5 + hard * (sizes - 2)
        return Prediction(np.stack([right, right]), 100.0 * sizes)


def chosen_tokens(price: float) -> float:
    designer = SurrogateDesigner(Known(), GRAPHS, GRAPHS[0], price=price, scale=100.0)
    designs = [designer.design(task, AGENTS).hypergraph for task in TASKS]
    return float(np.mean([100 * len(graph.seated()) for graph in designs]))


@pytest.mark.parametrize("budget", [210, 225, 250, 262.5, 300])
def test_the_budget_is_kept_and_used(budget: float) -> None:
    designer = SurrogateDesigner(Known(), GRAPHS, GRAPHS[0], price=9.0, scale=100.0)
    price = price_for_budget(designer, TASKS, budget)
    assert designer.price == 9.0
    assert chosen_tokens(price) <= budget
    if price > 0:
        assert chosen_tokens(price * 0.999) > budget


def test_a_loose_budget_costs_nothing() -> None:
    designer = SurrogateDesigner(Known(), GRAPHS, GRAPHS[0], price=9.0, scale=100.0)
    assert price_for_budget(designer, TASKS, 1000) == 0.0


def test_the_fixed_topology_keeps_the_budget_whatever_the_surrogate_says() -> None:
    designer = SurrogateDesigner(Known(), GRAPHS, GRAPHS[0], price=9.0, scale=100.0)
    assert price_for_budget(designer, TASKS, 150) == price_for_budget(designer, TASKS, 200)
