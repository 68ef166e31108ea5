"""The generator of word problems."""

from __future__ import annotations

import re

import pytest

from hyperagent.errors import DataError, UnknownNameError
from hyperagent.tasks import load, score
from hyperagent.tasks.stories import SPLITS, stories
from hyperagent.tasks.wordproblems import STEPS, generate


@pytest.mark.parametrize("split", SPLITS)
def test_solutions_calculate_the_answer(split: str) -> None:
    for task in generate(400, split=split, seed=1):
        marks = re.findall(r"<<(\d+)([-+*/])(\d+)=(\d+)>>", task.meta["solution"])
        assert len(marks) == task.meta["steps"]
        for left, sign, right, result in marks:
            value = {"+": int(left) + int(right), "-": int(left) - int(right),
                     "*": int(left) * int(right), "/": int(left) / int(right)}[sign]  # fmt: skip
            assert value == int(result) > 0
        assert marks[-1][3] == task.answer
        assert score(task, task.meta["solution"], "strict").correct
        assert score(task, task.meta["solution"], "numeric").correct
        # Every number that is not a result of an earlier step stands in the question.
        given = set(re.findall(r"\d+", task.question))
        known = given.copy()
        for left, _, right, result in marks:
            assert {left, right} <= known
            known.add(result)
        assert "{" not in task.question
        assert task.question.endswith(("?", "."))


def test_seed_decides_and_longer_lists_only_append() -> None:
    assert generate(50, seed=3) == generate(80, seed=3)[:50]
    assert generate(50, seed=3) != generate(50, seed=4)


def test_splits_share_neither_story_nor_question() -> None:
    names = {split: {story.name for story in stories()[split]} for split in SPLITS}
    hashes = {split: {t.content_hash() for t in generate(500, split=split)} for split in SPLITS}
    for a in SPLITS:
        assert len(hashes[a]) == 500
        for b in set(SPLITS) - {a}:
            assert not names[a] & names[b]
            assert not hashes[a] & hashes[b]
    assert sum(map(len, names.values())) >= 12


@pytest.mark.parametrize("steps", STEPS)
def test_every_difficulty_exists_in_every_split(steps: int) -> None:
    for split in SPLITS:
        assert {t.meta["steps"] for t in generate(20, split=split, steps=[steps])} == {steps}


def test_as_a_data_set() -> None:
    loaded = load("wordproblems", "validation")
    assert len(loaded) == 300
    assert loaded.sha256 == load("wordproblems", "validation").sha256
    assert loaded.sha256 != load("wordproblems", "test").sha256
    assert load("wordproblems", limit=5).tasks == load("wordproblems").tasks[:5]
    assert len({task.id for task in loaded}) == 300


def test_bad_requests() -> None:
    with pytest.raises(UnknownNameError, match="validation"):
        generate(1, split="valid")
    with pytest.raises(DataError, match="1 to 8"):
        generate(1, steps=[9])
