"""A result of a team, as the viewer sees it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.llm.ledger import Ledger, LedgerRow


def note(author: str, answer: str | None, **rest: Any) -> SimpleNamespace:
    fields = {"confidence": None, "facts": (), "text": "", "round": 0, "phase": 0, "error": ""}
    return SimpleNamespace(author=author, answer=answer, **(fields | rest))


def board(i: int, edge: Hyperedge, notes: list, closed_by: str = "gate") -> SimpleNamespace:
    return SimpleNamespace(
        id=f"e{i}", edge=edge, notes=notes, agreement=2 / 3, rounds=1, closed_by=closed_by
    )


@pytest.fixture
def graph() -> Hypergraph:
    return Hypergraph(
        ("ann", "ben", "cleo", "dan", "gil"),
        (
            Hyperedge(("ann", "ben", "cleo"), weight=0.91),
            Hyperedge(("cleo", "dan"), "verify", 1),
            Hyperedge(("ann", "dan"), "decide", 2),
        ),
    )


@pytest.fixture
def make_result(graph: Hypergraph) -> Callable[..., Any]:
    """Function of a word that is put wherever a model or a server may write."""

    def make(word: str = "fine") -> SimpleNamespace:
        ledger = Ledger()
        for agent, prompt in (("ann", 800), ("ann", 12), ("ben", 640), ("dan", None)):
            row = LedgerRow(agent=agent, prompt_tokens=prompt, completion_tokens=1)
            ledger.record(row)
        one, two, three = graph.edges
        notes = [
            note("ann", "72", confidence=0.9, facts=(word, "48 + 24"), text=f"work: {word}"),
            note("ben", word, confidence=0.25),
            note("cleo", None, error=f"BadReply: {word}"),
        ]
        return SimpleNamespace(
            answer="72",
            posterior=0.973,
            boards=(
                board(0, one, notes),
                board(1, two, [note("cleo", "72"), note("dan", "72")], "rounds"),
                board(2, three, [], "skipped"),
            ),
            ledger=ledger,
            finish="vote",
            seconds=3.2,
            errors=(f"cleo: BadReply: {word}",),
        )

    return make
