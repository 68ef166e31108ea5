"""Names, things and places that fill the sentences of a word problem."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

_PRONOUNS = {"he": ("he", "his", "him"), "she": ("she", "her", "her")}


@cache
def _words() -> dict[str, Any]:
    import yaml  # Only the generator needs it.

    text = Path(__file__).with_name("words.yaml").read_text(encoding="utf-8")
    words: dict[str, Any] = yaml.safe_load(text)
    return words


def cast(rng: random.Random) -> dict[str, str]:
    """One value for every word field of a sentence: persons, pronouns, things, a place.

    Parameters
    ----------
    rng : random.Random

    Returns
    -------
    dict of str to str
        ``who``, ``friend`` and ``third`` are different persons; ``he``, ``his``, ``him`` are the
        pronouns of the first, ``fhe``, ``fhis``, ``fhim`` of the second; capitals begin a sentence.
    """
    words = _words()
    who, kind = rng.choice(_persons())
    (things, thing), (things2, thing2) = rng.sample(words["things"], 2)
    boxes, box = rng.choice(words["boxes"])
    he, his, him = _PRONOUNS[kind]
    return others(rng, {"who": who}) | {
        "who": who, "he": he, "his": his, "him": him,
        "He": he.capitalize(), "His": his.capitalize(),
        "things": things, "thing": thing, "things2": things2, "thing2": thing2,
        "boxes": boxes, "box": box,
        "place": rng.choice(words["places"]), "day": rng.choice(words["days"]),
    }  # fmt: skip


def others(rng: random.Random, words: dict[str, str]) -> dict[str, str]:
    """A new friend and a new third person, neither of whom stands in `words` yet."""
    known = set(words.values())
    (friend, kind), (third, _) = rng.sample([p for p in _persons() if p[0] not in known], 2)
    he, his, him = _PRONOUNS[kind]
    return {
        "friend": friend, "third": third, "fhe": he, "fhis": his, "fhim": him,
        "FHe": he.capitalize(), "FHis": his.capitalize(),
    }  # fmt: skip


@cache
def _persons() -> list[tuple[str, str]]:
    """Names with the key of their pronouns."""
    return [(name, kind) for kind in _PRONOUNS for name in _words()[kind]]
