"""Runs a task along a hypergraph: phases, boards, gate, revision, anytime stop, vote.

Phases run in order, the groups of a phase in parallel. An agent speaks for the first time in its
first phase, once for all its groups there; it carries its note to the boards of its later groups
and speaks again only to revise. First-time speakers of a phase do not see each other, but they do
read the notes that colleagues carried in from earlier phases.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hyperagent.errors import BudgetExceeded, ConfigError
from hyperagent.hypergraph import Hypergraph, agent_of
from hyperagent.llm import Ledger
from hyperagent.team.board import Board
from hyperagent.team.candidates import first_passing
from hyperagent.team.note import Note
from hyperagent.team.result import Result
from hyperagent.team.speaker import Speaker
from hyperagent.team.vote import Poll, poll, wrong_answers
from hyperagent.topology import Design, Guide, StopRule, Vote

T = TypeVar("T")


async def run_parallel(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Results in order; on the first error or on cancellation the rest is cancelled and awaited."""
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(coroutine) for coroutine in coroutines]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in running]


@dataclass
class Orchestrator:
    """One task, one hypergraph, one team.

    Parameters
    ----------
    speaker : Speaker
        Knows the task, the agents and the routing switches.
    graph : Hypergraph
        Its nodes name agents of the speaker, ``agent#k`` for their samples.
    ledger : Ledger
        The one that the speaker's backends write to.
    design : Design, optional

    Raises
    ------
    ConfigError
        If nobody is seated, or a node is not an agent of the team.
    """

    speaker: Speaker
    graph: Hypergraph
    ledger: Ledger
    design: Design | None = None
    boards: list[Board] = field(init=False)
    latest: dict[str, Note] = field(init=False, default_factory=dict)
    _failures: list[Note] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        agents = self.speaker.agents
        for node in self.graph.seated():
            if agent_of(node)[0] not in agents:
                raise ConfigError(
                    f"the topology seats {node!r}, which is no agent of the team "
                    f"({', '.join(agents)})"
                )
        if not self.graph.edges:
            raise ConfigError("the topology has no hyperedge, so nobody would be asked")
        self.boards = [Board(f"e{i}", edge) for i, edge in enumerate(self.graph.edges)]

    @property
    def _stop(self) -> StopRule | None:
        return None if self.design is None else self.design.stop

    @property
    def reliability(self) -> dict[str, float | None]:
        """Reliability by node: what the stop rule judges by, or else what the agents state."""
        if isinstance(self._stop, Guide):
            trusted = self._stop.trust(self._votes())
            return {node: trusted.get(node) for node in self.latest}
        rates = {} if self._stop is None else self._stop.rates
        if rates:
            return {node: rates.get(agent_of(node)[0]) for node in self.latest}
        agents = self.speaker.agents
        return {node: agents[agent_of(node)[0]].reliability for node in self.latest}

    async def run(self) -> Result:
        """Run all phases and vote.

        Raises
        ------
        BudgetExceeded
            With the partial `Result` as ``partial``.
        BackendError
            Only errors that every further call would meet too (``fatal``).
        """
        began = time.perf_counter()
        opened, stopped = 0, None
        decided: Note | None = None
        closed: dict[int, list[Board]] = {}
        for board in sorted(self.boards, key=lambda board: board.edge.phase):
            closed.setdefault(board.edge.phase, []).append(board)
        try:
            while (number := self._next(closed)) is not None:
                opened += 1
                await self._run_phase(number, closed.pop(number))
            decided = await self._decide(opened)
        except BudgetExceeded as error:
            stopped = error
        result = await self._result(decided, opened, stopped is not None, began)
        if stopped is not None:
            stopped.partial = result
            raise stopped
        return result

    def _next(self, closed: Mapping[int, Sequence[Board]]) -> int | None:
        """The phase to open now, or None: all are open, or what was said is enough."""
        if not closed:
            return None
        if isinstance(self._stop, Guide):
            nodes = {
                number: [node for board in boards for node in board.edge.members]
                for number, boards in closed.items()
            }
            return self._stop.next(self._votes(), nodes)
        return None if self.latest and self._sure() else next(iter(closed))

    def _votes(self) -> list[Vote]:
        return [
            Vote(note.author, note.answer, note.confidence, note.text)
            for note in self.latest.values()
        ]

    def _sure(self) -> bool:
        """Whether the design's stop rule, or without one the anytime threshold, applies now."""
        if self._stop is not None:
            return self._stop(self._votes())
        threshold = self.speaker.routing.anytime
        return threshold is not None and self._poll().posterior >= threshold

    def _poll(self, notes: Iterable[Note] | None = None) -> Poll:
        task = self.speaker.task
        return poll(
            self.latest.values() if notes is None else notes,
            self.reliability,
            wrong=wrong_answers(task.kind, len(task.choices)),
            weighted=self.speaker.routing.vote == "weighted",
        )

    async def _run_phase(self, number: int, boards: list[Board]) -> None:
        routing = self.speaker.routing
        newcomers: dict[str, list[Board]] = {}
        for board in boards:
            for node in board.edge.members:
                if node in self.latest:
                    board.post(self.latest[node])
        for board in boards:
            for node in self._first_speakers(board):
                newcomers.setdefault(node, []).append(board)
        await self._speak_all(number, newcomers, 0)
        for board in boards:
            self._close_if_agreed(board)
        for round in range(1, routing.rounds + 1):
            open_boards = [
                board
                for board in boards
                if routing.read_notes
                and board.closed_by == "skipped"
                and board.edge.mode != "decide"
                and len(board.edge.members) > 1
            ]
            if not open_boards:
                break
            revisers: dict[str, list[Board]] = {}
            for board in open_boards:
                board.rounds = round
                for node in board.edge.members:
                    # An agent that failed has used up its retries; the group does not wait again.
                    if not self.latest[node].error and self._readable(node, [board]):
                        revisers.setdefault(node, []).append(board)
            await self._speak_all(number, revisers, round)
            for board in open_boards:
                self._close_if_agreed(board)
        for board in boards:
            if board.closed_by == "skipped":
                board.closed_by = "rounds"

    def _first_speakers(self, board: Board) -> list[str]:
        """Members that have not spoken yet; in a decide group with notes, one decider at most."""
        fresh = [node for node in board.edge.members if node not in self.latest]
        if board.edge.mode != "decide" or not board.notes or not self.speaker.routing.read_notes:
            return fresh
        return fresh[:1] or [self._most_reliable(board.edge.members)]

    async def _speak_all(self, phase: int, calls: dict[str, list[Board]], round: int) -> None:
        """Let every node of `calls` speak for its boards, in parallel, then post the notes."""
        speeches: list[tuple[str, list[Board]]] = []
        for node, boards in calls.items():
            if self.speaker.routing.share_speech:
                speeches.append((node, boards))
            else:
                speeches.extend((node, [board]) for board in boards)
        # What is on the boards now is what everybody reads: no speaker sees another's new note.
        readings = [self._readable(node, boards) for node, boards in speeches]
        spoken = await run_parallel(
            self._speak_guarded(node, boards, phase, round, notes)
            for (node, boards), notes in zip(speeches, readings, strict=True)
        )
        exhausted: BudgetExceeded | None = None
        for (node, boards), note in zip(speeches, spoken, strict=True):
            if isinstance(note, BudgetExceeded):
                exhausted = note
                continue
            # A failed revision leaves the earlier note standing.
            if note.error and node in self.latest and self.latest[node].answer is not None:
                self._failures.append(note)
                continue
            self.latest[node] = note
            for board in boards:
                board.post(note)
        if exhausted is not None:
            raise exhausted

    async def _speak_guarded(
        self, node: str, boards: list[Board], phase: int, round: int, notes: list[Note]
    ) -> Note | BudgetExceeded:
        """A spent budget is a value here, so that calls in flight are finished and kept."""
        try:
            return await self.speaker.speak(
                node,
                purpose=self._purpose(boards, round, bool(notes)),
                phase=phase,
                edges=tuple(board.id for board in boards),
                round=round,
                notes=notes,
                own=self.latest.get(node) if round else None,
            )
        except BudgetExceeded as error:
            return error

    def _readable(self, node: str, boards: Iterable[Board]) -> list[Note]:
        """Other members' latest notes on these boards, one per author, authors sorted."""
        if not self.speaker.routing.read_notes:
            return []
        found = {
            author: note
            for board in boards
            for author, note in board.latest().items()
            if author != node and not note.error
        }
        return [found[author] for author in sorted(found)]

    @staticmethod
    def _purpose(boards: Iterable[Board], round: int, reads: bool) -> str:
        if round:
            return "revise"
        modes = {board.edge.mode for board in boards}
        for mode in ("decide", "verify"):
            if reads and mode in modes:
                return mode
        return "speak"

    def _close_if_agreed(self, board: Board) -> None:
        gate = self.speaker.routing.gate
        notes = board.latest().values()
        counted = self._poll(notes)
        board.agreement = counted.agreement
        voters = sum(note.answer is not None for note in notes)
        if gate is not None and voters >= 2 and board.agreement >= gate - 1e-9:
            board.closed_by = "gate"

    async def _decide(self, opened: int) -> Note | None:
        """The word of a decide group, or the decision call if the routing asks for one, or None."""
        routing, task = self.speaker.routing, self.speaker.task
        for board in reversed(self.boards):
            if routing.read_notes and board.edge.mode == "decide":
                # Notes of earlier phases were carried in. One new note is the decider's; several
                # were written without a look at each other, and are votes.
                new = [note for note in board.notes if note.phase == board.edge.phase]
                if len(new) == 1 and new[0].answer is not None:
                    return new[0]
        notes = [self.latest[node] for node in sorted(self.latest)]
        notes = [note for note in notes if note.answer is not None]
        if routing.decision == "never" or not routing.read_notes or len(notes) < 2:
            return None
        counted = self._poll(notes)
        unsure = counted.tied or (task.kind == "text" and counted.agreement <= 0.5)
        # Programs are told apart by running them, not by asking once more.
        if routing.decision == "auto" and (not unsure or task.kind == "code"):
            return None
        node = self._most_reliable([note.author for note in notes])
        last = max(board.edge.phase for board in self.boards)
        note = await self.speaker.speak(
            node,
            purpose="decide",
            phase=last + 1,
            edges=(),
            round=routing.rounds + 1,
            notes=notes,
        )
        if note.error:
            self._failures.append(note)
        return note if note.answer is not None else None

    def _most_reliable(self, nodes: Iterable[str]) -> str:
        agents = self.speaker.agents
        order = {name: i for i, name in enumerate(agents)}

        def rank(node: str) -> tuple[float, int, str]:
            name = agent_of(node)[0]
            return -(agents[name].reliability or 0.0), order[name], node

        return min(nodes, key=rank)

    async def _result(
        self, decided: Note | None, opened: int, exhausted: bool, began: float
    ) -> Result:
        counted = self._poll()
        answer, finish = counted.leader, "vote"
        if decided is not None:
            answer, finish = decided.answer, "decision"
        elif self.speaker.task.kind == "code" and not exhausted:
            # The first program, heaviest first, that passes the examples of the question.
            answer = await first_passing(self.speaker.task, list(counted.weights))
        if answer is None:
            finish = "no answer"
        voters = [note.author for note in self.latest.values() if note.answer == answer]
        if decided is not None:
            text = decided.text
        elif answer is not None and voters:
            text = self.latest[self._most_reliable(voters)].text
        else:
            text = next((note.text for note in self.latest.values()), "")
        failed = [note for note in self.latest.values() if note.error] + self._failures
        return Result(
            task=self.speaker.task.id,
            answer=answer,
            text=text,
            posterior=counted.posterior if answer == counted.leader else 0.0,
            votes=dict(counted.weights),
            topology=self.graph,
            design=self.design,
            boards=tuple(self.boards),
            ledger=self.ledger,
            opened_phases=opened,
            finish="budget" if exhausted else finish,
            errors=tuple(f"{note.author}: {note.error}" for note in failed),
            seconds=time.perf_counter() - began,
        )
