"""The surrogate designer in the simulated world: log, fit, choose, guard, held-out tasks.

Run from the root of the repository:

    python benchmarks/topologies/world.py --seeds 5 --executions 320 1280 5120

Every execution counts: the race over the portfolio, the exploration and the validation of the
guard. Held-out tasks are scored with the exact expectation of the world, so that only the choice
of topologies is compared and no luck of a draw.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from hyperagent.hypergraph import Hypergraph
from hyperagent.tasks import Task
from hyperagent.testing.world import World
from hyperagent.topology.candidates import portfolio, sub_hypergraphs
from hyperagent.topology.collect import explore, race
from hyperagent.topology.surrogate import Surrogate
from hyperagent.topology.surrogate_designer import SurrogateDesigner
from hyperagent.topology.verdict import judge

HERE = Path(__file__).parent
PRICE, SCALE = 0.25, 6000.0
PRICES = (0.02, 0.1, 0.25, 1.0, 4.0)
CAUTION = 1.0
TEST_TASKS = 1000
RACE, EXPLORE = 0.1, 0.6
"""Shares of the executions; the rest is the guard's."""


def scored(world: World, tasks: Sequence[Task], graphs: Sequence[Hypergraph]) -> dict[str, float]:
    """Exact means over tasks."""
    exact = [world.expected(task, graph) for task, graph in zip(tasks, graphs, strict=True)]
    success = float(np.mean([e.success for e in exact]))
    tokens = float(np.mean([e.tokens for e in exact]))
    return {"reward": success - PRICE * tokens / SCALE, "success": success, "tokens": tokens}


def choices(
    designer: SurrogateDesigner, tasks: Sequence[Task], agents: Sequence, prices: Sequence[float]
) -> dict[float, list[Hypergraph]]:
    """What the designer chooses at several prices, from one prediction a task."""
    found: dict[float, list[Hypergraph]] = {price: [] for price in prices}
    own = designer.price
    for task in tasks:
        predicted = designer.surrogate.predict(task, designer.candidates)
        for price in prices:
            designer.price = price
            best = int(designer.scores(predicted).argmax())
            found[price].append(designer.candidates[best])
    designer.price = own
    return found


