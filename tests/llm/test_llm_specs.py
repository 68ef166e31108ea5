"""Spec strings, the registry, plug-ins and the two test doubles."""

from __future__ import annotations

import asyncio
import sys
from importlib.metadata import EntryPoint

import pytest

from hyperagent import errors, llm
from hyperagent.llm import (
    CallContext,
    ChatReply,
    ChatRequest,
    FunctionBackend,
    Message,
    ScriptedBackend,
    Usage,
    specs,
)

ASK = ChatRequest((Message("system", "Be brief."), Message("user", "What is 6 times 7?")))


def shout(request: ChatRequest) -> str:
    """Function that a spec can name."""
    return request.messages[-1].content.upper()


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a spec import this file."""
    monkeypatch.setitem(sys.modules, "spec_example", sys.modules[__name__])


def said(backend: llm.Backend, request: ChatRequest = ASK) -> ChatReply:
    return asyncio.run(backend.complete(request))


def test_an_object_passes_through() -> None:
    backend = ScriptedBackend("42")
    assert llm.backend(backend, timeout=3.0) is backend


@pytest.mark.parametrize("name", ["openai", "ollama", "gguf", "recorded", "scripted", "function"])
def test_our_kinds_exist(name: str) -> None:
    assert name in llm.backends.names()
    assert callable(llm.backends.get(name))


def test_the_nearest_name_is_proposed() -> None:
    with pytest.raises(errors.UnknownNameError, match="Did you mean 'recorded'"):
        llm.backend("recored:abel_7b")


@pytest.mark.parametrize("spec", ["", 3, None])
def test_what_is_no_spec_is_refused(spec: object) -> None:
    with pytest.raises(errors.ConfigError, match="name:rest"):
        llm.backend(spec)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "spec",
    ["scripted:", "scripted", "function:", "function:json", "function:json:nothing_here",
     "function:no_such_module_at_all:f", "function:json:__name__", "recorded:"],
)  # fmt: skip
def test_a_spec_with_a_wrong_rest_says_so(spec: str) -> None:
    with pytest.raises(errors.ConfigError, match=spec.partition(":")[0]):
        llm.backend(spec)


def test_options_without_use_are_ignored_and_none_is_not_given() -> None:
    taken: dict[str, object] = {}

    def factory(rest: str, **options: object) -> ScriptedBackend:
        taken.update(options, rest=rest)
        return ScriptedBackend("42")

    llm.backend("scripted:a:b", base_url="http://x", api_key="k", timeout=1.0, data_dir="/d")
    registry = specs.Registry("backend", {}, None)
    registry.register("mine")(factory)
    original, specs.backends = specs.backends, registry
    try:
        llm.backend("mine:a:b", base_url=None, timeout=2.0)
    finally:
        specs.backends = original
    assert taken == {"rest": "a:b", "timeout": 2.0}


def test_a_plug_in_is_found_and_a_bad_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    group = "hyperagent.backends"
    points = [
        EntryPoint("theirs", "spec_example:ScriptedBackend", group),
        EntryPoint("broken", "no_such_module:thing", group),
        EntryPoint("hollow", "builtins:str", group),
        EntryPoint("scripted", "builtins:str", group),
    ]
    monkeypatch.setattr("hyperagent.registry.entry_points", lambda group: points)
    monkeypatch.setattr(specs.backends, "_plugins", None)
    assert said(llm.backend("theirs:hello")).text == "hello"
    with pytest.raises(errors.ConfigError, match=r"'broken'.*no_such_module"):
        llm.backend("broken:x")
    with pytest.raises(errors.ConfigError, match="'hollow' gave a str"):
        llm.backend("hollow:x")
    assert isinstance(llm.backend("scripted:ours wins"), ScriptedBackend)
    for name in ("theirs", "broken", "hollow"):
        specs.backends._objects.pop(name, None)
    monkeypatch.setattr(specs.backends, "_plugins", None)


def test_a_script_is_read_in_order_and_ends() -> None:
    whole = ChatReply("as given", Usage(1, 2, source="server"))
    backend = ScriptedBackend(["one", whole, errors.RateLimited("slow")])
    assert said(backend).text == "one"
    assert said(backend) is whole
    with pytest.raises(errors.RateLimited):
        said(backend)
    with pytest.raises(errors.NotRecorded, match="at its end"):
        said(backend)
    assert backend.calls == 4
    assert list(backend.requests) == [ASK] * 4


def test_each_agent_can_have_its_own_script() -> None:
    backend = ScriptedBackend({"ann": ["1", "2"], "bob": "always"})

    def by(agent: str) -> str:
        return said(backend, ChatRequest(ASK.messages, context=CallContext(agent=agent))).text

    assert [by("ann"), by("bob"), by("bob"), by("ann")] == ["1", "always", "always", "2"]
    with pytest.raises(errors.NotRecorded, match="'ann' is at its end"):
        by("ann")
    with pytest.raises(errors.NotRecorded, match="no part for agent 'eve'"):
        by("eve")


async def later(request: ChatRequest) -> str:
    await asyncio.sleep(0)
    return shout(request)


@pytest.mark.parametrize("function", [shout, later, "function:spec_example:shout"])
def test_functions_plain_async_and_by_name(function: object) -> None:
    backend = llm.backend(function) if isinstance(function, str) else FunctionBackend(function)  # type: ignore[arg-type]
    reply = said(backend)
    assert reply.text == "WHAT IS 6 TIMES 7?"
    assert reply.usage == Usage(7, 5, source="counted")
    assert reply.finish_reason == "stop"
    asyncio.run(backend.aclose())
    asyncio.run(backend.aclose())


@pytest.mark.parametrize(
    ("options", "text", "reason"),
    [
        ({"max_tokens": 2}, "  one  two", "length"),
        ({"max_tokens": 4}, "  one  two three\nfour ", "stop"),
        ({"max_tokens": 0}, "", "length"),
        ({"stop": ("three",)}, "  one  two ", "stop"),
        ({"stop": ("four", "two")}, "  one  ", "stop"),
        ({"stop": ("two",), "max_tokens": 1}, "  one  ", "stop"),
    ],
)
def test_the_doubles_obey_stop_and_max_tokens(
    options: dict[str, object], text: str, reason: str
) -> None:
    request = ChatRequest(ASK.messages, **options)  # type: ignore[arg-type]
    reply = said(ScriptedBackend("  one  two three\nfour "), request)
    assert (reply.text, reply.finish_reason) == (text, reason)
    assert reply.usage.completion_tokens == len(text.split())
