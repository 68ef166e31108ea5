"""``pocket``: replies in pieces, in a real llama.cpp, with models that say what a test needs."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chain_gguf import END, START, write_chain_gguf

from hyperagent.errors import CallTimeout, ConfigError, RequestRejected, UnknownNameError
from hyperagent.llm import ChatReply, ChatRequest, Ledger, Message, Meter, backend
from hyperagent.llm.gguf import GGUFBackend
from hyperagent.llm.pocket import DEFAULT_MAX_TOKENS, PocketBackend, chatml

ASK = ChatRequest((Message("user", "Ann has 12."),), temperature=0.0, timeout=60.0)
SUM = {"<<": "1", "1": "2", "2": "-", "-": "5", "5": "="}
SLIP = {"=": "8", "8": ">>", ">>": "8"}
"""What the model makes of 12-5 by itself, and never stops saying."""
ONCE = {START: "a", "a": "<<", **SUM, **SLIP, "7": END}
ENDLESS = {**ONCE, "7": ",", ",": "<<"}


def folder_of(model: Path, folder: Path, name: str = "pocket.gguf") -> Path:
    """A weights folder with `model` in it."""
    folder.mkdir(exist_ok=True)
    content = model.read_bytes()
    (folder / name).write_bytes(content)
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (folder / "weights.json").write_text(json.dumps({name: entry}))
    return folder


@pytest.fixture
def chain(tmp_path: Path) -> Callable[[Mapping[str, Any]], Path]:
    """From what follows what to a weights folder."""

    def make(follows: Mapping[str, Any]) -> Path:
        return folder_of(write_chain_gguf(tmp_path / "chain.gguf", follows), tmp_path / "weights")

    return make


@pytest.fixture(scope="module")
def random_weights(tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights folder with the random model."""
    return folder_of(tiny_gguf, tmp_path_factory.mktemp("random"))


def using(folder: Path, act: Callable[[PocketBackend], Awaitable[Any]], **options: Any) -> Any:
    """Run `act` with a backend on `folder`, and close it."""

    async def run() -> Any:
        made = PocketBackend(directory=folder, **{"threads": 1, "parallel": 4, **options})
        try:
            return await act(made)
        finally:
            await made.aclose()

    return asyncio.run(run())


def reply_of(folder: Path, request: ChatRequest = ASK, **options: Any) -> ChatReply:
    return using(folder, lambda made: made.complete(request), **options)


WATCHED = {"unwatched": {}, "watched": {"stop": ("~",)}, "logprobs": {"logprobs": 2}}
each_way = pytest.mark.parametrize("how", WATCHED)


@each_way
def test_the_calculator_completes_a_sum(chain: Any, how: str) -> None:
    request = replace(ASK, **WATCHED[how])
    reply = reply_of(chain(ONCE), request)
    assert reply.text == "a<<12-5=7>>7"
    assert reply.finish_reason == "stop"
    assert (reply.usage.calculations, reply.usage.inserted_tokens) == (1, 3)
    # a << 1 2 - 5 =, inserted 7 >> 7, and the token that ends the reply.
    assert reply.usage.completion_tokens == 7 + 3 + 1
    assert reply.usage.source == "server"


@each_way
def test_without_it_the_model_is_on_its_own(chain: Any, how: str) -> None:
    request = replace(ASK, max_tokens=12, **WATCHED[how])
    reply = reply_of(chain(ONCE), request, calculator=False)
    assert reply.text == "a<<12-5=8>>8>>8>"[: len(reply.text)]
    assert reply.text.startswith("a<<12-5=8>>8>>8")
    assert reply.finish_reason == "length"
    assert (reply.usage.calculations, reply.usage.completion_tokens) == (0, 12)


@pytest.mark.parametrize(
    ("follows", "text"),
    [
        # Division by zero: the model finishes it.
        ({START: "<<", "<<": "1", "1": "/", "/": "0", "0": "=", "=": "?"}, "<<1/0=?"),
        # An equals sign without a mark.
        ({START: "x", "x": "=", "=": "3"}, "x=3"),
        ({START: "<<", "<<": "x", "x": "=", "=": "3"}, "<<x=3"),
        ({START: "=", "=": "="}, "=" * 30),
        # The equals sign is part of a longer token.
        ({START: "<<", "<<": "(", "(": "2", "2": ")="}, "<<(2)=2>>2)=2>>2)=2>>2)="),
    ],
)
@each_way
def test_what_is_no_sum_is_left_to_the_model(
    chain: Any, follows: Mapping[str, str], text: str, how: str
) -> None:
    reply = reply_of(chain(follows), replace(ASK, max_tokens=30, **WATCHED[how]))
    if ")=" in follows.values():
        # "2" is followed by ")=" again and again, which is no sum after the first time.
        assert reply.text.startswith("<<(2)=2>>2)=")
        assert reply.usage.calculations == 1
    else:
        assert reply.text == text
        assert reply.usage.calculations == 0


