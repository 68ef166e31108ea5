"""The learned anytime policy: exact where the world is small, honest where there is nothing."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from recorded_world import world

from hyperagent.errors import ConfigError
from hyperagent.topology.anytime import Beliefs, Settings, Trust
from hyperagent.topology.cascade import search_cascades

PRICES = (0.0, 0.03, 0.1, 0.3, 1.0, 10.0)


@pytest.fixture(scope="module")
def learned():
    train, test = world(800), world(2000, seed=1)
    beliefs = Beliefs.learn(train)
    states = beliefs.states_of(test)
    policies = beliefs.policies(PRICES)
    return train, test, beliefs, states, policies


def test_a_higher_price_buys_less(learned) -> None:
    _, test, _, states, policies = learned
    costs = [policy.run(test, states).dollars.mean() for policy in policies]
    assert all(a >= b - 1e-12 for a, b in pairwise(costs)), costs
    assert costs[0] > 3 * costs[-1]


def test_somebody_is_always_asked_and_every_reply_is_paid_for(learned) -> None:
    _, test, _, states, policies = learned
    for policy in policies:
        outcome = policy.run(test, states)
        assert outcome.asked.any(axis=1).all()
        np.testing.assert_allclose(outcome.dollars, (outcome.asked * test.dollars).sum(axis=1))
    assert policies[-1].run(test, states).asked.sum(axis=1).max() == 1


def test_probabilities_are_calibrated(learned) -> None:
    _, test, _, states, _ = learned
    for mask in (1, 4, 3, 7):
        sure = states[mask].sure
        right = test.correct[np.arange(len(test)), states[mask].leader]
        # Three standard errors of a difference between 800 and 2,000 questions.
        assert sure.mean() == pytest.approx(right.mean(), abs=0.063)
        for low, high in ((0.0, 0.6), (0.6, 0.9), (0.9, 1.0)):
            bin_ = (sure >= low) & (sure < high)
            if bin_.any():
                error = 0.03 + 3 * 0.5 / np.sqrt(bin_.sum())
                assert sure[bin_].mean() == pytest.approx(right[bin_].mean(), abs=error)


def test_it_beats_the_searched_cascade_where_replies_tell_something(learned) -> None:
    train, test, beliefs, states, _ = learned
    (policy,) = beliefs.policies((0.1,))
    ours = policy.run(test, states)
    hand = search_cascades(train).best(0.1 / policy.unit).run(test)
    gain = ours.correct * 1.0 - 0.1 * ours.dollars / policy.unit
    gain -= hand.correct * 1.0 - 0.1 * hand.dollars / policy.unit
    assert gain.mean() > 2 * gain.std() / np.sqrt(len(gain))


def test_without_anything_to_read_it_is_no_worse_than_the_cascade_by_much() -> None:
    rng = np.random.default_rng(0)

    def blank(replies):
        noise = rng.normal(size=replies.reply_features.shape)
        plain = np.array(["plain"] * len(replies))
        return replace(replies, reply_features=noise, kinds=plain, question_features=noise[:, 0])

    train, test = blank(world(800, telling=0)), blank(world(2000, seed=1, telling=0))
    (policy,) = Beliefs.learn(train).policies((0.1,))
    ours, hand = policy.run(test), search_cascades(train).best(0.1 / policy.unit).run(test)
    value = [o.correct.mean() - 0.1 * o.dollars.mean() / policy.unit for o in (ours, hand)]
    assert value[0] > value[1] - 0.02


def test_what_is_not_asked_is_not_read(learned) -> None:
    _, test, _, states, policies = learned
    policy = policies[2]
    before = policy.run(test, states)
    hidden = ~before.asked
    changed = replace(
        test,
        answers=np.where(hidden, -1, test.answers),
        reply_features=np.where(hidden[:, :, None], 1e3, test.reply_features),
    )
    after = policy.run(changed)
    np.testing.assert_array_equal(after.asked, before.asked)
    np.testing.assert_array_equal(after.correct, before.correct)
    assert hidden.any()


def test_pooling_agents_helps_where_their_replies_look_alike() -> None:
    """With few questions the model of all agents is nearer to the truth than that of one."""
    train, test = world(60, telling=1.5), world(2000, seed=3, telling=1.5)

    def loss(p: np.ndarray) -> float:
        p = np.clip(p, 1e-4, 1 - 1e-4)
        return -np.log(np.where(test.correct, p, 1 - p)).mean()

    settings = Settings(reply=1.0, pooled=1.0)
    asked = train.question_features, test.question_features
    both = Trust.learn(asked[0], train.reply_features, train.correct, settings)
    own = np.column_stack(
        [
            model.predict(np.column_stack([asked[1], test.reply_features[:, j]]))
            for j, model in enumerate(both.own)
        ]
    )
    assert loss(both.predict(asked[1], test.reply_features)) < loss(own)


def test_the_unit_is_the_cost_of_the_best_agent(learned) -> None:
    train, _, _, _, policies = learned
    assert policies[0].unit == pytest.approx(train.dollars[:, 2].mean())
    tokens = learned[2].policies((0.1,), "tokens")[0]
    assert tokens.unit == pytest.approx(train.costs("tokens")[:, 2].mean())


def test_a_wrong_team_is_refused(learned) -> None:
    _, test, _, _, policies = learned
    with pytest.raises(ConfigError, match="knows the agents"):
        policies[0].run(test.seat(["strong", "cheap", "middle"]))
    with pytest.raises(ConfigError, match="1 to 6 agents"):
        Beliefs.learn(world(50).seat(["cheap"] * 7))


CHILD = """
import hashlib, numpy as np
from recorded_world import world
from hyperagent.topology.anytime import Beliefs
policy = Beliefs.learn(world(300)).policies((0.1,))[0]
weights = b"".join(policy.asks[key].tobytes() for key in sorted(policy.asks))
print(hashlib.sha256(weights + policy.run(world(300, seed=2)).asked.tobytes()).hexdigest())
"""


def test_the_same_replies_give_the_same_bytes_in_every_process() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", CHILD], capture_output=True, text=True, check=True,
            cwd=Path(__file__).parent, timeout=60,
            env={"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1",
                 "PYTHONPATH": str(Path(__file__).parents[2])},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(digests) == 1
    assert len(digests.pop().strip()) == hashlib.sha256().digest_size * 2
