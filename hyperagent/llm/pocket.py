"""``pocket[:VARIANT]``: our own small models, shipped in the package, with a calculator.

A pocket model marks its sums, ``<<12-5=7>>7``. Where it has written ``<<12-5=``, the backend
writes ``7>>7`` itself, exactly, and the model goes on behind that.

The reply is therefore made in pieces. The engine is asked for text up to the next ``=``; the
next piece is asked for with all the text so far as prompt. Each call keeps one slot of the
engine, whose cache holds that text already, so a piece costs the reading of what was inserted.

Tokens are counted like this: ``completion_tokens`` are all tokens of the reply, those that the
model chose and those that were inserted, and ``max_tokens`` caps them all; the inserted ones
are told apart as ``inserted_tokens``, their number of times as ``calculations``.
``prompt_tokens`` count the prompt once, however many the pieces.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hyperagent.errors import BadReply, ConfigError, RequestRejected, UnknownNameError
from hyperagent.llm.calculator import evaluate, opened
from hyperagent.llm.dialect import Reader, cut_at_stop
from hyperagent.llm.gguf import Answer, GGUFBackend
from hyperagent.llm.types import Capabilities, ChatReply, ChatRequest, Message
from hyperagent.llm.weights import find, spec_of
from hyperagent.registry import split_spec

DEFAULT_CONTEXT = 1024
DEFAULT_PARALLEL = 32
DEFAULT_MAX_TOKENS = 256
DEFAULT_THREADS = 1
"""Threads wait for each other at every layer, busily: a second gains half on an idle machine,
and costs eight times the speed where another process wants its core."""
PIECE = 256
"""Tokens of a piece: how far an abandoned call may run on."""

_ENDS = ("<|im_end|>", "<|endoftext|>")
_SPREAD = 0x9E3779B1


class PocketBackend(GGUFBackend):
    """A pocket model.

    Temperature 0 where the request names none, and at most `DEFAULT_MAX_TOKENS` tokens: the
    models are made for short, greedy replies. Sampling is from the plain distribution, cut by
    ``top_p`` alone. Calls with a JSON schema go without the calculator.

    Parameters
    ----------
    variant : str
        Empty for the generalist, else as in ``weights.json``, e.g. ``"sums"``.
    calculator : bool
        False leaves all arithmetic to the model.
    directory : path, optional
        Folder with other weights and their ``weights.json``.
    context, parallel, timeout
        As for `GGUFBackend`.
    threads : int
        Threads for the arithmetic, whatever ``OMP_NUM_THREADS`` says.

    Attributes
    ----------
    calculations : int
        Values that the calculator has written so far, over all calls.

    Raises
    ------
    ConfigError
        If there is no such variant, or its file is not the one that was shipped.
    """

    def __init__(
        self,
        variant: str = "",
        *,
        calculator: bool = True,
        directory: str | Path | None = None,
        context: int = DEFAULT_CONTEXT,
        parallel: int = DEFAULT_PARALLEL,
        threads: int | None = None,
        timeout: float | None = None,
    ) -> None:
        weights = find(variant, directory)
        super().__init__(
            weights.path,
            context=context,
            parallel=parallel,
            threads=threads or DEFAULT_THREADS,
            timeout=timeout,
        )
        self.name = spec_of(variant)
        # Part of every cache key: other weights, or no calculator, are other replies.
        self.connection = f"{self.name}@{weights.sha256[:12]}{'' if calculator else ' bare'}"
        self.calculator = calculator
        self.calculations = 0
        self._slots = list(range(parallel))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, calculator={self.calculator})"

    def _load(self, **settings: Any) -> Any:
        # Prompts of earlier calls are not kept outside the slots: reading one anew is quick,
        # and llama.cpp would use up to 8 GiB for them.
        return super()._load(alias=self.path.stem, cache_ram_mib=0, **settings)

    def _run(self, request: ChatRequest, abandoned: threading.Event) -> Answer:
        if request.max_tokens is not None and request.max_tokens < 1:
            raise RequestRejected(f"{self.name}: max_tokens must be positive")
        # One slot a call: nobody else may take it, and its cache, between two pieces.
        slot = self._slots.pop()
        try:
            if request.schema is not None:
                return self._chat(_with_defaults(request), abandoned, id_slot=slot)
            writing = _Writing(_with_defaults(request), self.path.stem)
            while writing.finish is None and not abandoned.is_set():
                self._write(writing, slot, abandoned)
        finally:
            self._slots.append(slot)
        with self._lock:
            self.calculations += writing.calculations
        return writing

    def _write(self, writing: _Writing, slot: int, abandoned: threading.Event) -> None:
        """Add one piece to the reply."""
        # The engine does not say which stop text it met, so where there are others than "="
        # the text is watched as it comes. So it is with log-probabilities: the engine gives
        # none for a stop. Both take a third more time per token than whole pieces.
        watched = bool(writing.request.stop) or writing.request.logprobs is not None
        piece = _Piece(writing, watched, self.calculator)
        body = writing.body() | {"id_slot": slot}
        if watched:
            body |= {
                "stop": list(writing.request.stop),
                "stream": True,
                "stream_options": {"include_usage": True},
                "timings_per_token": True,
            }
        else:
            body |= {"stop": ["="] if self.calculator else [], "preserved_tokens": list(_ENDS)}

        def take(chunk: Mapping[str, Any]) -> bool:
            return piece.take(chunk) or abandoned.is_set()

        try:
            self._ask(self._loaded().handle_completions, body, take)
        except RequestRejected as error:
            if writing.pieces == 0 or "context size" not in str(error):
                raise
            writing.finish = "length"
            return
        if piece.ended is None and not abandoned.is_set():
            raise BadReply(f"{self.name}: the engine stopped in the middle of the reply")
        writing.add(piece, body["n_predict"])


class _Piece:
    """What the engine says in answer to one demand.

    Attributes
    ----------
    ended : {"stop", "length", "="} or None
        ``"="``: before an equals sign, which is not in `text`.
    """

    def __init__(self, writing: _Writing, watched: bool, calculator: bool) -> None:
        self._before, self._stops = writing.text, writing.request.stop
        self._watched, self._calculator = watched, calculator
        self.text = ""
        self.ended: str | None = None
        self._enough = False
        self.prompt = self.generated = self.cached = 0
        self.logprobs: list[Any] = []

    def take(self, chunk: Mapping[str, Any]) -> bool:
        """Take a chunk; True if no more of them are wanted."""
        try:
            for choice in chunk.get("choices") or ():
                self.logprobs += (choice.get("logprobs") or {}).get("content") or []
                self.ended = choice.get("finish_reason") or self.ended
                if self._watched:
                    self._watch(choice["text"])
                else:
                    self._whole(choice["text"])
            timings = chunk.get("timings")
            if timings:
                self.cached = timings["cache_n"]
                self.prompt = self.cached + timings["prompt_n"]
                self.generated = timings["predicted_n"]
        except (AttributeError, KeyError, TypeError) as error:
            raise BadReply(f"not a completion ({error!r}): {str(chunk)[:200]}") from None
        return self._enough

    def _whole(self, text: str) -> None:
        """Take all of the piece at once. What no end token ended, the equals sign did."""
        self.text = text
        for end in _ENDS:
            self.text = self.text.removesuffix(end)
        if self._calculator and self.ended == "stop" and self.text == text:
            self.ended = "="

    def _watch(self, text: str) -> None:
        """Take the next bit; it is enough at a sum to do, or at a stop text that began before."""
        begin = len(self.text)
        self.text += text
        while self._calculator and (at := self.text.find("=", begin)) >= 0:
            begin = at + 1
            if computed(self._before + self.text[:begin]) is not None:
                self.text, self.ended, self._enough = self.text[:at], "=", True
                return
        if text and self._stops and cut_across(self._before, self.text, self._stops) is not None:
            self.ended, self._enough = "stop", True


@dataclass
class _Writing:
    """A reply in the making."""

    request: ChatRequest
    model: str
    text: str = ""
    finish: str | None = None
    pieces: int = 0
    calculations: int = 0
    generated: int = 0
    inserted: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    logprobs: list[Any] = field(default_factory=list)
    _prompt: str = ""
    _pending: int = 0
    _known: int = 0
    _final: str | None = None

    def __post_init__(self) -> None:
        self._prompt = chatml(self.request.messages)

    @property
    def left(self) -> int:
        """Tokens that the reply may still have; what was inserted last has at most its bytes."""
        limit = self.request.max_tokens or DEFAULT_MAX_TOKENS
        return limit - self.generated - self.inserted - self._pending

    def body(self) -> dict[str, Any]:
        """The demand for the next piece."""
        request = self.request
        body: dict[str, Any] = {
            "prompt": self._prompt + self.text,
            "n_predict": 1 if self._final is not None else min(PIECE, self.left),
            "temperature": request.temperature,
        }
        if not request.temperature:
            body |= {"samplers": ["top_k"], "top_k": 1}
        elif request.top_p is not None:
            body |= {"samplers": ["top_p", "temperature"], "top_p": request.top_p}
        else:
            body["samplers"] = ["temperature"]
        if request.sample_seed is not None:
            # The same numbers for each piece would make each begin with the same luck.
            body["seed"] = (request.sample_seed + self.pieces * _SPREAD) & 0x7FFFFFFF
        if request.logprobs is not None:
            body["n_probs"] = max(1, request.logprobs)
        return body

    def add(self, piece: _Piece, asked: int) -> None:
        """Take a piece, write what the calculator has to say, and see whether that is all."""
        if self.pieces == 0:
            self.prompt_tokens, self.cached_tokens = piece.prompt, piece.cached
        elif self._pending:
            self.inserted += max(0, piece.prompt - self._known)
            self._pending = 0
        self.pieces += 1
        self.generated += piece.generated
        self._known = piece.prompt + piece.generated
        if self._final is not None:
            # That piece was only asked for to have the inserted tokens counted.
            self.text, self.finish = self._final, "stop"
            return
        self.logprobs += piece.logprobs
        cut = cut_across(self.text, piece.text, self.request.stop)
        self.text += piece.text
        if cut is not None:
            self.text, self.finish = cut, "stop"
        elif piece.ended == "=":
            self._calculate()
        elif piece.ended == "stop":
            self.finish = "stop"
        elif self.left < 1 or piece.generated < asked:
            # Fewer tokens than asked for: the context is full.
            self.finish = "length"

    def _calculate(self) -> None:
        value = computed(f"{self.text}=")
        insert = "=" if value is None else f"={value}>>{value}"
        # The equals sign itself was generated, and is counted.
        self._pending = len(insert) - 1
        if self.left < 1:
            # What is inserted might not fit into max_tokens; the reply ends before it.
            self.text, self.finish, self._pending = f"{self.text}=", "length", 0
            return
        self._final = cut_across(self.text, insert, self.request.stop)
        self.text += insert
        self.calculations += value is not None

    def reply(self, request: ChatRequest, seen: Capabilities, seconds: float) -> ChatReply:
        """The reply; see `Reader.reply`."""
        listed = None
        if request.logprobs is not None:
            count = request.logprobs
            listed = [p | {"top_logprobs": p["top_logprobs"][:count]} for p in self.logprobs]
        reader = Reader()
        reader.completion(
            {
                "model": self.model,
                "choices": [
                    {
                        "message": {"content": self.text},
                        "finish_reason": self.finish,
                        "logprobs": {"content": listed},
                    }
                ],
                "usage": {
                    "prompt_tokens": self.prompt_tokens,
                    "completion_tokens": self.generated + self.inserted,
                    "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
                },
            }
        )
        reply = reader.reply(request, seen, seconds)
        usage = replace(reply.usage, calculations=self.calculations, inserted_tokens=self.inserted)
        return replace(reply, usage=usage)


def cut_across(before: str, text: str, stops: tuple[str, ...]) -> str | None:
    """`before` and `text` up to the first stop text that ends in `text`, None without one."""
    longest = max(map(len, stops), default=0)
    if not longest:
        return None
    begin = max(0, len(before) - longest + 1)
    fresh = before[begin:] + text
    cut = cut_at_stop(fresh, stops)
    return None if cut == fresh else before[:begin] + cut


def computed(text: str) -> str | None:
    """Value of the mark that the last character of `text`, an equals sign, leaves open."""
    expression = opened(text, len(text) - 1)
    return None if expression is None else evaluate(expression)


def chatml(messages: tuple[Message, ...]) -> str:
    """The prompt, as the chat template in a pocket model renders it."""
    turns = [f"<|im_start|>{m.role}\n{m.content}<|im_end|>\n" for m in messages]
    return f"{''.join(turns)}<|im_start|>assistant\n"


def _with_defaults(request: ChatRequest) -> ChatRequest:
    return replace(
        request,
        temperature=request.temperature or 0.0,
        max_tokens=DEFAULT_MAX_TOKENS if request.max_tokens is None else request.max_tokens,
    )


_SWITCH = {"on": True, "off": False}


def create(
    rest: str,
    *,
    timeout: float | None = None,
    calculator: bool = True,
    directory: str | Path | None = None,
    context: int = DEFAULT_CONTEXT,
    parallel: int = DEFAULT_PARALLEL,
    threads: int | None = None,
    **_: Any,
) -> PocketBackend:
    """Backend for ``pocket[:VARIANT][,calculator=on|off]``."""
    first, *others = rest.split(",")
    variant, settings = ("", rest) if "=" in first else (first, ",".join(others))
    _, given = split_spec(f"pocket:{settings}")
    for name, wish in given.items():
        if name != "calculator":
            raise UnknownNameError("option of pocket", name, ["calculator"])
        if wish not in _SWITCH:
            raise ConfigError(f"pocket:{rest}: calculator is on or off, got {wish!r}")
        calculator = _SWITCH[wish]
    return PocketBackend(
        variant.strip(),
        calculator=calculator,
        directory=directory,
        context=context,
        parallel=parallel,
        threads=threads,
        timeout=timeout,
    )
