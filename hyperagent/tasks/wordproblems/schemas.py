"""Problems in one piece, from the YAML files in ``schemas``: one file for each skill.

The files in ``training/schemas`` hold further ones, which only training problems tell.
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

from hyperagent.tasks.wordproblems.pieces import (
    Draft,
    Piece,
    more_frames,
    read_piece,
    read_yaml,
    tell,
)
from hyperagent.tasks.wordproblems.words import cast

_FOLDER = Path(__file__).parent


@cache
def schemas(split: str) -> dict[int, tuple[Piece, ...]]:
    """Schemas of a split by their number of calculations."""
    found: dict[int, list[Piece]] = {}
    for piece in (*_divided(), *(_training() if split == "train" else ())):
        found.setdefault(len(piece.steps), []).append(piece)
    return {steps: tuple(pieces) for steps, pieces in found.items()}


@cache
def _divided() -> tuple[Piece, ...]:
    """Schemas whose frames are divided among the splits."""
    found = []
    for file in sorted((_FOLDER / "schemas").glob("*.yaml")):
        more = more_frames(file.stem)
        for entry in read_yaml(file):
            found.append(read_piece(entry, file.stem, more=more.get(entry["name"], ())))
    return tuple(found)


def _training() -> tuple[Piece, ...]:
    return tuple(
        read_piece(entry, split="train")
        for file in sorted((_FOLDER / "training" / "schemas").glob("*.yaml"))
        for entry in read_yaml(file)
    )


def tell_schema(rng: random.Random, split: str, steps: int) -> tuple[Draft, str] | None:
    """A problem with exactly `steps` calculations and its skill, or None if no draw fits."""
    piece = rng.choice(schemas(split)[steps])
    draft = Draft(cast(rng))
    return (draft, piece.skill) if tell(piece, draft, rng, split) else None