@each_way
def test_the_value_is_true_where_the_model_would_slip(chain: Any, how: str) -> None:
    reply = reply_of(chain(ENDLESS), replace(ASK, max_tokens=60, **WATCHED[how]))
    assert reply.text.startswith("a<<12-5=7>>7,<<12-5=7>>7,<<12-5=7>>7,")
    assert reply.usage.calculations == reply.text.count("=7>>7") > 3


@each_way
def test_max_tokens_cap_the_whole_reply(chain: Any, how: str) -> None:
    """The tokens of the text are known here, so the usage is checked one by one."""

    async def act(made: PocketBackend) -> None:
        for limit in range(1, 36):
            reply = await made.complete(replace(ASK, max_tokens=limit, **WATCHED[how]))
            tokens = len(reply.text) - reply.text.count("<<") - reply.text.count(">>")
            assert reply.usage.completion_tokens == tokens <= limit
            assert reply.finish_reason == "length"
            assert reply.usage.inserted_tokens == 3 * reply.usage.calculations
            # It ends early only before a value that might not fit: 4 bytes and a token more.
            assert tokens == limit or (reply.text.endswith("=") and tokens + 5 > limit)

    using(chain(ENDLESS), act)


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        ("7", "a<<12-5="),  # in what is inserted
        ("=7", "a<<12-5"),  # across its beginning
        (">7", "a<<12-5=7>"),
        ("7,", "a<<12-5=7>>"),  # across its end
        (">>7,<", "a<<12-5=7"),
        ("-", "a<<12"),
        ("=", "a<<12-5"),
        ("5=", "a<<12-"),
        ("a<<12-5=7>>7,<<12-5=7>>7", ""),
    ],
)
def test_stop_texts_work_in_and_across_pieces(chain: Any, stop: str, text: str) -> None:
    reply = reply_of(chain(ENDLESS), replace(ASK, stop=(stop, "zzz"), max_tokens=60))
    assert reply.text == text
    assert reply.finish_reason == "stop"


def test_a_stop_is_no_fault_of_the_engine(chain: Any) -> None:
    async def act(made: PocketBackend) -> None:
        await made.complete(replace(ASK, stop=("7",), max_tokens=60))
        assert made.capabilities.warnings == []
        assert made.capabilities.stop is not False

    using(chain(ENDLESS), act)


def test_logprobs_cover_every_piece_and_no_insertion(chain: Any) -> None:
    reply = reply_of(chain(ENDLESS), replace(ASK, logprobs=2, max_tokens=25))
    assert reply.logprobs is not None
    said = "".join(token.token for token in reply.logprobs)
    assert said == reply.text.replace("7>>7", "")
    assert all(len(token.top) == 2 for token in reply.logprobs)
    none = reply_of(chain(ENDLESS), replace(ASK, logprobs=0, max_tokens=5))
    assert none.logprobs is not None
    assert {token.top for token in none.logprobs} == {()}


def test_a_schema_switches_the_calculator_off_for_the_call(random_weights: Path) -> None:
    schema = {"type": "object", "properties": {"answer": {"type": "integer"}},
              "required": ["answer"]}  # fmt: skip
    reply = reply_of(random_weights, replace(ASK, schema=schema, max_tokens=200))
    assert json.loads(reply.text).keys() == {"answer"}
    assert reply.model == "pocket"


def test_the_ledger_tells_what_was_inserted(chain: Any) -> None:
    ledger = Ledger()

    async def act(made: PocketBackend) -> None:
        for _ in range(2):
            await Meter(made, ledger).complete(ASK)
        assert made.calculations == 2

    using(chain(ONCE), act)
    totals = ledger.totals()
    assert (totals.calculations, totals.inserted_tokens, totals.completion_tokens) == (2, 6, 22)
    assert [row.calculations for row in ledger] == [1, 1]


def test_a_continuation_reads_only_what_was_inserted(chain: Any) -> None:
    """The slot of the call still holds the rest."""

    async def act(made: PocketBackend) -> list[tuple[int, int]]:
        seen = []
        inner = made._ask

        def listening(endpoint: Any, body: Any, take: Any) -> None:
            def both(chunk: Any) -> bool:
                seen.append((chunk["timings"]["prompt_n"], body["id_slot"]))
                return take(chunk)

            inner(endpoint, body, both)

        made._ask = listening
        await made.complete(replace(ASK, messages=(Message("user", "x" * 500),), max_tokens=60))
        return seen

    first, *others = using(chain(ENDLESS), act)
    assert first[0] > 500
    assert others
    # Four tokens: the equals sign, which was not evaluated yet, and 7 >> 7.
    assert {prompt for prompt, _ in others[:-1]} == {4}
    assert len({slot for _, slot in [first, *others]}) == 1


def test_the_prompt_is_what_the_models_own_template_makes(random_weights: Path) -> None:
    messages = (
        Message("system", "Be brief."), Message("user", " Ünï {{code}} \n"), Message("user", ""),
    )  # fmt: skip
    request = replace(ASK, messages=messages, max_tokens=40)

    async def chat() -> ChatReply:
        made = GGUFBackend(random_weights / "pocket.gguf", threads=1, context=1024)
        try:
            return await made.complete(request)
        finally:
            await made.aclose()

    ours, theirs = reply_of(random_weights, request), asyncio.run(chat())
    assert ours.usage.prompt_tokens == theirs.usage.prompt_tokens
    assert ours.text == theirs.text
    assert (
        chatml(messages[:1]) == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>assistant\n"
    )


