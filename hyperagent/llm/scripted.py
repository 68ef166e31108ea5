"""A test double that says what it was told to say."""

from __future__ import annotations

import itertools
import re
import secrets
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hyperagent.errors import ConfigError, NotRecorded
from hyperagent.llm.types import Capabilities, ChatReply, ChatRequest, Usage

Line = str | ChatReply | BaseException
"""One scripted outcome: a text, a whole reply, or an error to raise."""


class ScriptedBackend:
    """Replies from a script, in the order of the calls; opens no socket.

    Parameters
    ----------
    replies : str, sequence, or mapping
        A string is said every time. The members of a sequence (a text, a `ChatReply` or
        an exception to raise) are said once each. A mapping gives each agent
        (``request.context.agent``) its own script of either kind.
    name : str
    connection : str, optional
        Unique by default, so that a cache never mixes up two scripts.

    Attributes
    ----------
    calls : int
        Calls so far.
    requests : deque of ChatRequest
        The latest 1,000 of them.

    Examples
    --------
    >>> ScriptedBackend(["The answer is 3.", "The answer is 4."])  # doctest: +ELLIPSIS
    <hyperagent.llm.scripted.ScriptedBackend object at ...>
    """

    def __init__(
        self,
        replies: str | Sequence[Line] | Mapping[str, str | Sequence[Line]],
        *,
        name: str = "scripted",
        connection: str | None = None,
    ) -> None:
        self.name = name
        self.connection = connection or unique_connection("scripted")
        self.capabilities = double_capabilities()
        self.calls = 0
        self.requests: deque[ChatRequest] = deque(maxlen=1000)
        self._by_agent = isinstance(replies, Mapping)
        parts = replies if isinstance(replies, Mapping) else {"": replies}
        self._scripts: dict[str, Iterator[Line]] = {
            agent: itertools.repeat(part) if isinstance(part, str) else iter(part)
            for agent, part in parts.items()
        }

    async def complete(self, request: ChatRequest) -> ChatReply:
        """The next line of the script.

        Raises
        ------
        NotRecorded
            If the script is at its end or has no part for the agent.
        """
        self.calls += 1
        self.requests.append(request)
        agent = request.context.agent if self._by_agent else ""
        if agent not in self._scripts:
            raise NotRecorded(f"the script has no part for agent {agent!r}")
        line = next(self._scripts[agent], None)
        if line is None:
            part = f" for agent {agent!r}" if agent else ""
            raise NotRecorded(f"the script{part} is at its end (call {self.calls})")
        if isinstance(line, BaseException):
            raise line
        return finish(line, request, self.name)

    async def aclose(self) -> None:
        """Nothing to release."""


def scripted(rest: str, **options: Any) -> ScriptedBackend:
    """``scripted:TEXT``: a backend that always says TEXT."""
    if not rest:
        raise ConfigError("write scripted:TEXT, where TEXT is what it shall always say")
    name = f"scripted:{rest}"
    # The text is the whole backend, so a later process may take its replies from a cache.
    return ScriptedBackend(rest, name=name, connection=name)


def unique_connection(kind: str) -> str:
    """A connection key that no other backend has, in no process: a cache may outlive this one."""
    return f"{kind}#{secrets.token_hex(8)}"


def double_capabilities() -> Capabilities:
    """What `finish` does: obey ``stop`` and ``max_tokens``, count words as tokens."""
    return Capabilities(
        streaming=False, usage=True, max_tokens=True, stop=True, schema=False, logprobs=False
    )


def finish(line: str | ChatReply, request: ChatRequest, model: str) -> ChatReply:
    """Reply with the text `line`; a `ChatReply` passes unchanged.

    A token is a word between white space. The text ends before the first ``stop`` string
    and after ``max_tokens`` words.
    """
    if isinstance(line, ChatReply):
        return line
    text, reason = line, "stop"
    for stop in request.stop:
        text = text.partition(stop)[0]
    words = len(text.split())
    if request.max_tokens is not None and words > request.max_tokens:
        kept = itertools.islice(re.finditer(r"\S+", text), request.max_tokens)
        text = text[: max((match.end() for match in kept), default=0)]
        words, reason = request.max_tokens, "length"
    prompt = sum(len(message.content.split()) for message in request.messages)
    return ChatReply(text, Usage(prompt, words, source="counted"), model, reason)
