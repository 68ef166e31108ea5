"""Public training problems (GSM8K train, FLAN-CoT's AQuA train) in the pocket style.

A written-out calculation becomes a mark, ``48/2 = <<48/2=24>>24`` becomes ``<<48/2=24>>24``, and
no equals sign is left outside marks. An example that can't be brought to that form exactly is
dropped, and the reason is counted.

    python benchmarks/pocket/corpora.py --show 10
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

from marks import MARK, NUMBER, Example, evaluate, fault, is_calculation, plain, tidy
from vary import renumber, vary

from hyperagent import datadir
from hyperagent.tasks import numbers

__all__ = ["Dropped", "Example", "aqua", "convert", "fault", "gsm8k", "vary"]

# While a line is rewritten, one private character stands for a mark and its value.
_FIRST = 0xE000
_HELD = r"[\ue000-\uf8ff]"
_NUM = rf"(?:{NUMBER}|{_HELD})"
_PIECE = re.compile(
    rf"(?P<number>{_NUM})|(?P<times>\b[xX]\b|(?<=\d)x(?=\s*[\d($])|\bof\b|\btimes\b|[-+*/])"
    r"|(?P<word>[A-Za-z']{2,}\.?)|(?P<mild>[\s$%()])|(?P<other>.)"
)
_RIGHT = re.compile(rf"\s*\$?\s*(?:({_HELD})|({NUMBER})(\s?%)?)(?![\d/]|\.\d|\s*[-+*×÷/]\s*[\d$])")
_GIVEN = re.compile(rf"<<([^<>]*)=([^<>]*)>>(\s*\$?)({NUMBER})")
_LONE = re.compile(r"(?<![\w'.&])[b-zB-HJ-Z](?![\w'.&])|(?<=\d)[a-zA-Z](?![\w])")
_REASON = re.compile(rf",?\s*(?:because|since|as|for)\s+\$?({_HELD})\S*\s*\.?$")
_UNSOLVED = re.compile(
    r"[\d)%]\s*[-*+/:x^]\s*[\d(]|[\d)]\s+[\d(]|[/*+-]\s*$|@|\.\.|[?]", re.MULTILINE
)
_ASCII = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "…": "...", "—": "-"})


class Dropped(Exception):
    """The example can't be written in the pocket style; the text is the reason."""


def ascii_text(text: str) -> str:
    """Plain spelling: typographic quotes, dashes and fractions to ASCII, accents away."""
    text = unicodedata.normalize("NFKD", numbers.clean(text.translate(_ASCII)).replace("×", "*"))
    text = "".join(c for c in text if not unicodedata.combining(c)).replace("÷", "/")
    if not all(c.isascii() or c in "£€" for c in text):
        raise Dropped("odd characters")
    return re.sub(r"[ \t]+", " ", text).strip()


