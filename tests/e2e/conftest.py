"""The real command, in a process of its own, with a home folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hyperagent.testing import LoopbackServer
from hyperagent.testing.fixtures import llama_url, tiny_gguf

__all__ = ["llama_url", "tiny_gguf"]

_SCRIPT = Path(sys.executable).with_name("hyperagent")
COMMAND = [str(_SCRIPT)] if _SCRIPT.exists() else [sys.executable, "-m", "hyperagent"]
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
    """Runs commands in an empty working folder, in a world without settings of the developer."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home, self.folder = root / "home", root / "work"
        self.home.mkdir()
        self.folder.mkdir()

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("OPENAI_", "OLLAMA_", "HYPERAGENT_", "XDG_"))
        }
        return {**kept, "HOME": str(self.home), "COLUMNS": "100", **(extra or {})}

    def start(self, *words: str, env: Mapping[str, str] | None = None, **rest: Any) -> Any:
        return subprocess.Popen(
            [*COMMAND, *words],
            cwd=self.folder,
            env=self.environment(env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **rest,
        )

    def __call__(
        self,
        *words: str,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        seconds: float = 60,
    ) -> Done:
        child = self.start(*words, env=env, stdin=subprocess.PIPE)
        try:
            out, err = child.communicate(stdin, timeout=seconds)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            out, err = child.communicate()
            pytest.fail(f"hyperagent {words} took more than {seconds} s\n{out}\n{err}")
        assert "Traceback" not in err, err
        return Done(child.returncode, out, err)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


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
