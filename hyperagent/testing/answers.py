"""What the loopback server says: good answers, and every bad one seen in the wild."""

from __future__ import annotations

import json
import random
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, Literal

Body = Mapping[str, Any]

_SPEECH = (
    "so we add the two numbers and get a sum of apples then each friend takes half which "
    "leaves three coins in the box café naïve Größe 北京 🙂 therefore the answer must be "
    "eighteen because nothing else is left over after lunch on Monday"
)
_WORDS = _SPEECH.split()


@dataclass(frozen=True, slots=True)
class Answer:
    """How one HTTP request is answered.

    Attributes
    ----------
    status : int
    headers : tuple of (str, str)
        Sent besides the usual ones.
    text : str or None
        The model's reply; None lets the server make one up that obeys the request.
    body : bytes or None
        Sent as it is, in place of a completion.
    delay : float
        Seconds before the first byte.
    pause : float
        Seconds between two pieces of the body.
    pieces : int
        Bytes per write; 0 writes everything at once.
    cut : float or None
        Share of the body after which the connection is closed.
    unfinished : bool
        End a stream in good order, but without a finish reason, usage or ``[DONE]``.
    usage : {"right", "wrong", "missing"}
    ignores : frozenset of str
        Request fields that are dropped without a word: stop, max_tokens, seed,
        response_format, logprobs, stream_options.
    """

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    text: str | None = None
    body: bytes | None = None
    delay: float = 0.0
    pause: float = 0.0
    pieces: int = 0
    cut: float | None = None
    unfinished: bool = False
    usage: Literal["right", "wrong", "missing"] = "right"
    ignores: frozenset[str] = frozenset()


def failure(status: int, message: str, *headers: tuple[str, str]) -> Answer:
    """An error in the OpenAI dialect."""
    error = {"error": {"message": message, "type": "error", "code": status}}
    return Answer(status=status, headers=headers, body=json.dumps(error).encode())


def rate_limited(seconds: float, how: str = "seconds") -> Answer:
    """A 429 that asks for a pause, stated in ``seconds``, in ``ms``, as a ``date``, or not."""
    headers: dict[str, tuple[tuple[str, str], ...]] = {
        "seconds": (("Retry-After", f"{seconds:g}"),),
        "ms": (("retry-after-ms", f"{seconds * 1000:g}"),),
        # The date has a resolution of one second; rounding up never asks for less.
        "date": (("Retry-After", formatdate(time.time() + seconds + 0.999, usegmt=True)),),
        "none": (),
    }
    return failure(429, "slow down", *headers[how])


def misbehaviours() -> dict[str, Answer]:
    """Every way to answer badly, by name. Fresh each time: some hold a date."""
    return {
        "429 seconds": rate_limited(1),
        "429 ms": rate_limited(0.25, "ms"),
        "429 date": rate_limited(1, "date"),
        "429 none": rate_limited(0, "none"),
        "500": failure(500, "something broke"),
        "503": failure(503, "loading model", ("Retry-After", "1")),
        "400": failure(400, "bad field"),
        "401": failure(401, "Incorrect API key provided"),
        "403": failure(403, "forbidden"),
        "404": failure(404, "no such model"),
        "422": failure(422, "unprocessable"),
        "slow": Answer(delay=30.0),
        "half body": Answer(cut=0.5),
        "half stream": Answer(cut=0.5, pieces=64),
        "unfinished stream": Answer(unfinished=True),
        "closed": Answer(cut=0.0),
        "wrong usage": Answer(usage="wrong"),
        "missing usage": Answer(usage="missing"),
        "1 MB": Answer(text="word " * 200_000),
        "16 MB": Answer(body=b'{"choices": "' + b"x" * (16 << 20) + b'"}'),
        "invalid UTF-8": Answer(body=b'{"choices":[{"message":{"content":"\xff\xfe"}}]}'),
        "not JSON": Answer(body=b"<html>it works</html>"),
        "not a completion": Answer(body=b'{"object":"list","data":[]}'),
        "empty": Answer(body=b""),
        "200 with an error": Answer(body=b'{"error":{"message":"overloaded","code":503}}'),
    }


@dataclass(frozen=True, slots=True)
class Generation:
    """One made-up reply."""

    tokens: tuple[str, ...]
    finish_reason: str
    prompt_tokens: int

    @property
    def text(self) -> str:
        """All tokens, joined."""
        return "".join(self.tokens)


