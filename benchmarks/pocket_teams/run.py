"""Pocket teams: accuracy against tokens of live teams of small models, on five sets of problems.

    HYPERAGENT_DATA=... python benchmarks/pocket_teams/run.py

writes results.json, tables.md and accuracy_tokens.svg beside this file. The run folders stay in
--out; after a kill the same command with --resume goes on. Everything runs on this machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from drawing import draw_figure
from tables import Study, by_steps, equal_tokens, markdown

from hyperagent import llm, tasks
from hyperagent.bench import BenchConfig, Row, Summary, run_bench
from hyperagent.bench.progress import PlainLines
from hyperagent.errors import DataError
from hyperagent.hypergraph import Hyperedge, Hypergraph, anchors
from hyperagent.team import Team, load_team_file
from hyperagent.team.teamfile import RoutingModel

HERE = Path(__file__).resolve().parent
LIMITS = {"wordproblems": 160, "multiarith": 100, "svamp": 100, "asdiv": 100, "gsm8k": 100}
"""Questions of each set; all are from the fifth that the content hash makes its test part."""
CALIBRATION = 100
"""Questions of the training part from which the reliability of each agent is measured."""
TEMPERATURE = 0.7
STOP = 0.9
LADDER = (2, 4, 8, 16)
"""Samples of the best agent, in rows of self-consistency."""


@anchors.register("alone")
def alone(nodes: tuple[str, ...], roles: object, *, place: int = 1) -> Hypergraph:
    """The node at a place of the alphabet, so that the order by reliability does not matter."""
    return Hypergraph(nodes, (Hyperedge((sorted(nodes)[place - 1],)),))


def rows(names: list[str]) -> tuple[Row, ...]:
    """The table: one agent, more samples of it, teams. Nothing is random in a greedy row."""
    return (
        Row(topology="single", label="best agent", seeds=1),
        *(
            Row(topology=f"alone:place={i}", label=f"{name} alone", seeds=1)
            for i, name in enumerate(sorted(names), 1)
        ),
        Row(
            topology=f"alone:place={sorted(names).index('solver') + 1}",
            label="solver alone, sampled",
            temperature=TEMPERATURE,
        ),
        Row(topology="single", label="1 sample", temperature=TEMPERATURE),
        *(
            Row(topology=f"self_consistency:k={k}", label=f"{k} samples", temperature=TEMPERATURE)
            for k in LADDER
        ),
        *(
            Row(topology=name, seeds=1)
            for name in (
                "pair", "role_cover", "group", "chain", "star", "tree", "windows", "bridge",
                "complete",
            )
        ),
        Row(topology="random"),
        Row(topology="cascade", seeds=1),
        Row(
            topology="cascade", label=f"cascade, stop at {STOP}", seeds=1,
            routing=RoutingModel(anytime=STOP),
        ),
    )  # fmt: skip


def team_of(weights: Path | None) -> Team:
    """The pocket team; its name tells the weights, so that no run is resumed with others."""
    parts = load_team_file("pocket")
    backends = {
        agent.backend: llm.backend(agent.backend, directory=weights) for agent in parts["agents"]
    }
    seen = " ".join(backend.connection for backend in backends.values())
    digest = hashlib.sha256(seen.encode()).hexdigest()[:12]
    parts["agents"] = [replace(agent, backend=backends[agent.backend]) for agent in parts["agents"]]
    return Team(**parts | {"name": f"pocket, weights {digest}"})


def work(
    name: str, limit: int, out: Path, resume: bool, weights: Path | None
) -> tuple[str, Summary | str, float]:
    """Run one set in this process; with its CPU seconds, or why it is left out."""
    began = time.process_time()
    try:
        tasks.load(name, "test", limit=1)
    except DataError as error:
        return name, str(error), 0.0
    with team_of(weights) as team:
        config = BenchConfig(
            task=name,
            topologies=rows(list(team.agents)),
            baselines=False,
            limit=limit,
            seeds=3,
            concurrency=32,
            scorers=("numeric",),
            calibrate=True,
            calibration_limit=min(CALIBRATION, limit),
        )
        summary = run_bench(
            config, out=out / name, resume=resume, team=team, progress=PlainLines(seconds=20)
        )
    return name, summary, time.process_time() - began


def main() -> None:
    """Run, or go on; then write tables and figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", default=list(LIMITS), choices=list(LIMITS))
    parser.add_argument("--limit", type=int, help="questions of each set")
    parser.add_argument("--out", type=Path, default=Path("runs/pocket_teams"))
    parser.add_argument("--resume", action="store_true", help="go on with the runs in --out")
    parser.add_argument("--weights", type=Path, help="folder with other weights.json")
    parser.add_argument("--results", type=Path, default=HERE, help="where tables and figure go")
    options = parser.parse_args()
    began = time.monotonic()
    jobs = [
        (name, options.limit or LIMITS[name], options.out, options.resume, options.weights)
        for name in options.sets
    ]
    # Two processes, because the machine this was made for has two cores.
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        done = pool.starmap(work, jobs, chunksize=1)
    seconds = time.monotonic() - began
    studies = [
        Study(name, summary, options.out / name, cpu)
        for name, summary, cpu in done
        if isinstance(summary, Summary)
    ]
    missing = {name: why for name, why, _ in done if isinstance(why, str)}
    results: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "resumed": options.resume,
        "wall_seconds": round(seconds, 1),
        "missing": sorted(missing),
        "sets": {
            study.name: {
                "cpu_seconds": round(study.cpu, 1),
                "team": study.team,
                "table": study.summary.to_json(),
                "equal_tokens": equal_tokens(study, LADDER),
                "by_steps": by_steps(study) if study.name == "wordproblems" else None,
            }
            for study in studies
        },
    }
    options.results.mkdir(parents=True, exist_ok=True)
    text = markdown(studies, results, missing)
    (options.results / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.results / "tables.md").write_text(text)
    if studies:
        draw_figure(results, options.results / "accuracy_tokens.svg")
    print(text)
    print(f"{seconds:.0f} s wall, CPU {[round(study.cpu) for study in studies]}")


if __name__ == "__main__":
    main()
