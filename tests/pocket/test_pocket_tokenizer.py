"""The tokenizer: digits alone, and the same ids in three readers of it."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from hyperagent.errors import ConfigError
from hyperagent.testing.llama_cpp import llama_server
from hyperagent.testing.tiny_hf import write_tiny_hf

SIZE = 305
CHAT = "<|im_start|>user\nAnn has 12 apples and it's 3.5 each.<|im_end|>\n"
PIECES = (
    "Ann has", " 12", "  ", "\n", "\n\n", "\t", " 3.5", "<<12.5*(3+4)=", "87.5>>87.5", "it's",
    "we'LL", " don't", "é", "½", "٣", "北京", " שלום", "🙂👩‍👩‍👧", "\u00a0", "\u2028", "e\u0301",
    "$1,250.00", "50%", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|im_", "?!", "...", "0",
    " (a+b)", "_x_", "\r\n", " apples", "NOTE", "confidence: 0.8", "=", "-", "----", "\x07", "ﬁ",
    "x²", "Ⅷ", "1e5", "12ab34",
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(pocket: SimpleNamespace) -> Any:
    rng = random.Random(0)
    words = ("apples", "coins", "each", "has", "buys", "in all", "left", "tickets")
    texts = [
        f"{CHAT}{' '.join(rng.choices(words, k=8))} <<{rng.randrange(99)}+(7)={rng.random():.2f}>>"
        for _ in range(300)
    ]
    return pocket.tokenizer.train(texts, SIZE)


@pytest.fixture(scope="module")
def directory(trained: Any, pocket: SimpleNamespace, tmp_path_factory: Any) -> Path:
    """A random llama with the trained tokenizer."""
    folder = write_tiny_hf(tmp_path_factory.mktemp("pocket"), vocabulary=SIZE)
    config = json.loads((folder / "config.json").read_text())
    assert config["vocab_size"] == trained.get_vocab_size(), "the texts must fill the vocabulary"
    return pocket.tokenizer.save(trained, folder)


def odd_texts(count: int) -> list[str]:
    rng = random.Random(1)
    return ["".join(rng.choices(PIECES, k=rng.randrange(1, 12))) for _ in range(count)]


def test_digits_stay_alone(trained: Any) -> None:
    shown = trained.encode(" 12 apples1 <<12.5*(3+4)=").tokens
    digits = [token for token in shown if any(char.isdigit() for char in token)]
    assert digits == ["1", "2", "1", "1", "2", "5", "3", "4"]
    assert shown[0] == "Ġ", "a space before a number is a token of its own"


def test_special_tokens_come_first_and_are_not_learned_from(trained: Any) -> None:
    assert [trained.id_to_token(i) for i in range(3)] == [
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
    ]
    assert trained.encode(CHAT).ids.count(1) == 1
    assert not [token for token in trained.get_vocab() if "im_" in token and "<|im_" not in token]


def test_every_reader_gives_the_same_ids(
    trained: Any, directory: Path, pocket: SimpleNamespace, tmp_path: Path
) -> None:
    texts = odd_texts(500)
    expected = [trained.encode(text).ids for text in texts]
    model = pocket.export.export(directory, tmp_path / "m.gguf", kind="f32")
    with llama_server(model, parallel=1) as url, httpx.Client() as client:
        address = url.removesuffix("/v1") + "/tokenize"
        for text, ids in zip(texts, expected, strict=True):
            body = {"content": text, "add_special": True, "parse_special": True}
            assert client.post(address, json=body).json()["tokens"] == ids, repr(text)


@pytest.mark.parametrize("with_config", [True, False])
def test_transformers_reads_it(
    trained: Any, directory: Path, tmp_path: Path, with_config: bool
) -> None:
    transformers = pytest.importorskip("transformers", reason="needs hyperagent[hf]")
    folder = tmp_path / "copy"
    shutil.copytree(directory, folder)
    if not with_config:
        (folder / "config.json").unlink()
    auto = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    for text in odd_texts(200):
        ids = auto(text).input_ids
        assert ids == trained.encode(text).ids, repr(text)
        assert auto.decode(ids) == text
    chat = [{"role": "user", "content": "Ann has 12 apples and it's 3.5 each."}]
    written = auto.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert written == CHAT + "<|im_start|>assistant\n"
    assert (auto.eos_token_id, auto.pad_token_id) == (2, 0)


def test_a_vocabulary_without_room_is_refused(pocket: SimpleNamespace) -> None:
    with pytest.raises(ConfigError, match="at least 259"):
        pocket.tokenizer.train(["a"], 100)
