"""Tokens from characters: the only place where a token count is guessed."""

from __future__ import annotations

from hyperagent.llm.types import ChatRequest

PER_MESSAGE = 4
"""Tokens that a chat template adds around one message, rounded up."""


DEFAULT_COMPLETION = 1024
"""Completion tokens to reserve for a call that sets no ``max_tokens``."""


def about(text: str) -> int:
    """Likely number of tokens of `text`: four characters a token, rounded up."""
    return -(-len(text) // 4)


def at_most(request: ChatRequest) -> int:
    """Cautious number of prompt tokens, for a reservation that must not be too small.

    Three UTF-8 bytes a token, plus `PER_MESSAGE` for each message. In ASCII text a byte
    is a character; other scripts take more tokens a character, and more bytes too.
    """
    size = sum(len(message.content.encode("utf-8", "replace")) for message in request.messages)
    return -(-size // 3) + PER_MESSAGE * len(request.messages)


def reservation(request: ChatRequest) -> int:
    """Tokens to set aside for a call: `at_most` and the longest completion it allows."""
    completion = DEFAULT_COMPLETION if request.max_tokens is None else request.max_tokens
    return at_most(request) + completion
