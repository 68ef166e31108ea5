"""Reinforcement: exact in the mean, from a distilled start, bytes, budgets."""

from __future__ import annotations

import pytest
import torch

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.testing.world import World
from hyperagent.topology.distil import distil
from hyperagent.topology.outcomes import Outcome
from hyperagent.topology.rloo import EXECUTED, Reinforcement, _valued, rloo
from hyperagent.topology.surrogate import Prediction
from hyperagent.topology.vae import VaeDesigner

# Three agents of each of two skills: one of each would do.
WORLD = World(skills=2, copies=3, pairs=(1, 1))
MONEY = {"price": 1.0, "scale": 6000.0}


class Oracle:
    """A surrogate that knows the world, but is wrong by a constant."""

    def __init__(self, tasks, bias: float = 0.0) -> None:
        self.tasks, self.bias = {task.id: task for task in tasks}, bias

    def predict(self, task, graphs) -> Prediction:
        exact = [WORLD.expected(task, graph) for graph in graphs]
        success = torch.tensor([[e.success + self.bias for e in exact]], dtype=torch.float64)
        tokens = torch.tensor([e.tokens for e in exact], dtype=torch.float64)
        return Prediction(success.numpy(), tokens.numpy())


def value(vae: VaeDesigner, tasks) -> tuple[float, float]:
    """Exact mean reward and tokens of single draws."""
    graphs = [vae.design(task, WORLD.agents, seed=s).hypergraph for task in tasks for s in range(4)]
    each = [task for task in tasks for _ in range(4)]
    reward = [WORLD.reward(t, g, **MONEY) for t, g in zip(each, graphs, strict=True)]
    return sum(reward) / len(each), sum(map(WORLD.bill, graphs)) / len(each)


def weights(vae: VaeDesigner) -> list[bytes]:
    return [t.numpy().tobytes() for t in vae.net.state_dict().values()]


@pytest.fixture(scope="module")
def start():
    """Weights of a designer that was distilled to seat everybody, whatever the task."""
    tasks, vae = WORLD.tasks(64, 1), VaeDesigner(anchor="group", slots=4)
    names = tuple(agent.id for agent in WORLD.agents)
    everybody = Hypergraph(names, (Hyperedge(names),))
    distil(vae, tasks, WORLD.agents, [[(everybody, 1.0)]] * 64, epochs=4)
    return vae.net.state_dict()


def fresh(start) -> VaeDesigner:
    vae = VaeDesigner(anchor="group", slots=4)
    vae.net.load_state_dict({name: value.clone() for name, value in start.items()})
    return vae


@pytest.mark.parametrize("predicted", [False, True])
def test_it_saves_tokens_and_loses_no_reward(start, predicted: bool) -> None:
    vae, held = fresh(start), WORLD.tasks(60, 9)
    tasks, seen = WORLD.tasks(300, 2), []
    before = value(vae, held)
    done = rloo(
        vae, tasks, WORLD.agents, WORLD.execute, 1600, **MONEY,
        surrogate=Oracle(tasks) if predicted else None,
        training=Reinforcement(rate=3e-3), report=lambda step, found: seen.append((step, found)),
    )  # fmt: skip
    after = value(vae, held)
    assert after[0] > before[0]
    assert after[1] < 0.9 * before[1]
    assert len(done) == 1600
    assert [step for step, _ in seen] == list(range(40))
    assert {"reward", "tokens", "price", "executions"} == set(seen[0][1])
    assert seen[-1][1]["executions"] == 1600


def test_the_estimate_is_right_in_the_mean_whatever_the_surrogate_says() -> None:
    tasks, names = WORLD.tasks(5, 3), tuple(a.id for a in WORLD.agents)
    graphs = [Hypergraph(names, (Hyperedge(names[: 1 + k]),)) for _ in tasks for k in range(4)]
    exact = [WORLD.expected(tasks[i // 4], g) for i, g in enumerate(graphs)]
    sums = torch.zeros(2, 20, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    rounds = 2000
    for _ in range(rounds):
        real = torch.randperm(20, generator=generator)[: 20 // EXECUTED].tolist()
        # Outcomes without luck: what is tested is the weight of the executed ones.
        outcomes = {
            i: Outcome(tasks[i // 4].id, graphs[i], exact[i].success, exact[i].tokens) for i in real
        }
        sums += torch.stack(_valued(tasks, graphs, Oracle(tasks, bias=-0.3), outcomes)) / rounds
    want = torch.tensor([[e.success for e in exact], [e.tokens for e in exact]])
    # Each entry is off by -0.3, or with probability 1/5 by +1.2: 0.6 / sqrt(2000) = 0.0134.
    assert (sums[0] - want[0]).abs().max() < 4 * 0.0134
    assert torch.allclose(sums[1], want[1].double(), rtol=1e-6)


def test_the_same_seed_gives_the_same_bytes(start) -> None:
    found, tasks = [], WORLD.tasks(40, 2)
    for seed, agents in ((3, WORLD.agents), (3, WORLD.agents[::-1]), (4, WORLD.agents)):
        vae = fresh(start)
        torch.manual_seed(seed * 7)
        done = rloo(vae, tasks, agents, WORLD.execute, 90, **MONEY, seed=seed)
        assert len(done) == 80, "whole steps only"
        found.append((weights(vae), done))
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_executions_get_different_seeds(start) -> None:
    seeds = []

    def execute(task, graph, seed) -> Outcome:
        seeds.append(seed)
        return WORLD.execute(task, graph, seed)

    for seed in (0, 1):
        rloo(fresh(start), WORLD.tasks(40, 2), WORLD.agents, execute, 80, **MONEY, seed=seed)
    assert len(set(seeds)) == len(seeds) == 160


def test_smaller_budgets_in_a_chain_cost_less(start) -> None:
    """Each budget goes on from the weights of the one before; the price is found on the way."""
    vae, tasks, held = fresh(start), WORLD.tasks(200, 2), WORLD.tasks(40, 9)
    spent, prices = [value(vae, held)[1]], []
    for budget in (2500.0, 1500.0):
        rloo(
            vae, tasks, WORLD.agents, WORLD.execute, 1200, price=0.25, scale=6000.0,
            budget_tokens=budget, training=Reinforcement(rate=3e-3, dual_step=0.2),
            report=lambda step, found: prices.append(found["price"]),
        )  # fmt: skip
        spent.append(value(vae, held)[1])
    assert spent[0] > spent[1] > spent[2]
    assert spent[2] < 1.25 * 1500
    assert max(prices) > 0.3, "the price rises while the budget is exceeded"


def test_wrong_arguments_are_named(start) -> None:
    tasks = WORLD.tasks(4, 2)
    good = {"executions": 80, "price": 0.1, "scale": 100.0}
    for change, words in (
        ({"executions": 3}, "as many executions"),
        ({"samples": 1}, "at least 2 samples"),
        ({"price": -1.0}, "price"),
        ({"scale": 0.0}, "scale"),
        ({"budget_tokens": 0.0}, "budget"),
    ):
        with pytest.raises(ConfigError, match=words):
            rloo(fresh(start), tasks, WORLD.agents, WORLD.execute, **(good | change))
    for change in ({"batch": 0}, {"rate": 0.0}, {"credit": -1.0}):
        with pytest.raises(ConfigError, match=next(iter(change))):
            Reinforcement(**change)
