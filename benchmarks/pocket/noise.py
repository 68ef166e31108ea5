"""Small changes of wording, so that a model learns what a question says and not its template.

Numbers, and the words that decide the calculation, stay.
"""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import yaml

SHARE = 0.85
"""Share of the questions that are changed at all."""
_DROP, _SWAP, _FILL = 0.3, 0.4, 0.2
_LISTS: dict[str, Any] = yaml.safe_load(
    Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")
)
_GROUPS = {word: group for group in _LISTS["alike"] for word in group}
_KNOWN = re.compile(rf"\b(?:{'|'.join(sorted(map(re.escape, _GROUPS), key=len, reverse=True))})\b")
_KEPT = frozenset(_LISTS["kept"])
_TOKEN = re.compile(r"\S+")
_BREAK = re.compile(r"(?<=[.!?]) ")


def noisy(question: str, rng: random.Random) -> str:
    """`question`, perhaps with other words, a sentence that does not matter, or words missing."""
    if rng.random() >= SHARE:
        return question
    question = _KNOWN.sub(lambda found: _other(found[0], rng), question)
    if rng.random() < _FILL:
        sentences = _BREAK.split(question)
        sentences.insert(rng.randrange(len(sentences)), rng.choice(_LISTS["fillers"]))
        question = " ".join(sentences)
    if rng.random() < 0.7:
        rate = rng.random() * _DROP
        kept = [word for word in _TOKEN.findall(question) if _stays(word) or rng.random() >= rate]
        question = " ".join(kept) or question
    if rng.random() < 0.06:
        question = question.lower()
    return question


def _other(word: str, rng: random.Random) -> str:
    return rng.choice(_GROUPS[word]) if rng.random() < _SWAP else word


def _stays(word: str) -> bool:
    bare = word.lower().strip(".,?!;:")
    return bare in _KEPT or not bare.isalpha() or word[0].isupper()
