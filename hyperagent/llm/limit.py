"""Send no faster, and no more at once, than a server allows."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque

from hyperagent.errors import BackendError, ConfigError
from hyperagent.llm import estimate
from hyperagent.llm.retry import Pauses
from hyperagent.llm.types import Backend, ChatReply, ChatRequest
from hyperagent.llm.wrapper import Wrapper

BURST = 1.0
"""Seconds' worth of unused rate that may be sent at once."""


class _Slots:
    """Semaphore that event loops of several threads, or one after another, can share.

    `asyncio.Semaphore` belongs to the first loop that waits on it. Waiters are served in
    the order in which they came.
    """

    def __init__(self, number: int) -> None:
        self.free = number
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._lock = threading.Lock()

    async def acquire(self) -> None:
        with self._lock:
            if self.free:
                self.free -= 1
                return
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            # Handed a slot and cancelled before it could run: the slot goes on. A waiter that
            # is cancelled in the queue stays there, and is passed over by `_hand_over`.
            if not waiter.cancelled():
                self.release()
            raise

    def release(self) -> None:
        with self._lock:
            while self._waiting:
                waiter = self._waiting.popleft()
                loop = waiter.get_loop()
                if not loop.is_closed():
                    loop.call_soon_threadsafe(self._hand_over, waiter)
                    return
            self.free += 1

    def _hand_over(self, waiter: asyncio.Future[None]) -> None:
        if waiter.done():
            self.release()
        else:
            waiter.set_result(None)


class _Bucket:
    """Token bucket, kept as the time at which all that was taken is paid for.

    Something may be taken when nothing is owed; then its whole cost is owed. The rate is
    lowered by the burst, so that no window of 60 seconds holds more than `per_minute`
    (but for the last call that starts in it, whose size can be anything).
    """

    def __init__(self, per_minute: float) -> None:
        self.seconds = (60.0 + BURST) / per_minute
        self.paid = 0.0

    def wait(self, now: float) -> float:
        return self.paid - now

    def take(self, cost: float, now: float) -> None:
        self.paid = max(self.paid, now - BURST) + cost * self.seconds

    def give_back(self, cost: float) -> None:
        self.paid -= cost * self.seconds


class Limiter:
    """Limits that hold on each connection by itself; share one object between all calls.

    Parameters
    ----------
    max_in_flight : int, optional
        Calls at the same time.
    requests_per_minute : float, optional
        Held in every window of 60 seconds.
    tokens_per_minute : float, optional
        Prompt and completion tokens: reserved before the call as `Budget` does, corrected
        with the real usage after it.
    """

    def __init__(
        self,
        max_in_flight: int | None = None,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
    ) -> None:
        given = {
            "max_in_flight": max_in_flight,
            "requests_per_minute": requests_per_minute,
            "tokens_per_minute": tokens_per_minute,
        }
        for name, value in given.items():
            if value is not None and not value > 0:
                raise ConfigError(f"{name} must be greater than 0, got {value!r}")
        self.max_in_flight = max_in_flight
        self.requests_per_minute = requests_per_minute
        self.tokens_per_minute = tokens_per_minute
        self._lanes: dict[str, Lane] = {}
        self._lock = threading.Lock()

    def lane(self, connection: str) -> Lane:
        """The queue of one connection, made on first use."""
        with self._lock:
            if connection not in self._lanes:
                self._lanes[connection] = Lane(self)
            return self._lanes[connection]


class Lane:
    """Calls of one connection, in the order in which they came."""

    def __init__(self, limits: Limiter) -> None:
        slots, requests, tokens = (
            limits.max_in_flight,
            limits.requests_per_minute,
            limits.tokens_per_minute,
        )
        self._slots = None if slots is None else _Slots(slots)
        self._requests = None if requests is None else _Bucket(requests)
        self._tokens = None if tokens is None else _Bucket(tokens)
        # Only the first in the queue looks at the buckets, so that nobody overtakes and
        # everybody sees the latest corrections.
        self._turn = _Slots(1)

    @property
    def counts_tokens(self) -> bool:
        """Whether there is a limit on tokens."""
        return self._tokens is not None

    async def acquire(self, tokens: int = 0) -> None:
        """Wait until a call of at most `tokens` tokens may start."""
        if self._slots is not None:
            await self._slots.acquire()
        try:
            await self._rate(tokens)
        except BaseException:
            self._free()
            raise

    def release(self, tokens: int = 0, used: int | None = None) -> None:
        """End a call: `tokens` as acquired, `used` as counted (None: unknown)."""
        if self._tokens is not None and used is not None:
            self._tokens.give_back(tokens - used)
        self._free()

    async def _rate(self, tokens: int) -> None:
        requests, bucket = self._requests, self._tokens
        if requests is None and bucket is None:
            return
        await self._turn.acquire()
        try:
            while (wait := self._owed(time.monotonic())) > 0:  # noqa: ASYNC110
                # Calls that end while we sleep may give tokens back.
                await asyncio.sleep(min(wait, 1.0))
            now = time.monotonic()
            if requests is not None:
                requests.take(1, now)
            if bucket is not None:
                bucket.take(tokens, now)
        finally:
            self._turn.release()

    def _owed(self, now: float) -> float:
        return max(b.wait(now) for b in (self._requests, self._tokens) if b is not None)

    def _free(self) -> None:
        if self._slots is not None:
            self._slots.release()


class RateLimit(Wrapper):
    """Hold calls back until `limiter` lets them go.

    Parameters
    ----------
    backend : Backend
    limiter : Limiter
    pauses : Pauses, optional
        Those of `Retry`. Calls that were already in the queue when the server asked for a
        pause keep it too.
    """

    def __init__(self, backend: Backend, limiter: Limiter, pauses: Pauses | None = None) -> None:
        super().__init__(backend)
        self.pauses = pauses
        self._lane = limiter.lane(backend.connection)

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Answer `request` when its turn has come.

        A cancellation that comes earlier carries ``never_sent = True``: no server saw the
        call, so it costs nothing and is no row of the ledger.
        """
        lane, tokens, used = self._lane, 0, None
        if lane.counts_tokens:
            tokens = estimate.reservation(request)
        try:
            await self._turn(tokens)
        except asyncio.CancelledError as error:
            error.never_sent = True  # type: ignore[attr-defined]
            raise
        try:
            reply = await self.backend.complete(request)
            used = reply.usage.total_tokens
            return reply
        except BackendError as error:
            used = None if error.may_have_run else 0
            raise
        finally:
            lane.release(tokens, used)

    async def _turn(self, tokens: int) -> None:
        await self._lane.acquire(tokens)
        if self.pauses is not None and self.pauses.remaining(self.connection):
            try:
                await self.pauses.wait(self.connection)
            except BaseException:
                self._lane.release(tokens, 0)
                raise
