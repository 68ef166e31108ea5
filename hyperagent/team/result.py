"""What a team gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hyperagent.hypergraph import Hypergraph
from hyperagent.llm import Ledger, Totals
from hyperagent.team.board import Board
from hyperagent.topology import Design


@dataclass(frozen=True)
class Result:
    """Answer of a team to one task, with everything it took.

    Attributes
    ----------
    task : str
        Task id.
    answer : str or None
        In the canonical spelling of the task's kind; None if nobody had one.
    text : str
        The whole reply of the most reliable agent that gave the answer.
    posterior : float
        Probability that the answer is right, from the agents' reliabilities (`team.vote`).
    votes : dict of str to float
        Weight behind each answer, heaviest first.
    topology : Hypergraph
        What was executed.
    design : Design or None
        Where it came from, if a designer drew it.
    boards : tuple of Board
        One per hyperedge, in the order of the edges.
    ledger : Ledger
        One row per call; `usage` is its sum.
    opened_phases : int
        Phases that ran before the anytime stop, the budget or the end.
    finish : {"vote", "decision", "no answer", "budget"}
    errors : tuple of str
        Calls that failed for good, as ``agent: ErrorClass: message``.
    seconds : float
        Wall time.
    """

    task: str
    answer: str | None
    text: str
    posterior: float
    topology: Hypergraph
    boards: tuple[Board, ...]
    ledger: Ledger
    votes: dict[str, float] = field(default_factory=dict)
    design: Design | None = None
    opened_phases: int = 0
    finish: str = "vote"
    errors: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def usage(self) -> Totals:
        """Sum of the ledger's rows; the only total there is."""
        return self.ledger.totals()

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary, ready for `json.dumps`."""
        return {
            "task": self.task,
            "answer": self.answer,
            "text": self.text,
            "posterior": self.posterior,
            "votes": dict(self.votes),
            "topology": self.topology.to_hif(),
            "boards": [board.to_json() for board in self.boards],
            "ledger": [row.to_json() for row in self.ledger],
            "opened_phases": self.opened_phases,
            "finish": self.finish,
            "errors": list(self.errors),
            "seconds": self.seconds,
        }
