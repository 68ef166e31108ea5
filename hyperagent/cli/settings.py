"""Settings of the command line: a flag goes before the environment, that before a file.

Files: the one that ``--config`` or ``HYPERAGENT_CONFIG`` names, alone; else ``hyperagent.yaml``
in the working directory and, for what that leaves open, the one in the user's configuration
directory. ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY`` count as environment too, but only for
``openai:`` backends, which read them themselves: a key for one service must not travel to another.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from hyperagent.cli import output
from hyperagent.config import load_yaml, validate
from hyperagent.errors import ConfigError

PREFIX = "HYPERAGENT_"
FILE_NAME = "hyperagent.yaml"
DEFAULT = "default"
_OTHER_VARIABLES = (f"{PREFIX}CONFIG", f"{PREFIX}DEBUG")
"""Variables of ours that set no key."""
SERVICE_VARIABLES = {"base_url": "OPENAI_BASE_URL", "api_key": "OPENAI_API_KEY"}
"""What the `openai` client calls two of our keys."""


class Settings(BaseSettings):
    """Every key of a settings file; ``HYPERAGENT_`` and the key in capitals is its variable."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True
    )

    team: str | None = Field(None, description="team file or its name")
    topology: str | None = Field(None, description="anchor or designer, in place of the team's")
    backend: str | None = Field(None, description="model as KIND:REST, e.g. openai:NAME@URL")
    model: str | None = Field(None, description="model name, short for openai:NAME")
    base_url: str | None = Field(None, description="address of the server, ending in /v1")
    api_key: SecretStr | None = Field(None, description="only where the server wants one")
    budget_tokens: int | None = Field(None, ge=1, description="tokens that must not be passed")
    timeout: float | None = Field(None, gt=0, description="seconds for one turn of an agent")
    concurrency: int = Field(8, ge=1, description="questions in flight in a bench")
    seed: int = Field(0, description="decoding seed of a question")
    data: str | None = Field(None, description="data directory")
    prices: str | None = Field(None, description="YAML file with the prices of models")

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, **_: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """None but what `resolve` hands over: it reads the sources one by one, to name them."""
        return (init_settings,)


@dataclass(frozen=True)
class Resolved:
    """Settings and where each came from.

    Attributes
    ----------
    values : Settings
    origins : dict of str to str
        For each key a flag, the name of a variable, the path of a file, or ``"default"``.
    ranks : dict of str to int
        0 for a flag, 1 for the environment, 2 and more for files; a default ranks last.
    files : tuple of str
        Files that were read.
    """

    values: Settings
    origins: dict[str, str]
    ranks: dict[str, int]
    files: tuple[str, ...]

    @classmethod
    def defaults(cls) -> Resolved:
        """Nothing was set anywhere."""
        keys = Settings.model_fields
        return cls(Settings(), dict.fromkeys(keys, DEFAULT), dict.fromkeys(keys, 0), ())

    def spec(self) -> str | None:
        """The backend: ``backend``, or ``model`` if that was set closer to the command.

        Raises
        ------
        ConfigError
            If both were set in one place.
        """
        values = self.values
        if values.backend and values.model and self.ranks["backend"] == self.ranks["model"]:
            raise ConfigError(
                f"backend and model are both set ({self.origins['backend']}, "
                f"{self.origins['model']}); model {values.model!r} is short for "
                f"backend 'openai:{values.model}'"
            )
        if values.model and self.ranks["model"] < self.ranks["backend"]:
            return f"openai:{values.model}"
        return values.backend

    def options(self) -> dict[str, Any]:
        """Options for backends that are made from a spec string."""
        found = {
            "api_key": self.values.api_key,
            "base_url": self.values.base_url,
            "timeout": self.values.timeout,
            "data_dir": self.values.data,
        }
        return {
            key: value
            for key, value in found.items()
            if value is not None and self.origins.get(key) not in SERVICE_VARIABLES.values()
        }


def resolve(flags: Mapping[str, Any] | None = None, *, file: str | None = None) -> Resolved:
    """Settings from flags, environment, files and defaults.

    Parameters
    ----------
    flags : mapping, optional
        Values that are None count as not given.
    file : str, optional
        ``--config``.

    Raises
    ------
    ConfigError
        Naming the place, the key and, for an unknown key, the nearest known one.
    """
    given = {k: v for k, v in (flags or {}).items() if v is not None}
    files = _files(file)
    layers: list[_Layer] = [
        {key: (value, f"--{key.replace('_', '-')}") for key, value in given.items()},
        _environment(),
        *({key: (value, str(path)) for key, value in _file(path).items()} for path in files),
    ]
    merged: dict[str, Any] = {}
    origins = dict.fromkeys(Settings.model_fields, DEFAULT)
    ranks = dict.fromkeys(Settings.model_fields, len(layers))
    for rank, layer in reversed(list(enumerate(layers))):
        for key, (value, place) in layer.items():
            _check(key, value, place)
            merged[key], origins[key], ranks[key] = value, place, rank
    values = validate(Settings, merged, "settings")
    if values.api_key is not None:
        output.keep_secret(values.api_key.get_secret_value())
    return Resolved(values, origins, ranks, tuple(map(str, files)))


_Layer = dict[str, tuple[Any, str]]
"""By key the value and where exactly it stands."""


def _check(key: str, value: Any, place: str) -> None:
    """Meet a wrong key or value while it is known where it stands."""
    if key == "api_key" and not isinstance(value, str | SecretStr):
        # The usual message would show the value.
        raise ConfigError(f"{place}: api_key must be a string; put it in quotes")
    validate(Settings, {key: value}, place)


def _environment() -> _Layer:
    own = EnvSettingsSource(Settings)()
    found = {key: (value, PREFIX + key.upper()) for key, value in own.items()}
    for key, variable in SERVICE_VARIABLES.items():
        if key not in found and os.environ.get(variable):
            found[key] = os.environ[variable], variable
    known = [*(PREFIX + key.upper() for key in Settings.model_fields), *_OTHER_VARIABLES]
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            output.remark(f"warning: nothing reads the variable {name}{hint}")
    return found


def user_file() -> Path:
    """``$XDG_CONFIG_HOME/hyperagent/hyperagent.yaml``, by default below ``~/.config``."""
    base = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".config") / "hyperagent" / FILE_NAME


def _files(named: str | None) -> list[Path]:
    named = named or os.environ.get(f"{PREFIX}CONFIG")
    if named:
        return [Path(named).expanduser()]
    return [path for path in (Path(FILE_NAME), user_file()) if path.is_file()]


def _file(path: Path) -> dict[str, Any]:
    # An empty file, or one with comments alone, sets nothing.
    if path.is_file() and not any(
        line.strip() and not line.lstrip().startswith("#")
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
    ):
        return {}
    try:
        data = load_yaml(path)
    except ConfigError as error:
        mark = getattr(error.__cause__, "problem_mark", None)
        if mark is None:
            raise
        problem = getattr(error.__cause__, "problem", None) or "unreadable"
        # The full message quotes the line, and that may hold the key.
        raise ConfigError(
            f"{path} is not YAML: line {mark.line + 1}, column {mark.column + 1}: {problem}"
        ) from None
    return {key: value for key, value in data.items() if value is not None}
