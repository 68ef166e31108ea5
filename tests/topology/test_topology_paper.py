"""The reconstruction of the withdrawn paper."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import combinations, product
from types import SimpleNamespace

import pytest
import torch
from scipy.stats import chisquare

from hyperagent.errors import ConfigError, HypergraphError
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.topology import PaperDesigner, designer
from hyperagent.topology.features import DIM
from hyperagent.topology.paper_net import Noise, PaperNet

# A tau at which the sketch is no step function, so that gradients can be compared.
SMOOTH = {"tau": 1.0, "temperature": 0.3}


def all_hypergraphs(names: list[str], k: int) -> list[Hypergraph]:
    """Everything that the agents can form when all of them open a group."""
    rows = [
        [tuple(sorted((a, *c))) for c in combinations([b for b in names if b != a], k)]
        for a in names
    ]
    found = {frozenset(draw) for draw in product(*rows)}
    return [Hypergraph(tuple(names), tuple(Hyperedge(g) for g in sorted(h))) for h in found]


def test_it_says_what_it_is() -> None:
    assert "Reconstruction from secondary descriptions of a withdrawn paper" in (
        PaperDesigner.__doc__ or ""
    )


@pytest.mark.parametrize("mode", ["sample", "mode"])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 12, 40])
def test_a_design_is_valid_and_its_log_prob_is_that_of_what_is_executed(
    mode: str, n: int, task, make_team
) -> None:
    paper = designer(f"paper:mode={mode}")
    design = paper.design(task, make_team(n), seed=3)
    graph = design.hypergraph
    assert design.name == "paper"
    assert {a.id for a in make_team(n)} == set(graph.nodes)
    assert graph.edges == Hypergraph(graph.nodes, graph.edges).canonical().edges
    assert all(len(e.members) == min(3, n) and e.phase == 0 for e in graph.edges)
    assert len(graph.edges) <= min(n, 32)
    assert Hypergraph.from_hif(graph.to_hif()) == graph
    seed = 3 if mode == "sample" else None
    log_prob = paper.log_prob(task, make_team(n), graph, seed=seed)
    assert log_prob.item() == pytest.approx(design.log_prob, abs=1e-9)
    assert -math.inf < design.log_prob <= 1e-9
    assert list(design.probabilities) == [f"e{i}" for i in range(len(graph.edges))]
    assert all(0 < p <= 1 + 1e-12 for p in design.probabilities.values())


@pytest.mark.parametrize(("n", "k"), [(3, 1), (4, 1), (4, 2)])
@pytest.mark.parametrize("seed", [None, 5])
def test_probabilities_of_all_hypergraphs_sum_to_one(n, k, seed, task, make_team) -> None:
    agents = make_team(n)
    paper = PaperDesigner(k=k)
    total = sum(
        paper.log_prob(task, agents, h, seed=seed).exp().item()
        for h in all_hypergraphs([a.id for a in agents], k)
    )
    assert total == pytest.approx(1, abs=1e-6)


def test_designs_come_as_often_as_their_log_prob_says(task, make_team) -> None:
    agents = make_team(4)
    paper = PaperDesigner(k=1, noise=False, temperature=0.5)
    draws = 1500
    seen: Counter[str] = Counter()
    said: dict[str, float] = {}
    for seed in range(draws):
        design = paper.design(task, agents, seed=seed)
        digest = design.hypergraph.digest()
        seen[digest] += 1
        assert said.setdefault(digest, design.log_prob) == pytest.approx(design.log_prob)
    table = {
        h.digest(): paper.log_prob(task, agents, h).exp().item()
        for h in all_hypergraphs([a.id for a in agents], 1)
    }
    assert set(said) <= set(table)
    assert all(math.exp(p) == pytest.approx(table[d]) for d, p in said.items())
    common = [d for d in table if table[d] * draws >= 5]
    expected = [table[d] * draws for d in common]
    observed = [seen[d] for d in common]
    rest = draws - sum(expected), draws - sum(observed)
    result = chisquare([*observed, rest[1] + 0.5], [*expected, rest[0] + 0.5])
    assert result.pvalue > 0.01


def test_noise_changes_the_policy_and_the_condition_is_the_seed(task, make_team) -> None:
    agents = make_team(5)
    paper = PaperDesigner()
    one, again, other, quiet = (paper.policy(task, agents, seed=s).logits for s in (1, 1, 2, None))
    assert torch.equal(one, again)
    assert not torch.allclose(one, other)
    assert not torch.allclose(one, quiet)
    calm = PaperDesigner(noise=False)
    assert torch.equal(calm.policy(task, agents, seed=1).logits, calm.policy(task, agents).logits)


def test_the_order_of_the_agents_does_not_matter(task, make_team) -> None:
    agents = make_team(9)
    for mode in ("sample", "mode"):
        paper = PaperDesigner(mode=mode)
        want = paper.design(task, agents, seed=1)
        for trial in range(3):
            mixed = random.Random(trial).sample(agents, len(agents))
            got = paper.design(task, mixed, seed=1)
            assert got.hypergraph == want.hypergraph
            assert got.log_prob == want.log_prob


@pytest.mark.parametrize("n", [5, 50, 300])
@pytest.mark.parametrize("noisy", [False, True])
def test_permuting_the_agents_permutes_every_affinity(n: int, noisy: bool) -> None:
    generator = torch.Generator().manual_seed(n)
    net = PaperNet(tau=1.0)
    x = torch.nn.functional.normalize(torch.randn(n + 1, DIM, generator=generator)).double()
    incidence = (torch.rand(n, 7, generator=generator) < 0.4).double()
    noise = Noise.draw(n, net.latent, generator) if noisy else None
    p = torch.randperm(n, generator=generator)
    with_task = torch.cat([p, torch.tensor([n])])
    mixed = noise and Noise(noise.latent[with_task], noise.sketch[p][:, p])
    # Truncation keeps a spectrum's top part; equivariance then holds where the gap is clear.
    for rank in (n, 2):
        options = {"rank": rank, "zeta": 0.1}
        want = net.affinities(x, incidence, noise, **options)[p][:, p]
        got = net.affinities(x[with_task], incidence[p], mixed, **options)
        assert (got - want).abs().max() <= 1e-5


def test_the_task_changes_the_design(task, make_team) -> None:
    agents = make_team(6)
    other = replace(task, question="Which court decides on constitutional appeals?")
    paper = PaperDesigner(mode="mode", zeta=0.0)
    one, two = (paper.policy(t, agents).logits for t in (task, other))
    assert not torch.allclose(one, two)


def test_log_prob_has_the_right_gradient(task, make_team) -> None:
    agents = make_team(5)
    paper = PaperDesigner(**SMOOTH)
    graph = paper.design(task, agents, seed=2).hypergraph
    log_prob = paper.log_prob(task, agents, graph, seed=2)
    log_prob.backward()
    named = dict(paper.net.named_parameters())
    for name in ("out.weight", "from_i.weight", "mean.1.theta", "log_sigma.0.theta"):
        parameter = named[name]
        direction = parameter.grad / parameter.grad.norm()
        step = 1e-5
        with torch.no_grad():
            parameter += step * direction
            up = paper.log_prob(task, agents, graph, seed=2).item()
            parameter -= 2 * step * direction
            down = paper.log_prob(task, agents, graph, seed=2).item()
            parameter += step * direction
        slope = (up - down) / (2 * step)
        assert slope == pytest.approx(parameter.grad.norm().item(), rel=1e-4), name


def test_a_step_along_the_gradient_makes_a_design_likelier(task, make_team) -> None:
    agents = make_team(6)
    paper = PaperDesigner(**SMOOTH, noise=False)
    wanted = Hypergraph(
        tuple(a.id for a in agents),
        (Hyperedge(("agent0", "agent2", "agent4")), Hyperedge(("agent1", "agent3", "agent5"))),
    )
    optimiser = torch.optim.Adam(paper.net.parameters(), lr=0.01)
    first = paper.log_prob(task, agents, wanted).item()
    for _ in range(30):
        optimiser.zero_grad()
        (-paper.log_prob(task, agents, wanted)).backward()
        optimiser.step()
    assert paper.log_prob(task, agents, wanted).item() > first + 1


def test_slots_limit_who_opens_a_group(task, make_team) -> None:
    agents = make_team(12)
    design = PaperDesigner(slots=3, k=1).design(task, agents, seed=0)
    best = {"agent0", "agent1", "agent2"}
    assert len(design.hypergraph.edges) <= 3
    assert all(best & set(e.members) for e in design.hypergraph.edges)
    assert design.hypergraph.benched()


def test_towards_zero_temperature_sampling_is_the_described_top_k(task, make_team) -> None:
    agents = make_team(7)
    cold = PaperDesigner(temperature=1e-9, noise=False)
    want = PaperDesigner(mode="mode").design(task, agents).hypergraph
    assert cold.design(task, agents, seed=4).hypergraph == want


def test_what_cannot_be_drawn(task, make_team) -> None:
    agents, paper = make_team(4), PaperDesigner()
    nodes = tuple(a.id for a in agents)
    for edges in (
        (),
        (Hyperedge(nodes),),
        (Hyperedge(nodes[:3]),),
        (Hyperedge(nodes[:3]), Hyperedge(nodes[1:], phase=1)),
        (Hyperedge(nodes[:3]), Hyperedge(nodes[1:], mode="verify")),
    ):
        assert paper.log_prob(task, agents, Hypergraph(nodes, edges)).item() == -math.inf
    with pytest.raises(HypergraphError, match="'zoe'"):
        paper.log_prob(task, agents, Hypergraph((*nodes, "zoe")))


def test_every_process_draws_the_same(task) -> None:
    names = [f"a{i}" for i in range(6)]
    team = [SimpleNamespace(id=n, role="r", profile=None, reliability=None) for n in names]
    ask = SimpleNamespace(id="q", question="how many?")
    want = [designer("paper").design(ask, team, seed=s).hypergraph.digest() for s in (0, 1)]
    assert want[0] != want[1]
    code = (
        "from types import SimpleNamespace as N; from hyperagent.topology import designer\n"
        "team = [N(id=f'a{i}', role='r', profile=None, reliability=None) for i in range(6)]\n"
        "t = N(id='q', question='how many?')\n"
        "print([designer('paper').design(t, team, seed=s).hypergraph.digest() for s in (0, 1)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "1"},
    )
    assert done.stdout.strip() == str(want)


def test_building_one_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(0)
    want = torch.rand(1)
    torch.manual_seed(0)
    PaperDesigner(init=3)
    assert torch.equal(torch.rand(1), want)


def test_weights_are_saved_and_loaded(tmp_path, task, make_team) -> None:
    path = tmp_path / "paper.safetensors"
    trained = PaperDesigner(init=9)
    trained.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["paper.safetensors"]
    agents = make_team(5)
    want = trained.policy(task, agents).logits
    assert torch.equal(PaperDesigner(weights=path).policy(task, agents).logits, want)
    assert torch.equal(designer(f"paper:weights={path}").policy(task, agents).logits, want)
    assert not torch.equal(PaperDesigner().policy(task, agents).logits, want)


@pytest.mark.parametrize("content", [None, b"not safetensors", "other"])
def test_weights_that_cannot_be_used_are_named(tmp_path, content) -> None:
    path = tmp_path / "bad.safetensors"
    if content == "other":
        from safetensors.torch import save_file

        save_file({"x": torch.zeros(2)}, path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"bad\.safetensors"):
        PaperDesigner(weights=path)
