"""Study (c): live teams of pocket models: learn a topology, then compare it on unseen questions.

    HYPERAGENT_DATA=... python benchmarks/topologies/live.py

writes live.json and live.md beside this file. Policies, outcomes and run folders stay in --out;
after a kill the same command with --resume goes on. Everything runs on this machine.

Topologies are learned on questions that the models were not trained on: the validation split of
the word problems, and those four fifths of the other sets that are not their test part.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from live_peers import TRAINED, train

from hyperagent import tasks
from hyperagent.bench import BenchConfig, Row, Summary, run_bench, statistics, to_markdown
from hyperagent.bench.files import read_lines
from hyperagent.bench.progress import PlainLines
from hyperagent.errors import DataError
from hyperagent.learning import LearnPlan, learn
from hyperagent.llm.weights import FOLDER, LIST
from hyperagent.team import Team, load_team_file

HERE = Path(__file__).resolve().parent
WEIGHTS = json.loads((FOLDER / LIST).read_text())["pocket.gguf"]["sha256"]
"""Of the models that the team is made of."""
SETS = {"wordproblems": "validation", "multiarith": "test", "gsm8k": "test"}
"""Set to the split on which a topology is learned."""
ASKING = ("anytime", "probe")
"""Policies that decide by what an agent has said."""
ASKED = 1600
"""Executions of each of them."""
SAMPLED = 0.7
FIXED = ("single", "pair", "role_cover", "group", "chain", "star", "complete")
PEERS = (
    "plurality", "dylan", "esc", "adaptive", "gdesigner", "gdesigner:released=1",
)  # fmt: skip
"""Peers that need no training; what they do is in their docstrings."""


def team() -> Team:
    """The package's pocket team."""
    return Team(**load_team_file("pocket"))


def study(
    name: str, seeds: int, executions: int, limit: int, out: Path, resume: bool
) -> tuple[str, dict[str, Any] | str]:
    """Learn `seeds` policies on a set and test all rows; or say why it is left out."""
    try:
        tasks.load(name, "test", limit=1)
    except DataError as error:
        return name, str(error)
    learned = []
    rows = [Row(topology="single", seeds=1)]
    for seed in range(seeds):
        folder = out / f"{name}-policy-{seed}"
        plan = LearnPlan(
            name, split=SETS[name], executions=executions, seed=seed, concurrency=32
        )  # fmt: skip
        with team() as members:
            learned.append(
                learn(
                    plan,
                    out=folder,
                    resume=resume and folder.exists(),
                    team=members,
                    calls=out / f"{name}-replies.sqlite",
                    progress=PlainLines(seconds=30),
                )
            )
        rows.append(Row(topology=f"learned:{folder}", label=f"learned, seed {seed}", seeds=1))
    rows += [Row(topology=anchor, seeds=1) for anchor in FIXED[1:]]
    rows += [
        Row(topology=f"self_consistency:k={k}", temperature=SAMPLED, label=f"{k} samples", seeds=3)
        for k in (2, 4, 8)
    ]
    rows += [Row(topology=peer, seeds=1) for peer in PEERS]
    peers = {}
    for peer in TRAINED:
        folder = out / f"{name}-{peer}"
        with team() as members:
            spec, trained = train(
                peer,
                LearnPlan(name, split=SETS[name]),
                members,
                folder,
                calls=out / f"{name}-replies.sqlite",
                resume=resume and folder.exists(),
            )
        rows.append(Row(topology=spec, label=f"{peer}, trained", seeds=3))
        peers[peer] = asdict(trained)
    asking = {}
    for policy in ASKING:
        folder = out / f"{name}-{policy}"
        with team() as members:
            asking[policy] = learn(
                LearnPlan(
                    name, split=SETS[name], policy=policy, executions=ASKED, limit=ASKED,
                    concurrency=32,
                ),
                out=folder,
                resume=resume and folder.exists(),
                team=members,
                calls=out / f"{name}-replies.sqlite",
                progress=PlainLines(seconds=30),
            )  # fmt: skip
        # As it was learned, whatever the guard said: what it would have done is the question here.
        rows.append(Row(topology=f"{policy}:weights={folder / policy}", label=policy, seeds=1))
    config = BenchConfig(
        task=name,
        topologies=tuple(rows),
        baselines=False,
        limit=limit,
        concurrency=32,
        scorers=("numeric",),
        calibrate=True,
        calibration_limit=limit,
    )
    folder = out / f"{name}-bench"
    with team() as members:
        summary = run_bench(
            config,
            out=folder,
            resume=resume and folder.exists(),
            team=members,
            progress=PlainLines(seconds=30),
        )
    found = {
        "learned": [run.to_json() for run in learned],
        "peers": peers,
        "asking": {policy: run.to_json() for policy, run in asking.items()},
        "table": summary.to_json(),
        "markdown": to_markdown(summary),
        "against": against(summary, folder, [run.fixed for run in learned]),
    }
    return name, found