def study(seed: int, executions: int, *, controls: bool) -> dict:
    """One seed and one number of executions."""
    began = time.process_time()
    world = World()
    agents = world.agents
    graphs = portfolio(agents)
    test = world.tasks(TEST_TASKS, 1000 + seed)
    # Training and validation tasks come from other streams than the test tasks.
    train, valid = world.tasks(executions, 2000 + seed), world.tasks(executions, 3000 + seed)
    raced = race(
        graphs, valid[::-1], world.execute, max(6 * len(graphs), int(RACE * executions)),
        price=PRICE, scale=SCALE, seed=seed * 100_000,
    )  # fmt: skip
    fixed = graphs[raced.best]
    explored = explore(fixed, train, world.execute, int(EXPLORE * executions), seed=seed)
    log = [*raced.outcomes, *explored]
    tasks = {task.id: task for task in (*train, *valid)}
    fit = Surrogate.fit(log, tasks, agents, seed=seed)
    candidates = [*graphs.values(), *sub_hypergraphs(fixed)]
    designer = SurrogateDesigner(fit, candidates, fixed, price=PRICE, scale=SCALE, caution=CAUTION)
    judged = valid[: (executions - len(log)) // 3]
    chosen = [designer.design(task, agents).hypergraph for task in judged]
    three = [chosen, [fixed] * len(judged), [graphs["single"]] * len(judged)]
    ours, theirs, alone = (
        [world.execute(t, g, 900_000 + seed + i) for t, g in zip(judged, gs, strict=True)]
        for i, gs in enumerate(three)
    )
    verdict = judge(ours, theirs, alone, price=PRICE, scale=SCALE, seed=seed)

    by_price = choices(designer, test, agents, PRICES)
    learned = by_price[PRICE]
    rows = {
        "single": [graphs["single"]] * len(test),
        "group of all": [graphs["group"]] * len(test),
        "complete": [graphs["complete"]] * len(test),
        "best fixed": [fixed] * len(test),
        "learned": learned,
        "shipped by the guard": learned if verdict.shipped else [fixed] * len(test),
        "oracle": [world.oracle(task, PRICE, SCALE) for task in test],
        "learned, as cliques": [graph.clique_expansion() for graph in learned],
        "learned, of another task": [*learned[1:], learned[0]],
    }
    if controls:
        rule = SurrogateDesigner(
            fit, candidates, fixed, price=PRICE, scale=SCALE, caution=0.5, paired=False
        )
        rows["mean - 0.5 std, unpaired"] = choices(rule, test, agents, [PRICE])[PRICE]
        blind = Surrogate.fit(log, tasks, world.blinded(), seed=seed)
        rule = SurrogateDesigner(
            blind, candidates, fixed, price=PRICE, scale=SCALE, caution=CAUTION
        )
        rows["learned, equal profiles"] = choices(rule, test, agents, [PRICE])[PRICE]
    difficulty = [task.meta["difficulty"] for task in test]
    bills = [world.bill(graph) for graph in learned]
    constant = len({round(bill, 6) for bill in bills}) == 1
    return {
        "seed": seed,
        "executions": len(log) + 3 * len(judged),
        "raced": raced.best,
        "ece": fit.ece,
        "temperature": fit.temperature,
        "shipped": verdict.shipped,
        "reason": verdict.reason,
        "rows": {name: scored(world, test, picks) for name, picks in rows.items()},
        "spearman": 0.0 if constant else float(stats.spearmanr(difficulty, bills).statistic),
        "sizes": sorted({len(graph.seated()) for graph in learned}),
        "tokens_by_price": {
            str(price): scored(world, test, picks)["tokens"] for price, picks in by_price.items()
        },
        "cpu_seconds": time.process_time() - began,
    }


def interval(values: Sequence[float]) -> str:
    """Mean and 95 % t interval over seeds."""
    mean = float(np.mean(values))
    half = 0.0
    if len(values) > 1:
        half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    digits = 0 if abs(mean) > 50 else 3
    return f"{mean:.{digits}f} [{mean - half:.{digits}f}, {mean + half:.{digits}f}]"


def table(results: Sequence[dict]) -> str:
    """The report."""
    text = [
        "# The surrogate designer in the simulated world\n",
        "`python benchmarks/topologies/world.py`. A simulation, not LLMs. Means over seeds with "
        f"95 % t intervals; {TEST_TASKS} held-out tasks a seed, scored exactly; reward = success "
        f"- {PRICE} tokens / {SCALE:.0f}.\n",
    ]
    for executions in sorted({r["executions_asked"] for r in results}):
        runs = [r for r in results if r["executions_asked"] == executions]
        text += [f"## {executions} executions, {len(runs)} seeds\n"]
        text += [
            "| policy | reward | reward - best fixed | success | tokens | tokens / best fixed |"
        ]
        text += ["|---|---|---|---|---|---|"]
        for name in runs[0]["rows"]:
            rows = [r["rows"][name] for r in runs]
            base = [r["rows"]["best fixed"] for r in runs]
            gain = [a["reward"] - b["reward"] for a, b in zip(rows, base, strict=True)]
            ratio = [a["tokens"] / b["tokens"] for a, b in zip(rows, base, strict=True)]
            cells = [interval([row["reward"] for row in rows]), interval(gain)]
            cells += [interval([row[key] for row in rows]) for key in ("success", "tokens")]
            text += [f"| {name} | {' | '.join([*cells, interval(ratio)])} |"]
        shipped = sum(r["shipped"] for r in runs)
        text += [f"\nThe guard let the learned policy through in {shipped} of {len(runs)} seeds."]
        text += [f"Best fixed by race: {', '.join(r['raced'] for r in runs)}."]
        text += [f"Spearman(difficulty, tokens): {interval([r['spearman'] for r in runs])}."]
        eces = [r["ece"] for r in runs if r["ece"] is not None]
        text += [f"ECE on held-out tasks: {interval(eces) if eces else 'too few tasks'}."]
        mean = [
            f"{p}: {np.mean([r['tokens_by_price'][p] for r in runs]):.0f}"
            for p in runs[0]["tokens_by_price"]
        ]
        text += [f"Mean tokens by price: {', '.join(mean)}.\n"]
    return "\n".join(text)


def main() -> None:
    """Run all seeds and write `world.json` and `world.md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--executions", type=int, nargs="+", default=[320, 1280, 5120])
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for executions in args.executions:
            controls = executions == max(args.executions)
            found = study(seed, executions, controls=controls)
            results.append({"executions_asked": executions, **found})
            print(seed, executions, json.dumps(found), flush=True)
            # Written after every run, so that a long study can be read before its end.
            (args.out / "world.json").write_text(json.dumps(results, indent=1) + "\n")
            (args.out / "world.md").write_text(table(results) + "\n")


if __name__ == "__main__":
    main()
