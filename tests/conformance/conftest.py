"""Servers and the tiny model, shared by the conformance runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hyperagent.testing.fixtures import llama_url, tiny_gguf, tiny_hf
from hyperagent.testing.servers import LoopbackServer

__all__ = ["llama_url", "tiny_gguf", "tiny_hf"]


@pytest.fixture(scope="session")
def good_url() -> Iterator[str]:
    """A server that does everything it is asked."""
    with LoopbackServer(keep=0) as server:
        yield server.url
