"""Our own decoding loop for transformers models: many replies at once, each its own way.

One row is one reply. Rows share the passes through the model and nothing else: each has its
settings, its random numbers and its end, and leaves the batch when it has come to it.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hyperagent.llm.calculator import opened
from hyperagent.llm.dialect import cut_at_stop
from hyperagent.llm.types import ChatRequest, TokenLogprob

if TYPE_CHECKING:
    from torch import Tensor

Evaluate = Callable[[str], str | None]
"""The value of an expression such as ``"12-5"``, or None if it has none."""

_HALF = "\ufffd"
"""What a character shows as while its last bytes are still to come."""


class Row:
    """One reply in the making.

    Parameters
    ----------
    request : ChatRequest
    prompt : list of int
        Token ids of the whole prompt, at least one.
    room : int
        Tokens that fit between the prompt and the end of the context.
    tokenizer
        Of transformers.
    ends : frozenset of int
        Tokens that end a reply.
    temperature, top_p : float
        Used where the request says nothing.
    evaluate : callable, optional
        Calculator: an expression ``<<12-5=`` in the reply is completed to ``<<12-5=7>>7``.

    Attributes
    ----------
    ids : list of int
        Tokens of the reply so far; one that ended it counts.
    text : str
    finish : str or None
        ``"stop"`` or ``"length"`` once the reply is complete.
    logprobs : list of TokenLogprob
        Filled if the request asks for them.
    calculations, inserted : int
        Values that the calculator wrote, and the tokens of them; they are among `ids`.
    """

    def __init__(
        self,
        request: ChatRequest,
        prompt: list[int],
        *,
        room: int,
        tokenizer: Any,
        ends: frozenset[int],
        temperature: float = 1.0,
        top_p: float = 1.0,
        evaluate: Evaluate | None = None,
    ) -> None:
        import torch

        self.request, self.prompt = request, prompt
        self.ids: list[int] = []
        self.text = ""
        self.logprobs: list[TokenLogprob] = []
        self.limit = room if request.max_tokens is None else min(room, request.max_tokens)
        self.finish: str | None = None if self.limit > 0 else "length"
        self._tokenizer, self._ends, self._evaluate = tokenizer, ends, evaluate
        asked = request.temperature
        self._temperature = temperature if asked is None else asked
        self._top_p = top_p if request.top_p is None else request.top_p
        self._generator = torch.Generator()
        seed = request.sample_seed
        if seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(seed % 2**63)
        self.calculations = self.inserted = 0
        self._forced: deque[int] = deque()
        # Text up to token `_read` is settled; decoding starts at `_start`, some tokens before,
        # because what a token looks like can depend on its neighbours.
        self._start = self._read = 0

    def step(self, logits: Tensor) -> None:
        """Choose the next token from `logits`, float32 of shape (vocabulary,)."""
        forced = bool(self._forced)
        self.inserted += forced
        token = self._forced.popleft() if forced else self._choose(logits)
        if token in self._ends:
            self._settle(last=True)
            self.ids.append(token)
            self.finish = "stop"
            return
        before = self.text, self._start, self._read
        self.ids.append(token)
        self._settle()
        if self._stopped(len(before[0])):
            self.finish = "stop"
        elif not forced and self._evaluate is not None:
            value = self._value(len(before[0]))
            if value is not None:
                self.calculations += 1
                # The token that brought the "=" is taken back and written anew with the value.
                piece = self.text[len(before[0]) :].partition("=")[0]
                self.ids.pop()
                self.text, self._start, self._read = before
                self._forced.extend(self._written(f"{piece}={value}>>{value}"))
                token = self._forced.popleft()
                self.ids.append(token)
                self._settle()
                if self._stopped(len(before[0])):
                    self.finish = "stop"
        if self.request.logprobs is not None:
            self.logprobs.append(self._logprob(logits, token, self.request.logprobs))
        if self.finish is None and len(self.ids) >= self.limit:
            self._settle(last=True)
            self.finish = "length"

    def _choose(self, logits: Tensor) -> int:
        import torch

        if self._temperature <= 0:
            return int(logits.argmax())
        chances = torch.softmax(logits / self._temperature, dim=-1)
        if self._top_p < 1:
            chances, order = chances.sort(descending=True)
            # Up to and with the token that reaches the share; the likeliest always stays.
            chances[chances.cumsum(0) - chances >= max(self._top_p, 1e-9)] = 0.0
            return int(order[torch.multinomial(chances, 1, generator=self._generator)])
        return int(torch.multinomial(chances, 1, generator=self._generator))

    def _stopped(self, old: int) -> bool:
        """Whether a stop text has come; the reply is then cut before it."""
        stops = self.request.stop
        if not stops:
            return False
        begin = max(0, old - max(map(len, stops)))
        fresh = self.text[begin:]
        cut = cut_at_stop(fresh, stops)
        self.text = self.text[:begin] + cut
        return cut != fresh

    def _value(self, old: int) -> str | None:
        """Value of the expression that the newest piece of text has closed with ``=``."""
        expression = opened(self.text, old)
        if expression is None or self._evaluate is None:
            return None
        return self._evaluate(expression)

    def _settle(self, last: bool = False) -> None:
        """Bring `text` up to date; what is half a character waits, and is dropped at the end."""
        seen = self._decoded(self.ids[self._start : self._read])
        now = self._decoded(self.ids[self._start :])
        if len(now) > len(seen) and (last or not now.endswith(_HALF)):
            self.text += now[len(seen) :].removesuffix(_HALF)
            self._start, self._read = self._read, len(self.ids)

    def _decoded(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def _written(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids

    def _logprob(self, logits: Tensor, token: int, count: int) -> TokenLogprob:
        import torch

        logs = torch.log_softmax(logits, dim=-1)
        values, ids = logs.topk(min(count, len(logs)))
        top = [(self._named(int(i)), float(value)) for i, value in zip(ids, values, strict=True)]
        return TokenLogprob(self._named(token), float(logs[token]), tuple(top))

    def _named(self, token: int) -> str:
        name: str = self._tokenizer.decode([token], clean_up_tokenization_spaces=False)
        return name


def decode(
    model: Any,
    rows: Sequence[Row],
    pad: int,
    dropped: Callable[[Row], bool],
    done: Callable[[Row], None],
) -> None:
    """Run `rows` to their ends, each through `Row.step`.

    Parameters
    ----------
    model
        A causal model of transformers, in evaluation mode.
    rows : list of Row
    pad : int
        Token that fills up shorter prompts on the left; it is masked.
    dropped : callable
        Asked about every row before each pass; a row for which it says True goes no further.
    done : callable
        Told of every complete row at once, while others still go on.
    """
    import torch
    from transformers import DynamicCache

    def going(row: Row) -> bool:
        if row.finish is not None:
            done(row)
            return False
        return not dropped(row)

    rows = [row for row in rows if going(row)]
    if not rows:
        return
    longest = max(len(row.prompt) for row in rows)
    ids = torch.full((len(rows), longest), pad)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, longest - len(row.prompt) :] = torch.tensor(row.prompt)
        mask[i, longest - len(row.prompt) :] = 1
    places = (mask.cumsum(1) - 1).clamp(min=0)
    device, cache = model.device, DynamicCache(config=model.config)
    # Its name in `forward` changes within the versions of transformers that we accept.
    known = "cache" in inspect.signature(model.forward).parameters
    remembered = {"cache" if known else "past_key_values": cache}
    with torch.inference_mode():
        while True:
            out = model(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                position_ids=places.to(device),
                use_cache=True,
                logits_to_keep=1,
                **remembered,
            )
            for row, logits in zip(rows, out.logits[:, -1].float().cpu(), strict=True):
                row.step(logits)
            kept = [i for i, row in enumerate(rows) if going(row)]
            if not kept:
                return
            if len(kept) < len(rows):
                chosen = torch.tensor(kept)
                cache.batch_select_indices(chosen.to(device))
                mask, places = mask[chosen], places[chosen]
                rows = [rows[i] for i in kept]
            ids = torch.tensor([[row.ids[-1]] for row in rows])
            mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
            places = places[:, -1:] + 1
