"""The searched cascade: the same votes as a live team, and the best of all cascades."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_world import world

from hyperagent.errors import ConfigError
from hyperagent.team.note import Note
from hyperagent.team.vote import poll
from hyperagent.topology.cascade import Cascade, Reliabilities, search_cascades, tally
from hyperagent.topology.replies import answer_codes

RATE = st.floats(0.0, 1.0, allow_nan=False)
VOTE = st.tuples(st.sampled_from(["7", "12", "3.5", None]), RATE)


@given(st.lists(VOTE, min_size=1, max_size=6), st.integers(1, 12))
def test_the_tally_is_the_poll_of_a_team(votes, wrong: int) -> None:
    names = [f"a{i}" for i in range(len(votes))]
    given_by = dict(zip(names, votes, strict=True))
    notes = [Note(author=name, answer=answer) for name, (answer, _) in given_by.items()]
    expected = poll(notes, {name: rate for name, (_, rate) in given_by.items()}, wrong=wrong)
    spelled = np.array([[answer for answer, _ in votes]], dtype=object)
    rates = np.array([[rate for _, rate in votes]])
    found = tally(answer_codes(spelled), rates, np.array([wrong]))
    leader = None if found.answer[0] < 0 else spelled[0, found.leader[0]]
    assert found.posterior[0] == pytest.approx(expected.posterior, abs=1e-12)
    if not expected.tied:
        assert leader == expected.leader
    assert found.distinct[0] == len(expected.weights)


def test_reliabilities_are_beta_means_and_kinds_are_drawn_to_them() -> None:
    replies = world(40)
    plain = Reliabilities.measure(replies)
    np.testing.assert_allclose(plain.overall, (replies.correct.sum(axis=0) + 1) / 42)
    near, far = (Reliabilities.measure(replies, strength=s).by_kind for s in (1e6, 1e-6))
    for (kind, drawn), (_, own) in zip(near, far, strict=True):
        rate = replies.correct[replies.kinds == kind].mean(axis=0)
        np.testing.assert_allclose(drawn, plain.overall, atol=1e-4)
        np.testing.assert_allclose(own, rate, atol=1e-4)


def test_the_search_knows_what_each_cascade_does() -> None:
    replies = world(60)
    found = search_cascades(replies, strength=5.0)
    assert len(found.orders) == sum(
        len(list(itertools.permutations(range(3), k))) for k in (1, 2, 3)
    )
    for row in range(len(found.orders)):
        for column in (0, 8, 20, len(found.thresholds) - 1):
            cascade = found._at(row * len(found.thresholds) + column)
            outcome = cascade.run(replies)
            assert outcome.correct.mean() == pytest.approx(found.accuracy[row, column])
            assert outcome.dollars.mean() == pytest.approx(found.cost[row, column])


def test_the_search_picks_what_it_was_asked_for() -> None:
    replies = world(80)
    found = search_cascades(replies, "tokens")
    singles = {found.orders[i]: i for i in range(len(found.orders)) if len(found.orders[i]) == 1}
    free = found.best(0.0).run(replies)
    assert free.correct.mean() == pytest.approx(found.accuracy.max())
    assert found.best(1e9).order == ("cheap",)
    goal = found.accuracy[singles[(2,)], 0]
    chosen = found.cheapest(goal).run(replies)
    assert chosen.correct.mean() >= goal
    assert chosen.tokens.mean() <= replies.costs("tokens")[:, 2].mean() + 1e-9
    limit = found.cost[singles[(1,)], 0]
    assert found.most_accurate(limit).run(replies).tokens.mean() <= limit + 1e-9


def test_a_threshold_that_is_never_reached_asks_everybody() -> None:
    replies = world(30)
    order = ("strong", "cheap")
    cascade = Cascade(order, 1.1, Reliabilities.measure(replies.seat(order)))
    asked = cascade.run(replies).asked
    assert asked[:, [0, 2]].all()
    assert not asked[:, 1].any()


def test_too_large_a_team_is_refused() -> None:
    replies = world(10)
    with pytest.raises(ConfigError, match="1 to 6 agents"):
        search_cascades(replies.seat(["cheap"] * 7))
