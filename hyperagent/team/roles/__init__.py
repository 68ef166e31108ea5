"""Roles shipped with the package: prompts for mathematics, code and knowledge teams."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from hyperagent.errors import UnknownNameError


@dataclass(frozen=True, slots=True)
class Role:
    """What an agent is asked to be.

    Attributes
    ----------
    name : str
    prompt : str
        System prompt.
    profile : str
        One line for designers.
    tools : tuple of str
    """

    name: str
    prompt: str
    profile: str
    tools: tuple[str, ...] = ()


@cache
def _roles() -> dict[str, Role]:
    """All roles of the YAML files in this folder; one file for each kind of team."""
    found: dict[str, Role] = {}
    for file in sorted(files(__name__).iterdir(), key=lambda f: f.name):
        if not file.name.endswith(".yaml"):
            continue
        for name, row in yaml.safe_load(file.read_text(encoding="utf-8")).items():
            found[name] = Role(
                name,
                " ".join(row["prompt"].split()),
                " ".join(row["profile"].split()),
                tuple(row.get("tools", ())),
            )
    return found


def role_names() -> list[str]:
    """Names of all roles, sorted."""
    return sorted(_roles())


def get_role(name: str) -> Role:
    """The role called `name`.

    Raises
    ------
    UnknownNameError
        If there is none; give the agent a ``prompt`` to use a role of your own.
    """
    try:
        return _roles()[name]
    except KeyError:
        raise UnknownNameError("role", name, _roles()) from None
