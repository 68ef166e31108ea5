"""Every block of the README runs, against a real server on loopback."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperagent import datadir
from hyperagent.testing.servers import LoopbackServer

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
COMMANDS = [
    line.split("#")[0].strip()
    for language, code in BLOCKS
    if language == "sh"
    for line in code.splitlines()
    if line.startswith("hyperagent ")
]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    note = (
        "48 / 2 = 24 and 48 + 24 = 72.\nNOTE\nanswer: 72\nconfidence: 0.9\nfact: half of 48 is 24"
    )
    with LoopbackServer(reply=lambda body: note) as running:
        yield running.url


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme")


def environment(server: str) -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return os.environ | {"OPENAI_BASE_URL": server, "PATH": path}


def test_the_shape_that_we_promise() -> None:
    assert len(README.splitlines()) <= 200
    first = [language for language, _ in BLOCKS][:2]
    assert first == ["sh", "python"], "two commands, then Python"
    commands = [line.split("#")[0].strip() for line in BLOCKS[0][1].splitlines()]
    assert commands == ["make demo", "make test"]
    assert len(PYTHON[0].splitlines()) <= 12


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_python(code: str, server: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(server),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("command", COMMANDS, ids=range(len(COMMANDS)))
def test_commands(command: str, server: str, folder: Path) -> None:
    """In the order of the README: later ones use the run folder of earlier ones."""
    command = command.replace("http://127.0.0.1:8080/v1", server).replace(
        "--limit 100", "--limit 3"
    )
    if datadir.find("gsm8k/test.jsonl.gz") is None:
        command = command.replace("bench gsm8k", "bench wordproblems")
    words = shlex.split(command)
    if words[1] == "learn":
        # As in the README, with fewer executions: a hundred seconds are too many for a test.
        words += ["--executions", "400"]
    done = subprocess.run(
        [sys.executable, "-m", "hyperagent", *words[1:]],
        env=environment(server),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )
    # The doctor finds fault with this machine if it likes; everything else must succeed.
    assert done.returncode == 0 or "doctor" in words, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("target", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()
