"""``hyperagent serve-model``: a real server, a real request, a real Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def serving(shell: Any, *words: str) -> Iterator[tuple[Any, str]]:
    """The command in a process of its own, and the address that it prints."""
    child = shell.start("serve-model", *words, env={"OMP_NUM_THREADS": "1"})
    try:
        url = child.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), url + child.stderr.read()
        yield child, url
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
        child.stderr.close()


def chat(url: str, **fields: Any) -> Any:
    body = {"messages": [{"role": "user", "content": "Ann has 3 apples."}], **fields}
    call = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode())
    return urllib.request.urlopen(call, timeout=30)


def test_it_serves_and_ends_with_ctrl_c(shell: Any, tiny_gguf: Path) -> None:
    words = (f"gguf:{tiny_gguf}", "--port", "0", "--parallel", "2")
    with serving(shell, *words) as (child, url):
        with chat(url, max_tokens=5) as answer:
            reply = json.load(answer)
        assert reply["usage"]["completion_tokens"] == 5
        assert shell("models", "--base-url", url).out == f"{tiny_gguf.stem}\n"
        asked = shell("ask", "--base-url", url, "What is 2 + 2?", seconds=120)
        assert asked.code in (0, 1), asked
        # In the middle of a reply, which must not hold it up.
        with chat(url, max_tokens=100_000, stream=True) as endless:
            assert endless.readline().startswith(b"data:")
            child.send_signal(signal.SIGINT)
            assert child.wait(5) == 130
        told = child.stderr.read()
        assert f"hyperagent ask --base-url {url}" in told
        assert told.endswith("interrupted\n")
        assert "calculator" not in told


def test_a_port_in_use_is_one_clear_line(shell: Any, tiny_gguf: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = shell("serve-model", f"gguf:{tiny_gguf}", "--port", port)
    assert (done.code, len(done.errors), done.out) == (2, 1, "")
    assert f"port {port}: Address already in use" in done.errors[0]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["gguf:missing.gguf"], "no model file at"),
        (["openai:x"], "expected pocket, pocket:VARIANT or gguf:PATH"),
        (["pocket:no-such-thing"], "pocket"),
        (["gguf:text.gguf"], "is not a GGUF file"),
        (["gguf:text.gguf", "--port", "70000"], "--port"),
    ],
)
def test_what_cannot_be_served(shell: Any, words: list[str], expected: str) -> None:
    (shell.folder / "text.gguf").write_text("hello")
    done = shell("serve-model", *words)
    assert (done.code, len(done.errors)) == (2, 1), done
    assert expected in done.errors[0]


def test_help_says_that_there_is_no_calculator(shell: Any) -> None:
    told = " ".join(shell("serve-model", "--help").out.split())
    assert "llama.cpp's server knows no calculator" in told


def test_doctor_checks_the_weights(shell: Any, tiny_gguf: Path, tmp_path: Path) -> None:
    """A folder that stands in for the package's own: right, then damaged, then gone."""
    import hashlib

    content, folder = tiny_gguf.read_bytes(), tmp_path / "weights"
    folder.mkdir()
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (folder / "weights.json").write_text(json.dumps({"pocket-sums.gguf": entry}))
    program = (
        "import sys, pathlib; from hyperagent.llm import weights;"
        f"weights.FOLDER = pathlib.Path({str(folder)!r});"
        "from hyperagent.cli import main; sys.exit(main(['doctor', '--json']))"
    )

    def doctor() -> tuple[int, dict[str, str]]:
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            env=shell.environment({"PYTHONPATH": os.getcwd()}),
        )
        rows = [row for row in json.loads(done.stdout) if row["subject"] == "pocket"]
        return done.returncode, rows[0]

    (folder / "pocket-sums.gguf").write_bytes(content)
    code, row = doctor()
    assert (code, row["state"]) == (0, "ok")
    assert row["text"] == "pocket:sums: weights here, hashes right"
    (folder / "pocket-sums.gguf").write_bytes(content[:-1])
    code, row = doctor()
    assert (code, row["state"]) == (1, "bad")
    assert "cut short" in row["text"]
    (folder / "weights.json").unlink()
    code, row = doctor()
    assert (code, row["state"]) == (0, "note")
