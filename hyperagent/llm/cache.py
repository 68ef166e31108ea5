"""Replies that were paid for once are not paid for again."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import threading
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from hyperagent.datadir import cache_dir
from hyperagent.errors import ConfigError
from hyperagent.llm.ledger import Ledger, LedgerRow
from hyperagent.llm.types import Backend, ChatReply, ChatRequest, TokenLogprob, Usage
from hyperagent.llm.wrapper import Wrapper

VERSION = 1
"""Of keys and rows. Rows of another version are not read."""


def cache_key(backend: Backend, request: ChatRequest) -> str:
    """SHA-256 over everything that can change the reply.

    That is the backend's name and connection, and of the request all but ``stream``,
    ``timeout`` and ``context``; the sample index is in it.
    """
    parts = [
        VERSION,
        backend.connection,
        backend.name,
        [(message.role, message.content) for message in request.messages],
        request.temperature,
        request.top_p,
        request.max_tokens,
        request.stop,
        request.seed,
        request.schema,
        request.logprobs,
        request.sample,
    ]
    # default=dict: a schema may be any mapping.
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=dict)
    return hashlib.sha256(text.encode()).hexdigest()


class CacheStore:
    """Replies on disk: one sqlite file, JSON in it, safe for several processes.

    A row that cannot be read, or is of another version, counts as missing and is replaced.

    Parameters
    ----------
    path : path, optional
        ``replies.sqlite`` in the user's cache folder by default; ``":memory:"`` for none.

    Raises
    ------
    ConfigError
        If the file is no sqlite database or cannot be opened.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = str(cache_dir() / "replies.sqlite" if path is None else path)
        self.flights: dict[tuple[asyncio.AbstractEventLoop, str], asyncio.Future[Any]] = {}
        self._lock = threading.Lock()
        try:
            if self.path != ":memory:":
                Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                self.path, timeout=30.0, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode=WAL")
            # A process that dies loses nothing; a machine that dies, at most the last replies.
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS replies "
                "(key TEXT PRIMARY KEY, version INTEGER, reply TEXT) WITHOUT ROWID"
            )
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"cannot use {self.path} as reply cache: {error}") from error

    def get(self, key: str) -> ChatReply | None:
        """The reply kept under `key`, None if there is none that can be read."""
        try:
            with self._lock:
                row = self._db.execute(
                    "SELECT reply FROM replies WHERE key = ? AND version = ?", (key, VERSION)
                ).fetchone()
            return None if row is None else _decode(row[0])
        except (sqlite3.DatabaseError, ValueError, TypeError, KeyError):
            return None

    def put(self, key: str, reply: ChatReply) -> None:
        """Keep `reply`. A full disk warns and loses the row, never the reply."""
        try:
            with self._lock:
                self._db.execute(
                    "INSERT OR REPLACE INTO replies VALUES (?, ?, ?)",
                    (key, VERSION, _encode(reply)),
                )
        except sqlite3.Error as error:
            warnings.warn(f"reply not kept in {self.path}: {error}", stacklevel=2)

    def __len__(self) -> int:
        with self._lock:
            return int(self._db.execute("SELECT count(*) FROM replies").fetchone()[0])

    def __bool__(self) -> bool:
        """Always true, so that an empty cache is not taken for no cache."""
        return True

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()


def _encode(reply: ChatReply) -> str:
    usage = reply.usage
    return json.dumps(
        {
            "text": reply.text,
            "usage": [getattr(usage, name) for name in Usage.__dataclass_fields__],
            "model": reply.model,
            "finish_reason": reply.finish_reason,
            "logprobs": None
            if reply.logprobs is None
            else [[t.token, t.logprob, t.top] for t in reply.logprobs],
            "seconds": reply.seconds,
        }
    )


def _decode(text: str) -> ChatReply:
    data = json.loads(text)
    if not isinstance(data["text"], str):
        raise TypeError("text must be a string")
    if data["logprobs"] is not None:
        data["logprobs"] = tuple(
            TokenLogprob(token, logprob, tuple((name, value) for name, value in top))
            for token, logprob, top in data["logprobs"]
        )
    return ChatReply(**(data | {"usage": Usage(*data["usage"]), "cached": True}))


class Cache(Wrapper):
    """Look a request up before making the call; identical calls under way are joined.

    Only replies are kept, never errors. A hit is a ledger row with ``from_cache``, the
    tokens of the original call and price 0, because it was not paid for again.

    Parameters
    ----------
    backend : Backend
    store : CacheStore
    ledger : Ledger, optional
    """

    def __init__(self, backend: Backend, store: CacheStore, ledger: Ledger | None = None) -> None:
        super().__init__(backend)
        self.store = store
        self.ledger = ledger

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Answer `request` from the store, from an identical call under way, or by a call."""
        start = time.perf_counter()
        key = cache_key(self.backend, request)
        loop = asyncio.get_running_loop()
        while True:
            reply = self.store.get(key)
            if reply is not None:
                return self._hit(request, reply, start)
            flight = self.store.flights.get((loop, key))
            if flight is None:
                return await self._call(request, key, loop)
            # Unlike awaiting it, this neither cancels the other call nor raises its error.
            await asyncio.wait([flight])
            if flight.result() is not None:
                return self._hit(request, replace(flight.result(), cached=True), start)
            # The other call failed, perhaps on its own budget: this one tries itself.

    async def _call(
        self, request: ChatRequest, key: str, loop: asyncio.AbstractEventLoop
    ) -> ChatReply:
        flight = self.store.flights[loop, key] = loop.create_future()
        reply = None
        try:
            reply = await self.backend.complete(request)
            self.store.put(key, reply)
            return reply
        finally:
            del self.store.flights[loop, key]
            flight.set_result(reply)

    def _hit(self, request: ChatRequest, reply: ChatReply, start: float) -> ChatReply:
        if self.ledger is not None:
            self.ledger.record(
                LedgerRow.of(
                    request.context,
                    reply.usage,
                    backend=self.name,
                    model=reply.model,
                    sample=request.sample,
                    milliseconds=(time.perf_counter() - start) * 1000.0,
                    price=0.0,
                    from_cache=True,
                )
            )
        return reply
