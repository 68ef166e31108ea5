"""Study (b): the same on recorded HumanEval programs, which can be run on the question's examples.

    HYPERAGENT_DATA=... python benchmarks/topologies/recorded_programs.py

writes recorded_programs.json and recorded_programs.md beside this file. Nothing is sent anywhere.

Two programs that pass all examples of the question count as one answer, and a program that fails
one counts as an answer that nobody else gave. Where a question shows no example, equal programs
are equal answers. Running the examples is a tool of the team and costs no tokens; the hidden tests
only decide what is right.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from recorded import HERE, report
from recorded_report import to_markdown
from recorded_rows import run_team

from hyperagent import datadir
from hyperagent.llm import Prices
from hyperagent.llm.estimate import about
from hyperagent.tasks import Task, load, programs, public_tests, sandbox
from hyperagent.topology.replies import (
    OBJECTIVES,
    Objective,
    Played,
    Replies,
    answer_codes,
    content_hashes,
)
from hyperagent.topology.reply_features import question_features

RUNS = {
    "ldb_seed_starcoder": "StarCoder",
    "ldb_seed_codellama": "CodeLlama-34B",
    "ldb_seed_gpt-3.5-turbo-0613": "gpt-3.5-turbo-0613",
    "ldb_seed_gpt-4-1106-preview": "gpt-4-1106-preview",
}
"""Recorded run to the name in configs/prices.yaml."""


def passes(task: Task, text: str) -> tuple[bool, str]:
    """Whether a program passes the examples of its question, and how its answer is spelled."""
    program = programs.extract_program(text, task) or ""
    spelled = programs.normalise_program(program) or ""
    tests = "\n".join(public_tests(task))
    if not tests or not spelled:
        return False, spelled
    done = sandbox.run_python(programs.complete(program, task), tests=tests)
    return done.ok, "passes the examples" if done.ok else spelled


def recorded(prices: Prices) -> Replies:
    """Programs of `RUNS`; the kind of a question is whether it shows examples."""
    folder = datadir.require("replay_code")
    tasks = {task.id: task for task in load("humaneval")}
    with gzip.open(folder / "humaneval.jsonl.gz", "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    said = {
        r["id"]: {out["run"]: out for out in r["outputs"] if out["s"] == 0} for r in records
    }  # fmt: skip
    kept = [t for t in tasks.values() if RUNS.keys() <= said.get(t.id, {}).keys()]
    shape = len(kept), len(RUNS)
    answers, correct = np.empty(shape, dtype=object), np.zeros(shape, dtype=bool)
    completion, looks = np.zeros(shape, dtype=np.int64), np.zeros((*shape, 4))
    for i, task in enumerate(kept):
        for j, run in enumerate(RUNS):
            out = said[task.id][run]
            ok, answers[i, j] = passes(task, out["text"])
            correct[i, j] = bool(out["ok"])
            # Some records repeat the prompt in front of the program; it was not generated.
            written = programs.extract_program(out["text"], task) or out["text"]
            completion[i, j] = about(written)
            looks[i, j] = ok, not answers[i, j], math.log1p(len(written)), written.count("\n")
    prompt = np.tile([[about(task.render())] for task in kept], (1, len(RUNS)))
    rates = [prices.find(name) for name in RUNS.values()]
    dollars = [
        prompt[:, j] * r.prompt + completion[:, j] * r.completion
        for j, r in enumerate(rates)
        if r is not None
    ]
    return Replies(
        tuple(RUNS.values()),
        tuple(task.id for task in kept),
        content_hashes(kept),
        np.array(["examples" if public_tests(task) else "none" for task in kept]),
        np.full(len(kept), 10),
        answer_codes(answers),
        correct,
        prompt,
        completion,
        np.column_stack(dollars) / 1e6,
        np.stack([question_features(task.render()) for task in kept]),
        looks,
    )


def until_one_passes(replies: Replies, order: np.ndarray) -> Played:
    """Ask in `order` until a program passes the examples; else answer with the last one."""
    passing = replies.reply_features[:, order, 0].astype(bool)
    last = np.where(passing.any(axis=1), passing.argmax(axis=1), len(order) - 1)
    asked = np.zeros(replies.correct.shape, dtype=bool)
    asked[:, order] = np.arange(len(order)) <= last[:, None]
    return Played.of(replies, order[last], asked)


def rules(replies: Replies, objective: Objective) -> dict[str, Played]:
    """What a programmer would try first: cheap models first, with and without the weak ones."""
    order = np.argsort(replies.costs(objective).mean(axis=0), kind="stable")
    strong = order[np.isin(order, np.argsort(-replies.correct.mean(axis=0))[:2])]
    return {
        "by price until one passes": until_one_passes(replies, order),
        "the best two by price until one passes": until_one_passes(replies, strong),
    }


def main() -> None:
    replies = recorded(Prices.load(HERE.parents[1] / "configs" / "prices.yaml"))
    studies = {
        f"programmers, {objective}": report(run_team(replies, objective, rules(replies, objective)))
        for objective in OBJECTIVES
    }  # fmt: skip
    results = {"set": "HumanEval programs", "questions": len(replies), "studies": studies}
    (HERE / "recorded_programs.json").write_text(json.dumps(results, indent=1) + "\n")
    (HERE / "recorded_programs.md").write_text(to_markdown(results))
    print(to_markdown(results))
    print(f"CPU {time.process_time():.0f} s")


if __name__ == "__main__":
    main()
