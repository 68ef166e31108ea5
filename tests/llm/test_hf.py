"""``hf:``: transformers in the process, on a tiny model that the tests make."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hyperagent.errors import CallTimeout, ConfigError, NotFound, RequestRejected, UnknownNameError
from hyperagent.llm import ChatReply, ChatRequest, Message, backend
from hyperagent.llm import hf as module
from hyperagent.llm.decoding import Row
from hyperagent.llm.hf import HFBackend

transformers = pytest.importorskip("transformers", reason="needs the extra hyperagent[hf]")
torch = pytest.importorskip("torch")

REQUEST = ChatRequest(
    (Message("user", "Ann has 3 apples."),), temperature=1.0, max_tokens=30, seed=3, timeout=60.0
)
GREEDY = replace(REQUEST, temperature=0.0)


def using(model: Path, act: Callable[[HFBackend], Awaitable[Any]], **options: Any) -> Any:
    """Run `act` with a backend for `model`, and close it."""

    async def run() -> Any:
        made = HFBackend(model, **options)
        try:
            return await act(made)
        finally:
            await made.aclose()

    return asyncio.run(run())


def questions(count: int) -> list[ChatRequest]:
    """Requests whose prompts differ in length."""
    return [
        replace(GREEDY, messages=(Message("user", f"Ben buys {i} coins. " * (1 + i % 4)),))
        for i in range(count)
    ]


def test_a_batch_says_what_transformers_says_one_by_one(tiny_hf: Path) -> None:
    """Left padding, positions and rows that leave early change nothing."""
    requests = [replace(r, max_tokens=8 + 5 * i) for i, r in enumerate(questions(6))]

    async def act(made: HFBackend) -> list[ChatReply]:
        return await asyncio.gather(*(made.complete(request) for request in requests))

    replies = using(tiny_hf, act)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_hf)
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_hf)
    for request, reply in zip(requests, replies, strict=True):
        chat = [{"role": "user", "content": request.messages[0].content}]
        ids = tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, return_tensors="pt", return_dict=False
        )
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=request.max_tokens
        )
        said = out[0, ids.shape[1] :]
        # Half a character at the end is not shown.
        text = tokenizer.decode(said, skip_special_tokens=True)
        assert reply.text == text.removesuffix("\ufffd")
        assert reply.usage.prompt_tokens == ids.shape[1]
        assert reply.usage.completion_tokens == len(said)
        assert reply.usage.source == "counted"


def test_calls_at_once_share_the_passes(tiny_hf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = module.decode

    def counting(model: Any, rows: Any, *rest: Any, **more: Any) -> None:
        sizes.append(len(rows))
        real(model, rows, *rest, **more)

    monkeypatch.setattr(module, "decode", counting)

    async def act(made: HFBackend) -> None:
        await asyncio.gather(*(made.complete(request) for request in questions(10)))

    using(tiny_hf, act, parallel=4)
    assert sum(sizes) == 10
    assert max(sizes) == 4
    assert len(sizes) <= 4


def test_a_seed_gives_its_text_whatever_else_is_in_the_batch(tiny_hf: Path) -> None:
    requests = [replace(REQUEST, seed=seed, top_p=0.9) for seed in range(5)]

    async def act(made: HFBackend) -> tuple[list[str], list[str]]:
        together = await asyncio.gather(*(made.complete(request) for request in requests))
        alone = [await made.complete(request) for request in reversed(requests)]
        assert made.capabilities.seed is True
        return [r.text for r in together], [r.text for r in alone][::-1]

    together, alone = using(tiny_hf, act)
    assert together == alone
    assert len(set(together)) == 5


def test_unseeded_calls_differ(tiny_hf: Path) -> None:
    async def act(made: HFBackend) -> set[str]:
        free = replace(REQUEST, seed=None)
        return {r.text for r in await asyncio.gather(*(made.complete(free) for _ in range(4)))}

    assert len(using(tiny_hf, act)) == 4


def test_stop_texts_and_logprobs(tiny_hf: Path) -> None:
    async def act(made: HFBackend) -> list[ChatReply]:
        whole = await made.complete(replace(GREEDY, logprobs=3))
        stop = whole.text[10:13]
        return [whole, await made.complete(replace(GREEDY, stop=("never", stop)))]

    whole, stopped = using(tiny_hf, act)
    assert whole.finish_reason == "length"
    assert len(whole.logprobs) == whole.usage.completion_tokens == 30
    for token in whole.logprobs:
        # Greedy: the chosen token is the likeliest.
        assert token.top[0] == (token.token, pytest.approx(token.logprob))
        assert len(token.top) == 3
    assert stopped.text == whole.text[: whole.text.find(whole.text[10:13])]
    assert stopped.finish_reason == "stop"
    assert stopped.usage.completion_tokens < 30


def test_nearly_greedy_settings_are_greedy(tiny_hf: Path) -> None:
    async def act(made: HFBackend) -> list[str]:
        forms = [GREEDY, replace(REQUEST, top_p=1e-6), replace(REQUEST, temperature=1e-6)]
        return [(await made.complete(request)).text for request in forms]

    assert len(set(using(tiny_hf, act))) == 1


def test_the_same_file_says_the_same_in_llama_cpp(tiny_gguf: Path) -> None:
    async def said(made: Any) -> list[ChatReply]:
        try:
            return [
                await made.complete(replace(request, max_tokens=12)) for request in questions(3)
            ]
        finally:
            await made.aclose()

    ours = asyncio.run(said(backend(f"hf:{tiny_gguf}")))
    theirs = asyncio.run(said(backend(f"gguf:{tiny_gguf}", threads=1)))
    for mine, other in zip(ours, theirs, strict=True):
        # The engines differ in what they show of half a character at the end.
        assert mine.text.rstrip("\ufffd") == other.text.rstrip("\ufffd")
        assert mine.usage.total_tokens == other.usage.total_tokens


class Letters:
    """A tokenizer whose tokens are characters."""

    def decode(self, ids: list[int], **_: Any) -> str:
        return "".join(map(chr, ids))

    def encode(self, text: str, **_: Any) -> list[int]:
        return [ord(char) for char in text]


def dictated(line: str, evaluate: Any, **fields: Any) -> Row:
    """A row to which the model would say `line`, token by token, until it is complete."""
    row = Row(
        ChatRequest((), temperature=0.0, **fields),
        [1],
        room=200,
        tokenizer=Letters(),
        ends=frozenset({0}),
        evaluate=evaluate,
    )
    said = iter([ord(char) for char in line] + [0])
    while row.finish is None:
        logits = torch.zeros(200)
        if not row._forced:
            logits[next(said)] = 9.0
        row.step(logits)
    return row


def test_the_calculator_writes_the_value_and_the_model_goes_on() -> None:
    asked: list[str] = []

    def evaluate(expression: str) -> str | None:
        asked.append(expression)
        return {"12-5": "7", "(2+2)*3": "12"}.get(expression)

    row = dictated("left: <<12-5= in <<(2+2)*3= = <<1/0=9>> a=b <<x=", evaluate, logprobs=1)
    assert row.text == "left: <<12-5=7>>7 in <<(2+2)*3=12>>12 = <<1/0=9>> a=b <<x="
    assert asked == ["12-5", "(2+2)*3", "1/0"]
    assert len(row.ids) == len(row.text) + 1
    assert len(row.logprobs) == len(row.text)
    assert (row.calculations, row.inserted) == (2, len("7>>7") + len("12>>12"))
    assert dictated("<<12-5=6>>6", None).text == "<<12-5=6>>6"


def test_shipped_weights_have_the_settings_of_pocket(tiny_gguf: Path, tmp_path: Path) -> None:
    data = tiny_gguf.read_bytes()
    (tmp_path / "pocket-sums.gguf").write_bytes(data)
    entry = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (tmp_path / "weights.json").write_text(json.dumps({"pocket-sums.gguf": entry}))
    made = backend("hf:pocket:sums", directory=tmp_path)
    bare = backend("hf:pocket:sums", directory=tmp_path, calculator=False)
    assert made.name == bare.name == "hf:pocket:sums"
    assert made.connection != bare.connection, "a cache must tell them apart"
    with pytest.raises(UnknownNameError, match="pocket:sums"):
        backend("hf:pocket:sms", directory=tmp_path)

    async def run() -> ChatReply:
        try:
            return await made.complete(replace(REQUEST, temperature=None, max_tokens=None))
        finally:
            await made.aclose()

    async def greedy(other: HFBackend) -> ChatReply:
        return await other.complete(replace(GREEDY, max_tokens=256))

    assert asyncio.run(run()).text == using(tiny_gguf, greedy).text


def test_what_the_calculator_wrote_is_counted(tiny_hf: Path, monkeypatch: Any) -> None:
    """A model that is made to say an open expression at once."""
    line = iter("<<12-5=")
    real = Row._choose

    def choose(self: Row, logits: Any) -> int:
        char = next(line, None)
        return real(self, logits) if char is None else self._written(char)[0]

    monkeypatch.setattr(Row, "_choose", choose)

    async def act(made: HFBackend) -> ChatReply:
        return await made.complete(replace(GREEDY, max_tokens=14))

    reply = using(tiny_hf, act, calculator=True)
    assert reply.text.startswith("<<12-5=7>>7")
    assert (reply.usage.calculations, reply.usage.completion_tokens) == (1, 14)
    assert 3 <= reply.usage.inserted_tokens <= 4


def test_limits_and_stops_hold_for_what_the_calculator_writes() -> None:
    row = dictated("<<12-5=", lambda _: "7", max_tokens=8)
    assert (row.text, row.finish, len(row.ids)) == ("<<12-5=7", "length", 8)
    row = dictated("<<12-5=", lambda _: "7", stop=("7>",))
    assert (row.text, row.finish) == ("<<12-5=", "stop")
    row = dictated("<<12-5=", lambda _: "7", stop=("=",))
    assert (row.text, row.finish) == ("<<12-5", "stop")


def test_a_cancelled_call_ends_at_the_next_token(tiny_hf: Path) -> None:
    async def act(made: HFBackend) -> None:
        await made.complete(replace(REQUEST, max_tokens=1))
        endless = asyncio.create_task(made.complete(replace(GREEDY, max_tokens=None)))
        await asyncio.sleep(0.2)
        assert not endless.done()
        endless.cancel()
        with pytest.raises(asyncio.CancelledError):
            await endless
        start = time.perf_counter()
        await made.complete(replace(REQUEST, max_tokens=1))
        assert time.perf_counter() - start < 1.0

    using(tiny_hf, act)


def test_a_timeout_is_ours(tiny_hf: Path) -> None:
    async def act(made: HFBackend) -> None:
        await made.complete(replace(REQUEST, max_tokens=1))
        with pytest.raises(CallTimeout, match=r"within 0\.1 s"):
            await made.complete(replace(GREEDY, max_tokens=None, timeout=0.1))

    using(tiny_hf, act)


def test_a_short_reply_does_not_wait_for_a_long_one(tiny_hf: Path) -> None:
    async def act(made: HFBackend) -> bool:
        await made.complete(replace(REQUEST, max_tokens=1))
        long = asyncio.create_task(made.complete(replace(GREEDY, max_tokens=400)))
        await made.complete(replace(REQUEST, max_tokens=2))
        overtaken = not long.done()
        await long
        return overtaken

    assert using(tiny_hf, act)


def test_no_thread_is_left(tiny_hf: Path) -> None:
    async def act(made: HFBackend) -> None:
        await made.complete(replace(REQUEST, max_tokens=1))
        assert [thread for thread in threading.enumerate() if thread.name == "hf"]

    using(tiny_hf, act)
    assert not [thread for thread in threading.enumerate() if thread.name == "hf"]


def test_what_cannot_be_a_prompt_is_refused_alone(tiny_hf: Path) -> None:
    async def act(made: HFBackend) -> None:
        long = replace(GREEDY, messages=(Message("user", "x " * 500),))
        refused, good = await asyncio.gather(
            made.complete(long), made.complete(GREEDY), return_exceptions=True
        )
        assert isinstance(refused, RequestRejected)
        assert "context of 300" in str(refused)
        assert good.usage.completion_tokens == 30
        with pytest.raises(RequestRejected, match="cannot be written"):
            await made.complete(replace(GREEDY, messages=(Message("user", "\ud800"),)))

    using(tiny_hf, act, context=300)


def test_pickled_weights_are_refused(tiny_hf: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(tiny_hf, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"pytorch_model\.bin is pickled"):
        backend(f"hf:{folder}")


def test_code_of_a_model_is_never_run(tiny_hf: Path, tmp_path: Path) -> None:
    folder = tmp_path / "code"
    shutil.copytree(tiny_hf, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "own",
        "auto_map": {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")

    async def act(made: HFBackend) -> None:
        with pytest.raises(NotFound, match="cannot load it"):
            await made.complete(REQUEST)

    using(folder, act)
    assert not (tmp_path / "ran").exists()


def test_a_damaged_file_is_a_clear_error(tiny_hf: Path, tmp_path: Path) -> None:
    folder = tmp_path / "half"
    shutil.copytree(tiny_hf, folder)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])

    async def act(made: HFBackend) -> None:
        with pytest.raises(NotFound, match="cannot load it"):
            await made.complete(REQUEST)

    using(folder, act)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "nothing at"),
        (lambda path: path.mkdir(), "no config.json"),
        (lambda path: path.write_bytes(b"PK\x03\x04"), "not a GGUF file"),
    ],
)
def test_what_is_no_model_is_named_at_once(tmp_path: Path, make: Any, message: str) -> None:
    make(tmp_path / "model")
    with pytest.raises(ConfigError, match=message):
        backend(f"hf:{tmp_path / 'model'}")


def test_without_transformers_the_extra_is_named(
    tiny_hf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"hyperagent\[hf\]"):
        backend(f"hf:{tiny_hf}")
