"""Pytest plugin: the option ``--backend`` for runs of the published suite.

Every pytest run in an environment with hyperagent loads this file, so it imports nothing
heavy, and adds the option only to runs that ask for ``hyperagent.testing``: another
project's own ``--backend`` stays its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from hyperagent.errors import UnknownNameError

if TYPE_CHECKING:
    from hyperagent.llm import Backend

_DEST = "hyperagent_backend"
_SUITES = ("hyperagent.testing", "hyperagent.testing.test_backend")

backend_factory: pytest.StashKey[Callable[[], Any]] = pytest.StashKey()
"""Where a run keeps what makes the backend to check."""


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(parser: pytest.Parser, args: list[str]) -> None:
    """Add the option, if this run is one of ours."""
    if any(arg.partition("::")[0] in _SUITES for arg in args):
        parser.addoption(
            "--backend",
            dest=_DEST,
            metavar="SPEC",
            help="backend to check: a spec such as openai:MODEL@URL, or MODULE:NAME of a "
            "class, function or object of yours",
        )


def pytest_configure(config: pytest.Config) -> None:
    """Find the backend, so that a wrong name ends the run once, not once per test."""
    if hasattr(config.option, _DEST):
        config.stash[backend_factory] = find_backend(getattr(config.option, _DEST))


def find_backend(spec: str | None) -> Callable[[], Backend]:
    """What makes the backend for ``--backend SPEC``.

    Parameters
    ----------
    spec : str or None
        ``kind:rest`` of a registered backend, else ``module:name`` of a backend or of
        something that gives one when called without arguments.
    """
    from hyperagent.llm import backend, backends

    if not spec:
        raise pytest.UsageError("say which backend to check: --backend SPEC")
    kind, _, rest = spec.partition(":")
    if kind in backends.names():
        return lambda: backend(spec)
    # As `python -m` does, so that a module in the working directory is found.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = getattr(import_module(kind), rest)
    except (ImportError, AttributeError, ValueError) as error:
        unknown = UnknownNameError("backend", kind, backends.names())
        raise pytest.UsageError(f"--backend {spec}: {error}; {unknown}") from error
    return found if callable(found) else lambda: found
