"""The run folder: one writer, torn ends, refusals, secrets."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperagent.bench.files import Journal, compact, read_json, read_lines, replace_file
from hyperagent.bench.store import open_folder
from hyperagent.errors import ResumeRefused, RunError
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.llm import LedgerRow

CONFIG = {"task": "sums", "rows": {"group": {"topology": "group"}}, "hash": "abc"}
META = {"data": {"sha256": "0" * 64}}


def opened(path: Path, **changes: Any) -> Any:
    return open_folder(path, **({"config": CONFIG, "meta": META} | changes))


def sample(task: str, answer: str = "1") -> dict[str, Any]:
    return {"item": f"group|0|{task}", "row": "group", "task": task, "status": "ok",
            "answer": answer}  # fmt: skip


def test_samples_calls_and_topologies_come_back(tmp_path: Path) -> None:
    graph = Hypergraph(("a", "b"), (Hyperedge(("b", "a")),))
    folder = opened(tmp_path / "run")
    folder.add_call("group|0|t1", LedgerRow(agent="a", prompt_tokens=3, completion_tokens=4))
    folder.add_call("group|0|t1", LedgerRow(agent="a", prompt_tokens=3, completion_tokens=4,
                                            from_cache=True))  # fmt: skip
    folder.add_sample(sample("t1"), graph)
    folder.add_sample(sample("t2"), graph.canonical())
    folder.close()
    again = opened(tmp_path / "run", resume=True)
    assert again.start == 2
    assert set(again.samples) == {"group|0|t1", "group|0|t2"}
    assert (again.tally.calls, again.tally.tokens) == (1, 7)
    again.close()
    (stored,) = (tmp_path / "run" / "topologies").iterdir()
    assert stored.name == f"{graph.digest()}.hif.json"
    assert Hypergraph.from_hif(json.loads(stored.read_text())).digest() == graph.digest()


def test_a_second_writer_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    with pytest.raises(RunError, match="another process is writing"):
        opened(tmp_path, resume=True)
    folder.close()
    opened(tmp_path, resume=True).close()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    program = (
        "import sys, os, signal\n"
        "from hyperagent.bench.store import open_folder\n"
        f"open_folder(sys.argv[1], config={CONFIG!r}, meta={META!r})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, tmp_path]).returncode == -9
    opened(tmp_path, resume=True).close()


def test_a_run_is_not_overwritten_without_resume(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with pytest.raises(RunError, match="holds a run already"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"config": CONFIG | {"task": "other"}}, 'task was "sums" and is now "other"'),
        ({"config": CONFIG | {"rows": {"group": {"topology": "star"}}}}, "rows.group.topology"),
        ({"config": CONFIG | {"limit": 3}}, "limit was null and is now 3"),
        ({"meta": {"data": {"sha256": "1" * 64}}}, "data.sha256"),
    ],
)
def test_changed_settings_or_data_refuse_to_resume(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    opened(tmp_path).close()
    with pytest.raises(ResumeRefused, match="other settings or data") as caught:
        opened(tmp_path, resume=True, **changes)
    assert named in str(caught.value)
    # The refusal must not have touched what it refused, nor keep the lock.
    opened(tmp_path, resume=True).close()


def test_decisions_are_kept_for_good(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    assert folder.decide("k", ["a", 1]) == ["a", 1]
    folder.close()
    again = opened(tmp_path, resume=True)
    assert again.decide("k", ["b", 2]) == ["a", 1]
    again.close()


def test_a_file_in_place_of_the_folder_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(RunError, match="cannot use"):
        opened(tmp_path / "run")


@given(
    st.lists(st.dictionaries(st.text(max_size=5), st.text() | st.integers()), max_size=6),
    st.data(),
)
def test_a_journal_cut_anywhere_keeps_every_whole_line(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]], data: Any
) -> None:
    path = tmp_path_factory.mktemp("journal") / "j.jsonl"
    journal = Journal(path)
    ends = [0]
    for record in records:
        journal.append(record)
        ends.append(path.stat().st_size)
    journal.close()
    size = data.draw(st.integers(0, ends[-1]))
    with path.open("rb+") as file:
        file.truncate(size)
    whole = max(i for i, end in enumerate(ends) if end <= size)
    assert read_lines(path) == records[:whole]
    again = Journal(path)
    assert again.cut == size - ends[whole]
    again.append({"after": 1})
    again.close()
    assert read_lines(path) == [*records[:whole], {"after": 1}]


def test_a_torn_line_longer_than_a_read_block_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'{"a":1}\n{"b":"' + b"x" * 200_000)
    Journal(path).close()
    assert path.read_bytes() == b'{"a":1}\n'


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_text('{"a":1}\n{"b":\n{"c":3}\n')
    with pytest.raises(RunError, match="line 2 is damaged"):
        read_lines(path)


@pytest.mark.parametrize("text", ["[1]", "{", ""])
def test_a_damaged_json_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(RunError, match=r"x\.json"):
        read_json(tmp_path / "x.json")


def test_what_json_cannot_hold_becomes_null() -> None:
    assert json.loads(compact({"a": [float("nan"), float("inf"), 1.5]})) == {"a": [None, None, 1.5]}


def test_a_failed_replacement_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "x.json"
    target.mkdir()
    with pytest.raises(RunError, match="cannot write"):
        replace_file(target, "new")
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize("secret", ["sk-planted-0123456789", 'key"with\\quotes', "schlüssel-äöü"])
def test_secrets_are_scrubbed_from_every_file(tmp_path: Path, secret: str) -> None:
    folder = opened(tmp_path, secrets=[secret, "no"])
    folder.add_sample(sample("t", f"echo {secret}"), None)
    folder.add_call("x", LedgerRow(error=f"no good: {secret}"))
    folder.decide("d", secret)
    folder.write("summary.json", {"stopped": secret})
    folder.close()
    spellings = {secret, json.dumps(secret)[1:-1]}
    for file in tmp_path.rglob("*"):
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            assert not any(s in text for s in spellings), file
    assert "no good" in (tmp_path / "calls.jsonl").read_text()


def test_half_a_line_of_a_full_disk_is_taken_back(tmp_path: Path) -> None:
    """In a child, because the limit on the file size holds for a whole process."""
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from hyperagent.bench.files import Journal\n"
        "from hyperagent.errors import RunError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "journal.append({'n': 1})\n"
        "hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50, hard))\n"
        "try:\n"
        "    journal.append({'n': 2, 'long': 'x' * 100})\n"
        "except RunError:\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))\n"
        "    journal.append({'n': 3})\n"
    )
    path = tmp_path / "lines.jsonl"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=60)
    assert read_lines(path) == [{"n": 1}, {"n": 3}]
