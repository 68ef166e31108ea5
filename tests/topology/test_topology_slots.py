"""The likelihood is exact: every outcome of every slot is enumerated."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations, product

import pytest
import torch
from scipy.stats import chisquare

from hyperagent.errors import HyperagentError, HypergraphError
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.topology.slots import SlotDistribution

SIZES = [(1, 1), (1, 3), (2, 1), (2, 2), (2, 3), (3, 2), (3, 3), (4, 1), (4, 2), (4, 3)]
NAMES = "abcdefghijklmnopqrstuvwxyz"


def slots(n: int, m: int, seed: int = 0, spread: float = 1.5) -> SlotDistribution:
    generator = torch.Generator().manual_seed(seed)
    options = {"generator": generator, "dtype": torch.float64}
    gates = spread * torch.randn(m, **options)
    return SlotDistribution(gates, spread * torch.randn(n, m, **options), NAMES[:n])


def graph(nodes: str, *groups: str) -> Hypergraph:
    return Hypergraph(tuple(nodes), tuple(Hyperedge(tuple(g)) for g in groups))


def enumerate_all(p: SlotDistribution) -> dict[frozenset, float]:
    """Every set of groups with its probability: all joint outcomes of all slots, by hand."""
    gates, members = p.gate_logits.sigmoid().tolist(), p.member_logits.sigmoid().tolist()
    everybody = range(p.agents)
    groups = [frozenset(c) for size in everybody for c in combinations(everybody, size + 1)]
    rows = []
    for m in range(p.slots):
        row = []
        for group in [frozenset(), *groups]:
            chance = gates[m]
            for i in everybody:
                chance *= members[i][m] if i in group else 1 - members[i][m]
            row.append((group, chance))
        row[0] = (frozenset(), row[0][1] + 1 - gates[m])
        rows.append(row)
    seats = [1 - math.prod(1 - gates[m] * members[i][m] for m in range(p.slots)) for i in everybody]
    alone = frozenset({max(everybody, key=lambda i: seats[i])})
    table: Counter = Counter()
    for draws in product(*rows):
        found = frozenset(group for group, _ in draws if group) or frozenset({alone})
        table[found] += math.prod(q for _, q in draws)
    return table


def as_graph(p: SlotDistribution, found: frozenset) -> Hypergraph:
    edges = [Hyperedge(tuple(p.nodes[i] for i in sorted(g))) for g in found]
    return Hypergraph(p.nodes, tuple(edges))


@pytest.mark.parametrize(("n", "m"), SIZES)
def test_log_prob_equals_full_enumeration(n: int, m: int) -> None:
    p = slots(n, m, seed=n + 10 * m)
    table = enumerate_all(p)
    got = {found: p.log_prob(as_graph(p, found)).exp().item() for found in table}
    assert sum(got.values()) == pytest.approx(1, abs=1e-9)
    for found, probability in table.items():
        assert got[found] == pytest.approx(probability, rel=1e-9)


def test_sampled_frequencies_match() -> None:
    p = slots(3, 2, seed=3)
    table = enumerate_all(p)
    count = 100_000
    drawn = p.draw(torch.Generator().manual_seed(1), count)
    codes = (drawn * (1 << torch.arange(6).view(3, 2))).sum((1, 2))
    seen: Counter = Counter()
    for code, times in enumerate(torch.bincount(codes).tolist()):
        if times:
            incidence = torch.tensor([[code >> (2 * i + m) & 1 for m in (0, 1)] for i in range(3)])
            seen[p.executed(incidence).digest()] += times
    expected = {as_graph(p, found).digest(): q * count for found, q in table.items()}
    assert set(seen) <= set(expected)
    common = [key for key, value in expected.items() if value >= 5]
    observed, wanted = [seen[key] for key in common], [expected[key] for key in common]
    observed.append(count - sum(observed) + 1)
    wanted.append(count - sum(wanted) + 1)
    assert chisquare(observed, wanted).pvalue > 0.01


def test_the_gradient_is_that_of_the_enumeration() -> None:
    p = slots(3, 3, seed=5)
    gates, members = p.gate_logits.requires_grad_(), p.member_logits.requires_grad_()
    target = graph("abc", "ab", "c")

    def log_prob(g: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        return SlotDistribution(g, h, "abc").log_prob(target)

    assert torch.autograd.gradcheck(log_prob, (gates, members))
    # The expected score is zero: sum of P(T) grad log P(T) = grad of 1.
    total = 0.0
    for found in enumerate_all(p):
        score = torch.autograd.grad(p.log_prob(as_graph(p, found)), (gates, members))
        chance = p.log_prob(as_graph(p, found)).exp().item()
        total = total + chance * torch.cat([s.flatten() for s in score])
    assert total.abs().max() < 1e-12


def test_aliases_are_counted() -> None:
    """Two equal slots: either may stay empty, both may form the group, in any order."""
    p = SlotDistribution(torch.zeros(2), torch.zeros(2, 2), "ab")
    q, none = 0.5 * 0.25, 0.5 + 0.5 * 0.25
    assert p.log_prob(graph("ab", "ab")).exp().item() == pytest.approx(q * q + 2 * q * none)
    assert p.log_prob(graph("ab", "ab", "ba")) == p.log_prob(graph("ab", "ab"))
    assert p.log_prob(graph("ab", "a", "b")).exp().item() == pytest.approx(2 * q * q)
    # Nobody would work, so "a" does.
    assert p.log_prob(graph("ab", "a")).exp().item() == pytest.approx(
        q * q + 2 * q * none + none**2
    )


def test_the_fallback_seats_the_most_probable_agent() -> None:
    shut = torch.full((2,), -9.0)
    p = SlotDistribution(shut, torch.tensor([[0.0, 0.0], [1.0, 3.0], [0.0, 1.0]]), "abc")
    assert p.mode() == graph("abc", "b")
    assert p.executed(torch.zeros(3, 2)) == graph("abc", "b")
    assert p.log_prob(graph("abc", "b")).exp().item() > 0.99
    tied = SlotDistribution(shut, torch.zeros(3, 2), "cab")
    assert tied.mode() == graph("abc", "a")


@pytest.mark.parametrize("seed", range(4))
def test_formed_and_seated_are_the_enumerated_marginals(seed: int) -> None:
    p = slots(3, 3, seed=seed)
    table = enumerate_all(p)
    groups = [frozenset(c) for size in (1, 2, 3) for c in combinations(range(3), size)]
    want = [sum(q for found, q in table.items() if group in found) for group in groups]
    edges = tuple(Hyperedge(tuple(p.nodes[i] for i in g)) for g in groups)
    assert p.formed(Hypergraph(p.nodes, edges)).tolist() == pytest.approx(want, abs=1e-12)
    seats = [sum(q for f, q in table.items() if any(i in g for g in f)) for i in range(3)]
    assert p.seat_probabilities().tolist() == pytest.approx(seats, abs=1e-12)


def test_expected_tokens_are_the_mean_of_the_draws() -> None:
    p = slots(5, 4, seed=2)
    edge, seat = torch.tensor([10.0, 20, 30, 40]), torch.tensor([100.0, 200, 300, 50, 70])
    drawn = p.draw(torch.Generator().manual_seed(0), 100_000).double()
    gates = torch.rand(100_000, 4, generator=torch.Generator().manual_seed(1))
    # An open and empty slot cannot be seen in a draw; its price is added in expectation.
    empty = (drawn.sum(1) == 0).double()
    open_anyway = p.gate_logits.sigmoid() * (1 - p.member_logits.sigmoid()).prod(0)
    nothing = open_anyway + 1 - p.gate_logits.sigmoid()
    paid = (1 - empty) + empty * (gates < open_anyway / nothing)
    tokens = paid @ edge.double() + (drawn.sum(2) @ seat.double())
    error = tokens.std().item() / math.sqrt(len(tokens))
    assert p.expected_tokens(edge, seat).item() == pytest.approx(
        tokens.mean().item(), abs=3 * error
    )
    speeches = (drawn.sum(2) > 0).double() @ seat.double()
    assert p.expected_tokens(0.0, seat) > speeches.mean()
    assert p.expected_tokens(7.0, 0.0).item() == pytest.approx(7 * p.gate_logits.sigmoid().sum())


def test_relaxed_gates_have_the_support_of_the_draws_and_a_gradient() -> None:
    p = slots(2, 2, seed=4)
    generator = torch.Generator().manual_seed(0)
    hard = torch.stack([p.relaxed(generator).hard for _ in range(8000)])
    error = 4 * 0.5 / math.sqrt(8000)
    assert (hard.mean(0) - p.soft_incidence()).abs().max() < error
    gates, members = torch.zeros(2, requires_grad=True), torch.zeros(3, 2, requires_grad=True)
    soft, _ = SlotDistribution(gates, members, "abc").relaxed(generator)
    assert ((soft >= 0) & (soft <= 1)).all()
    total = sum(SlotDistribution(gates, members, "abc").relaxed(generator).hard for _ in range(20))
    total.sum().backward()
    assert gates.grad.abs().sum() > 0
    assert members.grad.abs().sum() > 0


def test_the_mode_takes_what_is_more_probable() -> None:
    gates = torch.tensor([1.0, -1.0, 2.0, 0.5])
    members = torch.tensor([[1.0, 9, -1, 2], [2.0, 9, -2, 1], [-1.0, 9, -3, -2]])
    assert SlotDistribution(gates, members, "abc").mode() == graph("abc", "ab")


@pytest.mark.parametrize(
    "other",
    [
        graph("abc"),
        graph("abc", "a", "b", "c"),  # three groups, two slots
        Hypergraph(tuple("abc"), (Hyperedge(("a",), phase=1),)),
        Hypergraph(tuple("abc"), (Hyperedge(("a",), "verify"),)),
    ],
)
def test_what_cannot_be_executed_has_probability_zero(other: Hypergraph) -> None:
    assert slots(3, 2).log_prob(other).item() == -math.inf


def test_wrong_input_is_named() -> None:
    with pytest.raises(HypergraphError, match="'c' differs"):
        slots(3, 2).log_prob(graph("abd", "a"))
    with pytest.raises(HypergraphError, match=r"\(3, 2\)"):
        SlotDistribution(torch.zeros(2), torch.zeros(3, 2), "ab")
    with pytest.raises(HypergraphError, match="finite"):
        SlotDistribution(torch.tensor([0.0, math.nan]), torch.zeros(2, 2), "ab")


def test_sixteen_slots_are_always_within_reach_and_a_sum_out_of_reach_is_refused() -> None:
    p = slots(20, 16, seed=1)
    for size in (1, 9, 13, 16):
        alone = graph(NAMES[:20], *NAMES[:size])
        assert -math.inf < p.log_prob(alone).item() < 0
    with pytest.raises(HyperagentError, match="fewer slots"):
        slots(26, 26).log_prob(graph(NAMES, *NAMES[:20]))


def test_far_fetched_hypergraphs_keep_a_finite_log_prob_and_gradient() -> None:
    gates = torch.full((3,), -300.0, requires_grad=True)
    members = torch.full((200, 3), -30.0, requires_grad=True)
    names = [f"n{i}" for i in range(200)]
    p = SlotDistribution(gates, members, names)
    everybody = Hypergraph(tuple(names), (Hyperedge(tuple(names)), Hyperedge(("n3",))))
    value = p.log_prob(everybody)
    value.backward()
    assert -7000 < value.item() < -6000
    assert gates.grad.isfinite().all()
    assert members.grad.isfinite().all()
