"""The public training problems of the pocket model, and their variations."""

from __future__ import annotations

import random
import re
import sys
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest

from hyperagent import datadir

FOLDER = Path(__file__).parents[2] / "benchmarks" / "pocket"
if not FOLDER.is_dir():
    pytest.skip("the studies are not part of this checkout", allow_module_level=True)
MODULES = ("corpora", "vary", "marks")


@pytest.fixture(scope="module")
def pocket() -> Iterator[SimpleNamespace]:
    """The study's own modules, importable by their short names while this file runs."""
    sys.path.insert(0, str(FOLDER))
    try:
        import corpora
        import marks
        import vary

        yield SimpleNamespace(corpora=corpora, marks=marks, vary=vary)
    finally:
        sys.path.remove(str(FOLDER))
        for name in MODULES:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def gsm8k(pocket):
    if datadir.find("gsm8k/train.jsonl.gz") is None:
        pytest.skip("HYPERAGENT_DATA holds no gsm8k/train.jsonl.gz")
    dropped: Counter[str] = Counter()
    return pocket.corpora.gsm8k(dropped=dropped), dropped


@pytest.mark.parametrize(
    ("written", "value"),
    [("12-5", "7"), ("1/4", "0.25"), ("2*(3+4)/7", "2"), (".5*9", "4.5"), ("3-5", "-2")],
)
def test_arithmetic_is_exact(pocket, written, value):
    assert pocket.marks.plain(pocket.marks.evaluate(written)) == value


@pytest.mark.parametrize("written", ["1/0", "2+", "x*2", "(1+2", "", "2 3", "1)"])
def test_nonsense_has_no_value(pocket, written):
    assert pocket.marks.evaluate(written) is None


def test_what_four_decimals_do_not_hold_is_not_spelled(pocket):
    assert pocket.marks.plain(Fraction(1, 3)) is None
    assert pocket.marks.plain(Fraction(1, 16)) == "0.0625"


def test_tidy_gives_one_spelling(pocket):
    assert pocket.marks.tidy("+1,200 * .50") == "1200*0.5"
    assert pocket.marks.tidy("2x") is None


CONVERTED = [
    ("Ann sold 48/2 = <<48/2=24>>24 clips in May.", "Ann sold <<48/2=24>>24 clips in May."),
    ("It costs 5 * 2 = $<<5*2=10>>10.", "It costs $<<5*2=10>>10."),
    ("It costs 5 * 2 = <<5*2=10>>$10.", "It costs $<<5*2=10>>10."),
    ("There are 4 houses * 3 gnomes = <<4*3=12>>12 gnomes.", "There are <<4*3=12>>12 gnomes."),
    ("He ate 12 slices because 3 x 4 = <<3*4=12>>12", "He ate <<3*4=12>>12 slices."),
    ("Each has 20/4 = $5", "Each has $<<20/4=5>>5"),
    ("So 100% - 40% = 60% passed.", "So <<100-40=60>>60% passed."),
    ("The total cost = $<<18*.5=9.00>>9.00", "The total cost is $<<18*0.5=9>>9"),
    ("She has 5*2=<<5*2=10>>10+3=<<10+3=13>>13 pens", "She has <<5*2=10>>10, <<10+3=13>>13 pens"),
]


@pytest.mark.parametrize(("written", "wanted"), CONVERTED)
def test_a_written_out_calculation_becomes_one_mark(pocket, written, wanted):
    answer = re.findall(r"=([\d.]+)>>", wanted)[-1]
    example = pocket.corpora.convert("How many?", written, answer, "test")
    assert example.work == wanted
    assert example.steps == wanted.count("<<")
    assert pocket.corpora.fault(example) is None


@pytest.mark.parametrize(
    ("written", "answer", "reason"),
    [
        ("Each gets 10/3 = <<10/3=3.33>>3.33", "3.33", "exact"),
        ("It is 2*3 = <<2*3=7>>7", "7", "exact"),
        ("Let S be it. S = 2*3 = <<2*3=6>>6", "6", "equation"),
        ("It is 2*3 = <<2*3=6>>6", "5", "answer"),
        ("He had 6 cats, for he bought <<2*3=6>>6 of them", "6", "before"),
        ("It is six.", "6", "no marks"),
    ],
)
def test_what_cannot_be_written_exactly_is_dropped(pocket, written, answer, reason):
    with pytest.raises(pocket.corpora.Dropped, match=reason):
        pocket.corpora.convert("How many?", written, answer, "test")


def example(pocket, question: str, work: str):
    marks = pocket.marks.MARK.findall(work)
    return pocket.marks.Example(question, work, marks[-1][1], len(marks), "test")


def shop(pocket):
    return example(
        pocket,
        "Tom buys 15 pens for $1.40 each and pays 20% tax. What does he pay?",
        "The pens cost $<<15*1.4=21>>21.\nThe tax is $<<21*20/100=4.2>>4.2.\n"
        "He pays $<<21+4.2=25.2>>25.2 for the 15 pens.",
    )


