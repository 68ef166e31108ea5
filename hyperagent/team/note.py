"""The public note: the only part of a reply that other agents ever see."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from hyperagent import tasks
from hyperagent.tasks import Task

CHARACTERS_PER_TOKEN = 4
"""Rule of thumb for the caps on notes, which must not depend on a model's tokenizer."""

NOTE_SCHEMA = {
    "type": "object",
    "properties": {
        "work": {"type": "string"},
        "answer": {"type": "string"},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "facts": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
    },
    "required": ["work", "answer", "confidence", "facts"],
    "additionalProperties": False,
}
"""JSON schema of a reply, for servers that enforce one."""


@dataclass(frozen=True, slots=True)
class Note:
    """What an agent tells its groups.

    Attributes
    ----------
    author : str
        Node that wrote it, e.g. ``"ann"`` or ``"ann#2"``.
    answer : str or None
        Answer in the canonical spelling of `hyperagent.tasks.normalise`; None: no answer.
    confidence : float or None
        As the agent states it, in [0, 1].
    facts : tuple of str
        At most three short statements.
    text : str
        The whole private reply. Kept for the record, never shown to another agent.
    round : int
        0 for the first, independent word; 1, 2, … after reading the board.
    phase : int
        Phase in which it was written.
    error : str
        Why there is no answer, if the call failed.
    """

    author: str
    answer: str | None = None
    confidence: float | None = None
    facts: tuple[str, ...] = ()
    text: str = ""
    round: int = 0
    phase: int = 0
    error: str = ""


# A model that runs on may write thousands of blank lines: no part of a pattern may cross one, or
# the search takes time quadratic in their number.
_HEAD = re.compile(r"^[ \t\r*_#>-]*NOTE\b[ \t\r*_:]*$", re.MULTILINE)
_FIELD = re.compile(r"^[ \t\r*_>-]*(answer|confidence|fact)s?[ \t*_]*:(.*)$", re.I | re.M)
_AROUND = " \t\r*_"
"""Space and markdown around the value of a field."""
_FACTS = 3


def parse_note(
    text: str, task: Task, author: str, *, tokens: int, round: int = 0, phase: int = 0
) -> Note:
    """Read the public note out of a reply.

    A JSON reply after `NOTE_SCHEMA` and the plain form (``NOTE`` and lines ``answer:``,
    ``confidence:``, ``fact:``) are understood; from any other reply the answer is
    extracted as a scorer would, so that a model that ignores the form still has a vote.

    Parameters
    ----------
    tokens : int
        Cap on all facts together.
    """
    stated, confidence, facts = _from_json(text) or _from_lines(text)
    answer = tasks.normalise(stated, task) if stated and task.kind != "code" else None
    if answer is None:
        found = tasks.extract(text, task)
        answer = None if found is None else tasks.normalise(found, task)
    left = tokens * CHARACTERS_PER_TOKEN
    kept: list[str] = []
    for fact in facts[:_FACTS]:
        fact = " ".join(fact.split())[:left]
        if fact:
            kept.append(fact)
            left -= len(fact)
    return Note(author, answer, confidence, tuple(kept), text, round, phase)


def _from_json(text: str) -> tuple[str, float | None, list[str]] | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        data = json.loads(text)
    # Brackets nested a thousand deep are no note either.
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or "answer" not in data:
        return None
    facts = data.get("facts")
    facts = [str(fact) for fact in facts] if isinstance(facts, list) else []
    return str(data["answer"]), _confidence(data.get("confidence")), facts


def _from_lines(text: str) -> tuple[str, float | None, list[str]]:
    heads = list(_HEAD.finditer(text))
    if not heads:
        return "", None, []
    stated, confidence, facts = "", None, []
    for match in _FIELD.finditer(text, heads[-1].end()):
        name, value = match[1].lower(), match[2].strip(_AROUND)
        if name == "answer":
            stated = value
        elif name == "confidence":
            confidence = _confidence(value)
        else:
            facts.append(value)
    return stated, confidence, facts


def _confidence(value: object) -> float | None:
    """A number in [0, 1]; percentages are understood, everything else is None."""
    try:
        text = str(value).strip()
        number = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return None
    return number if 0 <= number <= 1 else None
