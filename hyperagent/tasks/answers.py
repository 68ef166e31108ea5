"""From a reply to an answer: extract it, spell it one way, compare it.

``extract`` reads a whole reply; ``normalise`` spells an answer so that equal answers are equal
strings (votes are counted on that spelling); ``equal`` compares two answers. An answer that
cannot be read is None, and None never equals anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hyperagent.tasks import numbers
from hyperagent.tasks.choices import extract_choice, normalise_choice
from hyperagent.tasks.programs import extract_program, normalise_program
from hyperagent.tasks.refusals import SENTENCE_END, refuses
from hyperagent.tasks.task import Task

_BLANKS = re.compile(r"\s{20,}")
_NEXT_QUESTION = re.compile(r"\n\s*(?:#+\s*)?(?:\*\*)?(?:Question|Problem|Q)\s*:")
_CALCULATION = re.compile(r"<<[^<>\n]*>>")
_MARKER_WORDS = ("####", "boxed", "nswer", "NSWER", "ns =", "ns=", "esult", "A:", "A*")
"""Every match of `_MARKER` holds one of them."""
_MARKER = re.compile(
    r"(?P<hash>\#{4})"
    r"|(?P<box>\\f?boxed\s*\{)"
    r"|(?P<is>(?<![-\w])(?:[Aa]nswer|ANSWER|[Ff]inal\s+[Rr]esult)\b(?!\s+questions?)"
    r"[^\n.:=?]{0,40}?\s(?:is|equals)\b\s*:?)"
    r"|(?P<colon>(?<![-\w])(?:[Aa]nswer|ANSWER)\b\s*(?:\([^)\n]{0,30}\)\s*)?(?:\*\*\s*)?[:=]"
    r"|(?<!\w)[Aa]ns\s*=|(?<![^\n])[ \t]*\**A\**:|(?<!\w)[Ff]inal\s+[Aa]nswer[ \t*_\#]*\n)"
)
_BARE = re.compile(
    r"[\s*_`$(\[\\:]*(?:about|approximately|around|exactly|only|a\s+total\s+of|equals?)?[\s*_`$(\[\\]*"
    r"(?:[A-Za-z]\w{0,20}\s*=\s*)?",
    re.IGNORECASE,
)
_OPERATOR = re.compile(
    r"[^\w\n=]{0,3}(?:\w+\s){0,3}\s*(?:[-+*×/÷=]|\\times|\\cdot|x\s)\s*[$(]?\s*\d"
)
_LINE_OF_ONE = re.compile(r"[\s*_`.)\]}\\%]*(?:[^\W\d][\w'/-]*[\s*_`.,)]*){0,5}")
_BOLD = re.compile(r"\*\*[^*\n\d]{0,12}([-$€£]{0,2}\d[\d,]*(?:\.\d+)?)[^*\n\d]{0,30}\*\*")
_TRIED, _LINE = 20, 2000
"""Markers to try and characters to read behind each, so that a runaway reply costs little."""
_PARAGRAPH = 400
"""Characters at the end of a reply in which a bold number speaks for the whole."""


def extract(text: str, task: Task) -> str | None:
    """Read the answer out of a reply.

    Parameters
    ----------
    text : str
        The whole reply, work and all.
    task : Task
        Decides how to read it: a number, a letter, a program, or text.

    Returns
    -------
    str or None
        The answer as `normalise` spells it (a program is returned as written), or None if
        the reply holds none: empty, a refusal, or unreadable.
    """
    if task.kind == "code":
        return extract_program(after_thinking(text), task)
    text = without_blanks(text)
    if task.kind == "number":
        return extract_number(text)
    if task.kind == "choice":
        return extract_choice(after_thinking(text), task.choices)
    return normalise(extract_text(text), task)


def normalise(answer: str | None, task: Task) -> str | None:
    """The one spelling of an answer, or None if it is not an answer of the task's kind.

    Numbers lose currency, separators and trailing zeros (``$1,800.00`` is ``1800``, ``3/4`` is
    ``0.75``); choices become the capital letter; programs lose comments and layout; text loses
    case, surrounding punctuation and extra spaces.
    """
    if answer is None:
        return None
    if task.kind == "code":
        return normalise_program(answer)
    answer = without_blanks(answer)
    if task.kind == "number":
        number = numbers.read(answer)
        return None if number is None else numbers.spell(number)
    if task.kind == "choice":
        return normalise_choice(answer, task.choices)
    return normalise_text(answer)


def equal(a: str | None, b: str | None, kind: str = "number") -> bool:
    """Whether two answers of one kind are the same; False where either is no answer."""
    if a is None or b is None:
        return False
    if kind == "number":
        left, right = numbers.read(a), numbers.read(b)
        return (
            left is not None and right is not None and numbers.spell(left) == numbers.spell(right)
        )
    if kind == "code":
        return normalise_program(a) == normalise_program(b)
    return (left_text := normalise_text(a)) is not None and left_text == normalise_text(b)


def normalise_text(answer: str) -> str | None:
    """Lower case, single spaces, no surrounding punctuation or leading article."""
    text = " ".join(answer.casefold().split()).strip(" .,;:!?\"'`*_()[]{}$")
    text = re.sub(r"^(?:the|an|a)\s+(?=\S)", "", text)
    return text or None


def without_blanks(text: str) -> str:
    """`text` with every run of 20 or more blanks or line breaks cut to one empty line or space.

    A model that runs on may write thousands, and the patterns that skip blanks take time
    quadratic in the length of a run.
    """
    return _BLANKS.sub(lambda match: "\n\n" if "\n" in match[0] else " ", text)


def after_thinking(text: str) -> str:
    """The reply without a reasoning model's thoughts (what stands before ``</think>``)."""
    _, mark, rest = text.rpartition("</think>")
    return rest if mark and rest.strip() else text


