"""Small changes of wording, so that a model learns what a question says and not its template.

Numbers, and the words that decide the calculation, stay. `renamed` puts other things, animals and
persons into a problem: a small vocabulary cannot know all nouns, but a model can learn that most
nouns do not matter.
"""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import yaml

from hyperagent.tasks.wordproblems.pieces import capitals

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


def _both(noun: str) -> tuple[str, str]:
    """Plural and singular of an entry of nouns.yaml."""
    singular, _, plural = noun.partition("/")
    if not plural and re.search(r"(?:[sxz]|[cs]h)$", singular):
        plural = singular + "es"
    elif not plural and re.search(r"[^aeiou]y$", singular):
        plural = singular[:-1] + "ies"
    return plural or singular + "s", singular


_NOUNS: dict[str, list[tuple[str, str]]] = {
    group: [_both(noun) for noun in nouns]
    for group, nouns in yaml.safe_load(
        Path(__file__).with_name("nouns.yaml").read_text(encoding="utf-8")
    ).items()
}
_FORMS = {form: (group, noun) for group, nouns in _NOUNS.items() for noun in nouns for form in noun}
"""Every form of a noun: its group and both its forms, the plural first."""
_WORD = re.compile(r"(?:(\b[A-Za-z']+) )?\b([a-z]+)\b")
_BEFORE_VERB = re.compile(
    r"[A-Z].*|he|she|they|we|you|i|who|to|will|then|and|can|could|would", re.ASCII
)
_RENAME, _NAME = 0.5, 0.35
_ANY = re.compile(r"\b[A-Za-z]+\b")
_NAMES = re.compile(
    r"(?<=[a-z,] )(?!(?:{})\b)[A-Z][a-z]{{2,}}\b".format("|".join(_LISTS["not_names"]))
)
_AN = re.compile(r"\b([Aa])n (?=[a-z])")
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


def renamed(question: str, work: str, rng: random.Random) -> tuple[str, str]:
    """A problem and its work with other nouns and names, the same in both, or unchanged.

    Plurals stay plural, and people do not become things. A word after a name or a pronoun is taken
    for a verb and stays ("she plants").
    """
    if rng.random() >= _RENAME:
        return question, work
    fresh: dict[str, str] = {}
    for found in _WORD.finditer(question):
        before, word = found[1] or "", found[2]
        if word in fresh or word not in _FORMS:
            continue
        if _BEFORE_VERB.fullmatch(before):
            fresh[word] = word
            continue
        group, known = _FORMS[word]
        other = rng.choice(_NOUNS[group]) if rng.random() < 0.7 else known
        fresh |= dict(zip(known, other, strict=True))
    for name in _NAMES.findall(question):
        if name not in fresh and rng.random() < _NAME:
            fresh[name] = _name(rng)
    if not fresh:
        return question, work

    def swap(text: str) -> str:
        return _ANY.sub(lambda found: fresh.get(found[0], found[0]), text)

    return capitals(_AN.sub(r"\1 ", swap(question))), swap(work)


def _name(rng: random.Random) -> str:
    """A name nobody knows: ``Brelon``."""
    onsets, vowels, ends = _LISTS["onsets"], _LISTS["vowels"], _LISTS["ends"]
    syllables = rng.choice((1, 1, 2))
    middle = "".join(rng.choice(onsets) + rng.choice(vowels) for _ in range(syllables))
    return (middle + rng.choice(ends)).capitalize()


def _other(word: str, rng: random.Random) -> str:
    return rng.choice(_GROUPS[word]) if rng.random() < _SWAP else word


def _stays(word: str) -> bool:
    bare = word.lower().strip(".,?!;:")
    return bare in _KEPT or not bare.isalpha() or word[0].isupper()
