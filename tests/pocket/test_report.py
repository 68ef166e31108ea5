"""The tables say what was measured, and can be made again without the runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hyperagent.errors import DataError

FOLDER = Path(__file__).parents[2] / "benchmarks" / "pocket"
if not FOLDER.is_dir():
    pytest.skip("the studies are not part of this checkout", allow_module_level=True)


@pytest.fixture(scope="module")
def report() -> Iterator[ModuleType]:
    sys.path.insert(0, str(FOLDER))
    try:
        import report

        yield report
    finally:
        sys.path.remove(str(FOLDER))
        sys.modules.pop("report", None)


def shown(hits: str) -> dict[str, Any]:
    return {"accuracy": hits.count("1") / len(hits), "low": 0.1, "high": 0.9, "n": len(hits)}


def scored(**skills: str) -> dict[str, Any]:
    by = {"steps 1": shown("1110"), "level easy": shown("1110")}
    return {
        "sets": {"wordproblems": shown("".join(skills.values())) | {"by": by}},
        "skills": {name: shown(hits) | {"hits": hits} for name, hits in skills.items()},
    }


@pytest.fixture
def run(tmp_path: Path, report: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all that can be measured."""
    monkeypatch.setattr(report, "RUNS", tmp_path / "runs")
    folder = tmp_path / "runs" / "cpu"
    for stage, start in (("words", 2.0), ("team", 0.5)):
        (folder / stage).mkdir(parents=True)
        rows = [
            {
                "step": 250 * i, "tokens": 1_500_000 * i, "seconds": 250.0 * i,
                "loss": start / i, "forced": 0.1 * i, "forced_s1": 0.2 * i, "forced_s8": 0.01 * i,
            }
            for i in (1, 2, 3, 2, 3)
        ]  # fmt: skip
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / stage / "log.jsonl").write_text(text)
    scores = {
        "pocket": scored(money="0" * 20 + "1" * 20, sums="01" * 20),
        "pocket:sums": scored(money="1" * 40, sums="01" * 18 + "1111"),
        "pocket:parts": scored(money="0" * 39 + "1", sums="01" * 20),
    }
    form = {name: shown("110") for name in ("alone", "with board", "repeats the first note")}
    scores["pocket"]["boards as solver"] = {"one right": form, "balanced accuracy": 0.715}
    overlap = {"name": "svamp test", "questions": 9, "exact": [], "masked": ["How many?"]}
    parity = {"type": "f32", "cache": "f32", "prompts": 4, "identical": 3, "other_prompt": 0}
    measured = {
        "scores": scores,
        "scores_bare": {"pocket": scored(money="0" * 40)},
        "parity": [parity | {"gaps": [0.25]}],
        "speed": [{"spec": "pocket", "tokens_per_second": 4321.9, "rounds": [1, 2]}],
        "overlap": {"words_in_a_run": 13, "public": {"questions": 7, "tests": [overlap]}},
    }
    for name, value in measured.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    return folder


def test_tables_hold_every_measurement(report: ModuleType, run: Path) -> None:
    lines = report.tables(report.collect("cpu", {})).splitlines()
    for line in (
        "| words | 750 | 4.50 million | 0.21 | 6,000 | 0.667 | 30.0 % |",
        "| pocket | wordproblems | 80 | 50.0 % [10.0, 90.0] | 0.0 % [10.0, 90.0] |",
        "| pocket:sums | wordproblems | 80 | 77.5 % [10.0, 90.0] |  |",
        "| 1 | 75.0 % [10.0, 90.0] | 75.0 % [10.0, 90.0] | 75.0 % [10.0, 90.0] |",
        "| money | 50.0 % [10.0, 90.0] | **100.0 %** [10.0, 90.0] (better) "
        "| 2.5 % [10.0, 90.0] (worse) |",
        "| sums | 50.0 % [10.0, 90.0] | **55.0 %** [10.0, 90.0] (~) | 50.0 % [10.0, 90.0] (~) |",
        "| pocket | solver | one right | 3 | 66.7 % [10.0, 90.0] | 66.7 % [10.0, 90.0] "
        "| 66.7 % [10.0, 90.0] |",
        "| pocket | solver | balanced accuracy |  |  |  | 71.5 % |",
        "| f32 | f32 | 3 of 4 | 75.0 % [30.1, 95.4] | 0 | 0.2500 | 0.2500 |",
        "| spec | tokens per second |",
        "| pocket | 4,322 |",
        "| public (7) | svamp test | 9 | 0 | 1 |",
    ):
        assert line in lines, line


def test_without_the_runs_the_tables_and_the_picture_are_the_same(
    report: ModuleType, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="needs hyperagent[viz]")
    first, second = tmp_path / "first", tmp_path / "second"
    monkeypatch.setattr(sys, "argv", ["report.py", "--out", str(first)])
    report.main()
    results = (first / "results.json").read_text()
    assert "How many?" not in results, "questions of others are counted, not copied"
    again = ["report.py", "--from", str(first / "results.json"), "--out", str(second)]
    monkeypatch.setattr(sys, "argv", again)
    report.main()
    for name in ("results.json", "tables.md", "curves.png"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_what_was_not_measured_has_no_table(report: ModuleType, run: Path) -> None:
    for name in report.MEASURED:
        (run / f"{name}.json").unlink()
    written = report.tables(report.collect("cpu", {}))
    assert "## Training" in written
    assert written.count("## ") == 1
    with pytest.raises(DataError, match="expected the measured speed"):
        report.collect("cpu", {"speed": run / "none.json"})
    with pytest.raises(DataError, match="nothing is in"):
        report.collect("gpu", {})
