"""A question with, where it is known, its right answer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hyperagent.errors import TaskError

KINDS = ("number", "choice", "code", "text")
"""What an answer is: a number, a letter, a program, or free text."""


@dataclass(frozen=True)
class Task:
    """One question for a team.

    Parameters
    ----------
    question : str
        The question itself, without instructions on how to answer.
    id : str
        Unique in its data set; the hash of the content if left empty.
    answer : str or None
        Gold answer: a number as text, a letter, a reference program, or free text.
    kind : {"number", "choice", "code", "text"}
    choices : tuple of str
        Options without their letters, for kind ``"choice"``; option 0 is ``A``.
    meta : mapping
        What the scorer of the data set needs, e.g. tests and entry point of a program.
        The gold answer and the tests are never shown to an agent.
    """

    question: str
    id: str = ""
    answer: str | None = None
    kind: str = "number"
    choices: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.question, str) or not self.question.strip():
            raise TaskError(f"a task needs a question, got {self.question!r}")
        try:
            "".join((self.question, *self.choices)).encode()
        except UnicodeEncodeError as error:
            raise TaskError(f"a question must be Unicode text, which it is not: {error}") from None
        if self.kind not in KINDS:
            raise TaskError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.kind == "choice" and len(self.choices) < 2:
            raise TaskError(f"a choice task needs at least two choices, got {self.choices!r}")
        object.__setattr__(self, "choices", tuple(self.choices))
        if not self.id:
            object.__setattr__(self, "id", self.content_hash()[:16])

    def content_hash(self) -> str:
        """SHA-256 of the question and its choices, spacing and case ignored.

        Splits are made by this hash, so that one question cannot be in two of them.
        """
        text = "\n".join(" ".join(part.lower().split()) for part in (self.question, *self.choices))
        return hashlib.sha256(text.encode()).hexdigest()

    def render(self) -> str:
        """The question as an agent reads it, choices included."""
        if not self.choices:
            return self.question
        options = "\n".join(f"{chr(65 + i)}) {text}" for i, text in enumerate(self.choices))
        return f"{self.question}\n{options}"
