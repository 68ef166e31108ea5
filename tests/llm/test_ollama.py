"""``ollama:`` finds its server however the settings spell it."""

from __future__ import annotations

import asyncio

import pytest

from hyperagent.llm import ChatReply, ChatRequest, Message, backend
from hyperagent.llm.ollama import create, ollama_url
from hyperagent.testing import LoopbackServer

REQUEST = ChatRequest((Message("user", "hi"),), temperature=0.0, max_tokens=5)

SPELLINGS = {
    "": "http://127.0.0.1:11434/v1",
    "127.0.0.1": "http://127.0.0.1:11434/v1",
    "0.0.0.0": "http://127.0.0.1:11434/v1",
    "0.0.0.0:8080": "http://127.0.0.1:8080/v1",
    "box:11434": "http://box:11434/v1",
    "http://box:11434": "http://box:11434/v1",
    "http://box:11434/": "http://box:11434/v1",
    "http://box:11434/v1": "http://box:11434/v1",
    "http://box:11434/v1/": "http://box:11434/v1",
    "https://box/ollama": "https://box/ollama/v1",
    "[::1]:8080": "http://[::1]:8080/v1",
    "[::]": "http://[::1]:11434/v1",
}


@pytest.mark.parametrize("address", SPELLINGS)
def test_spellings_of_an_address(address: str) -> None:
    assert ollama_url(address) == SPELLINGS[address]


@pytest.mark.parametrize("variable", ["OLLAMA_HOST", "OLLAMA_BASE_URL"])
def test_the_environment_names_the_server(
    loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    bare = loopback.url.removesuffix("/v1").removeprefix("http://")
    monkeypatch.setenv(variable, bare if variable == "OLLAMA_HOST" else loopback.url)

    async def run() -> tuple[ChatReply, list[str]]:
        made = backend("ollama:llama3.2:1b")
        try:
            return await made.complete(REQUEST), await made.list_models()  # type: ignore[attr-defined]
        finally:
            await made.aclose()

    reply, models = asyncio.run(run())
    assert reply.text
    assert models == ["tiny"]
    assert loopback.requests[0].body["model"] == "llama3.2:1b"


def test_base_url_goes_before_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "one")
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://two:2/v1")
    assert ollama_url() == "http://two:2/v1"
    assert create("m", base_url="three:3").base_url == "http://three:3/v1"
    assert create("m@http://four:4").base_url == "http://four:4/v1"


def test_a_key_for_openai_does_not_travel_to_ollama(
    loopback: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    made = backend("ollama:m", base_url=loopback.url)

    async def run() -> None:
        await made.complete(REQUEST)
        await made.aclose()

    asyncio.run(run())
    assert loopback.requests[0].headers["authorization"] == "Bearer ollama"


def test_names() -> None:
    made = backend("ollama:llama3.2:1b")
    assert (made.name, made.connection) == (
        "ollama:llama3.2:1b",
        "http://127.0.0.1:11434/v1 llama3.2:1b",
    )
