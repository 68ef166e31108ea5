"""Pytest fixtures over the servers and the tiny model.

Import those you need into a ``conftest.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperagent.testing.llama_cpp import llama_server
from hyperagent.testing.servers import LoopbackServer
from hyperagent.testing.tiny_gguf import write_tiny_gguf
from hyperagent.testing.tiny_hf import write_tiny_hf


@pytest.fixture
def loopback() -> Iterator[LoopbackServer]:
    """A fresh well-behaved server; queue misbehaviour with ``loopback.next(...)``."""
    with LoopbackServer() as server:
        yield server


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny GGUF model file."""
    return write_tiny_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture(scope="session")
def tiny_hf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model as a transformers directory."""
    return write_tiny_hf(tmp_path_factory.mktemp("hf") / "tiny")


@pytest.fixture(scope="session")
def llama_url(tiny_gguf: Path) -> Iterator[str]:
    """Base address of llama.cpp's own server with the tiny model."""
    with llama_server(tiny_gguf) as url:
        yield url
