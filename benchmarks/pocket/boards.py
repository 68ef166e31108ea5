"""Boards with right and wrong notes of peers, sampled from the first-stage model.

    python benchmarks/pocket/boards.py --size cpu --weights FOLDER --problems 5000

appends to runs/pocket/SIZE/boards.jsonl one problem a line, with the answers that the model gave;
the same command goes on after a kill.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from noise import noisy
from words import STEPS, Words, work_of

from hyperagent.llm import Backend, ChatRequest, Message, backend
from hyperagent.tasks import Task
from hyperagent.tasks.wordproblems import stream
from hyperagent.team.note import parse_note

SAMPLES = 4
"""Answers to each problem."""
TEMPERATURE = 0.8
_FACT = re.compile(r"<<([^<>=]+)=([^<>]+)>>")


@dataclass(frozen=True)
class Said:
    """What one sampled reply says: its answer (empty: none) and its last calculation."""

    answer: str
    fact: str


@dataclass(frozen=True)
class Problem:
    """A problem, its solution, and the answers that the model gave.

    Parameters
    ----------
    question, work, answer : str
    kind : str
        Skill and number of calculations, ``"money/3"``; ``"gsm8k"`` for those.
    said : tuple of Said
    """

    question: str
    work: str
    answer: str
    kind: str
    said: tuple[Said, ...] = ()

    @property
    def rate(self) -> float:
        """Share of right answers, drawn towards a half as few samples allow."""
        right = sum(said.answer == self.answer for said in self.said)
        return (right + 0.5) / (len(self.said) + 1)


def read(path: Path) -> list[Problem]:
    """Problems of a file that `main` wrote; a last half line is left out."""
    found = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                row = json.loads(line)
                said = tuple(Said(**one) for one in row.pop("said"))
                found.append(Problem(**row, said=said))
    return found


def rates(problems: Sequence[Problem]) -> dict[str, float]:
    """Share of right samples by kind of problem."""
    right, every = Counter[str](), Counter[str]()
    for problem in problems:
        every[problem.kind] += len(problem.said)
        right[problem.kind] += sum(said.answer == problem.answer for said in problem.said)
    return {kind: right[kind] / every[kind] for kind in every}


def problems(words: Words, count: int, seed: int) -> list[Problem]:
    """Problems to sample answers to: mostly generated, every eighth from GSM8K."""
    rng = random.Random(f"boards/{seed}")
    made = []
    tasks = stream(split="train", seed=rng.getrandbits(48), steps=STEPS)
    for place, task in enumerate(islice(tasks, count)):
        if place % 8 == 7:
            example = words.public("gsm8k", rng)
            made.append(Problem(example.question, example.work, example.answer, "gsm8k"))
        else:
            kind = f"{task.meta['skill']}/{task.meta['steps']}"
            made.append(Problem(task.question, work_of(task), task.answer or "", kind))
    return made


async def ask(model: Backend, problem: Problem, seed: int) -> Problem:
    """`problem` with `SAMPLES` sampled answers."""
    # A model is seldom wrong on wordings that it was trained on; words missing make it err as it
    # errs on wordings that are new to it.
    rng = random.Random(f"ask/{seed}")
    requests = [
        ChatRequest(
            (Message("user", noisy(problem.question, rng)),),
            temperature=TEMPERATURE,
            seed=seed,
            sample=sample,
            max_tokens=240,
        )
        for sample in range(SAMPLES)
    ]
    replies = await asyncio.gather(*map(model.complete, requests))
    task = Task(problem.question, answer=problem.answer)
    said = []
    for reply in replies:
        marks = _FACT.findall(reply.text)
        answer = parse_note(reply.text, task, "", tokens=0).answer or ""
        said.append(Said(answer, f"{marks[-1][0]} is {marks[-1][1]}" if marks else ""))
    return Problem(problem.question, problem.work, problem.answer, problem.kind, tuple(said))


async def sample(model: Backend, todo: Sequence[Problem], path: Path, done: int) -> None:
    """Ask about all of `todo`, sixteen problems at a time, and append what is said."""
    with path.open("a", encoding="utf-8") as out:
        for start in range(0, len(todo), 16):
            asked = todo[start : start + 16]
            answered = await asyncio.gather(
                *(ask(model, problem, done + start + i) for i, problem in enumerate(asked))
            )
            out.writelines(json.dumps(asdict(problem)) + "\n" for problem in answered)
            out.flush()
            if start % 320 == 0:
                print(f"{done + start + len(asked)} problems", flush=True)
    await model.aclose()


def main() -> None:
    """Sample until there are enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="cpu")
    parser.add_argument("--weights", type=Path, required=True, help="folder with weights.json")
    parser.add_argument("--problems", type=int, default=5000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    path = Path("runs/pocket") / options.size / "boards.jsonl"
    done = len(read(path)) if path.exists() else 0
    todo = problems(Words(options.data), options.problems, options.seed)[done:]
    model = backend("pocket", directory=options.weights, threads=options.threads)
    asyncio.run(sample(model, todo, path, done))
    found = read(path)
    print(json.dumps({kind: round(rate, 3) for kind, rate in sorted(rates(found).items())}))


if __name__ == "__main__":
    main()
