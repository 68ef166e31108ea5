"""Calling the async core from synchronous code, also inside a running event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from functools import cache
from typing import Any, TypeVar

from hyperagent.errors import ConfigError

T = TypeVar("T")


@cache
def _background_loop() -> asyncio.AbstractEventLoop:
    """One event loop in a daemon thread for the life of the process.

    Sockets of HTTP clients belong to the loop that opened them, so that all synchronous calls
    share one; and a notebook, whose own loop is running, can wait for it like any other thread.
    """
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="hyperagent-loop", daemon=True).start()
    return loop


# A forked child has the loop, but not the thread that runs it.
os.register_at_fork(after_in_child=_background_loop.cache_clear)


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` to its end and return its result.

    An interrupt (Ctrl-C) cancels the coroutine, waits until it has cleaned up, and is raised again.

    Raises
    ------
    ConfigError
        If called by code that itself runs under `run_sync`: it would wait for itself for ever.
    """
    if asyncio._get_running_loop() is _background_loop():
        coroutine.close()
        raise ConfigError(
            "a synchronous call from inside another one, e.g. from an agent's own function, "
            "would never return: make the function async and await solve()"
        )
    finished = threading.Event()

    async def tracked() -> T:
        try:
            return await coroutine
        finally:
            finished.set()

    future = asyncio.run_coroutine_threadsafe(tracked(), _background_loop())
    try:
        return future.result()
    except BaseException:
        if not future.done():
            # A cancelled future is done at once; the coroutine is when it has cleaned up.
            future.cancel()
            finished.wait(timeout=5)
        raise
