"""Distillation: held-out tasks, several targets a task, bytes, resume, penalties."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.testing.world import World
from hyperagent.topology.distil import Distillation, distil, good_targets
from hyperagent.topology.surrogate import Prediction
from hyperagent.topology.surrogate_designer import SurrogateDesigner
from hyperagent.topology.vae import VaeDesigner

WORLD = World(skills=4, copies=1, pairs=(1, 1))


def oracles(tasks):
    return [[(WORLD.oracle(task, 0.25), 1.0)] for task in tasks]


def weights(vae: VaeDesigner) -> list[bytes]:
    return [t.numpy().tobytes() for t in vae.net.state_dict().values()]


@pytest.fixture(scope="module")
def learned():
    """Tasks that need one of six pairs of skills, said in words that vary."""
    vae, tasks, figures = VaeDesigner(mode="mode"), WORLD.tasks(300, 1), []
    distil(
        vae, tasks, WORLD.agents, oracles(tasks), epochs=18,
        report=lambda step, found: figures.append((step, found)),
    )  # fmt: skip
    return vae, figures


def test_on_held_out_tasks_the_mode_is_the_target(learned) -> None:
    vae, figures = learned
    tasks = WORLD.tasks(60, 2)
    targets = [pairs[0][0] for pairs in oracles(tasks)]
    designs = [vae.design(task, WORLD.agents).hypergraph.digest() for task in tasks]
    hits = sum(d == t.digest() for d, t in zip(designs, targets, strict=True))
    assert hits >= 0.9 * len(tasks), "chance is one in six at best"
    start = VaeDesigner()
    for task, target in zip(tasks[:10], targets[:10], strict=True):
        now, before = (d.log_prob(task, WORLD.agents, target).item() for d in (vae, start))
        assert now > before + 2
    assert [step for step, _ in figures] == list(range(180))
    assert figures[-1][1]["log_prob"] > figures[0][1]["log_prob"] + 3


def test_two_good_hypergraphs_for_one_task_become_plans(task, make_team) -> None:
    """Designs are one target or the other, not a mixture, about as often as they weigh."""
    agents = make_team(4)
    names = tuple(a.id for a in agents)
    targets = [
        Hypergraph(names, (Hyperedge(names[:2]),)),
        Hypergraph(names, (Hyperedge(names[2:]), Hyperedge(names[:1]))),
    ]
    vae = VaeDesigner(slots=4)
    pairs = list(zip(targets, (1.0, 3.0), strict=True))
    distil(
        vae, [task] * 16, agents, [pairs] * 16, epochs=200, training=Distillation(batch=8), seed=1
    )
    drawn = Counter(vae.design(task, agents, seed=s).hypergraph.digest() for s in range(100))
    hits = [drawn[t.digest()] for t in targets]
    assert sum(hits) >= 80
    assert 8 <= hits[0] <= 45
    # Given the plan the designer is sure.
    sure = [vae.policy(task, agents, seed=s).log_prob(targets[0]).exp().item() for s in range(50)]
    assert sum(0.2 < p < 0.8 for p in sure) < 15


def test_the_same_seed_gives_the_same_bytes_and_a_stopped_run_goes_on(tmp_path) -> None:
    tasks = WORLD.tasks(20, 1)
    how = Distillation(batch=8)

    def run(folder=None, stop=None, **changes) -> list[bytes]:
        vae = VaeDesigner()

        def report(step: int, _: dict) -> None:
            if step == stop:
                raise KeyboardInterrupt

        options = {"epochs": 4, "training": how, "seed": 5} | changes
        distil(
            vae, tasks, changes.pop("agents", WORLD.agents), oracles(tasks),
            folder=folder, report=report, **options,
        )  # fmt: skip
        return weights(vae)

    want = run()
    assert run() == want
    assert run(seed=6) != want
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop=7)
    assert run(tmp_path) == want, "two epochs are taken up, the torn third is done again"
    with pytest.raises(ConfigError, match="another folder"):
        run(tmp_path, seed=6)
    (tmp_path / "distil.safetensors").write_bytes(b"no")
    with pytest.raises(ConfigError, match="cannot read"):
        run(tmp_path)


def test_the_number_of_threads_does_not_matter() -> None:
    tasks, found = WORLD.tasks(32, 1), []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            vae = VaeDesigner()
            distil(vae, tasks, WORLD.agents, oracles(tasks), epochs=3)
            found.append(weights(vae))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1]


def test_the_order_of_the_agents_does_not_matter() -> None:
    tasks, found = WORLD.tasks(8, 1), []
    for agents in (WORLD.agents, WORLD.agents[::-1]):
        vae = VaeDesigner()
        distil(vae, tasks, agents, oracles(tasks), epochs=2)
        found.append(weights(vae))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "change",
    [
        {"cost": 0.02},
        {"penalties": {"agents": {"name": "group_lasso", "lam": 5.0}}},
        {"penalties": {"hyperedges": {"name": "cel0", "lam": 20.0}}},
        {"anchor": 20.0},
    ],
)
def test_what_is_charged_for_is_used_less(change) -> None:
    """The target is everybody, the anchor one agent: every charge pulls away from the target."""
    tasks = WORLD.tasks(8, 1)
    names = tuple(a.id for a in WORLD.agents)
    targets = [[(Hypergraph(names, (Hyperedge(names),)), 1.0)]] * len(tasks)
    seats = []
    for how in (Distillation(anchor=0.0), replace(Distillation(anchor=0.0), **change)):
        vae = VaeDesigner(anchor="single")
        distil(vae, tasks, WORLD.agents, targets, epochs=40, training=how)
        seats.append(vae.policy(tasks[0], WORLD.agents).seat_probabilities().sum().item())
    assert seats[1] < seats[0] - 0.3


def test_good_targets_are_what_the_chooser_takes_first() -> None:
    names = tuple(agent.id for agent in WORLD.agents)
    graphs = [Hypergraph(names, (Hyperedge(names[: k + 1]),)) for k in range(4)]
    late = Hypergraph(names, (Hyperedge(names, phase=1),))
    wide = Hypergraph((*names, "a00#1"), (Hyperedge(("a00", "a00#1")),))

    class Fitted:
        def predict(self, task, candidates) -> Prediction:
            """Everybody is best, then three, then two; what slots cannot form is better still."""
            seats = np.array([len(graph.seated()) for graph in candidates])
            fine = np.array([graph in graphs for graph in candidates])
            return Prediction(np.where(fine, 0.5 + seats / 100, 0.9)[None], np.ones(len(seats)))

    chooser = SurrogateDesigner(Fitted(), [late, wide, *graphs], graphs[0], price=0.0, scale=1.0)
    tasks, vae = WORLD.tasks(2, 1), VaeDesigner()
    found = good_targets(chooser, vae, tasks, WORLD.agents, most=3, temperature=0.01)
    assert len(found) == 2
    assert [graph for graph, _ in found[0]] == graphs[:0:-1]
    weights = [weight for _, weight in found[0]]
    assert sum(weights) == pytest.approx(1)
    assert weights[0] / weights[1] == pytest.approx(math.e)
    only = SurrogateDesigner(Fitted(), [late], late, price=0.0, scale=1.0)
    with pytest.raises(ConfigError, match="none of the candidates"):
        good_targets(only, vae, tasks, WORLD.agents)


def test_wrong_arguments_are_named(task, make_team) -> None:
    agents, vae = make_team(3), VaeDesigner()
    names = tuple(a.id for a in agents)
    good = Hypergraph(names, (Hyperedge(names),))
    late = Hypergraph(names, (Hyperedge(names, phase=1),))
    for targets, words in (
        ([], "targets of 0"),
        ([[]], r"weights > 0, got \[\]"),
        ([[(good, math.nan)]], "weights"),
        ([[(late, 1.0)]], "one phase"),
        ([[(Hypergraph(("x",), (Hyperedge(("x",)),)), 1.0)]], "over the agents"),
    ):
        with pytest.raises(ConfigError, match=words):
            distil(vae, [task], agents, targets)
    for change in ({"batch": 0}, {"rate": -1.0}, {"kl": -1.0}):
        with pytest.raises(ConfigError, match=next(iter(change))):
            Distillation(**change)


def test_no_global_random_number_is_used() -> None:
    torch.manual_seed(1)
    want = torch.rand(2)
    torch.manual_seed(1)
    tasks = WORLD.tasks(4, 1)
    distil(VaeDesigner(), tasks, WORLD.agents, oracles(tasks), epochs=1)
    assert torch.equal(torch.rand(2), want)
