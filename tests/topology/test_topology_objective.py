"""The pieces of the loss against enumeration, Monte Carlo and closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from hyperagent.errors import ConfigError, SparsityError, UnknownNameError
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.topology.objective import (
    anchor_kl,
    credit_loss,
    diversity,
    dual_ascent,
    edge_credit,
    group_penalty,
    kl_free_bits,
    named_penalty,
    policy_loss,
    rloo_advantages,
)
from hyperagent.topology.plan_net import Gaussian
from hyperagent.topology.slots import SlotDistribution


def graph(nodes: str, *groups: str) -> Hypergraph:
    return Hypergraph(tuple(nodes), tuple(Hyperedge(tuple(g)) for g in groups))


def slots(gates, members) -> SlotDistribution:
    members = torch.as_tensor(members, dtype=torch.float64)
    gates = torch.as_tensor(gates, dtype=torch.float64)
    return SlotDistribution(gates, members, "abcdefgh"[: len(members)])


class Enumerable:
    """Two agents, two slots: six topologies, their probabilities and scores, noisy rewards."""

    success = torch.tensor([0.69, 0.81, 0.85, 0.67, 0.87, 0.77], dtype=torch.float64)

    def __init__(self) -> None:
        gates = torch.tensor([0.4, -0.3], dtype=torch.float64, requires_grad=True)
        members = torch.tensor([[0.2, -0.5], [0.6, 0.1]], dtype=torch.float64, requires_grad=True)
        self.policy = SlotDistribution(gates, members, "ab")
        names = (["a"], ["b"], ["ab"], ["a", "b"], ["a", "ab"], ["b", "ab"])
        self.graphs = [graph("ab", *groups) for groups in names]
        log_probs = [self.policy.log_prob(g) for g in self.graphs]
        self.chance = torch.stack(log_probs).exp().detach()
        scores = (torch.autograd.grad(lp, (gates, members)) for lp in log_probs)
        self.scores = torch.stack([torch.cat([s.flatten() for s in score]) for score in scores])
        self.exact = (self.chance * self.success) @ self.scores

    def draw(self, tasks: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Numbers of the executed topologies, drawn by the slots themselves, and 0/1 rewards."""
        generator = torch.Generator().manual_seed(0)
        drawn = self.policy.draw(generator, tasks * k)
        codes = (drawn * torch.tensor([[1, 2], [4, 8]])).sum((1, 2))
        columns = [torch.tensor([[c & 1, c >> 1 & 1], [c >> 2 & 1, c >> 3]]) for c in range(16)]
        digests = [g.digest() for g in self.graphs]
        number = torch.tensor(
            [digests.index(self.policy.executed(column).digest()) for column in columns]
        )
        which = number[codes].view(tasks, k)
        luck = torch.rand(tasks, k, generator=generator, dtype=torch.float64)
        return which, (luck < self.success[which]).double()


def test_the_rloo_gradient_is_unbiased_and_quiet() -> None:
    world = Enumerable()
    assert world.chance.sum().item() == pytest.approx(1, abs=1e-12)
    assert (world.chance @ world.success).item() == pytest.approx(0.8, abs=0.02)
    which, rewards = world.draw(100_000, 4)
    scores = world.scores[which]
    rloo = (rloo_advantages(rewards, scale=False).unsqueeze(2) * scores).mean(1)
    plain = (rewards.unsqueeze(2) * scores).mean(1)
    for gradient in (rloo, plain):
        error = gradient.std(0) / math.sqrt(len(gradient))
        assert ((gradient.mean(0) - world.exact).abs() <= 3 * error).all()
    assert (rloo.var(0) <= 0.5 * plain.var(0)).all()
    # Small enough an error that a biased estimator would be seen.
    assert (error < 0.2 * world.exact.abs().max()).all()


def test_the_policy_loss_has_that_gradient() -> None:
    world = Enumerable()
    which, rewards = world.draw(1, 4)
    advantages = rloo_advantages(rewards + torch.arange(4) / 9, scale=False)
    logs = torch.stack([world.policy.log_prob(world.graphs[i]) for i in which[0].tolist()])
    loss = policy_loss(logs.unsqueeze(0), advantages)
    inputs = (world.policy.gate_logits, world.policy.member_logits)
    got = torch.cat([g.flatten() for g in torch.autograd.grad(loss, inputs)])
    want = -(advantages.unsqueeze(2) * world.scores[which]).mean((0, 1))
    assert torch.allclose(got, want, atol=1e-12)


