"""How messages travel along the hypergraph; every saving is a switch that can be turned off."""

from __future__ import annotations

from dataclasses import dataclass

from hyperagent.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Routing:
    """Switches of the orchestrator.

    Parameters
    ----------
    read_notes : bool
        Whether agents see each other's notes. False is the independent mode: nobody revises,
        only benching, phases, gate, vote and stop remain. Recorded replies need it.
    gate : float or None
        A group closes without revision when at least two members answered and this share of the
        vote weight agrees, in (0, 1]. None: the gate never closes a group.
    rounds : int
        Rounds in which a group that disagrees reads its board and may revise.
    anytime : float or None
        Stop before the next phase when the posterior of the answer reaches this value.
        None: every phase runs.
    vote : {"weighted", "plurality"}
        Weigh votes by reliability, or one agent one vote.
    share_speech : bool
        An agent in several groups of a phase speaks once for all of them. False: once for each.
    note_tokens : int
        Cap on the facts of a note.
    answer_tokens : int
        Cap on an answer as others see it; long only for programs and free text.
    decision : {"auto", "never", "always"}
        A final call that reads the notes and decides: on a tie or, for free text, without a
        majority; never; or in place of the vote.
    structured : {"auto", "never", "always"}
        Ask for JSON by schema: where the backend is known to enforce one; never; always.
    tool_calls : int
        Most tool results an agent may read in one speech.
    timeout : float
        Seconds for one speech, retries and tools included; then the agent posts an empty note.
    """

    read_notes: bool = True
    gate: float | None = 2 / 3
    rounds: int = 1
    anytime: float | None = None
    vote: str = "weighted"
    share_speech: bool = True
    note_tokens: int = 80
    answer_tokens: int = 400
    decision: str = "auto"
    structured: str = "auto"
    tool_calls: int = 3
    timeout: float = 120.0

    def __post_init__(self) -> None:
        def check(good: bool, name: str, expected: str) -> None:
            if not good:
                raise ConfigError(f"routing.{name} must be {expected}, got {getattr(self, name)!r}")

        for name in ("gate", "rounds", "anytime", "note_tokens", "answer_tokens", "tool_calls"):
            value = getattr(self, name)
            optional = value is None and name in ("gate", "anytime")
            check(optional or isinstance(value, (int, float)), name, "a number")
        check(isinstance(self.timeout, (int, float)), "timeout", "a number of seconds")

        check(self.gate is None or 0 < self.gate <= 1, "gate", "in (0, 1] or null")
        check(self.rounds >= 0, "rounds", "0 or more")
        check(self.anytime is None or 0 < self.anytime <= 1, "anytime", "in (0, 1] or null")
        check(self.vote in ("weighted", "plurality"), "vote", "weighted or plurality")
        check(self.decision in ("auto", "never", "always"), "decision", "auto, never or always")
        check(self.structured in ("auto", "never", "always"), "structured", "auto, never or always")
        check(self.note_tokens >= 0, "note_tokens", "0 or more")
        check(self.answer_tokens >= 1, "answer_tokens", "1 or more")
        check(self.tool_calls >= 0, "tool_calls", "0 or more")
        check(self.timeout > 0, "timeout", "positive")
