"""Our coordinate descent next to skglm's compiled one: optimum and CPU time.

    python benchmarks/solvers/run.py [--repeats 9] [--out benchmarks/solvers/results.json]

Each line is one problem with unit columns and a sparse truth in noise. Times are medians of CPU
time, interleaved in one process, one thread. skglm runs its inner solver (no validation) on a
matrix in the layout it likes, after compilation; we run the public function. CEL0 is compared
as MCP with gamma 1.001, because skglm's prox is right only for gamma above the step.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from hyperagent.sparsity.penalties import L1, MCP
from hyperagent.sparsity.solvers import coordinate_descent, ista

HERE = Path(__file__).resolve().parent
GAMMA = 1.001
CASES = [
    # name, rows, columns, active, correlation of neighbours, penalty, weight
    ("MCP = CEL0, small", 100, 200, 12, 0.0, "mcp", 0.02),
    ("MCP = CEL0, small, low price", 100, 200, 12, 0.0, "mcp", 0.002),
    ("MCP = CEL0, large", 500, 5000, 40, 0.0, "mcp", 0.02),
    ("MCP = CEL0, large, higher price", 500, 5000, 40, 0.0, "mcp", 0.05),
    ("MCP = CEL0, large, low price", 500, 5000, 40, 0.0, "mcp", 0.004),
    ("MCP = CEL0, large, correlated", 500, 5000, 40, 0.9, "mcp", 0.02),
    ("l1, small", 100, 200, 12, 0.0, "l1", 0.1),
    ("l1, large", 500, 5000, 40, 0.0, "l1", 0.1),
    ("l1, large, correlated", 500, 5000, 40, 0.9, "l1", 0.05),
]


def problem(m: int, n: int, active: int, rho: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian columns, neighbours correlated by `rho`, scaled to norm 1; and data."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((m, n))
    for j in range(1, n if rho else 1):
        a[:, j] = rho * a[:, j - 1] + (1 - rho**2) ** 0.5 * a[:, j]
    a /= np.linalg.norm(a, axis=0)
    x = np.zeros(n)
    where = rng.choice(n, active, replace=False)
    x[where] = rng.choice([-1.0, 1.0], active) * (1 + rng.random(active))
    return a, a @ x + 0.05 * rng.standard_normal(m)


def compare(case: tuple, repeats: int, seeds: int) -> list[dict]:
    """One row a seed."""
    from skglm.datafits import Quadratic
    from skglm.penalties import L1 as TheirL1
    from skglm.penalties import MCPenalty
    from skglm.solvers import AndersonCD
    from skglm.utils.jit_compilation import compiled_clone

    name, m, n, active, rho, kind, weight = case
    slope = (2 * weight) ** 0.5
    if kind == "mcp":
        ours, theirs = MCP(slope, GAMMA), MCPenalty(alpha=slope / m, gamma=GAMMA * m)
    else:
        ours, theirs = L1(weight), TheirL1(alpha=weight / m)
    penalty, fit = compiled_clone(theirs), compiled_clone(Quadratic())
    rows = []
    for seed in range(seeds):
        a, y = problem(m, n, active, rho, seed)
        columns, matrix, data = np.asfortranarray(a), torch.tensor(a), torch.tensor(y)
        solver = AndersonCD(tol=1e-9, max_iter=200, fit_intercept=False, warm_start=False)
        runs = {
            "skglm": lambda s=solver, c=columns, d=y: s._solve(c, d, fit, penalty)[0],
            "ours": lambda c=matrix, d=data: coordinate_descent(c, d, ours).x.numpy(),
        }
        if m == 100:
            runs["ista"] = lambda c=matrix, d=data: ista(
                c, d, ours, iterations=3000, tol=1e-7
            ).x.numpy()
        ends = {who: run() for who, run in runs.items()}
        times: dict[str, list[float]] = {who: [] for who in runs}
        for _ in range(repeats):
            for who, run in runs.items():
                begin = time.process_time()
                run()
                times[who].append(time.process_time() - begin)
        values = {
            who: 0.5 * float(np.sum((a @ x - y) ** 2))
            + float(ours.value(torch.tensor(x).abs()).sum())
            for who, x in ends.items()
        }
        rows.append(
            {
                "case": name,
                "seed": seed,
                "shape": [m, n],
                "ms": {who: 1e3 * statistics.median(t) for who, t in times.items()},
                "objective": values,
                "active": {who: int((x != 0).sum()) for who, x in ends.items()},
            }
        )
    return rows


def table(rows: list[dict]) -> str:
    """Markdown; medians over the seeds."""
    lines = [
        "| problem | skglm ms | ours ms | ratio | ISTA ratio | ours - skglm, objective (per seed) "
        "| active (skglm, ours) |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(r["case"] for r in rows):
        mine = [r for r in rows if r["case"] == name]

        def middle(values: list[float]) -> float:
            return statistics.median(values)

        theirs, ours = (middle([r["ms"][w] for r in mine]) for w in ("skglm", "ours"))
        ratio = middle([r["ms"]["ours"] / r["ms"]["skglm"] for r in mine])
        slow = [r["ms"]["ista"] / r["ms"]["skglm"] for r in mine if "ista" in r["ms"]]
        gaps = ", ".join(f"{r['objective']['ours'] - r['objective']['skglm']:+.1e}" for r in mine)
        active = ", ".join(f"{r['active']['skglm']}/{r['active']['ours']}" for r in mine)
        lines.append(
            f"| {name} {mine[0]['shape'][0]} x {mine[0]['shape'][1]} | {theirs:.2f} | {ours:.2f} "
            f"| {ratio:.2f} | {f'{middle(slow):.0f}' if slow else ''} | {gaps} | {active} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run all cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for case in CASES for row in compare(case, given.repeats, given.seeds)]
    draft = given.out.with_suffix(".part")
    draft.write_text(json.dumps(rows, indent=1) + "\n")
    draft.replace(given.out)
    print(table(rows))


if __name__ == "__main__":
    main()
