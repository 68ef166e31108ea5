"""Is a reply right? Each scorer is one rule, and a report names the rule it used.

``strict``, ``flexible`` and ``cot_strict`` follow the GSM8K task of the Language Model
Evaluation Harness (version 3), quirks included, so that their columns can stand beside
published ones. ``numeric`` is ours. A reply that holds no answer is never right.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from hyperagent.errors import TaskError
from hyperagent.registry import Registry
from hyperagent.tasks.answers import extract, normalise, normalise_text
from hyperagent.tasks.programs import complete, hidden_tests
from hyperagent.tasks.sandbox import run_python
from hyperagent.tasks.task import Task


@dataclass(frozen=True)
class Score:
    """Verdict on one reply.

    Parameters
    ----------
    correct : bool
    answer : str or None
        What the scorer read; None if the reply holds no answer (counted as unparsed).
    scorer : str
    reason : str
        Why a program failed; empty otherwise.
    """

    correct: bool
    answer: str | None
    scorer: str
    reason: str = ""


Scorer = Callable[[Task, str], Score]

scorers: Registry[Scorer] = Registry("scorer", group="hyperagent.scorers")

DEFAULT = {"number": "numeric", "choice": "choice", "code": "code", "text": "exact"}
"""Scorer of each kind of task."""


def score(task: Task, text: str, scorer: str | None = None) -> Score:
    """Judge a reply.

    Parameters
    ----------
    task : Task
        With its gold answer (for code: with its tests).
    text : str
        The whole reply, or the bare answer.
    scorer : str, optional
        One of ``scorers.names()``; by default the one in `DEFAULT` for the task's kind.

    Raises
    ------
    TaskError
        If the task has nothing to compare with.
    UnknownNameError
        If there is no such scorer.
    SandboxError
        For code, if no sandbox works on this machine.
    """
    if task.kind == "code" and "tests" not in task.meta:
        raise TaskError(f"task {task.id!r} has no tests to score a program with")
    if task.kind != "code" and task.answer is None:
        raise TaskError(f"task {task.id!r} has no gold answer to score against")
    return scorers.get(scorer or DEFAULT[task.kind])(task, text)


_STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
_FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
_COT = re.compile(r"The answer is (\-?[0-9\.\,]+).")


def _harness_form(text: str) -> str:
    """Text as the harness compares it: no ``,`` ``$`` or prefix up to ``#### ``, one dot less."""
    text = text.replace(",", "").replace("$", "").rpartition("#### ")[2]
    return re.sub(r"\.$", "", text).lower()


def _harness_score(task: Task, found: str | None, scorer: str) -> Score:
    if found is None:
        return Score(False, None, scorer)
    answer = _harness_form(found)
    return Score(answer == _harness_form(str(task.answer)), answer, scorer)


@scorers.register("strict")
def strict(task: Task, text: str) -> Score:
    """First ``#### number``."""
    match = _STRICT.search(text)
    return _harness_score(task, match[1].strip() if match else None, "strict")


@scorers.register("cot_strict")
def cot_strict(task: Task, text: str) -> Score:
    """First ``The answer is number`` with one more character behind it."""
    match = _COT.search(text)
    return _harness_score(task, match[1].strip() if match else None, "cot_strict")


@scorers.register("flexible")
def flexible(task: Task, text: str) -> Score:
    """Last run of digits, dots, commas and dollars; not always a number."""
    found = _FLEXIBLE.findall(text)
    last = next(filter(None, found[-1])).strip() if found else None
    return _harness_score(task, last, "flexible")


def _compare(task: Task, text: str, scorer: str) -> Score:
    answer = extract(text, task)
    return Score(answer is not None and answer == normalise(task.answer, task), answer, scorer)


@scorers.register("numeric")
def numeric(task: Task, text: str) -> Score:
    """Value of the number the reply gives as its answer (see `answers.extract_number`)."""
    return _compare(task, text, "numeric")


@scorers.register("choice")
def choice(task: Task, text: str) -> Score:
    """Letter of the option that the reply chooses."""
    return _compare(task, text, "choice")


@scorers.register("exact")
def exact(task: Task, text: str) -> Score:
    """Text equal to the gold answer, case, outer punctuation and spacing ignored."""
    score = _compare(task, text, "exact")
    whole = normalise_text(text)
    if not score.correct and whole is not None and whole == normalise(task.answer, task):
        return Score(True, whole, "exact")
    return score


@scorers.register("code")
def code(task: Task, text: str) -> Score:
    """The program in the reply passes the hidden tests in the sandbox."""
    program = extract(text, task)
    if program is None:
        return Score(False, None, "code", "the reply holds no program")
    result = run_python(complete(program, task), tests=hidden_tests(task))
    return Score(result.ok, program, "code", result.reason)
