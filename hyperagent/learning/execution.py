"""Executions of hypergraphs by a real team: run, scored, paid, written down, replayed."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from hyperagent.bench.progress import Progress, State
from hyperagent.bench.samples import Item, error_record, sample_record
from hyperagent.bench.store import RunFolder
from hyperagent.errors import BackendError, ConfigError, ResumeRefused, TooManyFailures
from hyperagent.hypergraph import Hypergraph
from hyperagent.llm import Allowance, CacheStore, Ledger, LedgerRow
from hyperagent.tasks import Task
from hyperagent.team import Team, run_sync
from hyperagent.topology.design import StopRule
from hyperagent.topology.outcomes import Execute, Objective, Outcome, OutcomeLog

T = TypeVar("T")

FIRST = 5
"""If so many executions are the first and all failed, something is wrong with the run."""


class Request(NamedTuple):
    """One execution that is wanted.

    Attributes
    ----------
    task : Task
    hypergraph : Hypergraph
    seed : int
        Decoding seed.
    stop : StopRule or None
        Of the hypergraph.
    """

    task: Task
    hypergraph: Hypergraph
    seed: int
    stop: StopRule | None = None


class TeamExecutor:
    """Runs hypergraphs with a team.

    Parameters
    ----------
    team : Team
        Its own topology is not used.
    folder : RunFolder
        Gets every call and every finished execution.
    scorers : sequence of str
        The first decides whether an answer is right.
    store : CacheStore, optional
        Replies by content. A call that was made before, in whichever hypergraph, is not paid for
        again; the tokens of an execution count it all the same.
    allowance : Allowance, optional
        Budget of all executions together.

    Attributes
    ----------
    failed : int
        Executions that ended without an answer because calls failed. They count as wrong.
    """

    def __init__(
        self,
        team: Team,
        folder: RunFolder,
        scorers: Sequence[str],
        *,
        store: CacheStore | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        self.team = copy.copy(team)
        self.team.cache = store
        self.folder, self.scorers, self.allowance = folder, tuple(scorers), allowance
        self.failed = 0
        self._done = 0

    def __call__(self, task: Task, hypergraph: Hypergraph, seed: int) -> Outcome:
        """Run one execution; see `execute`."""
        return run_sync(self.execute(Request(task, hypergraph, seed), State("", 1)))

    async def execute(self, request: Request, state: State) -> Outcome:
        """Run one execution, write it down and count it in `state`.

        Raises
        ------
        BudgetExceeded
            If the allowance is spent.
        BackendError
            If every further call would fail the same way.
        TooManyFailures
            If the first executions all failed.
        ConfigError
            If the backend does not say how many tokens a call took.
        """
        item = Item(request.hypergraph.digest()[:12], request.seed, request.task, self.team)
        rows: list[LedgerRow] = []
        ledger = Ledger(on_row=partial(self._note, item, rows, state))
        prices = self.team.prices
        try:
            result = await self.team.solve(
                request.task,
                hypergraph=request.hypergraph,
                stop=request.stop,
                seed=request.seed,
                allowance=self.allowance,
                ledger=ledger,
                run=self.folder.path.name,
            )
        except BackendError as error:
            if error.fatal:
                raise
            record = error_record(item, error, "error", rows, prices)
        else:
            record = await sample_record(item, result, self.scorers, prices)
        tokens = record["prompt_tokens"] + record["completion_tokens"]
        if tokens == 0 and record["status"] == "ok":
            raise ConfigError(
                f"{self.team.name}: its models do not say how many tokens a call took, so that no "
                "topology can be learned from their cost"
            )
        self.folder.add_sample(record, request.hypergraph, paid=item.costs)
        state.count(record)
        self._judge(record)
        # A failed call may have no tokens on the ledger, but it is not free.
        return Outcome(
            request.task.id,
            request.hypergraph,
            float(record["correct"]),
            float(max(tokens, 1)),
            record["price"],
        )

    def _note(self, item: Item, rows: list[LedgerRow], state: State, row: LedgerRow) -> None:
        rows.append(row)
        self.folder.add_call(item.key, row, paid=item.costs and not row.from_cache)
        state.retries += row.attempt > 0
        state.waits += row.error == "RateLimited"

    def _judge(self, record: dict[str, Any]) -> None:
        self._done += 1
        self.failed += record["status"] != "ok"
        if self._done == self.failed == FIRST:
            raise TooManyFailures(
                f"the first {FIRST} executions all failed, so that learning was stopped. "
                f"The last error: {self.folder.scrub(record['errors'][0])}"
            )


class Executions:
    """The sequence of all executions of a run, replayed as far as it is known.

    A learner is a function of the outcomes that it is given. What is on the log is handed out in
    order; only what goes beyond it is executed. So a run that was killed goes on where it was, and
    ends as it would have ended.

    The decoding seed of an execution is that of the run plus the number of earlier executions of
    the same hypergraph on the same task. So hypergraphs are compared under common random numbers,
    and calls that they have in common are made once.

    Parameters
    ----------
    log : OutcomeLog
    executor : TeamExecutor
    seed : int
    concurrency : int
        Executions in flight.
    progress : Progress
    on_outcome : callable, optional
        Called once with the number and the outcome of each execution, in their order.
    """

    def __init__(
        self,
        log: OutcomeLog,
        executor: TeamExecutor,
        *,
        seed: int,
        concurrency: int,
        progress: Progress,
        on_outcome: Callable[[int, Outcome], None] | None = None,
    ) -> None:
        self.log, self.executor, self.seed = log, executor, seed
        self.concurrency, self.progress = concurrency, progress
        self._on_outcome = on_outcome or (lambda number, outcome: None)
        self._at = self._told = 0
        self._repeats: Counter[tuple[str, str]] = Counter()

    @property
    def done(self) -> list[Outcome]:
        """Outcomes so far, without those of an earlier start that are still to come."""
        return self.log.outcomes[: self._at]

    def run(
        self,
        algorithm: Callable[[Execute], T],
        total: int,
        stage: str,
        stops: Mapping[tuple[str, str], StopRule] | None = None,
    ) -> T:
        """Run an algorithm, several of its executions at a time.

        The algorithm is run with placeholders for outcomes that are not known yet. When it ends, or
        looks into one, all that it asked for so far is executed in parallel, and it is run again
        from its beginning. It must therefore change nothing but its own variables.

        Parameters
        ----------
        algorithm : callable
            Gets an `Execute`.
        total : int
            Executions that are expected, for the progress.
        stage : str
            Name for the progress.
        stops : mapping, optional
            Stop rules by the ids of tasks and the digests of hypergraphs; the others have none.
        """
        state = self._state(stage, total)
        start, before = self._at, self._repeats.copy()
        while True:
            self._at, self._repeats = start, before.copy()
            wanted: list[Request] = []

            def execute(task: Task, hypergraph: Hypergraph, seed: int) -> Any:
                # One list a round: the closure is used in this round alone.
                known = self._known(task, hypergraph)
                if isinstance(known, Outcome):
                    return known
                rule = (stops or {}).get((task.id, hypergraph.digest()))
                wanted.append(known._replace(stop=rule))  # noqa: B023
                return _Pending()

            try:
                result = algorithm(execute)
            except _LookedAhead:
                result = None
            if not wanted:
                break
            run_sync(self._perform(wanted, state))
        self.progress.show(state, last=True)
        return result

    def one_by_one(self, algorithm: Callable[[Execute], T], total: int, stage: str) -> T:
        """Run an algorithm that learns while it runs, one execution at a time."""
        state = self._state(stage, total)

        def execute(task: Task, hypergraph: Hypergraph, seed: int) -> Outcome:
            known = self._known(task, hypergraph)
            if isinstance(known, Request):
                run_sync(self._perform([known], state))
                known = self.log.outcomes[-1]
            return known

        result = algorithm(execute)
        self.progress.show(state, last=True)
        return result

    def _state(self, stage: str, total: int) -> State:
        state = State(stage, total)
        for outcome in self.log.outcomes[self._at : self._at + total]:
            state.count(
                {"status": "ok", "correct": outcome.correct, "price": outcome.dollars,
                 "prompt_tokens": int(outcome.tokens), "completion_tokens": 0}
            )  # fmt: skip
        state.begin()
        self.progress.show(state)
        return state

    def _known(self, task: Task, hypergraph: Hypergraph) -> Outcome | Request:
        """The next outcome if it is on the log, else the request for it."""
        key = (task.id, hypergraph.digest())
        seed = self.seed + self._repeats[key]
        self._repeats[key] += 1
        number, self._at = self._at, self._at + 1
        if number >= len(self.log):
            return Request(task, hypergraph, seed)
        outcome = self.log.outcomes[number]
        if (outcome.task, outcome.hypergraph.digest()) != key:
            raise ResumeRefused(
                f"{self.log.path}, line {number + 1} is of another execution than the one that "
                "this run would make; it was written by another version. Start in another folder"
            )
        self._tell(number)
        return outcome

    def _tell(self, number: int) -> None:
        if number == self._told:
            self._told += 1
            self._on_outcome(number, self.log.outcomes[number])

    async def _perform(self, wanted: Sequence[Request], state: State) -> None:
        """Execute, and log in the order of the requests however they end."""
        gate = asyncio.Semaphore(self.concurrency)

        async def one(request: Request) -> Outcome:
            async with gate:
                return await self.executor.execute(request, state)

        running = [asyncio.ensure_future(one(request)) for request in wanted]
        try:
            for future in running:
                self.log.append(await future)
                self._tell(len(self.log) - 1)
                self.progress.show(state)
        finally:
            for future in running:
                future.cancel()
            await asyncio.gather(*running, return_exceptions=True)


class _LookedAhead(Exception):
    """An algorithm needs an outcome that is not known yet."""


class _Pending:
    """Stands for an outcome that is not known yet; its reward may be carried about, not used."""

    def reward(self, price: float, scale: float, objective: Objective = "tokens") -> _Unknown:
        return _Unknown()

    def __getattr__(self, name: str) -> Any:
        raise _LookedAhead


class _Unknown:
    """A number that is not known yet."""

    def _look(self, *_: Any) -> Any:
        raise _LookedAhead

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = _look
    __lt__ = __gt__ = __le__ = __ge__ = __float__ = __neg__ = __bool__ = _look
