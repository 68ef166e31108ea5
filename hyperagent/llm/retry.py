"""Try a failed call again: patiently, not for ever, and never against a server's wish."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hyperagent.errors import BackendError, ConfigError, RateLimited
from hyperagent.llm.types import Backend, ChatReply, ChatRequest
from hyperagent.llm.wrapper import Wrapper

if TYPE_CHECKING:
    from tenacity import RetryCallState


def _asked(error: BaseException | None) -> float | None:
    """Seconds that the server asked us to wait, if it did."""
    return getattr(error, "retry_after", None)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When to try again, and after how long.

    Only errors with ``retryable`` set are tried again. A server's own ``retry_after`` is
    honoured to the second and a little over, so that callers do not come back all at
    once; without one the wait doubles from `first_wait` and is jittered down by up to half.

    Parameters
    ----------
    attempts : int
        Tries in all, the first one included.
    first_wait, longest_wait : float
        Seconds. A server that asks for more than `longest_wait` is not waited for.
    total_wait : float
        Seconds that one call may wait between its tries, all together.
    """

    attempts: int = 5
    first_wait: float = 0.5
    longest_wait: float = 60.0
    total_wait: float = 300.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ConfigError(f"attempts must be at least 1, got {self.attempts!r}")
        for name in ("first_wait", "longest_wait", "total_wait"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} must be 0 or more, got {getattr(self, name)!r}")

    def retries(self, error: BaseException) -> bool:
        """Whether the same call may be made again after `error`."""
        return self.attempts > 1 and isinstance(error, BackendError) and error.retryable

    def wait(self, error: BaseException | None, tries: int) -> float:
        """Seconds to wait after `error`, the failure of try number `tries` (from 1)."""
        asked = _asked(error)
        if asked is not None:
            asked = max(asked, 0.0)
            return asked + random.uniform(0.0, min(1.0, 0.1 + asked / 5))
        # The exponent is capped because a float cannot hold 2**1024.
        doubled = self.first_wait * 2 ** min(tries - 1, 60)
        return min(self.longest_wait, doubled) * random.uniform(0.5, 1.0)

    def gives_up(self, error: BaseException | None, tries: int, waited: float) -> bool:
        """Whether to stop after try number `tries`, `waited` including the wait to come."""
        asked = _asked(error)
        return (
            tries >= self.attempts
            or waited > self.total_wait
            or (asked is not None and asked > self.longest_wait)
        )


class Pauses:
    """Connections that asked for a pause; shared by every call of a run.

    A quota belongs to a connection, so a 429 to one call holds back all of them.
    """

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def hold(self, connection: str, seconds: float) -> None:
        """Let no call start on `connection` for `seconds`; never shortens a pause."""
        until = time.monotonic() + seconds
        self._until[connection] = max(until, self._until.get(connection, 0.0))

    def remaining(self, connection: str) -> float:
        """Seconds until calls may start on `connection` again; 0 if they may now."""
        until = self._until.get(connection)
        return 0.0 if until is None else max(0.0, until - time.monotonic())

    async def wait(self, connection: str) -> None:
        """Return when `connection` is not paused."""
        while (left := self.remaining(connection)) > 0:  # noqa: ASYNC110
            # Spread the callers: a quota that was just refilled is empty again if they
            # all come in the same instant.
            await asyncio.sleep(left + random.uniform(0.0, min(0.25, left / 4)))


class Retry(Wrapper):
    """Make a call again when its error says that this may help.

    Later tries carry ``context.attempt`` = 1, 2, … and keep their purpose, so each has
    its own ledger row.

    Parameters
    ----------
    backend : Backend
    policy : RetryPolicy, optional
    pauses : Pauses, optional
        Shared with all calls that use the same connections.
    """

    def __init__(
        self,
        backend: Backend,
        policy: RetryPolicy | None = None,
        pauses: Pauses | None = None,
    ) -> None:
        super().__init__(backend)
        self.policy = RetryPolicy() if policy is None else policy
        self.pauses = Pauses() if pauses is None else pauses

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Answer `request`; the last error is raised as it is when all tries fail."""
        if self.pauses.remaining(self.connection):
            await self.pauses.wait(self.connection)
        try:
            return await self.backend.complete(request)
        except BackendError as error:
            if not self.policy.retries(error):
                raise
            first = error
        # tenacity costs more than the rest of the stack together, so it enters only here
        # and is shown the first failure as if it had seen it.
        return await self._again(request, first)

    async def _again(self, request: ChatRequest, first: BackendError) -> ChatReply:
        from tenacity import AsyncRetrying, retry_if_exception

        tries = 0

        async def attempt() -> ChatReply:
            nonlocal tries
            tries += 1
            if tries == 1:
                raise first
            await self.pauses.wait(self.connection)
            context = replace(request.context, attempt=tries - 1)
            return await self.backend.complete(replace(request, context=context))

        return await AsyncRetrying(
            sleep=asyncio.sleep,
            retry=retry_if_exception(self.policy.retries),
            wait=self._wait,
            stop=self._stop,
            before_sleep=self._pause,
            reraise=True,
        )(attempt)

    def _wait(self, state: RetryCallState) -> float:
        return self.policy.wait(_error(state), state.attempt_number)

    def _stop(self, state: RetryCallState) -> bool:
        waited = state.idle_for + state.upcoming_sleep
        return self.policy.gives_up(_error(state), state.attempt_number, waited)

    def _pause(self, state: RetryCallState) -> None:
        error = _error(state)
        if isinstance(error, RateLimited) or _asked(error) is not None:
            self.pauses.hold(self.connection, state.upcoming_sleep)


def _error(state: RetryCallState) -> BaseException | None:
    return None if state.outcome is None else state.outcome.exception()
