"""Pytest plugin: the option ``--backend`` for runs of the published suite.

Every pytest run in an environment with hyperagent loads this file, so it imports nothing
heavy, and adds the option only to runs that ask for ``hyperagent.testing``: another
project's own ``--backend`` stays its own.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from hyperagent.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from hyperagent.llm import Backend


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(parser: pytest.Parser, args: list[str]) -> None:
    """Add the option, if this run is one of ours."""
    if any(arg.startswith("hyperagent.testing") for arg in args):
        parser.addoption(
            "--backend",
            metavar="SPEC",
            help="backend to check: a spec such as openai:MODEL@URL, or MODULE:NAME of a "
            "class, function or object of yours",
        )


def named_backend(spec: str | None) -> Backend:
    """The backend for ``--backend SPEC``.

    Parameters
    ----------
    spec : str or None
        ``kind:rest`` of a registered backend, else ``module:name``; a name that can be
        called is called without arguments.
    """
    from hyperagent.llm import Backend, backend, backends

    if not spec:
        raise pytest.UsageError("say which backend to check: --backend SPEC")
    kind, _, rest = spec.partition(":")
    if kind in backends.names():
        return backend(spec)
    # As `python -m` does, so that a module beside the author's feet is found.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = getattr(import_module(kind), rest)
    except (ImportError, AttributeError) as error:
        known = UnknownNameError("backend", kind, backends.names())
        raise pytest.UsageError(f"--backend {spec}: {error}; and {known}") from error
    made = found() if callable(found) else found
    if not isinstance(made, Backend):
        raise ConfigError(f"--backend {spec}: a {type(made).__name__} is no Backend")
    return made
