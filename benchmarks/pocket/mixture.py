"""Do the questions that a run trains on repeat test questions? `train` asks before a new stage.

    python benchmarks/pocket/mixture.py QUESTIONS.jsonl --count 20000 [--boards BOARDS.jsonl]

writes training questions, a row each, for `overlap`. What is drawn is what `words` draws; the
prompts of a team hold the same questions, and those of a file of boards can be added.
"""

from __future__ import annotations

import argparse
import json
import os
import random
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import boards
import overlap
from words import Words

from hyperagent.errors import DataError

COUNT = 20_000
"""Questions that are drawn for a check."""


def drawn(
    words: Words, count: int, notes: Path | None = None, seed: int = 0
) -> Iterator[tuple[str, str]]:
    """Kind and question of `count` drawn chats, then of the problems of a file of boards.

    Parameters
    ----------
    words : Words
    count : int
    notes : Path, optional
        File of `boards`; left out if there is none.
    seed : int
        Not a seed of training: another draw from the same mixture.
    """
    for chat in words.draw(random.Random(f"mixture/{seed}"), count):
        yield chat.kind, chat.user
    if notes is not None and notes.exists():
        for problem in boards.read(notes):
            yield problem.kind, problem.question


def check(
    words: Words,
    out: Path,
    *,
    data_dir: Path | None = None,
    notes: Path | None = None,
    count: int = COUNT,
) -> dict[str, Any]:
    """Hold every public example and `count` drawn questions against the test sets.

    Parameters
    ----------
    words : Words
    out : Path
        JSON file for the report; written also if the check fails.
    data_dir : Path, optional
        See `hyperagent.datadir`.
    notes : Path, optional
        File of `boards`.
    count : int

    Returns
    -------
    dict
        What stands in `out`: for ``public`` and ``generated`` questions their number and a row
        for each test set.

    Raises
    ------
    DataError
        If a public example, its numbers as they are, shares 13 words in a row with a test. A
        generated question may by chance; that is reported.
    """
    tests = overlap.held_out(data_dir)
    questions: dict[str, list[str]] = {"public": [], "generated": []}
    for pool in words.pools.values():
        questions["public"] += [example.question for example in pool]
    for kind, question in drawn(words, count, notes):
        questions["public" if kind in words.pools else "generated"].append(question)
    report: dict[str, Any] = {"words_in_a_run": overlap.SIZE}
    shared: list[str] = []
    for source, texts in questions.items():
        found = overlap.check(texts, tests)
        report[source] = {"questions": len(texts), "tests": [vars(row) for row in found]}
        if source == "public":
            shared = list(chain.from_iterable(row.exact for row in found))
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = out.with_suffix(".tmp")
    fresh.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(fresh, out)
    if shared:
        raise DataError(
            f"public training examples repeat {len(shared)} test questions, expected none; "
            f"the first is {shared[0]!r}; all stand in {out}"
        )
    return report


def main() -> None:
    """Write a sample of training questions."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("out", type=Path, help="JSON lines with kind and question")
    parser.add_argument("--count", type=int, default=COUNT, help=f"chats (default {COUNT})")
    parser.add_argument("--boards", type=Path, help="also the problems of this file of boards")
    parser.add_argument("--data", type=Path, help="data directory (default: HYPERAGENT_DATA)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = drawn(Words(options.data), options.count, options.boards, options.seed)
    with options.out.open("w", encoding="utf-8") as out:
        for kind, question in rows:
            out.write(json.dumps({"kind": kind, "question": question}) + "\n")


if __name__ == "__main__":
    main()
