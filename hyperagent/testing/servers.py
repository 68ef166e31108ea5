"""A small real HTTP server on loopback that speaks the OpenAI dialect, well or badly.

Written on bare asyncio protocols: as a subprocess it answers thousands of requests a
second, so that a load test measures the client and not the server. ::

    with LoopbackServer() as server:
        server.next(rate_limited(2), Answer(usage="missing"))
        backend = hyperagent.llm.backend(f"openai:any@{server.url}")
        ...
        assert server.count == 2

From a shell, ``python -m hyperagent.testing.servers`` prints its address and serves until
its standard input closes.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hyperagent.testing.answers import (
    Answer,
    Body,
    chunks,
    completion,
    failure,
    generate,
    misbehaviours,
    rate_limited,
)
from hyperagent.testing.processes import child_server

__all__ = [
    "Answer",
    "LoopbackServer",
    "Recorded",
    "failure",
    "load_server",
    "misbehaviours",
    "rate_limited",
]

_NOT_FOUND = failure(404, "unknown path")
_NO_KEY = failure(401, "Incorrect API key provided")
_MODELS = json.dumps({"object": "list", "data": [{"id": "tiny", "object": "model"}]}).encode()


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request as it arrived; `headers` have lower-case names."""

    method: str
    path: str
    headers: dict[str, str]
    body: Body


class LoopbackServer:
    """OpenAI-compatible server in a thread, on a free port of 127.0.0.1.

    Parameters
    ----------
    answer : Answer
        How to answer when nothing is queued.
    reply : callable, optional
        Makes the reply text from the request body, in place of random words.
    api_key : str, optional
        Refuse other keys with 401.
    keep : int
        Number of requests to remember in `requests`.

    Attributes
    ----------
    url : str
        Base address, ending in ``/v1``.
    count : int
        Requests answered so far, of any path.
    requests : deque of Recorded
        The last `keep` ones, oldest first.
    open_connections : int
        Sockets that clients hold open now.
    peak : int
        Most requests that were ever being answered at the same time.
    """

    def __init__(
        self,
        answer: Answer | None = None,
        *,
        reply: Callable[[Body], str] | None = None,
        api_key: str | None = None,
        keep: int = 1000,
    ) -> None:
        self.answer = answer or Answer()
        self.reply = reply
        self.api_key = api_key
        self.url = ""
        self.count = 0
        self.open_connections = 0
        self.busy = 0
        self.peak = 0
        self.requests: deque[Recorded] = deque(maxlen=keep)
        self._queue: deque[Answer] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def next(self, *answers: Answer) -> None:
        """Queue answers for the coming chat requests, one each."""
        self._queue.extend(answers)

    def choose(self, request: Recorded) -> Answer:
        """Count the request, and say how to answer it."""
        self.count += 1
        if self.requests.maxlen:
            self.requests.append(request)
        if self.api_key and request.headers.get("authorization") != f"Bearer {self.api_key}":
            return _NO_KEY
        if request.path == "/v1/models" and request.method == "GET":
            return Answer(body=_MODELS)
        if request.path != "/v1/chat/completions" or request.method != "POST":
            return _NOT_FOUND
        return self._queue.popleft() if self._queue else self.answer

    async def serve(self, ready: Callable[[], None]) -> None:
        """Listen until cancelled; calls `ready` once `url` is known."""
        self._loop = asyncio.get_running_loop()
        server = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        ready()
        try:
            await asyncio.Event().wait()
        finally:
            server.close()

    def __enter__(self) -> LoopbackServer:
        ready = threading.Event()

        def run() -> None:
            try:
                asyncio.run(self.serve(ready.set))
            except asyncio.CancelledError:
                pass

        self._thread = threading.Thread(target=run, name="loopback-server", daemon=True)
        self._thread.start()
        if not ready.wait(10):
            raise RuntimeError("the loopback server did not start within 10 s")
        return self

    def __exit__(self, *_: object) -> None:
        loop, thread = self._loop, self._thread
        assert loop is not None
        assert thread is not None
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
        thread.join(10)


