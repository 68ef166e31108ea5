"""Every backend and every wrapper of ours passes the suite that we publish."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hyperagent.llm import (
    Allowance,
    Backend,
    Budget,
    Cache,
    CacheStore,
    CallContext,
    ChatRequest,
    FunctionBackend,
    Ledger,
    Limiter,
    Meter,
    Pauses,
    RateLimit,
    Retry,
    RetryPolicy,
    ScriptedBackend,
    backend,
    stack,
)
from hyperagent.testing import Answer, BackendSuite, LoopbackServer

Get = Callable[[str], Any]
ONCE = RetryPolicy(attempts=1)


def fixed(made: Backend) -> Backend:
    """`made`, declared to say the same in every sample."""
    made.capabilities.sampling = False
    return made


def inner() -> Backend:
    return FunctionBackend(lambda request: f"sample {request.sample} of {len(request.text)}")


def whole_stack() -> Backend:
    return stack(
        inner(),
        ledger=Ledger(),
        allowance=Allowance(tokens=10**7),
        retry=ONCE,
        pauses=Pauses(),
        limiter=Limiter(max_in_flight=4),
        cache=CacheStore(":memory:"),
    )


def hf(path: Path | str) -> Backend:
    pytest.importorskip("transformers", reason="needs the extra hyperagent[hf]")
    return backend(f"hf:{path}", context=2048)


BACKENDS: dict[str, Callable[[Get], Backend]] = {
    "openai, good server": lambda get: backend(f"openai:tiny@{get('good_url')}"),
    "openai, llama.cpp": lambda get: backend(f"openai:tiny@{get('llama_url')}"),
    "ollama": lambda get: backend("ollama:tiny", base_url=get("good_url").removesuffix("/v1")),
    "gguf": lambda get: backend(f"gguf:{get('tiny_gguf')}", context=2048, threads=1),
    "pocket": lambda get: backend("pocket", parallel=4),
    "pocket, no calculator": lambda get: backend("pocket:verifier,calculator=off", parallel=4),
    "pocket, served": lambda get: backend(f"openai:pocket@{get('pocket_url')}"),
    "pocket, transformers": lambda get: hf("pocket"),
    "hf, safetensors": lambda get: hf(get("tiny_hf")),
    "hf, gguf": lambda get: hf(get("tiny_gguf")),
    "recorded": lambda get: fixed(
        backend("recorded:openai_6b_finetuning", data_dir=get("replay_math"))
    ),
    "scripted": lambda get: fixed(ScriptedBackend("seven apples and 🙂 nothing else")),
    "function": lambda get: inner(),
    "retry": lambda get: Retry(inner(), ONCE, Pauses()),
    "rate limit": lambda get: RateLimit(inner(), Limiter(max_in_flight=4)),
    "budget": lambda get: Budget(inner(), Allowance(tokens=10**7)),
    "meter": lambda get: Meter(inner(), Ledger()),
    "cache": lambda get: Cache(inner(), CacheStore(":memory:"), Ledger()),
    "stack": lambda get: whole_stack(),
}


class TestOurs(BackendSuite):
    """The suite, once per backend of the list above."""

    @pytest.fixture(autouse=True, params=BACKENDS)
    def _chosen(self, request: pytest.FixtureRequest) -> None:
        self._make = lambda: BACKENDS[request.param](request.getfixturevalue)
        # Outside any event loop: the fixtures behind it start servers.
        self._make()

    def make_backend(self) -> Backend:
        return self._make()

    def request(self, text: str = "Ann has 3 apples and buys 4. How many?", **fields: Any) -> Any:
        context = CallContext(task="gsm8k_test_0000", agent="ann")
        request: ChatRequest = super().request(text, **{"context": context, **fields})
        return request


DROPPED = ("stop", "max_tokens", "seed", "response_format", "logprobs", "stream_options")


class TestServerThatIgnores(BackendSuite):
    """A server that drops fields without a word is found out, and the suite still passes."""

    @pytest.fixture(autouse=True, params=DROPPED)
    def _server(self, request: pytest.FixtureRequest) -> Any:
        with LoopbackServer(Answer(ignores=frozenset({request.param})), keep=0) as server:
            self._url = server.url
            yield

    def make_backend(self) -> Backend:
        return backend(f"openai:tiny@{self._url}")
