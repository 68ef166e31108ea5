"""Peers: how graphs are executed, and what each paper claims or each fault predicts."""

from __future__ import annotations

import asyncio
import math
import random
from itertools import product

import numpy as np
import pytest
import torch

from hyperagent.errors import ConfigError, HypergraphError
from hyperagent.hypergraph import Hypergraph
from hyperagent.llm import FunctionBackend
from hyperagent.tasks import Task
from hyperagent.team import Agent, Result, Routing, Team
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
from hyperagent.topology.peers.dag import ArcDistribution, arcs_of, as_phases
from hyperagent.topology.peers.gdesigner_net import ReleasedNet

# Directed graphs.


def all_graphs(n: int) -> list[set[tuple[int, int]]]:
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    graphs = []
    for bits in product((False, True), repeat=len(pairs)):
        arcs = {pair for pair, bit in zip(pairs, bits, strict=True) if bit}
        try:
            as_phases([str(i) for i in range(n)], arcs)
        except HypergraphError:
            continue
        graphs.append(arcs)
    return graphs


def test_probabilities_of_all_directed_acyclic_graphs_sum_to_one() -> None:
    graphs = all_graphs(3)
    assert len(graphs) == 25, "the number of labelled acyclic graphs of three nodes"
    logits = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    policy = ArcDistribution(logits, "abc")
    total = sum(policy.log_prob(arcs).exp().item() for arcs in graphs)
    assert total == pytest.approx(1, abs=1e-12)
    assert policy.log_prob({(0, 1), (1, 0)}).item() == -math.inf


def test_different_directed_graphs_are_executed_differently() -> None:
    nodes = ("a", "b", "c", "d")
    graphs = all_graphs(4)
    assert len(graphs) == 543
    digests = set()
    for arcs in graphs:
        graph = as_phases(nodes, arcs)
        assert arcs_of(nodes, graph) == arcs
        assert graph.seated() == nodes
        digests.add(graph.digest())
    assert len(digests) == 543


def test_draws_come_as_often_as_their_log_prob_says() -> None:
    logits = torch.tensor([[0.0, 1.0, -1.0], [0.5, 0.0, 0.3], [-0.2, 0.8, 0.0]]).double()
    policy = ArcDistribution(logits, "abc")
    generator, draws = torch.Generator().manual_seed(0), 4000
    seen: dict[frozenset, int] = {}
    for _ in range(draws):
        arcs = frozenset(policy.sample(generator))
        seen[arcs] = seen.get(arcs, 0) + 1
    for arcs in all_graphs(3):
        p = policy.log_prob(arcs).exp().item()
        assert abs(seen.get(frozenset(arcs), 0) - draws * p) <= 4.5 * math.sqrt(draws * p) + 3


def solve(spec: str | Designer, said, *, n: int = 3, **routing: object) -> tuple[Result, list]:
    """Run a team whose agent `a` says ``said(a, sample, earlier calls of a)``."""
    requests: list = []

    def reply(request) -> str:
        earlier = [r for r in requests if r.context.agent == request.context.agent]
        requests.append(request)
        agent = request.context.agent.partition("#")[0]
        answer = said(agent, request.sample, len(earlier))
        return f"NOTE\nanswer: {answer}\nconfidence: 0.8"

    agents = [Agent(f"a{i}", reliability=0.9 - i / 20) for i in range(n)]
    team = Team(agents, spec, FunctionBackend(reply), routing=Routing(**routing))
    return asyncio.run(team.solve(Task("How many?", "q", "1"))), requests


class Given:
    name = "given"

    def __init__(self, arcs: set[tuple[int, int]]) -> None:
        self.arcs = arcs

    def design(self, task, agents, *, seed: int = 0) -> Design:
        return Design(as_phases([a.id for a in agents], self.arcs))


@pytest.mark.parametrize("arcs", all_graphs(3), ids=str)
def test_a_node_reads_its_predecessors_and_nobody_else(arcs: set[tuple[int, int]]) -> None:
    _, requests = solve(Given(arcs), lambda agent, *_: agent[1], rounds=0, decision="never")
    assert len(requests) == 3, "everybody speaks once"
    for request in requests:
        reader = int(request.context.agent[1])
        for other in range(3):
            read = f"[note from a{other}]" in request.text
            assert read == ((other, reader) in arcs)


