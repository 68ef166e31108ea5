"""The surrogate designer in the simulated world: log, fit, choose, guard, held-out tasks.

Run from the root of the repository:

    python benchmarks/topologies/world.py --seeds 5 --first-seed 5 --executions 5120 320 1280

Every execution counts: the race over the portfolio, the exploration and the validation of the
guard. Held-out tasks are scored with the exact expectation of the world, so that only the choice
of topologies is compared and no luck of a draw.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from hyperagent.hypergraph import Hypergraph
from hyperagent.tasks import Task
from hyperagent.testing.world import World
from hyperagent.topology import Outcome, Surrogate, SurrogateDesigner, Verdict, judge
from hyperagent.topology.candidates import portfolio, sub_hypergraphs
from hyperagent.topology.collect import explore, follow, race

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from world_report import draw, table  # noqa: E402

PRICE, SCALE = 0.25, 6000.0
PRICES = (0.02, 0.1, 0.25, 1.0, 4.0)
TEST_TASKS, LIAR_TASKS = 500, 100
RACE, EXPLORE, FOLLOW = 0.06, 0.4, 0.3
"""Shares of the executions; the rest is the guard's."""


def scored(world: World, tasks: Sequence[Task], graphs: Sequence[Hypergraph]) -> dict[str, float]:
    """Exact means over tasks."""
    exact = [world.expected(task, graph) for task, graph in zip(tasks, graphs, strict=True)]
    success = float(np.mean([e.success for e in exact]))
    tokens = float(np.mean([e.tokens for e in exact]))
    return {"reward": success - PRICE * tokens / SCALE, "success": success, "tokens": tokens}


