"""What kind of answer a question from the shell asks for."""

from __future__ import annotations

import re

from hyperagent import tasks
from hyperagent.cli.options import Kind
from hyperagent.tasks import Task
from hyperagent.tasks.answers import extract_text
from hyperagent.team import Result

_ASKS_FOR_A_NUMBER = re.compile(
    r"\bhow\s+(?:many|much|old|long|far|tall|fast|heavy)\b"
    r"|\b(?:calculate|compute|what\s+(?:percentage|percent|fraction|number)|sum\s+of|product\s+of"
    r"|total)\b"
    r"|\d\s*(?:[-+*/^×÷%]|plus\b|minus\b|times\b|divided\b|percent\b)",
    re.IGNORECASE,
)


def make_task(question: str, kind: Kind) -> Task:
    """The question as a task; with ``auto``, of the kind that its wording suggests.

    A number is read strictly, so that "72" and "72 clips" vote together; everything that does
    not clearly ask for one is free text.
    """
    if kind is Kind.AUTO:
        kind = Kind.NUMBER if _ASKS_FOR_A_NUMBER.search(question) else Kind.TEXT
    return Task(question, kind=kind.value)


def spelled(result: Result, task: Task) -> str:
    """The answer as its author wrote it: votes are counted on a plainer spelling."""
    if result.answer is None:
        return ""
    written = extract_text(result.text) if task.kind == "text" else None
    if task.kind == "code":
        written = tasks.extract(result.text, task)
    same = written is not None and tasks.normalise(written, task) == result.answer
    return written if written is not None and same else result.answer
