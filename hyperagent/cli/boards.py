"""Boards as text."""

from __future__ import annotations

from hyperagent.cli.output import columns
from hyperagent.team import Board, Result

_ENDS = {
    "gate": "agreed",
    "rounds": "not agreed",
    "skipped": "not opened or not finished",
}


def board_lines(result: Result) -> list[str]:
    """Every board with its notes in the order of posting."""
    return [line for board in result.boards for line in _board(board)]


def _board(board: Board) -> list[str]:
    edge = board.edge
    end = _ENDS.get(board.closed_by, board.closed_by)
    if board.closed_by == "rounds" and len(edge.members) == 1:
        end = "alone"
    head = (
        f"{board.id}, {edge.mode}, phase {edge.phase}, {end} ({board.agreement:.0%}): "
        f"{', '.join(edge.members)}"
    )
    notes = [
        (
            note.author,
            f"round {note.round}",
            "no answer" if note.answer is None else " ".join(note.answer.split())[:40],
            "" if note.confidence is None else f"{note.confidence:.0%}",
            note.error or "; ".join(" ".join(fact.split()) for fact in note.facts),
        )
        for note in board.notes
    ]
    return [head, *(columns(notes, indent="  ") if notes else [])]
