"""An agent: a name, a role, a language model and how to sample from it."""

from __future__ import annotations

from dataclasses import dataclass, field

from hyperagent.errors import ConfigError
from hyperagent.llm import Backend
from hyperagent.team.roles import Role, get_role


@dataclass(frozen=True, slots=True)
class Sampling:
    """Decoding options of an agent; None leaves the server's default.

    Parameters
    ----------
    temperature : float or None
    top_p : float or None
    max_tokens : int or None
        Cap on the completion of one call.
    stop : tuple of str
    """

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = 1024
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.temperature is not None and not 0 <= self.temperature <= 2:
            raise ConfigError(f"temperature must be in [0, 2], got {self.temperature!r}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p must be in (0, 1], got {self.top_p!r}")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ConfigError(f"max_tokens must be at least 1, got {self.max_tokens!r}")
        object.__setattr__(self, "stop", tuple(self.stop))


@dataclass(frozen=True)
class Agent:
    """One member of a team.

    Parameters
    ----------
    id : str
        Unique in the team; must not contain ``#``, which marks samples of an agent.
    role : str
        Name of a role (`hyperagent.team.role_names`), or any word if `prompt` is given.
    prompt : str, optional
        System prompt in place of the role's.
    backend : str or Backend, optional
        Language model; None takes the team's.
    tools : tuple of str, optional
        ``"calculator"``, ``"python"``; None takes the role's.
    sampling : Sampling
    reliability : float or None
        Probability in (0, 1) that this agent's answer is right, measured on other
        questions. It weighs the vote and drives the anytime stop. None: unknown.
    profile : str, optional
        One line about the agent for a learned designer; the role's by default.

    Raises
    ------
    ConfigError
        Naming the field and the value that cannot be used.
    """

    id: str
    role: str = "solver"
    prompt: str | None = None
    backend: str | Backend | None = None
    tools: tuple[str, ...] | None = None
    sampling: Sampling = field(default_factory=Sampling)
    reliability: float | None = None
    profile: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id.strip() or "#" in self.id:
            raise ConfigError(
                f"an agent id must be a non-empty string without '#', got {self.id!r}"
            )
        if self.reliability is not None and not 0 < self.reliability < 1:
            raise ConfigError(
                f"agent {self.id!r}: reliability must lie between 0 and 1, got {self.reliability!r}"
            )
        if self.prompt is None:
            role = get_role(self.role)
        else:
            role = Role(self.role, self.prompt, self.profile or self.role)
        object.__setattr__(self, "prompt", role.prompt)
        object.__setattr__(self, "profile", self.profile or role.profile)
        tools = role.tools if self.tools is None else self.tools
        if isinstance(tools, str):
            raise ConfigError(f"agent {self.id!r}: tools must be a list of names, got {tools!r}")
        object.__setattr__(self, "tools", tuple(tools))
