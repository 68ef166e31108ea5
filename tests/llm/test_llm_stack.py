"""The stack: its order, what it costs, and what importing it costs."""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hyperagent import errors, llm
from hyperagent.llm import (
    Allowance,
    Budget,
    Cache,
    CacheStore,
    CallContext,
    Capabilities,
    ChatReply,
    ChatRequest,
    Ledger,
    Limiter,
    Message,
    Meter,
    ModelPrice,
    Pauses,
    Prices,
    RateLimit,
    Retry,
    RetryPolicy,
    ScriptedBackend,
    Usage,
    estimate,
    stack,
)

REPLY = ChatReply("The answer is 18.", Usage(100, 50, source="server"), "m", "stop")


class Bare:
    """A backend that costs nothing, so that all cost is the stack's."""

    name = "bare:m"
    connection = "bare"

    def __init__(self) -> None:
        self.capabilities = Capabilities()
        self.closed = 0

    async def complete(self, request: ChatRequest) -> ChatReply:
        return REPLY

    async def aclose(self) -> None:
        self.closed += 1


def request(number: int) -> ChatRequest:
    messages = (
        Message("system", "You are a careful solver of word problems. " * 5),
        Message("user", f"Natalia sold clips to {number} of her friends in April. " * 5),
    )
    return ChatRequest(messages, 0.7, max_tokens=256, context=CallContext(task="t", agent="ann"))


def full_stack(backend: llm.Backend, folder: Path) -> llm.Backend:
    return stack(
        backend,
        ledger=Ledger(parent=Ledger(keep=False)),
        allowance=Allowance(parent=Allowance(tokens=10**9, calls=10**9, price=10**9)),
        pauses=Pauses(),
        limiter=Limiter(64, 10**9, 10**12),
        cache=CacheStore(folder / "replies.sqlite"),
        prices=Prices({"m": ModelPrice(prompt=1, completion=2)}),
    )


def test_the_order_of_the_wrappers(tmp_path: Path) -> None:
    bare = Bare()
    wrapped, kinds = full_stack(bare, tmp_path), []
    while wrapped is not bare:
        assert isinstance(wrapped, llm.Backend)
        assert (wrapped.name, wrapped.connection) == (bare.name, bare.connection)
        assert wrapped.capabilities is bare.capabilities
        kinds.append(type(wrapped))
        wrapped = wrapped.backend
    assert kinds == [Cache, Retry, Meter, Budget, RateLimit]


def test_closing_the_stack_closes_the_backend(tmp_path: Path) -> None:
    bare = Bare()
    asyncio.run(full_stack(bare, tmp_path).aclose())
    assert bare.closed == 1


def test_the_whole_stack_costs_less_than_a_quarter_of_a_millisecond(tmp_path: Path) -> None:
    wrapped = full_stack(Bare(), tmp_path)
    numbers = iter(range(10**6))

    async def calls(number: int) -> float:
        start = time.process_time()
        for _ in range(number):
            await wrapped.complete(request(next(numbers)))
        return (time.process_time() - start) / number

    async def fastest() -> float:
        return min([await calls(100) for _ in range(5)])

    assert asyncio.run(fastest()) < 0.25e-3  # seconds of CPU a call, no hit among them


def test_the_whole_stack_takes_few_python_calls(tmp_path: Path) -> None:
    wrapped = full_stack(Bare(), tmp_path)
    requests = [request(n) for n in range(200)]

    async def calls() -> None:
        for one in requests:
            await wrapped.complete(one)

    profile = cProfile.Profile()
    profile.enable()
    asyncio.run(calls())
    profile.disable()
    assert pstats.Stats(profile).total_calls / len(requests) <= 500


def test_the_budget_stops_the_retries_and_the_stop_is_no_call() -> None:
    ledger = Ledger()
    backend = ScriptedBackend([errors.CallTimeout("late")] * 5)
    allowance = Allowance(tokens=2 * estimate.reservation(request(1)) + 10)
    wrapped = stack(
        backend, ledger=ledger, allowance=allowance, retry=RetryPolicy(first_wait=0.001)
    )
    with pytest.raises(errors.BudgetExceeded):
        asyncio.run(wrapped.complete(request(1)))
    assert backend.calls == len(ledger) == allowance.spent.calls == 2


def test_importing_the_room_is_light() -> None:
    script = """
import sys, hyperagent.llm
heavy = ["torch", "openai", "httpx", "tenacity", "pydantic", "yaml", "numpy", "xllamacpp"]
print([name for name in heavy if name in sys.modules])
"""
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout.strip() == "[]"


def test_public_names_exist() -> None:
    for name in llm.__all__:
        assert getattr(llm, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        llm.nothing  # noqa: B018
