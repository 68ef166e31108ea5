"""kill -9 at random moments, and keys that must not reach the disk: real processes and sockets."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest_bench import right_answer, write_sums

from hyperagent.bench.files import read_lines
from hyperagent.testing.servers import Answer, LoopbackServer, failure

TEAM = """
name: killed
topology: group
routing: {gate: 0.9, structured: never}
agents:
  - {id: ann, prompt: You are Ann., tools: [], sampling: {max_tokens: 50}}
  - {id: bob, prompt: You are Bob., tools: [], sampling: {max_tokens: 50}}
  - {id: eve, prompt: You are Eve., tools: [], sampling: {max_tokens: 50}}
"""
SETTINGS = {
    "task": "gsm8k",
    "topologies": ["group", "chain"],
    "baselines": False,
    "concurrency": 4,
    "limit": 25,
}


def say(body: Mapping[str, Any]) -> str:
    """An answer that depends on the prompt and the seed, so that agents disagree and revise."""
    text = "\n".join(message["content"] for message in body["messages"])
    noise = hashlib.sha256(f"{text} {body.get('seed')}".encode()).digest()[0]
    value = right_answer(body["messages"][-1]["content"])
    return f"The answer is {value + noise % 3}."


class Zygote:
    """Starts and kills bench runs."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.stderr = folder / "stderr.txt"
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("bench_zygote.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stderr.open("w"),
            text=True,
            env=os.environ | environment,
        )

    def start(self, **order: Any) -> int:
        """Process id of a new run."""
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def wait(self) -> int:
        """Exit code of the run; minus the signal if it was killed."""
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


@pytest.fixture
def zygote(tmp_path: Path) -> Iterator[Zygote]:
    started = Zygote(tmp_path)
    yield started
    started.close()


def chat_calls(server: LoopbackServer) -> Counter[str]:
    """How often each chat request was made."""
    return Counter(
        json.dumps(r.body, sort_keys=True)
        for r in server.requests
        if r.path.endswith("completions")
    )


def outcome(path: Path) -> dict[str, Any]:
    """Everything a finished run says about its items, clocks and start numbers aside."""
    last = {s["item"]: s for s in read_lines(path / "samples.jsonl")}
    for sample in last.values():
        sample.pop("seconds")
        sample.pop("start")
    return last


def test_killed_20_times_a_run_ends_the_same_and_pays_only_for_calls_in_flight(
    tmp_path: Path, zygote: Zygote
) -> None:
    data = write_sums(tmp_path / "data", 25)
    (tmp_path / "team.yaml").write_text(TEAM)
    draw = random.Random(20)
    with LoopbackServer(Answer(delay=0.012), reply=say, keep=100_000) as server:
        order = {
            "config": {**SETTINGS, "team": str(tmp_path / "team.yaml"),
                       "backend": f"openai:tiny@{server.url}"},
            "data_dir": str(data),
        }  # fmt: skip
        zygote.start(**order, out=str(tmp_path / "whole"), resume=False)
        assert zygote.wait() == 0, zygote.stderr.read_text()
        expected, calls = outcome(tmp_path / "whole"), chat_calls(server)
        assert set(calls.values()) == {1}
        rows = read_lines(tmp_path / "whole" / "calls.jsonl")
        assert {row["purpose"] for row in rows} >= {"speak", "revise"}
        total = len(calls)
        kills = 0
        for attempt in range(4):
            server.requests.clear()
            out = tmp_path / f"killed{attempt}"
            # The points of the kills, counted in calls, lie anywhere in the run.
            points, lost = sorted(draw.sample(range(1, total), 5)), 0
            for point in points:
                already = len(server.requests)
                pid = zygote.start(**order, out=str(out), resume=True)
                deadline = time.monotonic() + 20
                while len(server.requests) < max(point, already + 1):
                    assert time.monotonic() < deadline, zygote.stderr.read_text()
                    time.sleep(0.001)
                time.sleep(draw.uniform(0, 0.02))
                os.kill(pid, signal.SIGKILL)
                kills += zygote.wait() == -signal.SIGKILL
                # In flight at this kill or an earlier one: sent, but not on the ledger.
                time.sleep(0.02)
                lost = len(server.requests) - paid_calls(out)
            zygote.start(**order, out=str(out), resume=True)
            assert zygote.wait() == 0, zygote.stderr.read_text()
            made = chat_calls(server)
            assert set(made) == set(calls)
            # A kill may also hit between the ledger's line and the cache's.
            assert sum(made.values()) - total <= lost + len(points)
            assert outcome(out) == expected
            self_check(out, made)
        assert kills >= 18


