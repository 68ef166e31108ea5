"""Outcomes and their log: nothing that was written is lost, nothing torn is believed."""

from __future__ import annotations

import pytest

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.topology.outcomes import Outcome, OutcomeLog

TEAM = Hypergraph(("ann", "bob"), (Hyperedge(("ann", "bob"), "verify", 2, 0.5),))


def test_a_log_resumes_where_it_ended(tmp_path) -> None:
    path = tmp_path / "log.jsonl"
    with OutcomeLog(path) as log:
        log.append(Outcome("t1", TEAM, 1.0, 900.5, 0.002))
        log.append(Outcome("t2", TEAM, 0.25, 10))
    with OutcomeLog(path) as log:
        log.append(Outcome("t3", TEAM, 0.0, 1))
    with OutcomeLog(path) as log:
        assert [o.task for o in log] == ["t1", "t2", "t3"]
        assert log.outcomes[0] == Outcome("t1", TEAM.canonical(), 1.0, 900.5, 0.002)
        assert log.outcomes[1].dollars is None


def test_half_a_line_is_dropped_with_a_word(tmp_path) -> None:
    path = tmp_path / "log.jsonl"
    with OutcomeLog(path) as log:
        for name in ("t1", "t2"):
            log.append(Outcome(name, TEAM, 1.0, 900))
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in (first + 1, first + 40, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.warns(UserWarning, match="half a line"):
            log = OutcomeLog(path)
        assert [o.task for o in log] == ["t1"]
        with log:
            log.append(Outcome("t9", TEAM, 1.0, 900))
        with OutcomeLog(path) as log:
            assert [o.task for o in log] == ["t1", "t9"]


def test_a_broken_line_in_the_middle_is_refused(tmp_path) -> None:
    path = tmp_path / "log.jsonl"
    with OutcomeLog(path) as log:
        log.append(Outcome("t1", TEAM, 1.0, 900))
    good = path.read_bytes()
    for bad in (b"{}\n", b"not json\n", good.replace(b"1.0", b"1.5")):
        path.write_bytes(good + bad + good)
        with pytest.raises(ConfigError, match="line 2"):
            OutcomeLog(path)


def test_reward_and_ranges() -> None:
    assert Outcome("t", TEAM, 1.0, 3000).reward(0.25, 6000) == pytest.approx(0.875)
    for wrong in ({"correct": 1.1}, {"tokens": 0}, {"tokens": float("nan")}, {"dollars": -1}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            Outcome(**{"task": "t", "hypergraph": TEAM, "correct": 1.0, "tokens": 9, **wrong})
