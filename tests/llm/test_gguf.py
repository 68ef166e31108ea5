"""``gguf:``: llama.cpp in the process, on a tiny model that the tests make."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hyperagent.errors import CallTimeout, ConfigError, NotFound, RequestRejected
from hyperagent.llm import ChatReply, ChatRequest, Message, backend
from hyperagent.llm.gguf import GGUFBackend

REQUEST = ChatRequest(
    (Message("user", "Ann has 3 apples."),), temperature=1.0, max_tokens=40, seed=3, timeout=60.0
)
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "integer"}, "sure": {"type": "boolean"}},
    "required": ["answer", "sure"],
}


def using(model: Path, act: Callable[[GGUFBackend], Awaitable[Any]], **options: Any) -> Any:
    """Run `act` with a backend for `model`, and close it."""

    async def run() -> Any:
        made = GGUFBackend(model, threads=1, **{"context": 1024, **options})
        try:
            return await act(made)
        finally:
            await made.aclose()

    return asyncio.run(run())


def test_usage_is_true(tiny_gguf: Path) -> None:
    async def act(made: GGUFBackend) -> list[ChatReply]:
        longer = replace(REQUEST, messages=(Message("user", "Ann has 3 apples. " * 5),))
        return [await made.complete(request) for request in (REQUEST, longer)]

    short, long = using(tiny_gguf, act)
    assert short.usage.source == "server"
    assert short.usage.completion_tokens == 40
    assert short.finish_reason == "length"
    # The template's own tokens are the same in both: four more sentences are the difference.
    assert long.usage.prompt_tokens > short.usage.prompt_tokens + 4 * 4


def test_seeds_stops_schemas_and_logprobs_are_obeyed(tiny_gguf: Path) -> None:
    async def act(made: GGUFBackend) -> None:
        one, again, other = [
            (await made.complete(replace(REQUEST, sample=sample))).text for sample in (0, 0, 1)
        ]
        assert one == again != other
        stop = one[10:13]
        stopped = await made.complete(replace(REQUEST, stop=(stop,)))
        assert stopped.text == one[: one.find(stop)]
        assert stopped.finish_reason == "stop"
        forced = await made.complete(replace(REQUEST, schema=SCHEMA, max_tokens=200))
        assert json.loads(forced.text).keys() == {"answer", "sure"}
        told = await made.complete(replace(REQUEST, logprobs=3, max_tokens=5))
        assert told.logprobs is not None
        assert len(told.logprobs) == 5
        assert all(len(token.top) == 3 and token.logprob <= 0 for token in told.logprobs)
        seen = made.capabilities
        assert (seen.seed, seen.schema, seen.logprobs, seen.max_tokens) == (True,) * 4
        assert seen.warnings == []

    using(tiny_gguf, act)


@pytest.mark.parametrize("parallel", [1, 4])
def test_short_calls_join_the_batch_of_a_long_one(tiny_gguf: Path, parallel: int) -> None:
    """They are decoded while it runs; with a single slot they must wait for its end."""

    async def act(made: GGUFBackend) -> bool:
        await made.complete(replace(REQUEST, max_tokens=1))
        long = asyncio.create_task(made.complete(replace(REQUEST, max_tokens=1500)))
        await asyncio.sleep(0.02)
        shorts = [replace(REQUEST, seed=seed, max_tokens=5) for seed in range(3)]
        await asyncio.gather(*(made.complete(short) for short in shorts))
        overtaken = not long.done()
        await long
        return overtaken

    assert using(tiny_gguf, act, parallel=parallel, context=4096) is (parallel > 1)


def test_more_calls_than_slots_wait_their_turn(tiny_gguf: Path) -> None:
    async def act(made: GGUFBackend) -> list[ChatReply]:
        return await asyncio.gather(
            *(made.complete(replace(REQUEST, seed=seed)) for seed in range(20))
        )

    assert len(using(tiny_gguf, act, parallel=2)) == 20


def test_the_event_loop_runs_on(tiny_gguf: Path) -> None:
    async def act(made: GGUFBackend) -> tuple[int, float]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.002)
                ticks += 1

        ticking = asyncio.create_task(tick())
        start = time.perf_counter()
        await asyncio.gather(
            *(made.complete(replace(REQUEST, seed=seed, max_tokens=500)) for seed in range(4))
        )
        ticking.cancel()
        return ticks, time.perf_counter() - start

    ticks, seconds = using(tiny_gguf, act)
    assert ticks > seconds / 0.002 / 10


def test_a_cancelled_call_frees_its_slot(tiny_gguf: Path) -> None:
    endless = replace(REQUEST, max_tokens=None, temperature=0.0)

    async def act(made: GGUFBackend) -> None:
        await made.complete(replace(REQUEST, max_tokens=1))
        call = asyncio.create_task(made.complete(endless))
        await asyncio.sleep(0.05)
        assert not call.done(), "the call must still be generating"
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        start = time.perf_counter()
        await made.complete(replace(REQUEST, max_tokens=1))
        assert time.perf_counter() - start < 1.0

    using(tiny_gguf, act, parallel=1, context=8192)


def test_a_timeout_is_ours(tiny_gguf: Path) -> None:
    async def act(made: GGUFBackend) -> None:
        await made.complete(replace(REQUEST, max_tokens=1))
        with pytest.raises(CallTimeout, match=r"within 0\.02 s"):
            await made.complete(replace(REQUEST, max_tokens=None, timeout=0.02))

    using(tiny_gguf, act, context=8192)


def test_a_prompt_beyond_the_context_is_refused(tiny_gguf: Path) -> None:
    async def act(made: GGUFBackend) -> None:
        with pytest.raises(RequestRejected, match="context"):
            await made.complete(replace(REQUEST, messages=(Message("user", "x " * 5000),)))
        assert (await made.complete(REQUEST)).text

    using(tiny_gguf, act)


def test_a_schema_nobody_understands_is_refused(tiny_gguf: Path) -> None:
    async def act(made: GGUFBackend) -> None:
        with pytest.raises(RequestRejected, match="bogus"):
            await made.complete(replace(REQUEST, schema={"type": "bogus"}))

    using(tiny_gguf, act)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no model file at"), (b"", "is not a GGUF file"), (b"PK\x03\x04zip", "begins with")],
)
def test_missing_and_foreign_files_are_named_at_once(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        backend(f"gguf:{path}")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_truncated_file_is_a_clear_error(
    tiny_gguf: Path, tmp_path: Path, share: float, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "half.gguf"
    whole = tiny_gguf.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])

    async def act(made: GGUFBackend) -> None:
        for _ in range(2):
            with pytest.raises(NotFound, match="incomplete, damaged") as caught:
                await made.complete(REQUEST)
            assert caught.value.fatal

    using(path, act)
    assert capfd.readouterr() == ("", ""), "llama.cpp must not write to the terminal"


def test_nothing_runs_before_the_first_call_or_after_the_last(tiny_gguf: Path) -> None:
    before = set(threading.enumerate())
    made = GGUFBackend(tiny_gguf, threads=1)
    assert made._engine is None

    async def run() -> None:
        await made.complete(REQUEST)
        assert made._engine is not None
        await made.aclose()
        await made.aclose()

    asyncio.run(run())
    gc.collect()
    assert made._engine is None
    left = {thread for thread in set(threading.enumerate()) - before if "gguf" in thread.name}
    assert not left


def test_the_engines_own_port_is_closed_to_others(tiny_gguf: Path) -> None:
    import urllib.error
    import urllib.request

    async def act(made: GGUFBackend) -> None:
        await made.complete(REQUEST)
        address = made._engine.listening_address
        assert address.startswith("http://127.0.0.1:")
        body = json.dumps({"messages": [{"role": "user", "content": "hi"}]}).encode()
        call = urllib.request.Request(f"{address}/v1/chat/completions", body)
        with pytest.raises(urllib.error.HTTPError) as caught:
            await asyncio.to_thread(urllib.request.urlopen, call)
        assert caught.value.code == 401
        caught.value.close()

    using(tiny_gguf, act)


def test_options_reach_the_engine(tiny_gguf: Path) -> None:
    made = backend(f"gguf:{tiny_gguf}", parallel=2, context=512, timeout=3.0, base_url="ignored")
    assert isinstance(made, GGUFBackend)
    assert (made._parallel, made._context, made.timeout) == (2, 512, 3.0)
    assert made.name == made.connection == f"gguf:{tiny_gguf}"
