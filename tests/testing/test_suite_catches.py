"""The suite must fail for a backend that breaks a rule: one such backend per rule."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from hyperagent.llm import Capabilities, ChatReply, ChatRequest, Usage
from hyperagent.testing import BackendSuite

USAGE = Usage(10, 2, source="server")


class Honest:
    """Passes everything; each offender below changes one thing."""

    name = "honest"
    connection = "honest"
    key = ""

    def __init__(self) -> None:
        self.capabilities = Capabilities(schema=False, logprobs=False)

    async def complete(self, request: ChatRequest) -> ChatReply:
        prompt = len(request.text.split()) + 1
        text = f"reply {request.sample}"
        for stop in request.stop:
            text = text.split(stop)[0]
        return ChatReply(text, Usage(prompt, len(text.split()), source="server"))

    async def aclose(self) -> None:
        pass


class NoAclose:
    name = connection = "x"
    capabilities = Capabilities()

    async def complete(self, request: ChatRequest) -> ChatReply:
        return ChatReply("x")

    aclose = None


class Shared(Honest):
    seen = Capabilities()

    def __init__(self) -> None:
        self.capabilities = self.seen


class PlainText(Honest):
    async def complete(self, request: ChatRequest) -> Any:
        return "text"


class ZeroUsage(Honest):
    async def complete(self, request: ChatRequest) -> ChatReply:
        return ChatReply("text", Usage(0, 0, source="server"))


class SourcelessUsage(Honest):
    async def complete(self, request: ChatRequest) -> ChatReply:
        return ChatReply("text", Usage(10, 2))


class KeepsStop(Honest):
    async def complete(self, request: ChatRequest) -> ChatReply:
        return ChatReply("never stops", USAGE)


class TalksOn(Honest):
    async def complete(self, request: ChatRequest) -> ChatReply:
        return ChatReply("on and on", Usage(10, 99, source="server"))


class Unseeded(Honest):
    count = itertools.count()

    async def complete(self, request: ChatRequest) -> ChatReply:
        return ChatReply(f"reply {next(self.count)}", USAGE)


class OneSample(Honest):
    async def complete(self, request: ChatRequest) -> ChatReply:
        return ChatReply("always this", USAGE)


class OtherStream(Honest):
    async def complete(self, request: ChatRequest) -> ChatReply:
        return ChatReply("streamed" if request.stream else "plain", USAGE)


class DropsSchema(Honest):
    def __init__(self) -> None:
        self.capabilities = Capabilities(logprobs=False)


class DropsLogprobs(Honest):
    def __init__(self) -> None:
        self.capabilities = Capabilities(schema=False)


class OneAtATime(Honest):
    busy = False

    async def complete(self, request: ChatRequest) -> ChatReply:
        if self.busy:
            raise RuntimeError("one at a time, please")
        self.busy = True
        await asyncio.sleep(0.001)
        self.busy = False
        return await super().complete(request)


class LeavesTask(Honest):
    async def complete(self, request: ChatRequest) -> ChatReply:
        self.task = asyncio.create_task(asyncio.sleep(1))
        await asyncio.sleep(0.1)
        return await super().complete(request)


class SwallowsCancellation(Honest):
    async def complete(self, request: ChatRequest) -> ChatReply:
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            pass
        return await super().complete(request)


class ClosesOnce(Honest):
    closed = False

    async def aclose(self) -> None:
        if self.closed:
            raise RuntimeError("already closed")
        self.closed = True


class OneLoop(Honest):
    loop: Any = None

    async def complete(self, request: ChatRequest) -> ChatReply:
        here = asyncio.get_running_loop()
        self.loop = self.loop or here
        if self.loop is not here:
            raise RuntimeError("attached to a different loop")
        return await super().complete(request)


class ForeignErrors(Honest):
    async def complete(self, request: ChatRequest) -> ChatReply:
        if not request.messages:
            raise IndexError("no messages")
        return await super().complete(request)


class HalfCharacters(Honest):
    async def complete(self, request: ChatRequest) -> ChatReply:
        return ChatReply("half \ud83d", USAGE)


class FlatPrompt(Honest):
    async def complete(self, request: ChatRequest) -> ChatReply:
        return replace(await super().complete(request), usage=USAGE)


class Meddler(Honest):
    async def complete(self, request: ChatRequest) -> ChatReply:
        if isinstance(request.schema, dict):
            request.schema["title"] = "reply"
        return await super().complete(request)


class ShowsKey(Honest):
    def __init__(self) -> None:
        super().__init__()
        self.key = os.environ["OPENAI_API_KEY"]

    def __repr__(self) -> str:
        return f"ShowsKey({self.key})"


OFFENDERS: list[tuple[Callable[[], Any], str]] = [
    (NoAclose, "test_has_the_shape_of_a_backend"),
    (Shared, "test_capabilities_are_not_shared"),
    (PlainText, "test_answers_with_text"),
    (ZeroUsage, "test_usage_is_counted_or_unknown"),
    (SourcelessUsage, "test_usage_is_counted_or_unknown"),
    (KeepsStop, "test_stops_at_a_stop_text"),
    (TalksOn, "test_keeps_to_max_tokens"),
    (Unseeded, "test_a_seed_repeats_the_reply"),
    (OneSample, "test_samples_differ"),
    (OtherStream, "test_streaming_gives_the_same_reply"),
    (DropsSchema, "test_obeys_a_schema_or_says_that_it_does_not"),
    (DropsLogprobs, "test_gives_logprobs_or_says_that_it_does_not"),
    (OneAtATime, "test_answers_sixteen_calls_at_once"),
    (LeavesTask, "test_cancelling_leaves_no_task_behind"),
    (SwallowsCancellation, "test_cancelling_leaves_no_task_behind"),
    (ClosesOnce, "test_closes_twice"),
    (OneLoop, "test_works_in_a_second_event_loop"),
    (ForeignErrors, "test_odd_requests_end_in_a_reply_or_in_our_errors"),
    (HalfCharacters, "test_reads_and_writes_unicode"),
    (FlatPrompt, "test_long_prompts_count_more"),
    (Meddler, "test_does_not_change_the_request"),
    (ShowsKey, "test_shows_no_key"),
]
ARGUMENTS = {
    "test_odd_requests_end_in_a_reply_or_in_our_errors": "empty conversation",
    "test_reads_and_writes_unicode": "Zoë",
}


def check(make: Callable[[], Any], test: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Suite(BackendSuite):
        def make_backend(self) -> Any:
            return make()

    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-0123456789abcdef")
    argument = [ARGUMENTS[test]] if test in ARGUMENTS else []
    getattr(Suite(), test)(*argument)


@pytest.mark.parametrize(
    ("make", "test"), OFFENDERS, ids=lambda value: getattr(value, "__name__", value)
)
def test_the_offender_is_caught(
    make: Callable[[], Any], test: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(Honest, test, monkeypatch)
    with pytest.raises((AssertionError, RuntimeError, TypeError, IndexError, UnicodeEncodeError)):
        check(make, test, monkeypatch)


def test_every_rule_has_an_offender() -> None:
    rules = {name for name in dir(BackendSuite) if name.startswith("test_")}
    assert rules - {test for _, test in OFFENDERS} == {"test_closes_unused"}
