"""Small changes of wording, so that a model learns what a question says and not its template.

Numbers, and the words that decide the calculation, stay.
"""

from __future__ import annotations

import random
import re

SHARE = 0.85
"""Share of the questions that are changed at all."""
_DROP, _SWAP, _FILL = 0.3, 0.4, 0.2
_ALIKE = (
    ("buys", "purchases", "gets", "orders"),
    ("bought", "purchased", "got", "ordered"),
    ("gives", "hands", "passes", "brings"),
    ("gave", "handed", "passed", "brought"),
    ("owns", "has", "keeps"),
    ("finds", "discovers", "spots", "collects"),
    ("found", "discovered", "spotted", "collected"),
    ("makes", "produces", "creates", "prepares"),
    ("made", "produced", "created", "prepared"),
    ("needs", "requires", "wants"),
    ("picks", "gathers", "collects"),
    ("picked", "gathered", "collected"),
    ("puts", "places", "lays", "packs"),
    ("total", "overall", "whole"),
    ("altogether", "in all", "in total", "overall", "all together"),
    ("children", "kids", "pupils", "students", "boys", "girls"),
    ("people", "guests", "visitors", "workers", "players"),
    ("friends", "classmates", "cousins", "neighbors", "teammates"),
    ("friend", "classmate", "cousin", "neighbor", "sister", "brother"),
    ("calculate", "find", "work out", "determine"),
    ("How many", "What number of"),
    ("then", "afterwards", "later", "after that"),
    ("big", "large", "huge"),
    ("small", "little", "tiny"),
    ("also", "as well", "too"),
    ("shop", "store", "market", "supermarket"),
    ("school", "class", "club", "camp"),
    ("morning", "afternoon", "evening"),
    ("costs", "is priced at", "sells for"),
)
_GROUPS = {word: group for group in _ALIKE for word in group}
_KNOWN = re.compile(rf"\b(?:{'|'.join(sorted(map(re.escape, _GROUPS), key=len, reverse=True))})\b")
_FILLERS = [
    "It was a sunny day.",
    "Everybody was happy.",
    "The weather was nice.",
    "School had just ended.",
    "It was the first day of spring.",
    "They were all looking forward to it.",
    "It rained a little.",
    "A dog was barking outside.",
    "Music was playing.",
    "The holidays were near.",
    "It was fun.",
    "Nobody was in a hurry.",
    "This was an old habit.",
    "It took a while.",
    "That went well.",
    "The neighbors were watching.",
    "It was a long day.",
    "Everyone helped.",
    "The work was easy.",
    "Mom took a picture of it.",
    "It was late already.",
    "The teacher was pleased.",
]
_KEPT = frozenset(
    [
        "more",
        "less",
        "fewer",
        "each",
        "every",
        "half",
        "twice",
        "double",
        "triple",
        "times",
        "third",
        "quarter",
        "fourth",
        "fifth",
        "left",
        "rest",
        "remain",
        "remaining",
        "total",
        "all",
        "altogether",
        "together",
        "percent",
        "per",
        "than",
        "not",
        "no",
        "both",
        "other",
        "others",
        "same",
        "equal",
        "equally",
        "average",
        "first",
        "second",
        "as",
        "many",
        "much",
        "how",
        "and",
        "or",
        "if",
        "with",
        "without",
        "only",
        "of",
        "gives",
        "gave",
        "away",
        "sold",
        "sells",
        "ate",
        "eats",
        "lost",
        "loses",
        "bought",
        "buys",
        "gets",
        "got",
        "take",
        "takes",
        "took",
        "uses",
        "used",
        "spends",
        "spent",
        "week",
        "weeks",
        "day",
        "days",
        "hour",
        "hours",
        "minute",
        "minutes",
        "year",
        "years",
        "dozen",
        "dozens",
        "now",
        "before",
        "after",
        "older",
        "younger",
        "ago",
        "difference",
        "change",
        "profit",
        "cost",
        "costs",
        "price",
        "earns",
        "pays",
    ]
)
_TOKEN = re.compile(r"\S+")
_BREAK = re.compile(r"(?<=[.!?]) ")


def noisy(question: str, rng: random.Random) -> str:
    """`question`, perhaps with other words, a sentence that does not matter, or words missing."""
    if rng.random() >= SHARE:
        return question
    question = _KNOWN.sub(lambda found: _other(found[0], rng), question)
    if rng.random() < _FILL:
        sentences = _BREAK.split(question)
        sentences.insert(rng.randrange(len(sentences)), rng.choice(_FILLERS))
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