def generate(body: Body, answer: Answer, reply: Callable[[Body], str] | None) -> Generation:
    """Make up a reply that obeys `body` in everything that `answer` does not ignore.

    A token is a word with the space before it. With a seed or at temperature 0 the reply
    is a function of the request; without, it is random.
    """
    ignored = answer.ignores
    if answer.text is not None:
        text = answer.text
    elif reply is not None:
        text = reply(body)
    elif body.get("response_format") and "response_format" not in ignored:
        text = json.dumps(_instance(body["response_format"]["json_schema"]["schema"]))
    else:
        text = _words(body, ignored)
    tokens = _tokens(text)
    finish = "stop"
    limit = body.get("max_tokens") or body.get("max_completion_tokens")
    if limit and len(tokens) > limit and "max_tokens" not in ignored:
        tokens, finish = tokens[:limit], "length"
    stops = () if "stop" in ignored else body.get("stop") or ()
    text = "".join(tokens)
    found = [at for stop in stops if (at := text.find(stop)) >= 0]
    if found:
        tokens, finish = _tokens(text[: min(found)]), "stop"
    prompt = sum(len(m["content"].split()) + 4 for m in body["messages"])
    return Generation(tuple(tokens), finish, prompt)


def _tokens(text: str) -> list[str]:
    words = text.split(" ")
    return [words[0], *(" " + word for word in words[1:])] if text else []


def _words(body: Body, ignored: frozenset[str]) -> str:
    seed = None if "seed" in ignored else body.get("seed")
    if seed is None and body.get("temperature") != 0:
        rng = random.Random()
    else:
        prompt = "\x00".join(message["content"] for message in body["messages"])
        spread = seed if body.get("temperature") != 0 else 0
        rng = random.Random(zlib.crc32(prompt.encode("utf-8", "replace")) ^ ((spread or 0) << 32))
    return " ".join(rng.choices(_WORDS, k=24))


def _instance(schema: Body) -> Any:
    """The dullest value that obeys a JSON schema."""
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    kind = schema.get("type", "object")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "object":
        properties = schema.get("properties", {})
        return {key: _instance(properties[key]) for key in properties}
    plain: dict[str, Any] = {"array": [], "integer": 1, "number": 0.5, "boolean": True}
    return plain.get(kind, None if kind == "null" else "so be it")


def completion(body: Body, answer: Answer, said: Generation) -> dict[str, Any]:
    """`said` as a ``chat.completion`` object."""
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": said.text},
        "finish_reason": said.finish_reason,
    }
    if body.get("logprobs") and "logprobs" not in answer.ignores:
        choice["logprobs"] = _logprobs(body, said.tokens)
    reply = _envelope(body, "chat.completion") | {"choices": [choice]}
    if answer.usage != "missing":
        reply["usage"] = _usage(answer, said)
    return reply


def chunks(body: Body, answer: Answer, said: Generation) -> list[bytes]:
    """`said` as server-sent events, one token each."""
    base = _envelope(body, "chat.completion.chunk")

    def event(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, **more}
        return _event(base | {"choices": [choice]})

    logprobs = bool(body.get("logprobs")) and "logprobs" not in answer.ignores
    events = [event({"role": "assistant", "content": ""})]
    for token in said.tokens:
        more = {"logprobs": _logprobs(body, (token,))} if logprobs else {}
        events.append(event({"content": token}, **more))
    if answer.unfinished:
        return events[: len(events) // 2 + 1]
    events.append(event({}, said.finish_reason))
    asked = (body.get("stream_options") or {}).get("include_usage")
    if asked and answer.usage != "missing" and "stream_options" not in answer.ignores:
        events.append(_event(base | {"choices": [], "usage": _usage(answer, said)}))
    events.append(b"data: [DONE]\n\n")
    return events


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"


def _envelope(body: Body, kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 0, "model": body.get("model", "")}


def _usage(answer: Answer, said: Generation) -> dict[str, Any]:
    if answer.usage == "wrong":
        return {"prompt_tokens": 0, "completion_tokens": -1, "total_tokens": 0}
    counts = {"prompt_tokens": said.prompt_tokens, "completion_tokens": len(said.tokens)}
    return counts | {"total_tokens": sum(counts.values())}


def _logprobs(body: Body, tokens: tuple[str, ...]) -> dict[str, Any]:
    others = range(body.get("top_logprobs") or 0)
    return {
        "content": [
            {
                "token": token,
                "logprob": -0.5,
                "top_logprobs": [
                    {"token": token if i == 0 else f"{token}{i}", "logprob": -0.5 - i}
                    for i in others
                ],
            }
            for token in tokens
        ]
    }
