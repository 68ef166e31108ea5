"""From a spec string to a backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hyperagent.errors import ConfigError
from hyperagent.llm.types import Backend
from hyperagent.registry import Registry

BackendFactory = Callable[..., Backend]
"""``factory(rest, **options)`` with the part of the spec after the colon."""

backends: Registry[BackendFactory] = Registry(
    "backend",
    {
        "openai": "hyperagent.llm.openai_compat:create",
        "ollama": "hyperagent.llm.ollama:create",
        "gguf": "hyperagent.llm.gguf:create",
        "hf": "hyperagent.llm.hf:create",
        "pocket": "hyperagent.llm.pocket:create",
        "recorded": "hyperagent.llm.recorded:recorded",
        "scripted": "hyperagent.llm.scripted:scripted",
        "function": "hyperagent.llm.function:function",
    },
    group="hyperagent.backends",
)
"""Kinds of backend; installed packages add theirs in the entry-point group of that name."""


def backend(spec: str | Backend, **options: Any) -> Backend:
    """The backend that `spec` describes.

    Parameters
    ----------
    spec : str or Backend
        ``"name:rest"``, e.g. ``"openai:gpt-4o-mini"``; a backend is returned as it is.
    **options
        ``base_url``, ``api_key``, ``timeout``, ``data_dir``: each kind takes what it has a
        use for. Those that are None count as not given.

    Raises
    ------
    UnknownNameError
        If no backend has that name.
    ConfigError
        If the rest of the spec or an option cannot be used.
    """
    if isinstance(spec, Backend):
        return spec
    if not isinstance(spec, str) or not spec:
        raise ConfigError(f"a backend is given as 'name:rest' or as an object, got {spec!r}")
    name, _, rest = spec.partition(":")
    given = {key: value for key, value in options.items() if value is not None}
    made = backends.get(name)(rest, **given)
    if not isinstance(made, Backend):
        raise ConfigError(
            f"backend {name!r} gave a {type(made).__name__}, which lacks name, connection, "
            "capabilities, complete or aclose"
        )
    return made