def choices(
    designer: SurrogateDesigner, tasks: Sequence[Task], prices: Sequence[float]
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


def guarded(
    world: World,
    designer: SurrogateDesigner,
    tasks: Sequence[Task],
    executions: int,
    seed: int,
) -> tuple[Verdict, list[Outcome]]:
    """The verdict, and the executions that were paid for it.

    Where the policy chooses the fixed topology one execution stands for both. The single agent is
    in the portfolio and lost the race, so it is not run again.
    """
    ours, theirs, paid = [], [], []
    for task in tasks:
        if len(paid) + 2 > executions:
            break
        fixed = world.execute(task, designer.fixed, 900_000 + seed)
        chosen = designer.design(task, world.agents).hypergraph
        same = chosen.digest() == designer.fixed.digest()
        learned = fixed if same else world.execute(task, chosen, 900_000 + seed)
        ours.append(learned)
        theirs.append(fixed)
        paid.extend([fixed] if same else [fixed, learned])
    return judge(ours, theirs, price=PRICE, scale=SCALE, seed=seed), paid


def lied_to(
    world: World, tasks: Sequence[Task], rows: dict[str, list[Hypergraph]]
) -> dict[str, dict[str, dict[str, float]]]:
    """Mean success by number and seat of the liars; the policies know of none.

    A random seat is any agent, seated or not; a needed seat is an agent of the fixed topology
    whose skill the task needs.
    """
    ids = [agent.id for agent in world.agents]
    skill = {agent.id: agent.role for agent in world.agents}
    fixed = rows["best fixed"][0].seated()
    found: dict[str, dict[str, dict[str, float]]] = {}
    for count in (1, 2):
        sets = list(combinations(ids, count))
        worlds = {liars: replace(world, liars=liars) for liars in sets}

        def mean(task: Task, graph: Hypergraph, chosen: Iterable, worlds: dict = worlds) -> float:
            return float(np.mean([worlds[s].expected(task, graph).success for s in chosen]))

        for seat in ("random seat", "needed seat"):
            by_row = {}
            for name, graphs in rows.items():
                values = []
                for task, graph in zip(tasks, graphs, strict=False):
                    needed = {s for pair in task.meta["pairs"] for s in pair}
                    seats = sorted(node for node in fixed if skill[node] in needed)
                    chosen = sets if seat == "random seat" else list(combinations(seats, count))
                    values.append(mean(task, graph, chosen))
                by_row[name] = float(np.mean(values))
            found[f"{count} at a {seat}"] = by_row
    honest = {
        name: float(
            np.mean([world.expected(t, g).success for t, g in zip(tasks, graphs, strict=False)])
        )
        for name, graphs in rows.items()
    }
    return {"nobody": honest, **found}


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
        graphs, valid[::-1], world.execute, max(4 * len(graphs), int(RACE * executions)),
        price=PRICE, scale=SCALE, seed=seed * 100_000,
    )  # fmt: skip
    fixed = graphs[raced.best]
    explored = explore(fixed, train, world.execute, int(EXPLORE * executions), seed=seed)
    log = [*raced.outcomes, *explored]
    tasks = {task.id: task for task in (*train, *valid)}
    parts, money = sub_hypergraphs(fixed), {"price": PRICE, "scale": SCALE}
    first = Surrogate.fit(log, tasks, agents, seed=seed)
    fresh = train[len(explored) :]
    log += follow(first, parts, fresh, world.execute, int(FOLLOW * executions), **money, seed=seed)
    fit = Surrogate.fit(log, tasks, agents, seed=seed)
    candidates = [*graphs.values(), *parts]
    designer = SurrogateDesigner(fit, candidates, fixed, **money)
    verdict, judged = guarded(world, designer, valid, executions - len(log), seed)

    by_price = choices(designer, test, PRICES)
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
        rule = SurrogateDesigner(fit, candidates, fixed, **money, paired=False)
        rows["learned, mean - 0.5 std unpaired"] = choices(rule, test, [PRICE])[PRICE]
        rule = SurrogateDesigner(fit, candidates, fixed, **money, caution=0.0)
        rows["learned, without caution"] = choices(rule, test, [PRICE])[PRICE]
        blind = Surrogate.fit(log, tasks, world.blinded(), seed=seed)
        rule = SurrogateDesigner(blind, candidates, fixed, **money)
        rows["learned, equal profiles"] = choices(rule, test, [PRICE])[PRICE]
    difficulty = [task.meta["difficulty"] for task in test]
    bills = [world.bill(graph) for graph in learned]
    constant = len({round(bill, 6) for bill in bills}) == 1
    figures = {name: scored(world, test, picks) for name, picks in rows.items()}
    spent = sum(outcome.tokens for outcome in (*log, *judged))
    saved = figures["best fixed"]["tokens"] - figures["learned"]["tokens"]
    named = ("best fixed", "complete", "learned", "oracle")
    return {
        "seed": seed,
        "executions": len(log) + len(judged),
        "training_tokens": spent,
        "break_even": spent / saved if saved > 0 else None,
        "raced": raced.best,
        "ece": fit.ece,
        "temperature": fit.temperature,
        "shipped": verdict.shipped,
        "difference": [verdict.difference, verdict.low, verdict.high],
        "reason": verdict.reason,
        "rows": figures,
        "spearman": 0.0 if constant else float(stats.spearmanr(difficulty, bills).statistic),
        "seated": {
            str(size): share
            for size, share in zip(
                *np.unique([len(g.seated()) for g in learned], return_counts=True), strict=True
            )
        },
        "by_price": {str(p): scored(world, test, picks) for p, picks in by_price.items()},
        "oracle_by_price": {
            str(p): scored(world, test[:200], [world.oracle(t, p, SCALE) for t in test[:200]])
            for p in PRICES
        },
        "liars": lied_to(world, test[:LIAR_TASKS], {n: rows[n] for n in named})
        if controls
        else None,
        "cpu_seconds": time.process_time() - began,
    }


def main() -> None:
    """Run all seeds and write `world.json`, `world.md` and `world.svg`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--executions", type=int, nargs="+", default=[320, 1280, 5120])
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--resume", action="store_true", help="keep the runs of world.json")
    parser.add_argument("--report", action="store_true", help="only rewrite table and figure")
    args = parser.parse_args()
    torch.set_num_threads(1)
    file = args.out / "world.json"
    results = json.loads(file.read_text()) if args.report or args.resume else []
    done = {(r["seed"], r["executions_asked"]) for r in results}
    pairs = [
        (seed, executions)
        for executions in args.executions
        for seed in range(args.first_seed, args.first_seed + args.seeds)
        if (seed, executions) not in done
    ]
    for seed, executions in [] if args.report else pairs:
        controls = executions == max(args.executions)
        found = study(seed, executions, controls=controls)
        results.append({"executions_asked": executions, **found})
        print(seed, executions, found["reason"], f"{found['cpu_seconds']:.0f} s", flush=True)
        # Written after every run, so that a long study can be read before its end.
        file.write_text(json.dumps(results, indent=1, default=int) + "\n")
    (args.out / "world.md").write_text(table(results, PRICE, SCALE, TEST_TASKS) + "\n")
    draw(results, args.out / "world.svg")


if __name__ == "__main__":
    main()
