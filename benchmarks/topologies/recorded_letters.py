"""Study (b): the same on recorded MMLU letters, where a reply is one letter and nothing to read.

    HYPERAGENT_DATA=... python benchmarks/topologies/recorded_letters.py

writes recorded_letters.json and recorded_letters.md beside this file. Nothing is sent anywhere.
"""

from __future__ import annotations

import gzip
import json
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
from hyperagent.tasks import equal, load, normalise
from hyperagent.topology.replies import Replies, answer_codes, content_hashes
from hyperagent.topology.reply_features import question_features

MODELS = {
    "google_gemini-1.5-flash-preview-0514": "gemini-1.5-flash-preview-0514",
    "meta_llama-3-70b": "meta-llama-3-70b",
    "mistralai_mixtral-8x22b": "mixtral-8x22b",
    "openai_gpt-4o-2024-05-13": "gpt-4o-2024-05-13",
    "anthropic_claude-3-opus-20240229": "claude-3-opus-20240229",
}
"""Column of the record to the name in configs/prices.yaml."""

EVERY = 4
"""Every fourth question, so that the study takes about a minute."""


def letters(prices: Prices) -> Replies:
    """The letters of `MODELS`; the kind of a question is its subject."""
    folder = datadir.require("replay_mmlu")
    columns = json.loads((folder / "columns.json").read_text())["helm_models"]
    seats = [columns.index(name) for name in MODELS]
    tasks = {task.id: task for task in load("mmlu")}
    with gzip.open(folder / "predictions.jsonl.gz", "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    kept = [r for r in records if r.get("helm") and r["id"] in tasks][::EVERY]
    asked = [tasks[r["id"]] for r in kept]
    answers = np.array(
        [
            [normalise(r["helm"][k], task) for k in seats]
            for r, task in zip(kept, asked, strict=True)
        ],
        dtype=object,
    )
    correct = np.array(
        [[equal(a, t.answer, "choice") for a in row] for t, row in zip(asked, answers, strict=True)]
    )
    prompt = np.tile([[about(task.render())] for task in asked], (1, len(MODELS)))
    rates = [prices.find(name) for name in MODELS.values()]
    dollars = [prompt[:, j] * r.prompt + r.completion for j, r in enumerate(rates) if r is not None]
    return Replies(
        tuple(MODELS.values()),
        tuple(task.id for task in asked),
        content_hashes(asked),
        np.array([task.id.removeprefix("mmlu_test_").rpartition("_")[0] for task in asked]),
        np.full(len(asked), 3),
        answer_codes(answers),
        correct,
        prompt,
        np.ones_like(prompt),
        np.column_stack(dollars) / 1e6,
        np.stack([question_features(task.render()) for task in asked]),
        np.zeros((*answers.shape, 0)),
    )


def main() -> None:
    replies = letters(Prices.load(HERE.parents[1] / "configs" / "prices.yaml"))
    studies = {"five, dollars": report(run_team(replies, "dollars"))}
    results = {"set": "MMLU letters", "questions": len(replies), "studies": studies}
    (HERE / "recorded_letters.json").write_text(json.dumps(results, indent=1) + "\n")
    (HERE / "recorded_letters.md").write_text(to_markdown(results))
    print(to_markdown(results))
    print(f"CPU {time.process_time():.0f} s")


if __name__ == "__main__":
    main()
