"""What a team gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hyperagent.errors import ConfigError
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
    learn : callable or None
        Where `feedback` goes; None unless the team is online and chose the topology itself.
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
    learn: Callable[[float], None] | None = field(default=None, repr=False, compare=False)

    def feedback(self, reward: float) -> None:
        """Tell a team that is online how good this answer was.

        Parameters
        ----------
        reward : float
            From 0 (useless) to 1 (right).

        Raises
        ------
        ConfigError
            If the team is not online, the reward is out of range, or was given before.
        """
        if self.learn is None:
            raise ConfigError(
                "this result cannot take feedback: the team is not online, or was given its "
                "hypergraph; make it with Team(..., online=FILE)"
            )
        self.learn(reward)

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
