"""The bandit: what it plays, what it may risk, and that its state survives."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hyperagent.errors import ConfigError
from hyperagent.topology.bandit import DEFAULT_ARM, WIDTH, Bandit, Online, _before, _Model, features

EASY, HARD = "What is 3 + 4?", (
    "If Ann has 12 pens and Bob has 3 more than twice as many, and each of them gives a third "
    "away, how many pens are left when 7 of the rest are lost?"
)  # fmt: skip


def play(bandit: Bandit, success: dict[tuple[str, str], float], rounds: int, seed: int = 0) -> list:
    """Rounds with questions of two kinds; what was played."""
    draw, found = random.Random(seed), []
    for _ in range(rounds):
        question = draw.choice((EASY, HARD))
        chosen = bandit.choose(question)
        bandit.learn(chosen.id, float(draw.random() < success[question, chosen.arm]))
        found.append((question, chosen))
    return found


def world(default: float, **arms: tuple[float, float]) -> dict[tuple[str, str], float]:
    found = {(EASY, DEFAULT_ARM): default, (HARD, DEFAULT_ARM): default}
    for arm, (easy, hard) in arms.items():
        found |= {(EASY, arm): easy, (HARD, arm): hard}
    return found


def test_a_much_better_arm_is_found_and_played() -> None:
    bandit = Bandit(Online(":memory:", arms=("single", "star"), share=0.2))
    found = play(bandit, world(0.4, single=(0.3, 0.3), star=(0.9, 0.9)), 600)
    last = [chosen.arm for _, chosen in found[-100:]]
    assert last.count("star") >= 95


def test_what_is_better_may_depend_on_the_question() -> None:
    bandit = Bandit(Online(":memory:", arms=("single", "star"), share=0.3))
    found = play(bandit, world(0.5, single=(0.95, 0.1), star=(0.1, 0.95)), 1500)
    good = [(q, c.arm) in ((EASY, "single"), (HARD, "star")) for q, c in found[-200:]]
    assert sum(good) >= 150


def test_a_bandit_with_a_memory_gets_over_a_change() -> None:
    """The better arm turns bad: who remembers everything plays it on, who forgets leaves it."""
    good, bad = world(0.5, star=(0.95, 0.95)), world(0.5, star=(0.1, 0.1))
    left = {}
    for memory in (None, 150.0):
        bandit = Bandit(Online(":memory:", arms=("star",), share=0.2, memory=memory))
        before = [c.arm for _, c in play(bandit, good, 600)]
        after = [c.arm for _, c in play(bandit, bad, 200, seed=1)]
        assert before[-50:].count("star") >= 45
        left[memory] = after.count("star")
    assert left[150.0] < 80
    assert left[None] > left[150.0] + 30
    assert _Model(*_before(), 0).predict(features(EASY))[0] == pytest.approx(0.5, abs=1e-12)


def test_what_fades_ends_at_the_prior() -> None:
    model = _Model(*_before(), 0)
    model.add(features(EASY), 1.0)
    model.fade(0.0)
    np.testing.assert_allclose(model.precision, _before()[0])
    np.testing.assert_allclose(model.sums, _before()[1])


def test_exploration_never_takes_more_than_its_share() -> None:
    for seed in range(3):
        bandit = Bandit(Online(":memory:", arms=("single", "star"), share=0.1))
        found = play(bandit, world(0.8, single=(0.7, 0.7), star=(0.8, 0.8)), 400, seed)
        for n in range(1, len(found) + 1):
            assert sum(c.explored for _, c in found[:n]) <= 0.1 * n
        # No arm is better, so that whatever was not exploration was the default.
        others = [c for _, c in found if c.arm != DEFAULT_ARM and not c.explored]
        assert len(others) <= 8


def test_without_a_share_only_the_default_is_played() -> None:
    bandit = Bandit(Online(":memory:", arms=("single",), share=0.0))
    found = play(bandit, world(0.1, single=(1.0, 1.0)), 100)
    assert {c.arm for _, c in found} == {DEFAULT_ARM}


def test_tokens_have_their_price() -> None:
    free = Bandit(Online(":memory:", arms=("single",)))
    dear = Bandit(Online(":memory:", arms=("single",), price=0.1, scale=1000))
    rewards = []
    for bandit in (free, dear):
        bandit.learn(bandit.choose(EASY).id, 1.0, tokens=2000)
        rewards.append(bandit._db.execute("SELECT reward FROM plays").fetchone()[0])
    assert rewards == [1.0, pytest.approx(0.8)]


def test_the_model_is_the_ridge_regression_of_its_feedback() -> None:
    bandit = Bandit(Online(":memory:", arms=("single",), share=0.0))
    draw = np.random.default_rng(0)
    rows, rewards = [], []
    for n in range(30):
        question = f"How many are {n} and {draw.integers(1000)}, if none is lost?"
        reward = float(draw.random())
        bandit.learn(bandit.choose(question).id, reward)
        rows.append(features(question))
        rewards.append(reward)
    x, start = np.array(rows), np.eye(WIDTH)[0] * 0.5
    weights = start + np.linalg.solve(
        x.T @ x / 0.25 + np.eye(WIDTH) / 0.0625, x.T @ (rewards - x @ start) / 0.25
    )
    mean, spread = _Model.read(bandit._db, DEFAULT_ARM).predict(features(EASY))
    assert mean == pytest.approx(features(EASY) @ weights)
    assert 0 < spread < 0.5


def test_the_same_state_and_seed_play_the_same(tmp_path: Path) -> None:
    runs = []
    for name in "ab":
        bandit = Bandit(Online(tmp_path / name, arms=("single", "star"), share=0.5))
        runs.append(
            [c.arm for _, c in play(bandit, world(0.5, single=(0.5, 0.9), star=(1, 0)), 50)]
        )
        bandit.close()
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 3


WRONG = {
    "share": ({"share": 1.0}, "share"),
    "confidence": ({"confidence": 0.0}, "confidence"),
    "price": ({"price": -1.0}, "price"),
    "scale": ({"scale": 0.0}, "scale"),
    "memory": ({"memory": 5}, "memory"),
    "no arms": ({"arms": ()}, "none"),
    "twice": ({"arms": ("star", "star")}, "star, star"),
    "reserved": ({"arms": ("default",)}, "'default'"),
}


@pytest.mark.parametrize(("options", "message"), WRONG.values(), ids=list(WRONG))
def test_wrong_settings(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Online(":memory:", **options)


def test_wrong_feedback() -> None:
    bandit = Bandit(Online(":memory:"))
    chosen = bandit.choose(EASY)
    for bad in (-0.1, 1.1, float("nan"), "good", None):
        with pytest.raises(ConfigError, match="from 0 to 1"):
            bandit.learn(chosen.id, bad)
    bandit.learn(chosen.id, 1)
    with pytest.raises(ConfigError, match="given before"):
        bandit.learn(chosen.id, 1)
    with pytest.raises(ConfigError, match="no play 99"):
        bandit.learn(99, 1)
    assert sum(bandit.counts().values()) == 1


def test_the_state_of_another_team_is_refused(tmp_path: Path) -> None:
    Bandit(Online(tmp_path / "s"), "one").close()
    with pytest.raises(ConfigError, match="another topology"):
        Bandit(Online(tmp_path / "s"), "two")
    (tmp_path / "text").write_text("no database, but long enough to be taken for one " * 20)
    with pytest.raises(ConfigError, match="cannot use"):
        Bandit(Online(tmp_path / "text"))


WORKER = """
import sys
from hyperagent.topology.bandit import Bandit, Online
bandit = Bandit(Online(sys.argv[1], arms=("single", "star"), share=0.5))
print("ready", flush=True)
for n in range(int(sys.argv[2])):
    chosen = bandit.choose(f"What is {n} + {n}?", n)
    bandit.learn(chosen.id, n % 2)
    print(chosen.id, flush=True)
