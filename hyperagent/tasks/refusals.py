"""Replies that give up."""

from __future__ import annotations

import re

SENTENCE_END = re.compile(r"(?<=\w)[.;!?](?:\s|$)|\n")
_REFUSAL = re.compile(
    r"\b(?:I|we)(?:\s+am|'m|\s+are|\s+was)?\s+(?:cannot|can't|can\s?not|could\s?n[o']t|unable\s+to"
    r"|not\s+able\s+to|do\s+not|don't)\s+(?:\w+\s+){0,2}?"
    r"(?:answer|solve|determine|help|assist|provide|compute|calculate|find)\b"
    r"|\bI\s+(?:do\s+not|don't)\s+know\b"
    r"|\b(?:can\s?not|can't|could\s+not)\s+be\s+(?:determined|answered|solved|calculated|found)\b"
    r"|\b(?:not\s+enough|insufficient|missing)\s+(?:information|data)\b"
    r"|\bimpossible\s+to\s+(?:answer|determine|solve|say|calculate|find)\b",
    re.IGNORECASE,
)


def refuses(text: str) -> bool:
    """Whether a reply gives up: it says so, and no sentence after that holds a digit.

    A model that says "we cannot determine x directly" and goes on to calculate has not given up.
    """
    for match in _REFUSAL.finditer(text):
        rest = SENTENCE_END.split(text[match.end() :], maxsplit=1)
        if len(rest) < 2 or not any(c.isdigit() for c in rest[1]):
            return True
    return False
