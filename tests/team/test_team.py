"""The facade: construction, synchronous use, copies that share their backends."""

from __future__ import annotations

import asyncio
import multiprocessing
import subprocess
import sys
import threading

import pytest

from hyperagent.errors import ConfigError, UnknownNameError
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.llm import FunctionBackend, Ledger
from hyperagent.team import Agent, Routing, Team
from hyperagent.team.loop import run_sync

MODEL = FunctionBackend(lambda request: "The answer is 4.")


def team(**options: object) -> Team:
    return Team([Agent("ann"), Agent("bob")], **({"backend": MODEL} | options))


def test_solve_sync() -> None:
    result = team().solve_sync("What is 2 + 2?")
    assert result.answer == "4"
    assert result.usage.total_tokens == sum(row.total_tokens for row in result.ledger)
    assert result.topology.seated()
    assert result.to_json()["answer"] == "4"


def test_solve_sync_inside_a_running_loop() -> None:
    async def notebook_cell() -> str | None:
        return team().solve_sync("What is 2 + 2?").answer

    assert asyncio.run(notebook_cell()) == "4"


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_solve_sync_in_a_forked_process() -> None:
    def child() -> None:
        answers.put(shared.solve_sync("What is 2 + 2?").answer)

    shared = team()
    shared.solve_sync("What is 2 + 2?")
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    process = context.Process(target=child, daemon=True)
    process.start()
    try:
        assert answers.get(timeout=20) == "4"
    finally:
        process.kill()
        process.join()


def test_solve_sync_inside_an_agent_says_why_it_cannot_be() -> None:
    inner = team()
    outer = team(backend=FunctionBackend(lambda request: inner.solve_sync("q").text))
    assert "await solve()" in outer.solve_sync("What is 2 + 2?").errors[0]


def test_solve_sync_from_many_threads() -> None:
    shared, answers = team(), []
    threads = [
        threading.Thread(target=lambda: answers.append(shared.solve_sync("2 + 2?").answer))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["4"] * 8


def test_an_error_of_the_coroutine_arrives_as_it_is() -> None:
    async def work() -> None:
        raise ValueError("as is")

    with pytest.raises(ValueError, match="as is"):
        run_sync(work())


def test_an_interrupt_cancels_the_coroutine_and_waits_for_it() -> None:
    """In a child, because the signal goes to a whole process."""
    code = (
        "import asyncio, os, signal, threading\n"
        "from hyperagent.team import run_sync\n"
        "async def work():\n"
        "    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "    try:\n"
        "        await asyncio.sleep(60)\n"
        "    finally:\n"
        "        await asyncio.sleep(0.1)\n"
        "        print('cleaned up', flush=True)\n"
        "try:\n"
        "    run_sync(work())\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted', flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.split("\n")[:2] == ["cleaned up", "interrupted"]


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(ConfigError, match="at least one agent"):
        Team([])
    with pytest.raises(ConfigError, match="'ann' stands twice"):
        Team([Agent("ann"), Agent("ann")], backend=MODEL)
    with pytest.raises(ConfigError, match="ann#1"):
        Agent("ann#1")
    with pytest.raises(UnknownNameError, match="'role_cover'"):
        team(topology="role_covr")
    with pytest.raises(UnknownNameError, match="'openai'"):
        team(backend="opnai:gpt")
    with pytest.raises(ConfigError, match="reliability of zoe"):
        team().with_reliability({"zoe": 0.5})


def test_one_name_is_no_list_of_tools() -> None:
    with pytest.raises(ConfigError, match="'ann': tools must be a list of names, got 'python'"):
        Agent("ann", tools="python")


def test_copies_share_backends() -> None:
    first = team()
    other = first.with_topology("star").with_routing(rounds=0).with_reliability({"ann": 0.9})
    assert other.backends["ann"] is first.backends["ann"]
    assert (first.routing.rounds, other.routing.rounds) == (1, 0)
    assert first.agents["ann"].reliability is None
    assert other.agents["ann"].reliability == 0.9


def test_a_given_hypergraph_wins_and_the_ledger_has_a_parent() -> None:
    run = Ledger()
    graph = Hypergraph(("ann", "bob"), (Hyperedge(("bob",)),))
    result = asyncio.run(team().solve("2 + 2?", hypergraph=graph, ledger=run, run="r1"))
    assert [row.agent for row in run] == ["bob"]
    assert result.ledger.rows == run.rows
    assert run.rows[0].topology == graph.digest()
    assert run.rows[0].run == "r1"


def test_equal_specs_share_one_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERAGENT_BACKEND", "openai:some-model@http://127.0.0.1:9/v1")
    made = Team([Agent("ann"), Agent("bob"), Agent("cat", backend=MODEL)])
    assert made.backends["ann"] is made.backends["bob"]
    assert made.backends["cat"] is MODEL


def test_a_backend_that_nobody_uses_is_reported() -> None:
    with pytest.warns(UserWarning, match="'function' is not used: every agent of team 'team'"):
        Team([Agent("ann", backend=MODEL)], backend=MODEL)


@pytest.mark.parametrize(
    "wrong", [{"rounds": "2"}, {"gate": "high"}, {"timeout": None}, {"tool_calls": None}]
)
def test_routing_switches_of_a_wrong_type_are_named(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=f"routing.{next(iter(wrong))} must be"):
        Routing(**wrong)
