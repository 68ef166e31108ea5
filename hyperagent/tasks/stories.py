"""Stories of the word problem generator: what happens to a number of things, in words.

A story follows one quantity. Its events change it in one step (``+ - * /`` by ``{n}``) or in two
(``+n*m``: so many packs of so many). The sentences are in ``stories.yaml``; the three splits tell
different stories.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

SPLITS = ("train", "validation", "test")
NAMES = (
    "Ada", "Boris", "Chloe", "Dario", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Kira",
    "Luca", "Mina", "Nils", "Olga", "Pavel", "Rosa", "Sami", "Tara", "Umut", "Vera", "Yusuf",
)  # fmt: skip


@dataclass(frozen=True)
class Event:
    """One change of the quantity.

    Parameters
    ----------
    kind : {"+", "-", "*", "/", "+n*m", "-n*m"}
    forms : tuple of str
        Sentences that say the same.
    """

    kind: str
    forms: tuple[str, ...]

    @property
    def steps(self) -> int:
        return 2 if "n*m" in self.kind else 1


@dataclass(frozen=True)
class Story:
    """A template.

    Parameters
    ----------
    name : str
    things : str
        What is counted, in the plural.
    start : tuple of str
        Opening sentences with ``{n}``, the first value.
    events : tuple of Event
        May happen in any order, also more than once.
    ask : tuple of str
        Questions for the quantity at the end.
    price : tuple of str
        Closings that turn the quantity into dollars at ``{n}`` each, with their question.
    """

    name: str
    things: str
    start: tuple[str, ...]
    events: tuple[Event, ...]
    ask: tuple[str, ...]
    price: tuple[str, ...] = ()


@cache
def stories() -> dict[str, tuple[Story, ...]]:
    """Stories of every split, read from ``stories.yaml``."""
    import yaml  # Only the generator needs it.

    text = Path(__file__).with_name("stories.yaml").read_text(encoding="utf-8")
    return {
        split: tuple(_story(entry) for entry in told)
        for split, told in yaml.safe_load(text).items()
    }


def _story(entry: dict[str, Any]) -> Story:
    events = tuple(Event(event["kind"], tuple(event["forms"])) for event in entry["events"])
    sentences = {key: tuple(entry.get(key, ())) for key in ("start", "ask", "price")}
    return Story(entry["name"], entry["things"], events=events, **sentences)
