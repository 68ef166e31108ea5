"""The designer in a folder: what it accepts and what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.registry import split_spec
from hyperagent.tasks import Task
from hyperagent.team import Agent
from hyperagent.topology import designer
from hyperagent.topology.learned import team_record

AGENTS = [Agent("ann"), Agent("bob", role="verifier")]
GRAPH = Hypergraph(("ann", "bob"), (Hyperedge(("bob",)),))


def write(folder: Path, **changes) -> Path:
    folder.mkdir(exist_ok=True)
    record = {
        "format": 1, "policy": "surrogate", "shipped": False, "team": team_record(AGENTS),
        "fixed": {"name": "single", "hypergraph": GRAPH.to_hif()}, **changes,
    }  # fmt: skip
    (folder / "policy.json").write_text(json.dumps(record))
    return folder


def test_a_refused_policy_is_the_fixed_topology_and_says_so(tmp_path: Path) -> None:
    for spec in (f"learned:{write(tmp_path)}", f"learned:path={tmp_path}"):
        made = designer(spec)
        drawn = made.design(Task("any"), AGENTS[::-1], seed=5)
        assert drawn.hypergraph.digest() == GRAPH.digest()
        assert drawn.name == made.name == "learned surrogate, not used: single"
        assert made.expect(Task("any"), [GRAPH]) is None
    assert designer(f"learned:{write(tmp_path, policy='constant')}").name == (
        "learned constant: single"
    )


def test_reliabilities_may_change_but_agents_may_not(tmp_path: Path) -> None:
    made = designer(f"learned:{write(tmp_path)}")
    made.design(Task("any"), [Agent("ann", reliability=0.9), AGENTS[1]])
    for agents, message in (
        (AGENTS[:1], "it lacks 'bob'"),
        ([*AGENTS, Agent("eve")], "new is 'eve'"),
        ([AGENTS[0], Agent("bob")], "role of 'bob' was 'verifier' and is 'solver'"),
    ):
        with pytest.raises(ConfigError, match=message):
            made.design(Task("any"), agents)


def test_folders_that_hold_no_policy(tmp_path: Path) -> None:
    def refuse(message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            designer(f"learned:{tmp_path / 'x'}")

    refuse("there is no folder")
    (tmp_path / "x").mkdir()
    refuse("holds no policy")
    (tmp_path / "x" / "outcomes.jsonl").touch()
    refuse("not finished: go on with --resume")
    (tmp_path / "x" / "policy.json").write_text("{")
    refuse("cannot read")
    (tmp_path / "x" / "policy.json").write_text("[]")
    refuse("format 1")
    write(tmp_path / "x", fixed=3)
    refuse("damaged")
    write(tmp_path / "x", shipped=True)
    refuse("cannot use the surrogate")
    write(tmp_path / "x", shipped=True, policy="other")
    refuse("unknown kind 'other'")
    with pytest.raises(ConfigError, match="path"):
        designer("learned")


def test_a_bare_value_is_taken_whole() -> None:
    bare = {"learned": "path"}
    assert split_spec("learned:a=b,c", bare) == ("learned", {"path": "a=b,c"})
    assert split_spec("learned:7", bare) == ("learned", {"path": "7"})
    assert split_spec("learned:path=x", bare) == ("learned", {"path": "x"})
    assert split_spec("learned", bare) == ("learned", {})
    with pytest.raises(ConfigError, match="expected key=value"):
        split_spec("star:7", bare)
