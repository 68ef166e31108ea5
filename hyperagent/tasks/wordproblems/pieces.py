"""A piece of a word problem: numbers to draw, calculations, and frames, the sentences that tell it.

A whole problem may be one piece (`schemas`), or an opening, some events and a closing that
hand on one quantity, ``q`` (`chains`). Frames are what the splits do not share: of each piece the
frames at every fifth and sixth place are told in validation and test problems only. What stands in
``training`` is told in training problems only; ``[one|two|]`` in its frames is any one of these.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import CodeType
from typing import Any

SPLITS = ("train", "validation", "test")
SKILLS = ("sums", "compare", "groups", "rates", "fractions", "percent", "money", "time")
"""What a problem mainly asks for."""
_TRIES = 40
_LARGEST = 20_000
_STEP = re.compile(r"\s*([\w.]+)\s*([-+*/])\s*([\w.]+)\s*")
_SENTENCE = re.compile(r"(?:^|(?<=[.?!] ))[a-z]")
_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_ARTICLE = re.compile(r"\b([Aa])(?= (?!one\b|once\b|eu)(?:[aeio]|eleven\b|8\b|80\b|11\b|18\b))")

Numbers = dict[str, Fraction]


@dataclass(frozen=True)
class Step:
    """One calculation: ``name = left sign right``."""

    name: str
    left: str
    sign: str
    right: str
    label: str


@dataclass(frozen=True)
class Piece:
    """Numbers, calculations and the sentences that tell them.

    Parameters
    ----------
    name : str
    skill : str
        One of `SKILLS`.
    draw : mapping of str to sequence
        Values to draw a number from.
    let : mapping of str to code
        Numbers computed from those before them.
    where : code, optional
        Must hold, or the numbers are drawn again.
    steps : tuple of Step
    frames : mapping of str to tuple of (int, str)
        By split: each frame with its place in the list of all.
    """

    name: str
    skill: str
    draw: Mapping[str, Sequence[Any]]
    let: Mapping[str, CodeType]
    where: CodeType | None
    steps: tuple[Step, ...]
    frames: Mapping[str, tuple[tuple[int, str], ...]]


@dataclass
class Draft:
    """A problem in the making.

    Attributes
    ----------
    words : dict of str to str
        See `words.cast`.
    sentences, lines : list of str
        Of the question and of its solution.
    template : list of str
        Which frames were used.
    quantity : Fraction
        What the problem is about so far.
    """

    words: dict[str, str]
    sentences: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    template: list[str] = field(default_factory=list)
    quantity: Fraction = Fraction(0)


def read_piece(
    entry: Mapping[str, Any], skill: str = "", *, split: str = "", more: Sequence[str] = ()
) -> Piece:
    """A piece from its YAML entry.

    Parameters
    ----------
    entry : mapping
        ``name``, ``skill``, ``draw``, ``let``, ``where``, ``steps`` and ``frames`` as in the YAML
        files of this folder.
    skill : str
        Default for a missing ``skill``.
    split : str
        The only split that tells this piece. Default: the frames are divided among all three.
    more : sequence of str
        Further frames, told in training problems only.
    """
    places = {4: "validation", 5: "test"}
    told: dict[str, list[tuple[int, str]]] = {name: [] for name in SPLITS}
    for i, frame in enumerate(entry["frames"]):
        told[split or places.get(i % 6, "train")].append((i, frame))
    told["train"] += enumerate(more, len(entry["frames"]))
    where = entry.get("where")
    return Piece(
        entry["name"],
        entry.get("skill", skill),
        {name: _values(wanted) for name, wanted in entry.get("draw", {}).items()},
        {name: _code(text) for name, text in entry.get("let", {}).items()},
        None if where is None else _code(where),
        tuple(_step(*row) for row in entry["steps"]),
        {name: tuple(listed) for name, listed in told.items()},
    )


def more_frames(name: str) -> dict[str, list[str]]:
    """Frames for training only, by piece: those of ``training/frames/NAME.yaml``."""
    file = Path(__file__).parent / "training" / "frames" / f"{name}.yaml"
    return read_yaml(file) if file.exists() else {}


def read_yaml(file: Path) -> Any:
    """What stands in one of the files of this folder."""
    import yaml  # Only the generator needs it, and its C parser is ten times as fast.

    with file.open(encoding="utf-8") as text:
        return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _values(wanted: Any) -> Sequence[Any]:
    if isinstance(wanted, dict):
        return [Fraction(str(value)) for value in wanted["of"]]
    low, high = wanted
    return range(low, high + 1)


def _code(text: str) -> CodeType:
    # Expressions of our own files in this folder; they see numbers and nothing else.
    return compile(str(text), "<word problem>", "eval")


def _step(name: str, formula: str, label: str) -> Step:
    match = _STEP.fullmatch(str(formula))
    if match is None:
        raise ValueError(f"a step is 'left op right', got {formula!r}")
    return Step(name, match[1], match[2], match[3], label)


def tell(piece: Piece, draft: Draft, rng: random.Random, split: str) -> bool:
    """Add `piece` to `draft`: draw its numbers, calculate, choose a frame.

    Returns
    -------
    bool
        False, with the draft unchanged, if no numbers fit.
    """
    frames = piece.frames[split]
    if not frames:
        return False
    for _ in range(_TRIES):
        numbers: Numbers = {"q": draft.quantity}
        for name, values in piece.draw.items():
            numbers[name] = Fraction(rng.choice(values))
        results = _calculate(piece, numbers)
        if results is not None:
            break
    else:
        return False
    place, frame = rng.choice(frames)
    shown = {name: spell(value) for name, value in numbers.items()}
    if "[" in frame:
        frame = _CHOICE.sub(lambda found: rng.choice(found[1].split("|")), frame)
    draft.sentences.append(capitals(frame.format(**draft.words, **shown)))
    for step, (left, right, result) in zip(piece.steps, results, strict=True):
        label = step.label.format(**draft.words, **shown)
        mark = f"<<{spell(left)}{step.sign}{spell(right)}={spell(result)}>>{spell(result)}"
        draft.lines.append(f"{label}: {mark}")
    if results:
        draft.quantity = results[-1][2]
    elif "n" in numbers:
        draft.quantity = numbers["n"]
    draft.template.append(f"{piece.name}.{place}")
    return True


def _calculate(piece: Piece, numbers: Numbers) -> list[tuple[Fraction, Fraction, Fraction]] | None:
    """Left, right and result of every step; None if the numbers do not fit. Extends `numbers`."""
    scope: dict[str, Any] = {
        name: int(value) if value.denominator == 1 else value for name, value in numbers.items()
    }
    for name, code in piece.let.items():
        scope[name] = eval(code, {"__builtins__": {}}, scope)
        numbers[name] = Fraction(scope[name])
    given = dict(numbers)
    results = []
    for step in piece.steps:
        left, right = _operand(step.left, given), _operand(step.right, given)
        if step.sign == "/":
            if right == 0:
                return None
            value = left / right
        else:
            value = {"+": left + right, "-": left - right, "*": left * right}[step.sign]
        if not 0 < value <= _LARGEST or (value * 100).denominator != 1:
            return None
        given[step.name] = value
        results.append((left, right, value))
    if results and results[-1][2].denominator != 1:
        return None
    scope |= {name: int(v) if v.denominator == 1 else v for name, v in given.items()}
    if piece.where is not None and not eval(piece.where, {"__builtins__": {}}, scope):
        return None
    return results


def _operand(text: str, numbers: Numbers) -> Fraction:
    return numbers[text] if text in numbers else Fraction(text)


def spell(value: Fraction) -> str:
    """``7``, ``2.5`` or ``0.25``: at most two decimals."""
    if value.denominator == 1:
        return str(value.numerator)
    return f"{float(value):.2f}".rstrip("0")


def capitals(text: str) -> str:
    """`text` with a capital at the beginning of every sentence, and "an" where a vowel follows."""
    return _SENTENCE.sub(lambda match: match[0].upper(), _ARTICLE.sub(r"\1n", text))
