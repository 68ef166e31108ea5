"""The OpenAI chat dialect, without any transport: requests out, replies in, what was ignored.

llama.cpp inside the process and any server over HTTP speak it, so both read replies here.
Servers drop fields without a word; `Reader.reply` compares what came with what was asked
and notes the difference in the backend's `Capabilities`.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from hyperagent.errors import BadReply
from hyperagent.llm.estimate import about
from hyperagent.llm.types import Capabilities, ChatReply, ChatRequest, TokenLogprob, Usage


def request_body(
    request: ChatRequest, model: str, *, limit_field: str = "max_tokens"
) -> dict[str, Any]:
    """`request` as the JSON object of ``/chat/completions``.

    Parameters
    ----------
    request : ChatRequest
    model : str
    limit_field : {"max_tokens", "max_completion_tokens"}
        How this server calls the cap on completion tokens.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": m.role, "content": m.content} for m in request.messages],
    }
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.top_p is not None:
        body["top_p"] = request.top_p
    if request.max_tokens is not None:
        body[limit_field] = request.max_tokens
    if request.stop:
        body["stop"] = list(request.stop)
    if request.seed is not None:
        body["seed"] = request.sample_seed
    if request.logprobs is not None:
        body["logprobs"] = True
        body["top_logprobs"] = request.logprobs
    if request.schema is not None:
        # Strict mode is an error, not a wish, for schemas that leave properties open.
        strict = request.schema.get("additionalProperties") is False
        form = {"name": "reply", "schema": dict(request.schema), "strict": strict}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    if request.stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    return body


class Reader:
    """Collects one reply, whole or chunk by chunk.

    Attributes
    ----------
    finish_reason : str or None
        None until a chunk, or the whole reply, stated one.
    size : int
        Characters of text so far.
    started : bool
        Whether anything of a reply came at all.
    """

    __slots__ = ("_logprobs", "_pieces", "_usage", "finish_reason", "model", "size", "started")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._logprobs: list[TokenLogprob] | None = None
        self._usage: Any = None
        self.finish_reason: str | None = None
        self.model = ""
        self.size = 0
        self.started = False

    def completion(self, data: Mapping[str, Any]) -> None:
        """Take a whole ``chat.completion`` object."""
        choices = data.get("choices")
        if not isinstance(choices, list) or not choices:
            raise BadReply(f"a reply without choices: {_short(data)}")
        self._take(data, "message")

    def chunk(self, data: Mapping[str, Any]) -> None:
        """Take one ``chat.completion.chunk`` object; the last one may have no choice."""
        self._take(data, "delta")

    def _take(self, data: Mapping[str, Any], part: str) -> None:
        try:
            for choice in data.get("choices") or ():
                if choice.get("index", 0) != 0:
                    continue
                message = choice[part] or {}
                content = message.get("content")
                if content is None:
                    content = message.get("refusal") or ""
                if not isinstance(content, str):
                    raise BadReply(f"reply content is not text: {_short(content)}")
                self.started = True
                self.size += len(content)
                self._pieces.append(content)
                self.finish_reason = choice.get("finish_reason") or self.finish_reason
                listed = (choice.get("logprobs") or {}).get("content")
                if listed:
                    self._logprobs = (self._logprobs or []) + [_logprob(item) for item in listed]
            # Some servers send running totals with every chunk: only the last one counts.
            self._usage = data.get("usage") or self._usage
            self.model = data.get("model") or self.model
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BadReply(f"not a chat completion ({error!r}): {_short(data)}") from None

    def reply(self, request: ChatRequest, seen: Capabilities, seconds: float) -> ChatReply:
        """The reply to `request`, with what the server ignored made good where possible.

        Parameters
        ----------
        request : ChatRequest
        seen : Capabilities
            Receives what the reply shows about the server.
        seconds : float
            Wall time of the call.
        """
        text, finish = _sound("".join(self._pieces)), self.finish_reason
        usage = self._counted(request, text, seen)
        if request.stream:
            seen.observe("streaming", True)
        if request.max_tokens is not None:
            self._check_limit(request.max_tokens, usage, seen)
        if request.stop:
            cut = cut_at_stop(text, request.stop)
            if cut != text:
                text, finish = cut, "stop"
                seen.observe("stop", False, "stop texts stay in the reply; cut here")
        if request.schema is not None and finish != "length":
            obeyed = obeys(text, request.schema)
            seen.observe("schema", obeyed, "replies do not obey the JSON schema that was sent")
        if request.logprobs is not None:
            given = self._logprobs is not None
            seen.observe("logprobs", given, "log-probabilities were asked for and not sent")
        logprobs = None if self._logprobs is None else tuple(self._logprobs)
        return ChatReply(text, usage, str(self.model), finish, logprobs, seconds)

    def _counted(self, request: ChatRequest, text: str, seen: Capabilities) -> Usage:
        name = "stream_usage" if request.stream else "usage"
        usage = read_usage(self._usage, text)
        if usage is not None:
            seen.observe(name, True)
            return usage
        what = "with streamed replies" if request.stream else "with replies"
        seen.observe(name, False, f"no believable token usage {what}; estimated from characters")
        return Usage(about(request.text), about(text), source="estimated")

    def _check_limit(self, limit: int, usage: Usage, seen: Capabilities) -> None:
        used = usage.completion_tokens or 0
        if usage.source == "server" and used > limit:
            seen.observe("max_tokens", False, f"max_tokens ignored: {used} came, {limit} asked")
        elif self.finish_reason == "length":
            seen.observe("max_tokens", True)


