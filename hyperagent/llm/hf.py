"""``hf:PATH``: a model of transformers inside the process, from safetensors or a GGUF file.

A thread of its own runs the model. Calls that wait when it is free are decoded together, as
one batch; calls that come while it is busy form the next one.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hyperagent.errors import (
    BackendError,
    CallTimeout,
    ConfigError,
    NotFound,
    RequestRejected,
    ServerFailed,
)
from hyperagent.llm.calculator import evaluate
from hyperagent.llm.decoding import Evaluate, Row, decode
from hyperagent.llm.dialect import SeedWatch
from hyperagent.llm.gguf import checked_file
from hyperagent.llm.pocket import DEFAULT_MAX_TOKENS as POCKET_MAX_TOKENS
from hyperagent.llm.types import Capabilities, ChatReply, ChatRequest, Usage
from hyperagent.llm.weights import find

DEFAULT_PARALLEL = 16
DEFAULT_TIMEOUT = 600.0
GATHER = 0.005
"""Seconds to wait for more calls after the first: those made together come together."""


@dataclass(slots=True)
class _Call:
    """A call on its way through the thread."""

    request: ChatRequest
    row: Row | None = None
    future: Future[Row] = field(default_factory=Future)

    def fail(self, error: BackendError) -> None:
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)

    def done(self) -> None:
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(self.row)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """The model and what is needed to talk to it."""

    model: Any
    tokenizer: Any
    context: int
    ends: frozenset[int]
    pad: int
    temperature: float
    top_p: float


class HFBackend:
    """A causal language model of transformers, loaded at the first call.

    Nothing is fetched, nothing is unpickled, and no code that comes with a model is run.

    Parameters
    ----------
    path : str or Path
        A directory with ``config.json``, safetensors and a tokenizer, or a GGUF file.
    name : str, optional
        Default: ``hf:`` and the path.
    context : int, optional
        Tokens of prompt and reply together that one call may use. Default: what the model
        states.
    parallel : int
        Calls that are decoded together; more wait for the next batch.
    calculator : bool
        Complete every ``<<12-5=`` in a reply to ``<<12-5=7>>7``. What is written so counts
        as completion tokens.
    temperature : float, optional
        For requests that name none. Default: what the model's generation settings state, else 1.
    max_tokens : int, optional
        For requests that name none. Default: as many as the context holds.
    device : str, optional
        Default: a GPU if PyTorch sees one, else ``"cpu"``.
    timeout : float, optional
        Seconds for a whole call, waiting included.

    Raises
    ------
    ConfigError
        If transformers is not installed, or the path holds no model that can be loaded safely.

    Notes
    -----
    A JSON schema cannot be enforced; `capabilities` say so.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        context: int | None = None,
        parallel: int = DEFAULT_PARALLEL,
        calculator: bool = False,
        temperature: float | None = None,
        max_tokens: int | None = None,
        device: str | None = None,
        timeout: float | None = None,
    ) -> None:
        if find_spec("transformers") is None:
            raise ConfigError("hf: needs the extra 'hf': pip install 'hyperagent[hf]'")
        if parallel < 1:
            raise ConfigError(f"hf: parallel must be at least 1, got {parallel}")
        self.path = _checked(path)
        self.name = name or f"hf:{self.path}"
        # Part of every cache key: with a calculator, or other defaults, replies are others.
        self.connection = f"{self.name} {calculator=} {temperature=} {max_tokens=}"
        self.capabilities = Capabilities(
            streaming=False, usage=True, max_tokens=True, stop=True, schema=False, logprobs=True
        )
        self.timeout = timeout or DEFAULT_TIMEOUT
        self._context, self._parallel, self._device = context, parallel, device
        self._temperature, self._max_tokens = temperature, max_tokens
        self._evaluate: Evaluate | None = evaluate if calculator else None
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loaded: _Loaded | None = None
        self._seeds = SeedWatch()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Answer `request`; see `Backend.complete`."""
        start = time.perf_counter()
        limit = request.timeout or self.timeout
        call = _Call(request)
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._work, args=(self._calls,), name="hf", daemon=True
            )
            self._thread.start()
        self._calls.put(call)
        try:
            async with asyncio.timeout(limit):
                row = await asyncio.wrap_future(call.future)
        except TimeoutError:
            raise CallTimeout(f"{self.name}: no complete reply within {limit:g} s") from None
        finally:
            # The thread sees this before its next pass and frees the place in the batch.
            call.future.cancel()
        reply = ChatReply(
            row.text,
            Usage(
                len(row.prompt),
                len(row.ids),
                source="counted",
                calculations=row.calculations,
                inserted_tokens=row.inserted,
            ),
            self.path.name,
            row.finish,
            tuple(row.logprobs) if request.logprobs is not None else None,
            time.perf_counter() - start,
        )
        self._seeds.note(request, reply, self.capabilities)
        return reply

    async def aclose(self) -> None:
        """Finish the calls in flight, then free the model. A later call loads it again."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._calls.put(None)
            self._calls = queue.SimpleQueue()
            await asyncio.to_thread(thread.join)
        self._loaded = None

    def _work(self, calls: queue.SimpleQueue[_Call | None]) -> None:
        """Batch after batch, until the None that stands for the end."""
        ended = False
        while not ended:
            batch: list[_Call] = []
            call = calls.get()
            until = time.monotonic() + GATHER
            while call is not None:
                batch.append(call)
                if len(batch) == self._parallel:
                    break
                try:
                    call = calls.get(timeout=max(0.0, until - time.monotonic()))
                except queue.Empty:
                    break
            ended = call is None
            self._answer(batch)

    def _answer(self, batch: list[_Call]) -> None:
        """Run one batch; whatever happens, every call of it gets its end."""
        waiting: dict[Row, _Call] = {}
        try:
            if not all(call.future.cancelled() for call in batch):
                loaded = self._load()
                for call in batch:
                    try:
                        call.row = self._row(call.request, loaded)
                        waiting[call.row] = call
                    except BackendError as error:
                        call.fail(error)
                decode(
                    loaded.model,
                    list(waiting),
                    loaded.pad,
                    dropped=lambda row: waiting[row].future.cancelled(),
                    done=lambda row: waiting[row].done(),
                )
        except BackendError as error:
            self._fail(batch, error)
        except Exception as error:
            self._fail(batch, ServerFailed(f"{self.name}: {type(error).__name__}: {error}"))

    @staticmethod
    def _fail(batch: list[_Call], error: BackendError) -> None:
        for call in batch:
            if not call.future.done():
                call.fail(error)

    def _row(self, request: ChatRequest, loaded: _Loaded) -> Row:
        chat = [{"role": m.role, "content": m.content} for m in request.messages]
        try:
            text = loaded.tokenizer.apply_chat_template(
                chat, tokenize=False, add_generation_prompt=True
            )
            # The template has written every special token that belongs there.
            prompt = loaded.tokenizer.encode(text, add_special_tokens=False)
        # Templates refuse in their own ways, and a tokenizer refuses half a character.
        except Exception as error:
            raise RequestRejected(
                f"{self.name}: the messages cannot be written as a prompt: {error}"
            ) from None
        if not prompt:
            raise RequestRejected(f"{self.name}: the chat template makes an empty prompt")
        if request.max_tokens is None and self._max_tokens is not None:
            request = replace(request, max_tokens=self._max_tokens)
        room = loaded.context - len(prompt)
        if room < 1:
            raise RequestRejected(
                f"{self.name}: {len(prompt)} prompt tokens leave no room in a context of "
                f"{loaded.context}"
            )
        return Row(
            request,
            prompt,
            room=room,
            tokenizer=loaded.tokenizer,
            ends=loaded.ends,
            temperature=loaded.temperature if self._temperature is None else self._temperature,
            top_p=loaded.top_p,
            evaluate=self._evaluate,
        )

    def _load(self) -> _Loaded:
        if self._loaded is None:
            try:
                self._loaded = self._read()
            except BackendError:
                raise
            # Files can be wrong in more ways than transformers has exceptions for.
            except Exception as error:
                said = " ".join(str(error).split())[:300]
                raise NotFound(
                    f"{self.name}: transformers cannot load it ({type(error).__name__}: {said})"
                ) from None
        return self._loaded

    def _read(self) -> _Loaded:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        folder = self.path
        if self.path.is_file():
            folder, safe = self.path.parent, safe | {"gguf_file": self.path.name}
        bars = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, **safe)
            if not tokenizer.chat_template:
                raise NotFound(f"{self.name}: its tokenizer has no chat template")
            model = AutoModelForCausalLM.from_pretrained(
                folder,
                use_safetensors=True,
                dtype=torch.float32 if self.path.is_file() else "auto",
                **safe,
            )
        finally:
            if bars:
                logging.enable_progress_bar()
        device = self._device or ("cuda" if torch.cuda.is_available() else "cpu")
        model.eval().to(device)
        stated = model.generation_config
        ends = {tokenizer.eos_token_id}
        listed = stated.eos_token_id
        ends.update(listed if isinstance(listed, list) else [listed])
        ends.discard(None)
        most = getattr(model.config, "max_position_embeddings", None) or 4096
        pad = tokenizer.pad_token_id
        return _Loaded(
            model,
            tokenizer,
            min(most, self._context or most),
            frozenset(ends),
            0 if pad is None else pad,
            1.0 if stated.temperature is None else stated.temperature,
            1.0 if stated.top_p is None else stated.top_p,
        )


