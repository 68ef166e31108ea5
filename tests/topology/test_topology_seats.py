"""Agent features: equal profiles stay distinguishable, order does not matter."""

from __future__ import annotations

import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from hyperagent.errors import ConfigError
from hyperagent.topology.seats import BACKEND, SEAT, TEXT, TOOLS, WIDTH, agent_features, seat


def member(name: str, **more) -> SimpleNamespace:
    given = {"role": "solver", "profile": "solves", "reliability": None, **more}
    return SimpleNamespace(id=name, **given)


def test_permuting_the_agents_permutes_the_rows(make_team) -> None:
    team = make_team(12)
    rows = agent_features(team)
    assert rows.shape == (12, WIDTH)
    assert rows.dtype == np.float32
    order = np.random.default_rng(0).permutation(12)
    assert np.array_equal(agent_features([team[i] for i in order]), rows[order])
    assert np.array_equal(agent_features(team[3:5]), rows[3:5])


def test_equal_profiles_differ_in_their_seat_and_nothing_else() -> None:
    one, two = agent_features([member("ann"), member("bob")])
    assert np.array_equal(one[:-SEAT], two[:-SEAT])
    assert np.linalg.norm(one - two) > 0.5


def test_seats_are_spread_like_independent_numbers() -> None:
    seats = np.array([seat(f"agent{i}") for i in range(2000)])
    assert len(np.unique(seats.round(4), axis=0)) == 2000
    assert np.linalg.norm(seats, axis=1).mean() == pytest.approx(1, abs=0.05)
    assert np.abs(seats.mean(0)).max() < 0.03
    assert np.abs(np.corrcoef(seats.T) - np.eye(SEAT)).max() < 0.1


def test_columns_say_what_is_known() -> None:
    bare = member("a")
    full = member("a", reliability=0.5, backend="openai:big", tools=("python", "search"))
    rows = agent_features([bare, full], {"openai:big": np.e, "other": 3.0})
    tools = TEXT + BACKEND
    known = tools + len(TOOLS)
    assert not rows[0, TEXT : known + 4].any()
    assert rows[1, tools:known].tolist() == [0, 1, 1]
    assert rows[1, known : known + 4].tolist() == [1, 1, 0, 1]
    assert np.linalg.norm(rows[1, TEXT:tools]) == pytest.approx(1, abs=1e-6)
    better = agent_features([member("a", reliability=0.8)])[0]
    assert better[known + 2] == pytest.approx(np.log(4), abs=1e-6)
    named = member("a", backend=SimpleNamespace(name="openai:big"))
    assert np.array_equal(agent_features([named])[0, TEXT:tools], rows[1, TEXT:tools])


@pytest.mark.parametrize("price", [0, -1, float("nan"), float("inf"), "1", True])
def test_a_wrong_price_is_named(price) -> None:
    with pytest.raises(ConfigError, match="'big'"):
        agent_features([member("a")], {"big": price})


def test_another_process_gives_the_same_rows() -> None:
    code = (
        "from types import SimpleNamespace as N; from hyperagent.topology.seats import *; "
        "print(agent_features([N(id='ann', role='r', profile='p', reliability=.7, "
        "backend='b')]).tobytes().hex())"
    )
    ann = member("ann", role="r", profile="p", reliability=0.7, backend="b")
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == agent_features([ann]).tobytes().hex()


def test_a_thousand_clones_are_quick() -> None:
    team = [member(f"a{i}") for i in range(1000)]
    start = time.process_time()
    agent_features(team)
    assert time.process_time() - start < 0.3
