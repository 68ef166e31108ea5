"""The generator of word problems."""

from __future__ import annotations

import random
import re
from fractions import Fraction
from itertools import islice
from pathlib import Path

import pytest
import yaml

from hyperagent.errors import DataError, UnknownNameError
from hyperagent.tasks import load, score
from hyperagent.tasks import wordproblems as package
from hyperagent.tasks.wordproblems import LEVELS, SKILLS, SPLITS, STEPS, generate, stream
from hyperagent.tasks.wordproblems.chains import chains
from hyperagent.tasks.wordproblems.pieces import Draft, Piece, capitals, read_piece, read_yaml, tell
from hyperagent.tasks.wordproblems.schemas import schemas
from hyperagent.tasks.wordproblems.words import cast

FOLDER = Path(package.__file__).parent
WORDS = set(cast(random.Random(0)))
MARK = re.compile(r"<<([\d.]+)([-+*/])([\d.]+)=([\d.]+)>>([\d.]+)")


def pieces() -> list[Piece]:
    found = [piece for listed in schemas("train").values() for piece in listed]
    for split in SPLITS:
        for chain in chains()[split]:
            found += [*chain.openings, *chain.events, *chain.closings]
    return found


@pytest.mark.parametrize("split", SPLITS)
def test_solutions_calculate_the_answer(split: str) -> None:
    for task in generate(1200, split=split, seed=1):
        marks = MARK.findall(task.meta["solution"])
        assert len(marks) == task.meta["steps"]
        for left, sign, right, result, shown in marks:
            a, b = Fraction(left), Fraction(right)
            value = a / b if sign == "/" else {"+": a + b, "-": a - b, "*": a * b}[sign]
            assert value == Fraction(result) > 0
            assert result == shown
        assert marks[-1][3] == task.answer
        assert int(task.answer or 0) > 0
        assert score(task, task.meta["solution"], "strict").correct
        assert score(task, task.meta["solution"], "numeric").correct
        assert not re.search(r"[{}]|  ", task.question + task.meta["solution"])
        assert task.question.endswith(("?", "."))
        assert task.meta["skill"] in SKILLS
        assert task.meta["steps"] in LEVELS[task.meta["level"]]


def test_operands_come_from_the_question_or_an_earlier_step() -> None:
    """All others are constants that words stand for: half, twice, a dozen, percent, an hour."""
    constants = {"2", "3", "4", "5", "7", "10", "12", "24", "30", "36", "50", "52", "60", "100"}
    words = re.compile("two|three|four|five|six|seven|eight|nine|ten|eleven|twelve")
    stray: dict[str, str] = {}
    for task in generate(2400, split="train", seed=2):
        if words.search(task.question):
            continue
        known = set(re.findall(r"\d+(?:\.\d+)?", task.question)) | constants
        for left, _, right, result, _ in MARK.findall(task.meta["solution"]):
            stray |= {n: task.question for n in (left, right) if n not in known}
            known.add(result)
    # Constants of rarer units may come along; they are few and small.
    assert len(stray) <= 8, stray
    assert all(Fraction(number) <= 1000 for number in stray), stray


def test_seed_decides_and_longer_lists_only_append() -> None:
    assert generate(50, seed=3) == generate(80, seed=3)[:50]
    assert generate(50, seed=3) != generate(50, seed=4)
    assert tuple(islice(stream(seed=3), 50)) == generate(50, seed=3)


def test_splits_share_neither_frame_nor_question() -> None:
    told = {split: generate(1500, split=split) for split in SPLITS}
    frames = {
        split: {part for task in tasks for part in task.meta["template"].split("+")}
        for split, tasks in told.items()
    }
    hashes = {split: {task.content_hash() for task in tasks} for split, tasks in told.items()}
    for a in SPLITS:
        assert len(hashes[a]) == 1500
        for b in set(SPLITS) - {a}:
            assert not frames[a] & frames[b]
            assert not hashes[a] & hashes[b]
    assert len(frames["test"]) > 200


def test_no_sentence_stands_in_two_frames() -> None:
    seen: dict[str, str] = {}
    for piece in {piece.name: piece for piece in pieces()}.values():
        for split in SPLITS:
            for place, frame in piece.frames[split]:
                key = f"{piece.name}.{place}"
                assert seen.setdefault(frame, key) == key, f"{key} repeats {seen[frame]}"


@pytest.mark.parametrize("steps", STEPS)
def test_every_difficulty_exists_in_every_split(steps: int) -> None:
    for split in SPLITS:
        assert {t.meta["steps"] for t in generate(20, split=split, steps=[steps])} == {steps}


def test_every_skill_has_problems_in_every_split() -> None:
    for split in SPLITS:
        tasks = generate(1600, split=split, seed=5, steps=(1, 2, 3, 4))
        counts = {skill: sum(t.meta["skill"] == skill for t in tasks) for skill in SKILLS}
        assert min(counts.values()) >= 20, counts


@pytest.mark.parametrize("file", sorted(FOLDER.glob("schemas/*.yaml")), ids=lambda f: f.stem)
def test_schema_files(file: Path) -> None:
    """A new schema is tested by being written into its file."""
    entries = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert len({entry["name"] for entry in entries}) == len(entries)
    assert file.stem in SKILLS
    for entry in entries:
        assert entry["name"].startswith(f"{file.stem}_"), entry["name"]
        piece = read_piece(entry, file.stem)
        assert 1 <= len(piece.steps) <= 4
        assert all(piece.frames[split] for split in SPLITS), f"{piece.name}: a split has no frame"
        used = {name for step in piece.steps for name in (step.left, step.right)}
        for name in (used | set()) & (set(piece.draw) | set(piece.let)):
            for frame in entry["frames"]:
                assert f"{{{name}}}" in frame, f"{piece.name}: {name} is missing in {frame!r}"


