"""Text of models and users, made safe and measured for a picture."""

from __future__ import annotations

import html
import re
import unicodedata

# Control characters and lone surrogates, which XML forbids and terminals obey; new lines
# and tabs stay. Bidirectional overrides let a text pose as another one.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]"
)


def clean(text: object) -> str:
    """`text` with every control character and bidirectional override made visible."""
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", str(text).replace("\r\n", "\n"))


def escape(text: object) -> str:
    """`clean` text for an element or a quoted attribute of SVG or HTML."""
    return html.escape(clean(text), quote=True)


def one_line(text: object, limit: int) -> str:
    """`clean` text without line breaks, at most `limit` characters."""
    line = " ".join(clean(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def width(text: str, size: float) -> float:
    """Estimated width in pixels of `text` in a sans-serif face of `size` pixels."""
    units = 0.0
    for character in text:
        if unicodedata.east_asian_width(character) in "WF":
            units += 1.0
        elif character in "mwMW@%&":
            units += 0.86
        elif character in "ijlftr.,:;'|!()[] ":
            units += 0.33
        else:
            units += 0.66 if character.isupper() else 0.57
    return units * size


def fit(text: str, size: float, room: float) -> str:
    """`text`, cut with an ellipsis so that it fits into `room` pixels."""
    if width(text, size) <= room:
        return text
    while text and width(text + "…", size) > room:
        text = text[:-1]
    return text + "…"
