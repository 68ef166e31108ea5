"""Prompts as the orchestrator renders them for pocket agents."""

from __future__ import annotations

import random

from examples import Chat, last_fact, note
from words import work_of

from hyperagent.tasks import Task
from hyperagent.tasks.wordproblems import stream
from hyperagent.team.note import Note
from hyperagent.team.prompts import build_messages
from hyperagent.team.roles import get_role

SOLVERS = ("solver", "skeptic", "equation_writer")
"""Roles that solve; the verifier has a stage of its own."""
NAMES = (
    *("ann", "bob", "cat", "dan", "eve", "sums", "rates", "parts", "checker", "solver", "one"),
    *(
        "general",
        "verifier",
        "a0",
        "a1",
        "a2",
        "a3",
        "a4",
        "a5",
        "a6",
        "a7",
        "ann#2",
        "solver#2",
        "one#3",
    ),
)
"""Who signs the notes of a board."""


def render(
    role: str, task: Task, purpose: str, notes: tuple[Note, ...] = (), own: Note | None = None
) -> tuple[str, str]:
    """System and user message of a call."""
    system, user = build_messages(
        get_role(role).prompt, task, purpose=purpose, notes=notes, own=own
    )
    return system.content, user.content


def samples(rng: random.Random, count: int) -> list[Chat]:
    """Chats in every form a prompt has, for the tokenizer."""
    made = []
    tasks = stream(split="train", seed=rng.getrandbits(48), steps=(1, 2, 3))
    for task, _ in zip(tasks, range(count), strict=False):
        fact = last_fact(work_of(task))
        notes = tuple(
            Note(name, task.answer, rng.randint(1, 9) / 10, (fact,))
            for name in rng.sample(NAMES, rng.randint(1, 4))
        )
        purpose = rng.choice(("speak", "revise", "verify", "decide"))
        system, user = render(
            rng.choice((*SOLVERS, "verifier")),
            task,
            purpose,
            () if purpose == "speak" else notes,
            Note("ann", task.answer) if purpose == "revise" else None,
        )
        reply = f"{work_of(task)}\n{note(task.answer or '', '0.8', fact)}"
        made.append(Chat(system, user, reply))
    return made
