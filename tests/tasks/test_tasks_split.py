"""Splits by content hash."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperagent.errors import TaskError
from hyperagent.tasks import Task, part_of, split_by_hash


def test_shares_are_about_right_and_nothing_is_lost() -> None:
    tasks = [Task(f"Question number {i}?", id=str(i)) for i in range(5000)]
    parts = split_by_hash(tasks)
    assert list(parts) == ["train", "validation", "test"]
    assert sorted((t.id for p in parts.values() for t in p), key=int) == [t.id for t in tasks]
    for name, share in {"train": 0.6, "validation": 0.2, "test": 0.2}.items():
        assert abs(len(parts[name]) / 5000 - share) < 0.03


@given(st.lists(st.text(min_size=1).filter(str.strip), max_size=20), st.randoms())
def test_part_depends_on_the_content_alone(questions: list[str], random) -> None:
    tasks = [Task(q, id=str(i)) for i, q in enumerate(questions)]
    shuffled = tasks[:]
    random.shuffle(shuffled)
    first, second = split_by_hash(tasks), split_by_hash(shuffled)
    assert {n: {t.id for t in p} for n, p in first.items()} == {
        n: {t.id for t in p} for n, p in second.items()
    }
    spaced = [Task(f"  {q.upper()} \n", id=str(i)) for i, q in enumerate(questions) if q.isascii()]
    assert all(part_of(t) == part_of(tasks[int(t.id)]) for t in spaced)


def test_empty_parts_stay_and_get_nothing() -> None:
    parts = split_by_hash(
        [Task(f"Q{i}") for i in range(50)], {"none": 0.0, "all": 1.0, "last": 0.0}
    )
    assert (len(parts["none"]), len(parts["all"]), len(parts["last"])) == (0, 50, 0)


@pytest.mark.parametrize("shares", [{"a": 0.5}, {"a": 1.5, "b": -0.5}, {}])
def test_bad_shares(shares: dict[str, float]) -> None:
    with pytest.raises(TaskError, match="sum to 1"):
        part_of(Task("Q?"), shares)
