"""The test servers do what they promise, seen by a client that is not ours."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from hyperagent.testing import Answer, LoopbackServer, llama_server, load_server, write_tiny_gguf
from hyperagent.testing.fixtures import loopback, tiny_gguf

__all__ = ["loopback", "tiny_gguf"]

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi there"}], "temperature": 0}


def post(url: str, body: Any = None, path: str = "/chat/completions") -> tuple[int, bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        connection.request("POST", parts.path + path, json.dumps(body or BODY))
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_requests_are_counted_and_kept(loopback: LoopbackServer) -> None:
    for n in range(3):
        post(loopback.url, BODY | {"seed": n})
    assert loopback.count == 3
    assert [recorded.body["seed"] for recorded in loopback.requests] == [0, 1, 2]
    assert loopback.requests[0].path == "/v1/chat/completions"


def test_queued_answers_come_first(loopback: LoopbackServer) -> None:
    loopback.next(Answer(text="first"), Answer(status=503, body=b"{}"))
    said = [post(loopback.url) for _ in range(3)]
    assert [status for status, _ in said] == [200, 503, 200]
    assert json.loads(said[0][1])["choices"][0]["message"]["content"] == "first"


def test_a_reply_function_speaks() -> None:
    with LoopbackServer(reply=lambda body: body["messages"][-1]["content"].upper()) as server:
        assert b"HI THERE" in post(server.url)[1]


def test_half_a_body_breaks_off(loopback: LoopbackServer) -> None:
    loopback.next(Answer(cut=0.5))
    with pytest.raises(http.client.IncompleteRead):
        post(loopback.url)


def test_other_paths_and_keys() -> None:
    with LoopbackServer(api_key="right") as server:
        assert post(server.url)[0] == 401
    with LoopbackServer() as server:
        assert post(server.url, path="/completions")[0] == 404
        assert post(server.url.removesuffix("/v1"))[0] == 404


def test_the_load_server_is_faster_than_what_it_measures() -> None:
    """Requests per second of CPU of this client, so that a busy machine does not fail it."""
    raw = json.dumps(BODY).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: {len(raw)}\r\n\r\n".encode()

    async def client(port: int, number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(number):
            writer.write(head + raw)
            answer = await reader.readuntil(b"\r\n\r\n")
            size = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(size)
        writer.close()
        await writer.wait_closed()

    async def run(port: int) -> float:
        start = time.perf_counter()
        await asyncio.gather(*(client(port, 50) for _ in range(20)))
        return 1000 / (time.perf_counter() - start)

    with load_server() as url:
        rates = [asyncio.run(run(urlsplit(url).port or 0)) for _ in range(3)]
    assert max(rates) > 1000


def test_the_tiny_model_is_the_same_every_time(tmp_path: Any) -> None:
    one, same, other = (
        write_tiny_gguf(tmp_path / f"{n}.gguf", seed=seed).read_bytes()
        for n, seed in enumerate((0, 0, 1))
    )
    assert one == same != other
    assert len(one) < 2_000_000
    assert not list(tmp_path.glob("*.part"))


def test_llama_cpp_serves_the_tiny_model(tiny_gguf: Any) -> None:
    with llama_server(tiny_gguf) as url:
        status, raw = post(url, BODY | {"max_tokens": 4})
        assert status == 200
        assert json.loads(raw)["usage"]["completion_tokens"] == 4
    with pytest.raises(ConnectionRefusedError):
        post(url)


def test_a_server_that_cannot_start_says_so(tmp_path: Any) -> None:
    with (
        pytest.raises(RuntimeError, match="did not start"),
        llama_server(tmp_path / "missing.gguf"),
    ):
        pass
