"""From settings to a model that answers: which one, and whether its server is there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

from hyperagent import llm
from hyperagent.cli import output
from hyperagent.cli.settings import Resolved
from hyperagent.errors import (
    AuthenticationFailed,
    BackendError,
    ConfigError,
    ConnectFailed,
    HyperagentError,
    NotFound,
)
from hyperagent.llm import Backend
from hyperagent.llm.openai_compat import OPENAI_URL
from hyperagent.team import load_team_file

LISTING_SECONDS = 15.0
"""A server that lists its models does so soon or not at all. More than the time to connect."""


@runtime_checkable
class Server(Protocol):
    """A backend at an address, which can be asked for its models."""

    base_url: str
    model: str

    async def list_models(self) -> list[str]:
        """Ids of the models that the server offers."""
        ...

    async def aclose(self) -> None:
        """As `Backend.aclose`."""
        ...


def team_needs_model(team: str) -> bool:
    """Whether a team file leaves the model of an agent open."""
    parts = load_team_file(team)
    return not parts["backend"] and any(agent.backend is None for agent in parts["agents"])


async def choose_backend(
    resolved: Resolved, team: str | None, *, spec: str | None = None, quiet: bool = False
) -> str | None:
    """Spec of the model for agents that name none; None leaves it to the team file.

    With an address and no model, the first model of that server is taken.

    Parameters
    ----------
    resolved : Resolved
    team : str or None
        Name of the team; None for one whose agents name no model.
    spec : str, optional
        What was chosen elsewhere, in place of the settings.
    quiet : bool
        Do not say which model was taken.

    Raises
    ------
    BackendError, ConfigError
        If the server must be asked for its models and cannot be.
    """
    spec = spec or resolved.spec()
    if spec is not None or (team is not None and not team_needs_model(team)):
        return spec
    url = resolved.values.base_url
    if url is None or url.rstrip("/") == OPENAI_URL:
        return None
    model = (await models_of_server(resolved.options()))[0]
    if not quiet:
        output.remark(f"using model {model} of {url}")
    return f"openai:{model}"


async def models_of_server(options: dict[str, Any]) -> list[str]:
    """Models of the server that the options or the environment name; at least one.

    Raises
    ------
    BackendError, ConfigError
        Saying what to do about it.
    """
    server: Any = llm.backend("openai:models", **{**options, "timeout": LISTING_SECONDS})
    try:
        found = await server.list_models()
    except NotFound as error:
        better = await _with_v1(server.base_url, options)
        raise ConfigError(
            f"no models are listed below {server.base_url}; use --base-url {better}"
            if better
            else f"no models are listed below {server.base_url} (HTTP 404): the address must "
            "usually end in /v1. If it is right, name the model with --model"
        ) from error
    finally:
        await server.aclose()
    if not found:
        raise ConfigError(f"{server.base_url} offers no model; load one, or name it with --model")
    return found


async def _with_v1(url: str, options: dict[str, Any]) -> str:
    """`url` with ``/v1`` behind it if models are listed there, else an empty string."""
    if url.endswith("/v1"):
        return ""
    better = f"{url}/v1"
    server: Any = llm.backend(f"openai:models@{better}", **{**options, "timeout": LISTING_SECONDS})
    try:
        await server.list_models()
    except BackendError:
        return ""
    finally:
        await server.aclose()
    return better


async def check_servers(backends: Iterable[Backend]) -> None:
    """Ask each server once for its models, so that a wrong address is met before any work.

    Retries would otherwise wait for a server that nobody started. Servers need not list their
    models, so only "nobody is there" and "wrong key" count.

    Raises
    ------
    ConnectFailed, AuthenticationFailed
    """
    asked = set()
    for backend in backends:
        if isinstance(backend, Server) and backend.base_url not in {*asked, OPENAI_URL}:
            asked.add(backend.base_url)
            try:
                async with asyncio.timeout(LISTING_SECONDS):
                    await backend.list_models()
            except (ConnectFailed, AuthenticationFailed):
                raise
            except (BackendError, TimeoutError):
                continue


async def check_spec(spec: str, options: dict[str, Any]) -> None:
    """`check_servers` for a backend that is not open yet."""
    backend = llm.backend(spec, **options)
    try:
        await check_servers([backend])
    finally:
        await backend.aclose()


async def explain(
    error: NotFound, backends: Iterable[Backend], options: dict[str, Any]
) -> HyperagentError:
    """A 404, told apart: wrong address or unknown model."""
    for backend in backends:
        if not isinstance(backend, Server) or f"{backend.model} at " not in str(error):
            continue
        url = backend.base_url
        try:
            found = await backend.list_models()
        except BackendError:
            better = await _with_v1(url, options)
            return ConfigError(f"nothing answers below {url}; use {better}") if better else error
        if backend.model not in found:
            shown = ", ".join(found[:8]) + (", ..." if len(found) > 8 else "")
            return ConfigError(f"{url} has no model {backend.model!r}; it offers {shown or 'none'}")
    return error