def against(summary: Summary, folder: Path, fixed: list[str]) -> dict[str, Any]:
    """Learned rows together against the fixed topologies, question by question.

    The rivals are the topology that each learning run itself found best, which is what a user has
    without learning, and, harder, the fixed row that is best on the test questions.
    """
    last = {s["item"]: s for s in read_lines(folder / "samples.jsonl") if s["status"] == "ok"}
    right: dict[str, dict[str, list[float]]] = {}
    for sample in last.values():
        right.setdefault(sample["row"], {}).setdefault(sample["task"], []).append(
            float(sample["correct"])
        )
    mean = {
        row: {task: float(np.mean(hits)) for task, hits in by.items()} for row, by in right.items()
    }
    tokens = {row.name: row.prompt_tokens + row.completion_tokens for row in summary.rows}
    names = [row for row in mean if row.startswith("learned")]
    ours = {t: float(np.mean([mean[n][t] for n in names])) for t in mean[names[0]]}
    best = max(FIXED, key=lambda row: sum(mean[row].values()))
    found: dict[str, Any] = {
        "accuracy": float(np.mean(list(ours.values()))),
        "tokens": float(np.mean([tokens[n] for n in names])),
    }
    known = [row if row in mean else best for row in fixed]
    rivals = {
        "chosen": {t: float(np.mean([mean[r][t] for r in known])) for t in ours},
        "best": mean[best],
    }
    paid = {"chosen": float(np.mean([tokens[r] for r in known])), "best": tokens[best]}
    for label, rival in rivals.items():
        gap = statistics.bootstrap_mean(np.array([ours[t] - rival[t] for t in ours]))
        found[label] = {
            "rows": sorted(set(known)) if label == "chosen" else [best],
            "difference": asdict(gap),
            "tokens": paid[label],
        }
    return found


def points(gap: dict[str, Any]) -> str:
    """A difference with its interval, in points."""
    return f"{100 * gap['value']:+.1f} [{100 * gap['low']:+.1f}, {100 * gap['high']:+.1f}]"


def markdown(results: dict[str, Any]) -> str:
    """All tables."""
    lines = [
        "# Live pocket teams: learned topologies and hand-made ones", "",
        f"{results['seeds']} policies a set, each learned from {results['executions']} executions; "
        f"{results['limit']} test questions a set; {results['date']}. Differences are in points of "
        "accuracy with the 95 % bootstrap interval over questions. \"Fixed, chosen\" is what the "
        "same learning run found to be the best fixed topology.", "",
        "| set | learned: accuracy, tokens | fixed, chosen: tokens | difference "
        "| best fixed on the test questions | difference | guard let through |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, found in results["sets"].items():
        a = found["against"]
        shipped = sum(run["shipped"] for run in found["learned"])
        lines.append(
            f"| {name} | {100 * a['accuracy']:.1f} %, {a['tokens']:,.0f} "
            f"| {', '.join(a['chosen']['rows'])}: {a['chosen']['tokens']:,.0f} "
            f"| {points(a['chosen']['difference'])} "
            f"| {a['best']['rows'][0]}: {a['best']['tokens']:,.0f} "
            f"| {points(a['best']['difference'])} | {shipped} of {len(found['learned'])} |"
        )
    for name, found in results["sets"].items():
        paid = sum(run["paid_tokens"] for run in found["learned"])
        lines += ["", f"## {name}", "", found["markdown"].strip(), ""]
        lines += [
            f"Learning: {paid:,} tokens really paid.",
            "",
            "Training of the peers: "
            + "; ".join(
                f"{peer} {t['episodes']} executions of {t['tokens']:,.0f} tokens, mean reward "
                f"{t['rewards'][0]:.2f} in the first batch and {t['rewards'][-1]:.2f} in the last"
                for peer, t in found["peers"].items()
            )
            + ".",
            "",
            *(
                f"- {policy}: {run['verdict']['reason']}"
                for policy, run in found["asking"].items()
            ),
            *(
                f"- seed {k}: {run['verdict']['reason'] if run['verdict'] else 'constant'}"
                for k, run in enumerate(found["learned"])
            ),
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def earlier(path: Path, settings: dict[str, int]) -> dict[str, Any]:
    """Sets that an earlier run with the same weights and settings has written."""
    if not path.exists():
        return {}
    old = json.loads(path.read_text())
    same = all(old[name] == value for name, value in settings.items())
    return old["sets"] if same and old.get("weights") == WEIGHTS else {}


def main() -> None:
    """Run, or go on; then write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--executions", type=int, default=1280)
    parser.add_argument("--limit", type=int, default=150, help="test questions of a set")
    parser.add_argument("--out", type=Path, default=Path("runs/topologies_live"))
    parser.add_argument("--resume", action="store_true", help="go on with what is in --out")
    parser.add_argument("--results", type=Path, default=HERE)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    jobs = [
        (n, options.seeds, options.executions, options.limit, options.out, options.resume)
        for n in options.sets
    ]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        done = pool.starmap(study, jobs, chunksize=1)
    options.results.mkdir(parents=True, exist_ok=True)
    settings = {name: getattr(options, name) for name in ("seeds", "executions", "limit")}
    found = {name: result for name, result in done if isinstance(result, dict)}
    results = {
        "date": datetime.now(UTC).date().isoformat(),
        "weights": WEIGHTS,
        **settings,
        "missing": {name: why for name, why in done if isinstance(why, str)},
        "sets": earlier(options.results / "live.json", settings) | found,
    }
    text = markdown(results)
    (options.results / "live.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.results / "live.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