def test_greedy_and_short_unless_told_otherwise(random_weights: Path) -> None:
    open_ended = replace(ASK, temperature=None)

    async def act(made: PocketBackend) -> list[ChatReply]:
        return [await made.complete(open_ended) for _ in range(2)]

    one, two = using(random_weights, act)
    assert one.text == two.text
    assert one.usage.completion_tokens == DEFAULT_MAX_TOKENS
    assert one.finish_reason == "length"


def test_seeds_and_temperature(chain: Any) -> None:
    """Two choices at each turn, on both sides of a sum."""
    follows = {**SUM, START: {"a": 1, "b": 1}, "a": "<<", "b": "<<", "7": {",": 1, ";": 1},
               ",": "<<", ";": "<<"}  # fmt: skip
    warm = replace(ASK, temperature=1.0, top_p=0.99, max_tokens=80)

    async def act(made: PocketBackend) -> list[str]:
        requests = [replace(warm, seed=seed) for seed in [*range(30), *range(30)]]
        return [r.text for r in await asyncio.gather(*(made.complete(r) for r in requests))]

    texts = using(chain(follows), act)
    assert texts[:30] == texts[30:]
    picks = ["".join(c for c in text if c in "ab,;") for text in texts[:30]]
    for at in range(3):
        assert len({pick[at] for pick in picks}) == 2, picks
    # The luck of a piece is its own: a first "a" says nothing about what follows.
    assert len({pick[:3] for pick in picks}) == 8


def test_a_full_context_ends_a_reply(chain: Any) -> None:
    folder = chain(ENDLESS)
    request = replace(ASK, messages=(Message("user", "x" * 200),), max_tokens=1000)
    reply = reply_of(folder, request, context=256, parallel=1)
    assert reply.finish_reason == "length"
    assert 10 < (reply.usage.completion_tokens or 0) <= 256 - (reply.usage.prompt_tokens or 0)
    assert reply.usage.calculations > 1
    with pytest.raises(RequestRejected, match="context"):
        reply_of(folder, replace(request, messages=(Message("user", "x" * 300),)), context=256)


def test_a_long_reply_is_made_of_several_pieces(chain: Any) -> None:
    reply = reply_of(chain({START: "a", "a": "a"}), replace(ASK, max_tokens=600))
    assert reply.text == "a" * 600
    assert reply.usage.completion_tokens == 600


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(chain: Any, limit: int) -> None:
    with pytest.raises(RequestRejected, match="max_tokens must be positive"):
        reply_of(chain(ONCE), replace(ASK, max_tokens=limit))


@each_way
def test_many_calls_at_once(chain: Any, how: str) -> None:
    async def act(made: PocketBackend) -> list[ChatReply]:
        request = replace(ASK, max_tokens=100, **WATCHED[how])
        texts = [replace(request, messages=(Message("user", f"{i}"),)) for i in range(40)]
        return await asyncio.gather(*(made.complete(one) for one in texts))

    replies = using(chain(ENDLESS), act, parallel=8)
    assert len({reply.text for reply in replies}) == 1
    assert {reply.usage.calculations for reply in replies} == {9}


@each_way
def test_a_cancelled_call_frees_its_slot(random_weights: Path, how: str) -> None:
    endless = replace(ASK, max_tokens=100_000, **WATCHED[how])

    async def act(made: PocketBackend) -> None:
        await made.complete(replace(ASK, max_tokens=1))
        call = asyncio.create_task(made.complete(endless))
        await asyncio.sleep(0.05)
        assert not call.done()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        start = time.perf_counter()
        await made.complete(replace(ASK, max_tokens=1))
        assert time.perf_counter() - start < 2.0
        with pytest.raises(CallTimeout):
            await made.complete(replace(endless, timeout=0.02))
        assert (await made.complete(ASK)).text

    using(random_weights, act, parallel=1, context=8192)


def test_specs(tiny_gguf: Path, tmp_path: Path) -> None:
    folder = folder_of(tiny_gguf, tmp_path / "w", "pocket-sums.gguf")
    made = backend("pocket:sums", directory=folder)
    assert isinstance(made, PocketBackend)
    assert (made.name, made.calculator) == ("pocket:sums", True)
    bare = backend("pocket:sums,calculator=off", directory=folder)
    assert (bare.name, bare.calculator) == ("pocket:sums", False)
    assert bare.connection != made.connection, "their replies may not share a cache entry"
    assert backend("pocket:sums", directory=folder, calculator=False).calculator is False
    with pytest.raises(UnknownNameError, match="Did you mean 'pocket:sums'"):
        backend("pocket:sum", directory=folder)
    with pytest.raises(UnknownNameError, match="Did you mean 'calculator'"):
        backend("pocket:sums,calculater=on", directory=folder)
    with pytest.raises(ConfigError, match="on or off"):
        backend("pocket:calculator=maybe", directory=folder)
