"""The suite as a stranger runs it: from another folder, by the documented command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

GOOD = """
from hyperagent.llm import FunctionBackend

def Mine():
    return FunctionBackend(lambda request: f"sample {request.sample}")
"""
BAD = (
    GOOD
    + """
class Loud(FunctionBackend):
    async def complete(self, request):
        raise ValueError("not one of ours")

def Bad():
    return Loud(str)
"""
)


def pytest_run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def test_a_strangers_backend_passes_by_name(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(GOOD)
    run = pytest_run(tmp_path, "--pyargs", "hyperagent.testing", "--backend", "theirs:Mine")
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout


def test_a_bad_backend_fails(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(BAD)
    run = pytest_run(tmp_path, "--pyargs", "hyperagent.testing", "--backend", "theirs:Bad")
    assert run.returncode == 1
    assert "not one of ours" in run.stdout


def test_a_spec_string_is_understood(tmp_path: Path) -> None:
    run = pytest_run(
        tmp_path, "--pyargs", "hyperagent.testing", "--backend", "scripted:so be it", "-k", "closes"
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_no_name_and_a_wrong_name_end_the_run_once(tmp_path: Path) -> None:
    for arguments, expected in (
        ([], "say which backend to check"),
        (["--backend", "opnai:x"], "Did you mean 'openai'?"),
    ):
        run = pytest_run(tmp_path, "--pyargs", "hyperagent.testing", *arguments)
        assert run.returncode == 4
        assert expected in run.stderr


def test_other_projects_keep_their_own_option(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "def pytest_addoption(parser):\n    parser.addoption('--backend')\n"
    )
    (tmp_path / "test_theirs.py").write_text(
        "def test_it(pytestconfig):\n    assert pytestconfig.getoption('--backend') == 'numpy'\n"
    )
    run = pytest_run(tmp_path, "--backend", "numpy")
    assert run.returncode == 0, run.stdout + run.stderr
