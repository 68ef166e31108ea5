"""Sparsity-constrained transport as a router: against other routers, and against other solvers.

    python benchmarks/routing/run.py [--seeds 5] [--rounds 5]

Writes results.json, tables.md and routing.png beside itself. Times are CPU time of one thread,
the least of the rounds; everything runs in one process, so compare them as ratios. Peers that
are not installed (POT, cvxpy, matplotlib for the figure) are skipped and named.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import peers  # noqa: E402
import torch  # noqa: E402
from routers import AGENTS, CAPACITY, MASS, ROUTERS, TASKS, affinities, sinkhorn_plan  # noqa: E402
from torch import Tensor  # noqa: E402

from hyperagent.sparsity.transport import Continuation, TransportPlan  # noqa: E402


def least(call: Callable[[], Any], rounds: int) -> tuple[float, Any]:
    """Least CPU milliseconds of some rounds, and the result."""
    best, result = float("inf"), None
    for _ in range(rounds):
        began = time.process_time()
        result = call()
        best = min(best, (time.process_time() - began) * 1e3)
    return best, result


def router_row(name: str, seeds: int, rounds: int) -> dict[str, Any]:
    """Quality, overload and time of one router over the seeds."""
    rows = []
    for seed in range(seeds):
        affinity = affinities(seed)
        spent, taken = least(lambda affinity=affinity: ROUTERS[name](affinity), rounds)
        degree, load = taken.sum(0), taken.sum(1)
        optimum = float((affinity * ROUTERS["exact b-matching LP"](affinity)).sum())
        rows.append(
            {
                "affinity": float((affinity * taken).sum() / TASKS),
                "of_exact": float((affinity * taken).sum()) / optimum,
                "overload": int((load - CAPACITY).clamp_min(0).sum()),
                "dropped": float((degree == 0).double().mean()),
                "degree": float(degree.double().mean()),
                "max_degree": int(degree.max()),
                "ms": spent,
            }
        )
    found = {key: statistics.mean(row[key] for row in rows) for key in rows[0]}
    found["max_degree"] = max(row["max_degree"] for row in rows)
    found["of_exact_range"] = [min(r["of_exact"] for r in rows), max(r["of_exact"] for r in rows)]
    return {"router": name} | found


def differentiable(seeds: int, rounds: int) -> list[dict[str, Any]]:
    """Forward and backward through a plan: ours against 100 unrolled Sinkhorn steps."""
    capacity = torch.full((AGENTS,), MASS, dtype=torch.float64)

    def transport(k: int | None) -> Callable[[Tensor], Tensor]:
        module = TransportPlan(k, 0.05, row="le")
        return lambda affinity: module(-affinity, capacity).share

    makers = {"SCOT k = A": transport(None), "SCOT k = 2": transport(2), "Sinkhorn": sinkhorn_plan}
    rows = []
    for name, make in makers.items():
        forward, backward, entries, over = [], [], [], []
        for seed in range(seeds):
            affinity = affinities(seed).requires_grad_()
            weight = torch.randn(AGENTS, TASKS, generator=torch.Generator().manual_seed(seed))
            best = [float("inf")] * 2
            for _ in range(rounds):
                one, share = least(lambda affinity=affinity, make=make: make(affinity), 1)
                loss = (share * weight).sum()
                two, _ = least(loss.backward, 1)
                best = [min(best[0], one), min(best[1], two)]
            forward.append(best[0])
            backward.append(best[1])
            entries.append(float((share > 1e-9).sum() / TASKS))
            over.append(float((share.sum(1) - MASS).clamp_min(0).sum() / TASKS))
        rows.append(
            {
                "plan": name,
                "forward_ms": statistics.mean(forward),
                "backward_ms": statistics.mean(backward),
                "nonzeros": statistics.mean(entries),
                "overload": max(over),
            }
        )
    batch = torch.stack([affinities(seed) for seed in range(32)])
    for k in (None, 2):
        module = TransportPlan(k, 0.05, row="le")
        spent, plan = least(lambda module=module: module(-batch, capacity), rounds)
        rows.append(
            {
                "plan": f"SCOT k = {k or 'A'}, per problem in a batch of 32",
                "forward_ms": spent / 32,
                "backward_ms": None,
                "nonzeros": float(plan.support.sum((0, 1)).double().mean() / 32),
                "overload": float(plan.row_error.max()),
            }
        )
    return rows


def planted(path: Continuation | None, seed: int) -> float:
    """Share of 32 tasks whose planted agent (of 8) is learned through the plan, 120 Adam steps."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randperm(32, generator=generator) % 8
    logits = 0.1 * torch.randn(8, 32, generator=generator, dtype=torch.float64)
    logits.requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.1)
    module = TransportPlan(2, 0.3, row="le", tol=1.0)
    room = torch.full((8,), 5.0, dtype=torch.float64)
    for step in range(120):
        if path is not None:
            path.apply(module, step / 119)
        loss = -module(-logits, room).share[target, torch.arange(32)].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    final = TransportPlan(2, 0.3, row="le", tol=1.0)(-logits.detach(), room).share
    return float((final.argmax(0) == target).double().mean())