# GPTSwarm and AgentPrune.


def arc_world(harm: dict[str, float], *, base: float = 0.9):
    """Reward 1 with probability `base`, lowered for each arc ``"ij"`` of `harm`; 1 token an arc."""

    def execute(task, graph: Hypergraph, seed: int) -> Outcome:
        names = sorted(graph.nodes)
        arcs = arcs_of(names, graph)
        p = base - sum(loss for arc, loss in harm.items() if (int(arc[0]), int(arc[1])) in arcs)
        correct = float(random.Random(f"{seed} {graph.digest()}").random() < p)
        return Outcome(task.id, graph, correct, 1.0 + len(arcs))

    return execute


TEAM = [Agent(f"a{i}") for i in range(3)]
TASKS = [Task(f"Question {i}?", f"q{i}", "1") for i in range(8)]


def test_gptswarm_drops_a_harmful_arc_and_lets_a_harmless_one_drift() -> None:
    """Rewards know no price, so that nothing speaks against a harmless arc: over seeds it stays
    at 1/2 in the mean. A single training can lose it by chance all the same."""
    harmful, harmless = [], []
    for seed in range(20):
        peer = GptSwarm()
        peer.fit(TASKS, TEAM, arc_world({"01": 0.7}), episodes=200, seed=seed)
        p = peer.policy(TEAM).probabilities
        harmful.append(p[0, 1].item())
        harmless.append(p[0, 2].item())
    assert max(harmful) < 0.2
    assert abs(np.mean(harmless) - 0.5) < 3 * np.std(harmless) / math.sqrt(20)
    assert min(harmless) < 0.3
    assert max(harmless) > 0.7


def test_a_moving_average_stops_the_drift_where_all_rewards_are_equal() -> None:
    """Without it a constant reward reinforces whatever was drawn."""
    spread = {}
    for baseline in (False, True):
        ends = []
        for seed in range(6):
            peer = GptSwarm(baseline=baseline)
            peer.fit(TASKS, TEAM, arc_world({}, base=1.1), episodes=200, seed=seed)
            ends += [peer.policy(TEAM).probabilities[arc].item() for arc in ((0, 1), (0, 2))]
        spread[baseline] = np.std(ends)
    assert spread[True] < 0.8 * spread[False]


@pytest.mark.parametrize(("rate", "left"), [(0, 6), (0.5, 3), (0.7, 2), (1, 0)])
def test_agentprune_prunes_the_share_it_is_told_and_freezes(rate: float, left: int) -> None:
    peer = AgentPrune(rate=rate)
    peer.fit(TASKS, TEAM, arc_world({"01": 0.8}), episodes=80, seed=1)
    kept = peer.policy(TEAM).probabilities > 0
    assert int(kept.sum()) == left
    if 0 < rate < 1:
        assert not kept[0, 1], "the harmful arc is among the lowest"
        lowest = peer.logits[peer.kept].min()
        off = ~torch.eye(3, dtype=torch.bool) & ~peer.kept
        assert peer.logits[off].max() <= lowest
    digests = [peer.design(TASKS[0], TEAM, seed=s) for s in range(30)]
    drawn = set().union(*(arcs_of(["a0", "a1", "a2"], d.hypergraph) for d in digests))
    assert all(kept[arc] for arc in drawn)
    assert all(math.isfinite(d.log_prob) for d in digests)


def test_the_nuclear_norm_makes_the_probabilities_smaller() -> None:
    norms = []
    for zeta in (0.0, 0.1, 1.0):
        peer = AgentPrune(zeta=zeta, rate=0.0)
        peer.fit(TASKS, TEAM, arc_world({}, base=0.0), episodes=80, seed=1)
        norms.append(torch.linalg.matrix_norm(peer.policy(TEAM).probabilities, "nuc").item())
    assert norms[0] > norms[1] > norms[2]


