"""Settings: rows, baselines, nearest names, and what a resumed run must share."""

from __future__ import annotations

import json

import pytest

from hyperagent.bench.plan import BASELINES, BenchConfig, Row, config_hash
from hyperagent.config import validate
from hyperagent.errors import ConfigError
from hyperagent.team import Team


def test_strings_are_rows_and_baselines_follow() -> None:
    config = BenchConfig(task="gsm8k", topologies=("windows", "single"))
    names = [row.name for row in config.rows]
    assert names[:2] == ["windows", "single"]
    assert sorted(names) == sorted({"windows", *BASELINES})


def test_a_baseline_with_other_switches_does_not_replace_the_plain_one() -> None:
    row = {"topology": "group", "routing": {"vote": "plurality"}}
    config = BenchConfig(task="gsm8k", topologies=(row,))
    names = [r.name for r in config.rows]
    assert "group" in names
    assert names[0] == "group vote=plurality"


def test_an_explicit_null_is_a_switch() -> None:
    row = Row.model_validate({"topology": "chain", "routing": {"anytime": None}})
    assert row.switches == {"anytime": None}
    assert row.name == "chain anytime=None"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"topologys": ["group"]}, "Did you mean 'topologies'"),
        ({"limit": 0}, "limit"),
        ({"topologies": ["group", "group"], "baselines": False}, "two rows have the name 'group'"),
        ({"topologies": ["random-matched"]}, "cannot be matched"),
        ({"topologies": []}, "topologies"),
        ({"topologies": ["a|b"]}, "without '|'"),
        ({"topologies": [{"topology": "star", "label": "@star"}]}, "does not begin with '@'"),
        ({"topologies": [{"topology": "star", "label": " "}]}, "a label must be a name"),
        ({"anytime": 1.5}, "anytime"),
        ({"anytime": "calibrated"}, "needs calibrate"),
        ({"calibrate": True, "part": "train"}, "reports the test part"),
        ({"fail_on_error": 2}, "fail_on_error"),
    ],
)
def test_wrong_settings_are_one_clear_error(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(BenchConfig, {"task": "gsm8k", **settings}, "bench.yaml")
    assert message in str(caught.value)


def test_only_what_decides_answers_is_in_the_hash(team: Team) -> None:
    base = BenchConfig(task="gsm8k")
    first = base.decisive(team)
    free = base.model_copy(
        update={"concurrency": 64, "budget_tokens": 5, "fail_on_error": 0.1}
    ).decisive(team)
    assert config_hash(first) == config_hash(free)
    for change in ({"limit": 3}, {"seeds": 2}, {"anytime": 0.9}, {"baselines": False}):
        assert config_hash(base.model_copy(update=change).decisive(team)) != config_hash(first)
    other = team.with_reliability({"good": 0.9})
    assert config_hash(base.decisive(other)) != config_hash(first)
    json.dumps(first)
