"""What a pocket model can do, measured through its backend: sets, skills, boards.

    python benchmarks/pocket/evaluate.py --out runs/pocket/cpu/scores.json pocket pocket:sums

Greedy, with the prompts that a team renders. Every figure comes with its 95 % Wilson interval.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from prompts import render

from hyperagent.bench.statistics import wilson
from hyperagent.errors import DataError
from hyperagent.llm import Backend, ChatReply, ChatRequest, Message, backend
from hyperagent.tasks import Task, equal, load
from hyperagent.tasks.wordproblems import SKILLS, stream
from hyperagent.team.note import Note, parse_note

SETS = ("wordproblems", "multiarith", "svamp", "asdiv", "gsm8k")
IN_FLIGHT = 64


def shown(hits: Sequence[bool]) -> dict[str, Any]:
    """Share of right answers, its interval and its base."""
    inside = wilson(sum(hits), len(hits))
    return {
        "accuracy": round(sum(hits) / max(len(hits), 1), 4),
        "low": round(inside.low, 4),
        "high": round(inside.high, 4),
        "n": len(hits),
    }


async def ask(model: Backend, calls: Iterable[tuple[str, str]], **how: Any) -> list[ChatReply]:
    """Replies to system and user messages, many at a time."""
    places = asyncio.Semaphore(IN_FLIGHT)

    async def one(system: str, user: str) -> ChatReply:
        async with places:
            request = ChatRequest(
                (Message("system", system), Message("user", user)), max_tokens=320, **how
            )
            return await model.complete(request)

    return list(await asyncio.gather(*(one(system, user) for system, user in calls)))


def note_of(reply: ChatReply, task: Task, name: str = "ann") -> Note:
    """The note of a reply."""
    return parse_note(reply.text, task, name, tokens=80)


def right(note: Note, task: Task) -> bool:
    """Whether a note has the gold answer."""
    return note.answer is not None and equal(note.answer, task.answer or "", task)


async def alone(model: Backend, tasks: Sequence[Task], role: str = "solver") -> list[Note]:
    """The model's own notes, without a board."""
    calls = [render(role, task, "speak") for task in tasks]
    replies = await ask(model, calls, temperature=0.0)
    return [note_of(reply, task) for reply, task in zip(replies, tasks, strict=True)]


async def sets(model: Backend, names: Sequence[str], limit: int | None) -> dict[str, Any]:
    """Accuracy on data sets; of the word problems also by length and by skill.

    Parameters
    ----------
    model : Backend
    names : sequence of str
        Sets; one that the data directory does not hold is left out, with a word.
    limit : int, optional
        Problems of each set.
    """
    found: dict[str, Any] = {}
    for name in names:
        try:
            tasks = list(load(name, "test", limit=limit))
        except DataError as error:
            print(f"{name} left out: {error}")
            continue
        began = time.perf_counter()
        hits = [
            right(note, task) for note, task in zip(await alone(model, tasks), tasks, strict=True)
        ]
        found[name] = shown(hits) | {"seconds": round(time.perf_counter() - began, 1)}
        if name == "wordproblems":
            groups: dict[str, list[bool]] = defaultdict(list)
            for task, hit in zip(tasks, hits, strict=True):
                for key in ("steps", "level"):
                    groups[f"{key} {task.meta[key]}"].append(hit)
                if task.meta["steps"] <= 4:
                    groups["steps 1-2" if task.meta["steps"] <= 2 else "steps 3-4"].append(hit)
            found[name]["by"] = {key: shown(value) for key, value in sorted(groups.items())}
        print(name, json.dumps({k: v for k, v in found[name].items() if k != "by"}), flush=True)
    return found


async def skills(model: Backend, count: int) -> dict[str, Any]:
    """Accuracy by skill: `count` problems of each, one to four calculations, on held-out frames.

    Parameters
    ----------
    model : Backend
    count : int

    Returns
    -------
    dict
        By skill the `shown` figures and ``hits``, the outcomes question by question, so that
        models can be compared in pairs.
    """
    chosen: dict[str, list[Task]] = {skill: [] for skill in SKILLS}
    for task in stream(split="test", seed=1, steps=range(1, 5)):
        if len(chosen[task.meta["skill"]]) < count:
            chosen[task.meta["skill"]].append(task)
        elif all(len(tasks) == count for tasks in chosen.values()):
            break
    found = {}
    for skill, tasks in chosen.items():
        notes = await alone(model, tasks)
        hits = [right(note, task) for note, task in zip(notes, tasks, strict=True)]
        found[skill] = shown(hits) | {"hits": "".join("01"[hit] for hit in hits)}
    print("skills", {skill: score["accuracy"] for skill, score in found.items()}, flush=True)
    return found


async def sampled(model: Backend, tasks: Sequence[Task], count: int) -> list[list[Note]]:
    """`count` sampled notes of a solver for each task."""
    calls = [render("solver", task, "speak") for task in tasks]
    rounds = [
        await ask(model, calls, temperature=0.8, seed=1000 + sample) for sample in range(count)
    ]
    return [
        [note_of(reply, task, f"a{i}") for i, reply in enumerate(replies)]
        for task, replies in zip(tasks, zip(*rounds, strict=True), strict=True)
    ]