@pytest.mark.parametrize(
    "file", sorted(FOLDER.glob("training/frames/*.yaml")), ids=lambda f: f.stem
)
def test_further_frames_say_what_the_others_say(file: Path) -> None:
    """The numbers of a frame for training only are those that every frame of the piece names."""
    if file.stem == "chains":
        listed = yaml.safe_load((FOLDER / "chains.yaml").read_text(encoding="utf-8"))
        entries = [entry for part in listed.values() for entry in part]
    else:
        entries = yaml.safe_load((FOLDER / "schemas" / file.name).read_text(encoding="utf-8"))
    named = {entry["name"]: entry for entry in entries}
    for name, frames in read_yaml(file).items():
        entry = named[name]
        numbers = {*entry.get("draw", {}), *entry.get("let", {})}
        wanted = {frozenset(fields(frame) & numbers) for frame in entry["frames"]}
        for frame in frames:
            assert frozenset(fields(frame) & numbers) in wanted, f"{name}: {frame!r}"
            check_frame(name, frame, numbers)


@pytest.mark.parametrize(
    "file", sorted(FOLDER.glob("training/schemas/*.yaml")), ids=lambda f: f.stem
)
def test_schemas_for_training_only(file: Path) -> None:
    entries = read_yaml(file)
    names = [entry["name"] for entry in entries]
    assert len({*names}) == len(names)
    for entry in entries:
        piece = read_piece(entry, split="train")
        assert piece.skill in SKILLS
        assert not piece.frames["validation"]
        assert not piece.frames["test"]
        numbers = {*piece.draw, *piece.let}
        used = {name for step in piece.steps for name in (step.left, step.right)} & numbers
        told = {frozenset(fields(frame) & numbers) for frame in entry["frames"]}
        assert len(told) == 1, entry["name"]
        assert used <= next(iter(told)), entry["name"]
        for frame in entry["frames"]:
            check_frame(entry["name"], frame, numbers)
        draft = Draft(cast(random.Random(1)))
        assert any(tell(piece, draft, random.Random(i), "train") for i in range(5)), entry["name"]


def check_frame(name: str, frame: str, numbers: set[str]) -> None:
    """Known fields only, and choices that read well whichever is taken and hold no number."""
    assert fields(frame) - numbers <= WORDS, f"{name}: {frame!r}"
    choices = re.findall(r"\[([^\[\]]*)\]", frame)
    assert frame.count("[") == frame.count("]") == len(choices), f"{name}: {frame!r}"
    for choice in choices:
        assert "|" in choice, f"{name}: {frame!r}"
        assert not fields(choice) & numbers, f"{name}: {frame!r}"
    for option in (r"([^\[\]|]*)\|[^\[\]]*", r"[^\[\]]*\|([^\[\]|]*)"):
        said = re.sub(rf"\[{option}\]", r"\1", frame)
        assert not re.search(r"  | [,.?!]", said), f"{name}: {said!r}"


def test_a_choice_is_any_of_its_options_and_held_out_frames_have_none() -> None:
    entry = {"name": "x", "draw": {"a": [2, 9]}, "steps": [["t", "a * 2", "all"]]}
    frame = "A [red|blue|] kite costs {a}. Two?"
    piece = read_piece(entry | {"skill": "sums", "frames": [frame]}, split="train")
    said = set()
    for i in range(40):
        draft = Draft(cast(random.Random(i)))
        assert tell(piece, draft, random.Random(i), "train")
        said.add(re.sub(r"\d", "7", draft.sentences[0]))
    assert len(said) == 3
    for split in ("validation", "test"):
        for listed in schemas(split).values():
            assert not any("[" in frame for piece in listed for _, frame in piece.frames[split])


def fields(frame: str) -> set[str]:
    """Names in braces."""
    return set(re.findall(r"{(\w+)}", frame))


def test_capitals_and_articles() -> None:
    assert capitals("he has a apple. she has a box? a 8-hour day") == (
        "He has an apple. She has a box? An 8-hour day"
    )
    assert capitals("a one-way ticket") == "A one-way ticket"


def test_as_a_data_set() -> None:
    loaded = load("wordproblems", "validation")
    assert len(loaded) == 800
    assert loaded.sha256 == load("wordproblems", "validation").sha256
    assert loaded.sha256 != load("wordproblems", "test").sha256
    assert load("wordproblems", limit=5).tasks == load("wordproblems").tasks[:5]
    assert len({task.id for task in loaded}) == 800
    levels = [load("wordproblems", f"test_{level}") for level in LEVELS]
    assert [len(level) for level in levels] == [200, 200, 400]
    assert {t.id for level in levels for t in level} == {t.id for t in load("wordproblems")}
    assert len(load("wordproblems", "test_hard", limit=7)) == 7


def test_bad_requests() -> None:
    with pytest.raises(UnknownNameError, match="validation"):
        generate(1, split="valid")
    with pytest.raises(DataError, match="1 to 8"):
        generate(1, steps=[9])
    with pytest.raises(UnknownNameError, match="test_easy"):
        load("wordproblems", "test_eazy")
