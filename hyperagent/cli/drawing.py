"""Topologies and boards as text."""

from __future__ import annotations

from hyperagent.cli.output import columns
from hyperagent.hypergraph import Hypergraph
from hyperagent.team import Board, Result

WIDEST = 24
"""Groups that an incidence table may have beside each other."""


def topology_lines(graph: Hypergraph) -> list[str]:
    """Groups by phase, then who sits in which: one row an agent, one column a group."""
    lines: list[str] = []
    names = {id(edge): f"e{i}" for i, edge in enumerate(graph.edges)}
    for number, edges in graph.phases():
        lines.append(f"phase {number}")
        lines += columns(
            [(names[id(e)], e.mode, _weight(e.weight), ", ".join(e.members)) for e in edges],
            indent="  ",
        )
    if graph.benched():
        lines.append(f"benched: {', '.join(graph.benched())}")
    if 1 < len(graph.edges) <= WIDEST:
        lines += ["", *_incidence(graph)]
    return lines


def _weight(weight: float) -> str:
    return "" if weight == 1 else f"weight {weight:.2f}"


def _incidence(graph: Hypergraph) -> list[str]:
    heads = ("", *(f"e{i}" for i in range(len(graph.edges))))
    rows = [
        (node, *("o" if node in edge.members else "." for edge in graph.edges))
        for node in graph.nodes
    ]
    return columns([heads, *rows])


def board_lines(result: Result) -> list[str]:
    """Every board with its notes in the order of posting."""
    return [line for board in result.boards for line in _board(board)]


def _board(board: Board) -> list[str]:
    ends = {
        "gate": "closed by agreement",
        "rounds": "closed without agreement",
        "skipped": "not opened or not finished",
    }
    edge = board.edge
    head = (
        f"{board.id} ({edge.mode}, phase {edge.phase}): {', '.join(edge.members)}; "
        f"{ends.get(board.closed_by, board.closed_by)}, agreement {board.agreement:.0%}"
    )
    notes = [
        (
            note.author,
            f"round {note.round}",
            "no answer" if note.answer is None else " ".join(note.answer.split()),
            "" if note.confidence is None else f"{note.confidence:.0%}",
            note.error or "; ".join(" ".join(fact.split()) for fact in note.facts),
        )
        for note in board.notes
    ]
    return [head, *(columns(notes, indent="  ") if notes else [])]
