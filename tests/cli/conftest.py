"""The command in this process: the same interface as the real one in ``tests/e2e``, but quick."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hyperagent.cli import main, output
from hyperagent.testing import LoopbackServer

REPLY = "48 / 2 = 24 clips in May.\nNOTE\nanswer: 72\nconfidence: 0.9\nfact: 48 + 24 = 72"


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines that begin with ``error:``."""
        return [line for line in self.err.splitlines() if line.startswith("error:")]


class Shell:
    """Runs `main` in an empty folder, with a home folder of its own."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch, capsys: Any) -> None:
        self.home, self.folder = root / "home", root / "work"
        self.home.mkdir()
        self.folder.mkdir()
        self._patch, self._capsys = patch, capsys

    def __call__(self, *words: str, env: Mapping[str, str] | None = None, stdin: str = "") -> Done:
        with self._patch.context() as patch:
            patch.chdir(self.folder)
            patch.setenv("HOME", str(self.home))
            for name in ("HYPERAGENT_DATA", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
                patch.delenv(name, raising=False)
            patch.setattr(warnings, "showwarning", warnings.showwarning)
            patch.setattr(output, "_secrets", set())
            patch.setattr(sys, "stdin", io.StringIO(stdin))
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            code = main(list(words))
        said = self._capsys.readouterr()
        assert "Traceback" not in said.err, said.err
        return Done(code, said.out, said.err)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Shell:
    return Shell(tmp_path, monkeypatch, capsys)


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    """A server whose model always answers 72."""
    with LoopbackServer(reply=lambda body: REPLY) as running:
        yield running


@pytest.fixture
def serve() -> Iterator[Callable[..., LoopbackServer]]:
    """Start servers of another kind."""
    running: list[LoopbackServer] = []

    def start(**options: Any) -> LoopbackServer:
        running.append(LoopbackServer(**options))
        return running[-1].__enter__()

    yield start
    for one in running:
        one.__exit__(None, None, None)
