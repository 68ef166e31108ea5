"""Exact arithmetic for models that write ``<<12-5=`` and leave the value to us.

Sums of fractions, nothing else: no names, no calls, no powers, and limits on the length of an
expression and the size of its numbers, so that no text can keep the processor busy.
"""

from __future__ import annotations

import re
from fractions import Fraction

LONGEST = 100
"""Characters of an expression."""
DEEPEST = 20
"""Brackets within brackets, and signs before a number."""
LARGEST = 10**30
"""Size of numerators and denominators on the way."""
PLACES = 4
"""Decimals of a value that is no integer."""

_OPEN = re.compile(r"<<([0-9.+\-*/() ]+)=", re.ASCII)
_TOKEN = re.compile(r"(\d+(?:\.\d+)?|\.\d+)|([-+*/()])", re.ASCII)


class _NoValueError(Exception):
    """The expression has no value that we would write."""


def opened(text: str, since: int) -> str | None:
    """The expression whose value `text` waits for, None if it waits for none.

    Parameters
    ----------
    text : str
        A reply in the making.
    since : int
        The equals sign must stand here or later.

    Examples
    --------
    >>> opened("left: <<12-5=", 12), opened("left: <<12-5=7>>7", 16)
    ('12-5', None)
    """
    at = text.rfind("<<")
    found = _OPEN.match(text, at) if at >= 0 else None
    return found[1] if found is not None and found.end() > since else None


def evaluate(expression: str) -> str | None:
    """The value of `expression` as text, None if it has none.

    Parameters
    ----------
    expression : str
        Digits, decimal points, ``+ - * /``, brackets and spaces, e.g. ``"(3+4)*1.5"``.

    Returns
    -------
    str or None
        An integer without a point, any other number with at most `PLACES` decimals and no
        trailing zeros, rounded half to even. None for what is no expression, divides by
        zero, or is longer or larger than the limits of this module.

    Examples
    --------
    >>> evaluate("12-5"), evaluate("1/8"), evaluate("2/3"), evaluate("1/0")
    ('7', '0.125', '0.6667', None)
    """
    try:
        return written(value(expression))
    except (_NoValueError, ZeroDivisionError):
        return None


def value(expression: str) -> Fraction:
    """The exact value of `expression`; raises for what `evaluate` answers with None."""
    if len(expression) > LONGEST:
        raise _NoValueError
    tokens = _tokens(expression)
    tokens.reverse()
    result = _sum(tokens, DEEPEST)
    if tokens:
        raise _NoValueError
    return result


def written(number: Fraction) -> str:
    """`number` as a reply spells it."""
    rounded = round(number * 10**PLACES)
    whole, rest = divmod(abs(rounded), 10**PLACES)
    decimals = f".{rest:0{PLACES}d}".rstrip("0") if rest else ""
    return f"{'-' if rounded < 0 else ''}{whole}{decimals}"


def _tokens(expression: str) -> list[str]:
    tokens, at = [], 0
    while at < len(expression):
        if expression[at] == " ":
            at += 1
            continue
        found = _TOKEN.match(expression, at)
        if found is None:
            raise _NoValueError
        tokens.append(found.group())
        at = found.end()
    return tokens


# The next token is the last of the list: taking it is a pop.
def _sum(tokens: list[str], depth: int) -> Fraction:
    result = _product(tokens, depth)
    while tokens and tokens[-1] in "+-":
        sign = 1 if tokens.pop() == "+" else -1
        result = _small(result + sign * _product(tokens, depth))
    return result


def _product(tokens: list[str], depth: int) -> Fraction:
    result = _atom(tokens, depth)
    while tokens and tokens[-1] in "*/":
        times = tokens.pop() == "*"
        other = _atom(tokens, depth)
        result = _small(result * other if times else result / other)
    return result


def _atom(tokens: list[str], depth: int) -> Fraction:
    if not tokens or depth < 0:
        raise _NoValueError
    token = tokens.pop()
    if token in "+-":
        number = _atom(tokens, depth - 1)
        return -number if token == "-" else number
    if token == "(":
        number = _sum(tokens, depth - 1)
        if not tokens or tokens.pop() != ")":
            raise _NoValueError
        return number
    if token in "*/)":
        raise _NoValueError
    return _small(Fraction(token))


def _small(number: Fraction) -> Fraction:
    if abs(number.numerator) > LARGEST or number.denominator > LARGEST:
        raise _NoValueError
    return number
