"""Shared runs of words between training texts and test sets."""

from __future__ import annotations

import gzip
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from hyperagent import datadir
from hyperagent.errors import DataError

FOLDER = Path(__file__).parents[2] / "benchmarks" / "pocket"
if not FOLDER.is_dir():
    pytest.skip("the studies are not part of this checkout", allow_module_level=True)
LONG = "Ann has 12 red apples and gives her brother Tom 5 of them on a sunny Monday morning."


@pytest.fixture(scope="module")
def overlap() -> Iterator[ModuleType]:
    sys.path.insert(0, str(FOLDER))
    try:
        import overlap

        yield overlap
    finally:
        sys.path.remove(str(FOLDER))
        sys.modules.pop("overlap", None)


def counts(overlap, text: str, question: str) -> tuple[int, int]:
    (row,) = overlap.check([text], {"test": [question]})
    assert row.questions == 1
    return len(row.exact), len(row.masked)


def test_words_are_lower_case_and_numbers_stay_or_go(overlap):
    assert overlap.words("Ann's $1,200.50, X-ray!") == ("ann's", "1200.50", "x", "ray")
    assert overlap.words("Ann ate 12.5", numbers=False) == ("ann", "ate", "<n>")


def test_a_shared_run_of_thirteen_words_is_found(overlap):
    assert counts(overlap, "So: " + LONG.upper() + " And then?", LONG) == (1, 1)
    cut = " ".join(LONG.split()[:13])
    assert counts(overlap, f"{cut} and so on", LONG) == (1, 1)
    assert counts(overlap, " ".join(LONG.split()[:12]) + " and so on", LONG) == (0, 0)


def test_other_numbers_show_in_the_second_column_only(overlap):
    assert counts(overlap, LONG.replace("12", "31").replace("5", "7"), LONG) == (0, 1)


def test_a_short_question_is_compared_whole(overlap):
    assert counts(overlap, "What is 3 + 4?", "what is 3 4") == (1, 1)
    assert counts(overlap, "What is 3 + 5?", "What is 3 + 4?") == (0, 1)
    assert counts(overlap, "Now, what is 3 + 4?", "What is 3 + 4?") == (0, 0)


def test_offending_examples_are_dropped(overlap):
    other = LONG.replace("12", "13").replace("5", "6")
    rows = [SimpleNamespace(question=q) for q in (LONG, other, "Else?")]
    tests = {"test": [LONG]}
    assert overlap.drop(rows, tests) == rows[1:]
    assert overlap.drop(rows, tests, masked=True) == rows[2:]


def test_the_command_writes_table_list_and_clean_rows(overlap, tmp_path, capsys):
    folder = tmp_path / "data" / "gsm8k"
    folder.mkdir(parents=True)
    with gzip.open(folder / "test.jsonl.gz", "wt") as file:
        file.write(json.dumps({"question": LONG}) + "\n" + json.dumps({"question": "Other?"}))
    train = tmp_path / "train.jsonl"
    train.write_text(json.dumps({"question": LONG}) + "\n" + json.dumps({"question": "New?"}))
    clean = tmp_path / "clean.jsonl"
    arguments = [str(train), "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    overlap.main([*arguments, "--clean", str(clean)])
    assert "1 of 2 training questions" in capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "overlap.json").read_text())
    assert report["tests"] == [
        {"name": "gsm8k test", "questions": 2, "exact": [LONG], "masked": [LONG]}
    ]
    assert "| gsm8k test | 2 | 1 | 1 |" in (tmp_path / "out" / "overlap.md").read_text()
    assert clean.read_text() == json.dumps({"question": "New?"}) + "\n"


def test_bad_files_are_one_clear_error(overlap, tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text("{nonsense")
    with pytest.raises(DataError, match=r"bad\.jsonl"):
        list(overlap.read(bad))
    with pytest.raises(DataError, match="no test set"):
        overlap.held_out(tmp_path)


def test_the_real_test_sets_find_themselves_and_it_is_quick(overlap):
    if datadir.find("gsm8k/test.jsonl.gz") is None:
        pytest.skip("HYPERAGENT_DATA holds no gsm8k/test.jsonl.gz")
    tests = overlap.held_out()
    name = "gsm8k test"
    index = overlap.Index({name: tests[name]})
    started = time.process_time()
    for question in tests[name]:
        index.add(question)
    spent = time.process_time() - started
    (row,) = index.found()
    assert len(row.exact) == len(row.masked) == row.questions == 1319
    # 500,000 questions in two minutes are 0.24 ms each; ten times that is still no accident.
    assert spent / row.questions < 2.4e-3
