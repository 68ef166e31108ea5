"""Which values of the environment are secrets, so that nobody prints or stores them."""

from __future__ import annotations

import os
import re

_NAMES = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$", re.IGNORECASE)
SHORTEST = 8
"""Anything shorter would hit ordinary text."""


def in_environment() -> set[str]:
    """Values of the variables whose names end in KEY, TOKEN, SECRET or PASSWORD."""
    return {
        value
        for name, value in os.environ.items()
        if _NAMES.search(name) and len(value) >= SHORTEST
    }
