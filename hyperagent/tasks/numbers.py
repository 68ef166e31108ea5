"""Numbers in free text: find them, read them exactly, spell them one way.

All arithmetic is on `fractions.Fraction`, so that no comparison depends on binary floating
point. Currency signs, thousands separators, units, markdown and simple LaTeX around a number
are skipped; the sign is kept.
"""

from __future__ import annotations

import re
from fractions import Fraction

_CURRENCY = r"(?:US\s?)?[$€£¥₹]\s?|(?:USD|EUR|GBP|Rs\.?)\s?"
# At most 100 digits in a run: Python refuses to read thousands, and no answer has them.
_RUN = r"\d{1,100}(?!\d)"
_DIGITS = rf"\d{{1,3}}(?:,\d{{3}}){{1,30}}(?!\d)|{_RUN}"
# A minus is a sign only where no operand stands before it: "= -5", "is -$5", not "9-5", "9 -5".
_SIGN = r"(?<![\w)\]}%.])(?<![\d)\]}%]\s)[-+]"
NUMBER = re.compile(
    rf"(?:(?P<sign>{_SIGN})|(?<!\w)(?<!\d\.))(?:{_CURRENCY})?(?P<inner>(?<=[$€£¥₹])[-+])?"
    rf"(?:(?P<whole>{_RUN})[ ](?P<mixed>{_RUN}/0*[1-9]\d{{0,100}})(?![\d/])"
    rf"|(?P<over>(?:{_DIGITS})/0*[1-9]\d{{0,100}})(?![\d/.]\d)"
    rf"|(?P<plain>(?:{_DIGITS})(?:\.{_RUN})?|\.{_RUN})(?P<power>[eE][-+]?\d{{1,3}}(?!\w))?)"
    rf"(?P<scale>\s(?:thousand|million|billion|trillion)\b)?"
)
_SCALES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_ORDINAL = re.compile(r"(?:st|nd|rd|th)\b(?!\s+(?:place|position)\b)")

_ODD_CHARACTERS = str.maketrans(
    {"−": "-", "–": "-", "﹣": "-", "－": "-", "\u2044": "/", "％": "%", "\u200b": None}
)
_ODD = re.compile("[−–﹣－\u2044％\u200b\u00a0\u2009\u202f½⅓⅔¼¾⅛⅜⅝⅞]")
_THIN_GROUPS = re.compile(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))")
_VULGAR = re.compile("(\\d?)\\s?([½⅓⅔¼¾⅛⅜⅝⅞])")
_VULGAR_VALUES = {
    "½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4",
    "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8",
}  # fmt: skip
_LATEX_FRACTION = re.compile(r"\\[dt]?frac\s*\{\s*(-?[\d.,]+)\s*\}\s*\{\s*([\d.,]+)\s*\}")
_LATEX_WHOLE = re.compile(r"(?<=\d)\s*(?=\\[dt]?frac)")
_LATEX_GROUPS = re.compile(r"(?<=\d)\\[,;: ](?=\d{3}(?!\d))")
_LATEX_SPACE = re.compile(r"\\[!,;: ]|\{,\}(?=\d)|\\(?:left|right|displaystyle)(?![a-z])")
_LATEX_TEXT = re.compile(r"\\(?:text|mathrm|mathbf|textbf|mbox|operatorname)\s*\{([^{}]*)\}")


def clean(text: str) -> str:
    r"""Bring typographic and LaTeX spellings of numbers to plain ASCII.

    Unicode minus and dashes become ``-``, vulgar fractions ``3/4``, ``\frac{3}{4}`` becomes
    ``3/4``, ``1{,}000`` becomes ``1,000``, ``\$`` and ``\%`` lose the backslash.
    """
    if _ODD.search(text):
        text = _THIN_GROUPS.sub(",", text).translate(_ODD_CHARACTERS)
        text = _VULGAR.sub(lambda m: (f"{m[1]} " if m[1] else "") + _VULGAR_VALUES[m[2]], text)
    if "\\" in text:
        text = _LATEX_GROUPS.sub(",", text.replace("{,}", ",").replace("\\!", ""))
        text = _LATEX_WHOLE.sub(" ", text)
        text = _LATEX_FRACTION.sub(r"\1/\2", text)
        text = _LATEX_TEXT.sub(r" \1 ", text)
        text = _LATEX_SPACE.sub(" ", text).replace("\\$", "$").replace("\\%", "%")
    return text


def value(match: re.Match[str]) -> Fraction:
    """Exact value of a match of `NUMBER`."""
    if match["mixed"] is not None:
        number = Fraction(match["whole"]) + Fraction(match["mixed"])
    elif match["over"] is not None:
        number = Fraction(match["over"].replace(",", ""))
    else:
        number = Fraction(match["plain"].replace(",", "") + (match["power"] or ""))
    if match["scale"]:
        number *= 10 ** _SCALES[match["scale"].strip()]
    negative = (match["sign"] == "-") != (match["inner"] == "-")
    return -number if negative else number


def is_ordinal(match: re.Match[str]) -> bool:
    """Whether the number is a rank such as ``3rd``."""
    return _ORDINAL.match(match.string, match.end()) is not None


def first(text: str) -> re.Match[str] | None:
    """First number in cleaned `text`."""
    return NUMBER.search(text)


def last(text: str) -> re.Match[str] | None:
    """Last number in cleaned `text`; a rank (``3rd``) counts only if there is nothing else."""
    # Most replies end with a number: a look at the end saves the search through the rest.
    for start in (text.rfind(" ", 0, max(0, len(text) - 150)), -1):
        rank = found = None
        for match in NUMBER.finditer(text, start + 1):
            if is_ordinal(match):
                rank = match
            else:
                found = match
        if found is not None:
            return found
    return rank


def spell(number: Fraction) -> str:
    """The one spelling of a number: ``18``, ``-5``, ``0.75``, ``0.333333``.

    Integers are exact. Others are rounded to six decimals, or to six significant digits
    below one, so that ``1/3``, ``0.3333333`` and a float's ``0.30000000000000004`` agree
    with what they stand for.
    """
    if number.denominator == 1:
        return str(number.numerator)
    places = 6
    scaled = abs(number)
    while scaled < Fraction(1, 10) and places < 40:
        scaled *= 10
        places += 1
    rounded = round(number * 10**places)
    sign, digits = ("-" if rounded < 0 else ""), str(abs(rounded)).rjust(places + 1, "0")
    whole, part = digits[:-places], digits[-places:].rstrip("0")
    return f"{sign}{whole}.{part}" if part else (f"{sign}{whole}" if whole.strip("0") else "0")


def read(text: str) -> Fraction | None:
    """Value of a short answer such as ``$1,800.00 per day``, or None if it holds no number.

    Where it holds several, the first counts, unless the text is an equation: then the first
    after the last ``=``.
    """
    cleaned = clean(text)
    _, equals, right = cleaned.rpartition("=")
    match = (first(right) if equals else None) or first(cleaned)
    return None if match is None else value(match)