def test_new_numbers_run_through_question_marks_and_text(pocket):
    made = pocket.vary.renumber(shop(pocket), {0: Fraction(25), 1: Fraction("1.60")})
    assert made.question == "Tom buys 25 pens for $1.60 each and pays 20% tax. What does he pay?"
    assert made.work == (
        "The pens cost $<<25*1.6=40>>40.\nThe tax is $<<40*20/100=8>>8.\n"
        "He pays $<<40+8=48>>48 for the 25 pens."
    )
    assert made.answer == "48"


def test_no_change_gives_the_same_example(pocket):
    assert pocket.vary.renumber(shop(pocket), {}) == shop(pocket)


@pytest.mark.parametrize(
    ("question", "work", "changes"),
    [
        # 6 may be the apples or the result of the first step.
        ("Ann has 6 apples. Bo has 3 bags of 2.", "<<3*2=6>>6\n<<6+6=12>>12", {0: 8}),
        # 1.2 may be the price or all of it with the tax.
        ("Five pens for $1.20 each, 20% tax.", "<<5*1.2=6>>6", {0: "1.4"}),
        # 9 comes from nowhere.
        ("Ann has 6 apples.", "<<6+9=15>>15", {0: 8}),
        # Less than nothing.
        ("Ann had 9 apples and ate 4.", "<<9-4=5>>5", {1: 12}),
        # Half an apple.
        ("Ann cut 8 apples among 4.", "<<8/4=2>>2", {0: 9}),
        # A number of the text that nobody knows.
        ("Ann has 6 apples, Bo has 8.", "With 17 more <<6+8=14>>14", {0: 5}),
    ],
)
def test_no_variation_where_it_would_be_wrong(pocket, question, work, changes):
    old = example(pocket, question, work)
    changed = {place: Fraction(value) for place, value in changes.items()}
    assert pocket.vary.renumber(old, changed) is None


@pytest.mark.parametrize(
    "question",
    [
        "In 1998 Ann had {} apples.",  # a year
        "Ann took the 45th bus with {} apples.",  # a rank
        "At 10:30 Ann had {} apples.",  # a time
        "Ann has 100 and {} apples.",
        "Ann took 3/8 of {} apples.",
    ],
)
def test_only_plain_amounts_change(pocket, question):
    old = example(pocket, question.format(26), "<<26*2=52>>52")
    rng = random.Random(0)
    for _ in range(20):
        made = pocket.vary.vary(old, rng)
        new = pocket.marks.MARK.search(made.work)[1].partition("*")[0]
        assert re.findall(r"\d+", made.question)[:-1] == re.findall(r"\d+", question)
        assert made.question.split()[-2] == new != "26"


def test_persons_are_renamed_the_same_everywhere(pocket):
    old = example(pocket, "Anna gives Tom's dog 6 bones.", "Tom got <<6*2=12>>12 of Anna.")
    for seed in range(10):
        made = pocket.vary.rename(old, random.Random(seed))
        her, his = re.fullmatch(r"(\w+) gives (\w+)'s dog 6 bones\.", made.question).groups()
        assert made.work == f"{his} got <<6*2=12>>12 of {her}."
        assert her in pocket.vary.FEMALE
        assert his in pocket.vary.MALE
        assert {her, his}.isdisjoint({"Anna", "Tom"})


def test_gsm8k_is_mostly_kept_and_every_example_is_in_style(pocket, gsm8k):
    examples, dropped = gsm8k
    assert len(examples) + sum(dropped.values()) == 7473
    assert len(examples) > 6000
    assert [e for e in examples if pocket.corpora.fault(e)] == []


def test_gsm8k_reproduces_itself_and_varies(pocket, gsm8k):
    rng = random.Random(5)
    picked = rng.sample(gsm8k[0], 800)
    made = 0
    for old in picked:
        assert pocket.vary.renumber(old, {}) in (old, None)
        new = pocket.vary.vary(old, rng)
        if new is None:
            continue
        made += 1
        assert pocket.corpora.fault(new) is None
        assert new.steps == old.steps
        # The operators are the old ones, and some figure of the question is new.
        shape = [re.sub(r"[\d.]+", "n", m[0]) for m in pocket.marks.MARK.findall(old.work)]
        assert shape == [re.sub(r"[\d.]+", "n", m[0]) for m in pocket.marks.MARK.findall(new.work)]
        assert re.findall(r"\d[\d,.]*", old.question) != re.findall(r"\d[\d,.]*", new.question)
    assert made / len(picked) > 0.4


def test_aqua_gives_clean_examples_without_options(pocket):
    if datadir.find("flan_cot/aqua_train.jsonl.gz") is None:
        pytest.skip("HYPERAGENT_DATA holds no flan_cot/aqua_train.jsonl.gz")
    examples = pocket.corpora.aqua()
    assert len(examples) > 100
    for item in examples:
        assert "Options" not in item.question
        assert pocket.corpora.fault(item) is None