def test_an_interrupted_run_can_be_resumed(tmp_path: Path, zygote: Zygote) -> None:
    data = write_sums(tmp_path / "data", 25)
    (tmp_path / "team.yaml").write_text(TEAM)
    with LoopbackServer(Answer(delay=0.03), reply=say) as server:
        order = {
            "config": {
                **SETTINGS,
                "team": str(tmp_path / "team.yaml"),
                "backend": f"openai:tiny@{server.url}",
            },
            "data_dir": str(data),
            "out": str(tmp_path / "run"),
        }
        pid = zygote.start(**order, resume=False)
        deadline = time.monotonic() + 20
        while len(server.requests) < 40:
            assert time.monotonic() < deadline, zygote.stderr.read_text()
            time.sleep(0.002)
        os.kill(pid, signal.SIGINT)
        assert zygote.wait() != 0
        assert "KeyboardInterrupt" in zygote.stderr.read_text()
        calls = read_lines(tmp_path / "run" / "calls.jsonl")
        cancelled = sum(call["error"] == "CancelledError" for call in calls)
        # Everything that was sent is on the ledger, the calls that were given up too.
        assert paid_calls(tmp_path / "run") == len(server.requests)
        zygote.start(**order, resume=True)
        assert zygote.wait() == 0, zygote.stderr.read_text()
        made = chat_calls(server)
        assert sum(made.values()) - len(made) <= cancelled
        assert len(outcome(tmp_path / "run")) == 50


def paid_calls(out: Path) -> int:
    """Calls on the ledger that went to the server."""
    return sum(not call["from_cache"] for call in read_lines(out / "calls.jsonl"))


def self_check(out: Path, made: Counter[str]) -> None:
    """The ledger of a resumed run counts each finished call once, and never more than were made."""
    samples = {s["item"]: s for s in read_lines(out / "samples.jsonl")}
    calls = read_lines(out / "calls.jsonl")
    final = Counter(c["item"] for c in calls if c["start"] == samples[c["item"]]["start"])
    assert final == {item: s["calls"] for item, s in samples.items()}
    paid = paid_calls(out)
    summary = json.loads((out / "summary.json").read_text())
    assert paid == summary["made_calls"] <= sum(made.values())
    assert paid >= len(made)
    assert not summary["stopped"]


@pytest.mark.parametrize(("status", "given"), [(401, "environment"), (400, "option")])
def test_a_planted_key_is_in_no_file_of_a_failing_run(
    tmp_path: Path, status: int, given: str
) -> None:
    """The server repeats the key in its error, as some do; the run folder must not."""
    key = "sk-planted-4f1c0a9d27"
    data = write_sums(tmp_path / "data", 6)
    (tmp_path / "team.yaml").write_text(TEAM)
    environment = {"OPENAI_API_KEY": key} if given == "environment" else {}
    zygote = Zygote(tmp_path, **environment)
    try:
        with LoopbackServer(failure(status, f"Incorrect API key provided: {key}")) as server:
            order = {
                "config": {**SETTINGS, "team": str(tmp_path / "team.yaml"), "limit": 3,
                           "topologies": ["single"],
                           "backend": f"openai:tiny@{server.url}"},
                "data_dir": str(data),
                "out": str(tmp_path / given),
                "resume": False,
                "options": {"api_key": key} if given == "option" else {},
            }  # fmt: skip
            zygote.start(**order)
            assert zygote.wait() in (1, 3)
            sent = [r.headers.get("authorization") for r in server.requests]
    finally:
        zygote.close()
    assert f"Bearer {key}" in sent, "the key was not even used, so the test shows nothing"
    files = [f for f in (tmp_path / given).rglob("*") if f.is_file()]
    assert {"calls.jsonl", "config.json", "meta.json"} <= {f.name for f in files}
    for file in [*files, zygote.stderr]:
        assert not re.search(rb"planted-4f1c0a9d27", file.read_bytes()), file