# G-Designer.


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("init", range(4))
def test_released_probabilities_are_confined_whatever_the_weights(
    init: int, scale: float, task, make_team
) -> None:
    peer = GDesigner(released=True, init=init)
    with torch.no_grad():
        for parameter in peer.net.parameters():
            parameter.mul_(scale)
    p = peer.policy(task, make_team(6)).probabilities
    low, high = 1 / (1 + math.e), math.e / (1 + math.e)
    assert p.min().item() >= low - 1e-12
    assert p.max().item() <= high + 1e-12
    assert torch.allclose(p, p.T), "symmetric: the order of the agents gives the direction"


def test_released_training_does_not_touch_the_projection_and_cannot_leave_the_bounds() -> None:
    peer = GDesigner(released=True)
    before = {k: v.clone() for k, v in peer.net.state_dict().items()}
    peer.fit(TASKS, TEAM, arc_world({"01": 0.9, "02": 0.9, "12": 0.9}), episodes=40)
    after = peer.net.state_dict()
    for name, value in before.items():
        assert torch.equal(value, after[name]) == name.startswith("project"), name
    p = peer.policy(TASKS[0], TEAM).probabilities
    assert p.min() > 0.268
    assert p.max() < 0.732


def test_released_and_published_disagree_about_how_sparse_a_graph_can_be(task, make_team) -> None:
    """Ten pairs of five agents: the released graph keeps about half whatever was learned."""
    agents = make_team(5)
    peer = GDesigner(released=True)
    sizes = [
        len(arcs_of([a.id for a in agents], peer.design(task, agents, seed=s).hypergraph))
        for s in range(100)
    ]
    assert 4 < np.mean(sizes) < 9


def test_equal_agents_have_equal_scores_in_the_released_net() -> None:
    net = ReleasedNet().eval()
    x = torch.ones(4, 768, dtype=torch.float64)
    assert net(x, torch.ones(4, 4).double().fill_diagonal_(0)).abs().max() == 0


