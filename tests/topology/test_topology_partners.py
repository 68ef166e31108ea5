"""The likelihood is exact: every possible hypergraph is enumerated."""

from __future__ import annotations

import math
import time
from collections import Counter
from itertools import combinations, product

import pytest
import torch
from scipy.stats import chisquare

from hyperagent.errors import HyperagentError
from hyperagent.topology.partners import Partners

SIZES = [(1, 1, 2), (2, 2, 1), (3, 3, 1), (3, 3, 2), (4, 4, 1), (4, 4, 2), (4, 4, 3), (5, 2, 2)]
# (agents, openers, k); the last two have more than one way to reach many hypergraphs.
SIZES += [(5, 5, 1), (5, 5, 2)]


def policy(agents: int, openers: int, k: int, seed: int = 0) -> Partners:
    generator = torch.Generator().manual_seed(seed)
    return Partners(2 * torch.randn(openers, agents, generator=generator), k)


def draw_probability(p: Partners, opener: int, partners: frozenset[int]) -> float:
    """Probability of a set of partners, by walking through every order by hand."""
    weights = p.logits[opener].exp().tolist()

    def walk(left: frozenset[int], total: float) -> float:
        return sum(
            weights[j] / total * (walk(left - {j}, total - weights[j]) if len(left) > 1 else 1.0)
            for j in left
        )

    return walk(partners, sum(weights)) if partners else 1.0


def enumerate_all(p: Partners) -> dict[frozenset, float]:
    """Every hypergraph with its probability: the sum over all joint draws of all openers."""
    rows = []
    for i in range(p.openers):
        others = [j for j in range(p.agents) if j != i]
        sets = [frozenset(c) for c in combinations(others, p.k)]
        rows.append([(s | {i}, draw_probability(p, i, s)) for s in sets])
    table: Counter = Counter()
    for draws in product(*rows):
        table[frozenset(group for group, _ in draws)] += math.prod(q for _, q in draws)
    return table


@pytest.mark.parametrize(("agents", "openers", "k"), SIZES)
def test_log_prob_equals_full_enumeration(agents: int, openers: int, k: int) -> None:
    p = policy(agents, openers, k)
    table = enumerate_all(p)
    assert sum(table.values()) == pytest.approx(1, abs=1e-9)
    got = {groups: p.log_prob(groups).exp().item() for groups in table}
    assert sum(got.values()) == pytest.approx(1, abs=1e-9)
    for groups, probability in table.items():
        assert got[groups] == pytest.approx(probability, rel=1e-9)


def test_merging_is_counted() -> None:
    """Three agents in two pairs: the middle one may have drawn either."""
    p = policy(3, 3, 1)
    q = p.logits.softmax(1).tolist()
    want = q[0][1] * q[2][1] * (q[1][0] + q[1][2])
    assert p.log_prob([{0, 1}, {1, 2}]).exp().item() == pytest.approx(want)


@pytest.mark.parametrize(("agents", "openers", "k"), [(4, 4, 1), (4, 4, 2), (5, 3, 2)])
def test_sampled_frequencies_match(agents: int, openers: int, k: int) -> None:
    p = Partners(policy(agents, openers, k).logits.nan_to_num(neginf=0) / 2, k)
    table = enumerate_all(p)
    generator = torch.Generator().manual_seed(7)
    draws = 8000
    seen = Counter(p.sample(generator) for _ in range(draws))
    assert set(seen) <= set(table)
    common = [g for g in table if table[g] * draws >= 5]
    rare = sum(table[g] for g in table if table[g] * draws < 5) * draws
    expected = [table[g] * draws for g in common]
    observed = [seen[g] for g in common]
    if rare >= 5:
        expected.append(rare)
        observed.append(draws - sum(observed))
    scale = sum(observed) / sum(expected)
    assert chisquare(observed, [e * scale for e in expected]).pvalue > 0.01


@pytest.mark.parametrize(("agents", "openers", "k"), [(4, 4, 1), (5, 5, 2), (5, 3, 2)])
def test_the_mode_is_every_openers_most_probable_set(agents: int, openers: int, k: int) -> None:
    p = policy(agents, openers, k)
    want = set()
    for i in range(openers):
        sets = combinations([j for j in range(agents) if j != i], k)
        best = max(sets, key=lambda s: draw_probability(p, i, frozenset(s)))
        want.add(frozenset((i, *best)))
    assert p.mode() == want


def test_the_gradient_is_that_of_the_enumeration() -> None:
    logits = policy(4, 4, 2).logits.nan_to_num(neginf=0).requires_grad_()
    groups = Partners(logits, 2).sample(torch.Generator().manual_seed(1))
    assert torch.autograd.gradcheck(lambda x: Partners(x, 2).log_prob(groups), (logits,))
    # The expected score is zero: sum of P(H) grad log P(H) = grad of 1.
    total = torch.zeros_like(logits)
    for h in enumerate_all(Partners(logits.detach(), 2)):
        log_p = Partners(logits, 2).log_prob(h)
        total += torch.autograd.grad(log_p, logits)[0] * log_p.exp().detach()
    assert total.abs().max() < 1e-12


def test_formed_is_the_probability_that_a_group_exists() -> None:
    p = policy(4, 4, 1)
    table = enumerate_all(p)
    groups = [frozenset(g) for g in combinations(range(4), 2)]
    want = [sum(q for h, q in table.items() if g in h) for g in groups]
    assert p.formed(groups) == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize(
    "groups",
    [
        [],
        [{0, 1, 2}],  # opener 3 formed nothing
        [{0, 1}, {2, 3, 4}],  # a pair where groups have three
        [{0, 1, 2}, {2, 3, 9}],  # nobody is number 9
        [{0, 1, 2}, {3, 4, 0}, {1, 2, 3}, {0, 2, 3}, {0, 1, 3}],  # five groups, four openers
    ],
    ids=str,
)
def test_what_cannot_be_drawn_has_probability_zero(groups: list[set[int]]) -> None:
    assert policy(5, 4, 2).log_prob(groups).item() == -math.inf


def test_a_group_without_an_opener_has_probability_zero() -> None:
    p = policy(6, 2, 1)
    assert p.log_prob([{0, 1}]).item() > -math.inf
    assert p.log_prob([{0, 1}, {4, 5}]).item() == -math.inf


@pytest.mark.parametrize(("agents", "openers"), [(12, 12), (24, 24), (32, 32), (1000, 32)])
def test_likelihood_of_real_teams_is_quick(agents: int, openers: int) -> None:
    generator = torch.Generator().manual_seed(0)
    for spread in (0.0, 1.0, 4.0):
        logits = torch.randn(agents, generator=generator) * spread
        p = Partners(logits + 0.3 * torch.randn(openers, agents, generator=generator), 2)
        start = time.process_time()
        log_p = p.log_prob(p.sample(generator)).item()
        assert time.process_time() - start < 2.0
        assert -math.inf < log_p <= 1e-9


def test_a_sum_out_of_reach_is_refused_not_guessed() -> None:
    p = policy(150, 150, 2)
    with pytest.raises(HyperagentError, match="slots"):
        p.log_prob(Partners(torch.zeros(150, 150), 2).sample(torch.Generator().manual_seed(0)))
