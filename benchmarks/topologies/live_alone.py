"""Study (c), with more questions: the anytime policy on pocket agents that were each asked alone.

    HYPERAGENT_DATA=... python benchmarks/topologies/live_alone.py

asks all five agents up to 1,000 questions of each set, and then learns on four fifths and tests on
the rest, five times, as study (a) does with records of real models. A team that is led by the
policy asks and answers exactly so (`tests/topology/test_topology_anytime_designer.py`), because its
agents are asked one at a time and read nothing; so nothing has to be executed twice. It writes
live_alone.json, .md and .svg beside this file; run folders stay in --out, and --resume goes on
after a kill.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from live import SETS, WEIGHTS, team
from live_peers import open_executions
from recorded_rows import FOLDS, SHUFFLES, Row, Study, run_team, shuffle

from hyperagent import tasks
from hyperagent.bench.statistics import bootstrap_mean, compare, holm, wilson
from hyperagent.learning import LearnPlan
from hyperagent.learning.alone import ask_alone, read_replies
from hyperagent.learning.plan import DEFAULT_PRICE
from hyperagent.topology.anytime import Beliefs
from hyperagent.topology.rehearsal import PRICES
from hyperagent.topology.replies import Replies

HERE = Path(__file__).resolve().parent
SHOWN = (0.0, 0.01, 0.02, 0.05, 0.1)
"""Prices in the table: accuracy that the mean cost of the best single agent is worth."""
COLOURS = {"learned": "#0072B2", "cascade": "#D55E00", "router": "#999999"}


def ask(name: str, limit: int, folder: Path, resume: bool) -> Replies:
    """Every agent alone on the first `limit` test questions of a set."""
    loaded = tasks.load(name, "test", limit=limit)
    questions = tuple(loaded)
    plan = LearnPlan(name, split="test", limit=limit, concurrency=32)
    with team() as members:
        agents = tuple(members.agents.values())
        with open_executions(
            folder, {"alone": limit}, plan, loaded, questions, members, resume=resume
        ) as (run, executions):
            executions.run(
                lambda execute: ask_alone(agents, questions, execute),
                len(agents) * len(questions),
                name,
            )
            return read_replies(run.samples, agents, questions)


def gap(ours: Row, theirs: Row, price: float, unit: float) -> list[float]:
    """Difference of accuracy − price · tokens / unit with its bootstrap interval."""
    worth = ours.right - theirs.right - price * (ours.tokens - theirs.tokens) / unit
    found = bootstrap_mean(worth)
    return [round(float(x), 4) for x in (found.value, found.low, found.high)]


def summary(study: Study) -> dict[str, Any]:
    """The table of one set."""
    best = study.rows[f"single: {study.best}"]
    chosen = study.rows["best single, chosen"]
    everybody = study.rows["plurality of all"]
    unit = float(best.tokens.mean())
    names = [n for n in study.rows if n.startswith("single: ")]
    rows = {name: study.rows[name] for name in (*names, "best single, chosen", "plurality of all")}
    for price in SHOWN:
        for kind in ("cascade", "learned"):
            rows[f"{kind}, price {price:g}"] = study.fronts[kind][PRICES.index(price)]
    found: dict[str, Any] = {"questions": len(best.right), "unit": round(unit, 1), "rows": []}
    tested: list[tuple[dict[str, Any], float]] = []
    for name, row in rows.items():
        accuracy = wilson(float(row.right.sum()), len(row.right))
        entry = {
            "name": name,
            "accuracy": [round(float(x), 4) for x in (accuracy.value, accuracy.low, accuracy.high)],
            "tokens": round(float(row.tokens.mean()), 1),
            "calls": round(float(row.calls.mean()), 3),
        }
        if name.startswith(("learned", "cascade")):
            against = dict(enumerate(chosen.right.tolist()))
            compared = compare(dict(enumerate(row.right.tolist())), against)
            price = float(name.rsplit(" ", 1)[1])
            if name.startswith("learned"):
                tested.append((entry, compared.p))
            entry["reward"] = {
                "single": gap(row, chosen, price, unit),
                "plurality": gap(row, everybody, price, unit),
            }
            if name.startswith("learned"):
                rule = study.fronts["cascade"][PRICES.index(price)]
                entry["reward"]["cascade"] = gap(row, rule, price, unit)
        found["rows"].append(entry)
    adjusted = holm([p for _, p in tested])
    for (entry, _), p in zip(tested, adjusted, strict=True):
        entry["p"] = round(p, 6)
    found["fronts"] = {
        kind: [[float(row.right.mean()), float(row.tokens.mean())] for row in front]
        for kind, front in study.fronts.items()
    }
    return found


def control(replies: Replies, price: float) -> list[float]:
    """Mean accuracy − price · tokens over the cost of the best agent: as it is, then with the
    features of another question and of the replies to it, shuffled `SHUFFLES` times."""
    folds, worth = replies.folds(FOLDS), np.zeros(1 + SHUFFLES)
    for fold in range(FOLDS):
        held = replies.take(folds == fold)
        (policy,) = Beliefs.learn(replies.take(folds != fold)).policies((price,), "tokens")
        for i, rows in enumerate([held, *(shuffle(held, seed) for seed in range(SHUFFLES))]):
            played = policy.run(rows)
            worth[i] += (played.correct - price * played.tokens / policy.unit).sum()
    return [round(float(x), 4) for x in worth / len(replies)]


def markdown(results: dict[str, Any]) -> str:
    """All tables."""
    lines = [
        "# The anytime policy on pocket agents asked alone", "",
        f"{results['date']}. Five folds by content hash, every question tested once. Price: "
        "accuracy that the mean cost of the best single agent is worth; reward = accuracy − price "
        "· tokens over that cost. Differences of reward, with 95 % bootstrap intervals over "
        "questions, are against the single agent that is best on the learning questions, plurality "
        "of all five, and the cascade that is searched at the same price. p: exact McNemar of "
        "right answers against the single agent, after Holm over the learned rows of a set.", "",
    ]  # fmt: skip
    for name, found in results["sets"].items():
        lines += [
            f"## {name}: {found['questions']} questions", "",
            "| row | right [95 %] | tokens | calls | p | reward above single | above plurality "
            "| above cascade |", "|---|---|---|---|---|---|---|---|",
        ]  # fmt: skip
        for row in found["rows"]:
            right, low, high = (100 * x for x in row["accuracy"])
            rewards = row.get("reward", {})
            cells = [
                "{:+.3f} [{:+.3f}, {:+.3f}]".format(*rewards[rival]) if rival in rewards else ""
                for rival in ("single", "plurality", "cascade")
            ]
            p = f"{row['p']:.3g}" if "p" in row else ""
            lines.append(
                f"| {row['name']} | {right:.1f} % [{low:.1f}, {high:.1f}] | {row['tokens']:,.0f} "
                f"| {row['calls']:.2f} | {p} | {' | '.join(cells)} |"
            )
        real, *others = found["control"]
        worst, best = min(others), max(others)
        lines += [
            "", f"Control: at price {DEFAULT_PRICE:g} the policy has accuracy − price · tokens "
            f"{real:.4f}; with the features of another question and of the replies to it, "
            f"{len(others)} shuffles, {worst:.4f} to {best:.4f}.", "",
        ]  # fmt: skip
    return "\n".join(lines)


def draw(results: dict[str, Any], path: Path) -> None:
    """Accuracy against tokens, one panel a set."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "0", "font.size": 8})
    sets = results["sets"]
    figure, panels = pyplot.subplots(1, len(sets), figsize=(4 * len(sets), 3.4), squeeze=False)
    for panel, (name, found) in zip(panels[0], sets.items(), strict=True):
        for kind, colour in COLOURS.items():
            points = sorted((tokens, 100 * right) for right, tokens in found["fronts"][kind])
            panel.plot(*zip(*points, strict=True), "o-", color=colour, markersize=3, label=kind)
        for row in found["rows"]:
            if row["name"].startswith(("single", "plurality")):
                at = row["tokens"], 100 * row["accuracy"][0]
                panel.plot(*at, "k^" if row["name"].startswith("single") else "ks", markersize=4)
                label = row["name"].removeprefix("single: ").removesuffix(" of all")
                far = {"xytext": (-3, 3), "ha": "right"} if label == "plurality" else {}
                place = {"xytext": (3, 3)} | far
                panel.annotate(label, at, textcoords="offset points", fontsize=6, **place)
        panel.set_title(name, fontsize=9)
        panel.set_xlabel("tokens a question")
        panel.grid(alpha=0.3)
    panels[0, 0].set_ylabel("right, %")
    panels[0, 0].legend(fontsize=7, frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def study(name: str, limit: int, out: Path, resume: bool) -> tuple[str, dict[str, Any]]:
    """Ask, learn, test."""
    folder = out / name
    replies = ask(name, limit, folder, resume and folder.exists())
    # Nobody is paid here; the study of money is (a).
    dollars = np.zeros(replies.answers.shape)
    replies = replace(replies, dollars=dollars)
    found = summary(run_team(replies, "tokens"))
    return name, found | {"control": control(replies, DEFAULT_PRICE)}


def main() -> None:
    """Run, or go on; then write the tables and the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--limit", type=int, default=1000, help="questions of a set")
    parser.add_argument("--out", type=Path, default=Path("runs/topologies_alone"))
    parser.add_argument("--resume", action="store_true", help="go on with what is in --out")
    parser.add_argument("--results", type=Path, default=HERE)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    jobs = [(name, options.limit, options.out, options.resume) for name in options.sets]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        done = pool.starmap(study, jobs, chunksize=1)
    results = {
        "date": datetime.now(UTC).date().isoformat(),
        "weights": WEIGHTS,
        "limit": options.limit,
        "sets": dict(done),
    }
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "live_alone.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.results / "live_alone.md").write_text(markdown(results))
    draw(results, options.results / "live_alone.svg")
    print(markdown(results))


if __name__ == "__main__":
    main()
