"""A tiny llama in GGUF format with random weights: a real model that costs nothing.

It has a real tokenizer, chat template, attention and sampling, so llama.cpp treats it as
any other model; only its words mean nothing.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperagent.errors import ConfigError

if TYPE_CHECKING:
    from gguf import GGUFWriter
    from tokenizers import Tokenizer

CONTEXT = 8192
"""Tokens of context the file states; rotary positions have no table to outgrow."""

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_NOUNS = ("apple", "clip", "ticket", "coin", "book", "train", "garden", "friend", "number")
_VERBS = ("has", "buys", "sells", "counts", "gives", "loses", "finds", "shares", "keeps")
_PEOPLE = ("Ann", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gita", "Hugo")


def write_tiny_gguf(
    path: str | Path,
    *,
    seed: int = 0,
    vocabulary: int = 512,
    layers: int = 2,
    hidden: int = 64,
    heads: int = 4,
    kv_heads: int = 2,
) -> Path:
    """Write a random llama to `path` and return the path.

    The same arguments give the same weights and the same tokenizer. Needs the packages
    ``gguf`` and ``tokenizers``; takes about a second.

    Parameters
    ----------
    path : str or Path
    seed : int
        Seed of the weights.
    vocabulary : int
        Tokens, at least 300: 256 bytes, 3 special ones, the rest learned merges.
    layers, hidden, heads, kv_heads : int
        Size of the model; `hidden` is the width of an embedding.
    """
    try:
        import gguf
        import numpy as np
    except ImportError as error:
        raise ConfigError(
            "writing a GGUF file needs the package 'gguf': pip install gguf"
        ) from error

    tokens, merges = tables(tiny_tokenizer(vocabulary))
    rng = np.random.default_rng(seed)
    width, feed = hidden // heads, 2 * hidden
    target = Path(path)
    part = target.with_name(target.name + ".part")
    out = gguf.GGUFWriter(str(part), "llama")
    out.add_name("tiny")
    describe_llama(
        out,
        context=CONTEXT,
        hidden=hidden,
        layers=layers,
        feed=feed,
        heads=heads,
        kv_heads=kv_heads,
        head_width=width,
        epsilon=1e-5,
    )
    add_tokenizer(out, tokens, merges, _SPECIAL)
    out.add_chat_template(CHATML)

    def matrix(name: str, rows: int, columns: int, scale: float = 1.0, silent: int = 0) -> None:
        weights = rng.standard_normal((rows, columns)) * scale / np.sqrt(columns)
        weights[:silent] = 0.0
        out.add_tensor(f"{name}.weight", weights.astype(np.float32))

    def norm(name: str) -> None:
        out.add_tensor(f"{name}.weight", np.ones(hidden, dtype=np.float32))

    matrix("token_embd", len(tokens), hidden)
    for i in range(layers):
        norm(f"blk.{i}.attn_norm")
        matrix(f"blk.{i}.attn_q", hidden, hidden)
        matrix(f"blk.{i}.attn_k", kv_heads * width, hidden)
        matrix(f"blk.{i}.attn_v", kv_heads * width, hidden)
        matrix(f"blk.{i}.attn_output", hidden, hidden)
        norm(f"blk.{i}.ffn_norm")
        matrix(f"blk.{i}.ffn_gate", feed, hidden)
        matrix(f"blk.{i}.ffn_up", feed, hidden)
        matrix(f"blk.{i}.ffn_down", hidden, feed)
    norm("output_norm")
    # Logits with a spread of about 3: the greedy token then stands clear of rounding noise,
    # so that the same seed gives the same text whatever else is in the batch.
    # The special tokens come first and are all but never said: a reply is as long as
    # max_tokens allows.
    matrix("output", len(tokens), hidden, scale=3.0, silent=len(_SPECIAL))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    part.replace(target)
    return target


def describe_llama(
    out: GGUFWriter,
    *,
    context: int,
    hidden: int,
    layers: int,
    feed: int,
    heads: int,
    kv_heads: int,
    head_width: int,
    epsilon: float,
) -> None:
    """Write the shape of a llama into the header of a GGUF file."""
    out.add_context_length(context)
    out.add_embedding_length(hidden)
    out.add_block_count(layers)
    out.add_feed_forward_length(feed)
    out.add_head_count(heads)
    out.add_head_count_kv(kv_heads)
    out.add_rope_dimension_count(head_width)
    out.add_layer_norm_rms_eps(epsilon)


def add_tokenizer(
    out: GGUFWriter,
    tokens: Sequence[str],
    merges: Sequence[str],
    special: Sequence[str],
    *,
    bos: str = "<|endoftext|>",
    eos: str = "<|im_end|>",
) -> None:
    """Write a byte-level BPE, pre-split as GPT-2 does, into the header of a GGUF file.

    Parameters
    ----------
    out : gguf.GGUFWriter
    tokens : sequence of str
        Tokens by id, bytes in the letters of GPT-2.
    merges : sequence of str
        Pairs with a space between, the first learned first.
    special : sequence of str
        Tokens that mark turns and never stand for text.
    bos, eos : str
        Which of `tokens` begins a text and which ends a turn.
    """
    from gguf import TokenType

    out.add_vocab_size(len(tokens))
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")
    out.add_token_list(tokens)
    marks = set(special)
    out.add_token_types(
        [TokenType.CONTROL if token in marks else TokenType.NORMAL for token in tokens]
    )
    out.add_token_merges(merges)
    out.add_bos_token_id(tokens.index(bos))
    out.add_eos_token_id(tokens.index(eos))
    out.add_add_bos_token(False)


def tables(tokenizer: Tokenizer) -> tuple[list[str], list[str]]:
    """Tokens by id, and merges, of a BPE tokenizer."""
    model: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    by_id = sorted(model["vocab"], key=model["vocab"].__getitem__)
    pairs = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    return by_id, pairs


def tiny_tokenizer(vocabulary: int) -> Tokenizer:
    """A byte-level BPE trained on made-up sentences."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    if vocabulary < 300:
        raise ConfigError(f"a byte-level vocabulary needs at least 300 tokens, not {vocabulary}")
    rng = random.Random(0)
    lines = [
        f"{rng.choice(_PEOPLE)} {rng.choice(_VERBS)} {rng.randrange(100)} {rng.choice(_NOUNS)}s "
        f"and {rng.choice(_PEOPLE)} {rng.choice(_VERBS)} the {rng.choice(_NOUNS)}."
        for _ in range(1500)
    ]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer
