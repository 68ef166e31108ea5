"""Peers: one conformance suite over all, and training, saving and loading of those that learn."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys

import pytest

from hyperagent.errors import ConfigError, HypergraphError
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.tasks import Task
from hyperagent.testing.world import World
from hyperagent.topology import (
    AgentPrune,
    Design,
    Designer,
    Dylan,
    GDesigner,
    GptSwarm,
    Router,
    designer,
)
from hyperagent.topology.outcomes import Outcome

SPECS = [
    "adaptive:cap=6",
    "agentprune",
    "agentprune:mode=mode",
    "dylan",
    "dylan:layers=1",
    "esc:window=2,cap=5",
    "gdesigner",
    "gdesigner:mode=mode",
    "gdesigner:released=1",
    "gdesigner:released=1,anchor=star",
    "gptswarm",
    "gptswarm:mode=mode",
    "plurality",
    "router",
]
TRAINED = {
    "agentprune": AgentPrune,
    "dylan:size=2": Dylan,
    "gdesigner:samples=2": GDesigner,
    "gdesigner:released=1": GDesigner,
    "gptswarm:baseline=1": GptSwarm,
    "router": Router,
}
DRAWING = [spec for spec in SPECS if spec.startswith(("agentprune", "gdesigner", "gptswarm"))]


@pytest.mark.parametrize("n", [1, 2, 5, 12])
@pytest.mark.parametrize("spec", SPECS)
def test_a_design_is_valid_and_the_same_for_the_same_arguments(
    spec: str, n: int, task, make_team
) -> None:
    agents = make_team(n)
    one, two = (designer(spec).design(task, agents, seed=7) for _ in range(2))
    graph = one.hypergraph
    assert isinstance(designer(spec), Designer)
    assert isinstance(one, Design)
    assert {a.id for a in agents} <= set(graph.nodes)
    assert graph.edges
    assert -math.inf < one.log_prob <= 1e-9
    assert (one.hypergraph, one.log_prob, one.stop) == (two.hypergraph, two.log_prob, two.stop)
    assert one.name == designer(spec).name
    assert Hypergraph.from_hif(json.loads(json.dumps(graph.to_hif()))) == graph


@pytest.mark.parametrize("spec", SPECS)
def test_the_order_of_the_agents_does_not_matter(spec: str, task, make_team) -> None:
    """Where reliabilities differ; equals go by id, or for samples and plurality as given."""
    agents = make_team(4)
    shuffled = random.Random(1).sample(agents, 4)
    assert shuffled != agents
    one, two = (designer(spec).design(task, team, seed=3) for team in (agents, shuffled))
    assert one.hypergraph == two.hypergraph
    assert one.log_prob == two.log_prob


@pytest.mark.parametrize("spec", DRAWING)
def test_log_prob_is_that_of_what_is_executed(spec: str, task, make_team) -> None:
    peer, agents = designer(spec), make_team(5)
    design = peer.design(task, agents, seed=3)
    seed = 3 if peer.mode == "sample" else None
    log_prob = peer.log_prob(task, agents, design.hypergraph, seed=seed)
    assert log_prob.item() == pytest.approx(design.log_prob, abs=1e-9)
    everybody = Hypergraph(design.hypergraph.nodes, (Hyperedge(design.hypergraph.nodes),))
    assert peer.log_prob(task, agents, everybody, seed=seed).item() == -math.inf


@pytest.mark.parametrize("spec", [s for s in DRAWING if "mode" not in s])
def test_seeds_draw_different_graphs(spec: str, task, make_team) -> None:
    peer, agents = designer(spec), make_team(5)
    assert len({peer.design(task, agents, seed=s).hypergraph.digest() for s in range(20)}) > 5


def test_designs_are_equal_in_another_process(task, make_team) -> None:
    specs = ["agentprune", "gdesigner", "gdesigner:released=1", "gptswarm"]
    here = [designer(s).design(task, make_team(5), seed=3).hypergraph.digest() for s in specs]
    code = (
        "from types import SimpleNamespace as N\n"
        "from hyperagent.topology import designer\n"
        f"task = N(id={task.id!r}, question={task.question!r})\n"
        f"team = [N(**a) for a in {[vars(a) for a in make_team(5)]!r}]\n"
        f"for s in {specs!r}: print(designer(s).design(task, team, seed=3).hypergraph.digest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == here


@pytest.mark.parametrize("spec", SPECS)
def test_no_agents_are_refused(spec: str, task) -> None:
    with pytest.raises(HypergraphError, match="at least one"):
        designer(spec).design(task, [])


@pytest.mark.parametrize(
    "spec",
    [
        "adaptive:cap=0", "adaptive:level=2", "agentprune:rate=1.5", "agentprune:zeta=-1",
        "agentprune:mode=best", "dylan:layers=0", "dylan:size=0", "dylan:share=1", "esc:window=0",
        "esc:cap=0", "gdesigner:released=2", "gdesigner:rank=0", "gdesigner:tau=0",
        "gdesigner:samples=0", "gdesigner:mode=best", "gptswarm:lr=0", "gptswarm:mode=best",
        "router:price=-1", "router:penalty=0",
    ],
)  # fmt: skip
def test_a_wrong_option_is_named(spec: str) -> None:
    option = spec.partition(":")[2].partition("=")[0]
    with pytest.raises(ConfigError, match=option):
        designer(spec)


# Training, saving, loading.


WORLD = World(skills=3, copies=1, pairs=(1, 1))


@pytest.mark.parametrize("spec", TRAINED)
def test_a_fit_is_deterministic_counts_its_tokens_and_survives_saving(spec: str, tmp_path) -> None:
    tasks, agents = WORLD.tasks(6), WORLD.agents
    spent: list[float] = []

    def execute(task: Task, graph: Hypergraph, seed: int) -> Outcome:
        outcome = WORLD.execute(task, graph, seed)
        spent.append(outcome.tokens)
        return outcome

    peer, again = designer(spec), designer(spec)
    before = peer.design(tasks[0], agents, seed=1)
    training = peer.fit(tasks, agents, execute, episodes=16, seed=5)
    assert training.episodes == len(spent) == 16
    assert training.tokens == pytest.approx(sum(spent))
    again.fit(tasks, agents[::-1], WORLD.execute, episodes=16, seed=5)
    peer.save(tmp_path / "peer")
    name = spec.partition(":")[0]
    loaded = designer(f"{name}:weights={tmp_path / 'peer'}")
    options = {"size": 2} if "size" in spec else {}
    other = TRAINED[spec].load(tmp_path / "peer", **options)
    changed = before.log_prob != peer.design(tasks[0], agents, seed=1).log_prob
    assert changed == (spec not in ("router", "dylan:size=2"))
    for seed, task in enumerate(tasks):
        design = peer.design(task, agents, seed=seed)
        for same in (again, other, *([] if options else [loaded])):
            found = same.design(task, agents, seed=seed)
            assert found.hypergraph == design.hypergraph
            assert found.log_prob == pytest.approx(design.log_prob, abs=1e-12)


@pytest.mark.parametrize("name", ["agentprune", "dylan", "gdesigner", "gptswarm", "router"])
def test_unusable_weights_are_named(name: str, tmp_path) -> None:
    with pytest.raises(ConfigError, match=f"{name}: cannot use the weights"):
        designer(f"{name}:weights={tmp_path / 'nowhere'}")
    saved = "gptswarm" if name != "gptswarm" else "agentprune"
    peer = designer(saved)
    peer.fit(WORLD.tasks(2), WORLD.agents, WORLD.execute, episodes=4)
    peer.save(tmp_path)
    with pytest.raises(ConfigError, match=f"must hold a {name!r}"):
        designer(f"{name}:weights={tmp_path}")


@pytest.mark.parametrize("name", ["agentprune", "dylan", "gptswarm", "router"])
def test_a_fitted_peer_knows_one_team(name: str, make_team) -> None:
    peer = designer(name)
    with pytest.raises(ConfigError, match="before fit"):
        peer.save("never-made")
    tasks = WORLD.tasks(2)
    peer.fit(tasks, WORLD.agents, WORLD.execute, episodes=8)
    with pytest.raises(ConfigError, match="agent0"):
        peer.design(tasks[0], make_team(3))


@pytest.mark.parametrize("spec", TRAINED)
def test_training_without_tasks_or_episodes_is_refused(spec: str) -> None:
    with pytest.raises(ConfigError, match="episode"):
        designer(spec).fit(WORLD.tasks(2), WORLD.agents, WORLD.execute, episodes=1)
    with pytest.raises(ConfigError, match="task"):
        designer(spec).fit([], WORLD.agents, WORLD.execute, episodes=16)
