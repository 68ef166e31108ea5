"""The demo, for real: the models of the package, live, on a few questions."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from hyperagent import datadir, demo
from hyperagent.bench import Summary
from hyperagent.bench.files import read_lines

QUESTIONS = 4
ROWS = [row.name for row in demo.live_config().rows]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Summary, Path, str]:
    """Summary, folder and what was printed."""
    folder = tmp_path_factory.mktemp("demo")
    said = io.StringIO()
    summary = demo.run(folder, Console(file=said, width=140), questions=QUESTIONS)
    return summary, folder, said.getvalue()


def test_every_row_is_answered_by_live_models(ran: tuple[Summary, Path, str]) -> None:
    summary, folder, _ = ran
    assert [row.name for row in summary.rows] == ROWS
    assert summary.failed == 0
    assert not summary.replayed
    assert all(row.samples == QUESTIONS and not row.unknown for row in summary.rows)
    # The shortest questions are among them, and a pocket model that misses all is broken.
    assert sum(row.accuracy.value for row in summary.rows) > 0
    calls = read_lines(folder / "run" / "calls.jsonl")
    assert {call["backend"].split(":")[0] for call in calls} == {"pocket"}
    assert {call["source"] for call in calls if not call["error"]} == {"server"}


def test_rows_spend_what_their_names_say(ran: tuple[Summary, Path, str]) -> None:
    summary, _, _ = ran
    assert summary.row("solver alone").calls == 1
    assert summary.row("solver, 5 samples").calls >= 5
    assert summary.row("one group of all").calls >= 5
    assert summary.row("cascade, anytime stop").calls <= 6


def test_it_shows_the_table_the_picture_and_where_the_page_is(
    ran: tuple[Summary, Path, str],
) -> None:
    _, folder, said = ran
    for name in (*ROWS, "inside the noise", "agreement", "know nothing of the world"):
        assert name in " ".join(said.split())
    assert str(folder / "design.html") in said.replace("\n", "")
    page = (folder / "design.html").read_text(encoding="utf-8")
    for agent in ("solver", "sums", "rates", "parts", "checker"):
        assert agent in page
    assert re.search(r"confidence", page, re.IGNORECASE)
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_the_question_that_is_drawn_is_of_medium_length() -> None:
    (task,) = demo.tasks.load("wordproblems", limit=demo.SHOWN + 1)[demo.SHOWN :]
    assert task.meta["steps"] == 3


def test_recorded_without_the_records_is_one_clear_error(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hyperagent.demo", "--recorded"],
        env={"PATH": "", "HOME": str(tmp_path), "HYPERAGENT_DATA": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "HYPERAGENT_DATA" in done.stderr
    assert "Traceback" not in done.stderr


def test_recorded_is_calibrated_on_the_real_records(replay_math: str) -> None:
    assert datadir.find(demo_record := "replay_math/gsm8k_test.jsonl.gz") is not None, demo_record
    with demo.recorded_team() as team:
        assert len(team.agents) == 10
        assert not set(demo.STRONGEST) & set(team.agents)