def test_where_rewards_are_equal_the_cost_part_is_kept() -> None:
    rewards = torch.tensor([[1.0, 1, 1, 1], [0.1, 0.1, 0.1, 0.1], [1, 0, 0, 1]])
    costs = torch.tensor([[2.0, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1]])
    a = rloo_advantages(rewards, costs, price=0.1, scale=False)
    assert a[0].tolist() == pytest.approx([-0.4 / 3, 0, 0, 0.4 / 3])
    assert a[1].tolist() == [0, 0, 0, 0]
    assert a[2].tolist() == pytest.approx([2 / 3, -2 / 3, -2 / 3, 2 / 3])
    scaled = rloo_advantages(rewards, costs, price=0.1)
    assert scaled.square().mean().item() == pytest.approx(1)
    assert torch.allclose(scaled / scaled[2, 0], a / a[2, 0])
    equal = torch.full((3, 3), 0.1, dtype=torch.float64)
    assert not rloo_advantages(equal, equal).any(), "rounding is not blown up"


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ConfigError, match="K >= 2"):
        rloo_advantages(torch.ones(3, 1))
    with pytest.raises(ConfigError, match=r"costs .*\(2, 3\)"):
        rloo_advantages(torch.ones(2, 3), torch.ones(3))
    with pytest.raises(ConfigError, match="advantages"):
        edge_credit([graph("a", "a")], [1.0, 2.0])


def test_edge_credit() -> None:
    graphs = [graph("abc", *g) for g in (["ab", "c"], ["ba"], ["c"], ["c", "bc"])]
    credit = edge_credit(graphs, torch.tensor([1.0, 0.5, -0.5, 0.0]))
    want = {("a", "b"): (0.75 + 0.25) * 2 / 6, ("c",): (0.5 / 3 - 0.5) / 5, ("b", "c"): -1 / 3 / 5}
    assert {e.members: v for e, v in credit.items()} == pytest.approx(want)
    assert edge_credit([graph("a", "a")] * 3, [1, 2, 3]) == {}, "what all have says nothing"


def test_credit_moves_the_probability_of_its_hyperedge() -> None:
    gates, members = torch.zeros(3, requires_grad=True), torch.zeros(4, 3, requires_grad=True)
    good, bad = Hyperedge(("a", "b")), Hyperedge(("c",))
    wanted = Hypergraph(tuple("abcd"), (good, bad))
    optimizer = torch.optim.Adam([gates, members], lr=0.05)
    before = SlotDistribution(gates, members, "abcd").formed(wanted).tolist()
    for _ in range(20):
        optimizer.zero_grad()
        credit_loss(SlotDistribution(gates, members, "abcd"), {good: 0.5, bad: -0.5}).backward()
        optimizer.step()
    after = SlotDistribution(gates, members, "abcd").formed(wanted).tolist()
    assert after[0] > before[0]
    assert after[1] < before[1]
    assert credit_loss(slots([0.0], [[0.0]]), {}).item() == 0


def test_kl_is_that_of_torch_and_has_free_bits() -> None:
    generator = torch.Generator().manual_seed(0)
    q, p = (Gaussian(*torch.randn(2, 8, generator=generator)) for _ in range(2))
    normals = [torch.distributions.Normal(g.mean, g.log_sigma.exp()) for g in (q, p)]
    want = torch.distributions.kl_divergence(*normals)
    assert kl_free_bits(q, p, free=0.0).item() == pytest.approx(want.sum().item(), rel=1e-5)
    assert kl_free_bits(q, q, free=0.1).item() == pytest.approx(0.8)
    assert kl_free_bits(q, p, free=0.5).item() == pytest.approx(want.clamp(min=0.5).sum().item())
    two = Gaussian(*(torch.stack([x, y]) for x, y in zip(q, p, strict=True)))
    both = Gaussian(*(torch.stack([x, x]) for x in p))
    assert kl_free_bits(two, both, free=0.0).item() == pytest.approx(
        want.sum().item() / 2, rel=1e-5
    )


def test_anchor_kl_is_the_mean_log_ratio_of_the_draws() -> None:
    generator = torch.Generator().manual_seed(0)
    p, a = (
        slots(torch.randn(2, generator=generator), torch.randn(3, 2, generator=generator))
        for _ in range(2)
    )
    gates = torch.rand(100_000, 2, generator=generator, dtype=torch.float64)
    gates = (gates < p.gate_logits.sigmoid()).double()
    members = torch.rand(100_000, 3, 2, generator=generator, dtype=torch.float64)
    members = (members < p.member_logits.sigmoid()).double()

    def log_prob(s: SlotDistribution) -> torch.Tensor:
        bernoulli = torch.distributions.Bernoulli
        seats = bernoulli(logits=s.member_logits).log_prob(members).sum(1)
        return (bernoulli(logits=s.gate_logits).log_prob(gates) + gates * seats).sum(1)

    ratio = log_prob(p) - log_prob(a)
    error = 3 * ratio.std().item() / math.sqrt(len(ratio))
    assert anchor_kl(p, a).item() == pytest.approx(ratio.mean().item(), abs=error)
    assert anchor_kl(p, p).item() == pytest.approx(0, abs=1e-12)
    with pytest.raises(ConfigError, match="same nodes"):
        anchor_kl(p, slots([0.0], [[0.0]] * 3))