"""


def start(path: Path, rounds: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(path), str(rounds)], stdout=subprocess.PIPE, text=True
    )


def check_consistent(path: Path) -> int:
    """Every arm's model holds exactly the feedbacks that the plays have."""
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    rewarded = dict(
        db.execute("SELECT arm, count(*) FROM plays WHERE reward NOT NULL GROUP BY arm").fetchall()
    )
    assert rewarded == dict(db.execute("SELECT name, count FROM arms").fetchall())
    db.close()
    return sum(rewarded.values())


def test_a_kill_loses_no_feedback_that_was_acknowledged(tmp_path: Path) -> None:
    draw, known = random.Random(1), 0
    for _ in range(3):
        process = start(tmp_path / "s", 100_000)
        assert process.stdout.readline() == "ready\n"
        for _ in range(draw.randrange(3, 20)):
            process.stdout.readline()
            known += 1
        time.sleep(draw.uniform(0, 0.01))
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read()
        process.wait()
        known += rest.count("\n")
        # One more may have been written down and not have been printed.
        assert known <= check_consistent(tmp_path / "s") <= known + 1
        known = check_consistent(tmp_path / "s")


def test_two_processes_share_a_state(tmp_path: Path) -> None:
    both = [start(tmp_path / "s", 40) for _ in range(2)]
    ids = [process.communicate(timeout=60)[0].split()[1:] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert len(set(ids[0]) | set(ids[1])) == 80
    assert check_consistent(tmp_path / "s") == 80
