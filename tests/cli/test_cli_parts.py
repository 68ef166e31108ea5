"""Parts of the command line: exit codes, text, tables, kinds of question, run folders."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperagent import errors
from hyperagent.bench import BenchConfig, run_bench
from hyperagent.cli import output
from hyperagent.cli.kinds import make_task, spelled
from hyperagent.cli.options import Kind
from hyperagent.cli.runs import Run, read_summary
from hyperagent.cli.table import summary_lines
from hyperagent.llm import FunctionBackend
from hyperagent.tasks import Task
from hyperagent.team import Agent, Team


def every(kind: type) -> list[type]:
    return [kind, *(deeper for sub in kind.__subclasses__() for deeper in every(sub))]


FAILED = {"BudgetExceeded", "SandboxError", "RateLimited", "ServerFailed", "CallTimeout"}
FAILED |= {"BadReply", "NotRecorded", "TooManyFailures"}


@pytest.mark.parametrize("kind", every(errors.HyperagentError), ids=lambda k: k.__name__)
def test_exit_codes(kind):
    error = kind.__new__(kind)
    assert output.exit_code(error) == (1 if kind.__name__ in FAILED else 2)


@given(st.text())
def test_clean_text_cannot_drive_a_terminal(text):
    cleaned = output.clean(text)
    assert all(c in "\n\t" or (c.isprintable() or ord(c) > 0x9F) for c in cleaned)
    assert output.clean(cleaned) == cleaned


@given(st.lists(st.lists(st.text(max_size=9), min_size=3, max_size=3), min_size=1))
def test_columns_keep_every_cell(rows):
    lines = output.columns(rows)
    assert len(lines) == len(rows)
    for row, line in zip(rows, lines, strict=True):
        for cell in row:
            assert output.clean(cell).rstrip() in line


def test_secrets_are_scrubbed(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "from-the-environment")
    monkeypatch.setenv("SHORT_KEY", "abc")
    monkeypatch.setattr(output, "_secrets", set())
    output.keep_secret("from-the-settings")
    told = output.scrub("abc from-the-environment and from-the-settings")
    assert told == "abc *** and ***"


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Natalia sold 48 clips in April and half as many in May. How many altogether?", "number"),
        ("What is 15 % of 80?", "number"),
        ("What is 2 + 2?", "number"),
        ("Compute the area of a circle of radius 2.", "number"),
        ("What is the capital of France?", "text"),
        ("Who won the world cup in 1998?", "text"),
        ("Name a colour.", "text"),
    ],
)
def test_the_kind_of_a_question(question, kind):
    assert make_task(question, Kind.AUTO).kind == kind
    assert make_task(question, Kind.CODE).kind == "code"


@pytest.mark.parametrize(
    ("kind", "reply", "expected"),
    [
        ("text", "Easy.\nThe answer is Paris", "Paris"),
        ("number", "#### $1,800.00", "1800"),
        ("code", "```python\ndef f():\n    return 1  # one\n```", "def f():\n    return 1  # one"),
        ("number", "no idea", ""),
    ],
)  # fmt: skip
def test_an_answer_is_shown_as_it_was_written(kind, reply, expected):
    task = Task("q?", kind=kind)
    team = Team([Agent("ann", tools=())], "single", FunctionBackend(lambda request: reply))
    assert spelled(team.solve_sync(task), task).strip() == expected


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run in which agents disagree, with names that are not in alphabetical order."""

    def reply(request):
        known = {"zoe": "1", "bob": "2", "ann": "2", "eve": "3"}
        return f"The answer is {known[request.context.agent]}."

    team = Team(
        [Agent(name, tools=()) for name in ("zoe", "bob", "eve", "ann")],
        "star",
        FunctionBackend(reply),
        name="odd",
    ).with_routing(decision="never")
    path = tmp_path_factory.mktemp("runs") / "run"
    rows = ("star", "chain", "random:seed=1")
    config = BenchConfig(task="wordproblems", topologies=rows, limit=2, baselines=False)
    summary = run_bench(config, out=path, team=team)
    return path, summary, team


def test_a_summary_is_read_back(folder):
    path, summary, _ = folder
    read = Run(path).summary
    assert read.to_json() == json.loads((path / "summary.json").read_text())
    assert [row.name for row in read.rows] == [row.name for row in summary.rows]
    assert read_summary(summary.to_json()) == summary


@pytest.mark.parametrize("row", ["star", "chain", "random:seed=1"])
def test_a_sample_is_read_back_with_the_right_groups(folder, row):
    path, _, team = folder
    shown = Run(path).sample(row, None, 0)
    result, graph = shown["result"], shown["graph"]
    fresh = team.with_topology(row).solve_sync(Task("q?", id=result.task))
    assert graph.digest() == fresh.topology.digest()
    expected = {
        board.edge.key: (sorted(note.author for note in board.notes), board.closed_by)
        for board in fresh.boards
    }
    found = {
        board.edge.key: (sorted(note.author for note in board.notes), board.closed_by)
        for board in result.boards
    }
    assert found == expected
    assert result.usage.calls == len(fresh.ledger)
    assert shown["roles"]["zoe"] == "solver"


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140, 300])
def test_the_table_fits_and_cuts_no_number(folder, width):
    summary = folder[1]
    long = dataclasses.replace(
        summary.rows[1], name="self_consistency-matched", prompt_tokens=123456.0
    )
    lines = summary_lines(dataclasses.replace(summary, rows=(summary.rows[0], long)), width)
    widest = len("self_consistency-matched") + 2 + len("100.0% [100.0%, 100.0%]")
    assert max(map(len, lines)) <= max(width, widest)
    text = "\n".join(lines)
    for expected in ("123,456", "inside the noise", "reference", "unparsed", "errors", "flexible"):
        assert expected in text


def test_a_folder_without_its_table(folder, tmp_path):
    path = folder[0]
    for name in ("meta.json", "config.json", "samples.jsonl", "calls.jsonl"):
        (tmp_path / name).write_bytes((path / name).read_bytes())
    with pytest.raises(errors.ConfigError, match="6 samples are done"):
        _ = Run(tmp_path).summary
    with pytest.raises(errors.ConfigError, match="not a run folder"):
        Run(path / "topologies")
