"""Team files: every key checked, every shipped file usable."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from hyperagent.config import validate
from hyperagent.errors import ConfigError, UnknownNameError
from hyperagent.team import Team, load_team_file, role_names, team_names
from hyperagent.team.roles import get_role
from hyperagent.team.routing import Routing
from hyperagent.team.teamfile import RoutingModel, TeamModel

SHIPPED = sorted((Path(__file__).parents[2] / "configs" / "teams").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_a_shipped_team_is_complete(path: Path) -> None:
    parts = load_team_file(path)
    assert parts["name"] == path.stem
    assert parts["agents"]


def test_bare_names_find_shipped_teams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert {"math", "code", "knowledge"} <= set(team_names())
    assert load_team_file("math")["name"] == "math"
    with pytest.raises(UnknownNameError, match="'math'"):
        load_team_file("maths")


def test_the_pocket_team_keeps_to_what_its_models_learned() -> None:
    parts = load_team_file("pocket")
    agents = parts["agents"]
    assert {agent.role for agent in agents} <= {
        "solver", "equation_writer", "skeptic", "verifier"
    }  # fmt: skip
    assert parts["routing"].structured == "never", "they write the plain note"
    assert len({agent.backend for agent in agents}) == len(agents) == 5, "no two are the same model"
    assert all(agent.prompt == get_role(agent.role).prompt and not agent.tools for agent in agents)


def test_a_file_of_the_working_directory_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "configs" / "teams"
    folder.mkdir(parents=True)
    (folder / "math.yaml").write_text("name: mine\nagents: [{id: ann}]\n")
    monkeypatch.chdir(tmp_path)
    assert load_team_file("math")["name"] == "mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("agents: [{id: ann}]\ntopologie: star", "unknown key 'topologie'.*'topology'"),
        ("agents: [{id: ann, rolle: solver}]", r"unknown key 'agents.0.rolle'.*'role'"),
        ("agents: [{id: ann}]\nrouting: {gates: 1}", r"unknown key 'routing.gates'.*'gate'"),
        ("agents: [{id: ann}]\nrouting: {gate: 7}", "gate must be in"),
        ("agents: [{id: ann, role: slover}]", "unknown role 'slover'.*'solver'"),
        ("agents: [{id: ann, reliability: 2}]", r"agents.0.reliability.*got 2"),
        ("agents: [{id: ann}]\nsampling: {temperature: -1}", "temperature"),
        ("agents: []", "agents"),
        ("name: x", "agents"),
        ("- 1", "must hold a mapping"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_wrong_file_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "team.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_team_file(path)
    assert str(path) in str(caught.value)


def test_a_wrong_entry_of_a_list_is_one_problem(tmp_path: Path) -> None:
    path = tmp_path / "team.yaml"
    path.write_text("agents: [{id: ann, tools: python}]")
    with pytest.raises(ConfigError) as caught:
        load_team_file(path)
    assert str(caught.value).count(str(path)) == 1


@pytest.mark.parametrize(
    "name", sorted({field.name for field in fields(Routing)} - {"gate", "anytime"})
)
def test_a_null_that_means_nothing_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"team: routing.{name}: .*must not be null"):
        validate(TeamModel, {"agents": [{"id": "ann"}], "routing": {name: None}}, "team")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_team_file(tmp_path / "none.yaml")


def test_what_the_file_states_reaches_the_team(tmp_path: Path) -> None:
    path = tmp_path / "team.yaml"
    path.write_text(
        "name: two\ntopology: star\nbackend: 'scripted:18'\n"
        "sampling: {temperature: 0.5, max_tokens: 99}\n"
        "routing: {gate: null, rounds: 2, anytime: 0.9}\n"
        "agents:\n"
        "  - {id: ann, role: programmer, reliability: 0.8, sampling: {temperature: 0}}\n"
        "  - {id: bob, role: poet, prompt: Rhyme., tools: [calculator]}\n"
    )
    parts = load_team_file(path)
    ann, bob = parts["agents"]
    assert (ann.sampling.temperature, ann.sampling.max_tokens) == (0.0, 99)
    assert (bob.sampling.temperature, bob.prompt, bob.tools) == (0.5, "Rhyme.", ("calculator",))
    assert ann.tools == ("python",)
    assert parts["routing"] == Routing(gate=None, rounds=2, anytime=0.9)


def test_routing_can_be_written_in_full() -> None:
    assert list(RoutingModel.model_fields) == list(Routing.__dataclass_fields__)


def test_roles() -> None:
    assert {"solver", "verifier", "coder", "generalist"} <= set(role_names())


def test_overrides_win() -> None:
    from hyperagent.llm import FunctionBackend

    team = Team.from_config("math", backend=FunctionBackend(lambda r: "1"), topology="star")
    assert team.topology == "star"
