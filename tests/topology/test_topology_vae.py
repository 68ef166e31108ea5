"""The variational designer: exact, deterministic, blind to order, savable, able to learn."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from itertools import combinations
from types import SimpleNamespace

import pytest
import torch
from scipy.stats import chisquare

from hyperagent.errors import ConfigError, HypergraphError
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.topology import designer
from hyperagent.topology.objective import kl_free_bits
from hyperagent.topology.slots import log_probs
from hyperagent.topology.vae import VaeDesigner


def all_hypergraphs(names: list[str], most: int) -> list[Hypergraph]:
    groups = [c for size in range(1, len(names) + 1) for c in combinations(sorted(names), size)]
    return [
        Hypergraph(tuple(names), tuple(map(Hyperedge, chosen)))
        for count in range(1, most + 1)
        for chosen in combinations(groups, count)
    ]


@pytest.mark.parametrize("mode", ["sample", "mode"])
@pytest.mark.parametrize("n", [1, 2, 3, 6, 12, 40])
def test_a_design_is_valid_and_its_log_prob_is_that_of_what_is_executed(
    mode: str, n: int, task, make_team
) -> None:
    vae = designer(f"vae:mode={mode}")
    design = vae.design(task, make_team(n), seed=3)
    graph = design.hypergraph
    assert design.name == "vae"
    assert {a.id for a in make_team(n)} == set(graph.nodes)
    assert graph.edges == graph.canonical().edges
    assert graph.edges
    assert Hypergraph.from_hif(graph.to_hif()) == graph
    seed = 3 if mode == "sample" else None
    log_prob = vae.log_prob(task, make_team(n), graph, seed=seed)
    assert log_prob.item() == pytest.approx(design.log_prob, abs=1e-9)
    assert -math.inf < design.log_prob <= 1e-9
    assert list(design.probabilities) == [f"e{i}" for i in range(len(graph.edges))]
    assert all(0 < p <= 1 + 1e-12 for p in design.probabilities.values())
    assert all(math.log(p) >= design.log_prob - 1e-9 for p in design.probabilities.values())


def test_many_groups_are_designed_though_their_exact_sum_is_out_of_reach(task, make_team) -> None:
    design = VaeDesigner(anchor="chain", slots=64, mode="mode").design(task, make_team(40))
    assert len(design.hypergraph.edges) > 30
    assert math.isnan(design.log_prob)
    assert all(0 < p <= 1 for p in design.probabilities.values())


@pytest.mark.parametrize("seed", [None, 5])
def test_probabilities_of_all_hypergraphs_sum_to_one(seed, task, make_team) -> None:
    agents = make_team(3)
    policy = VaeDesigner(slots=3).policy(task, agents, seed=seed)
    total = sum(policy.log_prob(h).exp().item() for h in all_hypergraphs(list(policy.nodes), 3))
    assert total == pytest.approx(1, abs=1e-6)


def test_designs_come_as_often_as_their_log_prob_says(task, make_team, monkeypatch) -> None:
    """With the plan held at its mean every seed draws from one distribution."""
    agents, vae = make_team(3), VaeDesigner(slots=2)
    monkeypatch.setattr(vae, "noise", lambda seed, task: torch.zeros(16))
    draws = 1000
    seen = Counter(vae.design(task, agents, seed=s).hypergraph.digest() for s in range(draws))
    graphs = all_hypergraphs([a.id for a in agents], 2)
    policy = vae.policy(task, agents)
    expected = {h.digest(): policy.log_prob(h).exp().item() * draws for h in graphs}
    assert set(seen) <= set(expected)
    common = [d for d in expected if expected[d] >= 5]
    wanted, observed = [expected[d] for d in common], [seen[d] for d in common]
    wanted.append(draws - sum(wanted) + 0.5)
    observed.append(draws - sum(observed) + 0.5)
    assert chisquare(observed, wanted).pvalue > 0.01


@pytest.mark.parametrize("mode", ["sample", "mode"])
def test_the_order_of_the_agents_does_not_matter(mode: str, task, make_team) -> None:
    agents = make_team(9)
    vae = VaeDesigner(mode=mode, anchor="windows")
    want = vae.design(task, agents, seed=1)
    for trial in range(3):
        random.Random(trial).shuffle(agents)
        assert vae.design(task, agents, seed=1) == want


def test_seed_task_and_init_matter(task, make_team) -> None:
    agents, vae = make_team(8), VaeDesigner()
    graphs = {vae.design(task, agents, seed=s).hypergraph.digest() for s in range(20)}
    assert len(graphs) > 10
    one = vae.policy(task, agents, seed=1).member_logits
    assert not torch.equal(one, vae.policy(task, agents, seed=2).member_logits)
    other = replace(task, question="Name the capital of France.")
    assert not torch.equal(one, vae.policy(other, agents, seed=1).member_logits)
    assert not torch.equal(one, VaeDesigner(init=1).policy(task, agents, seed=1).member_logits)


def test_another_process_draws_the_same(task, make_team) -> None:
    code = (
        "from types import SimpleNamespace as N; from hyperagent.topology import designer; "
        "team = [N(id=c, role='r', profile='', reliability=None) for c in 'abcdef']; "
        "d = designer('vae').design(N(id='t', question='How many?'), team, seed=4); "
        "print(d.hypergraph.digest(), f'{d.log_prob:.9f}')"
    )
    got = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    team = [SimpleNamespace(id=c, role="r", profile="", reliability=None) for c in "fedcba"]
    here = designer("vae").design(SimpleNamespace(id="t", question="How many?"), team, seed=4)
    assert got == {f"{here.hypergraph.digest()} {here.log_prob:.9f}\n"}


def test_making_one_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    VaeDesigner(init=9)
    assert torch.equal(torch.rand(3), want)


def test_untrained_it_is_its_anchor(task, make_team) -> None:
    for anchor in ("group", "single", "bridge", "pair", "chain"):
        vae = VaeDesigner(anchor=anchor, mode="mode")
        got = vae.design(task, make_team(4)).hypergraph
        want = designer(anchor).design(task, make_team(4)).hypergraph
        members = {tuple(sorted(edge.members)) for edge in want.edges}
        assert {edge.members for edge in got.edges} == members


def test_a_saved_designer_comes_back(tmp_path, task, make_team) -> None:
    one = VaeDesigner(anchor="bridge", slots=7, prices={"small": 0.2}, init=3)
    with torch.no_grad():
        one.net.residual.fill_(0.7)
    one.save(tmp_path / "run" / "best")
    assert sorted(p.name for p in (tmp_path / "run" / "best").iterdir()) == [
        "config.json",
        "weights.safetensors",
    ]
    want = one.design(task, make_team(6), seed=2)
    assert VaeDesigner.load(tmp_path / "run" / "best").design(task, make_team(6), seed=2) == want
    by_name = designer(f"vae:weights={tmp_path / 'run' / 'best'}")
    assert by_name.design(task, make_team(6), seed=2) == want
    assert (by_name.anchor, by_name.slots, by_name.prices) == ("bridge", 7, {"small": 0.2})
    assert VaeDesigner(weights=tmp_path / "run" / "best", slots=5).slots == 5
    config = tmp_path / "run" / "best" / "config.json"
    config.write_text(json.dumps({"format": 99}))
    with pytest.raises(ConfigError, match="format 1"):
        VaeDesigner.load(config.parent)
    one.save(config.parent)
    (config.parent / "weights.safetensors").write_bytes(b"no")
    with pytest.raises(ConfigError, match="vae: cannot use the weights"):
        VaeDesigner.load(config.parent)


@pytest.mark.parametrize(
    ("spec", "offender"),
    [
        ("vae:depth=3", "depth"),
        ("vae:mode=best", "'best'"),
        ("vae:slots=0", "got 0"),
        ("vae:slots=65", "64"),
        ("vae:slots=many", "'many'"),
        ("vae:init=x", "init"),
        ("vae:anchor=stra", "star"),
        ("vae:anchor=self_consistency", "self_consistency"),
        ("vae:weights=nowhere", "nowhere"),
    ],
)
def test_a_wrong_option_is_named(spec: str, offender: str, task, make_team) -> None:
    with pytest.raises(ConfigError) as caught:
        designer(spec).design(task, make_team(3))
    assert offender in str(caught.value)


def test_wrong_agents_are_named(task, make_team) -> None:
    with pytest.raises(HypergraphError, match="at least one"):
        VaeDesigner().design(task, [])
    other = Hypergraph(("ann",), (Hyperedge(("ann",)),))
    with pytest.raises(HypergraphError, match="differs"):
        VaeDesigner().log_prob(task, make_team(2), other)


def test_the_evidence_bound_lies_below_the_evidence(task, make_team) -> None:
    """Kingma and Welling, eq. 3: over many plans, against the mean over plans of the prior."""
    agents, vae = make_team(4), VaeDesigner(slots=4)
    team, draws = vae.known(agents), 400
    graph = Hypergraph(team.names, (Hyperedge(team.names[:2]), Hyperedge(team.names[2:])))
    rows = vae.task_rows([task]).expand(draws, -1)
    noise = torch.randn(draws, vae.net.latent, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        vae.net.residual.fill_(2.0)
        seen = vae.imitations(team, rows, [graph] * draws, noise)
        bound = seen.log_prob.mean() - kl_free_bits(seen.posterior, seen.prior, 0.0)
        plans = torch.stack([p.log_prob(graph) for p in vae.policies(team, rows, noise)])
        evidence = plans.logsumexp(0) - math.log(draws)
    assert -math.inf < bound < evidence
    assert plans.std() > 0.01, "the plan matters"


def test_a_team_is_read_again_when_anything_about_it_changes(task, make_team) -> None:
    vae, agents = VaeDesigner(), make_team(4)
    first = vae.known(agents)
    assert vae.known(agents) is first
    assert torch.equal(vae.known(agents[::-1]).rows, first.rows)
    for change in ({"profile": "new"}, {"role": "boss"}, {"reliability": 0.5}, {"id": "zoe"}):
        other = vae.known([*agents[:3], replace(agents[3], **change)])
        assert not torch.equal(other.rows, first.rows)
    vae.anchor = "group"
    assert vae.known(agents).incidence.sum() == 4


def test_a_batch_is_its_rows(task, make_team) -> None:
    agents, vae = make_team(5), VaeDesigner()
    others = [task, replace(task, id="2", question="Who wrote it?")]
    team = vae.known(agents)
    noise = torch.stack([vae.noise(7, t) for t in others])
    with torch.no_grad():
        batch = vae.policies(team, vae.task_rows(others), noise)
        graphs = [vae.design(t, agents, seed=7).hypergraph for t in others]
        together = log_probs(batch, graphs)
        for t, policy, graph, found in zip(others, batch, graphs, together, strict=True):
            alone = vae.policy(t, agents, seed=7)
            assert (policy.member_logits - alone.member_logits).abs().max() < 1e-5
            assert (policy.gate_logits - alone.gate_logits).abs().max() < 1e-5
            assert found.item() == pytest.approx(
                vae.log_prob(t, agents, graph, seed=7).item(), abs=1e-4
            )


def test_a_policy_gradient_step_makes_the_rewarded_design_more_probable(task, make_team) -> None:
    agents, vae = make_team(5), VaeDesigner()
    graph = vae.design(task, agents, seed=1).hypergraph
    before = vae.log_prob(task, agents, graph, seed=1)
    before.backward()
    assert all(
        p.grad is not None for n, p in vae.net.named_parameters() if not n.startswith("posterior")
    )
    with torch.no_grad():
        for p in vae.net.parameters():
            if p.grad is not None:
                p += 1e-3 * p.grad
    assert vae.log_prob(task, agents, graph, seed=1) > before


def test_the_anchor_as_a_distribution(task, make_team) -> None:
    vae = VaeDesigner(anchor="bridge")
    anchored = vae.anchored(vae.known(make_team(6)))
    policy = vae.policy(task, make_team(6))
    assert (anchored.nodes, anchored.slots) == (policy.nodes, policy.slots)
    assert (anchored.member_logits - policy.member_logits).abs().max() < 0.5


def test_a_thousand_agents_are_designed_quickly(task, make_team) -> None:
    agents, vae = make_team(1000), VaeDesigner(slots=64)
    vae.design(task, agents)
    start = time.process_time()
    design = vae.design(task, agents, seed=1)
    assert time.process_time() - start < 3 * 0.25, "three times the goal, for a busy machine"
    assert len(design.hypergraph.seated()) < 60
