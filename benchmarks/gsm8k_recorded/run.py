"""Recorded GSM8K study: real replies of real models, voting and stopping on them, in seconds.

    HYPERAGENT_DATA=... python benchmarks/gsm8k_recorded/run.py

writes results.json, tables.md and accuracy_tokens.svg beside this file. Nothing is sent anywhere.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from hyperagent.bench import BenchConfig, Summary, run_bench, to_markdown
from hyperagent.bench.files import read_lines
from hyperagent.bench.progress import PlainLines

HERE = Path(__file__).resolve().parent
EVERYBODY = "everybody, plurality"
STOP = "cascade, stop"

# The first row is what all others are compared with: one agent after the other, best first, until
# the posterior passes a threshold that the validation part chose.
CALIBRATED: tuple[Any, ...] = (
    {"topology": "cascade", "label": STOP},
    {"topology": "group", "label": EVERYBODY, "routing": {"vote": "plurality", "anytime": None}},
    {"topology": "cascade", "label": "cascade, no stop", "routing": {"anytime": None}},
    {"topology": "chain", "label": "chain, stop"},
    {"topology": "chain", "label": "chain, no stop", "routing": {"anytime": None}},
    {"topology": "tree", "label": "tree, stop"},
    {"topology": "tree", "label": "tree, no stop", "routing": {"anytime": None}},
    "single",
    "pair",
    "group",
    "star",
    "windows",
    "bridge",
    "complete",
    {"topology": "random:groups=2", "seeds": 3},
    "self_consistency-matched",
    {"topology": "random-matched", "seeds": 3},
)
UNCALIBRATED: tuple[Any, ...] = (
    {"topology": "group", "label": EVERYBODY},
    {"topology": "cascade", "label": "cascade, stop at 0.95", "routing": {"anytime": 0.95}},
    {"topology": "chain", "label": "chain, stop at 0.95", "routing": {"anytime": 0.95}},
    {"topology": "tree", "label": "tree, stop at 0.95", "routing": {"anytime": 0.95}},
    {"topology": "single", "label": "single, oldest model"},
    {"topology": "pair", "label": "pair, two oldest models"},
    "star",
    "windows",
    "bridge",
    "complete",
    {"topology": "random:groups=2", "seeds": 3},
)
COMMON: dict[str, Any] = {"task": "gsm8k", "baselines": False, "concurrency": 16}
STUDIES: dict[str, BenchConfig] = {
    "team": BenchConfig(
        **COMMON, team="recorded_gsm8k", topologies=CALIBRATED, calibrate=True,
        anytime="calibrated",
    ),
    "weaker": BenchConfig(
        **COMMON, team=str(HERE / "weaker.yaml"), topologies=CALIBRATED, calibrate=True,
        anytime="calibrated",
    ),
    "gpt4": BenchConfig(
        **COMMON, team=str(HERE / "gpt4.yaml"),
        topologies=tuple(f"self_consistency:k={k}" for k in (1, 2, 3)),
    ),
    "all": BenchConfig(**COMMON, team="recorded_gsm8k", topologies=UNCALIBRATED),
}  # fmt: skip
TITLES = {
    "team": "Team of twelve, test part",
    "weaker": "Team without its two strongest agents, test part",
    "gpt4": "Self-consistency of gpt-4, all questions",
    "all": "Team of twelve, all questions, nothing learned",
}


def work(names: tuple[str, ...], folder: str) -> list[tuple[str, Summary, float]]:
    """Run some of the studies in this process; each with its CPU seconds."""
    found = []
    for name in names:
        began = time.process_time()
        summary = run_bench(STUDIES[name], out=Path(folder) / name, progress=PlainLines())
        found.append((name, summary, time.process_time() - began))
    return found


def bar(folder: Path, summary: Summary) -> dict[str, Any]:
    """The stop against the full plurality vote: tokens and accuracy, with intervals."""
    import numpy as np

    tokens: dict[str, dict[str, float]] = {STOP: {}, EVERYBODY: {}}
    right: dict[str, dict[str, float]] = {STOP: {}, EVERYBODY: {}}
    for sample in read_lines(folder / "samples.jsonl"):
        if sample["row"] in tokens:
            used = sample["prompt_tokens"] + sample["completion_tokens"]
            tokens[sample["row"]][sample["task"]] = used
            right[sample["row"]][sample["task"]] = float(sample["correct"])
    ids = sorted(tokens[STOP])
    table = np.array(
        [[tokens[STOP][i], tokens[EVERYBODY][i], right[STOP][i], right[EVERYBODY][i]] for i in ids]
    )
    draws = np.random.default_rng(0).integers(len(ids), size=(5000, len(ids)))
    means = table[draws].mean(axis=1)
    share = means[:, 0] / means[:, 1]
    gain = means[:, 2] - means[:, 3]
    compared = summary.row(EVERYBODY).against_first
    point = table.mean(axis=0)
    return {
        "questions": len(ids),
        "token_share": [point[0] / point[1], *np.quantile(share, (0.025, 0.975))],
        "accuracy_gain": [point[2] - point[3], *np.quantile(gain, (0.025, 0.975))],
        "mcnemar_p": compared.p,
        "met": bool(point[2] >= point[3] and point[0] <= 0.5 * point[1]),
    }


def draw_figure(results: dict[str, Any], path: Path) -> None:
    """Accuracy against tokens, one panel for each table that has a stop."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    # Text stays text and ids are fixed, so that the file is small and changes only with the data.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "0", "font.size": 9})
    figure, panels = pyplot.subplots(1, 3, figsize=(13, 5.6))
    for panel, name in zip(panels, ("team", "weaker", "all"), strict=True):
        # Rows that seat the same agents at the same time give the same answers: one point.
        points: dict[tuple[float, float], list[dict[str, Any]]] = {}
        for row in results["studies"][name]["rows"]:
            key = round(row["tokens"], 1), round(row["accuracy"]["value"], 6)
            points.setdefault(key, []).append(row)
        for letter, ((tokens, value), rows) in zip(
            "abcdefghijklmnop", sorted(points.items()), strict=False
        ):
            stop = any("stop" in r["name"] and "no stop" not in r["name"] for r in rows)
            low, high = rows[0]["accuracy"]["low"], rows[0]["accuracy"]["high"]
            names = [r["name"] for r in rows]
            listed = "; ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")
            panel.errorbar(
                tokens, 100 * value, yerr=[[100 * (value - low)], [100 * (high - value)]],
                fmt="s" if stop else "o", color="#0072B2" if stop else "#555555", capsize=2,
                markersize=5, linewidth=0.8, label=f"{letter}  {listed}",
            )  # fmt: skip
            panel.annotate(letter, (tokens, 100 * value), xytext=(5, 5), textcoords="offset points")
        panel.set_xlim(left=0)
        panel.set_title(TITLES[name], fontsize=9)
        panel.set_xlabel("tokens per question (estimated)")
        panel.grid(alpha=0.3)
        panel.legend(
            loc="upper left", bbox_to_anchor=(0, -0.16), fontsize=7, frameon=False,
            handlelength=1.2, handletextpad=0.6, markerscale=0.7,
        )  # fmt: skip
    panels[0].set_ylabel("accuracy, % (95 % Wilson interval)")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="keep the run folders here")
    out = parser.parse_args().out
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = out or Path(temporary)
        # Two processes, because the machine this was made for has two cores.
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            jobs = [(("team", "weaker", "gpt4"), str(folder)), (("all",), str(folder))]
            done = [entry for part in pool.starmap(work, jobs) for entry in part]
        seconds = time.monotonic() - began
        bars = {n: bar(folder / n, s) for n, s, _ in done if n in ("team", "weaker")}
    results = {
        "date": datetime.now(UTC).date().isoformat(),
        "wall_seconds": round(seconds, 1),
        "cpu_seconds": {name: round(cpu, 1) for name, _, cpu in done},
        "bar": bars,
        "studies": {name: summary.to_json() for name, summary, _ in done},
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    tables = [f"## {TITLES[name]}\n\n{to_markdown(summary)}" for name, summary, _ in done]
    (HERE / "tables.md").write_text("\n".join(tables))
    draw_figure(results, HERE / "accuracy_tokens.svg")
    print("\n".join(tables))
    print(json.dumps(bars, indent=1))
    print(f"{seconds:.1f} s wall, CPU {results['cpu_seconds']}")


if __name__ == "__main__":
    main()