def test_diversity_sees_clones_among_open_slots_only() -> None:
    member = [[9.0, 9, -9], [9.0, 9, -9], [-9.0, -9, 9]]
    assert diversity(slots([5.0, 5, -20], member)).item() == pytest.approx(1, abs=1e-3)
    assert diversity(slots([5.0, -20, 5], member)).item() == pytest.approx(0, abs=1e-2)
    assert diversity(slots([5.0], [[1.0]])).item() == 0


@pytest.mark.parametrize("over", ["agents", "hyperedges"])
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("l1", {"lam": 0.1}),
        ("group_lasso", {"lam": 0.1}),
        ("cel0", {"lam": 0.1}),
        ("mcp", {"lam": 0.1, "gamma": 3.0}),
        ("log_sum", {"lam": 0.1, "eps": 0.1}),
        ("envelope", {"lam": 0.1, "k": 1, "debiased": True}),
        ("hoyer_square", {"lam": 0.1}),
    ],
)
def test_every_kind_of_penalty_gives_a_finite_slope(over: str, name: str, parameters) -> None:
    gates, members = torch.zeros(3, requires_grad=True), torch.zeros(4, 3, requires_grad=True)
    policy = SlotDistribution(gates, members, "abcd")
    value = group_penalty(policy, named_penalty(name, **parameters), over)
    value.backward()
    assert value.ndim == 0
    assert value.item() > 0
    assert gates.grad.isfinite().all()
    assert members.grad.isfinite().all()


def test_penalties_are_those_of_the_norms() -> None:
    policy = slots([1.0, -2.0], [[0.5, 1.0], [-1.0, 2.0], [0.0, 0.0]])
    soft = policy.soft_incidence()
    lasso = named_penalty("group_lasso", lam=0.3)
    rows, columns = soft.norm(dim=1).sum(), soft.norm(dim=0).sum()
    assert group_penalty(policy, lasso, "agents").item() == pytest.approx(0.3 * rows.item())
    assert group_penalty(policy, lasso, "hyperedges").item() == pytest.approx(0.3 * columns.item())


def test_cel0_is_a_price_per_open_hyperedge() -> None:
    member = torch.full((4, 3), 30.0)
    price = named_penalty("cel0", lam=0.05)
    for count in range(4):
        gates = torch.where(torch.arange(3) < count, 30.0, -60.0)
        value = group_penalty(slots(gates, member), price, "hyperedges").item()
        assert value == pytest.approx(0.05 * count, abs=1e-9)


def test_the_envelope_is_free_up_to_k_agents_and_benches_the_others() -> None:
    at_most = named_penalty("envelope", lam=1.0, k=2, debiased=True)
    for seated in range(5):
        member = torch.where(torch.arange(4) < seated, 40.0, -15.0).unsqueeze(1).expand(4, 2)
        value = group_penalty(slots([30.0, 30.0], member), at_most, "agents").item()
        assert (value > 0.1) == (seated > 2)
        assert -1e-9 < value < 9


def test_wrong_names_are_named() -> None:
    with pytest.raises(UnknownNameError, match="cel0"):
        named_penalty("cel")
    with pytest.raises(ConfigError, match="lamda"):
        named_penalty("l1", lamda=1)
    with pytest.raises(SparsityError, match="lam"):
        named_penalty("l1", lam=-1)
    with pytest.raises(ConfigError, match="'rows'"):
        group_penalty(slots([0.0], [[0.0]]), named_penalty("l1", lam=1), "rows")


def test_dual_ascent_finds_the_price_that_meets_the_budget() -> None:
    price = 0.0
    for _ in range(400):
        price = dual_ascent(price, tokens=900 / (1 + 5 * price), budget=300)
    assert 900 / (1 + 5 * price) == pytest.approx(300, rel=0.01)
    assert dual_ascent(0.01, 10, 300) == 0.0
    with pytest.raises(ConfigError, match="budget"):
        dual_ascent(0.1, 10, 0)
