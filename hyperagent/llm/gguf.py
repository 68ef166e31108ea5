"""``gguf:PATH``: llama.cpp inside the process, through the package `xllamacpp`.

The engine decodes up to `parallel` calls together (continuous batching). Each call waits
in a thread of a small pool, with Python's global lock released, so the event loop runs on.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from hyperagent.errors import (
    BackendError,
    BadReply,
    CallTimeout,
    ConfigError,
    RequestRejected,
)
from hyperagent.llm.dialect import Reader, SeedWatch, request_body
from hyperagent.llm.engine import start, threads_or_default
from hyperagent.llm.http_errors import said_by, status_error
from hyperagent.llm.types import Capabilities, ChatReply, ChatRequest

DEFAULT_CONTEXT = 4096
DEFAULT_PARALLEL = 4
DEFAULT_TIMEOUT = 600.0
_MAGIC = b"GGUF"


class Answer(Protocol):
    """What a call brought, before anything is made of it: `Reader`, or one with a reply alike."""

    def reply(self, request: ChatRequest, seen: Capabilities, seconds: float) -> ChatReply:
        """As `Reader.reply`."""
        ...


class GGUFBackend:
    """A GGUF model file, loaded at the first call.

    Parameters
    ----------
    path : str or Path
    context : int
        Tokens of prompt and reply together that one call may use.
    parallel : int
        Calls that are decoded together; more wait their turn.
    threads : int, optional
        Threads for the arithmetic. Default: ``OMP_NUM_THREADS``, else all processors.
    timeout : float, optional
        Seconds for a whole call, waiting included.

    Raises
    ------
    ConfigError
        If there is no such file, or it is not in GGUF format.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        context: int = DEFAULT_CONTEXT,
        parallel: int = DEFAULT_PARALLEL,
        threads: int | None = None,
        timeout: float | None = None,
    ) -> None:
        self.path = checked_file(path)
        self.name = f"gguf:{self.path}"
        self.connection = self.name
        self.capabilities = Capabilities()
        self.timeout = timeout or DEFAULT_TIMEOUT
        self._context, self._parallel = context, parallel
        self._threads = threads_or_default(threads)
        self._engine: Any = None
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._seeds = SeedWatch()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Answer `request`; see `Backend.complete`."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._parallel, thread_name_prefix="gguf")
        limit = request.timeout or self.timeout
        begun = time.perf_counter()
        abandoned = threading.Event()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(limit):
                answer = await loop.run_in_executor(self._pool, self._run, request, abandoned)
        except TimeoutError:
            raise CallTimeout(f"{self.name}: no complete reply within {limit:g} s") from None
        finally:
            # The thread sees this at its next token and frees its place in the batch.
            abandoned.set()
        reply = answer.reply(request, self.capabilities, time.perf_counter() - begun)
        self._seeds.note(request, reply, self.capabilities)
        return reply

    def _run(self, request: ChatRequest, abandoned: threading.Event) -> Answer:
        """One call, in a thread of the pool."""
        return self._chat(request, abandoned)

    def _chat(self, request: ChatRequest, abandoned: threading.Event, **extra: Any) -> Reader:
        """One call to the chat endpoint, which renders the prompt with the model's template."""
        body = request_body(request, self.path.name)
        # Always streamed: between tokens is the only place where a call can be abandoned.
        body |= {"stream": True, "stream_options": {"include_usage": True}, **extra}
        reader = Reader()

        def take(chunk: Mapping[str, Any]) -> bool:
            reader.chunk(chunk)
            return abandoned.is_set()

        if not abandoned.is_set():
            self._ask(self._loaded().handle_chat_completions, body, take)
        if reader.finish_reason is None and not abandoned.is_set():
            raise BadReply(f"{self.name}: the engine stopped in the middle of the reply")
        return reader

    def _ask(
        self,
        endpoint: Callable[[dict[str, Any], Callable[[Any], bool]], Any],
        body: dict[str, Any],
        take: Callable[[Mapping[str, Any]], bool],
    ) -> None:
        """Send `body`; `take` gets each chunk and says whether that is enough."""
        failures: list[BackendError] = []

        def guarded(chunk: Any) -> bool:
            try:
                if "error" not in chunk:
                    return take(chunk)
                failures.append(self._refused(chunk["error"]))
            # Whatever is raised into the engine is lost there.
            except BackendError as error:
                failures.append(error)
            return True

        try:
            endpoint(body, guarded)
        except (ValueError, RuntimeError) as error:
            raise RequestRejected(f"{self.name}: {error}") from None
        if failures:
            raise failures[0]

    def _refused(self, error: Any) -> BackendError:
        code = error.get("code") if isinstance(error, dict) else None
        status = code if isinstance(code, int) else 500
        return status_error(status, said_by(error, "failed"), {}, self.name)

    def _loaded(self) -> Any:
        """The engine; the first caller loads the model while the others wait."""
        with self._lock:
            if self._engine is None:
                self._engine = self._load()
            return self._engine

    def _load(self, **settings: Any) -> Any:
        # The engine insists on an HTTP port of its own: loopback, any free one, and closed
        # to everybody by a key that nobody knows.
        return start(
            self.path,
            context=self._context,
            parallel=self._parallel,
            threads=self._threads,
            key=secrets.token_hex(16),
            **settings,
        )

    async def aclose(self) -> None:
        """Wait for the calls in flight, then free the model. A later call loads it again."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(pool.shutdown)
        # Freeing a large model takes long enough to be felt in the event loop.
        await asyncio.to_thread(self._unload)

    def _unload(self) -> None:
        with self._lock:
            self._engine = None


def checked_file(path: str | Path) -> Path:
    """`path` as an absolute path of a file that begins as a GGUF file does."""
    file = Path(path).expanduser().absolute()
    if not str(path):
        raise ConfigError("gguf: needs the path of a model file, e.g. gguf:models/tiny.gguf")
    if not file.is_file():
        raise ConfigError(f"gguf: no model file at {file}")
    with file.open("rb") as stream:
        head = stream.read(len(_MAGIC))
    if head != _MAGIC:
        raise ConfigError(f"gguf: {file} is not a GGUF file (it begins with {head!r})")
    return file


def create(
    rest: str,
    *,
    timeout: float | None = None,
    context: int = DEFAULT_CONTEXT,
    parallel: int = DEFAULT_PARALLEL,
    threads: int | None = None,
    **_: Any,
) -> GGUFBackend:
    """Backend for ``gguf:PATH``."""
    return GGUFBackend(rest, context=context, parallel=parallel, threads=threads, timeout=timeout)
