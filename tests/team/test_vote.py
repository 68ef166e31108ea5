"""Weights, agreement and posterior of votes."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperagent.team.note import Note
from hyperagent.team.vote import poll, wrong_answers


def votes(*answers: str | None, confidence: float | None = None) -> list[Note]:
    return [Note(f"a{i}", answer, confidence) for i, answer in enumerate(answers)]


def rates(*values: float | None) -> dict[str, float | None]:
    return {f"a{i}": value for i, value in enumerate(values)}


def test_plurality() -> None:
    counted = poll(votes("18", "18", "7", None), rates(), wrong=10)
    assert counted.leader == "18"
    assert counted.agreement == pytest.approx(2 / 3)
    assert dict(counted.weights) == {"18": 2.0, "7": 1.0}
    assert not counted.tied


def test_a_reliable_agent_outvotes_two_poor_ones() -> None:
    notes, known = votes("7", "18", "18"), rates(0.95, 0.3, 0.3)
    assert poll(notes, known, wrong=10).leader == "7"
    assert poll(notes, known, wrong=10, weighted=False).leader == "18"


def test_nobody_answers() -> None:
    counted = poll(votes(None, None), rates(), wrong=10)
    assert (counted.leader, counted.posterior, counted.agreement) == (None, 0.0, 0.0)


def test_ties_go_to_the_more_confident_answer_and_are_reported() -> None:
    notes = [Note("a", "7", 0.2), Note("b", "18", 0.9)]
    counted = poll(notes, {}, wrong=10)
    assert counted.leader == "18"
    assert counted.tied


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.93])
def test_the_posterior_of_one_vote_is_its_reliability(rate: float) -> None:
    assert poll(votes("18"), rates(rate), wrong=10).posterior == pytest.approx(rate)


def exact_posterior(answers: list[str], known: list[float], wrong: int, leader: str) -> float:
    """Bayes' rule over all κ + 1 possible answers, written out."""
    seen = sorted(set(answers))
    space = seen + [f"other{i}" for i in range(max(wrong + 1 - len(seen), 0))]
    likelihood = {
        truth: math.prod(
            rate if answer == truth else (1 - rate) / wrong
            for answer, rate in zip(answers, known, strict=True)
        )
        for truth in space
    }
    return likelihood[leader] / sum(likelihood.values())


@given(
    st.lists(st.tuples(st.sampled_from("ABCD"), st.floats(0.05, 0.95)), min_size=1, max_size=6),
    st.integers(3, 12),
)
def test_the_posterior_is_bayes_rule(ballots: list[tuple[str, float]], wrong: int) -> None:
    answers, known = [a for a, _ in ballots], [r for _, r in ballots]
    counted = poll(votes(*answers), rates(*known), wrong=wrong)
    expected = exact_posterior(answers, known, wrong, counted.leader)
    assert counted.posterior == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.sampled_from(["1", "2", "3", None]), min_size=1, max_size=6))
def test_the_order_of_votes_does_not_matter(answers: list[str | None]) -> None:
    notes = votes(*answers, confidence=0.5)
    first = poll(notes, rates(), wrong=10)
    for order in itertools.islice(itertools.permutations(notes), 20):
        other = poll(order, rates(), wrong=10)
        assert other.leader == first.leader
        assert other.posterior == pytest.approx(first.posterior)


def test_wrong_answers() -> None:
    assert wrong_answers("choice", 4) == 3
    assert wrong_answers("number") == 10
