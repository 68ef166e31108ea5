"""The golden table of GSM8K extraction, and the other scorers."""

from __future__ import annotations

import pytest

from hyperagent.errors import TaskError, UnknownNameError
from hyperagent.tasks import Task, score, scorers

# What the published rules return, seen by running them; None is "[invalid]" or no answer.
GOLDEN = [
    ("#### 18", "18", None, "18", "18"),
    ("The answer is 18.", None, "18", "18", "18"),
    ("The answer is 18", None, "1", "18", "18"),
    ("So it costs $29.00.", None, None, "29.00", "29"),
    ("The answer is 7. Hmm...", None, "7", "..", "7"),
    ("The answer is 1,000 dollars", None, "1000", "1000", "1000"),
    ("The answer is -5.", None, "-5", "-5", "-5"),
    ("#### 42\nQuestion: next? #### 7", "42", None, "7", "42"),
    ("I cannot solve this.", None, None, None, None),
    ("The answer is 3.5", None, "3", "3.5", "3.5"),
    ("**Answer: \\$18 per day.**", None, None, "18", "18"),
    ("The answer is 18 (out of 20).", None, "18", "20", "18"),
]
COLUMNS = ("strict", "cot_strict", "flexible", "numeric")


@pytest.mark.parametrize("row", GOLDEN, ids=[row[0][:30] for row in GOLDEN])
@pytest.mark.parametrize("column", COLUMNS)
def test_golden_table(row: tuple[str | None, ...], column: str) -> None:
    reply, want = row[0], row[1 + COLUMNS.index(column)]
    right = row[4]
    task = Task("How many?", answer=right or "0")
    result = score(task, reply, column)
    assert result.answer == want
    assert result.scorer == column
    assert result.correct == (want is not None and want == right)


def test_harness_rules_read_golds_as_published() -> None:
    """Gold answers may carry the rationale, separators and a dollar sign."""
    for gold in ("1,800", "$1800", "so many\n#### 1,800"):
        task = Task("How many?", answer=gold)
        assert score(task, "#### 1800", "strict").correct
        assert score(task, "It is $1,800.", "flexible").correct


def test_zero_is_an_answer_and_silence_is_not_zero() -> None:
    task = Task("How many?", answer="0")
    assert score(task, "The answer is 0.").correct
    assert not score(task, "I cannot solve this.").correct
    assert score(task, "I cannot solve this.").answer is None


def test_default_scorers() -> None:
    assert score(Task("?!", answer="$18.00"), "18").scorer == "numeric"
    choice = Task("?!", answer="B", kind="choice", choices=("one", "two"))
    assert score(choice, "Answer: (b)").correct
    assert not score(choice, "Answer: (a)").correct
    text = Task("?!", answer="Purple", kind="text")
    assert score(text, "The answer is purple.").correct
    assert score(text, "PURPLE").correct
    assert not score(text, "The answer is red.").correct


def test_what_cannot_be_scored_is_an_error() -> None:
    with pytest.raises(TaskError, match="no gold answer"):
        score(Task("How many?"), "18")
    with pytest.raises(TaskError, match="no tests"):
        score(Task("Write it.", kind="code"), "def f(): pass")
    with pytest.raises(UnknownNameError, match="flexible"):
        score(Task("How many?", answer="1"), "1", "flexibel")


def test_registry() -> None:
    assert set(scorers.names()) >= {"strict", "flexible", "numeric", "choice", "code", "exact"}


def test_a_question_that_no_request_could_carry_is_refused() -> None:
    with pytest.raises(TaskError, match="Unicode"):
        Task("caf\udce9")
