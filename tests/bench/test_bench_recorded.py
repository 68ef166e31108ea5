"""The recorded team: real replies, calibrated on other questions than those reported."""

from __future__ import annotations

import json
from pathlib import Path

from hyperagent.bench import BenchConfig, run_bench
from hyperagent.bench.files import read_lines
from hyperagent.tasks import load, part_of
from hyperagent.team import Team

TEAM = "recorded_gsm8k"
FULL = {
    "topology": "group",
    "label": "full vote",
    "routing": {"vote": "plurality", "anytime": None},
}
SETTINGS = BenchConfig(
    task="gsm8k", team=TEAM, topologies=("cascade", FULL), baselines=False,
    calibrate=True, anytime="calibrated",
)  # fmt: skip


def test_the_team_spans_weak_and_strong_runs(replay_math: str) -> None:
    with Team.from_config(TEAM, backend_options={"data_dir": replay_math}) as team:
        assert 8 <= len(team.agents) <= 12
        tasks = load("gsm8k", data_dir=replay_math)
        rates = []
        for backend in team.backends.values():
            known = [t for t in tasks if backend.samples(t.id)]
            right = sum(backend.prediction(t.id).answer == t.answer for t in known)
            rates.append(right / len(known))
        assert 0.37 < min(rates) < 0.45
        assert 0.9 < max(rates) < 0.95
        # The order in the file must not tell who is good.
        assert rates != sorted(rates, reverse=True)


def test_with_the_stop_the_team_keeps_the_full_votes_accuracy_for_half_its_tokens(
    replay_math: str, tmp_path: Path
) -> None:
    summary = run_bench(SETTINGS, out=tmp_path / "a", data_dir=replay_math)
    stop, full = summary.rows
    assert stop.accuracy.value >= full.accuracy.value
    assert stop.tokens <= 0.5 * full.tokens
    assert full.calls == 12
    assert summary.failed == 0
    assert summary.left_out == 1319 - 983
    assert summary.replayed

    tasks = {t.id: t for t in load("gsm8k", data_dir=replay_math)}
    samples = read_lines(tmp_path / "a" / "samples.jsonl")
    wanted = {"@agent": "train", "@anytime": "validation"}
    for sample in samples:
        part = wanted.get(sample["row"].split()[0], "test")
        assert part_of(tasks[sample["task"]]) == part


def test_two_runs_are_equal_byte_for_byte(replay_math: str, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"limit": 20, "calibration_limit": 20})
    texts = []
    for concurrency in (1, 64):
        out = tmp_path / f"{concurrency}" / "run"
        one = settings.model_copy(update={"concurrency": concurrency})
        run_bench(one, out=out, data_dir=replay_math)
        samples = sorted(read_lines(out / "samples.jsonl"), key=lambda s: s["item"])
        for sample in samples:
            del sample["seconds"]
        calls = read_lines(out / "calls.jsonl")
        for call in calls:
            del call["milliseconds"]
        calls.sort(key=lambda c: json.dumps(c, sort_keys=True))
        whole = [(out / name).read_bytes() for name in ("summary.json", "report.md")]
        texts.append((json.dumps(samples), json.dumps(calls), whole))
    assert texts[0] == texts[1]
