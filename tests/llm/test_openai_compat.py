"""``openai:`` against real sockets: a server that misbehaves in every known way."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from hyperagent.errors import (
    AuthenticationFailed,
    BackendError,
    BadReply,
    CallTimeout,
    ConfigError,
    ConnectFailed,
    NotFound,
    RateLimited,
    RequestRejected,
    ServerFailed,
)
from hyperagent.llm import Capabilities, ChatReply, ChatRequest, Message, backend
from hyperagent.llm.openai_compat import OpenAIBackend, split_spec
from hyperagent.testing import Answer, LoopbackServer, failure, misbehaviours, rate_limited

REQUEST = ChatRequest(
    (Message("system", "Be brief."), Message("user", "How many apples, Zoë? 🙂")),
    temperature=0.0,
    max_tokens=9,
    seed=1,
    timeout=20.0,
)
STREAMED = replace(REQUEST, stream=True)
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "integer"}},
    "required": ["answer"],
    "additionalProperties": False,
}


def ask(
    server: LoopbackServer, *requests: ChatRequest, **options: Any
) -> tuple[list[ChatReply], Capabilities]:
    """Replies to `requests`, one after the other, and what was learned of the server."""

    async def run(made: OpenAIBackend) -> tuple[list[ChatReply], Capabilities]:
        return [await made.complete(request) for request in requests], made.capabilities

    return using(server.url, run, **options)


def using(url: str, act: Callable[[Any], Awaitable[Any]], **options: Any) -> Any:
    """Run `act` with a backend for `url`, and close it."""

    async def run() -> Any:
        made = OpenAIBackend("tiny", base_url=url, **options)
        try:
            return await act(made)
        finally:
            await made.aclose()

    return asyncio.run(run())


def failing(server: LoopbackServer, request: ChatRequest = REQUEST, **options: Any) -> Any:
    """The error that one call ends in."""
    with pytest.raises(BackendError) as caught:
        ask(server, request, **options)
    return caught.value


def test_every_field_goes_out_under_its_usual_name(loopback: LoopbackServer) -> None:
    full = replace(
        STREAMED, top_p=0.9, stop=("a", "b"), schema=SCHEMA, logprobs=2, sample=3, timeout=5.0
    )
    ask(loopback, full)
    body = dict(loopback.requests[-1].body)
    assert body.pop("messages") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "How many apples, Zoë? 🙂"},
    ]
    assert body.pop("seed") == full.sample_seed != full.seed
    assert body.pop("response_format") == {
        "type": "json_schema",
        "json_schema": {"name": "reply", "schema": SCHEMA, "strict": True},
    }
    assert body == {
        "model": "tiny",
        "temperature": 0.0,
        "top_p": 0.9,
        "max_tokens": 9,
        "stop": ["a", "b"],
        "logprobs": True,
        "top_logprobs": 2,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_unset_fields_do_not_go_out(loopback: LoopbackServer) -> None:
    ask(loopback, ChatRequest((Message("user", "hi"),)))
    assert set(loopback.requests[-1].body) == {"model", "messages"}


def test_samples_of_a_seeded_request_have_seeds_of_their_own() -> None:
    seeds = {
        replace(REQUEST, seed=seed, sample=sample).sample_seed
        for seed in range(50)
        for sample in range(20)
    }
    assert len(seeds) == 1000
    assert all(seed is not None and 0 <= seed < 2**31 for seed in seeds)
    assert replace(REQUEST, seed=None, sample=3).sample_seed is None


@pytest.mark.parametrize("pieces", [0, 1, 7, 4096])
def test_a_streamed_reply_is_the_plain_one(loopback: LoopbackServer, pieces: int) -> None:
    loopback.answer = Answer(pieces=pieces)
    request = replace(REQUEST, logprobs=2, max_tokens=20)
    (plain, streamed), seen = ask(loopback, request, replace(request, stream=True))
    assert replace(streamed, seconds=0.0) == replace(plain, seconds=0.0)
    assert plain.usage.source == "server"
    assert plain.logprobs is not None
    assert "".join(token.token for token in plain.logprobs) == plain.text
    assert (seen.streaming, seen.usage, seen.stream_usage, seen.logprobs) == (True,) * 4


def test_llama_cpp_streams_what_it_says_plainly(llama_url: str) -> None:
    async def both(made: OpenAIBackend) -> list[ChatReply]:
        return [await made.complete(request) for request in (REQUEST, STREAMED)]

    plain, streamed = using(llama_url, both)
    assert streamed.text == plain.text
    assert streamed.usage.completion_tokens == plain.usage.completion_tokens == 9
    assert streamed.finish_reason == plain.finish_reason == "length"


def test_llama_cpp_obeys_a_schema(llama_url: str) -> None:
    async def asks(made: OpenAIBackend) -> Any:
        await made.complete(replace(REQUEST, schema=SCHEMA, max_tokens=200))
        return made.capabilities

    assert using(llama_url, asks).schema is True


FAILURES: dict[str, type[BackendError]] = {
    "429 seconds": RateLimited,
    "429 ms": RateLimited,
    "429 date": RateLimited,
    "429 none": RateLimited,
    "500": ServerFailed,
    "503": ServerFailed,
    "400": RequestRejected,
    "401": AuthenticationFailed,
    "403": AuthenticationFailed,
    "404": NotFound,
    "422": RequestRejected,
    "slow": CallTimeout,
    "half body": BadReply,
    "half stream": BadReply,
    "closed": BadReply,
    "16 MB": BadReply,
    "invalid UTF-8": BadReply,
    "not JSON": BadReply,
    "not a completion": BadReply,
    "empty": BadReply,
    "200 with an error": ServerFailed,
}


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("name", FAILURES)
def test_each_misbehaviour_is_one_of_our_errors(
    loopback: LoopbackServer, name: str, streamed: bool
) -> None:
    loopback.next(misbehaviours()[name])
    timeout = 0.2 if name == "slow" else 20.0

    async def two(made: OpenAIBackend) -> ChatReply:
        with pytest.raises(FAILURES[name]) as caught:
            await made.complete(replace(REQUEST, stream=streamed, timeout=timeout))
        assert type(caught.value) is FAILURES[name]
        assert "tiny" in str(caught.value) or "reply" in str(caught.value)
        return await made.complete(REQUEST)

    assert using(loopback.url, two).text
    assert loopback.count == 2, "one request each: this layer never tries again by itself"


def test_a_stream_without_an_end_is_half_a_reply(loopback: LoopbackServer) -> None:
    loopback.next(Answer(unfinished=True))
    assert type(failing(loopback, STREAMED)) is BadReply


@pytest.mark.parametrize(
    ("how", "low", "high"),
    [("seconds", 2.0, 2.0), ("ms", 2.0, 2.0), ("date", 1.0, 3.0), ("none", None, None)],
)
def test_retry_after_is_read(
    loopback: LoopbackServer, how: str, low: float | None, high: float | None
) -> None:
    loopback.next(rate_limited(2, how))
    asked = failing(loopback).retry_after
    assert asked is None if low is None else low <= asked <= high


def test_one_megabyte_is_read(loopback: LoopbackServer) -> None:
    loopback.answer = Answer(text="word " * 200_000)
    request = replace(REQUEST, max_tokens=None)
    replies, _ = ask(loopback, request, replace(request, stream=True))
    assert [len(reply.text) for reply in replies] == [1_000_000, 1_000_000]


def test_a_stream_without_end_is_refused(loopback: LoopbackServer) -> None:
    event = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"x" * 100_000)
    loopback.next(Answer(body=event * 100))
    assert "larger than 8 MB" in str(failing(loopback, STREAMED))


def test_a_wrong_path_hints_at_v1(loopback: LoopbackServer) -> None:
    async def wrong(made: OpenAIBackend) -> None:
        await made.complete(REQUEST)

    with pytest.raises(NotFound, match="must usually end in /v1"):
        using(loopback.url.removesuffix("/v1"), wrong)


def test_nobody_listens() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/v1"
        with pytest.raises(ConnectFailed, match=f"no server answers at {url}") as caught:
            using(url, lambda made: made.complete(REQUEST))
    assert "\n" not in str(caught.value)
    assert caught.value.retryable


@pytest.mark.parametrize("kind", ["wrong", "missing"])
@pytest.mark.parametrize("streamed", [False, True])
def test_unbelievable_usage_is_estimated_and_said_so(
    loopback: LoopbackServer, kind: Any, streamed: bool
) -> None:
    loopback.answer = Answer(usage=kind, text="x" * 40)
    (reply,), seen = ask(loopback, replace(REQUEST, stream=streamed))
    assert reply.usage.source == "estimated"
    assert reply.usage.completion_tokens == 10
    assert reply.usage.prompt_tokens == -(-len(REQUEST.text) // 4)
    assert (seen.stream_usage if streamed else seen.usage) is False
    assert len(seen.warnings) == 1


def test_only_the_last_usage_of_a_stream_counts(loopback: LoopbackServer) -> None:
    head = 'data: {"choices":[{"index":0,"delta":{"content":"hi"}}],"usage":%s}\n\n'
    chunks = [head % '{"prompt_tokens":5,"completion_tokens":%d}' % n for n in (1, 2, 3)]
    loopback.next(Answer(body=("".join(chunks) + "data: [DONE]\n\n").encode()))
    (reply,), _ = ask(loopback, STREAMED)
    assert (reply.text, reply.usage.total_tokens) == ("hihihi", 8)


IGNORED = {
    "stop": (replace(REQUEST, stop=("two",), max_tokens=None), "stop"),
    "max_tokens": (REQUEST, "max_tokens"),
    "logprobs": (replace(REQUEST, logprobs=1), "logprobs"),
    "response_format": (replace(REQUEST, schema=SCHEMA, max_tokens=None), "schema"),
    "stream_options": (STREAMED, "stream_usage"),
}


@pytest.mark.parametrize("field", IGNORED)
def test_what_a_server_drops_is_observed_once(loopback: LoopbackServer, field: str) -> None:
    request, capability = IGNORED[field]
    loopback.answer = Answer(ignores=frozenset({field}), text="one two three " * 10)
    replies, seen = ask(loopback, request, request)
    assert getattr(seen, capability) is False
    assert len(seen.warnings) == 1
    if field == "stop":
        assert {reply.text for reply in replies} == {"one "}


def test_a_server_that_obeys_is_not_accused(loopback: LoopbackServer) -> None:
    requests = [request for request, _ in IGNORED.values()]
    _, seen = ask(loopback, *requests, *requests)
    assert seen.warnings == []
    assert (seen.max_tokens, seen.schema, seen.logprobs, seen.stream_usage) == (True,) * 4


def test_an_ignored_seed_is_observed(loopback: LoopbackServer) -> None:
    loopback.answer = Answer(ignores=frozenset({"seed"}))
    warm = replace(REQUEST, temperature=1.0, max_tokens=None)
    assert ask(loopback, warm, warm)[1].seed is False
    loopback.answer = Answer()
    assert ask(loopback, warm, warm)[1].seed is True


def test_a_refused_schema_is_left_out_from_then_on(loopback: LoopbackServer) -> None:
    loopback.next(failure(400, "response_format is not supported"))
    request = replace(REQUEST, schema=SCHEMA)
    replies, seen = ask(loopback, request, request)
    assert all(reply.text for reply in replies)
    sent = ["response_format" in recorded.body for recorded in loopback.requests]
    assert sent == [True, False, False]
    assert seen.schema is False
    assert "not supported" in seen.warnings[0]


def test_a_500_that_names_the_schema_counts_as_refused(loopback: LoopbackServer) -> None:
    loopback.next(failure(500, "response_format.type must be 'text' or 'json_object'"))
    (_,), seen = ask(loopback, replace(REQUEST, schema=SCHEMA))
    assert seen.schema is False


def test_a_request_that_is_wrong_anyway_does_not_blame_the_schema(
    loopback: LoopbackServer,
) -> None:
    loopback.next(failure(400, "bad role"), failure(400, "bad role"))

    async def act(made: OpenAIBackend) -> Capabilities:
        with pytest.raises(RequestRejected, match="bad role"):
            await made.complete(replace(REQUEST, schema=SCHEMA))
        return made.capabilities

    assert using(loopback.url, act).schema is None


def test_no_key_is_needed_for_other_addresses(loopback: LoopbackServer) -> None:
    ask(loopback, REQUEST)
    assert loopback.requests[-1].headers["authorization"] == "Bearer no-key"


def test_openai_itself_needs_a_key_and_is_not_called_without() -> None:
    async def act() -> None:
        await OpenAIBackend("gpt-4o-mini").complete(REQUEST)

    with pytest.raises(AuthenticationFailed, match="OPENAI_API_KEY"):
        asyncio.run(act())


def test_openai_itself_gets_the_new_name_of_the_cap() -> None:
    assert OpenAIBackend("gpt-4o-mini")._limit_field == "max_completion_tokens"
    assert OpenAIBackend("x", base_url="http://localhost:1/v1")._limit_field == "max_tokens"


def test_the_key_is_shown_nowhere(
    loopback: LoopbackServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    key = "sk-planted-key"
    loopback.next(failure(401, f"Incorrect API key provided: {key}"), Answer(body=b"<html>"))

    async def act(made: OpenAIBackend) -> str:
        shown = [repr(made), str(vars(made)), made.name, made.connection]
        for _ in range(2):
            with pytest.raises(BackendError) as caught:
                await made.complete(REQUEST)
            assert caught.value.__cause__ is None
            shown += traceback.TracebackException.from_exception(caught.value).format()
        return "".join(shown)

    shown = using(loopback.url, act, api_key=key)
    assert loopback.requests[0].headers["authorization"] == f"Bearer {key}"
    assert "Incorrect API key provided: ***" in shown
    assert key not in shown
    assert key not in caplog.text


def test_environment_and_options(monkeypatch: pytest.MonkeyPatch) -> None:
    assert backend("openai:gpt").connection == "https://api.openai.com/v1 gpt"
    assert backend("openai:gpt").name == "openai:gpt"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://one:1/v1/")
    assert backend("openai:gpt").connection == "http://one:1/v1 gpt"
    assert backend("openai:gpt", base_url="http://two:2/v1").name == "openai:gpt@http://two:2/v1"
    assert backend("openai:gpt@http://three:3/v1", base_url="http://two:2/v1").connection == (
        "http://three:3/v1 gpt"
    )


def test_a_model_may_have_an_at_sign() -> None:
    assert split_spec("@cf/meta/llama@q4") == ("@cf/meta/llama@q4", None)
    assert split_spec("a@b@https://h/v1") == ("a@b", "https://h/v1")


@pytest.mark.parametrize("url", ["127.0.0.1:80", "ftp://h/v1", "http://", "http://u:p@h/v1"])
def test_a_bad_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigError, match="base_url"):
        OpenAIBackend("m", base_url=url)


def test_no_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs a model"):
        backend("openai:")


def test_models_are_listed(loopback: LoopbackServer) -> None:
    assert using(loopback.url, lambda made: made.list_models()) == ["tiny"]


def test_listing_models_of_a_dead_server() -> None:
    with pytest.raises(ConnectFailed):
        using("http://127.0.0.1:9/v1", lambda made: made.list_models())


def test_sixty_four_calls_are_in_flight_together(loopback: LoopbackServer) -> None:
    loopback.answer = Answer(delay=0.1)

    async def act(made: OpenAIBackend) -> float:
        await made.complete(REQUEST)
        start = time.perf_counter()
        await asyncio.gather(*(made.complete(REQUEST) for _ in range(64)))
        return time.perf_counter() - start

    assert using(loopback.url, act) < 64 * 0.1 / 4
    assert loopback.peak == 64


@pytest.mark.parametrize("streamed", [False, True])
def test_cancelled_calls_leave_neither_tasks_nor_sockets(
    loopback: LoopbackServer, streamed: bool
) -> None:
    loopback.answer = Answer(pause=0.05, pieces=16)

    async def act(made: OpenAIBackend) -> None:
        before = asyncio.all_tasks()
        request = replace(REQUEST, stream=streamed)
        calls = [asyncio.create_task(made.complete(request)) for _ in range(8)]
        assert await asyncio.to_thread(settled, lambda: loopback.busy == 8)
        for call in calls:
            call.cancel()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {asyncio.CancelledError}
        await asyncio.sleep(0.05)
        assert asyncio.all_tasks() == before

    using(loopback.url, act)
    assert settled(lambda: loopback.open_connections == 0)


def test_closing_twice_leaves_no_socket(loopback: LoopbackServer) -> None:
    async def act(made: OpenAIBackend) -> None:
        await made.complete(REQUEST)
        await made.aclose()
        await made.aclose()
        await made.complete(REQUEST)

    using(loopback.url, act)
    assert settled(lambda: loopback.open_connections == 0)


def test_one_backend_serves_several_event_loops(loopback: LoopbackServer) -> None:
    made = OpenAIBackend("tiny", base_url=loopback.url)

    async def closing() -> ChatReply:
        reply = await made.complete(REQUEST)
        assert len(made._clients) == 1, "the client of the dead loop is forgotten"
        await made.aclose()
        return reply

    first = asyncio.run(made.complete(REQUEST))
    assert asyncio.run(closing()).text == first.text
    gc.collect()
    assert settled(lambda: loopback.open_connections == 0)


def test_it_works_without_aiohttp(
    loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import openai

    def missing(**_: Any) -> None:
        raise RuntimeError("install the extra")

    monkeypatch.setattr(openai, "DefaultAioHttpClient", missing)
    (reply, streamed), _ = ask(loopback, REQUEST, STREAMED)
    assert reply.text == streamed.text
    loopback.next(Answer(cut=0.0), Answer(cut=0.5), misbehaviours()["429 ms"])
    assert type(failing(loopback)) is BadReply
    assert type(failing(loopback)) is BadReply
    assert failing(loopback).retry_after == 0.25
    with pytest.raises(ConnectFailed):
        using("http://127.0.0.1:9/v1", lambda made: made.complete(REQUEST))


def test_a_call_costs_less_than_half_of_the_bare_client() -> None:
    """Python calls per model call: a number that no busy machine changes."""
    import cProfile
    import pstats

    with LoopbackServer(keep=0) as server:

        async def profiled(call: Callable[[], Awaitable[Any]]) -> float:
            for _ in range(3):
                await call()
            profile = cProfile.Profile()
            profile.enable()
            for _ in range(10):
                await call()
            profile.disable()
            return pstats.Stats(profile).total_calls / 10

        async def ours(made: OpenAIBackend) -> float:
            return await profiled(lambda: made.complete(REQUEST))

        async def bare() -> float:
            import openai

            client = openai.AsyncOpenAI(api_key="x", base_url=server.url, max_retries=0)
            async with client:
                message: Any = {"role": "user", "content": "hi"}
                return await profiled(
                    lambda: client.chat.completions.create(model="tiny", messages=[message])
                )

        assert using(server.url, ours) < asyncio.run(bare()) / 2


def settled(done: Callable[[], bool]) -> bool:
    """Whether `done` comes true within two seconds: the server hears of a close later."""
    end = time.monotonic() + 2
    while not done() and time.monotonic() < end:
        time.sleep(0.01)
    return done()
