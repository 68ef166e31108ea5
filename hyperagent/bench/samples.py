"""From a team's result to one line of ``samples.jsonl``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hyperagent import tasks
from hyperagent.llm import LedgerRow, Prices, Totals, Usage
from hyperagent.tasks import Task
from hyperagent.tasks.scorers import DEFAULT
from hyperagent.team import Result, Team

CALIBRATION = "@"
"""First character of the rows that measure something and are no rows of the table."""


def item_key(row: str, seed: int, task: str) -> str:
    """Name of an item in a run folder, by the ids of its row and its task."""
    return f"{row}|{seed}|{task}"


@dataclass(frozen=True)
class Item:
    """One question for one row with one seed.

    Parameters
    ----------
    row : str
        Name of the row.
    seed : int
    task : Task
    team : Team
        With the row's topology and routing.
    """

    row: str
    seed: int
    task: Task
    team: Team

    @property
    def key(self) -> str:
        """Name of the item in the run folder."""
        return item_key(self.row, self.seed, self.task.id)

    @property
    def costs(self) -> bool:
        """Whether a call may cost something; a replay, which is not worth caching, does not."""
        return any(getattr(b, "cacheable", True) for b in self.team.backends.values())


async def sample_record(
    item: Item, result: Result, scorers: Sequence[str], prices: Prices | None
) -> dict[str, Any]:
    """What is kept of a finished item.

    The voted answer is judged by the scorer of the task's kind. Others may read a form that only
    replies have (``#### 18``), so they judge the text of the winning reply.
    Tokens and price count every call as if it had been paid for, replayed ones too, so that rows
    which share calls can be compared.
    """
    verdicts = await _verdicts(item.task, result, scorers)
    failed = result.answer is None and bool(result.errors)
    names = _canonical_names(result)
    return {
        **_head(item),
        "status": "error" if failed else "ok",
        "answer": result.answer,
        "correct": verdicts[scorers[0]],
        "scores": verdicts,
        "posterior": round(result.posterior, 6),
        "finish": result.finish,
        "opened_phases": result.opened_phases,
        "topology": result.topology.digest(),
        **usage(result.ledger.rows, prices),
        "errors": list(result.errors),
        "text": result.text,
        "notes": _notes(result, names),
        "boards": {
            names[board.id]: [round(board.agreement, 6), board.rounds, board.closed_by]
            for board in result.boards
        },
        "seconds": round(result.seconds, 4),
    }


def error_record(
    item: Item, error: BaseException, status: str, rows: Iterable[LedgerRow], prices: Any
) -> dict[str, Any]:
    """What is kept of an item that gave no answer; a resumed run tries it again."""
    return {
        **_head(item),
        "status": status,
        "answer": None,
        "correct": False,
        "scores": {},
        **usage(rows, prices),
        "errors": [f"{type(error).__name__}: {error}"],
    }


def _head(item: Item) -> dict[str, Any]:
    return {"item": item.key, "row": item.row, "seed": item.seed, "task": item.task.id}


def usage(rows: Iterable[LedgerRow], prices: Prices | None = None) -> dict[str, Any]:
    """Sums over ledger rows, calls replayed from the cache included.

    Returns
    -------
    dict
        calls, failed_calls, retries, unknown (rows without token counts), estimated,
        prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, price (None if a row
        has none).
    """
    rows = list(rows)
    total = Totals.of(rows)
    costs = [_price(row, prices) for row in rows if not row.error]
    return {
        "calls": total.calls,
        "failed_calls": total.failed,
        "retries": sum(row.attempt > 0 for row in rows),
        "unknown": total.unknown,
        "estimated": total.estimated,
        "prompt_tokens": total.prompt_tokens,
        "completion_tokens": total.completion_tokens,
        "cached_tokens": total.cached_tokens,
        "reasoning_tokens": total.reasoning_tokens,
        "price": None if None in costs else round(sum(costs), 9),
    }


def _price(row: LedgerRow, prices: Prices | None) -> float | None:
    if not row.from_cache:
        return row.price
    if prices is None:
        return None
    counted = Usage(row.prompt_tokens, row.completion_tokens, row.cached_tokens)
    return prices.price(counted, row.model, row.backend)


async def _verdicts(task: Task, result: Result, scorers: Sequence[str]) -> dict[str, bool]:
    found = {}
    for scorer in scorers:
        if task.kind == "code":
            # The vote was on programs; the winner's own spelling is in its reply. Tests run in a
            # sandbox for seconds, which must not hold up the other questions.
            verdict = await asyncio.to_thread(tasks.score, task, result.text, scorer)
        else:
            text = result.answer if scorer == DEFAULT[task.kind] else result.text
            verdict = tasks.score(task, text or "", scorer)
        found[scorer] = verdict.correct
    return found


def _canonical_names(result: Result) -> dict[str, str]:
    """Boards by the position of their group in the canonical topology, which is what is on disk."""
    place = {edge.key: f"e{i}" for i, edge in enumerate(result.topology.canonical().edges)}
    return {board.id: place[board.edge.key] for board in result.boards}


def _notes(result: Result, names: dict[str, str]) -> list[dict[str, Any]]:
    """Every note once, with the boards it was posted on; private work is left out."""
    posted: dict[int, tuple[Any, list[str]]] = {}
    for board in result.boards:
        for note in board.notes:
            posted.setdefault(id(note), (note, []))[1].append(names[board.id])
    return [
        {
            "author": note.author,
            "answer": note.answer,
            "confidence": note.confidence,
            "facts": list(note.facts),
            "phase": note.phase,
            "round": note.round,
            "error": note.error,
            "boards": boards,
        }
        for note, boards in posted.values()
    ]
