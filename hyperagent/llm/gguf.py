"""``gguf:PATH``: llama.cpp inside the process, through the package `xllamacpp`.

The engine decodes up to `parallel` calls together (continuous batching). Each call waits
in a thread of a small pool, with Python's global lock released, so the event loop runs on.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hyperagent.errors import (
    BackendError,
    BadReply,
    CallTimeout,
    ConfigError,
    NotFound,
    RequestRejected,
)
from hyperagent.llm.dialect import Reader, SeedWatch, request_body
from hyperagent.llm.http_errors import said_by, status_error
from hyperagent.llm.types import Capabilities, ChatReply, ChatRequest

DEFAULT_CONTEXT = 4096
DEFAULT_PARALLEL = 4
DEFAULT_TIMEOUT = 600.0
_MAGIC = b"GGUF"


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
        omp = os.environ.get("OMP_NUM_THREADS", "")
        self._threads = threads or (int(omp) if omp.isdigit() else 0) or os.cpu_count() or 1
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
        start = time.perf_counter()
        abandoned = threading.Event()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(limit):
                reader = await loop.run_in_executor(self._pool, self._run, request, abandoned)
        except TimeoutError:
            raise CallTimeout(f"{self.name}: no complete reply within {limit:g} s") from None
        finally:
            # The thread sees this at its next token and frees its place in the batch.
            abandoned.set()
        reply = reader.reply(request, self.capabilities, time.perf_counter() - start)
        self._seeds.note(request, reply, self.capabilities)
        return reply

    def _run(self, request: ChatRequest, abandoned: threading.Event) -> Reader:
        """One call, in a thread of the pool."""
        engine = self._loaded()
        body = request_body(request, self.path.name)
        # Always streamed: between tokens is the only place where a call can be abandoned.
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        reader = Reader()
        failures: list[BackendError] = []

        def take(chunk: Any) -> bool:
            try:
                if "error" in chunk:
                    failures.append(self._refused(chunk["error"]))
                else:
                    reader.chunk(chunk)
            # Whatever is raised into the engine is lost there.
            except BackendError as error:
                failures.append(error)
            return bool(failures) or abandoned.is_set()

        if not abandoned.is_set():
            try:
                engine.handle_chat_completions(body, take)
            except (ValueError, RuntimeError) as error:
                raise RequestRejected(f"{self.name}: {error}") from None
        if failures:
            raise failures[0]
        if reader.finish_reason is None and not abandoned.is_set():
            raise BadReply(f"{self.name}: the engine stopped in the middle of the reply")
        return reader

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

    def _load(self) -> Any:
        try:
            import xllamacpp
        except ImportError as error:
            raise NotFound("gguf: needs the package xllamacpp: pip install xllamacpp") from error
        params = xllamacpp.CommonParams()
        params.model.path = str(self.path)
        params.n_parallel = self._parallel
        params.n_ctx = self._context * self._parallel
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = self._threads
        params.warmup = False
        params.verbosity = -1
        # The engine insists on an HTTP port of its own: loopback, any free one, and closed
        # to everybody by a key that nobody knows.
        params.hostnames, params.port = ["127.0.0.1"], 0
        params.api_keys = [secrets.token_hex(16)]
        try:
            return xllamacpp.Server(params)
        except RuntimeError:
            size = self.path.stat().st_size
            raise NotFound(
                f"{self.name}: llama.cpp cannot load this file of {size:,} bytes; it is "
                "incomplete, damaged, or of a kind that the installed xllamacpp does not know"
            ) from None

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
