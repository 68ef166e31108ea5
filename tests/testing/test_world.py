"""The simulated world: its values are exact, its oracle is the best there is."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations

import pytest

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hyperedge, Hypergraph, build_anchor
from hyperagent.testing.world import World


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def graph_of(world: World, *groups: str, mode: str = "discuss") -> Hypergraph:
    nodes = tuple(agent.id for agent in world.agents)
    return Hypergraph(nodes, tuple(Hyperedge(tuple(g.split()), mode) for g in groups))


def test_a_bill_worked_by_hand(world) -> None:
    assert world.bill(graph_of(world, "a00")) == 520
    # Two speak; with probability 0.15 both read one note and speak again.
    assert world.bill(graph_of(world, "a00 a01")) == pytest.approx(1040 + 0.15 * 2 * (520 + 80))
    # a00 is in two groups: one speech, and one revision if either group is open.
    two = 3 * 520 + 0.15 * 4 * 80 + 520 * (2 * 0.15 + 1 - 0.85**2)
    assert world.bill(graph_of(world, "a00 a01", "a00 a02")) == pytest.approx(two)
    nodes = tuple(agent.id for agent in world.agents)
    pair = (Hyperedge(("a00",)), Hyperedge(("a00", "a01"), "verify", 1))
    expected = 520 + (520 + 80) + 0.15 * 2 * (520 + 80)
    assert world.bill(Hypergraph(nodes, pair)) == pytest.approx(expected)
    decide = (Hyperedge(("a00", "a01")), Hyperedge(("a00", "a01", "a02", "a03"), "decide", 1))
    expected = 1040 + 0.15 * 2 * 600 + 520 + 2 * 80
    assert world.bill(Hypergraph(nodes, decide)) == pytest.approx(expected)


def test_success_asks_for_meetings_and_not_for_seats(world) -> None:
    (task,) = [t for t in world.tasks(60, 1) if t.meta["difficulty"] == 1][:1]
    seat = {agent.role: agent.id for agent in world.agents}
    a, b = (seat[skill] for skill in task.meta["pairs"][0])
    assert world.expected(task, graph_of(world, f"{a} {b}")).success == world.solved
    assert world.expected(task, graph_of(world, a, b)).success == world.floor
    decided = graph_of(world, f"{a} {b}", mode="decide")
    assert world.expected(task, decided).success == world.floor


def test_execution_agrees_with_expectation(world) -> None:
    task = world.tasks(1, 3)[0]
    graph = build_anchor("pair", [agent.id for agent in world.agents])
    runs = [world.execute(task, graph, seed) for seed in range(3000)]
    exact = world.expected(task, graph)
    rate = sum(run.correct for run in runs) / len(runs)
    assert abs(rate - exact.success) < 4 * (exact.success * (1 - exact.success) / 3000) ** 0.5
    assert sum(run.tokens for run in runs) / 3000 == pytest.approx(exact.tokens, rel=0.01)
    assert runs[7] == world.execute(task, graph, 7)


def test_the_oracle_beats_every_hypergraph_of_a_small_world() -> None:
    world = World(skills=4, copies=1, pairs=(1, 2))
    nodes = tuple(agent.id for agent in world.agents)
    groups = [g for k in range(1, 5) for g in combinations(nodes, k)]
    every = []
    for count in (1, 2, 3):
        for chosen in combinations(groups, count):
            for phases in ((0, 0, 0), (0, 1, 1), (1, 0, 0)):
                edges = [Hyperedge(g, phase=p) for g, p in zip(chosen, phases, strict=False)]
                every.append(Hypergraph(nodes, tuple(edges)))
    bills = [world.bill(graph) for graph in every]
    for task in world.tasks(5, 2):
        for price in (0.05, 0.25, 2.0):
            best = world.reward(task, world.oracle(task, price), price, 6000)
            for graph, bill in zip(every, bills, strict=True):
                # The cheap bound first: success alone cannot make up for the tokens.
                if world.solved - price * bill / 6000 > best + 1e-9:
                    assert world.reward(task, graph, price, 6000) <= best + 1e-9


def test_rewards_are_those_of_the_notes(world) -> None:
    """Section 5.9: best fixed 0.783, oracle 0.863."""
    tasks = world.tasks(400, 1)
    names, roles = [a.id for a in world.agents], {a.id: a.role for a in world.agents}
    cover = build_anchor("role_cover", names, roles=roles)
    assert world.reward(tasks[0], cover, 0.25, 6000) == pytest.approx(0.783, abs=0.01)
    best = [world.reward(t, world.oracle(t, 0.25), 0.25, 6000) for t in tasks]
    assert sum(best) / len(best) == pytest.approx(0.863, abs=0.01)


def test_the_text_does_not_name_skills_and_tasks_are_the_same_in_every_process(world) -> None:
    tasks = world.tasks(50, 9)
    assert not any(name in task.question for task in tasks for name in world.names)
    code = (
        "from hyperagent.testing.world import World\n"
        "w = World(); t = w.tasks(50, 9)[-1]\n"
        "print(t.question, w.oracle(t, 0.25).digest())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = f"{tasks[-1].question} {world.oracle(tasks[-1], 0.25).digest()}"
    assert out.stdout.strip() == here


def test_a_liar_counts_one_voice_and_only_where_seated() -> None:
    honest = World()
    task = honest.tasks(1, 1)[0]
    team = graph_of(honest, "a00 a01 a02 a03")
    before = honest.expected(task, team)
    for liars, factor in ((("a00",), 0.75), (("a00", "a03"), 0.5), (("a05",), 1.0)):
        after = World(liars=liars).expected(task, team)
        assert after.success == pytest.approx(factor * before.success)
        assert after.tokens == before.tokens
    mild = World(liars=("a00",), harm=0.4).expected(task, team)
    assert mild.success == pytest.approx(0.9 * before.success)
    # The oracle is that of the honest world.
    assert World(liars=("a00",)).oracle(task, 0.25) == honest.oracle(task, 0.25)
    with pytest.raises(ConfigError, match="liars"):
        World(liars=("zed",))


def test_wrong_settings_are_named(world) -> None:
    with pytest.raises(ConfigError, match="skills"):
        World(skills=1)
    with pytest.raises(ConfigError, match="no hyperedge"):
        world.expected(world.tasks(1)[0], Hypergraph(("a00",)))
    with pytest.raises(ConfigError, match="zed"):
        world.expected(world.tasks(1)[0], Hypergraph(("zed",), (Hyperedge(("zed",)),)))
