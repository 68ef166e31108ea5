"""Problems in one piece, from the YAML files in ``schemas``: one file for each skill."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

from hyperagent.tasks.wordproblems.pieces import Draft, Piece, more_frames, read_piece, tell
from hyperagent.tasks.wordproblems.words import cast


@cache
def schemas() -> dict[int, tuple[Piece, ...]]:
    """Schemas by their number of calculations."""
    import yaml  # Only the generator needs it.

    found: dict[int, list[Piece]] = {}
    for file in sorted((Path(__file__).parent / "schemas").glob("*.yaml")):
        more = more_frames(file.stem)
        for entry in yaml.safe_load(file.read_text(encoding="utf-8")):
            piece = read_piece(entry, file.stem, more=more.get(entry["name"], ()))
            found.setdefault(len(piece.steps), []).append(piece)
    return {steps: tuple(pieces) for steps, pieces in found.items()}


def tell_schema(rng: random.Random, split: str, steps: int) -> tuple[Draft, str] | None:
    """A problem with exactly `steps` calculations and its skill, or None if no draw fits."""
    piece = rng.choice(schemas()[steps])
    draft = Draft(cast(rng))
    return (draft, piece.skill) if tell(piece, draft, rng, split) else None
