"""How hard a task looks: cheap numbers read from its text, without a model.

They are the second half of what a designer knows about a task; `features.encode_texts` is the
first. Pure string work, so that a designer costs no call and hardly any time.
"""

from __future__ import annotations

import math
import re
from collections import Counter

import numpy as np

FEATURES = (
    "log words", "mean word length", "log sentences", "log numbers", "log largest number",
    "log percents and fractions", "log clauses", "log conditions", "log comparatives",
    "log rates", "log negations", "log options", "code", "log question marks", "log symbols",
    "log names",
)  # fmt: skip
"""Names of the columns. "log x" is ``log(1 + x)`` of a count."""

# Mean and standard deviation over 1,628 questions: the first 500 of the training part of GSM8K, the
# development part of AQuA, the first 500 of the validation part of MMLU, the training part of
# MBPP. No test question is among them. Fixed, so that a saved network stays right.
_MEAN = np.array(
    [3.362, 4.417, 1.035, 1.110, 3.340, 0.099, 1.197, 0.308,
     0.245, 0.236, 0.087, 0.014, 0.248, 0.415, 0.475, 0.356],
    dtype=np.float32,
)  # fmt: skip
_STD = np.array(
    [0.624, 0.677, 0.528, 0.779, 3.151, 0.290, 0.820, 0.397,
     0.459, 0.426, 0.271, 0.106, 0.432, 0.343, 0.588, 0.619],
    dtype=np.float32,
)  # fmt: skip

_KINDS = {
    "clause": "and but which who that because since so then while after before",
    "condition": "if when unless until whether assuming suppose given",
    "comparative": "more less fewer than most least twice thrice half double triple times "
    "greater larger smaller higher lower longer shorter older younger faster slower",
    "rate": "each per every rate average ratio",
    "negation": "not no never none neither nor without except cannot",
    "code": "def return import assert elif lambda",
}
_KIND = {word: kind for kind, words in _KINDS.items() for word in words.split()}
_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_PART = re.compile(r"%|\bpercent\b|\d/\d")
_SENTENCE = re.compile(r"[.!?](?:\s|$)")
_OPTION = re.compile(r"(?:^|[\s\[',\"])\(?[A-J][).:]")
_CODE = re.compile(r"```|>>>|==|[{}]|\w\(\w*\)|;\n")
_SYMBOL = re.compile(r"[=+*/^<>\\$√π≤≥∑∫×÷]")
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]+")
_LARGEST = 1e12


def difficulty(question: str) -> np.ndarray:
    """Standardised difficulty features of one question.

    Parameters
    ----------
    question : str
        The text that the agents will read.

    Returns
    -------
    ndarray, shape (16,), float32
        In the order of `FEATURES`; each about mean 0 and standard deviation 1 over the
        questions of common benchmarks, and clipped to [-5, 5].
    """
    return np.clip((raw_difficulty(question) - _MEAN) / _STD, -5.0, 5.0)


def raw_difficulty(question: str) -> np.ndarray:
    """The features before they are standardised: shape (16,), float32, all >= 0."""
    words = _WORD.findall(question)
    kinds = Counter(map(_KIND.get, map(str.lower, words)))
    numbers = _NUMBER.findall(question)
    # A run of digits may be longer than a float can hold.
    largest = max((float(n.replace(",", "")[:16]) for n in numbers), default=0.0)
    counts = (
        len(_SENTENCE.findall(question)),
        len(numbers),
        min(largest, _LARGEST),
        len(_PART.findall(question)),
        kinds["clause"] + question.count(",") + question.count(";"),
        kinds["condition"],
        kinds["comparative"],
        kinds["rate"],
        kinds["negation"],
        len(_OPTION.findall(question)),
        question.count("?"),
        len(_SYMBOL.findall(question)),
        len(_NAME.findall(question)),
    )
    logs = list(map(math.log1p, counts))
    letters = sum(map(len, words)) / max(len(words), 1)
    code = float(kinds["code"] >= 2 or _CODE.search(question) is not None)
    return np.array(
        [math.log1p(len(words)), letters, *logs[:10], code, *logs[10:]], dtype=np.float32
    )
