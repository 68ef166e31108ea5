"""What the pocket models learn from, and that a run neither loses nor repeats a step."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hyperagent.errors import ConfigError, DataError
from hyperagent.llm import ChatRequest, FunctionBackend, Message, backend
from hyperagent.tasks import Task, equal
from hyperagent.team import Agent, Team
from hyperagent.team.note import Note, parse_note

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", reason="needs the extra hyperagent[hf]")

FOLDER = Path(__file__).parents[2] / "benchmarks" / "pocket"
if not FOLDER.is_dir():
    pytest.skip("the studies are not part of this checkout", allow_module_level=True)
MODULES = (
    "boards", "colleagues", "examples", "marks", "measure", "mixture", "model", "overlap",
    "prompts", "release", "tokenizer", "trainer", "words",
)  # fmt: skip
VOCABULARY = 400
STORY = "Ann has 12 red apples and gives her brother Tom 5 of them on a sunny Monday morning."


@pytest.fixture(scope="module")
def lab() -> Iterator[SimpleNamespace]:
    """The scripts, by their short names, with one more size of model."""
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    try:
        found = SimpleNamespace(**{name: import_module(name) for name in MODULES})
        found.model.SIZES["tiny"] = found.model.Size(
            64, 2, 2, 1, 64, VOCABULARY, 512, 0.02, {"words": 1000}
        )
        yield found
    finally:
        sys.path.remove(str(FOLDER))
        for name in {path.stem for path in FOLDER.glob("*.py")} - before:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def tokens(lab: SimpleNamespace) -> Any:
    """A tokenizer learned from prompts as teams render them."""
    chats = lab.prompts.samples(random.Random(0), 150)
    texts = (f"{chat.system}\n{chat.user}\n{chat.reply}" for chat in chats)
    return lab.tokenizer.train(texts, VOCABULARY)


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """float32 in place of bfloat16."""
    monkeypatch.setattr(torch, "autocast", lambda *a, **k: nullcontext())


# --- tokens and batches


def test_the_reply_counts_and_names_and_values_count_little(
    lab: SimpleNamespace, tokens: Any
) -> None:
    reply = "left: <<12-5=7>>7\nin all: <<7*1.5=10.5>>10.5\nNOTE\nanswer: 10.5"
    encoder = lab.examples.Encoder(tokens)
    made = encoder.encode(lab.examples.Chat("Be brief.", "How many?", reply, "any"))
    asked = len(encoder.prompt(lab.examples.Chat("Be brief.", "How many?", ""))) - len(made.prefix)
    assert len(made.weights) == len(made.ids)
    assert not made.weights[:asked].any()
    assert tokens.decode(made.ids[asked:].tolist(), skip_special_tokens=False) == reply + (
        "<|im_end|>"
    )
    weights = made.weights.copy()
    # The first token of a label decides that there is one more step, and counts in full.
    lines = [asked, int(np.flatnonzero(made.ids == tokens.token_to_id("Ċ"))[-3]) + 1]
    assert (weights[lines] == 1).all()
    weights[lines] = lab.examples.LABEL_WEIGHT
    named, light, full = (
        tokens.decode(made.ids[weights == np.float32(weight)].tolist())
        for weight in (lab.examples.LABEL_WEIGHT, lab.examples.VALUE_WEIGHT, 1)
    )
    # The space before a mark is one token with the mark.
    assert named.replace("<<", "") == "left: in all: "
    assert light == "7>>710.5>>10.5"
    assert full.replace("<<", "") == "12-5=\n7*1.5=\nNOTE\nanswer: 10.5"
    assert (made.ids[-1], made.weights[-1]) == (2, 1.0)
    whole = tokens.decode([*made.prefix, *made.ids.tolist()], skip_special_tokens=False)
    assert whole == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHow many?<|im_end|>\n"
        f"<|im_start|>assistant\n{reply}<|im_end|>"
    )
    opened = encoder.encode(lab.examples.Chat("", "How many?", reply), closed=False)
    assert opened.prefix == ()
    assert np.array_equal(opened.ids, made.ids[:-1])


def chats_of(lab: SimpleNamespace, lengths: list[int], *prefixes: tuple[int, ...]) -> list[Any]:
    rng = random.Random(3)
    return [
        lab.examples.Encoded(
            prefixes[place % len(prefixes)],
            np.asarray([rng.randrange(3, 64) for _ in range(length)], dtype=np.int32),
            np.asarray([0, 0, *(rng.choice((0.2, 1.0)) for _ in range(length - 2))], np.float32),
            f"s{place % 2 + 1}",
        )
        for place, length in enumerate(lengths)
    ]


def test_batches_keep_the_limit_and_one_prefix(lab: SimpleNamespace) -> None:
    rng = random.Random(0)
    chats = chats_of(lab, [rng.randint(4, 90) for _ in range(300)], (), (1, 2), (1, 3))
    chats += chats_of(lab, [500], ())
    made = lab.examples.batches(chats, 256)
    assert sorted(map(id, chats)) == sorted(id(chat) for batch in made for chat in batch)
    assert all(len({chat.prefix for chat in batch}) == 1 for batch in made)
    sizes = [len(batch) * max(len(chat.ids) for chat in batch) for batch in made]
    assert [size for size in sizes if size > 256] == [500], "a longer chat stands alone"
    assert sum(sizes) < 1.2 * sum(len(chat.ids) for chat in chats), "little is padding"
    assert lab.examples.batches([], 256) == []


@pytest.mark.parametrize("prefix", [(), (1, 7, 30, 12, 2)])
def test_a_shared_prefix_changes_neither_loss_nor_gradient(
    lab: SimpleNamespace, exact: None, prefix: tuple[int, ...]
) -> None:
    batch = chats_of(lab, [9, 14, 20, 20], prefix)
    model = lab.model.build("tiny")
    loss, weight, count = lab.trainer.loss_of(model, batch, "cpu")
    loss.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    true = torch.zeros(())
    for chat in batch:
        whole = torch.tensor([[*prefix, *chat.ids.tolist()]])
        logits = model(whole).logits[0, :-1]
        weights = torch.tensor([0.0] * len(prefix) + chat.weights.tolist())[1:]
        each = torch.nn.functional.cross_entropy(logits, whole[0, 1:], reduction="none")
        true = true + (each * weights).sum()
    true.backward()
    assert float(loss.detach()) == pytest.approx(float(true.detach()), rel=1e-5)
    assert weight == pytest.approx(sum(float(chat.weights.sum()) for chat in batch))
    assert count == 63
    for name, p in model.named_parameters():
        assert torch.allclose(found[name], p.grad, rtol=1e-3, atol=2e-5), name


class Oracle:
    """Says the true next token, except at the places in `wrong`: (first token, place)."""

    def __init__(self, wrong: set[tuple[int, int]]) -> None:
        self.wrong = wrong

    def eval(self) -> None:
        pass

    def parameters(self) -> Iterator[Any]:
        yield torch.zeros(1)

    def __call__(self, whole: Any, **_: Any) -> Any:
        said = whole.roll(-1, 1)
        for row in range(len(said)):
            for first, place in self.wrong:
                if whole[row, 0] == first:
                    said[row, place - 1] = 0
        return SimpleNamespace(logits=torch.nn.functional.one_hot(said, 64).float())


def test_forced_accuracy_asks_for_every_token_but_prompts_and_values(lab: SimpleNamespace) -> None:
    def chat(first: int, length: int, kind: str, prefix: tuple[int, ...] = ()) -> Any:
        ids = np.asarray([first, *range(10, 9 + length)], dtype=np.int32)
        weights = np.asarray([0, 0, 1, 0.2, *[1] * (length - 4)], dtype=np.float32)
        return lab.examples.Encoded(prefix, ids, weights, kind)

    chats = [chat(5, 8, "s1"), chat(6, 11, "s1"), chat(7, 9, "s2")]
    measure = lab.measure.forced_accuracy
    assert measure(Oracle(set()), chats) == {"forced": 1.0, "forced_s1": 1.0, "forced_s2": 1.0}
    # A token of the prompt and a value may be missed, and what would follow the end.
    assert measure(Oracle({(5, 1), (6, 3), (5, 8), (7, 9)}), chats)["forced"] == 1.0
    missed = measure(Oracle({(6, 2), (7, 8)}), chats)
    assert missed == {"forced": pytest.approx(1 / 3), "forced_s1": 0.5, "forced_s2": 0.0}
    behind = [chat(5, 8, "s1", (4, 4))]
    assert measure(Oracle(set()), behind)["forced"] == 1.0
    assert measure(Oracle({(4, 4)}), behind)["forced"] == 0.0, "place 2 behind a prefix of 2"
    assert measure(Oracle({(4, 3), (4, 5)}), behind)["forced"] == 1.0


# --- runs that are cut short


def spawn(what: str, folder: Path) -> str:
    script = Path(__file__).with_name("tiny_run.py")
    environment = os.environ | {"PYTHONPATH": str(FOLDER), "OMP_NUM_THREADS": "1"}
    told = subprocess.run(
        [sys.executable, script, what, folder], env=environment, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    return told.stdout


def test_a_stopped_and_a_killed_run_end_as_one_in_one_piece(tmp_path: Path) -> None:
    whole, stopped, killed, finished = json.loads(spawn("cuts", tmp_path).splitlines()[-1])
    assert (whole["code"], whole["finished"]) == (0, True)
    # SIGTERM came while step 5 was validated: one step more, and a checkpoint.
    assert stopped == {"code": 0, "step": 6, "finished": False}
    # SIGKILL came in its second validation, before the checkpoint was written.
    assert killed == {"code": -9, "step": 10, "finished": False}
    assert finished == whole
    cut, other = tmp_path / "cut", tmp_path / "whole"
    assert (cut / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    steps = [json.loads(line)["step"] for line in (cut / "log.jsonl").read_text().splitlines()]
    assert steps[:4] == [5, 6, 10, 15]
    assert not list(cut.glob("*.tmp"))


def test_two_workers_do_the_step_of_one(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    spawn("workers", tmp_path)
    for name in ("2", "many", "stopped"):
        ranks = [(tmp_path / name / f"rank{rank}.safetensors").read_bytes() for rank in (0, 1)]
        assert ranks[0] == ranks[1], name
    halves, whole = (json.loads((tmp_path / name / "log.jsonl").read_text()) for name in "21")
    for name in ("tokens", "loss", "norm"):
        assert halves[name] == pytest.approx(whole[name], rel=1e-3), name
    halves, whole = (load_file(tmp_path / name / "checkpoint.safetensors") for name in "21")
    # Muon rounds to bfloat16; the moments that it is fed must agree closely.
    for name, value in whole.items():
        close = 1e-5 if "optimizer" in name else 1e-4
        assert torch.allclose(halves[name], value, rtol=1e-3, atol=close), name
    # A signal to the parent stops both workers at the same step, with a checkpoint.
    assert (tmp_path / "many" / "model.safetensors").exists()
    assert (tmp_path / "stopped" / "checkpoint.safetensors").exists()
    assert not (tmp_path / "stopped" / "model.safetensors").exists()


# --- boards


class Pools:
    """Stands for `Words` where no data is."""

    def __init__(self, lab: SimpleNamespace, question: str = STORY) -> None:
        example = lab.marks.Example(question, "left: <<12-5=7>>7", "7", 1, "gsm8k")
        self.pools = {"gsm8k": [example]}

    def public(self, kind: str, rng: random.Random) -> Any:
        return rng.choice(self.pools[kind])


@pytest.fixture(scope="module")
def asked(lab: SimpleNamespace) -> list[Any]:
    """Problems with answers, some of them right."""
    rng = random.Random(1)
    made = []
    for problem in lab.boards.problems(Pools(lab), 240, 0):
        said = [
            lab.boards.Said(problem.answer, lab.examples.last_fact(problem.work))
            if rng.random() < 0.4
            else rng.choice((lab.boards.Said("", ""), lab.colleagues._slip(rng, problem)))
            for _ in range(lab.boards.SAMPLES)
        ]
        made.append(replace(problem, said=tuple(said)))
    return made


@pytest.fixture(scope="module")
def team(lab: SimpleNamespace, asked: list[Any], tmp_path_factory: Any) -> Any:
    path = tmp_path_factory.mktemp("boards") / "boards.jsonl"
    path.write_text("".join(json.dumps(row(problem)) + "\n" for problem in asked))
    return lab.colleagues.Colleagues(Pools(lab), path)


def row(problem: Any) -> dict[str, Any]:
    return vars(problem) | {"said": [vars(said) for said in problem.said]}


def test_problems_to_sample_are_the_same_every_time(
    lab: SimpleNamespace, asked: list[Any], tmp_path: Path
) -> None:
    again = lab.boards.problems(Pools(lab), 300, 0)
    assert [p.question for p in again[:240]] == [p.question for p in asked], "a run can go on"
    assert [p.kind == "gsm8k" for p in again[:16]] == ([False] * 7 + [True]) * 2
    assert lab.boards.problems(Pools(lab), 8, 1)[0] != again[0]
    path = tmp_path / "boards.jsonl"
    lines = [json.dumps(row(problem)) + "\n" for problem in asked[:3]]
    path.write_text(lines[0] + lines[1] + lines[2][:40])
    assert lab.boards.read(path) == asked[:2], "the half line of a killed run is left out"


def test_rates_are_shares_of_right_samples(lab: SimpleNamespace) -> None:
    said = [lab.boards.Said(answer, "") for answer in ("7", "7", "8", "")]
    problem = lab.boards.Problem("q", "w", "7", "money/1", tuple(said))
    other = replace(problem, answer="8", said=tuple(said[:2]))
    assert lab.boards.rates([problem, other, replace(other, kind="gsm8k")]) == {
        "money/1": pytest.approx(2 / 6),
        "gsm8k": 0.0,
    }
    assert problem.rate == pytest.approx(0.5)
    assert 0 < other.rate < 0.2, "two wrong samples don't prove that none is right"


def test_a_slip_is_never_right(lab: SimpleNamespace, asked: list[Any]) -> None:
    rng = random.Random(2)
    hard = [
        lab.boards.Problem(question, work, answer, "sums/1")
        for question, work, answer in (
            ("How many?", "one: 1", "1"),
            ("Is it 1?", "one: 1", "1"),
            ("Is it 2.0 or 02 or 5?", "two: 2", "2"),
            ("2 and 2?", "<<2+2=4>>4", "4"),
        )
    ]
    for problem in [*asked, *hard * 50]:
        task = Task(problem.question, answer=problem.answer)
        slip = lab.colleagues._slip(rng, problem)
        assert slip.answer
        assert not equal(slip.answer, problem.answer, task), problem
        assert not slip.fact or slip.fact.endswith(f" is {slip.answer}")


def test_boards_hold_what_the_model_said_and_slips(lab: SimpleNamespace, asked: list[Any]) -> None:
    rng = random.Random(3)
    shares = []
    for problem in asked * 4:
        notes = lab.colleagues._board(rng, problem)
        assert 1 <= len(notes) <= 4
        assert len({note.author for note in notes}) == len(notes)
        right = [note.answer == problem.answer for note in notes]
        shares.append(sum(right) / len(right))
        for note in notes:
            assert note.confidence is None or 0.1 <= note.confidence <= 0.9
            if note.answer == problem.answer and note.facts:
                assert note.facts == (lab.examples.last_fact(problem.work),)
    assert min(shares) == 0
    assert max(shares) == 1
    assert 0.25 < sum(shares) / len(shares) < 0.6


def test_replies_read_as_the_gold_note(lab: SimpleNamespace, team: Any, asked: list[Any]) -> None:
    known = {p.question: p for p in asked}
    chats = team.draw(random.Random(4), 400)
    kinds = {chat.kind for chat in chats}
    assert kinds == set(lab.colleagues.SHARES)
    seen = 0
    believed = set()
    for chat in chats:
        assert chat.reply.count("=") == chat.reply.count("<<"), "the calculator stops at '='"
        question = chat.user.split("\n\n")[0]
        note = parse_note(chat.reply, Task(question), "ann", tokens=80)
        said = chat.reply.rsplit("\nNOTE\n", 1)[0]
        if chat.kind == "bare":
            assert (chat.system, note.confidence, note.facts) == ("", None, ())
            continue
        assert note.confidence is not None
        assert 0.1 <= note.confidence <= 0.9
        work = said
        if chat.kind != "speak":
            verdict, _, work = said.partition("\n")
            whom = verdict.removeprefix("right: ")
            believed.add(whom if whom in ("mine", "none") else "colleague")
            assert bool(work) == (whom == "none"), "who believes someone need not calculate"
            assert whom in ("mine", "none") or whom in chat.user
        if work:
            assert note.facts == ((fact,) if (fact := lab.examples.last_fact(work)) else ())
        if question in known:
            seen += 1
            problem = known[question]
            assert note.answer == problem.answer
            assert work in ("", problem.work)
            assert note.facts == ((fact,) if (fact := lab.examples.last_fact(problem.work)) else ())
    assert believed == {"mine", "none", "colleague"}
    # Most questions of boards are worded anew.
    assert seen > 20


def test_prompts_are_those_of_the_orchestrator(lab: SimpleNamespace) -> None:
    task = Task(STORY, answer="7")
    requests: dict[tuple[str, str], ChatRequest] = {}

    def model(request: ChatRequest) -> str:
        agent, purpose = request.context.agent, request.context.purpose
        requests[agent, purpose] = request
        answer = {"ann": "7", "bob": "17"}[agent]
        return f"<<12-5=7>>7\nNOTE\nanswer: {answer}\nconfidence: 0.8\nfact: 12-5 is 7"

    agents = [Agent("ann", role="solver"), Agent("bob", role="skeptic")]
    asyncio.run(Team(agents, "group", FunctionBackend(model)).solve(task))
    ann = Note("ann", "7", 0.8, ("12-5 is 7",))
    bob = Note("bob", "17", 0.8, ("12-5 is 7",))
    expected = {
        ("ann", "speak"): lab.prompts.render("solver", task, "speak"),
        ("bob", "speak"): lab.prompts.render("skeptic", task, "speak"),
        ("ann", "revise"): lab.prompts.render("solver", task, "revise", (bob,), ann),
        ("bob", "revise"): lab.prompts.render("skeptic", task, "revise", (ann,), bob),
    }
    sent = {key: tuple(m.content for m in requests[key].messages) for key in expected}
    assert sent == expected


# --- the check of the data, and the way into the package


def test_a_public_example_that_repeats_a_test_stops_the_run(
    lab: SimpleNamespace, tmp_path: Path
) -> None:
    test = tmp_path / "data" / "gsm8k" / "test.jsonl.gz"
    test.parent.mkdir(parents=True)
    test.write_bytes(gzip.compress(json.dumps({"question": STORY, "answer": "7"}).encode()))

    def check(question: str, drawn: str) -> dict[str, Any]:
        words = Pools(lab, question)
        words.draw = lambda rng, count: [lab.examples.Chat("", drawn, "", "s1")] * count
        out = tmp_path / "run" / "overlap.json"
        try:
            return lab.mixture.check(words, out, data_dir=tmp_path / "data", count=3)
        finally:
            written.append(json.loads(out.read_text()))

    written: list[dict[str, Any]] = []
    fine = check(STORY.replace("12", "31").replace("5", "7"), STORY)
    assert fine == written[0]
    (public,), (generated,) = fine["public"]["tests"], fine["generated"]["tests"]
    assert (public["exact"], public["masked"]) == ([], [STORY]), "other numbers may pass"
    assert (generated["exact"], fine["generated"]["questions"]) == ([STORY], 3)
    with pytest.raises(DataError, match="repeat 1 test questions, expected none"):
        check(f"So: {STORY}", "What is 3 + 4?")
    assert written[1]["public"]["tests"][0]["exact"] == [STORY]


def test_a_stage_becomes_a_file_that_the_backend_runs(
    lab: SimpleNamespace, tokens: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("xllamacpp")
    monkeypatch.setattr(lab.release, "RUNS", tmp_path)
    lab.tokenizer.save(tokens, tmp_path / "tiny")
    stage = tmp_path / "tiny" / "words"
    with pytest.raises(ConfigError, match="not trained so far"):
        lab.release.directory("tiny", "words")
    model = lab.model.build("tiny", seed=5)
    plan = lab.trainer.Plan("tiny", "words", stage, 1, 0.0)
    lab.trainer._save(plan, lab.trainer.State(), model, [])
    early = lab.release.directory("tiny", "words", checkpoint=True) / "model.safetensors"
    saved = early.read_bytes()
    lab.trainer.write_weights(model, stage / "model.safetensors")
    assert lab.release.directory("tiny", "words") == stage / "hf"
    assert early.read_bytes() == saved, "a checkpoint holds the weights that the end would"
    out = tmp_path / "weights"
    command = ["release.py", "--size", "tiny", "--out", str(out), "pocket=words"]
    monkeypatch.setattr(sys, "argv", command)
    lab.release.main()

    async def reply() -> Any:
        runs = backend("pocket", directory=out)
        try:
            return await runs.complete(ChatRequest((Message("user", STORY),), max_tokens=8))
        finally:
            await runs.aclose()

    usage = asyncio.run(reply()).usage
    assert 1 <= usage.completion_tokens <= 8
