"""Does training text repeat test questions? Shared runs of 13 words, per test set.

Words are lower-case letters and numbers; in a second column every number counts as ``<n>``, so
that the same story with other numbers shows too. A test question of fewer than 13 words is
compared whole.

    python benchmarks/pocket/overlap.py TRAIN.jsonl [MORE.jsonl.gz] --out FOLDER [--clean FILE]
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hyperagent import datadir
from hyperagent.errors import DataError

SIZE = 13
"""Words in a run."""
MATHS = (
    "abstract_algebra",
    "college_mathematics",
    "elementary_mathematics",
    "high_school_mathematics",
    "high_school_statistics",
)
"""Subjects of MMLU that are compared."""
TEST_FILES = {
    "gsm8k test": "gsm8k/test.jsonl.gz",
    "multiarith": "multiarith/all.jsonl.gz",
    "svamp test": "svamp/test.jsonl.gz",
    "asdiv": "asdiv/all.jsonl.gz",
    "addsub": "addsub/all.jsonl.gz",
    "singleeq": "singleeq/all.jsonl.gz",
    "aqua test": "aqua/test.jsonl.gz",
    "aqua dev": "aqua/dev.jsonl.gz",
    "mathqa test": "mathqa/test.jsonl.gz",
    "mathqa challenge": "mathqa/challenge_test.jsonl.gz",
    "mmlu test maths": "mmlu/test.jsonl.gz",
}
"""Test sets and their files below the data directory."""
_WORD = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+(?:'[^\W\d_]+)*")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_Row = TypeVar("_Row")


def words(text: str, numbers: bool = True) -> tuple[str, ...]:
    """Lower-case words of a text; numbers as they are, or each as ``<n>``."""
    text = _THOUSANDS.sub("", text.lower().replace("\u2019", "'"))
    found = _WORD.findall(text)
    return tuple(found if numbers else ["<n>" if w[0].isdigit() else w for w in found])


def runs(found: tuple[str, ...], size: int = SIZE) -> Iterator[int]:
    """Hashes of all runs of `size` words; of the whole if it is shorter (nothing if empty)."""
    if found and len(found) < size:
        yield hash(found)
    for start in range(len(found) - size + 1):
        yield hash(found[start : start + size])


@dataclass
class Found:
    """What one test set shares with the training texts.

    Parameters
    ----------
    name : str
    questions : int
        Questions in the test set.
    exact, masked : list of str
        Test questions with a shared run: numbers as they are; numbers as ``<n>``.
    """

    name: str
    questions: int
    exact: list[str] = field(default_factory=list)
    masked: list[str] = field(default_factory=list)


class Index:
    """The runs of the test sets, to hold training texts against.

    Only the runs of the tests are kept (some hundred thousand), so training texts may stream by.

    Parameters
    ----------
    tests : mapping of str to iterable of str
        Questions by name of the test set.
    size : int, optional
        Words in a run.
    """

    def __init__(self, tests: Mapping[str, Iterable[str]], size: int = SIZE) -> None:
        self.size = size
        self.tests = {name: list(questions) for name, questions in tests.items()}
        self._of: dict[bool, dict[int, list[tuple[str, int]]]] = {True: {}, False: {}}
        for numbers, table in self._of.items():
            for name, questions in self.tests.items():
                for place, question in enumerate(questions):
                    for run in runs(words(question, numbers), size):
                        table.setdefault(run, []).append((name, place))
        self._hit: dict[bool, set[int]] = {True: set(), False: set()}

    def shared(self, text: str, numbers: bool = True) -> set[int]:
        """Runs of a training text that a test question has too."""
        table = self._of[numbers]
        return {run for run in runs(words(text, numbers), self.size) if run in table}

    def add(self, text: str) -> bool:
        """Note what a training text shares.

        Returns
        -------
        bool
            Whether it shares a run with its numbers as they are.
        """
        exact = self.shared(text)
        self._hit[True] |= exact
        self._hit[False] |= self.shared(text, numbers=False)
        return bool(exact)

    def found(self) -> list[Found]:
        """The count so far, a row for each test set."""
        rows = []
        for name, questions in self.tests.items():
            lists = []
            for numbers, table in self._of.items():
                places = {
                    place
                    for run in self._hit[numbers]
                    for owner, place in table[run]
                    if owner == name
                }
                lists.append([questions[place] for place in sorted(places)])
            rows.append(Found(name, len(questions), *lists))
        return rows


def held_out(data_dir: str | os.PathLike[str] | None = None) -> dict[str, list[str]]:
    """Questions of every test set of `TEST_FILES` that the data directory holds.

    Parameters
    ----------
    data_dir : path, optional
        See `hyperagent.datadir`.
    """
    sets = {}
    for name, relative in TEST_FILES.items():
        path = datadir.find(relative, data_dir)
        if path is not None:
            rows = read(path)
            sets[name] = [_question(r, path) for r in rows if r.get("subject", MATHS[0]) in MATHS]
    if not sets:
        looked = ", ".join(str(place) for place in datadir.places(data_dir))
        raise DataError(f"no test set was found in {looked}; expected e.g. gsm8k/test.jsonl.gz")
    return sets


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a JSON-lines file, packed by gzip or not."""
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise DataError(f"{path} line {number}: expected an object")
                    yield row
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read as JSON lines: {error}") from error


