"""Numbers that describe a question and a reply to it, read from the text alone.

They say nothing about the right answer; a model learns from them how far a reply can be trusted.
Reading a reply costs nothing beyond what the reply itself cost.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

import numpy as np

from hyperagent.llm import calculator
from hyperagent.tasks import numbers

QUESTION_FEATURES = (
    "numbers", "distinct numbers", "log characters", "sentences", "percent", "multiples",
    "comparisons", "rates", "conditions", "average", "remainder", "fraction", "time", "money",
    "log largest number", "decimal point",
)  # fmt: skip
REPLY_FEATURES = (
    "log characters", "calculations", "wrong calculations", "any wrong calculation",
    "question numbers unused", "share of question numbers used", "no answer", "not an integer",
    "not positive", "log answer", "answer stands in question", "paragraphs", "equals signs",
    "final marker", "unknowns", "hedges", "ends in mid-sentence", "answer near the end",
    "answer is a stated result", "first to last ratio of paragraphs",
    "states a confidence", "stated confidence",
)  # fmt: skip

_WORDS = {
    "multiples": r"half|third|quarter|twice|triple|times|double",
    "comparisons": r"\bmore\b|\bless\b|\bfewer\b|\bthan\b",
    "rates": r"\beach\b|\bper\b|\bevery\b",
    "conditions": r"\bif\b",
    "average": r"average",
    "remainder": r"left|remain|rest\b",
    "fraction": r"\d/\d",
    "time": r"hour|minute|day|week|month|year",
    "money": r"\$|dollar|cent\b|cents\b",
}
_PATTERNS = {name: re.compile(pattern) for name, pattern in _WORDS.items()}
_LARGEST = Fraction(10**30)
_HEDGE = re.compile(
    r"assum|approx|however|mistake|wait\b|not possible|cannot|unknown|since we don't|round"
)
_CONFIDENCE = re.compile(r"\bconfidence\W{0,3}[:=]\W{0,3}(\d(?:\.\d{1,6})?)(?![\d%])")
_UNKNOWN = re.compile(r"\b[xy] =|\blet [a-z] ")
_OPERATORS = str.maketrans({"×": "*", "÷": "/", "−": "-", "–": "-"})
_LATEX = re.compile(r"\\(times|cdot|div)\b")
_OPERAND = r"\$?\d[\d,]{0,20}(?:\.\d{1,10})?"
_CALCULATION = re.compile(
    rf"(?<![\w.])({_OPERAND}(?:\s*[-+*/x]\s*{_OPERAND}){{1,8}})\s*(?:[a-z]+\s*){{0,3}}"
    rf"=\s*\$?(-?\d[\d,]{{0,20}}(?:\.\d{{1,10}})?)(?!\s*[-+*/x]?\s*[\d%])"
)


def question_features(question: str) -> np.ndarray:
    """What makes a question hard, as far as its wording shows.

    Parameters
    ----------
    question : str

    Returns
    -------
    ndarray, shape (len(QUESTION_FEATURES),), float64
    """
    text = question.lower()
    found = _numbers(text)
    counts = {name: len(pattern.findall(text)) for name, pattern in _PATTERNS.items()}
    return np.array(
        [
            len(found),
            len(set(found)),
            math.log1p(len(text)),
            len(re.findall(r"[.?!](?:\s|$)", text)),
            "%" in text or "percent" in text,
            *(counts[name] for name in _WORDS),
            max((math.log1p(abs(value)) for value in found), default=0.0),
            any(value != int(value) for value in found),
        ],
        dtype=np.float64,
    )


def reply_features(question: str, reply: str, answer: str | None) -> np.ndarray:
    """How a reply looks beside its question.

    Parameters
    ----------
    question, reply : str
    answer : str or None
        The answer read from the reply, as `hyperagent.tasks.normalise` spells it.

    Returns
    -------
    ndarray, shape (len(REPLY_FEATURES),), float64
    """
    asked, used = _numbers(question), _numbers(reply)
    value = None if answer is None else numbers.read(answer)
    number = None if value is None else _small(value)
    results, wrong = check_calculations(reply)
    lower, tail = reply.lower(), reply.rstrip()[-1:]
    unused = len(set(asked) - set(used))
    sure = _CONFIDENCE.search(lower)
    paragraphs = [len(part) for part in reply.split("\n\n") if part.strip()] or [0]
    return np.array(
        [
            math.log1p(len(reply)),
            len(results),
            min(wrong, 3),
            wrong > 0,
            unused,
            1.0 - unused / max(1, len(set(asked))),
            answer is None,
            number is not None and number != int(number),
            number is not None and number <= 0,
            0.0 if number is None else math.log1p(abs(number)),
            number is not None and number in asked,
            len(paragraphs),
            reply.count("="),
            "answer is" in lower or "boxed" in lower,
            len(_UNKNOWN.findall(lower)),
            len(_HEDGE.findall(lower)),
            tail not in ".}])$*",
            number is not None and number in used[-3:],
            number is not None and number in results,
            math.log1p(paragraphs[-1]) - math.log1p(paragraphs[0]),
            sure is not None,
            0.5 if sure is None else min(float(sure[1]), 1.0),
        ],
        dtype=np.float64,
    )


def check_calculations(reply: str) -> tuple[list[float], int]:
    """Recompute what a reply calculates.

    Parameters
    ----------
    reply : str

    Returns
    -------
    results : list of float
        What the reply says each calculation gives.
    wrong : int
        How many of them are off by more than one per cent.
    """
    results, wrong = [], 0
    plain = _LATEX.sub(lambda m: "/" if m[1] == "div" else "*", reply).translate(_OPERATORS)
    for match in _CALCULATION.finditer(plain):
        expression = re.sub(r"[$,]", "", match[1]).replace("x", "*")
        true = calculator.evaluate(expression)
        if true is None:
            continue
        said = float(match[2].replace(",", ""))
        results.append(said)
        wrong += abs(float(true) - said) > 0.01 * max(1.0, abs(said))
    return results, wrong


def _numbers(text: str) -> list[float]:
    found = numbers.NUMBER.finditer(numbers.clean(text))
    return [_small(numbers.value(match)) for match in found]


def _small(value: Fraction) -> float:
    """`value` as a float; a hundred digits and a power of ten do not fit into one."""
    return float(max(-_LARGEST, min(_LARGEST, value)))
