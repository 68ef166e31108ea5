"""Worked examples and their calculation marks ``<<12-5=7>>7``, read and evaluated exactly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

NUMBER = r"(?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)"
MARK = re.compile(r"<<([^<>=]*)=([^<>=]*)>>")
_TOKEN = re.compile(r"\d+(?:\.\d+)?|\.\d+|[-+*/()]")


@dataclass(frozen=True)
class Example:
    """One training problem in the pocket style.

    Parameters
    ----------
    question : str
        The problem.
    work : str
        Lines in which each calculation stands once as ``<<expr=value>>value``.
    answer : str
        Final number, spelled by `plain`.
    steps : int
        Marks in `work`.
    source : str
        Name of the corpus, with ``+vary`` when the numbers were changed.
    """

    question: str
    work: str
    answer: str
    steps: int
    source: str


def plain(value: Fraction) -> str | None:
    """Spell a value: an integer without point, else at most four decimals.

    Returns
    -------
    str or None
        None if four decimals don't hold the value exactly.
    """
    if value.denominator == 1:
        return str(value.numerator)
    scaled = value * 10_000
    if scaled.denominator != 1:
        return None
    sign = "-" if value < 0 else ""
    whole, rest = divmod(abs(scaled.numerator), 10_000)
    return f"{sign}{whole}." + f"{rest:04d}".rstrip("0")


@lru_cache(maxsize=65536)
def tokens(expression: str) -> tuple[str, ...] | None:
    """Numbers, operators and brackets of an expression; None if it has anything else."""
    found = tuple(_TOKEN.findall(expression))
    return found if found and "".join(found) == expression else None


def compute(items: tuple[str | Fraction, ...]) -> Fraction | None:
    """Exact value of a token list; None if it is no expression or divides by zero.

    Parameters
    ----------
    items : tuple of str or Fraction
        As `tokens` gives it; numbers may be ready-made fractions.
    """
    position = 0

    def peek() -> str | Fraction | None:
        return items[position] if position < len(items) else None

    def product() -> Fraction:
        nonlocal position
        value = atom()
        while (sign := peek()) in ("*", "/"):
            position += 1
            value = value * atom() if sign == "*" else value / atom()
        return value

    def total() -> Fraction:
        nonlocal position
        value = product()
        while (sign := peek()) in ("+", "-"):
            position += 1
            value = value + product() if sign == "+" else value - product()
        return value

    def atom() -> Fraction:
        nonlocal position
        item = peek()
        position += 1
        if isinstance(item, Fraction):
            return item
        if item == "-":
            return -atom()
        if item == "(":
            value = total()
            if peek() != ")":
                raise ValueError("bracket")
            position += 1
            return value
        if item is None or not (item[0].isdigit() or item[0] == "."):
            raise ValueError("operand")
        return Fraction(item)

    try:
        value = total()
    except (ValueError, ZeroDivisionError):
        return None
    return value if position == len(items) else None


def evaluate(expression: str) -> Fraction | None:
    """Exact value of an expression of digits, ``.``, ``+ - * /`` and brackets, or None."""
    items = tokens(expression)
    return None if items is None else compute(items)


def tidy(expression: str) -> str | None:
    """Normalise an expression: no spaces, every number spelled by `plain`, no leading plus."""
    bare = re.sub(r"\s+|(?<=\d),(?=\d{3}(?!\d))", "", expression).lstrip("+")
    items = tokens(bare)
    if items is None:
        return None
    parts = [plain(Fraction(t)) if t[0].isdigit() or t[0] == "." else t for t in items]
    return None if None in parts else "".join(parts)


def is_calculation(expression: str) -> bool:
    """Whether there is anything to calculate (a number alone is no calculation)."""
    return any(sign in expression[1:] for sign in "+-*/")


def fault(example: Example) -> str | None:
    """Why an example is not in the pocket style, or None if it is."""
    marks = list(MARK.finditer(example.work))
    if not marks or len(marks) != example.steps:
        return "no marks"
    for mark in marks:
        value = evaluate(mark[1])
        if value is None or plain(value) != mark[2] or not is_calculation(mark[1]):
            return "mark is wrong"
        following = re.match(r"\d+(?:\.\d+)?", example.work[mark.end() :])
        if following is None or following[0] != mark[2]:
            return "value is not repeated"
    rest = MARK.sub("", example.work)
    if any(sign in rest for sign in "=<>"):
        return "equation outside marks"
    return None if marks[-1][2] == example.answer else "last value is not the answer"
