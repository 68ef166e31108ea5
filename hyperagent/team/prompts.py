"""What agents are told. Order system, task, board, so that the common prefix can be cached."""

from __future__ import annotations

from collections.abc import Sequence

from hyperagent.llm import Message
from hyperagent.tasks import Task
from hyperagent.team.note import Note
from hyperagent.team.quoting import render_notes
from hyperagent.team.tools import Tool

_ANSWER = {
    "number": "the number alone, without unit",
    "choice": "the letter of one option",
    "code": "see code block",
    "text": "the answer in one line",
}

_FORM = """\
When you are done, close your reply with a note for your colleagues in exactly this form:
NOTE
answer: {answer}
confidence: a number from 0 to 1
fact: the one step or fact that decides it, in one short line"""

_JSON_FORM = """\
Reply with one JSON object: "work" holds your reasoning, "answer" {answer}, "confidence" a number \
from 0 to 1, "facts" at most three short lines for your colleagues."""

_CODE = "Give the whole program in one Python code block before the note."

_TASK = {
    "revise": (
        "You and your colleagues disagree or are unsure. Where your note and theirs differ, find "
        "out who is right by working it out again, then give your final answer. Keep your own "
        "answer if it holds."
    ),
    "verify": "Check the answers in the notes independently, then give the answer that is right.",
    "decide": "Decide between the answers in the notes and give the one that is right.",
}


def build_messages(
    prompt: str,
    task: Task,
    *,
    purpose: str,
    notes: Sequence[Note] = (),
    own: Note | None = None,
    tools: Sequence[Tool] = (),
    structured: bool = False,
    answer_tokens: int = 200,
) -> tuple[Message, ...]:
    """Messages of one call.

    Parameters
    ----------
    prompt : str
        The agent's system prompt.
    task : Task
    purpose : {"speak", "revise", "verify", "decide"}
    notes : sequence of Note
        Notes of others that the agent may read, in the order in which they are shown.
    own : Note, optional
        The agent's earlier note, shown when it revises.
    tools : sequence of Tool
    structured : bool
        Ask for the JSON form instead of the plain one.
    answer_tokens : int
        Cap on each quoted answer.
    """
    form = _JSON_FORM if structured else _FORM
    system = [prompt, form.format(answer=_ANSWER[task.kind])]
    if task.kind == "code":
        system.append(_CODE)
    system.extend(tool.instruction for tool in tools)
    user = [task.render()]
    if notes:
        user.append(render_notes(notes, answer_tokens=answer_tokens))
    if own is not None and own.answer is not None:
        user.append(f"Your own earlier answer: {own.answer}")
    # Without notes to read, every purpose is a first, independent word.
    if notes and purpose in _TASK:
        user.append(_TASK[purpose])
    return (
        Message("system", "\n\n".join(system)),
        Message("user", "\n\n".join(user)),
    )
