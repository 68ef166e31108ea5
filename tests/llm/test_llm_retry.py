"""Retry: which errors, how long, how often, and the pause that all calls share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperagent import errors, llm
from hyperagent.llm import (
    ChatReply,
    ChatRequest,
    FunctionBackend,
    Ledger,
    Message,
    Pauses,
    Retry,
    RetryPolicy,
    ScriptedBackend,
    stack,
)
from hyperagent.testing.servers import Answer, LoopbackServer, Recorded, failure, rate_limited

QUICK = RetryPolicy(first_wait=0.001, longest_wait=0.01)
ASK = ChatRequest((Message("user", "What is 6 times 7?"),), max_tokens=16)

RETRYABLE = [
    errors.ConnectFailed("nobody there"),
    errors.CallTimeout("too slow"),
    errors.RateLimited("slow down"),
    errors.ServerFailed("500"),
    errors.BadReply("half"),
]
FINAL = [
    errors.RequestRejected("400"),
    errors.AuthenticationFailed("401"),
    errors.NotFound("404"),
    errors.NotRecorded("no such reply"),
    errors.NotRecorded("never", fatal=True),
    errors.BudgetExceeded("spent"),
    errors.ConfigError("wrong"),
    RuntimeError("a bug"),
]


def by_name(error: BaseException) -> str:
    return type(error).__name__


@pytest.mark.parametrize("error", RETRYABLE, ids=by_name)
def test_an_error_that_may_pass_is_tried_again(error: errors.BackendError) -> None:
    ledger = Ledger()
    backend = ScriptedBackend([error, error, "42"])
    reply = asyncio.run(stack(backend, ledger=ledger, retry=QUICK).complete(ASK))
    assert reply.text == "42"
    assert [row.attempt for row in ledger] == [0, 1, 2]
    assert [row.error for row in ledger] == [by_name(error), by_name(error), ""]
    assert {row.purpose for row in ledger} == {"speak"}


@pytest.mark.parametrize("error", FINAL, ids=by_name)
def test_an_error_that_stays_is_raised_at_once(error: Exception) -> None:
    backend = ScriptedBackend([error, "42"])
    with pytest.raises(type(error)) as raised:
        asyncio.run(Retry(backend, QUICK).complete(ASK))
    assert raised.value is error
    assert backend.calls == 1


def test_after_the_last_try_the_last_error_is_raised_as_it_is() -> None:
    failures = [errors.ServerFailed(str(n)) for n in range(10)]
    backend = ScriptedBackend(failures)
    with pytest.raises(errors.ServerFailed) as raised:
        asyncio.run(Retry(backend, RetryPolicy(attempts=3, first_wait=0)).complete(ASK))
    assert raised.value is failures[2]
    assert backend.calls == 3


def test_one_attempt_means_no_retry() -> None:
    backend = ScriptedBackend([errors.ServerFailed("500"), "42"])
    with pytest.raises(errors.ServerFailed):
        asyncio.run(Retry(backend, RetryPolicy(attempts=1)).complete(ASK))
    assert backend.calls == 1


def test_the_total_wait_is_capped() -> None:
    backend = FunctionBackend(raising(errors.ServerFailed("500")))
    policy = RetryPolicy(attempts=100, first_wait=0.05, total_wait=0.2)
    start = time.monotonic()
    with pytest.raises(errors.ServerFailed):
        asyncio.run(Retry(backend, policy).complete(ASK))
    assert time.monotonic() - start < 1.0
    assert 2 <= backend.calls <= 9


def test_a_server_that_asks_for_too_long_a_wait_is_not_waited_for() -> None:
    backend = ScriptedBackend([errors.RateLimited("tomorrow", retry_after=86400.0), "42"])
    retry = Retry(backend, RetryPolicy(longest_wait=60))
    with pytest.raises(errors.RateLimited):
        asyncio.run(retry.complete(ASK))
    assert retry.pauses.remaining(backend.connection) == 0


@given(
    asked=st.floats(-5, 1e6),
    tries=st.integers(1, 10_000),
    first=st.floats(0, 100),
    longest=st.floats(0, 1000),
)
def test_waits_lie_where_the_policy_says(
    asked: float, tries: int, first: float, longest: float
) -> None:
    policy = RetryPolicy(first_wait=first, longest_wait=longest)
    wait = policy.wait(errors.RateLimited("", retry_after=asked), tries)
    assert max(asked, 0) <= wait <= max(asked, 0) + 1
    top = min(longest, first * 2.0 ** min(tries - 1, 60))
    assert top / 2 <= policy.wait(errors.ServerFailed(""), tries) <= top


@pytest.mark.parametrize(
    "wrong", [{"attempts": 0}, {"first_wait": -1}, {"longest_wait": float("nan")}]
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(errors.ConfigError, match=next(iter(wrong))):
        RetryPolicy(**wrong)  # type: ignore[arg-type]


def test_a_pause_holds_back_its_own_connection_only() -> None:
    pauses = Pauses()
    pauses.hold("here", 0.2)
    pauses.hold("here", 0.05)  # never shortens
    backends = [ScriptedBackend("ok", connection=name) for name in ("here", "there")]

    async def seconds(backend: ScriptedBackend) -> float:
        start = time.monotonic()
        await Retry(backend, QUICK, pauses).complete(ASK)
        return time.monotonic() - start

    async def both() -> list[float]:
        return await asyncio.gather(*(seconds(backend) for backend in backends))

    here, there = asyncio.run(both())
    assert here >= 0.19
    assert there < 0.1


def test_cancelling_the_wait_between_tries_ends_the_call() -> None:
    backend = FunctionBackend(raising(errors.ServerFailed("500")))
    ledger = Ledger()

    async def cancel() -> None:
        wrapped = stack(backend, ledger=ledger, retry=RetryPolicy(first_wait=30))
        task = asyncio.create_task(wrapped.complete(ASK))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert backend.calls == 1
    assert [row.error for row in ledger] == ["ServerFailed"]


def test_a_second_try_can_be_cancelled_in_flight() -> None:
    ledger = Ledger()

    async def answer(request: ChatRequest) -> str:
        if request.context.attempt == 0:
            raise errors.ServerFailed("500")
        await asyncio.sleep(30)
        return "late"

    async def cancel() -> None:
        wrapped = stack(FunctionBackend(answer), ledger=ledger, retry=QUICK)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await wrapped.complete(ASK)

    asyncio.run(cancel())
    assert [(row.attempt, row.error) for row in ledger] == [
        (0, "ServerFailed"),
        (1, "CancelledError"),
    ]


# ---- against a real server on loopback ------------------------------------------------


def ask_server(
    server: LoopbackServer, number: int = 1, **options: object
) -> tuple[list[ChatReply | BaseException], Ledger]:
    """Replies or errors, and the ledger."""
    ledger = Ledger()

    async def ask() -> list[ChatReply | BaseException]:
        backend = llm.backend(f"openai:tiny@{server.url}")
        wrapped = stack(backend, ledger=ledger, pauses=Pauses(), **options)  # type: ignore[arg-type]
        try:
            calls = (wrapped.complete(ASK) for _ in range(number))
            return await asyncio.gather(*calls, return_exceptions=True)
        finally:
            await wrapped.aclose()

    return asyncio.run(ask()), ledger


class Clocked(LoopbackServer):
    """Notes when requests arrive, in seconds after the first one."""

    def __init__(self) -> None:
        super().__init__()
        self.arrivals: list[float] = []
        self._first = 0.0

    def choose(self, request: Recorded) -> Answer:
        now = time.monotonic()
        self._first = self._first or now
        self.arrivals.append(now - self._first)
        return super().choose(request)


@pytest.mark.parametrize("how", ["seconds", "ms", "date"])
def test_retry_after_is_honoured(how: str) -> None:
    seconds = {"seconds": 2.0, "ms": 0.3, "date": 1.0}[how]
    with Clocked() as server:
        server.next(rate_limited(seconds, how))
        (reply,), ledger = ask_server(server)
        assert isinstance(reply, ChatReply)
        # A date has whole seconds, and the server rounds it up.
        assert seconds <= server.arrivals[1] < seconds + (2 if how == "date" else 1)
        assert server.count == len(ledger) == 2


def test_a_429_pauses_every_call_of_the_connection() -> None:
    with Clocked() as server:
        server.next(rate_limited(1.0))
        # Two at a time: the other six are in the queue when the 429 comes.
        replies, ledger = ask_server(server, 8, limiter=llm.Limiter(max_in_flight=2))
        assert all(isinstance(reply, ChatReply) for reply in replies)
        assert server.count == len(ledger) == 9
    # Besides the refused call: the one in flight with it, and one that it let in.
    assert sum(t < 1.0 for t in server.arrivals) <= 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_never_repeated(status: int) -> None:
    with LoopbackServer(failure(status, "no")) as server:
        (error,), ledger = ask_server(server, retry=QUICK)
        assert isinstance(error, errors.BackendError)
        assert server.count == 1
        assert [row.error for row in ledger] == [type(error).__name__]


def test_the_servers_own_count_is_the_number_of_rows() -> None:
    with LoopbackServer() as server:
        server.next(*(failure(500, "no") if n % 3 == 0 else server.answer for n in range(30)))
        replies, ledger = ask_server(server, 32, retry=RetryPolicy(first_wait=0.01))
        assert all(isinstance(reply, ChatReply) for reply in replies)
        assert server.count == len(ledger) == 32 + 10
        assert ledger.totals().failed == 10


def raising(error: Exception) -> Callable[[ChatRequest], str]:
    def function(request: ChatRequest) -> str:
        raise error

    return function