class _Line:
    """One line of work on its way to the pocket style."""

    def __init__(self, text: str) -> None:
        self.marks: list[tuple[str, str]] = []
        self.text = _GIVEN.sub(self._given, text)
        if "<<" in self.text:
            raise Dropped("mark without its value")

    def hold(self, expression: str, value: str) -> str:
        self.marks.append((expression, value))
        return chr(_FIRST + len(self.marks) - 1)

    def _given(self, match: re.Match[str]) -> str:
        expression = tidy(match[1])
        value = None if expression is None else evaluate(expression)
        shown = None if value is None else plain(value)
        if shown is None or value != Fraction(match[4].replace(",", "")) or value < 0:
            raise Dropped("mark is not exact")
        sign = match[3].strip()
        if is_calculation(expression):
            return sign + self.hold(expression, shown)
        return sign + shown

    def value(self, held: str) -> str:
        return self.marks[ord(held) - _FIRST][1]

    def expression(self, written: str) -> str | None:
        """Bare form of a written-out calculation: no units, percent as hundredths."""
        bare = re.sub(_HELD, lambda m: self.value(m[0]), written)
        bare = re.sub(r"(?<=\d)\s*%", "/100", bare).replace("$", "")
        bare = re.sub(r"\bof\b|\btimes\b|\b[xX]\b|(?<=\d)x(?=[\s\d(])", "*", bare)
        bare = re.sub(r"(?:/|-)?[A-Za-z']{2,}\.?", "", bare).replace("÷", "/").replace("×", "*")
        return tidy(re.sub(r"/100(?=\s*/)", "/100", bare))

    def solve(self) -> None:
        """Turn equation by equation, from the right, into a mark or a sentence."""
        while (place := self.text.rfind("=")) >= 0:
            left, right = self.text[:place], self.text[place + 1 :]
            found = _RIGHT.match(right)
            if found is None:
                raise Dropped("equation")
            if not self._calculated(left, right, found):
                self._named(left, right)

    def _calculated(self, left: str, right: str, found: re.Match[str]) -> bool:
        stated = Fraction(self.value(found[1]) if found[1] else found[2].replace(",", ""))
        for start in _starts(left):
            copy = left[start:]
            # A share of a share stays a number: 100% - 40% = 60%.
            expression = self.expression(copy.replace("%", "") if found[3] else copy)
            value = None if expression is None else evaluate(expression)
            if value is None or value != stated or not is_calculation(expression):
                continue
            if (shown := plain(value)) is None:
                raise Dropped("mark is not exact")
            inner = re.findall(_HELD, copy)
            if not found[1]:
                money = "$" if "$" in right[: found.start(2)] else ""
                right = money + self.hold(expression, shown) + right[found.end(2) :]
            self.text = left[:start] + "".join(f"{held}, " for held in inner) + right.lstrip()
            return True
        return False

    def _named(self, left: str, right: str) -> None:
        word = re.search(r"(?:^|[\s(])[A-Za-z'-]{2,}[)%]?\s*$", left)
        if word is None or re.search(rf"[*+/]\s*{_NUM}[^.,;]*$", left):
            raise Dropped("equation")
        self.text = f"{left.rstrip()} is {right.lstrip()}"

    def reorder(self) -> None:
        """Put the mark where its value is first said: "eats 32 because <mark>"."""
        reason = _REASON.search(self.text)
        if reason is None or len(self.marks) != 1:
            return
        head, held = self.text[: reason.start()], reason[1]
        figures = re.finditer(rf"(?<![\w.]){NUMBER}(?![\w.]*\d)", head)
        said = [m for m in figures if m[0].replace(",", "") == self.value(held)]
        if said:
            self.text = head[: said[-1].start()] + held + head[said[-1].end() :] + "."

    def finish(self) -> str:
        text = re.sub(r"[ \t]+", " ", self.text).strip()
        return re.sub(_HELD, lambda m: "<<{}={}>>{}".format(*self.marks[ord(m[0]) - _FIRST],
                      self.value(m[0])), text)  # fmt: skip


def _starts(left: str) -> list[int]:
    """Where a written-out calculation that ends `left` may begin, the longest first."""
    starts: list[int] = []
    owed, words = False, 0  # an operator must stand between two numbers, and few words
    pieces = list(_PIECE.finditer(left))
    for index in range(len(pieces) - 1, -1, -1):
        piece = pieces[index]
        if piece["other"] or words > 6:
            break
        if piece["word"]:
            words += 1
        elif piece["times"]:
            owed = False
        elif piece["number"]:
            if owed:
                break
            owed, words, begin = True, 0, piece.start()
            while begin and left[begin - 1] in "($":
                begin -= 1
                starts.append(begin)
            starts.append(piece.start())
    return sorted(starts)


def _early(question: str, work: str) -> bool:
    """Whether a result is said in its line before it is calculated."""
    known = set(re.findall(r"\d+(?:\.\d+)?", question.replace(",", "")))
    for line in work.split("\n"):
        said: set[str] = set()
        last = 0
        for mark in MARK.finditer(line):
            said |= set(re.findall(r"\d+(?:\.\d+)?", line[last : mark.start()].replace(",", "")))
            if mark[2] in said - known:
                return True
            known |= {mark[2]}
            last = mark.end()
    return False


