"""Problems of any length: an opening, events and a closing that hand on one quantity.

`chains.yaml` holds pieces that fit any thing; they share no frame between splits. `stories.yaml`
holds whole settings (a bakery, a bus) with events of their own; each is told in one split only.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hyperagent.tasks.wordproblems.pieces import (
    SPLITS,
    Draft,
    Piece,
    more_frames,
    read_piece,
    read_yaml,
    tell,
)
from hyperagent.tasks.wordproblems.words import cast, others

_LINKS = ("", "", "", "", "Then ", "After that, ", "Later, ", "The next day, ")
_NO_LINK = ("then ", "after ", "later", "on ", "by ", "a ", "soon", "with ", "at ", "for ", "half ")


@dataclass(frozen=True)
class Chain:
    """Pieces that fit together.

    Parameters
    ----------
    name : str
        Empty for the pieces that fit any thing.
    openings, events, closings : tuple of Piece
    things : str
        What the quantity counts, in the plural; empty: any thing.
    """

    name: str
    openings: tuple[Piece, ...]
    events: tuple[Piece, ...]
    closings: tuple[Piece, ...]
    things: str = ""


@cache
def chains() -> dict[str, tuple[Chain, ...]]:
    """Chains of every split; the generic one stands first and in all of them."""
    generic, more = _read("chains.yaml"), more_frames("chains")
    parts = {
        part: tuple(
            read_piece(entry, "sums", more=more.get(entry["name"], ())) for entry in generic[part]
        )
        for part in ("openings", "events", "closings")
    }
    told = _read("stories.yaml")
    return {
        split: (Chain("", **parts), *(_story(entry, split) for entry in told[split]))
        for split in SPLITS
    }


def _read(name: str) -> Any:
    return read_yaml(Path(__file__).with_name(name))


_KINDS: dict[str, dict[str, Any]] = {
    "+": {"draw": {"n": [2, 60]}, "steps": [["r", "q + n", "{things} now"]]},
    "-": {
        "draw": {"n": [2, 60]},
        "where": "q - n >= 2",
        "steps": [["r", "q - n", "{things} left"]],
    },
    "*": {
        "draw": {"n": [2, 4]},
        "where": "q * n < 3000",
        "steps": [["r", "q * n", "{things} now"]],
    },
    "/": {
        "draw": {"n": [2, 7]},
        "where": "q % n == 0 and q // n > 1",
        "steps": [["r", "q / n", "{things} in one part"]],
    },
    "+n*m": {
        "draw": {"n": [2, 6], "m": [2, 12]},
        "steps": [["c", "n * m", "more {things}"], ["r", "q + c", "{things} now"]],
    },
    "-n*m": {
        "draw": {"n": [2, 6], "m": [2, 12]},
        "where": "q - n * m >= 2",
        "steps": [["c", "n * m", "{things} gone"], ["r", "q - c", "{things} left"]],
    },
}
"""Numbers and calculations of the kinds of event in stories.yaml."""


def _story(entry: dict[str, Any], split: str) -> Chain:
    """A chain from an entry of stories.yaml."""
    name = entry["name"]

    def piece(part: str, kind: dict[str, Any], frames: Sequence[str]) -> Piece:
        return read_piece({"name": f"{name}_{part}", "frames": frames} | kind, "sums", split=split)

    closings = [piece("ask", {"steps": []}, entry["ask"])]
    if entry.get("price"):
        price = {"draw": {"n": [2, 9]}, "steps": [["r", "q * n", "dollars"]], "skill": "money"}
        closings.append(piece("price", price, entry["price"]))
    return Chain(
        name,
        (piece("start", {"draw": {"n": [12, 90]}, "steps": []}, entry["start"]),),
        tuple(
            piece(f"event{i}", _KINDS[event["kind"]], event["forms"])
            for i, event in enumerate(entry["events"])
        ),
        tuple(closings),
        entry["things"],
    )


def tell_chain(rng: random.Random, split: str, steps: int) -> tuple[Draft, str] | None:
    """A problem with exactly `steps` calculations and its skill, or None if no draw fits."""
    every = chains()[split]
    # The generic chain has as many frames as all stories together.
    chain = every[0] if rng.random() < 0.7 else rng.choice(every[1:])
    draft = Draft(cast(rng) | ({"things": chain.things} if chain.things else {}))
    opening = _choose(rng, chain.openings, steps)
    closing = _choose(rng, chain.closings, steps - len(opening.steps))
    left = steps - len(opening.steps) - len(closing.steps)
    if (left == 0 and not opening.steps and not closing.steps) or not tell(
        opening, draft, rng, split
    ):
        return None
    if opening.steps:
        # Who has had a number in the opening does not get another one later.
        draft.words |= others(rng, draft.words)
    before: Piece | None = None
    idle = 0
    while left:
        fitting = [e for e in chain.events if len(e.steps) <= left and e is not before]
        if idle or (len(fitting) > 1 and rng.random() < 0.9):
            fitting = [event for event in fitting if event.steps]
        if not fitting:
            return None
        event = rng.choice(fitting)
        quantity = draft.quantity
        if not tell(event, draft, rng, split):
            return None
        if not event.steps:
            draft.quantity, idle = quantity, 1
        elif before is not None:
            draft.sentences[-1] = _linked(rng, draft, draft.sentences[-1])
        left, before = left - len(event.steps), event
    quantity = draft.quantity
    if not tell(closing, draft, rng, split):
        return None
    if not closing.steps:
        draft.quantity = quantity
    return draft, closing.skill if closing.steps or before is None else before.skill


def _choose(rng: random.Random, pieces: Sequence[Piece], most: int) -> Piece:
    return rng.choice([piece for piece in pieces if len(piece.steps) <= most])


def _linked(rng: random.Random, draft: Draft, sentence: str) -> str:
    """`sentence` behind a word like "Then", where that reads well."""
    link = rng.choice(_LINKS)
    if not link or sentence.lower().startswith(_NO_LINK):
        return sentence
    names = (draft.words["who"], draft.words["friend"], draft.words["third"])
    return link + (sentence if sentence.startswith(names) else sentence[0].lower() + sentence[1:])
