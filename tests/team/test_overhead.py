"""What our own layer costs per call: a gate on counts, which do not depend on the machine."""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import random
import time
import tracemalloc

import hyperagent as ha
from hyperagent.llm import ChatReply, FunctionBackend, Usage

REPLY = ChatReply("The answer is 18.", Usage(10, 5, source="server"))


def solve_many(team: ha.Team, times: int, run: ha.Ledger) -> None:
    async def main() -> None:
        allowance = ha.Allowance(tokens=10**9)
        for _ in range(times):
            await team.solve("How many?", allowance=allowance, ledger=run)

    asyncio.run(main())


def test_python_calls_per_model_call() -> None:
    team = ha.Team([ha.Agent("ann")], "single", FunctionBackend(lambda r: REPLY))
    solve_many(team, 5, ha.Ledger(keep=False))
    profile = cProfile.Profile()
    profile.enable()
    solve_many(team, 40, ha.Ledger(keep=False))
    profile.disable()
    # Measured: about 500, the event loop's own start included; 2,500 is the promise.
    assert pstats.Stats(profile).total_calls / 40 <= 1000


def test_memory_stays_flat() -> None:
    team = ha.Team([ha.Agent("ann")], "single", FunctionBackend(lambda r: REPLY))
    run = ha.Ledger(keep=False)
    solve_many(team, 200, run)
    tracemalloc.start()
    solve_many(team, 300, run)
    first = tracemalloc.get_traced_memory()[0]
    solve_many(team, 1500, run)
    grown = tracemalloc.get_traced_memory()[0] - first
    tracemalloc.stop()
    assert grown < 200_000, "bytes over 1,500 calls"
    assert run.totals().calls == 2000


def test_a_thousand_agents() -> None:
    names = [f"agent{i:04d}" for i in range(1000)]
    chooser = random.Random(0)
    seats = chooser.sample(names, 16)
    edges = tuple(ha.Hyperedge(tuple(chooser.sample(seats, 4)), phase=i % 4) for i in range(64))
    graph = ha.Hypergraph(tuple(names), edges)
    team = ha.Team([ha.Agent(name) for name in names], graph, FunctionBackend(lambda r: REPLY))
    began = time.process_time()
    result = asyncio.run(team.solve("How many?"))
    assert time.process_time() - began < 1.0
    assert {row.agent for row in result.ledger} == set(seats)