def cut(text: str) -> str:
    """The reply up to the point where the model goes on to invent a next question."""
    text = after_thinking(text)
    match = _NEXT_QUESTION.search(text)
    while match is not None and not text[: match.start()].strip():
        match = _NEXT_QUESTION.search(text, match.end())
    return text if match is None else text[: match.start()]


def extract_text(text: str) -> str | None:
    """Free text: the last box, what follows the last marker on its line, or the last line."""
    text = cut(text)
    for match in _markers(text):
        found = _in_braces(text, match.end()) if match["box"] else _line_after(text, match.end())
        if found.strip():
            return found.strip()
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else None


def extract_number(text: str) -> str | None:
    """Number that a reply gives as its answer, as `numbers.spell` writes it.

    The last readable marker wins: ``#### 18``, ``\\boxed{18}``, ``the answer is 18``,
    ``Answer: 18``, ``A: 18``, ``ans = 18``. Without one, and unless the end of the reply is a
    refusal, the last bold number of the last paragraph or else the last number counts.
    """
    text = numbers.clean(cut(text))
    for marker in _markers(text):
        if marker["box"]:
            inside = _in_braces(text, marker.end())
            found = numbers.first(inside.rpartition("=")[2]) or numbers.first(inside)
        elif marker["hash"]:
            found = numbers.first(_line_after(text, marker.end()))
        else:
            line = _line_after(text, marker.end())
            if refuses(line):
                return None
            found = _after_words(line)
            if found is not None and marker["colon"] and not _is_final(text, marker.end(), found):
                found = None
        if found is not None:
            return numbers.spell(numbers.value(found))
    if refuses(text):
        return None
    ending = text[-_PARAGRAPH:]
    bold = _BOLD.findall(ending.rstrip().rpartition("\n\n")[2])
    found = numbers.first(bold[-1]) if bold else numbers.last(_CALCULATION.sub("", text))
    return None if found is None else numbers.spell(numbers.value(found))


def _markers(text: str) -> Iterator[re.Match[str]]:
    """Matches of `_MARKER`, the last one first."""
    # Looking for plain words is ten times as fast as the pattern, and the last line that holds
    # one mostly decides; so the rest is searched only if that line gives no answer.
    last = max(text.rfind(word) for word in _MARKER_WORDS)
    if last < 0:
        return
    line = text.rfind("\n", 0, last) + 1
    yield from reversed(list(_MARKER.finditer(text, line))[-_TRIED:])
    yield from reversed(list(_MARKER.finditer(text, 0, line))[-_TRIED:])


def _in_braces(text: str, start: int) -> str:
    """What stands between the brace that opened just before `start` and its partner."""
    depth = 1
    for at in range(start, min(len(text), start + 500)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if not depth:
            return text[start:at]
    return text[start : start + 500]


def _line_after(text: str, start: int) -> str:
    """Rest of the line from `start`, or the next line that says something."""
    for line in text[start : start + _LINE].split("\n", 4)[:4]:
        if any(c.isalnum() for c in line):
            return line
    return ""


def _after_words(line: str) -> re.Match[str] | None:
    """Number meant by what follows a marker.

    A number right behind it counts (``18 (out of 20)``), unless an expression begins there:
    then the one behind its ``=``. Behind words, the last number of the first sentence.
    """
    line = _CALCULATION.sub("", line)
    start = _BARE.match(line)
    at = start.end() if start else 0
    found = numbers.NUMBER.match(line, at) or numbers.NUMBER.match(line, max(at - 1, 0))
    sentence = SENTENCE_END.split(line, maxsplit=1)[0]
    if found is not None and not _OPERATOR.match(line, found.end()):
        return found
    _, equals, right = sentence.rpartition("=")
    return (numbers.first(right) if equals else None) or numbers.last(sentence) or found


def _is_final(text: str, start: int, found: re.Match[str]) -> bool:
    """Whether ``Answer:`` states the answer rather than opening the solution.

    It states it if its line holds the number and a unit, or if no digit follows the line.
    """
    line = found.string
    before, after = line[: found.start()], line[found.end() :]
    if not any(c.isalnum() for c in before) and _LINE_OF_ONE.fullmatch(after):
        return True
    rest = text[start:].lstrip().split("\n", 1)
    return len(rest) < 2 or not any(c.isdigit() for c in rest[1])
