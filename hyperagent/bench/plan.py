"""What a bench run is asked to do: strict settings, and the hash that a resumed run must match."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from hyperagent.bench.files import compact
from hyperagent.bench.samples import CALIBRATION
from hyperagent.config import StrictModel
from hyperagent.team import Team
from hyperagent.team.teamfile import RoutingModel
from hyperagent.topology.designer import weights_digest

BASELINES = (
    "single",
    "self_consistency-matched",
    "chain",
    "star",
    "tree",
    "group",
    "complete",
    "random-matched",
)
"""Rows that `BenchConfig.baselines` adds; ``-matched`` ones get as many tokens as the first row."""

MATCHED = ("self_consistency-matched", "random-matched")


class Row(StrictModel):
    """One line of the table: a topology and, for an ablation, other routing switches.

    Attributes
    ----------
    topology : str
        Anchor with parameters, name of a designer, or one of `MATCHED`.
    label : str, optional
        Name of the row; the topology and its switches by default.
    routing : RoutingModel
        Switches that this row sets otherwise than the others.
    temperature : float, optional
        Of all agents in this row, in place of their own.
    seeds : int, optional
        In place of the run's number of seeds, e.g. 1 where nothing is random.
    """

    topology: str
    label: str | None = None
    routing: RoutingModel = RoutingModel()
    temperature: float | None = Field(default=None, ge=0, le=2)
    seeds: int | None = Field(default=None, ge=1)

    @field_validator("topology")
    @classmethod
    def _not_empty(cls, value: str) -> str:
        if not value.strip() or "|" in value:
            raise ValueError("a topology must be a name without '|'")
        return value

    @field_validator("label")
    @classmethod
    def _no_calibration(cls, value: str | None) -> str | None:
        if value is not None and (not value.strip() or value.startswith(CALIBRATION)):
            raise ValueError(f"a label must be a name that does not begin with {CALIBRATION!r}")
        return value

    @property
    def switches(self) -> dict[str, Any]:
        """The routing switches that were written down."""
        return {name: getattr(self.routing, name) for name in sorted(self.routing.model_fields_set)}

    @property
    def name(self) -> str:
        """Label, or topology and switches: ``cascade anytime=0.95``."""
        switches = [f"{key}={value}" for key, value in self.switches.items()]
        if self.temperature is not None:
            switches.append(f"temperature={self.temperature:g}")
        return self.label or " ".join((self.topology, *switches))


class BenchConfig(StrictModel):
    """Settings of a bench run.

    Attributes
    ----------
    task : str
        Data set, e.g. ``"gsm8k"``.
    split : str
        Split of the data set.
    part : {"train", "validation", "test"}, optional
        Only this part of the split by content hash (60, 20 and 20 %). With `calibrate` it is
        ``"test"``, always.
    topologies : sequence of Row or str
        Rows of the table. The first is the reference of every comparison.
    baselines : bool
        Add the rows of `BASELINES` that are not there yet.
    team : str, optional
        Team file or its name. Default: the package's team for this kind of task.
    backend : str, optional
        Model of the agents that name none.
    routing : RoutingModel
        Switches for all rows.
    limit : int, optional
        Only the first questions of the split.
    seeds : int
        Each question is asked with the seeds 0 to ``seeds - 1``.
    budget_tokens : int, optional
        Paid tokens that the whole run must not pass, all its starts together.
    concurrency : int
        Questions in flight.
    scorers : sequence of str, optional
        The first decides; the others are columns. Default: those of the data set.
    anytime : float or "calibrated", optional
        Anytime stop of every row that does not set its own. ``"calibrated"``: chosen on the
        validation part, for the first row.
    calibrate : bool
        Measure each agent's reliability on the training part before the run.
    calibration_limit : int, optional
        Questions of the training part, and of the validation part, to use. Default: `limit`.
    cache : bool
        Keep the replies in the run folder. Rows then share the calls that they have in common,
        and a resumed run pays for none twice. Off: for backends whose replies cost nothing.
    fail_on_error : float, optional
        Stop when more than this share of the samples failed.
    """

    task: str
    split: str = "test"
    part: Literal["train", "validation", "test"] | None = None
    topologies: tuple[Row, ...] = Field(
        default=("role_cover",), min_length=1, validate_default=True
    )
    baselines: bool = True
    team: str | None = None
    backend: str | None = None
    routing: RoutingModel = RoutingModel()
    limit: int | None = Field(default=None, ge=1)
    seeds: int = Field(default=1, ge=1)
    budget_tokens: int | None = Field(default=None, ge=1)
    concurrency: int = Field(default=8, ge=1)
    scorers: tuple[str, ...] = ()
    anytime: float | Literal["calibrated"] | None = None
    calibrate: bool = False
    calibration_limit: int | None = Field(default=None, ge=1)
    cache: bool = True
    fail_on_error: float | None = Field(default=None, ge=0, le=1)

    @field_validator("topologies", mode="before")
    @classmethod
    def _rows(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = (value,)
        return tuple({"topology": row} if isinstance(row, str) else row for row in value)

    @field_validator("anytime")
    @classmethod
    def _probability(cls, value: float | str | None) -> float | str | None:
        if isinstance(value, float) and not 0 < value <= 1:
            raise ValueError("anytime must be in (0, 1] or 'calibrated'")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> BenchConfig:
        names = [row.name for row in self.rows]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two rows have the name {twice[0]!r}; give one a label")
        if self.topologies[0].topology in MATCHED:
            raise ValueError("the first row is what others are matched to; it cannot be matched")
        if self.calibrate and self.part not in (None, "test"):
            raise ValueError("a calibrated run reports the test part")
        if self.anytime == "calibrated" and not self.calibrate:
            raise ValueError("anytime: calibrated needs calibrate: true")
        return self

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows, baselines last."""
        if not self.baselines:
            return self.topologies
        plain = {
            row.topology for row in self.topologies if not row.switches and row.temperature is None
        }
        added = tuple(Row(topology=name) for name in BASELINES if name not in plain)
        return (*self.topologies, *added)

    def decisive(self, team: Team) -> dict[str, Any]:
        """Everything that decides the answers, and nothing else.

        How many questions run at once, how much may be spent and which errors are tolerated may
        change between two starts of one run.
        """
        settings = self.model_dump(
            mode="json", exclude={"concurrency", "budget_tokens", "fail_on_error", "topologies"}
        )
        settings["routing"] = _given(self.routing)
        settings["rows"] = {
            row.name: {"topology": row.topology, "routing": row.switches, "seeds": row.seeds}
            | ({} if row.temperature is None else {"temperature": row.temperature})
            | ({} if (read := weights_digest(row.topology)) is None else {"weights": read})
            for row in self.rows
        }
        settings["members"] = describe(team)
        return settings


def config_hash(decisive: dict[str, Any]) -> str:
    """SHA-256 of the decisive settings."""
    return hashlib.sha256(compact(decisive).encode()).hexdigest()


def describe(team: Team) -> dict[str, Any]:
    """A team as plain data, without keys: prompts, models, sampling, routing."""
    return {
        "name": team.name,
        "routing": asdict(team.routing),
        "agents": {
            agent.id: {
                "role": agent.role,
                "prompt": agent.prompt,
                "backend": team.backends[agent.id].name,
                "tools": list(agent.tools),
                "sampling": asdict(agent.sampling),
                "reliability": agent.reliability,
            }
            for agent in team.agents.values()
        },
    }


def _given(model: RoutingModel) -> dict[str, Any]:
    return {name: getattr(model, name) for name in sorted(model.model_fields_set)}
