"""Runs items: a few at a time, each failure on its own, every result on the disk at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial

from hyperagent.bench.progress import Progress, State
from hyperagent.bench.samples import Item, error_record, sample_record
from hyperagent.bench.store import RunFolder
from hyperagent.errors import (
    BackendError,
    BudgetExceeded,
    ConfigError,
    HypergraphError,
    RunError,
    SandboxError,
    TooManyFailures,
)
from hyperagent.llm import Allowance, Ledger, LedgerRow, Prices

FIRST = 5
"""If so many samples are the first to finish and all failed, something is wrong with the run."""

_HOPELESS = (ConfigError, HypergraphError, RunError, SandboxError)
"""Errors that every other sample would meet too."""


class Runner:
    """Works off items.

    Parameters
    ----------
    folder : RunFolder
    scorers : sequence of str
        The first decides.
    allowance : Allowance
        Budget of the whole run.
    concurrency : int
        Items in flight.
    progress : Progress
    fail_on_error : float, optional
        Share of failed samples, of all items of a call to `run`, that is too much.
    prices : Prices, optional
    name : str
        Of the run, for the ledger.

    Attributes
    ----------
    exhausted : str
        Why the budget stopped the run; empty if it did not.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        scorers: Sequence[str],
        allowance: Allowance,
        concurrency: int,
        progress: Progress,
        fail_on_error: float | None = None,
        prices: Prices | None = None,
        name: str = "",
    ) -> None:
        self.folder, self.scorers, self.allowance = folder, tuple(scorers), allowance
        self.concurrency, self.progress = concurrency, progress
        self.fail_on_error, self.prices, self.name = fail_on_error, prices, name
        self.exhausted = ""
        self._working = 0
        self._finished = self._failed = 0
        self._first_error = ""

    async def run(self, items: Iterable[Item], stage: str) -> None:
        """Finish `items`; those that the folder holds already are not run again.

        Raises
        ------
        BackendError
            If every further call would fail the same way.
        RunError
            If too many samples failed (`TooManyFailures`), or the folder cannot be written.
        ConfigError
            If a topology or a scorer does not fit the team or the tasks.
        """
        items = list(items)
        state = State(stage, len(items))
        waiting: deque[Item] = deque()
        for item in items:
            record = self.folder.samples.get(item.key)
            if record is not None and record["status"] == "ok":
                state.count(record)
            else:
                waiting.append(item)
        state.begin()
        self.progress.show(state)
        if waiting and not self.exhausted:
            self._working = min(self.concurrency, len(waiting))
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(self._working):
                        group.create_task(self._work(waiting, state))
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None
        self.progress.show(state, last=True)

    async def _work(self, waiting: deque[Item], state: State) -> None:
        """One of the workers; it ends when nothing waits, or the budget is too tight for it."""
        while waiting and not self.exhausted:
            item = waiting.popleft()
            if not await self._one(item, state):
                waiting.appendleft(item)
                break
            self.progress.show(state)
        self._working -= 1

    async def _one(self, item: Item, state: State) -> bool:
        """Finish `item`; False if it must wait until calls of other items release their budget."""
        rows: list[LedgerRow] = []
        costs = item.costs
        ledger = Ledger(on_row=partial(self._note_call, item.key, costs, rows, state))
        graph = None
        try:
            result = await item.team.solve(
                item.task,
                seed=item.seed,
                allowance=self.allowance,
                ledger=ledger,
                run=self.name,
            )
            record = await sample_record(item, result, self.scorers, self.prices)
            graph = result.topology
        except BudgetExceeded as error:
            # What calls under way reserved is mostly more than they use. The replies so far are
            # in the cache, so that coming back to this item later costs nothing.
            if self._working > 1 and item.team.cache is not None:
                return False
            self.exhausted = str(error)
            record = error_record(item, error, "budget", rows, self.prices)
        except _HOPELESS:
            raise
        # A plug-in's crash on one question must not take the others with it.
        except Exception as error:
            if isinstance(error, BackendError) and error.fatal:
                raise
            record = error_record(item, error, "error", rows, self.prices)
        self.folder.add_sample(record, graph, paid=costs)
        state.count(record)
        self._judge(record, state)
        return True

    def _note_call(
        self, item: str, costs: bool, rows: list[LedgerRow], state: State, row: LedgerRow
    ) -> None:
        rows.append(row)
        self.folder.add_call(item, row, paid=costs and not row.from_cache)
        state.retries += row.attempt > 0
        state.waits += row.error == "RateLimited"

    def _judge(self, record: dict, state: State) -> None:
        """Stop a run that is going wrong before it has spent everything."""
        if record["status"] == "budget":
            return
        self._finished += 1
        if record["status"] != "error":
            return
        self._failed += 1
        self._first_error = self._first_error or self.folder.scrub(record["errors"][0])
        if self._finished == self._failed == FIRST:
            raise TooManyFailures(
                f"the first {FIRST} samples all failed, so the run was stopped. "
                f"The first error: {self._first_error}"
            )
        if self.fail_on_error is not None and state.errors > self.fail_on_error * state.total:
            raise TooManyFailures(
                f"{state.errors} of {state.total} samples failed, more than the tolerated share "
                f"of {self.fail_on_error:g}. The first error: {self._first_error}"
            )
