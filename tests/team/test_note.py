"""Reading the public note out of a reply."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperagent.tasks import Task
from hyperagent.team import parse_note

TASK = Task("How many?", answer="18")
PLAIN = "16 - 3 - 4 = 9, 9 * 2 = 18.\n\nNOTE\nanswer: $18\nconfidence: 0.9\nfact: 9 eggs are sold"


def read(text: str, task: Task = TASK, tokens: int = 80):
    return parse_note(text, task, "ann", tokens=tokens)


def test_the_plain_form() -> None:
    note = read(PLAIN)
    assert (note.answer, note.confidence, note.facts) == ("18", 0.9, ("9 eggs are sold",))
    assert note.text == PLAIN


def test_the_json_form() -> None:
    reply = {"work": "…", "answer": "1,800", "confidence": 0.5, "facts": ["a", "b"]}
    note = read(json.dumps(reply))
    assert (note.answer, note.confidence, note.facts) == ("1800", 0.5, ("a", "b"))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("We get 9. The answer is 18.", "18"),
        ("**NOTE**\n**answer:** 18\n**confidence:** 90%", "18"),
        ("NOTE:\n- Answer: -5", "-5"),
        ("NOTE\nanswer: I do not know", None),
        ("I cannot solve this.", None),
        ("", None),
        ('{"answer": 18, "confidence": "high"}', "18"),
        ('{"answer": "18"', "18"),
        ("answer: 7\nNOTE\nanswer: 18", "18"),
        ("NOTE\nanswer: 7\nLet me think again.\nNOTE\nanswer: 18", "18"),
    ],
)
def test_answers(text: str, answer: str | None) -> None:
    assert read(text).answer == answer


@pytest.mark.parametrize(
    ("stated", "value"), [("90%", 0.9), ("0.25", 0.25), ("7", None), ("sure", None), ("-1", None)]
)
def test_confidence(stated: str, value: float | None) -> None:
    assert read(f"NOTE\nanswer: 1\nconfidence: {stated}").confidence == value


def test_facts_are_capped() -> None:
    text = "NOTE\nanswer: 1\n" + "\n".join(f"fact: {'x' * 300}" for _ in range(5))
    note = read(text, tokens=80)
    assert sum(map(len, note.facts)) <= 80 * 4
    assert len(note.facts) <= 3
    assert read(text, tokens=0).facts == ()


def test_a_choice_and_a_program() -> None:
    choice = Task("Which?", kind="choice", choices=("red", "blue"))
    assert read("NOTE\nanswer: (B)", choice).answer == "B"
    code = Task("Write f.", kind="code", meta={"entry_point": "f"})
    program = "```python\ndef f():\n    return 1\n```\nNOTE\nanswer: see code block\nfact: constant"
    note = read(program, code)
    assert "def f():" in note.answer
    assert note.facts == ("constant",)


@given(st.text())
def test_any_text_makes_a_note(text: str) -> None:
    note = read(text)
    assert note.text == text
    assert note.confidence is None or 0 <= note.confidence <= 1


@pytest.mark.parametrize("kind", ["number", "text", "choice", "code"])
@pytest.mark.parametrize(
    "filler", ["\n", "\r\n", " ", "- \n", "* ", "NOTE\n", "\\boxed{"], ids=repr
)
def test_a_reply_that_runs_on_is_read_in_time(kind: str, filler: str) -> None:
    task = Task("Which?", kind=kind, choices=("red", "blue") if kind == "choice" else ())
    text = f"NOTE\nanswer: 7{filler * (20_000 // len(filler))}end"
    began = time.process_time()
    parse_note(text, task, "ann", tokens=80)
    assert time.process_time() - began < 3.0


def test_brackets_without_end_are_no_note() -> None:
    assert read('{"answer": ' + "[" * 100_000).answer is None


def test_a_program_that_is_too_deep_to_be_rewritten_is_kept_as_it_is() -> None:
    program = "def f():\n    return " + " + ".join(["1"] * 700)
    task = Task("Write f.", kind="code", meta={"entry_point": "f"})
    assert read(f"```python\n{program}\n```", task).answer == program
