"""New problems from old ones: other numbers in the question, the calculations done anew.

Each operand of each mark is traced to a number of the question, to an earlier result, or to a
constant that the text speaks of (``half`` is 2, ``week`` is 7). Where that isn't certain there is
no variation: a problem whose numbers and solution disagree does more harm than one problem less.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from marks import MARK, Example, compute, plain, tokens

_FEMALE = (
    "Alice Amanda Amy Ana Andrea Angela Anna Ashley Betty Carla Christina Claire Cindy Donna Elena "
    "Ella Emily Emma Eva Grace Gina Hannah Helen Isabella Jane Janet Jasmine Jenny Jessica Julia "
    "Julie Karen Kate Kelly Kim Laura Lily Linda Lisa Lucy Maria Marie Mary Megan Melissa Mia "
    "Nancy Natalia Nina Olivia Rachel Rebecca Rosa Ruth Sandra Sara Sarah Sophia Susan Tina "
    "Vanessa Wendy Zoe"
)
_MALE = (
    "Adam Alan Albert Alfred Andrew Anthony Arthur Ben Bob Brian Bruce Carl Carlos Charles Chris "
    "Daniel David Dennis Edward Eric Ethan Frank Fred Gary George Greg Harry Henry Ivan Jack Jacob "
    "James Jason Jeff Jerry Jim Jimmy Joe John Jonathan Josh Kevin Kyle Larry Leo Liam Louis "
    "Luke Marcus Martin Matt Michael Mike Nathan Nick Oliver Oscar Paul Peter Philip Ralph Randy "
    "Ray Richard Robert Roger Ryan Sam Samuel Scott Simon Stephen Steve Ted Thomas Tim Tom Tommy "
    "Tony Tyler Victor Walter William"
)
FEMALE = tuple(_FEMALE.split())
MALE = tuple(_MALE.split())
_COUNTED = (
    "zero|one first once single|two second twice double doubled both pair couple|"
    "three third thrice triple tripled thirds|four fourth fourths quarter quarters quadruple|"
    "five fifth fifths|six sixth sixths|seven seventh|eight eighth|nine ninth|ten tenth|eleven|"
    "twelve dozen dozens|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|"
    "twenty"
)
_WORD_VALUES = {
    word: value for value, words in enumerate(_COUNTED.split("|")) for word in words.split()
} | {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "hundred": 100, "thousand": 1000}
# What a text may calculate with although it names no such number.
_CONSTANTS = (
    (r"\bhalf|\bhalves|\bhalved|\baverage|\btwins?\b|\bboth\b", "2 0.5 1.5"),
    (r"\bquarter|\bfourth", "4 0.25 0.75 25"),
    (r"\bminute|\bhour|\bsecond", "60 3600 0.5 30"),
    (r"\bhour|\bday", "24"),
    (r"\bweek|\bday|\bdaily\b", "7 5"),
    (r"\bmonth|\byear|\bannual|\bdozen|\bfoot\b|\bfeet\b|\binch", "12"),
    (r"\bweek|\bmonth|\byear", "52 4"),
    (r"\bmonth|\byear|\bday", "30 31 365"),
    (r"%|\bpercent|\bcents?\b|\bmeter|\bcm\b|\bcentur", "100 0.01"),
    (r"\bcents?\b|\bdime|\bnickel|\bpenn", "0.1 0.05 10 5"),
    (r"\bdecade", "10"),
    (r"\byard|\bfeet\b|\bfoot\b", "3"),
    (r"\bpound|\bounce", "16"),
    (r"\bkilo|\bkm\b|\bkg\b|\bgrams?\b|\bliter|\bml\b|\bton", "1000"),
)
_FIGURE = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?|\.\d+")
_UNIT = re.compile(
    r"[\s-](?:second|minute|hour|day|week|month|year|ounce|inch|inches|feet|foot|cent|g|ml|cm|meter)"
    r"s?\b"
)
_CLOCK = re.compile(r"\s?(?:[ap]\.?m\b|o'clock|:\d|st\b|nd\b|rd\b|th\b|[A-Za-z]|/|\.\d|-\d)")
_DATED = re.compile(
    r"(?:January|February|March|April|May|June|July|August|September|October|November|December|[Gg]rade"
    r"|[Rr]oom|[Cc]hapter|No\.|[Ll]evel|#)\s?$"
)
# Words that choose by size: there the numbers must keep their order.
_ORDERED = re.compile(
    r"\b(?:most|least|fewest|biggest|largest|smallest|highest|lowest|greatest|cheap\w+|longest|best"
    r"|shortest|fastest|slowest|oldest|youngest|tallest|heaviest|maximum|minimum|limit|exceed\w*"
    r"|overtime|over|up to|first|additional|better|which|whichever|enough|beyond|median|range)\b",
    re.IGNORECASE,
)
_CONVERSIONS = {Fraction(n) for n in (5, 7, 12, 24, 30, 31, 52, 60, 365, 3600, 16, 1000)}


@dataclass(frozen=True)
class _Number:
    """A number of the question: where it stands and what it may become."""

    start: int
    end: int
    value: Fraction
    places: int
    comma: bool
    percent: bool
    free: bool


@dataclass(frozen=True)
class _Problem:
    """An example taken apart once, for many variations."""

    numbers: tuple[_Number, ...]
    constants: frozenset[Fraction]
    steps: tuple[tuple[tuple[str | Fraction, ...], Fraction], ...]
    pieces: tuple[str | int | Fraction, ...]
    shown: tuple[str, ...]
    ordered: bool


def _read(text: str) -> Fraction:
    return Fraction(text.replace(",", ""))


def _words(text: str) -> set[Fraction]:
    found = re.findall(r"[a-z]+", text.lower())
    return {Fraction(_WORD_VALUES[word]) for word in found if word in _WORD_VALUES}


def _numbers(example: Example, spoken: set[Fraction], used: Counter[Fraction]) -> list[_Number]:
    """The numbers of the question, and which of them may change."""
    text = example.question
    found = []
    matches = list(_FIGURE.finditer(text))
    often = Counter(_read(m[0]) for m in matches)
    for match in matches:
        value, before, after = _read(match[0]), text[: match.start()], text[match.end() :]
        percent = re.match(r"\s?%|\spercent", after) is not None
        inside = _CLOCK.match(after) is not None and not after[:1].isspace()
        fixed = (
            value <= 2
            or value == 100
            or often[value] > 1
            or value in spoken
            or inside
            or re.match(r"\s(?:[ap]\.?m\b|o'clock|/|[A-Z]?\d)", after) is not None
            or re.search(r"[A-Za-z/:#.\d]$|\d\s?-$|\d\s$|/\s$", before) is not None
            or _DATED.search(before) is not None
            or (1000 <= value <= 2100 and len(match[0]) == 4 and not before.endswith("$"))
            or (value in _CONVERSIONS and _UNIT.match(after) is not None)
            # A small number that is used twice may be another number the second time.
            or (value <= 12 and used[value] > 1)
            or not (used[value] or (percent and used[value / 100]))
        )
        places = len(match[0].partition(".")[2])
        comma = "," in match[0]
        found.append(_Number(match.start(), match.end(), value, places, comma, percent, not fixed))
    return found


@lru_cache(maxsize=16384)
def _analyse(example: Example) -> _Problem | None:
    steps: list[tuple[tuple[str | Fraction, ...], Fraction]] = []
    pieces: list[str | int | Fraction] = []
    shown: list[str] = []
    used: Counter[Fraction] = Counter()

    def prose(text: str) -> None:
        last = 0
        for match in _FIGURE.finditer(text):
            pieces.extend([text[last : match.start()], _read(match[0])])
            shown.append(match[0])
            last = match.end()
        pieces.append(text[last:])

    position = 0
    for match in MARK.finditer(example.work):
        items = tokens(match[1])
        if items is None:
            return None
        prose(example.work[position : match.start()])
        parsed = tuple(Fraction(t) if t[0].isdigit() or t[0] == "." else t for t in items)
        used.update(item for item in parsed if isinstance(item, Fraction))
        pieces.append(len(steps))
        steps.append((parsed, Fraction(match[2])))
        position = match.end() + len(match[2])
    prose(example.work[position:])

    text = f"{example.question} {MARK.sub('', example.work)}"
    spoken = _words(text)
    constants = spoken | {Fraction(1), Fraction(2)}
    for pattern, values in _CONSTANTS:
        if re.search(pattern, text, re.IGNORECASE):
            constants |= {Fraction(value) for value in values.split()}
    numbers = _numbers(example, spoken, used)
    return _Problem(
        tuple(numbers),
        frozenset(constants),
        tuple(steps),
        tuple(pieces),
        tuple(shown),
        _ORDERED.search(text) is not None,
    )


def _same_order(pairs: list[tuple[Fraction, Fraction]]) -> bool:
    """Whether the new numbers (second) are ordered exactly as the old ones (first)."""
    pairs = sorted(pairs)
    steps = pairwise(pairs)
    return all((a < c) == (b < d) and b <= d for (a, b), (c, d) in steps)


def _spell(value: Fraction, like: str = "", places: int = 0, comma: bool = False) -> str | None:
    """A number spelled as its model was: decimal places of prices, thousands separators."""
    shown = plain(value)
    if shown is None or value < 0:
        return None
    places = max(places, len(like.partition(".")[2]))
    if places and (value * 10**places).denominator == 1:
        shown = f"{value.numerator * 10**places // value.denominator:0{places + 1}d}"
        shown = f"{shown[:-places]}.{shown[-places:]}"
    if comma or "," in like:
        whole, dot, rest = shown.partition(".")
        shown = f"{int(whole):,}{dot}{rest}"
    return shown


def renumber(example: Example, changes: dict[int, Fraction]) -> Example | None:
    """The same problem with other numbers.

    Parameters
    ----------
    example : Example
        A problem whose work is in the pocket style.
    changes : dict of int to Fraction
        New values by the position of the number among the question's numbers.

    Returns
    -------
    Example or None
        None if an operand can't be traced to one source, or a result stops being positive,
        integer (where it was) or exact to four decimals. With no change, the example itself.
    """
    problem = _analyse(example)
    if problem is None:
        return None
    sources: dict[Fraction, set[Fraction]] = {value: {value} for value in problem.constants}
    for index, number in enumerate(problem.numbers):
        new = changes.get(index, number.value)
        sources.setdefault(number.value, set()).add(new)
        if number.percent:
            for old_part, new_part in (
                (number.value / 100, new / 100),
                (100 - number.value, 100 - new),
                (1 - number.value / 100, 1 - new / 100),
                (100 + number.value, 100 + new),
                (1 + number.value / 100, 1 + new / 100),
            ):
                sources.setdefault(old_part, set()).add(new_part)

    def trace(value: Fraction) -> Fraction | None:
        found = sources.get(value, ())
        return next(iter(found)) if len(found) == 1 else None

    written: list[str] = []
    last = ""
    results: list[tuple[Fraction, Fraction]] = []
    figures = iter(problem.shown)
    for piece in problem.pieces:
        if isinstance(piece, str):
            written.append(piece)
            continue
        if isinstance(piece, Fraction):
            like = next(figures)
            value = trace(piece)
            if value is None:
                return None
            shown = like if value == piece else _spell(value, like)
            if shown is None:
                return None
            written.append(shown)
            continue
        items, old = problem.steps[piece]
        fresh: list[str | Fraction] = []
        for item in items:
            value = trace(item) if isinstance(item, Fraction) else item
            if value is None or (isinstance(value, Fraction) and plain(value) is None):
                return None
            fresh.append(value)
        result = compute(tuple(fresh))
        if result is None or result <= 0 or (old.denominator == 1 < result.denominator):
            return None
        shown = plain(result)
        places = max(2, len(plain(old).partition(".")[2]))
        if shown is None or len(shown.partition(".")[2]) > places:
            return None
        sources.setdefault(old, set()).add(result)
        results.append((old, result))
        expression = "".join(x if isinstance(x, str) else plain(x) for x in fresh)
        written.append(f"<<{expression}={shown}>>{shown}")
        last = shown
    given = [(n.value, changes.get(i, n.value)) for i, n in enumerate(problem.numbers)]
    if problem.ordered and not (_same_order(given) and _same_order(results)):
        return None
    question, position = [], 0
    for index, number in enumerate(problem.numbers):
        if index in changes and changes[index] != number.value:
            spelled = _spell(changes[index], "", number.places, number.comma)
            if spelled is None:
                return None
            question += [example.question[position : number.start], spelled]
            position = number.end
    question.append(example.question[position:])
    return replace(example, question="".join(question), work="".join(written), answer=last)


def _new(number: _Number, rng: random.Random) -> Fraction:
    """Another number of similar size and roundness."""
    if number.percent and number.value <= 100:
        grid = 5 if number.value % 5 == 0 else 1
        return Fraction(rng.randrange(grid, 100, grid))
    unit = Fraction(1, 10**number.places) if number.places else Fraction(1)
    count = number.value / unit
    grid = 1
    if count > 10:
        grid = next(g for g in (1000, 500, 100, 50, 10, 5, 1) if count % g == 0 and 2 * g < count)
        if rng.random() < 0.15:
            grid = 1
    low, high = max(3, int(count * 6 // 10)), max(9, int(count * 16 // 10))
    fresh = Fraction(rng.randint(-(-low // grid), max(high // grid, -(-low // grid))) * grid)
    return fresh * unit


def rename(example: Example, rng: random.Random) -> Example:
    """Give the persons of the lists other names, the same in question and work."""
    present = set(re.findall(r"\b[A-Z][a-z]+\b", f"{example.question} {example.work}"))
    names: dict[str, str] = {}
    for group in (FEMALE, MALE):
        old = sorted(present.intersection(group))
        fresh = [name for name in group if name not in present]
        names.update(zip(old, rng.sample(fresh, min(len(old), len(fresh))), strict=False))

    def swap(text: str) -> str:
        return re.sub(r"\b[A-Z][a-z]+\b", lambda m: names.get(m[0], m[0]), text)

    return replace(example, question=swap(example.question), work=swap(example.work))


def vary(example: Example, rng: random.Random, tries: int = 40) -> Example | None:
    """A new problem of the same kind, or None if none was found that is certainly right.

    Parameters
    ----------
    example : Example
        A problem whose work is in the pocket style.
    rng : random.Random
        Source of the new numbers and names.
    tries : int, optional
        Draws of new numbers before giving up.
    """
    problem = _analyse(example)
    free = [i for i, n in enumerate(problem.numbers) if n.free] if problem else []
    if not free or renumber(example, {}) is None:
        return None
    for attempt in range(tries):
        # All at first; the fewer change, the likelier the divisions come out even.
        size = len(free) if attempt < tries // 4 else rng.randint(1, len(free))
        chosen = rng.sample(free, size)
        changes = {i: _new(problem.numbers[i], rng) for i in chosen}
        if any(changes[i] == problem.numbers[i].value for i in chosen):
            continue
        made = renumber(example, changes)
        if made is not None:
            made = replace(made, source=f"{example.source}+vary")
            return rename(made, rng) if rng.random() < 0.5 else made
    return None
