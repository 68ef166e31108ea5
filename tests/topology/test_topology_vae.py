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


@pytest.mark.parametrize("seed", [None, 5])
def test_probabilities_of_all_hypergraphs_sum_to_one(seed, task, make_team) -> None:
    agents = make_team(3)
    policy = VaeDesigner(slots=3).policy(task, agents, seed=seed)
    total = sum(policy.log_prob(h).exp().item() for h in all_hypergraphs(list(policy.nodes), 3))
    assert total == pytest.approx(1, abs=1e-6)


def test_designs_come_as_often_as_their_log_prob_says(task, make_team, monkeypatch) -> None:
    """With the plan held at its mean every seed draws from one distribution."""
    agents, vae = make_team(3), VaeDesigner(slots=2)
    monkeypatch.setattr(vae, "_noise", lambda seed, task: torch.zeros(16))
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
    with pytest.raises(ConfigError, match="weights.safetensors"):
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


def test_it_learns_two_good_hypergraphs_for_one_task_as_plans(task, make_team) -> None:
    """The evidence bound: designs from the prior are one target or the other, not a mixture."""
    agents = make_team(4)
    names = tuple(a.id for a in agents)
    targets = [
        Hypergraph(names, (Hyperedge(names[:2]),)).canonical(),
        Hypergraph(names, (Hyperedge(names[2:]), Hyperedge(names[:1]))).canonical(),
    ]
    vae = VaeDesigner(slots=4)
    optimizer = torch.optim.Adam(vae.net.parameters(), lr=3e-3)
    for step in range(150):
        seen = vae.imitation(task, agents, targets[step % 2], seed=step)
        loss = kl_free_bits(seen.posterior, seen.prior, 0.05) - seen.log_prob
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert seen.log_prob.item() > math.log(0.8)
    drawn = Counter(vae.design(task, agents, seed=s).hypergraph.digest() for s in range(60))
    hits = [drawn[t.digest()] for t in targets]
    assert min(hits) >= 6
    assert sum(hits) >= 36
    # One plan is one of them: given the plan, the policy is sure.
    sure = [vae.policy(task, agents, seed=s).log_prob(targets[0]).exp().item() for s in range(60)]
    assert sum(0.2 < p < 0.8 for p in sure) < 20


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
    anchored = vae.anchored(task, make_team(6))
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
