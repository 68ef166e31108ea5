"""Which option a reply chooses."""

from __future__ import annotations

import pytest

from hyperagent.tasks import Task, equal, extract, normalise

CITIES = Task(
    "Capital of France?", answer="B", kind="choice", choices=("Rome", "Paris", "New York", "York")
)
SUMS = Task(
    "How much?", answer="C", kind="choice", choices=("$61", "0.2", "4000", "5 km", "None of these")
)


@pytest.mark.parametrize(
    ("reply", "want"),
    [
        ("B", "B"),
        (" b. ", "B"),
        ("(B)", "B"),
        ("**B**", "B"),
        ("**B)** Paris", "B"),
        ("B) Paris", "B"),
        ("The answer is (B).", "B"),
        ("The answer is B", "B"),
        ("The answer is **B**.", "B"),
        ("The correct answer is option B.", "B"),
        ("Answer: B", "B"),
        ("**Answer:** (b)", "B"),
        ("Final answer: \\boxed{B}", "B"),
        ("so \\boxed{\\text{B}}", "B"),
        ("#### B", "B"),
        ("I would choose (B) because it is the capital.", "B"),
        ("Therefore, the answer to the question is B) Paris.", "B"),
        ("The answer is (A)... no. The answer is (B).", "B"),
        ("The answer is Paris.", "B"),
        ("The answer is a city, Paris.", "B"),
        ("Paris", "B"),
        ("After some thought: New York", "C"),
        ("Option (A) is incorrect because it is in Italy. Only (B) fits.", "B"),
        ("A) Rome is in Italy.\nB) Paris is in France.\nIt is (B)", "B"),
        ("<think>The answer is (A)</think>The answer is (B).", "B"),
        ("The answer is (F).", None),
        ("I cannot answer this question about Paris or Rome.", None),
        ("My answer is (Unknown).", None),
        ("Rome or Paris", None),
        ("A city in France", None),
        ("", None),
    ],
)
def test_letter_of_a_reply(reply: str, want: str | None) -> None:
    assert extract(reply, CITIES) == want


@pytest.mark.parametrize(
    ("reply", "want"),
    [
        ("the answer is 3999.9999999999995", "C"),
        ("the answer is $61.00", "A"),
        ("the answer is 0.20000000000000004", "B"),
        ("the answer is 5", "D"),
        ("the answer is 17", None),
    ],
)
def test_value_of_a_reply(reply: str, want: str | None) -> None:
    assert extract(reply, SUMS) == want


@pytest.mark.parametrize("spelling", ["B", "b", "(B)", "B.", "b)", "Paris", "paris.", "B) Paris"])
def test_letters_and_texts_vote_together(spelling: str) -> None:
    assert normalise(spelling, CITIES) == "B"


def test_equal_letters() -> None:
    assert equal("(B)", "b", "choice")
    assert not equal("A", "B", "choice")
