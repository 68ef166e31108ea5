"""What goes to a language model and what comes back: plain frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

UsageSource = Literal["server", "counted", "estimated"]

PURPOSES = ("speak", "revise", "verify", "digest", "decide", "retry", "judge")
"""Why a call is made; every ledger row has one."""


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class CallContext:
    """Where a call belongs: copied onto its ledger row, never sent to a server.

    Attributes
    ----------
    run, task, topology : str
        Run name, task id, digest of the hypergraph.
    phase : int
    edges : tuple of str
        Hyperedges for whose boards the agent speaks, e.g. ``("e0", "e2")``.
    agent : str
        Agent id, without the sample mark.
    purpose : str
        One of `PURPOSES`.
    reads : tuple of str
        Nodes whose notes stand in the prompt. A replay refuses a call that reads.
    attempt : int
        Number of earlier tries of the same call; set by `Retry`.
    """

    run: str = ""
    task: str = ""
    topology: str = ""
    phase: int = 0
    edges: tuple[str, ...] = ()
    agent: str = ""
    purpose: str = "speak"
    reads: tuple[str, ...] = ()
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One call for one reply.

    Attributes
    ----------
    messages : tuple of Message
    temperature, top_p : float or None
        None leaves the server's default.
    max_tokens : int or None
        Cap on completion tokens.
    stop : tuple of str
    seed : int or None
    schema : mapping or None
        JSON schema that the reply must obey, where the backend can enforce it.
    logprobs : int or None
        Ask for the log-probabilities of this many alternatives per token.
    stream : bool
        Read the reply as it is generated. The result is the same `ChatReply`.
    timeout : float or None
        Seconds for the whole call; None is the backend's own limit.
    sample : int
        Index of an independent sample of the same request. Part of every cache key,
        so that k samples are k replies.
    context : CallContext
        Bookkeeping; does not change the reply of a live model.
    """

    messages: tuple[Message, ...]
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    schema: Mapping[str, Any] | None = None
    logprobs: int | None = None
    stream: bool = False
    timeout: float | None = None
    sample: int = 0
    context: CallContext = field(default_factory=CallContext)

    @property
    def text(self) -> str:
        """All message contents, joined; what token estimates count."""
        return "\n".join(message.content for message in self.messages)

    @property
    def sample_seed(self) -> int | None:
        """Seed to send to a server: `seed` itself for sample 0, another for each sample.

        The samples of a seeded request would otherwise all be the same reply. The index
        is spread by an odd constant, so that sample 1 of seed 0 is not sample 0 of seed 1.
        """
        if self.seed is None:
            return None
        return (self.seed ^ (self.sample * 0x9E3779B1)) & 0x7FFFFFFF if self.sample else self.seed


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one call. None means unknown, which is not 0.

    Attributes
    ----------
    prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens : int or None
        Cached tokens are part of the prompt's, reasoning tokens part of the completion's.
    source : {"server", "counted", "estimated"} or None
        Reported by the server, counted with the model's tokenizer, or estimated from
        the number of characters.
    calculations : int
        Values that the backend's calculator wrote into the reply.
    inserted_tokens : int
        Tokens of those values: part of the completion's, though the model did not choose them.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    source: UsageSource | None = None
    calculations: int = 0
    inserted_tokens: int = 0

    @property
    def total_tokens(self) -> int | None:
        """Prompt and completion tokens together, None if either is unknown."""
        if self.prompt_tokens is None or self.completion_tokens is None:
            return None
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One generated token and its log-probability (natural logarithm)."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ChatReply:
    """One reply.

    Attributes
    ----------
    text : str
    usage : Usage
    model : str
        The model as the server names it.
    finish_reason : str or None
        ``"stop"``, ``"length"``, … as the server states it.
    logprobs : tuple of TokenLogprob or None
    seconds : float
        Wall time of the call.
    cached : bool
        True if the reply came from our cache and was not paid for again.
    """

    text: str
    usage: Usage = field(default_factory=Usage)
    model: str = ""
    finish_reason: str | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None
    seconds: float = 0.0
    cached: bool = False


@dataclass(slots=True)
class Capabilities:
    """What a backend was seen to do. None: not yet known.

    Servers drop fields without a word, so this records observations, not promises:
    a backend calls `observe` when a reply shows that a field was obeyed or ignored.
    `sampling` is whether different samples of one request can be different replies.
    """

    streaming: bool | None = None
    usage: bool | None = None
    stream_usage: bool | None = None
    max_tokens: bool | None = None
    stop: bool | None = None
    seed: bool | None = None
    schema: bool | None = None
    logprobs: bool | None = None
    sampling: bool | None = None
    warnings: list[str] = field(default_factory=list)

    def observe(self, name: str, works: bool, warning: str = "") -> bool:
        """Note that field `name` works or is ignored; True if that is news.

        A warning is kept once, at the first observation that the field does not work.
        """
        if not works and getattr(self, name) is not False:
            setattr(self, name, False)
            if warning:
                self.warnings.append(warning)
            return True
        if works and getattr(self, name) is None:
            setattr(self, name, True)
            return True
        return False


@runtime_checkable
class Backend(Protocol):
    """A language model that answers one request with one reply.

    Everything that talks to a model has this shape, wrappers too, so they compose.
    """

    name: str
    """Spec string, e.g. ``"openai:gpt-4o-mini"``."""
    connection: str
    """Key of the quota that calls share, e.g. the server's address and model."""
    capabilities: Capabilities

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Answer `request`.

        Raises
        ------
        BackendError
            One of its subclasses, for everything that goes wrong with the call.
        """
        ...

    async def aclose(self) -> None:
        """Release sockets, threads and memory. Harmless when called twice."""
        ...
