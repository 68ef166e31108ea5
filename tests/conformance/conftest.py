"""Servers and the tiny model, shared by the conformance runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hyperagent.llm.weights import weights_path
from hyperagent.testing.fixtures import llama_url, tiny_gguf, tiny_hf
from hyperagent.testing.llama_cpp import llama_server
from hyperagent.testing.servers import LoopbackServer

__all__ = ["llama_url", "tiny_gguf", "tiny_hf"]


@pytest.fixture(scope="session")
def good_url() -> Iterator[str]:
    """A server that does everything it is asked."""
    with LoopbackServer(keep=0) as server:
        yield server.url


@pytest.fixture(scope="session")
def pocket_url() -> Iterator[str]:
    """llama.cpp's own server with the shipped weights, as ``hyperagent serve-model`` runs it."""
    with llama_server(weights_path("")) as url:
        yield url
