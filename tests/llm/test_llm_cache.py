"""The reply cache: what makes two requests equal, what survives, and who pays."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from hyperagent import errors
from hyperagent.llm import (
    Allowance,
    Cache,
    CacheStore,
    CallContext,
    ChatReply,
    ChatRequest,
    FunctionBackend,
    Ledger,
    Message,
    ScriptedBackend,
    TokenLogprob,
    Usage,
    stack,
)
from hyperagent.llm import backend as open_backend
from hyperagent.llm.cache import cache_key

ASK = ChatRequest((Message("user", "What is 6 times 7?"),), temperature=0.5)
BACKEND = ScriptedBackend("42", connection="here")
OTHER: dict[str, Any] = {
    "messages": (Message("system", "Be brief."), *ASK.messages),
    "temperature": 0.6,
    "top_p": 0.9,
    "max_tokens": 5,
    "stop": ("\n",),
    "seed": 1,
    "schema": {"type": "object"},
    "logprobs": 2,
    "sample": 1,
}
SAME: dict[str, Any] = {
    "stream": True,
    "timeout": 3.0,
    "context": CallContext(task="t", agent="ann", attempt=2),
}


def test_every_field_of_a_request_is_decided_on() -> None:
    assert {*OTHER, *SAME} == {field.name for field in fields(ChatRequest)}


@pytest.mark.parametrize("name", OTHER)
def test_a_field_that_changes_the_reply_changes_the_key(name: str) -> None:
    assert cache_key(BACKEND, replace(ASK, **{name: OTHER[name]})) != cache_key(BACKEND, ASK)


@pytest.mark.parametrize("name", SAME)
def test_a_field_that_does_not_leaves_the_key(name: str) -> None:
    assert cache_key(BACKEND, replace(ASK, **{name: SAME[name]})) == cache_key(BACKEND, ASK)


def test_server_and_model_are_in_the_key() -> None:
    keys = {
        cache_key(ScriptedBackend("", name=name, connection=where), ASK)
        for name in ("a", "b")
        for where in ("here", "there")
    }
    assert len(keys) == 4


def test_a_function_of_a_later_process_is_another_function() -> None:
    make = "from hyperagent.llm import *; print(FunctionBackend(print).connection)"
    made = {
        subprocess.run([sys.executable, "-c", make], capture_output=True, check=True).stdout
        for _ in range(2)
    }
    assert len(made) == 2


@pytest.mark.parametrize("spec", ["scripted:yes", "function:builtins:str"])
def test_a_backend_that_its_spec_describes_is_the_same_in_every_process(spec: str) -> None:
    assert open_backend(spec).connection == spec


def test_where_a_message_ends_is_in_the_key() -> None:
    parts = [("a", "bc"), ("ab", "c")]
    requests = [ChatRequest(tuple(Message("user", part) for part in pair)) for pair in parts]
    assert len({cache_key(BACKEND, request) for request in requests}) == 2


def test_a_hit_is_free_and_on_the_ledger(tmp_path: Path) -> None:
    store = CacheStore(tmp_path / "sub" / "replies.sqlite")
    backend = ScriptedBackend(["42", "43"], connection="c")
    ledger, allowance = Ledger(), Allowance(calls=1)
    wrapped = stack(backend, ledger=ledger, cache=store, allowance=allowance)
    first, second = (asyncio.run(wrapped.complete(ASK)) for _ in range(2))
    assert (first.cached, second.cached) == (False, True)
    assert second == replace(first, cached=True)
    assert [row.from_cache for row in ledger] == [False, True]
    assert [row.price for row in ledger] == [None, 0.0]
    assert ledger.by("from_cache")[False].total_tokens == allowance.spent.tokens == 6
    assert allowance.spent.calls == backend.calls == len(store) == 1


def test_replies_survive_the_process_whole(tmp_path: Path) -> None:
    reply = ChatReply(
        "née 🙂\x00",
        Usage(1, 2, 3, None, "server"),
        "m",
        "length",
        (TokenLogprob("né", -0.5, (("né", -0.5), ("x", -2.0))), TokenLogprob("e", -0.0)),
        1.5,
    )
    path = tmp_path / "replies.sqlite"
    first = CacheStore(path)
    first.put("key", reply)
    first.close()
    assert CacheStore(path).get("key") == replace(reply, cached=True)


@pytest.mark.parametrize(
    "rotten",
    ["", "{", "null", "[]", "{}", '{"text": 3}', '{"text":"a","usage":[1],"logprobs":[[1]]}',
     '{"text":"a","usage":null,"logprobs":null}', '{"text":"a","usage":[],"logprobs":null,"x":1}',
     '{"text":"a","usage":[1,2,3,4,5,6,7,8],"logprobs":null}'],
)  # fmt: skip
def test_a_row_that_cannot_be_read_counts_as_missing(tmp_path: Path, rotten: str) -> None:
    path = tmp_path / "replies.sqlite"
    store = CacheStore(path)
    backend = ScriptedBackend(["42", "43"], connection="c")
    wrapped = Cache(backend, store)
    asyncio.run(wrapped.complete(ASK))
    with sqlite3.connect(path) as other:
        other.execute("UPDATE replies SET reply = ?", (rotten,))
    assert asyncio.run(wrapped.complete(ASK)).text == "43"
    assert asyncio.run(wrapped.complete(ASK)).text == "43"
    assert backend.calls == 2


def test_a_row_of_another_version_counts_as_missing(tmp_path: Path) -> None:
    path = tmp_path / "replies.sqlite"
    store = CacheStore(path)
    store.put("key", ChatReply("42"))
    with sqlite3.connect(path) as other:
        other.execute("UPDATE replies SET version = version - 1")
    assert store.get("key") is None


def test_a_file_that_is_no_database_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "replies.sqlite"
    path.write_bytes(b"not a database " * 100)
    with pytest.raises(errors.ConfigError, match=r"replies\.sqlite"):
        CacheStore(path)


def test_a_reply_that_cannot_be_kept_is_still_a_reply(tmp_path: Path) -> None:
    path = tmp_path / "replies.sqlite"
    store = CacheStore(path)
    with sqlite3.connect(path) as other:
        other.execute("DROP TABLE replies")
    with pytest.warns(UserWarning, match="not kept"):
        assert asyncio.run(Cache(BACKEND, store).complete(ASK)).text == "42"


def slow_backend(outcomes: list[str | Exception]) -> FunctionBackend:
    async def answer(request: ChatRequest) -> str:
        outcome = outcomes.pop(0)
        await asyncio.sleep(0.02)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return FunctionBackend(answer)


def test_equal_requests_under_way_make_one_call() -> None:
    backend, ledger = slow_backend(["42"]), Ledger()
    wrapped = stack(backend, ledger=ledger, cache=CacheStore(":memory:"))

    async def many() -> list[ChatReply]:
        return await asyncio.gather(*(wrapped.complete(ASK) for _ in range(10)))

    replies = asyncio.run(many())
    assert backend.calls == 1
    assert sorted(reply.cached for reply in replies) == [False] + [True] * 9
    assert ledger.totals().from_cache == 9


def test_a_failed_call_is_not_kept_and_fails_nobody_else() -> None:
    store = CacheStore(":memory:")
    backend = slow_backend([errors.RequestRejected("400"), "42"])
    wrapped = Cache(backend, store)

    async def many() -> list[ChatReply | BaseException]:
        return await asyncio.gather(
            *(wrapped.complete(ASK) for _ in range(4)), return_exceptions=True
        )

    first, *others = asyncio.run(many())
    assert isinstance(first, errors.RequestRejected)
    assert [reply.text for reply in others] == ["42"] * 3  # type: ignore[union-attr]
    assert backend.calls == 2
    assert store.flights == {}


def test_cancelling_one_of_two_equal_calls_leaves_the_other() -> None:
    for victim in (0, 1):
        store = CacheStore(":memory:")
        wrapped = Cache(slow_backend(["42", "43"]), store)

        async def two(wrapped: Cache = wrapped, victim: int = victim) -> ChatReply:
            tasks = [asyncio.create_task(wrapped.complete(ASK)) for _ in range(2)]
            await asyncio.sleep(0.005)
            tasks[victim].cancel()
            with pytest.raises(asyncio.CancelledError):
                await tasks[victim]
            return await tasks[1 - victim]

        assert asyncio.run(two()).text in ("42", "43")
        assert store.flights == {}
