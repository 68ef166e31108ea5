"""From a problem to the tokens of a chat, with a weight for each token."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

VALUE_WEIGHT = 0.2
"""Weight of the digits that the calculator fills in: with it on, the model never says them."""
LABEL_WEIGHT = 0.5
"""Weight of the words before a calculation: many would do, and most of them only name it. The first
one counts in full, for there the model decides between one more step and the end."""
_LABEL = re.compile(r"^[^\n<]*(?=<<)", re.MULTILINE)
_VALUE = re.compile(r"=(-?[\d.]+>>-?[\d.]*)")


@dataclass(frozen=True)
class Chat:
    """One conversation to learn from.

    Parameters
    ----------
    system : str
        Empty: no system message.
    user, reply : str
    kind : str
        For the figures: where it comes from.
    """

    system: str
    user: str
    reply: str
    kind: str = ""


@dataclass(frozen=True)
class Encoded:
    """Tokens of a chat.

    Parameters
    ----------
    prefix : tuple of int
        The system message, equal in many chats, so that a batch computes it once.
    ids : ndarray (n,), int32
        What follows it.
    weights : ndarray (n,), float32
        Weight of each token as a target; 0 for everything but the reply.
    kind : str
    """

    prefix: tuple[int, ...]
    ids: np.ndarray
    weights: np.ndarray
    kind: str


def turn(role: str, text: str) -> str:
    """A closed message in ChatML."""
    return f"<|im_start|>{role}\n{text}<|im_end|>\n"


def note(answer: str, confidence: str = "", fact: str = "") -> str:
    """The public note that closes a reply."""
    lines = ["NOTE", f"answer: {answer}"]
    if confidence:
        lines.append(f"confidence: {confidence}")
    if fact:
        lines.append(f"fact: {fact}")
    return "\n".join(lines)


def last_fact(work: str) -> str:
    """The last calculation of `work` in words: ``7+4 is 11``."""
    marks = re.findall(r"<<([^=<>]+)=([^<>]+)>>", work)
    return f"{marks[-1][0]} is {marks[-1][1]}" if marks else ""


class Encoder:
    """Turns chats into tokens.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._prefixes: dict[str, tuple[int, ...]] = {}

    def prefix(self, system: str) -> tuple[int, ...]:
        """Tokens of a system message."""
        if system not in self._prefixes:
            ids = self._tokenizer.encode(turn("system", system)).ids if system else []
            self._prefixes[system] = tuple(ids)
        return self._prefixes[system]

    def prompt(self, chat: Chat) -> list[int]:
        """All tokens up to the reply."""
        opened = turn("user", chat.user) + "<|im_start|>assistant\n"
        return [*self.prefix(chat.system), *self._tokenizer.encode(opened).ids]

    def encode(self, chat: Chat, closed: bool = True) -> Encoded:
        """Tokens and weights of `chat`; with `closed` also of the token that ends the reply."""
        opened = turn("user", chat.user) + "<|im_start|>assistant\n"
        before = self._tokenizer.encode(opened).ids
        reply = self._tokenizer.encode(chat.reply + ("<|im_end|>" if closed else ""))
        letters = np.ones(len(chat.reply) + 1)
        for match in _LABEL.finditer(chat.reply):
            letters[match.start() + 1 : match.end()] = LABEL_WEIGHT
        for match in _VALUE.finditer(chat.reply):
            letters[match.start(1) : match.end(1)] = VALUE_WEIGHT
        starts = np.minimum([start for start, _ in reply.offsets], len(chat.reply))
        return Encoded(
            self.prefix(chat.system),
            np.asarray([*before, *reply.ids], dtype=np.int32),
            np.concatenate([np.zeros(len(before)), letters[starts]]).astype(np.float32),
            chat.kind,
        )


def batches(chats: Sequence[Encoded], tokens: int) -> list[list[Encoded]]:
    """Chats of like length and one prefix together, each batch of at most `tokens` with padding.

    Parameters
    ----------
    chats : sequence of Encoded
    tokens : int
    """
    made: list[list[Encoded]] = []
    batch: list[Encoded] = []
    longest = 0
    for chat in sorted(chats, key=lambda c: (c.prefix, len(c.ids))):
        longest = max(longest, len(chat.ids))
        full = (len(batch) + 1) * longest > tokens
        if batch and (full or chat.prefix != batch[0].prefix):
            made.append(batch)
            batch, longest = [], len(chat.ids)
        batch.append(chat)
    return [*made, batch] if batch else made
