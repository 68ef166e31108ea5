"""The designer's network: order of agents, seats, cost, and that it can learn."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.topology.difficulty import difficulty
from hyperagent.topology.features import encode_texts
from hyperagent.topology.plan_net import TASK, PlanNet, SlotLogits, default_slots
from hyperagent.topology.seats import WIDTH, agent_features
from hyperagent.topology.slots import SlotDistribution


@pytest.fixture
def net() -> PlanNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PlanNet()


def inputs(n: int, anchored: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    incidence = (torch.rand(n, anchored, generator=generator) < 0.3).float()
    incidence[0] = 1.0
    agents = torch.randn(n, WIDTH, generator=generator)
    return agents, torch.randn(TASK, generator=generator), incidence


def clones(n: int):
    """Real features of agents that differ in nothing but their id."""
    same = {"role": "solver", "profile": "solves", "reliability": None}
    team = [SimpleNamespace(id=f"agent{i}", **same) for i in range(n)]
    return torch.from_numpy(agent_features(team))


def question(text: str):
    return torch.from_numpy(np.concatenate([encode_texts([text])[0], difficulty(text)]))


@pytest.mark.parametrize(("n", "slots", "anchored"), [(5, 10, 3), (50, 16, 4), (1000, 64, 20)])
def test_permuting_the_agents_permutes_the_logits(net, n, slots, anchored) -> None:
    agents, task, incidence = inputs(n, anchored)
    noise = torch.randn(16, generator=torch.Generator().manual_seed(1))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        net.residual.fill_(1.0)
        one = net(agents, task, incidence, slots, noise)
        two = net(agents[order], task, incidence[order], slots, noise)
        far = net.posterior(net.encode(agents, task, incidence)).mean
        near = net.posterior(net.encode(agents[order], task, incidence[order])).mean
    assert one.members.shape == (n, slots)
    assert (one.members[order] - two.members).abs().max() < 1e-5
    assert (one.gates - two.gates).abs().max() < 1e-5
    assert (far - near).abs().max() < 1e-5
    assert one.members.std() > 0.1


def test_the_order_of_the_anchors_hyperedges_does_not_change_what_is_known(net) -> None:
    agents, task, incidence = inputs(8, 4)
    one = net.encode(agents, task, incidence)
    two = net.encode(agents, task, incidence[:, [2, 0, 3, 1]])
    assert (one.agents - two.agents).abs().max() < 1e-5
    assert (one.edges[[2, 0, 3, 1, 4]] - two.edges).abs().max() < 1e-5


def test_seats_tell_equal_profiles_apart_and_without_them_nothing_does(net) -> None:
    _, task, _ = inputs(6, 1)
    everybody = torch.ones(6, 1)
    with torch.no_grad():
        seated = net(clones(6), task, everybody, 4).members
        blind = net(clones(1).expand(6, -1), task, everybody, 4).members
    assert blind.std(0).max() < 1e-6
    assert seated.std(0).min() > 1e-3


def test_it_sees_the_topology_when_all_profiles_are_equal(net) -> None:
    """Star and complete graph; without seats little but the number of hyperedges is seen."""
    _, task, _ = inputs(5, 1)
    pairs = [(i, j) for i in range(5) for j in range(i)]
    complete, star = torch.zeros(5, len(pairs)), torch.zeros(5, 4)
    for column, pair in enumerate(pairs):
        complete[list(pair), column] = 1.0
    star[0], star[torch.arange(1, 5), torch.arange(4)] = 1.0, 1.0
    gaps = []
    with torch.no_grad():
        for agents in (clones(5), clones(1).expand(5, -1)):
            one, two = (net.posterior(net.encode(agents, task, h)).mean for h in (star, complete))
            gaps.append((one - two).norm())
    assert gaps[0] > 3 * gaps[1]


@pytest.mark.parametrize("n", [1, 4, 8, 64, 1000])
def test_untrained_it_is_the_anchor_slightly_disturbed(net, n: int) -> None:
    agents, task, _ = inputs(n, 1)
    group = torch.zeros(n, 1)
    group[:3] = 1.0
    with torch.no_grad():
        gates, members = net(agents, task, group, 6)
    p = SlotDistribution(gates, members, [f"n{i}" for i in range(n)])
    assert (
        p.mode()
        == Hypergraph(p.nodes, (Hyperedge(tuple(f"n{i}" for i in range(min(3, n)))),)).canonical()
    )
    outsiders = p.member_logits.sigmoid().sum(0) - p.member_logits[:3, 0].sigmoid().sum()
    assert outsiders[0] < 2.5, "a group invites about one outsider in a team of any size"


def test_default_slots() -> None:
    assert [default_slots(n) for n in (1, 2, 4, 5, 6, 9, 16, 25, 26, 1000)] == [
        min(16, 2 * math.ceil(math.sqrt(n)) + 4) for n in (1, 2, 4, 5, 6, 9, 16, 25, 26, 1000)
    ]


def test_every_parameter_has_a_gradient(net) -> None:
    agents, task, incidence = inputs(6, 2)
    noise = torch.randn(16, generator=torch.Generator().manual_seed(1))
    known = net.encode(agents, task, incidence)
    q, p = net.posterior(known), net.prior(task)
    gates, members = net.decode(known, q.draw(noise), incidence, 10)
    target = Hypergraph(tuple("abcdef"), (Hyperedge(("a", "b")), Hyperedge(("d",))))
    loss = -SlotDistribution(gates, members, "abcdef").log_prob(target)
    (
        loss + (q.mean - p.mean).square().sum() + (q.log_sigma - p.log_sigma).square().sum()
    ).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_it_learns_to_imitate_a_hypergraph_per_task(net) -> None:
    """Two tasks, two targets far from the anchor, equal profiles: 100 steps."""
    agents, anchor = clones(6), torch.ones(6, 1)
    tasks = [question("What is 3 times 4?"), question("Who wrote the letter, and why?")]
    nodes = tuple("abcdef")
    targets = [
        Hypergraph(nodes, (Hyperedge(("b", "e")), Hyperedge(("c",)))),
        Hypergraph(nodes, (Hyperedge(("a", "d", "f")),)),
    ]

    def log_prob(i: int, j: int) -> torch.Tensor:
        return SlotDistribution(*net(agents, tasks[i], anchor, 6), nodes).log_prob(targets[j])

    before = log_prob(0, 0).item()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(100):
        loss = -(log_prob(0, 0) + log_prob(1, 1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert before < math.log(0.01)
    assert log_prob(0, 0).item() > math.log(0.9)
    assert log_prob(1, 1).item() > math.log(0.9)
    assert log_prob(0, 1).item() < math.log(0.05), "the plan depends on the task"


def test_wrong_numbers_of_slots_are_named(net) -> None:
    agents, task, incidence = inputs(6, 3)
    for slots in (2, 65):
        with pytest.raises(ConfigError, match=f"got {slots}"):
            net(agents, task, incidence, slots)
    with pytest.raises(ConfigError, match="multiple"):
        PlanNet(width=30)


@pytest.mark.parametrize(("n", "slots", "goal"), [(6, 10, 2e-3), (1000, 64, 60e-3)])
def test_a_forward_pass_is_quick(net, n: int, slots: int, goal: float) -> None:
    agents, task, incidence = inputs(n, 8)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        best = math.inf
        with torch.no_grad():
            for _ in range(12):
                start = time.process_time()
                logits = net(agents, task, incidence, slots)
                best = min(best, time.process_time() - start)
    finally:
        torch.set_num_threads(threads)
    assert isinstance(logits, SlotLogits)
    assert best < 3 * goal


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_a_thousand_agents_need_little_memory() -> None:
    # Not ru_maxrss: a child starts with the peak of its parent, here of the whole test run.
    code = (
        "import re, torch; from hyperagent.topology.plan_net import *; "
        "torch.manual_seed(0); net = PlanNet(); h = torch.zeros(1000, 64); h[:64] = torch.eye(64)\n"
        "with torch.no_grad(): net(torch.randn(1000, WIDTH), torch.randn(TASK), h, 64)\n"
        "print(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 350e3, "kB, of which torch itself takes 220"
