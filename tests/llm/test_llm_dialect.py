"""Reading replies: whatever a server sends ends in a reply or in `BadReply`."""

from __future__ import annotations

import json
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperagent.errors import BackendError, BadReply
from hyperagent.llm import Capabilities, ChatRequest, Message, Usage
from hyperagent.llm.dialect import Reader, cut_at_stop, obeys, read_usage
from hyperagent.llm.http_errors import retry_after, status_error

REQUEST = ChatRequest((Message("user", "how many?"),), max_tokens=5, logprobs=1, seed=1)

FIELDS = (
    "choices message delta content usage index logprobs finish_reason model token logprob "
    "top_logprobs prompt_tokens completion_tokens"
)
keys = st.sampled_from(FIELDS.split())
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
replies = st.fixed_dictionaries(
    {
        "choices": st.lists(
            st.fixed_dictionaries(
                {"message": json_values, "delta": json_values},
                optional={"logprobs": json_values, "finish_reason": json_values},
            ),
            min_size=1,
            max_size=2,
        )
        | json_values
    },
    optional={"usage": json_values, "model": json_values},
)


@given(replies)
def test_any_json_is_a_reply_or_a_bad_reply(data: dict[str, Any]) -> None:
    for streamed in (False, True):
        reader = Reader()
        try:
            (reader.chunk if streamed else reader.completion)(data)
            reply = reader.reply(replace(REQUEST, stream=streamed), Capabilities(), 0.1)
        except BadReply:
            continue
        assert isinstance(reply.text, str)
        assert reply.usage.source in ("server", "estimated")
        assert reply.usage.prompt_tokens
        assert reply.usage.completion_tokens or not reply.text


@given(st.lists(st.text(max_size=4), max_size=6), st.integers(1, 99), st.integers(1, 99))
def test_chunks_add_up_to_the_whole(pieces: list[str], prompt: int, completion: int) -> None:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    whole, parts = Reader(), Reader()
    message = {"role": "assistant", "content": "".join(pieces)}
    whole.completion({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage})
    for piece in pieces:
        parts.chunk({"choices": [{"delta": {"content": piece}}]})
    parts.chunk({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    parts.chunk({"choices": [], "usage": usage})
    one, other = (reader.reply(REQUEST, Capabilities(), 0.0) for reader in (whole, parts))
    assert one == other
    assert one.usage == Usage(prompt, completion, source="server")


@given(st.text("ab", max_size=12), st.lists(st.text("ab", min_size=1, max_size=3), max_size=3))
def test_no_stop_text_survives_the_cut(text: str, stops: list[str]) -> None:
    cut = cut_at_stop(text, tuple(stops))
    assert text.startswith(cut)
    assert not any(stop in cut for stop in stops)
    if cut != text:
        assert any(text[len(cut) :].startswith(stop) for stop in stops)


USAGES: list[tuple[Any, str, Usage | None]] = [
    (None, "x", None),
    ([], "x", None),
    ({}, "x", None),
    ({"prompt_tokens": 3, "completion_tokens": 1}, "x", Usage(3, 1, source="server")),
    ({"prompt_tokens": 3, "completion_tokens": 0}, "", Usage(3, 0, source="server")),
    ({"prompt_tokens": 3, "completion_tokens": 0}, "x", None),
    ({"prompt_tokens": 0, "completion_tokens": 1}, "x", None),
    ({"prompt_tokens": 3, "completion_tokens": -1}, "x", None),
    ({"prompt_tokens": True, "completion_tokens": 1}, "x", None),
    ({"prompt_tokens": "3", "completion_tokens": 1}, "x", None),
    ({"prompt_tokens": 3.0, "completion_tokens": 1}, "x", None),
    (
        {
            "prompt_tokens": 9,
            "completion_tokens": 4,
            "prompt_tokens_details": {"cached_tokens": 8},
            "completion_tokens_details": {"reasoning_tokens": 2},
        },
        "x",
        Usage(9, 4, 8, 2, "server"),
    ),
    (
        {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": None},
        "x",
        Usage(9, 4, source="server"),
    ),
]


@pytest.mark.parametrize(("data", "text", "expected"), USAGES)
def test_only_believable_usage_is_taken(data: Any, text: str, expected: Usage | None) -> None:
    assert read_usage(data, text) == expected


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (["plain"], "plain"),
        (["half \ud83d", "\ude00 each"], "half \U0001f600 each"),
        (["a\udc00b"], "a\ufffdb"),
    ],
)
def test_a_reply_is_text_that_can_be_sent_on(pieces: list[str], text: str) -> None:
    reader = Reader()
    for piece in pieces:
        reader.chunk({"choices": [{"delta": {"content": piece}}]})
    assert reader.reply(REQUEST, Capabilities(), 0.0).text == text


def test_a_cut_off_reply_does_not_accuse_the_schema() -> None:
    schema = {"type": "object", "required": ["a"]}
    for finish, expected in (("length", None), ("stop", False)):
        reader, seen = Reader(), Capabilities()
        message = {"content": '{"a": '}
        reader.completion({"choices": [{"message": message, "finish_reason": finish}]})
        reader.reply(replace(REQUEST, schema=schema), seen, 0.0)
        assert seen.schema is expected


@pytest.mark.parametrize(
    ("value", "good"), [({"a": 1}, True), ({"b": 1}, False), ([], False), ("a", False)]
)
def test_obeys_looks_for_required_keys(value: Any, good: bool) -> None:
    assert obeys(json.dumps(value), {"type": "object", "required": ["a"]}) is good


NOW = 1_700_000_000.0
HEADERS: list[tuple[dict[str, str], float | None]] = [
    ({}, None),
    ({"retry-after": "2"}, 2.0),
    ({"retry-after": "0.5"}, 0.5),
    ({"retry-after": "-3"}, 0.0),
    ({"retry-after": "soon"}, None),
    ({"retry-after": "nan"}, None),
    ({"retry-after": "inf"}, None),
    ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
    ({"retry-after-ms": "?", "retry-after": "9"}, 9.0),
    ({"retry-after": formatdate(NOW + 7, usegmt=True)}, 7.0),
    ({"retry-after": formatdate(NOW - 7, usegmt=True)}, 0.0),
]


@pytest.mark.parametrize(("headers", "seconds"), HEADERS)
def test_retry_after_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


@given(st.text(max_size=40))
def test_retry_after_never_raises(value: str) -> None:
    seconds = retry_after({"retry-after": value, "retry-after-ms": value}, NOW)
    assert seconds is None or seconds >= 0


@given(st.integers(400, 599))
def test_every_status_is_an_error_of_ours(status: int) -> None:
    error = status_error(status, "no", {}, "m at u")
    assert isinstance(error, BackendError)
    assert f"HTTP {status}" in str(error)
    assert error.retryable == (status in (408, 429) or status >= 500)