def read_usage(data: Any, text: str) -> Usage | None:
    """Usage as a server reports it, or None if it cannot be true.

    Zero tokens for a prompt, or for a reply that has text, are not believed.
    """
    if not isinstance(data, Mapping):
        return None
    prompt, completion = _count(data, "prompt_tokens"), _count(data, "completion_tokens")
    if not prompt or completion is None or (text and not completion):
        return None
    cached = _count(data.get("prompt_tokens_details"), "cached_tokens")
    reasoning = _count(data.get("completion_tokens_details"), "reasoning_tokens")
    return Usage(prompt, completion, cached, reasoning, "server")


def _count(data: Any, name: str) -> int | None:
    value = data.get(name) if isinstance(data, Mapping) else None
    return value if type(value) is int and value >= 0 else None


def cut_at_stop(text: str, stops: tuple[str, ...]) -> str:
    """`text` up to the first of the stop texts."""
    found = [at for stop in stops if stop and (at := text.find(stop)) >= 0]
    return text[: min(found)] if found else text


def obeys(text: str, schema: Mapping[str, Any]) -> bool:
    """Whether `text` is JSON of the schema's kind with all required keys.

    A shallow look: enough to tell a server that enforces schemas from one that drops them.
    """
    try:
        value = json.loads(text)
    except ValueError:
        return False
    if schema.get("type", "object") != "object":
        return True
    return isinstance(value, dict) and set(schema.get("required", ())) <= value.keys()


def _sound(text: str) -> str:
    """`text` with pairs of surrogates joined and lone ones replaced.

    JSON can spell half a character. No later request could carry it, so that one such reply
    would fail everybody who reads it.
    """
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _logprob(item: Mapping[str, Any]) -> TokenLogprob:
    top = tuple((str(t["token"]), float(t["logprob"])) for t in item.get("top_logprobs") or ())
    return TokenLogprob(str(item["token"]), float(item["logprob"]), top)


def _short(data: Any) -> str:
    text = str(data)
    return text if len(text) <= 200 else text[:200] + "…"


class SeedWatch:
    """Tells whether a server honours seeds: the same seeded request must repeat itself.

    Remembers the texts of the last `size` seeded requests and nothing else.
    """

    def __init__(self, size: int = 256) -> None:
        self._size = size
        self._texts: OrderedDict[Any, int] = OrderedDict()

    def note(self, request: ChatRequest, reply: ChatReply, seen: Capabilities) -> None:
        """Compare `reply` with the last one to the same request."""
        if request.seed is None:
            return
        key = (
            request.messages,
            request.sample_seed,
            request.temperature,
            request.top_p,
            request.max_tokens,
            request.stop,
            request.schema is None,
        )
        text = hash(reply.text)
        before = self._texts.pop(key, None)
        self._texts[key] = text
        if before is None:
            if len(self._texts) > self._size:
                self._texts.popitem(last=False)
        elif before != text:
            seen.observe("seed", False, "the same seed gave different replies")
        elif request.temperature != 0:
            seen.observe("seed", True)
