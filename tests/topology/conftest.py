"""A small team and a task, as any room would hand them to a designer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Member:
    id: str
    role: str = "solver"
    profile: str | None = None
    reliability: float | None = None


@dataclass(frozen=True)
class Question:
    id: str = "gsm8k/1"
    question: str = "Natalia sold clips to 48 of her friends in April."


@pytest.fixture
def task() -> Question:
    return Question()


@pytest.fixture
def make_team():
    """Function of the size; reliabilities fall with the number, every fourth is unknown."""

    def make(n: int) -> list[Member]:
        roles = ("solver", "critic", "programmer")
        return [
            Member(f"agent{i}", roles[i % 3], f"kind {i % 3}", None if i % 4 == 3 else 0.9 - i / 99)
            for i in range(n)
        ]

    return make


@pytest.fixture(scope="session")
def sentence_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with random weights, in the form in which MiniLM is published."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("bert")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, "tom", "has", "3", "apples", ".", "who", "wrote", "the", "letter", "?"]
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=16,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    return folder
