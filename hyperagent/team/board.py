"""The board that a group shares while it works."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hyperagent.hypergraph import Hyperedge
from hyperagent.team.note import Note


@dataclass(slots=True)
class Board:
    """Notes of one hyperedge.

    Attributes
    ----------
    id : str
        ``"e0"``, ``"e1"``, … by the position of the hyperedge.
    edge : Hyperedge
    notes : list of Note
        Every note in the order of posting; a member's later note replaces its earlier one
        for readers and voters.
    agreement : float
        Share of the vote weight behind the leading answer, in [0, 1]; 0 without answers.
    rounds : int
        Rounds of revision that were held.
    closed_by : {"gate", "rounds", "skipped"}
        The agreement gate; the end of the allowed rounds; the anytime stop or the budget,
        in which case the group was never opened or not finished.
    """

    id: str
    edge: Hyperedge
    notes: list[Note] = field(default_factory=list)
    agreement: float = 0.0
    rounds: int = 0
    closed_by: str = "skipped"

    def post(self, note: Note) -> None:
        """Put up a note."""
        self.notes.append(note)

    def latest(self) -> dict[str, Note]:
        """Each author's last note, authors sorted."""
        last = {note.author: note for note in self.notes}
        return {author: last[author] for author in sorted(last)}

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary, ready for `json.dumps`; private work included."""
        return {
            "id": self.id,
            "members": list(self.edge.members),
            "mode": self.edge.mode,
            "phase": self.edge.phase,
            "agreement": self.agreement,
            "rounds": self.rounds,
            "closed_by": self.closed_by,
            "notes": [
                {
                    "author": note.author,
                    "answer": note.answer,
                    "confidence": note.confidence,
                    "facts": list(note.facts),
                    "text": note.text,
                    "round": note.round,
                    "phase": note.phase,
                    "error": note.error,
                }
                for note in self.notes
            ],
        }
