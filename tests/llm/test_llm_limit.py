"""Limiter: slots, rates, fairness, cancellation, several event loops."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperagent import errors
from hyperagent.llm import (
    ChatRequest,
    FunctionBackend,
    Limiter,
    Message,
    Pauses,
    RateLimit,
    ScriptedBackend,
    limit,
)

ASK = ChatRequest((Message("user", "go"),), max_tokens=16)


class Busy:
    """Counts calls under way."""

    def __init__(self, seconds: float = 0.01) -> None:
        self.seconds = seconds
        self.now = self.peak = 0
        self.starts: list[float] = []
        self._lock = threading.Lock()

    async def __call__(self, request: ChatRequest) -> str:
        with self._lock:
            self.now += 1
            self.peak = max(self.peak, self.now)
            self.starts.append(time.monotonic())
        try:
            await asyncio.sleep(self.seconds)
        finally:
            with self._lock:
                self.now -= 1
        return "done"


def test_no_more_calls_at_once_than_allowed() -> None:
    busy = Busy()
    wrapped = RateLimit(FunctionBackend(busy), Limiter(max_in_flight=3))

    async def many() -> None:
        await asyncio.gather(*(wrapped.complete(ASK) for _ in range(20)))

    asyncio.run(many())
    assert busy.peak == 3
    asyncio.run(many())  # a second event loop, the same limiter
    assert (busy.peak, len(busy.starts)) == (3, 40)


def test_loops_in_several_threads_share_the_slots() -> None:
    busy = Busy(0.002)
    wrapped = RateLimit(FunctionBackend(busy), Limiter(max_in_flight=2))

    async def many() -> None:
        await asyncio.gather(*(wrapped.complete(ASK) for _ in range(25)))

    threads = [threading.Thread(target=asyncio.run, args=(many(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (busy.peak, len(busy.starts)) == (2, 100)


def test_each_connection_has_its_own_slots() -> None:
    busy = Busy()
    limiter = Limiter(max_in_flight=1)
    wrapped = [RateLimit(FunctionBackend(busy, connection=name), limiter) for name in "ab"]

    async def many() -> None:
        await asyncio.gather(*(w.complete(ASK) for w in wrapped for _ in range(4)))

    asyncio.run(many())
    assert busy.peak == 2


@given(
    slots=st.integers(1, 4),
    cancelled=st.lists(st.booleans(), min_size=1, max_size=24),
    failing=st.integers(0, 3),
)
def test_slots_come_back_whatever_happens(slots: int, cancelled: list[bool], failing: int) -> None:
    limiter = Limiter(max_in_flight=slots)
    running = 0

    async def answer(request: ChatRequest) -> str:
        nonlocal running
        running += 1
        assert running <= slots
        try:
            await asyncio.sleep(0)
            if request.sample % 4 < failing:
                raise errors.ServerFailed("500")
            return "done"
        finally:
            running -= 1

    backend = FunctionBackend(answer, connection="c")
    wrapped = RateLimit(backend, limiter)

    async def storm() -> None:
        tasks = [
            asyncio.create_task(wrapped.complete(ChatRequest(ASK.messages, sample=n)))
            for n in range(len(cancelled))
        ]
        for task, cancel in zip(tasks, cancelled, strict=True):
            await asyncio.sleep(0)
            if cancel:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # All slots are free: as many calls as there are slots get one without waiting.
        lane = limiter.lane("c")
        async with asyncio.timeout(1):
            for _ in range(slots):
                await lane.acquire()

    asyncio.run(storm())


def test_calls_start_in_the_order_in_which_they_came() -> None:
    order: list[int] = []

    async def answer(request: ChatRequest) -> str:
        order.append(request.sample)
        await asyncio.sleep(0.001)
        return "done"

    limiter = Limiter(max_in_flight=2, requests_per_minute=60_000)
    wrapped = RateLimit(FunctionBackend(answer), limiter)

    async def many() -> None:
        await asyncio.gather(
            *(wrapped.complete(ChatRequest(ASK.messages, sample=n)) for n in range(20))
        )

    asyncio.run(many())
    assert order == list(range(20))


def test_requests_keep_the_rate() -> None:
    busy = Busy(0)
    wrapped = RateLimit(FunctionBackend(busy), Limiter(requests_per_minute=3000))

    async def many() -> None:
        await asyncio.gather(*(wrapped.complete(ASK) for _ in range(70)))

    asyncio.run(many())
    # 50 a second after a burst of one second's worth.
    took = busy.starts[-1] - busy.starts[0]
    assert (70 - 51) / 50 * 0.9 <= took < 2


@given(
    limit_per_minute=st.integers(1, 10_000),
    steps=st.lists(st.tuples(st.floats(0, 30), st.integers(1, 500)), max_size=80),
)
def test_no_minute_holds_more_than_its_limit(
    limit_per_minute: int, steps: list[tuple[float, int]]
) -> None:
    bucket, now, taken = limit._Bucket(limit_per_minute), 1000.0, []
    for idle, cost in steps:
        now += idle
        now += max(0.0, bucket.wait(now))
        bucket.take(cost, now)
        taken.append((now, cost))
    for index, (start, _) in enumerate(taken):
        window = [cost for t, cost in taken[index:] if t < start + 60 - 1e-6]
        assert sum(window[:-1]) <= limit_per_minute + 1e-6


@given(
    limit_per_minute=st.integers(1, 120),
    idles=st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.3, 2.0, 61.0]), min_size=200, max_size=300),
)
def test_no_minute_holds_more_requests_than_allowed(
    limit_per_minute: int, idles: list[float]
) -> None:
    bucket, now, starts = limit._Bucket(limit_per_minute), 1000.0, []
    for idle in idles:
        now += idle
        now += max(0.0, bucket.wait(now))
        bucket.take(1, now)
        starts.append(now)
    for early, late in zip(starts, starts[limit_per_minute:], strict=False):
        assert late - early > 60 - 1e-6


def test_tokens_that_were_not_used_are_given_back() -> None:
    # Each call reserves 1,024 + 5 of 6,000 a minute, and uses 2: without giving back, the
    # fourth would have to wait for more than 20 seconds.
    wrapped = RateLimit(ScriptedBackend("ok"), Limiter(tokens_per_minute=6000))

    async def many() -> None:
        async with asyncio.timeout(5):
            for _ in range(10):
                await wrapped.complete(ChatRequest(ASK.messages))

    asyncio.run(many())


def test_tokens_are_waited_for() -> None:
    wrapped = RateLimit(ScriptedBackend("one two three"), Limiter(tokens_per_minute=6))

    async def two() -> None:
        await wrapped.complete(ASK)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await wrapped.complete(ASK)

    asyncio.run(two())


def test_a_call_in_the_queue_keeps_a_pause_and_can_be_cancelled_in_it() -> None:
    pauses = Pauses()
    backend = ScriptedBackend("ok", connection="c")
    limiter = Limiter(max_in_flight=1)
    wrapped = RateLimit(backend, limiter, pauses)
    pauses.hold("c", 0.3)

    async def cancel() -> None:
        task = asyncio.create_task(wrapped.complete(ASK))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as raised:
            await task
        assert raised.value.never_sent  # type: ignore[attr-defined]
        start = time.monotonic()
        await wrapped.complete(ASK)
        assert time.monotonic() - start > 0.2

    asyncio.run(cancel())
    assert backend.calls == 1


@pytest.mark.parametrize(
    "wrong", [{"max_in_flight": 0}, {"requests_per_minute": -1}, {"tokens_per_minute": 0}]
)
def test_a_limit_that_makes_no_sense_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(errors.ConfigError, match=next(iter(wrong))):
        Limiter(**wrong)  # type: ignore[arg-type]
