"""``hyperagent bench`` as a user types it: table, JSON, resume, Ctrl-C, keys."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

from hyperagent.testing.answers import Answer, failure

KEY = "sk-planted-0123456789abcdef"
PLAIN = ["--no-baselines", "-t", "role_cover", "-t", "single", "--limit", "3"]


def calls(server) -> int:
    return sum(request.path.endswith("/chat/completions") for request in server.requests)


def test_a_table_and_a_run_folder(shell, server):
    done = shell("bench", "wordproblems", *PLAIN, "--base-url", server.url, "--out", "run")
    assert done.code == 0, done.err
    head, _, first, second, *_ = done.out.splitlines()
    assert head.startswith("| row | numeric [95 %]")
    assert first.startswith("| role_cover |")
    assert first.endswith("| reference |")
    assert second.endswith("| inside the noise |")
    assert "rows: 6/6" in done.err
    run = shell.folder / "run"
    assert {p.name for p in run.iterdir()} >= {
        "config.json", "meta.json", "samples.jsonl", "calls.jsonl", "summary.json", "topologies",
    }  # fmt: skip
    assert json.loads((run / "summary.json").read_text())["failed"] == 0


def test_resume_pays_for_nothing_twice_and_refuses_other_settings(shell, server):
    words = ["bench", "wordproblems", *PLAIN, "--base-url", server.url, "--out", "run"]
    first = shell(*words)
    paid = calls(server)
    again = shell(*words)
    assert again.code == 2
    assert "holds a run already" in again.errors[0]
    resumed = shell(*words, "--resume")
    assert resumed.code == 0
    assert resumed.out == first.out
    assert calls(server) == paid
    other = shell(*words, "--resume", "--seeds", "2")
    assert other.code == 2
    assert "seeds was 1 and is now 2" in other.errors[0]
    nowhere = shell("bench", "wordproblems", "--resume")
    assert nowhere.code == 2


def test_ctrl_c_is_130_and_the_run_goes_on(shell, serve):
    slow = serve(answer=Answer(text="The answer is 5.", delay=0.2))
    words = [
        "bench", "wordproblems", "--no-baselines", "-t", "single", "--limit", "30",
        "--concurrency", "2", "--base-url", slow.url, "--out", "run",
    ]  # fmt: skip
    child = shell.start(*words)
    samples = shell.folder / "run" / "samples.jsonl"
    until = time.monotonic() + 30
    while not (samples.exists() and samples.read_text().count("\n") >= 3):
        assert time.monotonic() < until
        assert child.poll() is None, child.communicate()
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=20)
    assert child.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert "--out run --resume" in err
    slow.answer = Answer(text="The answer is 5.")
    done = shell(*words, "--resume")
    assert done.code == 0
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    assert len({row["item"] for row in rows if row["status"] == "ok"}) == 30


def test_a_dead_server_is_met_before_the_first_question(shell):
    began = time.monotonic()
    done = shell(
        "bench", "wordproblems", "--base-url", "http://127.0.0.1:9/v1", "-m", "x", "--out", "run"
    )
    assert done.code == 2
    assert len(done.errors) == 1
    assert "is the port right?" in done.errors[0]
    assert time.monotonic() - began < 20
    assert not (shell.folder / "run").exists()


def test_a_planted_key_appears_nowhere(shell, serve):
    """Not in the output and not in the run folder, even if the server repeats it."""
    chatty = serve(answer=failure(400, f"your key {KEY} is fine, your request is not"))
    env = {"OPENAI_API_KEY": KEY}
    done = shell(
        "--debug", "bench", "wordproblems", "--no-baselines", "-t", "single", "--limit", "3",
        "--base-url", chatty.url, "--out", "run", env=env,
    )  # fmt: skip
    assert any(r.headers["authorization"] == f"Bearer {KEY}" for r in chatty.requests)
    assert done.code == 1, done
    assert KEY not in done.out + done.err
    files = [path for path in (shell.folder / "run").rglob("*") if path.is_file()]
    assert len(files) > 4
    for path in files:
        assert KEY.encode() not in path.read_bytes(), path


def test_the_recorded_study_runs_without_a_server(shell, replay_math):
    done = shell(
        "bench", "gsm8k", "--team", "recorded_gsm8k", "--no-baselines", "-t", "cascade", "-t",
        "group", "--limit", "20", "--anytime", "0.9", "--data", replay_math, "--out", "run",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "| cascade |" in done.out
    sample = json.loads((Path(shell.folder) / "run" / "samples.jsonl").read_text().splitlines()[0])
    assert sample["estimated"] > 0
