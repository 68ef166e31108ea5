"""Train the pocket models, a stage at a time.

    python benchmarks/pocket/train.py words --size cpu --workers 2
    python benchmarks/pocket/train.py team longer --size cpu --workers 2
    python benchmarks/pocket/train.py sums rates parts verifier --size cpu --workers 2

Everything lies in runs/pocket/SIZE/STAGE. A killed run goes on when the same command is given
again. ``team`` needs the notes that `boards` samples from the weights of ``words``. A new stage
begins with a check that no public training example repeats a test question (`mixture`).
"""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import mixture
import torch
from colleagues import SHARES, Colleagues
from examples import Chat, Encoded, Encoder
from launch import launch
from measure import forced_accuracy
from model import SIZES, build, size
from prompts import render, samples
from tokenizer import save
from tokenizer import train as train_tokenizer
from trainer import Plan, is_done, run
from words import Words, chat_of, work_of

from hyperagent.errors import ConfigError
from hyperagent.tasks.wordproblems import generate

RUNS = Path("runs/pocket")


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    Parameters
    ----------
    after : str
        Stage whose weights it begins with; empty: fresh ones.
    decay : float
        Share of the stage, at its end, in which the rate falls.
    floor : float
        Where it falls to, as a share of its top.
    rate : float
        Factor on the size's learning rate.
    skills : tuple of str
        Skills that most of its problems have.
    shares : mapping of str to float
        Forms of prompt; empty: bare problems only.
    focus : float
        Share of the problems that have one of `skills`.
    """

    after: str = ""
    decay: float = 0.0
    rate: float = 1.0
    floor: float = 0.0
    skills: tuple[str, ...] = ()
    shares: Mapping[str, float] = field(default_factory=dict)
    focus: float = 0.95


_ALONE = {"bare": 0.5, "speak": 0.28, "revise": 0.08, "verify": 0.1, "decide": 0.04}
_CHECKING = {"bare": 0.02, "speak": 0.18, "revise": 0.1, "verify": 0.65, "decide": 0.05}
STAGES = {
    "words": Stage(decay=0.8, floor=0.35),
    "team": Stage("words", 1.0, 0.5, shares=SHARES),
    "longer": Stage("team", 1.0, 0.4, shares=_ALONE),
    "sums": Stage("longer", 0.9, 0.5, 0.0, ("sums", "compare"), _ALONE),
    "rates": Stage("longer", 0.9, 0.5, 0.0, ("rates", "time", "groups"), _ALONE),
    "parts": Stage("longer", 0.9, 0.5, 0.0, ("fractions", "percent", "money"), _ALONE),
    "verifier": Stage("longer", 0.9, 0.5, 0.0, (), _CHECKING),
}


def make_tokenizer(folder: Path, words: Words, vocabulary: int) -> None:
    """Learn the tokenizer from chats of the mixture and the prompts that teams render."""
    rng = random.Random("tokenizer")
    chats: list[Chat] = words.draw(rng, 40_000) + samples(rng, 4_000)
    texts = (f"{chat.system}\n{chat.user}\n{chat.reply}" for chat in chats)
    save(train_tokenizer(texts, vocabulary), folder)


def validation(encoder: Encoder, stage: Stage, count: int = 400) -> list[Encoded]:
    """Held-out problems, as many of each length, in the form that the stage trains on."""
    made = []
    for task in generate(count, split="validation", seed=1):
        chat = chat_of(task.question, work_of(task), task.answer or "", f"s{task.meta['steps']}")
        if stage.shares:
            system, user = render("solver", task, "speak")
            # What stands behind the answer is not asked for here.
            chat = Chat(system, user, chat.reply, chat.kind)
        made.append(encoder.encode(chat, closed=not stage.shares))
    return made


def drawer(stage: Stage, words: Words, folder: Path) -> Callable[[random.Random, int], list[Chat]]:
    """What the stage learns from."""
    if not stage.shares:
        return words.draw
    boards = folder / "boards.jsonl"
    if not boards.exists():
        raise ConfigError(f"{boards} is missing: sample it with benchmarks/pocket/boards.py")
    return Colleagues(words, boards, stage.skills, dict(stage.shares), stage.focus).draw


def work(rank: int, options: argparse.Namespace) -> None:
    """One worker."""
    from tokenizers import Tokenizer

    folder = RUNS / options.size
    encoder = Encoder(Tokenizer.from_file(str(folder / "tokenizer.json")))
    words = Words(options.data)
    for name in options.stages:
        stage = STAGES[name]
        plan = plan_of(name, options)
        if is_done(plan):
            continue
        draw = drawer(stage, words, folder)
        held = validation(encoder, stage)
        run(
            plan,
            build(options.size),
            lambda rng, count, draw=draw: [encoder.encode(chat) for chat in draw(rng, count)],
            lambda model, held=held: forced_accuracy(model, held),
        )


def plan_of(name: str, options: argparse.Namespace) -> Plan:
    """The plan of a stage."""
    stage, folder = STAGES[name], RUNS / options.size
    tokens = size(options.size).tokens
    (folder / name).mkdir(parents=True, exist_ok=True)
    return Plan(
        options.size,
        name,
        folder / name,
        options.tokens or tokens[name if name in tokens else "skill"],
        stage.decay,
        rate=stage.rate,
        floor=stage.floor,
        warm=60 if stage.after else 100,
        start=options.start
        or (folder / stage.after / "model.safetensors" if stage.after else None),
        seed=options.seed,
        every=options.every,
        compiled=options.compile,
    )


def is_new(name: str, options: argparse.Namespace) -> bool:
    """Whether a stage has nothing to go on from."""
    folder = plan_of(name, options).folder
    return not any((folder / f"{kind}.safetensors").exists() for kind in ("checkpoint", "model"))


def main() -> None:
    """Check the data, make the tokenizer if there is none, then train."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("stages", nargs="+", choices=STAGES)
    parser.add_argument("--size", choices=SIZES, default="cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes, one a core")
    parser.add_argument("--tokens", type=int, help="tokens of the stage, instead of the size's")
    parser.add_argument("--every", type=int, default=250, help="steps between two checkpoints")
    parser.add_argument("--compile", action="store_true", help="a third faster on a CPU")
    parser.add_argument("--data", type=Path, help="data directory (default: HYPERAGENT_DATA)")
    parser.add_argument("--start", type=Path, help="weights to begin with, not those it would")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = RUNS / options.size
    folder.mkdir(parents=True, exist_ok=True)
    for name in options.stages:
        start = plan_of(name, options).start
        if start is not None and not start.exists() and STAGES[name].after not in options.stages:
            raise SystemExit(f"{start} is missing: train the stage {STAGES[name].after!r} first")
    tokenizer = folder / "tokenizer.json"
    if any(is_new(name, options) for name in options.stages) or not tokenizer.exists():
        words = Words(options.data)
        mixture.check(
            words, folder / "overlap.json", data_dir=options.data, notes=folder / "boards.jsonl"
        )
        if not tokenizer.exists():
            make_tokenizer(folder, words, size(options.size).vocabulary)
    torch.set_num_threads(1)
    launch(work, options)


if __name__ == "__main__":
    main()
