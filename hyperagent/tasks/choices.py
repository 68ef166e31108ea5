"""Which of the lettered options a reply chooses."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hyperagent.tasks import numbers
from hyperagent.tasks.refusals import refuses

_OPEN = r"[\s*_`$\"'\[({\\:]*(?:\\(?:boxed|text|mathrm|textbf|mathbf)\s*\{\s*|[({\[]\s*){0,6}"
_CLOSE = r"(?![\w'’])"
_STATED = re.compile(
    r"(?:\banswer\b(?:\s+\w+){0,6}?\s*(?:\*\*\s*)?(?:\bis\b|\bwould\s+be\b|\bshould\s+be\b|[:=])"
    r"|\b(?:correct|right|best)\s+(?:answer|option|choice)\b[^\n]{0,20}?(?:\bis\b|[:=])"
    r"|\b(?:option|choice)\s+(?=[(*]{0,3}[A-Z]\b[^\n]{0,30}?\bis\s+(?:the\s+)?(?:correct|right|best|true))"
    r"|\b(?:I|we|I'd|I'll)\s+(?:would\s+)?(?:choose|pick|select|go\s+with|vote\s+for)\b"
    r"|\\boxed(?=\s*\{)|\#{4})"
    rf"\s*:?\s*(?:(?:the\s+)?(?:option|choice|letter)\s+)?{_OPEN}(?P<letter>[A-Za-z]){_CLOSE}"
    r"(?P<close>\s*[)\].:*}])?",
    re.IGNORECASE,
)
_BRACKETED = re.compile(r"\(\s*(?P<letter>[A-Z])\s*\)")
_LINE = re.compile(
    r"^[ \t\r*_`\"'(\[#>-]*(?:option|choice)?[ \t]*(?P<letter>[A-Z])(?:[)\].:*_`]|[ \t\r]*$)",
    re.MULTILINE | re.IGNORECASE,
)
_NEGATED = re.compile(
    r"\s*\)?[^.\n(]{0,40}?\b(?:is|are|was|can|does)(?:\s?n[o']t|\s+(?:also\s+|partially\s+)?"
    r"(?:incorrect|wrong|false|not|irrelevant|unlikely))\b"
)
_STATEMENT = re.compile(r"\b(?:[Aa]nswer|ANSWER)\b[^\n]{0,40}?(?:\bis\b|:)")
_NUMBER_WITH_UNIT = re.compile(rf"\s*{numbers.NUMBER.pattern}[\sA-Za-z%°./]*")
_ONLY = re.compile(r"[\s*_`\"'(\[]*(?P<letter>[A-Za-z])[\s*_`\"')\].:]*")


def extract_choice(text: str, choices: Sequence[str]) -> str | None:
    """Capital letter of the option that a reply chooses, or None.

    In this order: a reply that is one letter; the last stated answer (``the answer is (B)``,
    ``Answer: B``, ``\\boxed{B}``); the text of exactly one option in what follows the last
    ``answer is`` or in the last line; the last letter in brackets or at the head of a line,
    where the reply does not just list the options.
    """
    if (alone := _ONLY.fullmatch(text)) and (letter := _valid(alone["letter"], choices)):
        return letter
    for match in reversed(list(_STATED.finditer(text))):
        letter = _valid(match["letter"], choices)
        # "the answer is a triangle": a small letter needs a bracket, and so does the article.
        small = match["letter"].islower() or _is_article(text, match)
        if letter and not (small and not match["close"] and text[match.end() :].strip(" .*\n")):
            return letter
    lines = [line for line in text.strip().splitlines() if line.strip()]
    if not lines or refuses(text):
        return None
    stated = [text[match.end() :] for match in _STATEMENT.finditer(text)][-1:]
    for part in stated:
        if letter := _by_value(part, choices) or _by_text(part, choices):
            return letter
    if len(lines[-1].split()) <= 12 and (letter := _by_text(lines[-1], choices)):
        return letter
    for pattern in (_BRACKETED, _LINE):
        found = [
            letter
            for match in pattern.finditer(text)
            if (letter := _valid(match["letter"], choices))
            and not _NEGATED.match(text, match.end())
        ]
        if found and (len(set(found)) == 1 or pattern.search(lines[-1])):
            return found[-1]
    return None


def normalise_choice(answer: str, choices: Sequence[str]) -> str | None:
    """Capital letter of an answer given as a letter (``b``, ``(B)``, ``B) 12``) or as text."""
    if alone := _ONLY.fullmatch(answer):
        return _valid(alone["letter"], choices)
    return _by_text(answer, choices, whole=True) or extract_choice(answer, choices)


def _valid(letter: str, choices: Sequence[str]) -> str | None:
    letter = letter.upper()
    return letter if ord(letter) - 65 < len(choices) else None


def _is_article(text: str, match: re.Match[str]) -> bool:
    """Whether the ``A`` found is the first word of a sentence such as ``A triangle``."""
    return match["letter"] == "A" and re.match(r"\s+[a-z]", text[match.end() :]) is not None


def _by_value(text: str, choices: Sequence[str]) -> str | None:
    """Letter of the one option that is the number with which `text` begins."""
    match = numbers.NUMBER.match(numbers.clean(text).lstrip(" *_`$(:\n"))
    if match is None:
        return None
    wanted = numbers.spell(numbers.value(match))
    found = [
        index
        for index, option in enumerate(choices)
        if (value := _NUMBER_WITH_UNIT.fullmatch(numbers.clean(option)))
        and numbers.spell(numbers.value(value)) == wanted
    ]
    return chr(65 + found[0]) if len(found) == 1 else None


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[\s*_`$\"'\\{}]+", " ", text.casefold()).split()).strip(" .,:;()")


def _by_text(text: str, choices: Sequence[str], *, whole: bool = False) -> str | None:
    """Letter of the one option whose text stands in `text`; of nested ones, the longest."""
    plain = _plain(text)
    options = [_plain(choice) for choice in choices]
    if plain in options:
        return chr(65 + options.index(plain)) if options.count(plain) == 1 else None
    if whole or not plain:
        return None
    found = [
        o for o in options if o and re.search(rf"(?<![\w.]){re.escape(o)}(?![\w]|\.\d)", plain)
    ]
    longest = max(found, key=len, default="")
    if not longest or any(o not in longest for o in found) or options.count(longest) > 1:
        return None
    return chr(65 + options.index(longest))