def peer_summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line per marginals, k and solver: medians over the seeds."""
    found = []
    for key in dict.fromkeys((r["marginals"], r["k"], r["solver"]) for r in rows):
        group = [r for r in rows if (r["marginals"], r["k"], r["solver"]) == key]
        line: dict[str, Any] = dict(zip(("marginals", "k", "solver"), key, strict=True))
        good = [r for r in group if "failed" not in r]
        line["failed"] = len(group) - len(good)
        if good:
            for name in ("dual", "row_error", "ms", "printed"):
                line[name] = statistics.median(r[name] for r in good)
            line["worst_row_error"] = max(r["row_error"] for r in good)
            line["warned"] = sum(r["warned"] for r in good)
        found.append(line)
    return found


def tables(results: dict[str, Any]) -> str:
    """The tables of the README."""
    lines = [
        "| router | mean affinity | of the exact LP | overload | dropped | degree | max | CPU ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in results["routers"]:
        low, high = r["of_exact_range"]
        lines.append(
            f"| {r['router']} | {r['affinity']:.4f} | {r['of_exact']:.3f} ({low:.3f}–{high:.3f}) | "
            f"{r['overload']:.1f} | {r['dropped']:.1%} | {r['degree']:.2f} | {r['max_degree']} | "
            f"{r['ms']:.1f} |"
        )
    lines += [
        "",
        "| plan, 16 x 256 | forward ms | backward ms | non-zeros a column | overload of mass |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['plan']} | {r['forward_ms']:.1f} | "
        f"{'' if r['backward_ms'] is None else format(r['backward_ms'], '.1f')} | "
        f"{r['nonzeros']:.2f} | "
        f"{r['overload']:.1e} |"
        for r in results["differentiable"]
    ]
    lines += [
        "",
        "| marginals | k | solver | dual value | row error (worst) | CPU ms | lines printed | "
        "warned |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in results["peers"]:
        head = f"| {r['marginals']} | {r['k']} | {r['solver']} | "
        if "dual" not in r:
            lines.append(head + f"fails {r['failed']} times | | | | |")
            continue
        lines.append(
            head + f"{r['dual']:.7f} | {r['row_error']:.1e} ({r['worst_row_error']:.1e}) | "
            f"{r['ms']:.1f} | {r['printed']:.0f} | {r['warned']} |"
        )
    if results["cvxpy"]:
        q = results["cvxpy"]
        lines += [
            "",
            f"Without a limit (k = 40) against cvxpy (CLARABEL): values differ by at most "
            f"{q['value_gap']:.0e}, plans by {q['plan_gap']:.0e}; {q['ours_ms']:.1f} ms against "
            f"{q['ms']:.0f} ms.",
        ]
    learned = results["planted"]
    lines += [
        "",
        "| planted map, 8 agents, 32 tasks | accuracy by seed |",
        "|---|---|",
        *(
            f"| {name} | {', '.join(f'{x:.2f}' for x in values)} |"
            for name, values in learned.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def figure(results: dict[str, Any], path: Path) -> None:
    """Quality against overload, and accuracy against time of the solvers."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    fig, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), width_ratios=(1.25, 1))
    rows = results["routers"][::-1]
    colours = ["tab:green" if r["overload"] == r["dropped"] == 0 else "tab:red" for r in rows]
    left.barh([r["router"] for r in rows], [r["affinity"] for r in rows], color=colours)
    for i, r in enumerate(rows):
        note = f"{r['overload']:.0f} over" if r["overload"] else ""
        note = note or (f"{r['dropped']:.1%} dropped" if r["dropped"] else "")
        left.text(r["affinity"] + 0.005, i, note, va="center", fontsize=8)
    left.set_xlim(0, 1.2 * max(r["affinity"] for r in rows))
    left.set_xlabel("mean affinity of a task (green: no overload, nothing dropped)")
    left.tick_params(labelsize=8)
    marks = {"ours": "o", "POT semi_dual": "v", "POT dual": "^"}
    for r in results["peers"]:
        solver = r["solver"].removesuffix(", tight")
        if "dual" not in r or r["k"] == 2:
            continue
        colour = "tab:green" if solver == "ours" else "tab:red"
        filled = colour if r["marginals"] == "uniform" else "none"
        right.plot(r["ms"], max(r["row_error"], 1e-17), marks[solver], color=colour, mfc=filled)
    right.set(xscale="log", yscale="log", xlabel="CPU ms", ylabel="row error, share of the mass")
    right.set_xticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
    right.minorticks_off()
    right.set_title(
        "40 x 40, k = 5, 39, 40: ours (circles), POT (triangles)\n"
        "filled: uniform marginals, hollow: Dirichlet",
        fontsize=9,
    )
    fig.tight_layout()
    fig.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds, rounds = options.seeds, options.rounds
    list(map(ROUTERS["`route` (LP + prices + plan)"], [affinities(99)] * 2))  # warm up
    path = Continuation((3.0, 0.3), (8, 4, 2))
    peer_rows, notes = peers.run(seeds, rounds)
    quadratic = peers.against_cvxpy(seeds)
    if quadratic is None:
        notes.append("cvxpy skipped: not installed")
    results = {
        "problem": {"agents": AGENTS, "tasks": TASKS, "k": 2, "capacity": CAPACITY, "seeds": seeds},
        "routers": [router_row(name, seeds, rounds) for name in ROUTERS],
        "differentiable": differentiable(seeds, rounds),
        "peers": peer_summary(peer_rows),
        "peer_runs": peer_rows,
        "cvxpy": quadratic,
        "planted": {
            "gamma .3, k = 2 from the start": [planted(None, s) for s in range(seeds)],
            "gamma 3 to .3, k = 8, 4, 2": [planted(path, s) for s in range(seeds)],
        },
        "versions": {name: installed(name) for name in ("torch", "scipy", "POT", "cvxpy")},
        "notes": notes,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.out / "tables.md").write_text(tables(results))
    try:
        figure(results, options.out / "routing.png")
    except ImportError as error:
        notes.append(f"figure skipped: {error}")
    print(tables(results), *notes, sep="\n")


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