def _checked(path: str | Path) -> Path:
    """`path` as an absolute path of a model that can be loaded without running its code."""
    if not str(path):
        raise ConfigError("hf: needs a model directory or a GGUF file, e.g. hf:models/tiny")
    place = Path(path).expanduser().absolute()
    if not place.exists():
        raise ConfigError(f"hf: nothing at {place}; a directory or a GGUF file is expected")
    if place.is_file():
        try:
            return checked_file(place)
        except ConfigError as error:
            raise ConfigError(str(error).replace("gguf:", "hf:", 1)) from None
    if not (place / "config.json").is_file():
        raise ConfigError(f"hf: {place} has no config.json, so it is no transformers directory")
    if not any(place.glob("*.safetensors")):
        pickled = sorted(file.name for file in place.glob("*.bin"))
        why = f"; {pickled[0]} is pickled and never loaded: convert it" if pickled else ""
        raise ConfigError(f"hf: {place} has no weights in safetensors{why}")
    return place


def create(
    rest: str,
    *,
    timeout: float | None = None,
    context: int | None = None,
    parallel: int = DEFAULT_PARALLEL,
    calculator: bool | None = None,
    device: str | None = None,
    directory: str | Path | None = None,
    **_: Any,
) -> HFBackend:
    """Backend for ``hf:PATH``, and for ``hf:pocket[:VARIANT]``, the weights of this package.

    The latter has the calculator and the defaults of ``pocket``; `directory` is as there.
    """
    kind, _colon, variant = rest.partition(":")
    settings: dict[str, Any] = {
        "timeout": timeout,
        "context": context,
        "parallel": parallel,
        "device": device,
    }
    if kind != "pocket":
        return HFBackend(rest, calculator=bool(calculator), **settings)
    weights = find(variant, directory)
    return HFBackend(
        weights.path,
        name=f"hf:{weights.spec}",
        calculator=calculator is not False,
        temperature=0.0,
        max_tokens=POCKET_MAX_TOKENS,
        **settings,
    )