def test_the_published_penalty_pulls_towards_the_anchor() -> None:
    """With no reward at all only the anchor and the nuclear norm are left to learn from."""
    peer = GDesigner(samples=1, tau=1.0)
    chain = torch.tensor([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).double()

    def distance() -> float:
        drawn = [peer.policy(TASKS[0], TEAM, seed=s).probabilities for s in range(30)]
        return np.mean([(p - chain).square().sum().item() for p in drawn])

    before = distance()
    peer.fit(TASKS, TEAM, arc_world({}, base=0.0), episodes=80)
    assert distance() < before


def test_the_published_graph_depends_on_the_task(make_team) -> None:
    peer, agents = GDesigner(tau=1.0), make_team(5)
    first, second = (peer.policy(t, agents).probabilities for t in TASKS[:2])
    assert not torch.allclose(first, second)
    with pytest.raises(ConfigError, match="no graph"):
        GDesigner(anchor="group").design(TASKS[0], agents)


# DyLAN.


def test_dylan_stops_after_the_layer_in_which_more_than_two_thirds_agree() -> None:
    result, requests = solve("dylan", lambda *_: "1")
    assert (result.opened_phases, len(requests)) == (1, 3)
    # Two of three are not enough; in layer two the third comes round.
    later = solve("dylan", lambda a, s, earlier: "2" if a == "a2" and not earlier else "1",
                  gate=None)  # fmt: skip
    assert (later[0].opened_phases, len(later[1])) == (2, 6)
    assert all("note from" in r.text for r in later[1][3:]), "layer two reads layer one"
    never = solve("dylan:layers=4", lambda a, *_: a[1], decision="never")
    assert (never[0].opened_phases, len(never[1])) == (4, 12)


def test_dylan_seats_the_agents_that_matter() -> None:
    """Reward needs a3; the most reliable on paper is useless."""
    agents = [Agent(f"a{i}", reliability=0.9 - i / 20) for i in range(5)]

    def execute(task, graph: Hypergraph, seed: int) -> Outcome:
        p = 0.9 if "a3" in graph.seated() else 0.3
        return Outcome(task.id, graph, float(random.Random(f"{seed}").random() < p), 1.0)

    peer = Dylan(size=2)
    assert len(peer.design(TASKS[0], agents).hypergraph.seated()) == 5
    peer.fit(TASKS, agents, execute, episodes=120)
    assert max(peer.importance, key=peer.importance.get) == "a3"
    assert "a3" in peer.design(TASKS[0], agents).hypergraph.seated()
    assert len(peer.design(TASKS[0], agents).hypergraph.seated()) == 2


# Samples and votes.


def test_esc_stops_at_a_window_of_one_mind_and_never_passes_its_cap() -> None:
    result, requests = solve("esc:window=3,cap=10", lambda *_: "1")
    assert (result.answer, len(requests)) == ("1", 3)
    assert {r.context.agent.partition("#")[0] for r in requests} == {"a0"}
    # The first window disagrees, the second does not.
    result, requests = solve("esc:window=3,cap=10", lambda a, sample, _: "2" if not sample else "1")
    assert (result.answer, len(requests)) == ("1", 6)
    result, requests = solve(
        "esc:window=3,cap=10", lambda a, sample, _: str(sample % 2), decision="never"
    )
    assert len(requests) == 10, "the last window is cut at the cap"


def test_adaptive_consistency_asks_four_times_when_all_agree() -> None:
    result, requests = solve("adaptive", lambda *_: "1")
    assert (result.answer, len(requests)) == ("1", 4)
    result, requests = solve("adaptive:cap=7", lambda a, sample, _: str(sample % 2),
                             decision="never")  # fmt: skip
    assert len(requests) == 7


def test_consistency_samples_the_agent_that_the_anchor_samples(task, make_team) -> None:
    agents = [type(a)(a.id) for a in make_team(3)][::-1]
    anchor = designer("self_consistency:k=4").design(task, agents).hypergraph
    assert designer("esc:cap=4").design(task, agents).hypergraph.seated() == anchor.seated()


def test_plurality_asks_everybody_once_and_alone() -> None:
    said = {"a0": "1", "a1": "2", "a2": "2"}
    result, requests = solve("plurality", lambda a, *_: said[a], vote="plurality")
    assert (result.answer, len(requests)) == ("2", 3)
    assert all("note from" not in request.text for request in requests)


# Router.


def router_rows(n: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Each of two agents is right on questions of its own words."""
    draw = random.Random(seed)
    words = (("triangle", "angle", "circle"), ("contract", "statute", "verdict"))
    kinds = [draw.randrange(2) for _ in range(n)]
    texts = [f"Explain the {draw.choice(words[k])} of {draw.randrange(99)}." for k in kinds]
    rows = [[float(draw.random() < (0.9 if k == j else 0.3)) for j in (0, 1)] for k in kinds]
    return texts, np.array(rows)


def test_the_router_picks_one_agent_by_the_question_and_beats_either() -> None:
    agents = [Agent("ann"), Agent("bob")]
    router = Router()
    texts, correct = router_rows(300, 1)
    router.fit_rows(["ann", "bob"], texts, correct, np.full((300, 2), 100.0))
    texts, correct = router_rows(200, 2)
    chosen = []
    for i, text in enumerate(texts):
        seated = router.design(Task(text, f"q{i}"), agents).hypergraph.seated()
        assert len(seated) == 1
        chosen.append(("ann", "bob").index(seated[0]))
    assert correct[np.arange(200), chosen].mean() > correct.mean(axis=0).max() + 0.15


def test_a_price_moves_the_router_to_the_cheap_agent() -> None:
    texts, correct = router_rows(300, 1)
    costs = np.tile([10.0, 100.0], (300, 1))
    shares = []
    for price in (0.0, 0.2, 2.0):
        router = Router(price=price)
        router.fit_rows(["ann", "bob"], texts, correct, costs)
        picks = [router.values(text, ["ann", "bob"]).argmax() for text in texts]
        shares.append(np.mean(picks))
    assert shares[0] > shares[1] > shares[2] == 0
    with pytest.raises(ConfigError, match="shape"):
        Router().fit_rows(["ann"], texts, correct, costs)
    correct[:, 1] = np.nan
    with pytest.raises(ConfigError, match="'bob' was never asked"):
        Router().fit_rows(["ann", "bob"], texts, correct, costs)
