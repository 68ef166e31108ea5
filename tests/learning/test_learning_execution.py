"""Executions: batches, replay, shared calls, failures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from learning_parts import skilled, sums_team

from hyperagent import tasks
from hyperagent.bench import open_folder
from hyperagent.bench.progress import Silent
from hyperagent.bench.store import RunFolder
from hyperagent.errors import (
    BudgetExceeded,
    ConfigError,
    ResumeRefused,
    ServerFailed,
    TooManyFailures,
)
from hyperagent.learning import Executions, TeamExecutor
from hyperagent.llm import Allowance, CacheStore, ChatReply, FunctionBackend, RetryPolicy, Usage
from hyperagent.team import Agent, Team
from hyperagent.topology.candidates import portfolio
from hyperagent.topology.collect import explore, race
from hyperagent.topology.outcomes import Outcome, OutcomeLog

NAMES = ("single", "pair", "group", "star")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    with closing(open_folder(tmp_path / "run", config={}, meta={})) as opened:
        yield opened


@pytest.fixture
def questions(data_dir: Path) -> tuple:
    return tasks.load("gsm8k", "test", data_dir=data_dir).tasks[:10]


def executions(folder: RunFolder, path: Path, *, concurrency: int = 4, team=None, store=None,
               **options) -> Executions:  # fmt: skip
    executor = TeamExecutor(team or sums_team(), folder, ["numeric"],
                            store=store or CacheStore(":memory:"), **options)  # fmt: skip
    return Executions(OutcomeLog(path), executor, seed=3, concurrency=concurrency,
                      progress=Silent())  # fmt: skip


def algorithm(questions: tuple):
    """A race and an exploration, as a learning run has them."""
    graphs = portfolio(tuple(sums_team().agents.values()), NAMES)

    def run(execute):
        found = race(graphs, questions, execute, 48, price=0.01, scale=100.0)
        parts = explore(graphs["group"], questions, execute, 20, seed=1)
        return found.best, [*found.outcomes, *parts]

    return run


def test_batches_change_nothing(tmp_path: Path, folder: RunFolder, questions: tuple) -> None:
    logs = []
    for number, concurrency in enumerate((1, 16)):
        path = tmp_path / f"log{number}"
        runs = executions(folder, path, concurrency=concurrency)
        best, outcomes = runs.run(algorithm(questions), 68, "test")
        assert outcomes == runs.done == runs.log.outcomes
        assert best in NAMES
        logs.append(path.read_bytes())
    assert logs[0] == logs[1]
    one = executions(folder, tmp_path / "log2")
    one.one_by_one(algorithm(questions), 68, "test")
    assert (tmp_path / "log2").read_bytes() == logs[0]


def test_a_round_is_one_batch(tmp_path: Path, folder: RunFolder, questions: tuple) -> None:
    """The race looks at its outcomes once a round: as many batches, and one for the rest."""
    runs, sizes = executions(folder, tmp_path / "log"), []
    perform = runs._perform

    async def counted(wanted, state):
        sizes.append(len(wanted))
        await perform(wanted, state)

    runs._perform = counted
    runs.run(algorithm(questions), 68, "test")
    assert sizes == [24, 24, 20]


def test_what_is_known_is_not_executed(tmp_path: Path, folder: RunFolder, questions: tuple) -> None:
    whole = executions(folder, tmp_path / "whole")
    whole.run(algorithm(questions), 68, "test")
    lines = (tmp_path / "whole").read_bytes().splitlines(keepends=True)
    for known in (0, 1, 30, 68):
        path = tmp_path / f"part{known}"
        path.write_bytes(b"".join(lines[:known]))
        told = []
        runs = executions(folder, path)
        runs._on_outcome = lambda number, outcome, told=told: told.append(number)
        runs.run(algorithm(questions), 68, "test")
        assert path.read_bytes() == b"".join(lines)
        assert told == list(range(68))
        assert runs.executor._done == 68 - known


def test_a_log_of_another_run_is_refused(
    tmp_path: Path, folder: RunFolder, questions: tuple
) -> None:
    runs = executions(folder, tmp_path / "log")
    graph = portfolio(tuple(sums_team().agents.values()), NAMES)["star"]
    runs.log.append(Outcome(questions[5].id, graph, 1.0, 10.0))
    with pytest.raises(ResumeRefused, match="line 1 is of another execution"):
        runs.run(algorithm(questions), 68, "test")


def test_shared_calls_are_paid_once_and_counted_always(
    tmp_path: Path, folder: RunFolder, questions: tuple
) -> None:
    graphs = portfolio(tuple(sums_team().agents.values()), NAMES)
    store = CacheStore(":memory:")
    runs = executions(folder, tmp_path / "log", store=store, concurrency=1)
    task = questions[0]
    single, group, again = runs.run(
        lambda execute: [execute(task, graphs[n], 7) for n in ("single", "group", "single")],
        3, "test",
    )  # fmt: skip
    # The group's weak agent says what it said alone; the repetition has a new decoding seed.
    calls = (tmp_path / "run" / "calls.jsonl").read_text().splitlines()
    cached = [row for row in calls if '"from_cache":true' in row]
    assert len(cached) == 1
    counted = single.tokens + group.tokens + again.tokens
    assert folder.tally.tokens == counted - single.tokens
    # Once more with the same seed and replies: nothing is paid for.
    paid = folder.tally.tokens
    twice = executions(folder, tmp_path / "log2", store=store)
    same = twice.run(
        lambda execute: [execute(task, graphs[n], 7) for n in ("single", "group", "single")],
        3, "test",
    )  # fmt: skip
    assert same == [single, group, again]
    assert folder.tally.tokens == paid


def test_a_spent_allowance_ends_the_run_and_keeps_what_was_paid(
    tmp_path: Path, folder: RunFolder, questions: tuple
) -> None:
    runs = executions(folder, tmp_path / "log", concurrency=1, allowance=Allowance(tokens=8_000))
    with pytest.raises(BudgetExceeded):
        runs.run(algorithm(questions), 68, "test")
    known = len(OutcomeLog(tmp_path / "log"))
    assert 0 < known < 68


def team_of(answer) -> Team:
    return Team([Agent("ann", tools=(), backend=FunctionBackend(answer))], "single",
                retry=RetryPolicy(attempts=1))  # fmt: skip


def test_failed_executions_count_as_wrong_but_not_all_of_them(
    tmp_path: Path, folder: RunFolder, questions: tuple
) -> None:
    def mostly(request):
        if "What is 4 + 9?" in request.messages[-1].content:
            raise ServerFailed("busy")
        return skilled(1.0)(request)

    def never(request):
        raise ServerFailed("busy")

    graph = portfolio(tuple(team_of(mostly).agents.values()), ["single"])["single"]
    every = lambda execute: [execute(task, graph, 0) for task in questions]  # noqa: E731
    runs = executions(folder, tmp_path / "log", team=team_of(mostly))
    outcomes = runs.run(every, 10, "test")
    assert [o.correct for o in outcomes] == [1, 0, *[1] * 8]
    assert runs.executor.failed == 1
    hopeless = executions(folder, tmp_path / "log2", team=team_of(never))
    with pytest.raises(TooManyFailures, match=r"first 5 executions all failed.*busy"):
        hopeless.run(every, 10, "test")


def test_unknown_tokens_are_no_basis(tmp_path: Path, folder: RunFolder, questions: tuple) -> None:
    silent = team_of(lambda request: ChatReply("The answer is 3.", Usage(), "m"))
    graph = portfolio(tuple(silent.agents.values()), ["single"])["single"]
    runs = executions(folder, tmp_path / "log", team=silent)
    with pytest.raises(ConfigError, match="do not say how many tokens"):
        runs.run(lambda execute: execute(questions[0], graph, 0), 1, "test")
