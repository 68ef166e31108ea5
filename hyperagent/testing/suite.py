"""What every backend must do. Subclass `BackendSuite`, or run it from the command line.

::

    class TestMine(BackendSuite):
        def make_backend(self):
            return Mine("some model")

A backend that cannot do something says so in its `Capabilities`; the suite accepts that,
and refuses a backend that drops a field without a word.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from hyperagent.errors import BackendError, CallTimeout
from hyperagent.llm.types import Backend, Capabilities, ChatReply, ChatRequest, Message, Usage

T = TypeVar("T")

PLANTED_KEY = "sk-planted-0123456789abcdef"
"""Set as ``OPENAI_API_KEY``; must not appear in anything a backend shows."""

SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "integer"}},
    "required": ["answer"],
    "additionalProperties": False,
}

ODD_REQUESTS = {
    "empty conversation": {"messages": ()},
    "lone surrogate": {"messages": (Message("user", "half a pair: \ud800"),)},
    "control characters": {"messages": (Message("user", "\x00\x07\x1b[31m"),)},
    "longer than any context": {"messages": (Message("user", "again " * 200_000),)},
    "one microsecond": {"timeout": 1e-6},
}


class BackendSuite:
    """Conformance tests of one backend.

    Attributes
    ----------
    max_tokens : int
        Cap on most replies; small, so that a real model answers fast.
    timeout : float
        Seconds for one call.
    """

    max_tokens = 24
    timeout = 120.0

    def make_backend(self) -> Backend:
        """A new backend; called at least once per test, which closes it."""
        raise NotImplementedError("subclass BackendSuite and return a backend here")

    def request(self, text: str = "Ann has 3 apples and buys 4. How many?", **fields: Any) -> Any:
        """A request; override it for a backend that only answers certain ones."""
        request = ChatRequest(
            (Message("system", "Be brief."), Message("user", text)),
            temperature=0.0,
            max_tokens=self.max_tokens,
            seed=7,
            timeout=self.timeout,
        )
        return replace(request, **fields)

    def run(self, check: Callable[[Backend], Awaitable[T]]) -> T:
        """Run `check` on a new backend in a new event loop, and close it."""

        async def closing() -> T:
            backend = self.make_backend()
            try:
                return await check(backend)
            finally:
                await backend.aclose()

        return asyncio.run(closing())

    @pytest.fixture(autouse=True)
    def _planted_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", PLANTED_KEY)

    def test_has_the_shape_of_a_backend(self) -> None:
        async def check(backend: Backend) -> None:
            assert isinstance(backend, Backend), "name, connection, capabilities, complete, aclose"
            for name in ("name", "connection"):
                value = getattr(backend, name)
                assert isinstance(value, str), f"{name} must be a string"
                assert value, f"{name} must not be empty"
            assert isinstance(backend.capabilities, Capabilities)
            assert inspect.iscoroutinefunction(backend.complete), "complete must be async"
            assert inspect.iscoroutinefunction(backend.aclose), "aclose must be async"

        self.run(check)

    def test_capabilities_are_not_shared(self) -> None:
        async def check(backend: Backend) -> None:
            other = self.make_backend()
            assert backend.capabilities is not other.capabilities or backend is other, (
                "two backends may talk to two servers: each needs its own Capabilities"
            )
            await other.aclose()

        self.run(check)

    def test_answers_with_text(self) -> None:
        reply = self.run(lambda backend: backend.complete(self.request()))
        assert isinstance(reply, ChatReply), f"complete must give a ChatReply, not {type(reply)}"
        assert isinstance(reply.text, str), "text must be a string, also when it is empty"
        assert reply.seconds >= 0
        assert not reply.cached, "cached is for replies from our own cache"
        reply.text.encode()

    def test_usage_is_counted_or_unknown(self) -> None:
        reply = self.run(lambda backend: backend.complete(self.request()))
        _check_usage(reply)

    def test_stops_at_a_stop_text(self) -> None:
        async def check(backend: Backend) -> tuple[str, ChatReply, Capabilities]:
            whole = (await backend.complete(self.request())).text
            if len(whole) < 4:
                pytest.skip(f"the reply {whole!r} is too short to be stopped")
            stop = whole[len(whole) // 2 :][:3]
            reply = await backend.complete(self.request(stop=(stop,)))
            return stop, reply, backend.capabilities

        stop, reply, seen = self.run(check)
        assert stop not in reply.text or seen.stop is False, (
            f"the stop text {stop!r} is in the reply {reply.text!r}: cut it, and "
            "capabilities.observe('stop', False)"
        )

    def test_keeps_to_max_tokens(self) -> None:
        async def check(backend: Backend) -> tuple[ChatReply, Capabilities]:
            return await backend.complete(self.request(max_tokens=3)), backend.capabilities

        reply, seen = self.run(check)
        used = reply.usage.completion_tokens
        estimated = reply.usage.source == "estimated"
        assert used is None or used <= 3 or estimated or seen.max_tokens is False, (
            f"{used} tokens came where 3 were allowed: capabilities.observe('max_tokens', False)"
        )

    def test_a_seed_repeats_the_reply(self) -> None:
        async def check(backend: Backend) -> tuple[str, str, Capabilities]:
            request = self.request(temperature=1.0)
            first, second = await backend.complete(request), await backend.complete(request)
            return first.text, second.text, backend.capabilities

        first, second, seen = self.run(check)
        assert first == second or seen.seed is False, (
            f"one seed, two replies ({first!r}, {second!r}): capabilities.observe('seed', False)"
        )

    def test_samples_differ(self) -> None:
        async def check(backend: Backend) -> set[str]:
            texts = set()
            if backend.capabilities.sampling is False:
                pytest.skip("the backend declares capabilities.sampling = False")
            for sample in range(5):
                request = self.request(temperature=1.0, sample=sample)
                texts.add((await backend.complete(request)).text)
            return texts

        texts = self.run(check)
        assert len(texts) > 1, (
            f"five samples at temperature 1 are all {texts}: send request.sample_seed, "
            "or declare capabilities.sampling = False"
        )

    def test_streaming_gives_the_same_reply(self) -> None:
        async def check(backend: Backend) -> list[ChatReply]:
            plain = [await backend.complete(self.request()) for _ in range(2)]
            return [*plain, await backend.complete(self.request(stream=True))]

        plain, again, streamed = self.run(check)
        _check_usage(streamed)
        if plain.text != again.text:
            pytest.skip("the backend is not deterministic at temperature 0")
        assert streamed.text == plain.text, "a streamed reply must be the plain one"
        assert streamed.finish_reason == plain.finish_reason
        if streamed.usage.source == plain.usage.source:
            assert streamed.usage.total_tokens == plain.usage.total_tokens

    def test_obeys_a_schema_or_says_that_it_does_not(self) -> None:
        async def check(backend: Backend) -> tuple[ChatReply, Capabilities]:
            request = self.request(schema=SCHEMA, max_tokens=200)
            return await backend.complete(request), backend.capabilities

        reply, seen = self.run(check)
        if seen.schema is False or reply.finish_reason == "length":
            return
        try:
            value = json.loads(reply.text)
        except ValueError:
            value = None
        assert isinstance(value, dict), (
            f"{reply.text!r} is no JSON object: observe('schema', False)"
        )
        assert "answer" in value, f"required key 'answer' is missing in {value}"

    def test_gives_logprobs_or_says_that_it_does_not(self) -> None:
        async def check(backend: Backend) -> tuple[ChatReply, Capabilities]:
            return await backend.complete(self.request(logprobs=2)), backend.capabilities

        reply, seen = self.run(check)
        assert reply.logprobs is not None or seen.logprobs is False or not reply.text, (
            "log-probabilities were asked for and dropped: observe('logprobs', False)"
        )
        for token in reply.logprobs or ():
            assert token.logprob <= 1e-6, f"{token} has a positive log-probability"

    def test_answers_sixteen_calls_at_once(self) -> None:
        async def check(backend: Backend) -> list[ChatReply]:
            requests = [self.request(f"Ann has {i} apples. How many?") for i in range(16)]
            return await asyncio.gather(*(backend.complete(request) for request in requests))

        for reply in self.run(check):
            _check_usage(reply)

    def test_cancelling_leaves_no_task_behind(self) -> None:
        async def check(backend: Backend) -> None:
            await backend.complete(self.request())
            before = asyncio.all_tasks()
            call = asyncio.create_task(backend.complete(self.request(max_tokens=1000)))
            await asyncio.sleep(0.002)
            finished = call.done()
            call.cancel()
            with suppress(asyncio.CancelledError):
                await call
            assert finished or call.cancelled(), "complete must not swallow CancelledError"
            await asyncio.sleep(0.05)
            left = asyncio.all_tasks() - before
            assert not left, f"tasks left behind by a cancelled call: {left}"
            reply = await backend.complete(self.request())
            assert isinstance(reply, ChatReply), "the backend must answer after a cancelled call"

        self.run(check)

    def test_closes_twice(self) -> None:
        async def check(backend: Backend) -> None:
            await backend.complete(self.request())
            await backend.aclose()
            await backend.aclose()

        self.run(check)

    def test_closes_unused(self) -> None:
        async def check(backend: Backend) -> None:
            await backend.aclose()

        self.run(check)

    def test_works_in_a_second_event_loop(self) -> None:
        backend = self.make_backend()

        async def twice() -> ChatReply:
            try:
                return await backend.complete(self.request())
            finally:
                await backend.aclose()

        asyncio.run(backend.complete(self.request()))
        reply = asyncio.run(twice())
        assert isinstance(reply, ChatReply)

    @pytest.mark.parametrize("odd", ODD_REQUESTS)
    def test_odd_requests_end_in_a_reply_or_in_our_errors(self, odd: str) -> None:
        async def check(backend: Backend) -> ChatReply | BackendError:
            request = self.request(**ODD_REQUESTS[odd])
            try:
                reply = await backend.complete(request)
            except BackendError as error:
                return error
            return reply

        outcome = self.run(check)
        if isinstance(outcome, BackendError):
            assert str(outcome), "an error must say what went wrong"
            assert PLANTED_KEY not in str(outcome), "the API key is in an error message"
            assert odd != "one microsecond" or isinstance(outcome, CallTimeout), repr(outcome)
        else:
            outcome.text.encode()

    @pytest.mark.parametrize(
        "text", ["Zoë, 北京, שלום, 🙂👩‍👩‍👧", "e\u0301 is not é", "\u202edoog\u202c", "a\u2028b"]
    )
    def test_reads_and_writes_unicode(self, text: str) -> None:
        reply = self.run(lambda backend: backend.complete(self.request(text)))
        reply.text.encode()

    def test_long_prompts_count_more(self) -> None:
        async def check(backend: Backend) -> list[Usage]:
            texts = ("How many?", "Ann has 3 apples. " * 20 + "How many?")
            return [(await backend.complete(self.request(text))).usage for text in texts]

        short, long = (usage.prompt_tokens for usage in self.run(check))
        assert short is None or long is None or long > short, (
            f"twenty more sentences raised the prompt from {short} to {long} tokens"
        )

    def test_does_not_change_the_request(self) -> None:
        async def check(backend: Backend) -> None:
            schema = copy.deepcopy(SCHEMA)
            request = self.request(stop=("zzz",), schema=schema)
            before = copy.deepcopy(request)
            await backend.complete(request)
            assert request == before, "complete changed the request it was given"

        self.run(check)

    def test_shows_no_key(self) -> None:
        async def check(backend: Backend) -> str:
            await backend.complete(self.request())
            seen = backend.capabilities
            return " ".join([repr(backend), backend.name, backend.connection, *seen.warnings])

        assert PLANTED_KEY not in self.run(check), "the API key is visible in the backend"


def _check_usage(reply: ChatReply) -> None:
    usage = reply.usage
    if usage.source is None:
        assert usage.prompt_tokens is None, "a count needs a source: server, counted, estimated"
        assert usage.completion_tokens is None, "a count needs a source"
        return
    assert usage.source in ("server", "counted", "estimated"), f"unknown source {usage.source!r}"
    assert usage.prompt_tokens, f"{usage.prompt_tokens} prompt tokens: unknown is None, never 0"
    assert usage.completion_tokens is not None, "a source without a count"
    assert usage.completion_tokens > 0 or not reply.text, (
        f"0 completion tokens for {reply.text!r}: unknown is None, never 0"
    )
