"""A test double that computes its reply."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

from hyperagent.errors import ConfigError
from hyperagent.llm.scripted import double_capabilities, finish, unique_connection
from hyperagent.llm.types import ChatReply, ChatRequest

Answer = str | ChatReply


class FunctionBackend:
    """A Python function as a language model; opens no socket.

    Parameters
    ----------
    function : callable
        Plain or async; takes the `ChatRequest`, gives a text or a `ChatReply`, or raises.
    name : str
    connection : str, optional
        Unique by default, so that a cache never mixes up two functions.

    Attributes
    ----------
    calls : int
        Calls so far.
    """

    def __init__(
        self,
        function: Callable[[ChatRequest], Answer | Awaitable[Answer]],
        *,
        name: str = "function",
        connection: str | None = None,
    ) -> None:
        self.function = function
        self.name = name
        self.connection = connection or unique_connection("function")
        self.capabilities = double_capabilities()
        self.calls = 0

    async def complete(self, request: ChatRequest) -> ChatReply:
        """What the function answers to `request`."""
        self.calls += 1
        answer = self.function(request)
        if inspect.isawaitable(answer):
            answer = await answer
        return finish(answer, request, self.name)

    async def aclose(self) -> None:
        """Nothing to release."""


def function(rest: str, **options: Any) -> FunctionBackend:
    """``function:MODULE:NAME``: a function that can be imported."""
    module, _, attribute = rest.partition(":")
    if not module or not attribute:
        raise ConfigError(f"write function:MODULE:NAME, got 'function:{rest}'")
    try:
        target = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"function:{rest} cannot be imported: {error}") from error
    if not callable(target):
        raise ConfigError(f"function:{rest} is no function but {type(target).__name__}")
    name = f"function:{rest}"
    # The same in every process, so that a killed run finds the replies that it was given.
    return FunctionBackend(target, name=name, connection=name)
