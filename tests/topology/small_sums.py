"""Sums as questions, and executions by a live team that leave their samples in a dictionary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hyperagent.bench.samples import item_key
from hyperagent.hypergraph import Hypergraph
from hyperagent.tasks import Task
from hyperagent.team import Result, Team
from hyperagent.topology import StopRule
from hyperagent.topology.outcomes import Execute, Outcome


def questions(first: int, number: int) -> list[Task]:
    """Sums that a team of functions can read."""
    return [
        Task(f"What is {a} + {a * 7 % 50 + 1}?", id=f"t{a}", answer=str(a + a * 7 % 50 + 1))
        for a in range(first, first + number)
    ]


def recorder(
    team: Team,
    samples: dict[str, dict[str, Any]],
    *,
    stop: StopRule | None = None,
    price: Callable[[Hypergraph, Result], float | None] = lambda graph, result: None,
) -> Execute:
    """Executes hypergraphs with `team` and fills `samples` as a run folder keeps them."""

    def execute(task: Task, graph: Hypergraph, seed: int) -> Outcome:
        result = team.solve_sync(task, hypergraph=graph, stop=stop, seed=seed)
        right, usage = result.answer == task.answer, result.usage
        samples[item_key(graph.digest()[:12], seed, task.id)] = {
            "text": result.text,
            "answer": result.answer,
            "correct": right,
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "price": price(graph, result),
        }
        return Outcome(task.id, graph, float(right), float(usage.total_tokens))

    return execute
