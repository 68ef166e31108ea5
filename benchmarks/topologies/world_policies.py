"""All kinds of policy in the simulated world, each from 5,120 executions.

Run from the root of the repository:

    python benchmarks/topologies/world_policies.py --seeds 3 --first-seed 5

Every policy may spend the same executions. The log (race over the portfolio, exploration) is shared
by those that learn from a log; reinforcement from a distilled start spends the last part of the
executions, reinforcement from scratch all of them. Held-out tasks are scored with the exact
expectation of the world, so that no luck of a draw is compared. A simulation, not LLMs.
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
from hyperagent.topology.codebook import CodebookDesigner, default_codes
from hyperagent.topology.collect import explore, follow, race
from hyperagent.topology.design import Designer
from hyperagent.topology.distil import distil, good_targets
from hyperagent.topology.rloo import rloo
from hyperagent.topology.surrogate import Surrogate
from hyperagent.topology.surrogate_designer import SurrogateDesigner
from hyperagent.topology.vae import VaeDesigner

HERE = Path(__file__).parent
PRICE, SCALE = 0.25, 6000.0
EXECUTIONS, RACE, REINFORCE = 5120, 512, 1536
RANDOM = 4 / 7
"""Share of the exploration that is random, as in `world.py`; the rest follows a first surrogate."""
TEST_TASKS = 500
EPOCHS = 12


def study(seed: int) -> dict[str, dict[str, float]]:
    """One seed: what each policy reaches, and the processor seconds of its training."""
    world = World()
    agents, money = world.agents, {"price": PRICE, "scale": SCALE}
    graphs, test = portfolio(agents), world.tasks(TEST_TASKS, 1000 + seed)
    train, valid = world.tasks(EXECUTIONS, 2000 + seed), world.tasks(RACE, 3000 + seed)
    tasks = {task.id: task for task in (*train, *valid)}
    rows: dict[str, dict[str, float]] = {}
    began = time.process_time()

    def note(name: str, chosen: Sequence[Hypergraph], executions: int) -> None:
        nonlocal began
        spent = time.process_time() - began
        rows[name] = {**scored(world, test, chosen), "executions": executions, "seconds": spent}
        print(seed, name, {k: round(v, 4) for k, v in rows[name].items()}, flush=True)
        began = time.process_time()

    def designs(designer: Designer) -> list[Hypergraph]:
        nonlocal began
        before = time.process_time()
        chosen = [designer.design(task, agents).hypergraph for task in test]
        began += time.process_time() - before
        return chosen

    raced = race(graphs, valid, world.execute, RACE, seed=seed * 10**6, **money)
    fixed = graphs[raced.best]
    note("constant (best fixed)", [fixed] * len(test), len(raced.outcomes))

    codes = default_codes(agents, fixed)
    book_log = list(raced.outcomes)
    for i, task in enumerate(train[: EXECUTIONS - len(book_log)]):
        code = codes[i % len(codes)]
        book_log.append(world.execute(task, code, seed * 10**6 + i))
    book = CodebookDesigner.fit(codes, book_log, tasks, agents, **money)
    note("codebook", designs(book), len(book_log))

    for name, count in (("surrogate", EXECUTIONS), ("surrogate, part", EXECUTIONS - REINFORCE)):
        count -= len(raced.outcomes)
        parts = sub_hypergraphs(fixed)
        explored = explore(fixed, train, world.execute, int(RANDOM * count), seed=seed)
        log = [*raced.outcomes, *explored]
        first = Surrogate.fit(log, tasks, agents, seed=seed)
        log += follow(
            first, parts, train[len(explored) :], world.execute, count - len(explored),
            **money, seed=seed,
        )  # fmt: skip
        fit = Surrogate.fit(log, tasks, agents, seed=seed)
        chooser = SurrogateDesigner(fit, [*graphs.values(), *parts], fixed, **money)
        note(name, designs(chooser), len(log))
        vae = VaeDesigner(mode="mode", init=seed)
        seen = train[: EXECUTIONS - REINFORCE]
        distil(vae, seen, agents, good_targets(chooser, vae, seen, agents), epochs=EPOCHS,
               seed=seed)  # fmt: skip
        title = name.replace("surrogate", "vae")
        note(title, designs(vae), len(log))
    fresh = train[-REINFORCE:]
    start = {name: value.clone() for name, value in vae.net.state_dict().items()}
    for name, model in (("rloo from the vae", None), ("rloo, with the surrogate", fit)):
        vae.net.load_state_dict(start)
        done = rloo(vae, fresh, agents, world.execute, REINFORCE, surrogate=model, seed=seed,
                    **money)  # fmt: skip
        note(name, designs(vae), EXECUTIONS - REINFORCE + len(done))
    vae = VaeDesigner(mode="mode", init=seed, anchor="group")
    done = rloo(vae, train, agents, world.execute, EXECUTIONS, seed=seed, **money)
    note("rloo from scratch", designs(vae), len(done))
    note("oracle", [world.oracle(task, PRICE, SCALE) for task in test], 0)
    return rows


def scored(world: World, tasks: Sequence[Task], graphs: Sequence[Hypergraph]) -> dict[str, float]:
    """Exact means over tasks."""
    exact = [world.expected(task, graph) for task, graph in zip(tasks, graphs, strict=True)]
    success = float(np.mean([e.success for e in exact]))
    tokens = float(np.mean([e.tokens for e in exact]))
    return {"reward": success - PRICE * tokens / SCALE, "success": success, "tokens": tokens}


def interval(values: Sequence[float], digits: int = 3) -> str:
    """Mean and 95 % t interval over seeds."""
    mean, half = float(np.mean(values)), 0.0
    if len(values) > 1:
        half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return f"{mean:.{digits}f} ± {half:.{digits}f}"


def table(results: Sequence[dict[str, dict[str, float]]], first_seed: int) -> str:
    """The report."""
    text = [
        "# Policies in the simulated world\n",
        f"`python benchmarks/topologies/world_policies.py --seeds {len(results)} --first-seed "
        f"{first_seed}`. A simulation, not LLMs. {TEST_TASKS} held-out tasks a seed, scored "
        f"exactly; reward = success - {PRICE} tokens / {SCALE:.0f}; mean and 95 % t interval over "
        f"{len(results)} seeds; differences are taken within a seed.\n",
        "| policy | executions | reward | minus best fixed | success | tokens | of best fixed "
        "| training, CPU s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in results[0]:
        rows = [r[name] for r in results]
        base = [next(iter(r.values())) for r in results]
        pairs = list(zip(rows, base, strict=True))
        cells = [
            f"{rows[0]['executions']:.0f}",
            interval([row["reward"] for row in rows]),
            interval([a["reward"] - b["reward"] for a, b in pairs]),
            interval([row["success"] for row in rows]),
            interval([row["tokens"] for row in rows], 0),
            interval([a["tokens"] / b["tokens"] for a, b in pairs]),
            f"{np.mean([row['seconds'] for row in rows]):.0f}",
        ]
        text.append(f"| {name} | {' | '.join(cells)} |")
    text.append(
        f'\n"Part" is learned from the {EXECUTIONS - REINFORCE} executions that are left when '
        f"{REINFORCE} are kept for reinforcement; both reinforcements start from that vae. With "
        "the surrogate one draw in five is executed, the others are predicted. Reinforcement from "
        "scratch starts from an untrained network whose anchor is the group of everybody."
    )
    return "\n".join(text) + "\n"


def main() -> None:
    """Run the seeds and write `world_policies.json` and `world_policies.md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        results.append(study(seed))
        text = json.dumps(results, indent=1) + "\n"
        (args.out / "world_policies.json").write_text(text, encoding="utf-8")
        (args.out / "world_policies.md").write_text(
            table(results, args.first_seed), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
