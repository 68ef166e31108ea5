"""Every agent asked alone: the executions that an anytime policy is learned from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from hyperagent.bench.samples import item_key
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.tasks import Task
from hyperagent.team import Agent
from hyperagent.team.vote import wrong_answers
from hyperagent.topology.outcomes import Execute, Outcome
from hyperagent.topology.replies import Replies, answer_codes, content_hashes, question_kind
from hyperagent.topology.reply_features import question_features, reply_features


def seat_alone(agents: Sequence[Agent]) -> dict[str, Hypergraph]:
    """By agent the topology in which it is asked and all others are benched."""
    names = [agent.id for agent in agents]
    return {
        name: Hypergraph(
            (name, *(other for other in names if other != name)), (Hyperedge((name,)),)
        )
        for name in names
    }


def ask_alone(
    agents: Sequence[Agent],
    tasks: Sequence[Task],
    execute: Execute,
    *,
    known: Collection[tuple[str, str]] = (),
    seed: int = 0,
) -> list[Outcome]:
    """Ask every agent every question, unless that was done.

    Parameters
    ----------
    agents : sequence of Agent
    tasks : sequence of Task
    execute : Execute
    known : collection of (str, str)
        Tasks' ids with digests of hypergraphs that were executed before.
    seed : int
    """
    seats = seat_alone(agents)
    return [
        execute(task, graph, seed)
        for task in tasks
        for graph in seats.values()
        if (task.id, graph.digest()) not in known
    ]


def read_replies(
    samples: Mapping[str, Mapping[str, Any]],
    agents: Sequence[Agent],
    tasks: Sequence[Task],
    *,
    seed: int = 0,
) -> Replies:
    """What the agents answered, as `Beliefs` learns from it.

    Parameters
    ----------
    samples : mapping of str to mapping
        Lines of ``samples.jsonl`` by their item, as `ask_alone` leaves them in a run folder.
    agents : sequence of Agent
    tasks : sequence of Task
        All of them were asked.
    seed : int
        That of the run.

    Returns
    -------
    Replies
        Dollars are NaN where no price is known.
    """
    seats = seat_alone(agents)
    rows = sample_rows(samples, tuple(seats.values()), tasks, seed)
    looks = [
        [reply_features(task.question, row.get("text", ""), row["answer"]) for row in line]
        for task, line in zip(tasks, rows, strict=True)
    ]
    return Replies(
        tuple(seats),
        tuple(task.id for task in tasks),
        content_hashes(tasks),
        np.array([question_kind(task.question) for task in tasks]),
        np.array([wrong_answers(task.kind, len(task.choices)) for task in tasks]),
        answer_codes(np.array([[row["answer"] for row in line] for line in rows], dtype=object)),
        column(rows, "correct", bool),
        column(rows, "prompt_tokens", np.int64),
        column(rows, "completion_tokens", np.int64),
        column(rows, "price", np.float64),
        np.stack([question_features(task.question) for task in tasks]),
        np.array(looks),
    )


def sample_rows(
    samples: Mapping[str, Mapping[str, Any]],
    graphs: Sequence[Hypergraph],
    tasks: Sequence[Task],
    seed: int,
) -> list[list[Mapping[str, Any]]]:
    """By task and hypergraph, the line of ``samples.jsonl`` that an execution left."""
    return [
        [samples[item_key(graph.digest()[:12], seed, task.id)] for graph in graphs]
        for task in tasks
    ]


def column(rows: Sequence[Sequence[Mapping[str, Any]]], key: str, kind: type) -> np.ndarray:
    """One entry of all samples, shape (tasks, hypergraphs); NaN where it is null."""
    return np.array(
        [[np.nan if sample[key] is None else sample[key] for sample in row] for row in rows], kind
    )
