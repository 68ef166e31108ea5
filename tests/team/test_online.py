"""A team that learns from feedback."""

from __future__ import annotations

from pathlib import Path

import pytest

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.llm import FunctionBackend
from hyperagent.tasks import Task
from hyperagent.team import Agent, Team
from hyperagent.topology import Online

QUESTION = "What is 2 + 2?"


def team(**options) -> Team:
    """Ann is always wrong, Bob always right."""
    return Team(
        [
            Agent("ann", backend=FunctionBackend(lambda request: "The answer is 5.")),
            Agent("bob", backend=FunctionBackend(lambda request: "The answer is 4.")),
        ],
        "single",
        **options,
    )


def test_feedback_needs_a_team_that_is_online(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not online"):
        team().solve_sync(QUESTION).feedback(1.0)
    with team(online=tmp_path / "s") as running:
        graph = Hypergraph(("ann", "bob"), (Hyperedge(("bob",)),))
        with pytest.raises(ConfigError, match="given its hypergraph"):
            running.solve_sync(QUESTION, hypergraph=graph).feedback(1.0)
        other = running.with_topology("group").solve_sync(QUESTION)
        with pytest.raises(ConfigError, match="not online"):
            other.feedback(1.0)


def test_feedback_is_checked_and_taken_once(tmp_path: Path) -> None:
    with team(online=str(tmp_path / "s")) as running:
        result = running.solve_sync(QUESTION)
        with pytest.raises(ConfigError, match=r"from 0 to 1, got 1\.5"):
            result.feedback(1.5)
        result.feedback(0.0)
        with pytest.raises(ConfigError, match="before"):
            result.feedback(0.0)
        assert "feedback" not in result.to_json()
        assert "learn" not in result.to_json()


def test_a_team_moves_to_the_topology_that_answers(tmp_path: Path) -> None:
    """The team's own topology asks Ann alone; with the pair, Bob can be heard."""
    online = Online(tmp_path / "s", arms=("pair", "self_consistency:k=2"), share=0.3)

    def ask(running: Team, times: int) -> list[str]:
        names = []
        for number in range(times):
            result = running.solve_sync(QUESTION, seed=number)
            # What the topology is worth is up to the user: here, whether Bob was asked.
            result.feedback(float("bob" in result.topology.seated()))
            names.append(result.design.name)
        return names

    with team(online=online) as running:
        assert ask(running, 60)[0] == "single"
    with team(online=online) as again:
        assert ask(again, 20).count("pair") >= 18


def test_designs_and_plays(tmp_path: Path) -> None:
    """A look at the design is not a play."""
    with team(online=tmp_path / "s") as running:
        for _ in range(5):
            running.solve_sync(QUESTION)
            running.design(Task(QUESTION))
        rows = running._bandit._db.execute("SELECT count(*) FROM plays").fetchone()
        assert rows == (5,)


def test_wrong_arms_and_foreign_states_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'star'"):
        team(online=Online(tmp_path / "s", arms=("strr",)))
    team(online=tmp_path / "t").close()
    with pytest.raises(ConfigError, match="its own file"):
        Team(
            [Agent("eve", backend=FunctionBackend(lambda r: "4"))], "single", online=tmp_path / "t"
        )
