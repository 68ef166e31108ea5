"""The guard: a learned policy must earn its place on questions it did not learn from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from recorded_world import world

from hyperagent.errors import ConfigError
from hyperagent.topology.rehearsal import choose_policy, rehearse, run_held_out

FEW = (0.0, 0.05, 0.2)


@pytest.fixture(scope="module")
def rehearsed():
    replies = world(900, telling=2.0)
    return replies, rehearse(replies, prices=(0.0, 0.03, 0.06, 0.1, 0.2, 0.4))


def test_the_learned_policy_passes_where_replies_tell_much(rehearsed) -> None:
    replies, rehearsal = rehearsed
    choice = choose_policy(replies, "match", rehearsal=rehearsal)
    assert choice.name == "learned"
    assert 0 < choice.low < choice.gain
    test = world(3000, seed=5, telling=2.0)
    ours, best = choice.run(test), test.correct[:, 2]
    assert ours.correct.mean() > best.mean() - 0.02
    assert ours.dollars.mean() < 0.6 * test.dollars[:, 2].mean()


def test_the_budget_is_kept(rehearsed) -> None:
    replies, rehearsal = rehearsed
    row = rehearsal.prices.index(rehearsal.price("budget"))
    assert rehearsal.learned_cost[row].mean() <= 1.0
    assert rehearsal.learned_right[row].mean() >= rehearsal.single_right.mean() - 0.01
    assert choose_policy(replies, "budget", rehearsal=rehearsal).learned.price == rehearsal.price(
        "budget"
    )


def test_the_unit_is_the_same_in_every_part(rehearsed) -> None:
    replies, rehearsal = rehearsed
    best = int(replies.correct.sum(axis=0).argmax())
    assert rehearsal.unit == pytest.approx(replies.dollars[:, best].mean())
    assert choose_policy(replies, "match", rehearsal=rehearsal).learned.unit == rehearsal.unit


def test_what_runs_held_out_is_what_was_rehearsed(rehearsed) -> None:
    """One price of a rehearsal; no question is answered by a policy that has seen it."""
    replies, rehearsal = rehearsed
    row = rehearsal.prices.index(0.06)
    played = run_held_out(replies, 0.06, rehearsal.unit)
    np.testing.assert_array_equal(played.correct, rehearsal.learned_right[row].astype(bool))
    np.testing.assert_allclose(played.dollars / rehearsal.unit, rehearsal.learned_cost[row])
    assert played.asked.sum(axis=1).min() >= 1


def test_one_agent_alone_falls_back_to_itself() -> None:
    replies = world(200, agents=1)
    choice = choose_policy(replies, "match", rehearsal=rehearse(replies, prices=FEW))
    assert choice.name != "learned"
    assert choice.gain == pytest.approx(0.0, abs=1e-12)
    assert choice.run(replies).asked.all()


def test_a_team_whose_best_agent_is_cheapest_asks_it_alone() -> None:
    replies = world(300)
    replies = replace(replies, dollars=replies.dollars[:, ::-1] * np.array([3.0, 1.0, 0.1]))
    outcome = choose_policy(replies, "match", rehearsal=rehearse(replies, prices=(0.05, 0.2))).run(
        replies
    )
    assert outcome.asked[:, 2].mean() > 0.95
    assert outcome.dollars.mean() <= 1.1 * replies.dollars[:, 2].mean()


def test_a_rehearsal_never_scores_what_it_learned(rehearsed) -> None:
    """With labels drawn by chance nothing can be learned, so nothing may look good."""
    replies = world(300)
    chance = np.random.default_rng(0).random(replies.correct.shape) < 0.5
    noise = np.random.default_rng(1).normal(size=(300, 3, 12))
    replies = replace(
        replies, correct=chance, reply_features=noise, answers=np.tile(np.arange(3), (300, 1))
    )
    right = rehearse(replies, prices=FEW).learned_right.mean(axis=1)
    assert (right < 0.5 + 3 * 0.5 / np.sqrt(300)).all()


def test_one_part_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 2 parts"):
        rehearse(world(50), parts=1)