class _Connection(asyncio.Protocol):
    """One client connection: reads whole requests, one after the other."""

    def __init__(self, server: LoopbackServer) -> None:
        self._server = server
        self._buffer = b""
        self._transport: Any = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._server.open_connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.open_connections -= 1
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:])
        }
        size = int(headers.get("content-length", "0"))
        if len(self._buffer) < end + 4 + size:
            return
        raw, self._buffer = self._buffer[end + 4 : end + 4 + size], self._buffer[end + 4 + size :]
        method, path, _ = lines[0].split(" ", 2)
        self._answer(Recorded(method, path, headers, json.loads(raw) if raw else {}))

    def _answer(self, request: Recorded) -> None:
        answer = self._server.choose(request)
        head, pieces = _render(request.body, answer, self._server.reply)
        if not answer.delay and not answer.pause and answer.cut is None:
            self._transport.write(head + b"".join(pieces))
        else:
            self._task = asyncio.get_running_loop().create_task(self._write(answer, head, pieces))

    async def _write(self, answer: Answer, head: bytes, pieces: list[bytes]) -> None:
        """The slow way: late, in pieces, or broken off."""
        server = self._server
        server.busy += 1
        server.peak = max(server.peak, server.busy)
        try:
            await asyncio.sleep(answer.delay)
            if answer.cut == 0:
                return
            pieces = pieces if answer.cut is None else pieces[: int(answer.cut * len(pieces)) or 1]
            if answer.cut is not None and len(pieces) == 1:
                pieces = [pieces[0][: int(answer.cut * len(pieces[0]))]]
            self._transport.write(head)
            for piece in pieces:
                await asyncio.sleep(answer.pause)
                self._transport.write(piece)
        finally:
            server.busy -= 1
            if answer.cut is not None:
                self._transport.close()


def _render(
    body: Body, answer: Answer, reply: Callable[[Body], str] | None
) -> tuple[bytes, list[bytes]]:
    """Head and pieces of the response."""
    streamed = bool(body.get("stream")) and answer.body is None and answer.status == 200
    if streamed:
        events = chunks(body, answer, generate(body, answer, reply))
        data, kind = b"".join(events), "text/event-stream"
    elif answer.body is not None:
        data, kind = answer.body, "application/json"
    else:
        said = completion(body, answer, generate(body, answer, reply))
        data, kind = json.dumps(said, ensure_ascii=False).encode(), "application/json"
    length = "Transfer-Encoding: chunked" if streamed else f"Content-Length: {len(data)}"
    extra = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
    head = f"HTTP/1.1 {answer.status} X\r\nContent-Type: {kind}\r\n{extra}{length}\r\n\r\n"
    if answer.pieces:
        pieces = [data[i : i + answer.pieces] for i in range(0, len(data), answer.pieces)]
    else:
        pieces = events if streamed and (answer.pause or answer.cut is not None) else [data]
    if streamed:
        pieces = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces] + [b"0\r\n\r\n"]
    return head.encode(), pieces


@contextmanager
def load_server(*, delay: float = 0.0) -> Iterator[str]:
    """A well-behaved `LoopbackServer` in a process of its own; gives its base address.

    Parameters
    ----------
    delay : float
        Seconds before each answer.
    """
    with child_server("hyperagent.testing.servers", str(delay)) as url:
        yield url


def main() -> None:
    """Serve until standard input closes."""
    server = LoopbackServer(Answer(delay=float(sys.argv[1]) if len(sys.argv) > 1 else 0.0), keep=0)

    async def run() -> None:
        serving = asyncio.create_task(server.serve(lambda: print(server.url, flush=True)))
        await asyncio.to_thread(sys.stdin.read)
        serving.cancel()

    asyncio.run(run())


if __name__ == "__main__":
    main()
