"""Team files: a team as YAML, checked key by key."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from hyperagent.config import StrictModel, load_yaml, validate
from hyperagent.errors import ConfigError, UnknownNameError
from hyperagent.team.agent import Agent, Sampling
from hyperagent.team.routing import Routing


def _not_null(value: Any) -> Any:
    """Refuse a null that somebody wrote; a key that is left out is not checked."""
    if value is None:
        raise ValueError("must not be null; leave the key out for the default")
    return value


class SamplingModel(StrictModel):
    """``sampling:`` of a team or an agent; see `Sampling`."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] | None = None

    _stated = field_validator("stop")(_not_null)


class AgentModel(StrictModel):
    """One entry of ``agents:``; see `Agent`."""

    id: str
    role: str = "solver"
    prompt: str | None = None
    backend: str | None = None
    tools: tuple[str, ...] | None = None
    sampling: SamplingModel = SamplingModel()
    reliability: float | None = Field(default=None, gt=0, lt=1)
    profile: str | None = None


class RoutingModel(StrictModel):
    """``routing:``; see `Routing`."""

    read_notes: bool | None = None
    gate: float | None = Routing.__dataclass_fields__["gate"].default
    rounds: int | None = None
    anytime: float | None = None
    vote: Literal["weighted", "plurality"] | None = None
    share_speech: bool | None = None
    note_tokens: int | None = None
    answer_tokens: int | None = None
    decision: Literal["auto", "never", "always"] | None = None
    structured: Literal["auto", "never", "always"] | None = None
    tool_calls: int | None = None
    timeout: float | None = None

    _stated = field_validator(
        "read_notes", "rounds", "vote", "share_speech", "note_tokens", "answer_tokens", "decision",
        "structured", "tool_calls", "timeout",
    )(_not_null)  # fmt: skip


class TeamModel(StrictModel):
    """A team file."""

    name: str = "team"
    topology: str = "role_cover"
    backend: str | None = None
    sampling: SamplingModel = SamplingModel()
    routing: RoutingModel = RoutingModel()
    agents: tuple[AgentModel, ...] = Field(min_length=1)

    def parts(self) -> dict[str, Any]:
        """Keyword arguments of `hyperagent.team.Team`."""
        return {
            "name": self.name,
            "topology": self.topology,
            "backend": self.backend,
            "routing": Routing(**_given(self.routing)),
            "agents": [
                Agent(
                    agent.id,
                    role=agent.role,
                    prompt=agent.prompt,
                    backend=agent.backend,
                    tools=agent.tools,
                    sampling=Sampling(**(_given(self.sampling) | _given(agent.sampling))),
                    reliability=agent.reliability,
                    profile=agent.profile,
                )
                for agent in self.agents
            ],
        }


def _given(model: StrictModel) -> dict[str, Any]:
    """The keys that the file states, so that our defaults live in one place."""
    return {name: getattr(model, name) for name in model.model_fields_set}


assert set(RoutingModel.model_fields) == {f.name for f in fields(Routing)}


def find_team_file(name: str | Path) -> Path:
    """Path of a team file.

    A path with a suffix is taken as it is. A bare name is looked up as ``configs/teams/NAME.yaml``
    in the working directory, then among the team files of the package.

    Raises
    ------
    UnknownNameError
        If a bare name is not found; the message gives the nearest one.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        return path
    for folder in _folders():
        candidate = folder / f"{name}.yaml"
        if candidate.is_file():
            return candidate
    raise UnknownNameError("team", str(name), team_names())


def team_names() -> list[str]:
    """Names of all team files that a bare name finds, sorted."""
    return sorted({file.stem for folder in _folders() for file in folder.glob("*.yaml")})


def _folders() -> list[Path]:
    package = Path(__file__).resolve().parent.parent
    # The wheel carries configs/ inside the package; a checkout has it beside the package.
    return [
        Path("configs/teams"),
        package / "configs" / "teams",
        package.parent / "configs" / "teams",
    ]


def load_team_file(name: str | Path) -> dict[str, Any]:
    """Keyword arguments of `Team` from a team file.

    Raises
    ------
    ConfigError
        One line per problem, with the file's name.
    """
    path = find_team_file(name)
    model = validate(TeamModel, load_yaml(path), str(path))
    try:
        return model.parts()
    except ConfigError as error:
        error.args = (f"{path}: {error}",)
        raise
