"""The surrogate sees topologies, learns, is reproducible, and its designer is conservative."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.testing.world import World, WorldAgent
from hyperagent.topology import Designer, designer
from hyperagent.topology.calibration import calibration_error, spread
from hyperagent.topology.candidates import portfolio, sub_hypergraphs
from hyperagent.topology.collect import explore, follow, race
from hyperagent.topology.surrogate import Prediction, Surrogate, Training
from hyperagent.topology.surrogate_designer import SurrogateDesigner
from hyperagent.topology.surrogate_net import KINDS, Reader, SurrogateNet, lay_out

WORLD = World(skills=4, copies=1, pairs=(1, 1))
FEW = Training(members=3, steps=150, precisions=(8.0,))


@pytest.fixture(scope="module")
def learned():
    tasks = {task.id: task for task in WORLD.tasks(1500, 1)}
    graphs = portfolio(WORLD.agents)
    raced = race(graphs, [*tasks.values()], WORLD.execute, 200, price=0.25, scale=6000)
    log = [*raced.outcomes, *explore(graphs["role_cover"], [*tasks.values()], WORLD.execute, 1500)]
    fit = Surrogate.fit(log, tasks, WORLD.agents, training=FEW)
    candidates = [*graphs.values(), *sub_hypergraphs(graphs["role_cover"])]
    return log, tasks, fit, candidates, graphs["role_cover"]


def test_the_same_seed_gives_the_same_weights(learned) -> None:
    log, tasks, fit, _, _ = learned
    small = Training(members=2, steps=20)
    one, two = (
        Surrogate.fit(log, tasks, team, training=small, seed=3)
        for team in (WORLD.agents, WORLD.agents[::-1])
    )
    for key, value in one.nets[0].state_dict().items():
        assert torch.equal(value, two.nets[0].state_dict()[key])
    other = Surrogate.fit(log, tasks, WORLD.agents, training=small, seed=4)
    assert not torch.equal(one.nets[0].need.weight, other.nets[0].need.weight)
    assert fit.ece is not None


def test_it_can_read_questions_with_a_sentence_encoder(learned, sentence_model, tmp_path) -> None:
    log, tasks, _, candidates, _ = learned
    encoder = f"sentence:{sentence_model}"
    small = Training(members=2, steps=20, encoder=encoder)
    fit = Surrogate.fit(log[:300], tasks, WORLD.agents, training=small)
    fit.save(tmp_path / "s.safetensors")
    again, _ = Surrogate.load(tmp_path / "s.safetensors")
    assert again.reader.encoder == encoder
    one, two = (s.predict(WORLD.tasks(1, 5)[0], candidates).members for s in (fit, again))
    assert np.array_equal(one, two)


def test_it_tells_a_team_that_can_from_one_that_cannot(learned) -> None:
    _, _, fit, candidates, _ = learned
    test = WORLD.tasks(100, 2)
    predicted = np.array([fit.predict(task, candidates).mean for task in test])
    exact = np.array([[WORLD.expected(t, c).success for c in candidates] for t in test])
    constant = np.sqrt(((exact - exact.mean(axis=0)) ** 2).mean())
    assert np.sqrt(((predicted - exact) ** 2).mean()) < 0.75 * constant
    tokens = fit.predict(test[0], candidates).tokens
    bills = np.array([WORLD.bill(c) for c in candidates])
    assert np.abs(tokens / bills - 1).mean() < 0.15


def test_equal_profiles_do_not_blind_it() -> None:
    """Bar 4: star and complete differ on at least 95 % of tasks, though all profiles are equal."""
    world = World()
    tasks = {task.id: task for task in world.tasks(60, 1)}
    graphs = portfolio(world.agents)
    log = explore(graphs["role_cover"], [*tasks.values()], world.execute, 60)
    fit = Surrogate.fit(log, tasks, world.blinded(), training=Training(members=2, steps=5))
    pair = [graphs["star"], graphs["complete"]]
    means = [fit.predict(task, pair).mean for task in world.tasks(40, 2)]
    assert np.mean([abs(a - b) > 1e-6 for a, b in means]) >= 0.95
    # The seats tell equal agents apart: two pairs of strangers are not the same pair.
    nodes = graphs["star"].nodes
    pairs = [Hypergraph(nodes, (Hyperedge(nodes[i : i + 2]),)) for i in (0, 2)]
    means = [fit.predict(task, pairs).mean for task in world.tasks(40, 2)]
    assert np.mean([abs(a - b) > 1e-6 for a, b in means]) >= 0.95


def test_the_order_of_hypergraphs_and_the_taking_of_rows_change_nothing(learned) -> None:
    _, _, fit, candidates, _ = learned
    task = WORLD.tasks(1, 2)[0]
    forward, backward = (fit.predict(task, c).mean for c in (candidates, candidates[::-1]))
    assert forward == pytest.approx(backward[::-1], abs=1e-6)
    layout = lay_out(tuple(candidates))
    rows = torch.tensor([5, 0, 5, 7])
    net, nodes = SurrogateNet(), fit.reader.nodes(layout.nodes)
    text = fit.reader.tasks([task.question])
    where = torch.zeros(len(layout), dtype=torch.long)
    whole, _ = net(nodes, text, where, layout)
    part, _ = net(nodes, text, where[:4], layout.take(rows))
    assert torch.allclose(part, whole[rows], atol=1e-5)


def test_saving_keeps_every_choice(learned, tmp_path) -> None:
    _, _, fit, candidates, fixed = learned
    rule = SurrogateDesigner(fit, candidates, fixed, price=0.25, scale=6000)
    assert isinstance(rule, Designer)
    rule.save(tmp_path / "rule.safetensors")
    again = SurrogateDesigner.load(tmp_path / "rule.safetensors")
    for task in WORLD.tasks(30, 4):
        design = rule.design(task, WORLD.agents)
        assert design == again.design(task, WORLD.agents[::-1], seed=5)
    named = designer(f"surrogate:weights={tmp_path / 'rule.safetensors'}")
    assert named.design(task, WORLD.agents) == design
    (tmp_path / "torn").write_bytes((tmp_path / "rule.safetensors").read_bytes()[:5000])
    with pytest.raises(ConfigError, match="torn"):
        SurrogateDesigner.load(tmp_path / "torn")


def test_dearer_tokens_are_never_used_more(learned) -> None:
    _, _, fit, candidates, fixed = learned
    tasks = WORLD.tasks(60, 4)
    spent = []
    for price in (0.02, 0.1, 0.25, 1.0, 4.0):
        rule = SurrogateDesigner(fit, candidates, fixed, price=price, scale=6000)
        predicted = [fit.predict(task, rule.candidates) for task in tasks]
        spent.append(np.array([p.tokens[rule.scores(p).argmax()] for p in predicted]))
    for cheap, dear in pairwise(spent):
        assert (dear <= cheap + 1e-9).all()
    assert spent[0].mean() > spent[-1].mean()


def test_the_rule_stays_where_the_networks_disagree(learned) -> None:
    _, _, fit, candidates, fixed = learned
    rule = SurrogateDesigner(fit, candidates, fixed, price=0.0, scale=6000, caution=1.0)
    sure = Prediction(np.array([[0.5, 0.6], [0.7, 0.8]]), np.ones(2))
    unsure = Prediction(np.array([[0.6, 0.3], [0.6, 1.0]]), np.ones(2))
    assert rule.scores(sure).argmax() == 1
    assert rule.scores(unsure).argmax() == 0


def test_the_spread_is_the_standard_error_of_a_mean() -> None:
    """For the mean of numbers, leaving out one of M parts in turn gives the textbook value."""
    draw = np.random.default_rng(0)
    parts = draw.normal(size=(10, 50))
    left = np.array([np.delete(parts, m, axis=0).mean() for m in range(10)])
    expected = parts.mean(axis=1).std(ddof=1) / 10**0.5
    assert spread(left[:, None])[0] == pytest.approx(expected)


def test_agents_of_one_kind_start_alike_and_others_do_not(learned) -> None:
    world = World()
    reader = Reader.fit([t.question for t in world.tasks(20)], world.agents)
    assert reader.kinds().tolist() == [*range(6), *range(6)]
    assert len(set(Reader.fit(["a", "b b"], world.blinded()).kinds())) == 12
    many = [WorldAgent(f"x{i}", f"role {i}", f"Knows {i * 7919}.") for i in range(40)]
    assert len(set(Reader.fit(["a", "b b"], many).kinds())) <= KINDS
    net = SurrogateNet.for_team(reader)
    with torch.no_grad():
        able = torch.sigmoid(net.agent(reader.nodes([a.id for a in world.agents])))
    assert torch.allclose(able[:6], able[6:], atol=1e-4)
    assert torch.allclose(able[:6].diag(), torch.tensor(0.9526), atol=1e-3)
    assert able[:6].sum() < 6 + 6 * 5 * 0.06


def test_following_a_first_surrogate_finds_more_than_chance(learned) -> None:
    _, _, fit, _, fixed = learned
    tasks = WORLD.tasks(150, 6)
    parts = sub_hypergraphs(fixed)
    price = {"price": 0.25, "scale": 6000.0}
    followed = follow(fit, parts, tasks, WORLD.execute, 150, **price)
    random_parts = explore(fixed, tasks, WORLD.execute, 150)
    means = [
        np.mean([WORLD.reward(t, o.hypergraph, **price) for t, o in zip(tasks, log, strict=True)])
        for log in (followed, random_parts)
    ]
    assert means[0] > means[1] + 0.1
    assert followed == follow(fit, parts, tasks, WORLD.execute, 150, **price)


def test_exploring_benches_one_most_often_and_never_runs_the_whole() -> None:
    world = World()
    anchor = portfolio(world.agents)["role_cover"]
    log = explore(anchor, world.tasks(800, 1), world.execute, 800)
    counts = np.bincount([len(o.hypergraph.seated()) for o in log], minlength=7)
    assert counts[6] == 0
    assert counts[5] == pytest.approx(800 * 16 / 31, abs=60)
    assert counts[1] > 0


def test_calibration_error_of_known_cases() -> None:
    p = np.repeat([0.2, 0.8], 500)
    right = np.concatenate([np.arange(500) < 100, np.arange(500) < 400]).astype(float)
    assert calibration_error(p, right, bins=2) == pytest.approx(0.0, abs=1e-12)
    assert calibration_error(np.full(1000, 0.9), right, bins=1) == pytest.approx(0.4)


def test_parts_of_an_anchor() -> None:
    nodes = ("a", "b", "c", "d")
    anchor = Hypergraph(nodes, (Hyperedge(("a", "b", "c")), Hyperedge(("c", "d"), phase=1)))
    parts = sub_hypergraphs(anchor)
    assert len(parts) == 2**4 - 1 == len({part.digest() for part in parts})
    assert anchor.canonical() in parts
    assert {len(part.seated()) for part in sub_hypergraphs(anchor, 2)} == {1, 2, 4}
    with pytest.raises(ConfigError, match="smaller size"):
        sub_hypergraphs(Hypergraph(nodes, (Hyperedge(nodes),)), most=10)


def test_the_race_finds_the_best_fixed_topology() -> None:
    world = World()
    graphs = portfolio(world.agents)
    for seed in range(3):
        found = race(
            graphs, world.tasks(50, seed), world.execute, 200, price=0.25, scale=6000, seed=seed
        )
        assert found.best == "role_cover"
        assert len(found.outcomes) <= 200


def test_too_little_is_refused(learned) -> None:
    log, tasks, fit, _, _ = learned
    with pytest.raises(ConfigError, match="at least 20"):
        Surrogate.fit(log[:3], tasks, WORLD.agents)
    with pytest.raises(ConfigError, match="unknown task"):
        Surrogate.fit(log, {}, WORLD.agents)
    with pytest.raises(ConfigError, match="zed"):
        fit.predict(WORLD.tasks(1)[0], [Hypergraph(("zed",), (Hyperedge(("zed",)),))])