def convert(question: str, rationale: str, answer: str, source: str) -> Example:
    """One example in the pocket style.

    Raises
    ------
    Dropped
        If the example can't be written so exactly.
    """
    question = re.sub(r"\s+", " ", ascii_text(question))
    lines = []
    for text in rationale.split("\n"):
        line = _Line(ascii_text(text))
        line.solve()
        line.reorder()
        if done := line.finish():
            lines.append(done)
    work = "\n".join(lines)
    bare = MARK.sub("", work)
    if any(m[0] not in question for m in _LONE.finditer(bare)):
        raise Dropped("variable")
    try:
        final = plain(Fraction(answer.replace(",", "")))
    except ValueError:
        final = None
    if final is None:
        raise Dropped("answer is no exact number")
    if _early(question, work):
        raise Dropped("result before its calculation")
    example = Example(question, work, final, len(MARK.findall(work)), source)
    if (reason := fault(example)) is not None:
        raise Dropped(reason)
    return example


def _rows(relative: str, data_dir: str | os.PathLike[str] | None) -> Iterator[dict[str, str]]:
    with gzip.open(datadir.require(relative, data_dir), "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def gsm8k(
    data_dir: str | os.PathLike[str] | None = None, dropped: Counter[str] | None = None
) -> list[Example]:
    """GSM8K's training problems.

    Parameters
    ----------
    data_dir : path, optional
        The data directory; see `hyperagent.datadir`.
    dropped : Counter, optional
        Takes the number of dropped problems by reason.
    """
    examples = []
    for row in _rows("gsm8k/train.jsonl.gz", data_dir):
        try:
            examples.append(convert(row["question"], row["rationale"], row["answer"], "gsm8k"))
        except Dropped as reason:
            if dropped is not None:
                dropped[str(reason)] += 1
    return examples


def aqua(
    data_dir: str | os.PathLike[str] | None = None, dropped: Counter[str] | None = None
) -> list[Example]:
    """AQuA's training problems that show their arithmetic and end in a number.

    The question loses its options; the answer is the number of the right option.

    Parameters
    ----------
    data_dir, dropped
        As for `gsm8k`.
    """
    examples = []
    for row in _rows("flan_cot/aqua_train.jsonl.gz", data_dir):
        try:
            examples.append(_aqua(row))
        except Dropped as reason:
            if dropped is not None:
                dropped[str(reason)] += 1
    return examples


def _aqua(row: dict[str, str]) -> Example:
    question, _, options = row["question"].partition("\nOptions:")
    letter = row["answer"].strip("() ")
    right = re.search(rf"\({letter}\)\s*(.*)", options)
    found = re.fullmatch(rf"\D{{0,4}}?({NUMBER})(?:\s?%|\s[A-Za-z. /]+)?", (right or [""] * 2)[1])
    if found is None:
        raise Dropped("answer is no exact number")
    if re.search(r"following|which of|sqrt|\^|√|approx", question + row["rationale"], re.I):
        raise Dropped("not plain arithmetic")
    if re.search(r"[A-Za-z]\s*[*/+]|[*/+]\s*[A-Za-z]\b", row["rationale"]):
        raise Dropped("variable")
    # The last line often names the option; that letter means nothing without the options.
    rationale = re.sub(r"(?im)^.*\b(?:answer|option|choice|ans)\b.*$", "", row["rationale"])
    example = convert(question, rationale, found[1].replace(",", ""), "aqua")
    if _UNSOLVED.search(MARK.sub("", example.work)):
        raise Dropped("arithmetic outside marks")
    # Many rationales belong to another problem, or begin in the middle.
    if renumber(example, {}) is None:
        raise Dropped("number from nowhere")
    return example


def main() -> None:
    """Print what each corpus yields, the reasons of the rest, and some examples."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", help="data directory (default: HYPERAGENT_DATA)")
    parser.add_argument("--show", type=int, default=0, help="examples to print of each corpus")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    for read in (gsm8k, aqua):
        reasons: Counter[str] = Counter()
        examples = read(options.data, reasons)
        varied = sum(vary(e, rng) is not None for e in examples)
        print(f"{read.__name__}: {len(examples)} kept, {varied} can be varied, dropped:")
        for reason, count in reasons.most_common():
            print(f"  {count:6d} {reason}")
        for example in rng.sample(examples, min(options.show, len(examples))):
            other = vary(example, rng)
            print(f"\n{example.question}\n{example.work}\n-> {example.answer}")
            if other is not None:
                print(f"VARIED: {other.question}\n{other.work}\n-> {other.answer}")


if __name__ == "__main__":
    main()