def _question(row: Mapping[str, Any], path: Path) -> str:
    text = row.get("question", row.get("Problem"))
    if not isinstance(text, str):
        raise DataError(f"{path}: a row has no text 'question'; it has {', '.join(row)}")
    return text


def check(
    texts: Iterable[str], tests: Mapping[str, Iterable[str]], size: int = SIZE
) -> list[Found]:
    """Hold training texts against test sets.

    Parameters
    ----------
    texts : iterable of str
        Training questions (or any training texts).
    tests : mapping of str to iterable of str
        As `held_out` gives them.
    size : int, optional
        Words in a run.
    """
    index = Index(tests, size)
    for text in texts:
        index.add(text)
    return index.found()


def drop(
    rows: Iterable[_Row],
    tests: Mapping[str, Iterable[str]],
    text: Any = lambda row: row.question,
    masked: bool = False,
) -> list[_Row]:
    """The training examples that share no run with a test question.

    Parameters
    ----------
    rows : iterable
        Training examples.
    tests : mapping of str to iterable of str
        As `held_out` gives them.
    text : callable, optional
        Text of an example; its attribute `question` by default.
    masked : bool, optional
        Also drop those that share a run only when numbers count as ``<n>``.
    """
    index = Index(tests)
    return [
        row
        for row in rows
        if not index.shared(text(row)) and not (masked and index.shared(text(row), numbers=False))
    ]


def table(rows: Iterable[Found]) -> str:
    """The result as a markdown table."""
    lines = [
        "| test set | questions | share a run | share a run, numbers as `<n>` |",
        "|---|---:|---:|---:|",
    ]
    lines += [f"| {r.name} | {r.questions} | {len(r.exact)} | {len(r.masked)} |" for r in rows]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    """Print and write how many test questions share a run of 13 words with training files."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("train", nargs="+", type=Path, help="JSON lines with a field 'question'")
    parser.add_argument("--data", help="data directory (default: HYPERAGENT_DATA)")
    parser.add_argument("--out", type=Path, help="folder for overlap.json and overlap.md")
    parser.add_argument("--clean", type=Path, help="write the rows that share no run here")
    options = parser.parse_args(arguments)
    index = Index(held_out(options.data))
    kept: list[dict[str, Any]] = []
    count = shared = 0
    for path in options.train:
        for row in read(path):
            hit = index.add(_question(row, path))
            count, shared = count + 1, shared + hit
            if options.clean and not hit:
                kept.append(row)
    found = index.found()
    print(table(found) + f"\n{shared} of {count} training questions share a run with a test.")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        report = {
            "train": [path.name for path in options.train],
            "examples": count,
            "examples_that_share": shared,
            "words_in_a_run": SIZE,
            "tests": [vars(row) for row in found],
        }
        text = json.dumps(report, indent=1, ensure_ascii=False)
        (options.out / "overlap.json").write_text(text + "\n", encoding="utf-8")
        (options.out / "overlap.md").write_text(table(found), encoding="utf-8")
    if options.clean:
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
        options.clean.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except DataError as error:
        sys.exit(f"overlap: {error}")
