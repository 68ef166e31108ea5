"""What there is to show, the same for the picture, the page and the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hyperagent.hypergraph import Hyperedge, Hypergraph, agent_of


class ResultLike(Protocol):
    """The part of `hyperagent.team.Result` that is shown."""

    answer: str | None
    posterior: float
    boards: Sequence[Any]
    ledger: Any
    finish: str
    seconds: float


@dataclass(frozen=True)
class Row:
    """One seated node.

    Attributes
    ----------
    name, role : str
    tokens : int or None
        Prompt and completion tokens of its calls; None without a result or if unknown.
    """

    name: str
    role: str
    tokens: int | None


@dataclass(frozen=True)
class Lane:
    """One hyperedge.

    Attributes
    ----------
    id : str
        ``"e0"``, … by position.
    edge : Hyperedge
    board : Board or None
        Its board, if there is a result.
    marks : dict of str to str
        Per member: ``"seat"`` without a result, ``"idle"`` in a group that never
        opened, else ``"same"`` as the final answer, ``"other"`` answer, or ``"none"``.
    """

    id: str
    edge: Hyperedge
    board: Any
    marks: dict[str, str]

    @property
    def skipped(self) -> bool:
        """Whether the group never opened."""
        return self.board is not None and self.board.closed_by == "skipped"

    @property
    def sentence(self) -> str:
        """The group in words."""
        edge = self.edge
        words = f"{self.id}: {edge.mode}, phase {edge.phase}: {', '.join(edge.members)}"
        if edge.weight != 1:
            words += f"; weight {edge.weight:.2f}"
        if self.skipped:
            words += "; not opened"
        elif self.board is not None:
            words += f"; agreement {self.board.agreement:.0%}"
        return words


@dataclass(frozen=True)
class View:
    """A design, and what a team did with it if there is a result."""

    title: str
    hypergraph: Hypergraph
    rows: tuple[Row, ...]
    benched: tuple[str, ...]
    lanes: tuple[Lane, ...]
    result: Any

    @property
    def summary(self) -> str:
        """Sizes in one line."""
        phases = len(self.hypergraph.phases())
        parts = [
            f"{len(self.hypergraph.nodes)} nodes",
            f"{len(self.rows)} seated",
            _count(len(self.lanes), "group"),
            _count(phases, "phase"),
            self.hypergraph.digest()[:12],
        ]
        return " · ".join(parts)

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Label and value of what the result says, in order of interest."""
        result = self.result
        if result is None:
            return []
        usage = result.ledger.totals()
        unknown = f" + {_count(usage.unknown, 'call')} of unknown length" if usage.unknown else ""
        facts = [
            ("answer", "no answer" if result.answer is None else str(result.answer)),
            ("probability", _percent(result.posterior)),
            ("tokens", f"{usage.total_tokens:,}{unknown}"),
            ("calls", f"{usage.calls}" + (f", {usage.failed} failed" if usage.failed else "")),
            ("decided by", result.finish),
            ("seconds", f"{result.seconds:.2f}"),
        ]
        if usage.unpriced < usage.calls:
            facts.insert(4, ("price", f"{usage.price:.4g}"))
        return facts


def look(
    hypergraph: Hypergraph,
    *,
    title: str = "",
    roles: Mapping[str, str] | None = None,
    result: ResultLike | None = None,
) -> View:
    """Collect what is shown. Roles are looked up by node, then by agent."""
    roles = roles or {}
    tokens = _tokens(result)
    rows = tuple(
        Row(name, str(roles.get(name, roles.get(agent_of(name)[0], ""))), tokens.get(name))
        for name in hypergraph.seated()
    )
    boards = {} if result is None else {board.edge.key: board for board in result.boards}
    lanes = []
    for i, edge in enumerate(hypergraph.edges):
        board = boards.get(edge.key)
        lanes.append(Lane(f"e{i}", edge, board, _marks(edge, board, result)))
    return View(title, hypergraph, rows, hypergraph.benched(), tuple(lanes), result)


def _tokens(result: ResultLike | None) -> dict[str, int | None]:
    """Tokens of each node; a node with a call of unknown length is unknown, not small."""
    sums: dict[str, int | None] = {}
    for row in () if result is None else result.ledger:
        node = f"{row.agent}#{row.sample}" if row.sample else row.agent
        known, more = sums.get(node, 0), row.total_tokens
        sums[node] = None if known is None or more is None else known + more
    return sums


def _marks(edge: Hyperedge, board: Any, result: ResultLike | None) -> dict[str, str]:
    if board is None or result is None:
        return dict.fromkeys(edge.members, "seat")
    if board.closed_by == "skipped" and not board.notes:
        return dict.fromkeys(edge.members, "idle")
    last = {note.author: note.answer for note in board.notes}
    marks = {}
    for name in edge.members:
        answer = last.get(name)
        marks[name] = "none" if answer is None else "same" if answer == result.answer else "other"
    return marks


def _percent(probability: float) -> str:
    """Whole percents that never round up to certainty."""
    return ">99%" if 0.99 < probability < 1 else f"{probability:.0%}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")
