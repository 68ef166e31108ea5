"""The tokenizer of the pocket models: byte-level BPE in which digits stay alone.

A small model computes better when every digit is its own token. So the merges are learned on
texts whose digits were set apart, and no merge can touch a digit. What then runs is the plain
byte-level rule of GPT-2: with no merge to join digits, it keeps them apart by itself, and
llama.cpp (pre-tokenizer ``gpt-2``) gives the same ids.

    python benchmarks/pocket/tokenizer.py TEXTFILE DIR [--size 2048]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperagent.errors import ConfigError
from hyperagent.testing.tiny_gguf import CHATML

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
"""Tokens with the ids 0, 1 and 2; the last ends a turn."""

SMALLEST = 256 + len(SPECIAL)
"""Tokens that are there before the first merge: the bytes and the special ones."""


def train(texts: Iterable[str], size: int = 2048) -> Tokenizer:
    """A tokenizer learned from `texts`.

    Parameters
    ----------
    texts : iterable of str
        Read once. Special tokens in them count as special and are not learned from.
    size : int
        Tokens in all; fewer come out if the texts hold too few pairs to merge.

    Raises
    ------
    ConfigError
        If `size` leaves no room for the bytes.
    """
    from tokenizers import AddedToken, Regex, pre_tokenizers, trainers

    if size < SMALLEST:
        raise ConfigError(f"a byte-level vocabulary needs at least {SMALLEST} tokens, not {size}")
    tokenizer = byte_level()
    plain = tokenizer.pre_tokenizer
    # The texts are chats; what marks their turns must not be cut up and learned as words.
    marks = Regex("|".join(mark.replace("|", r"\|") for mark in SPECIAL))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(marks, "removed"),
            pre_tokenizers.Digits(individual_digits=True),
            plain,
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[AddedToken(mark, special=True, normalized=False) for mark in SPECIAL],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.pre_tokenizer = plain
    _check(tokenizer)
    return tokenizer


def byte_level(tokens: Sequence[str] = (), merges: Sequence[str] = ()) -> Tokenizer:
    """The tokenizer that learned `merges`, each a pair with a space between; default: none.

    Parameters
    ----------
    tokens : sequence of str
        By id; those of `SPECIAL` come first.
    merges : sequence of str
        The first learned first.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    pairs = [tuple(merge.split(" ", 1)) for merge in merges]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if tokens:
        tokenizer.add_special_tokens(
            [AddedToken(mark, special=True, normalized=False) for mark in SPECIAL]
        )
    return tokenizer


def _check(tokenizer: Tokenizer) -> None:
    """That ids of special tokens and the rule on digits hold."""
    ids = [tokenizer.token_to_id(mark) for mark in SPECIAL]
    if ids != list(range(len(SPECIAL))):
        raise ConfigError(f"special tokens got the ids {ids}, expected 0, 1, 2")
    joined = [
        token
        for token in tokenizer.get_vocab()
        if len(token) > 1 and token not in SPECIAL and any(digit in token for digit in "0123456789")
    ]
    if joined:
        raise ConfigError(f"tokens that join digits: {sorted(joined)[:5]}")


def save(tokenizer: Tokenizer, directory: str | Path) -> Path:
    """Write ``tokenizer.json`` and ``tokenizer_config.json``; return the directory.

    ``transformers.AutoTokenizer.from_pretrained(directory)`` then reads them, with the chat
    template and the token that ends a turn.
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SPECIAL[0],
        "eos_token": SPECIAL[2],
        "pad_token": SPECIAL[0],
        "add_bos_token": False,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHATML,
    }
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    return folder


def main() -> None:
    """Train on the lines of a file and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", type=Path, help="a text file; every line is a text")
    parser.add_argument("directory", type=Path, help="where the tokenizer goes")
    parser.add_argument("--size", type=int, default=2048, help="tokens in all (default 2048)")
    given = parser.parse_args()
    with given.texts.open(encoding="utf-8") as lines:
        tokenizer = train(lines, given.size)
    save(tokenizer, given.directory)
    print(f"{tokenizer.get_vocab_size()} tokens in {given.directory}")


if __name__ == "__main__":
    main()