async def boards(
    reader: Backend, solver: Backend, role: str, count: int, seed: int
) -> dict[str, Any]:
    """How well `reader` judges and uses notes that `solver` sampled.

    Balanced accuracy of a verifier: the mean of the share of right answers that it repeats and of
    wrong answers that it does not repeat. The reader of a board: with two right notes and one
    wrong one, and with three wrong ones, each beside the same reader alone on the same problems.

    Parameters
    ----------
    reader, solver : Backend
    role : str
        Role of the reader.
    count : int
        Word problems of the test split.
    seed : int
        For the choice of notes.

    Returns
    -------
    dict
        By kind of board the `shown` figures; a kind that never came up is left out.
    """
    rng = random.Random(seed)
    tasks = list(load("wordproblems", "test", limit=count))
    notes = await sampled(solver, tasks, 8)
    single = await alone(reader, tasks, role)
    forms: dict[str, list[tuple[int, tuple[Note, ...]]]] = defaultdict(list)
    for place, (task, said) in enumerate(zip(tasks, notes, strict=True)):
        good = [note for note in said if right(note, task)]
        bad = [note for note in said if note.answer is not None and not right(note, task)]
        for name, of in (("right", good), ("wrong", bad)):
            if of:
                forms[f"one {name}"].append((place, (rng.choice(of),)))
        if len(good) >= 2 and bad:
            forms["two right, one wrong"].append((place, _mixed(rng, good, bad)))
        if len(bad) >= 3:
            forms["three wrong"].append((place, tuple(rng.sample(bad, 3))))
    found: dict[str, Any] = {}
    for name, listed in forms.items():
        purpose = "verify" if name.startswith("one") else "revise"
        calls = [
            render(
                role, tasks[place], purpose, board, single[place] if purpose == "revise" else None
            )
            for place, board in listed
        ]
        replies = await ask(reader, calls, temperature=0.0)
        after = [
            note_of(reply, tasks[place]) for reply, (place, _) in zip(replies, listed, strict=True)
        ]
        repeats = [
            n.answer is not None and equal(n.answer, board[0].answer or "", tasks[place])
            for n, (place, board) in zip(after, listed, strict=True)
        ]
        found[name] = {
            "alone": shown([right(single[place], tasks[place]) for place, _ in listed]),
            "with board": shown(
                [right(n, tasks[place]) for n, (place, _) in zip(after, listed, strict=True)]
            ),
            "repeats the first note": shown(repeats),
        }
    # A solver that is always right, or never, leaves nothing to tell apart.
    if {"one right", "one wrong"} <= found.keys():
        accepts = found["one right"]["repeats the first note"]["accuracy"]
        rejects = 1 - found["one wrong"]["repeats the first note"]["accuracy"]
        found["balanced accuracy"] = round((accepts + rejects) / 2, 4)
    return found


def _mixed(rng: random.Random, good: Sequence[Note], bad: Sequence[Note]) -> tuple[Note, ...]:
    board = [*rng.sample(good, 2), rng.choice(bad)]
    rng.shuffle(board)
    return tuple(board)


async def measure(options: argparse.Namespace, make: Callable[[str], Backend]) -> dict[str, Any]:
    """All figures of all models; what was measured is on the disk after every model."""
    scores: dict[str, Any] = {}
    if options.resume and options.out.exists():
        scores = json.loads(options.out.read_text(encoding="utf-8"))
    solver = make(options.models[0])
    for spec in options.models:
        if spec in scores:
            continue
        model = make(spec)
        print(f"== {spec}", flush=True)
        names = options.sets if spec == options.models[0] else options.sets[:1]
        scores[spec] = {"sets": await sets(model, names, options.limit)}
        if options.per_skill:
            scores[spec]["skills"] = await skills(model, options.per_skill)
        if options.boards:
            for role in ("solver", "verifier"):
                found = await boards(model, solver, role, options.boards, options.seed)
                scores[spec][f"boards as {role}"] = found
                print(role, json.dumps(found), flush=True)
        await model.aclose()
        if options.out:
            fresh = options.out.with_suffix(".tmp")
            fresh.write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
            fresh.replace(options.out)
    await solver.aclose()
    return scores


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", help="specs; the first one samples the notes")
    parser.add_argument("--weights", type=Path, help="folder with weights.json")
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--limit", type=int, help="problems of each set")
    parser.add_argument("--per-skill", type=int, default=250, help="problems of each skill")
    parser.add_argument("--boards", type=int, default=400, help="problems with boards; 0: none")
    parser.add_argument("--bare", action="store_true", help="without the calculator")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file, written after every model")
    parser.add_argument("--resume", action="store_true", help="leave out models that --out holds")
    options = parser.parse_args()

    def make(spec: str) -> Backend:
        pocket = spec.startswith("pocket")
        return backend(
            spec,
            directory=options.weights if pocket else None,
            calculator=False if options.bare else None,
        )

    if options.resume and not options.out:
        parser.error("--resume goes on with --out")
    asyncio.run(measure(options, make))


if __name__ == "__main__":
    main()
