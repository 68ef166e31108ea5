"""A tiny llama in GGUF format with random weights: a real model that costs nothing.

It has a real tokenizer, chat template, attention and sampling, so llama.cpp treats it as
any other model; only its words mean nothing.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from hyperagent.errors import ConfigError

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

    tokens, merges = _tokenizer(vocabulary)
    rng = np.random.default_rng(seed)
    width, feed = hidden // heads, 2 * hidden
    target = Path(path)
    part = target.with_name(target.name + ".part")
    out = gguf.GGUFWriter(str(part), "llama")
    out.add_name("tiny")
    out.add_context_length(CONTEXT)
    out.add_embedding_length(hidden)
    out.add_block_count(layers)
    out.add_feed_forward_length(feed)
    out.add_head_count(heads)
    out.add_head_count_kv(kv_heads)
    out.add_rope_dimension_count(width)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_vocab_size(len(tokens))
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")
    out.add_token_list(tokens)
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    out.add_token_types([control if token in _SPECIAL else normal for token in tokens])
    out.add_token_merges(merges)
    out.add_bos_token_id(tokens.index("<|endoftext|>"))
    out.add_eos_token_id(tokens.index("<|im_end|>"))
    out.add_add_bos_token(False)
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


def _tokenizer(vocabulary: int) -> tuple[list[str], list[str]]:
    """Tokens by id, and merges, of a byte-level BPE trained on made-up sentences."""
    import json

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
    model: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    by_id = sorted(model["vocab"], key=model["vocab"].__getitem__)
    pairs = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    return by_id, pairs
