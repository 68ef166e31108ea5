"""Servers and the tiny model for the tests of backends."""

from hyperagent.testing.fixtures import llama_url, loopback, tiny_gguf, tiny_hf

__all__ = ["llama_url", "loopback", "tiny_gguf", "tiny_hf"]
