"""Sparse coding of natural pictures with four penalties at one sparsity.

    python benchmarks/sparse_coding/run.py [--seeds 3] [--batches 400] [--out DIR]

Question of the V1 paper (Rentzeperis et al., 2023): do penalties closer to l0 code natural
pictures better than l1? Ours in addition: how much of that is shrinkage? So every code is
measured as it comes and after least squares on its own support, and the dictionaries of l1 and
CEL0 are swapped. Writes results.json, fields.png and residual.png.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import torch  # noqa: E402
from pictures import circular_variance, load, patches, plate, whiten  # noqa: E402
from torch import Tensor  # noqa: E402

from hyperagent.sparsity.penalties.firm import CEL0  # noqa: E402
from hyperagent.sparsity.penalties.l0 import L0  # noqa: E402
from hyperagent.sparsity.penalties.l1 import L1  # noqa: E402
from hyperagent.sparsity.penalties.lq import Lq  # noqa: E402
from hyperagent.sparsity.solvers import Dictionary, debias, learn_dictionary  # noqa: E402

SIDE, ATOMS, ACTIVE = 12, 288, 0.05
LEVELS = (0.025, 0.05, 0.1)
TRAINING, TEST = 40_000, 1000

FAMILIES = {
    "soft (l1)": (L1, 0.5),
    "hard (l0)": (L0, 0.1),
    "half (l1/2)": (lambda lam: Lq(lam, 0.5), 0.15),
    "CEL0": (CEL0, 0.1),
}
"""Name: penalty as a function of its weight, and the weight to start from."""


def measure(model: Dictionary, test: Tensor, active: float, lam: float) -> dict[str, float]:
    """Residuals of `test` at the wanted activity; `lam` is where the search starts."""
    found = Dictionary(model.columns, model.family, lam)
    reached = found.match(test, active, tol=0.01)
    solution = found.encode(test)
    free = debias(model.columns, test, solution.x)
    energy = test.square().sum()

    def part(codes: Tensor) -> float:
        return float((test - found.decode(codes)).square().sum() / energy)

    return {
        "wanted": active,
        "active": reached,
        "lam": found.lam,
        "residual": part(solution.x),
        "debiased": part(free),
        "converged": float(solution.converged.float().mean()),
    }


def study(seeds: int, batches: int, out: Path) -> dict:
    """All runs; results are written after each of them."""
    pictures, source = load()
    pictures = [whiten(p) for p in pictures]
    result: dict = {
        "command": f"python benchmarks/sparse_coding/run.py --seeds {seeds} --batches {batches}",
        "date": time.strftime("%Y-%m-%d"),
        "source": source,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "side": SIDE,
        "atoms": ATOMS,
        "batches": batches,
        "runs": [],
        "swapped": [],
    }
    for seed in range(seeds):
        # Every sixth picture is held out, another sixth for each seed.
        held = {i for i in range(len(pictures)) if i % 6 == seed % 6}
        train = patches([p for i, p in enumerate(pictures) if i not in held], TRAINING, SIDE, seed)
        test = patches([pictures[i] for i in held], TEST, SIDE, 1000 + seed)
        models = {}
        for name, (family, lam) in FAMILIES.items():
            begin = time.process_time()
            models[name] = learn_dictionary(
                train,
                ATOMS,
                family,
                active=ACTIVE,
                lam=lam,
                batches=batches,
                iterations=60,
                seed=seed,
            )
            learning = time.process_time() - begin
            spread = circular_variance(models[name].columns, SIDE)
            levels = [measure(models[name], test, level, models[name].lam) for level in LEVELS]
            result["runs"].append(
                {
                    "seed": seed,
                    "penalty": name,
                    "circular_variance": float(spread.median()),
                    "below_half": float((spread < 0.5).float().mean()),
                    "learning_cpu_s": learning,
                    "levels": levels,
                }
            )
            save(result, out)
            now = levels[LEVELS.index(ACTIVE)]
            print(
                f"seed {seed} {name:12} residual {now['residual']:.4f} debiased "
                f"{now['debiased']:.4f} circular variance {spread.median():.3f} "
                f"({learning:.0f} CPU s)",
                flush=True,
            )
        noise = torch.randn(SIDE**2, ATOMS, generator=torch.Generator().manual_seed(seed))
        result["runs"].append(
            {
                "seed": seed,
                "penalty": "random columns",
                "circular_variance": float(circular_variance(noise, SIDE).median()),
                "below_half": float((circular_variance(noise, SIDE) < 0.5).float().mean()),
            }
        )
        for columns, code in (("soft (l1)", "CEL0"), ("CEL0", "soft (l1)")):
            mixed = Dictionary(models[columns].columns, models[code].family, models[code].lam)
            numbers = measure(mixed, test, ACTIVE, models[code].lam)
            result["swapped"].append(
                {"seed": seed, "columns_of": columns, "codes_of": code, **numbers}
            )
        save(result, out)
        if seed == 0:
            plate(out / "fields.png", {n: m.columns for n, m in models.items()}, SIDE)
    curve(out / "residual.png", result)
    return result


def curve(path: Path, result: dict) -> None:
    """Residual against activity: as coded (line), after least squares on the support (dashes)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(5, 3.4))
    for i, name in enumerate(FAMILIES):
        rows = [r["levels"] for r in result["runs"] if r["penalty"] == name]
        for key, style in (("residual", "-o"), ("debiased", "--x")):
            mean = [statistics.mean(r[j][key] for r in rows) for j in range(len(LEVELS))]
            label = name if key == "residual" else f"{name}, debiased"
            axis.plot([100 * v for v in LEVELS], mean, style, color=f"C{i}", label=label, lw=1.2)
    axis.set_xlabel("active coefficients [%]")
    axis.set_ylabel("residual variance / variance")
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=6, ncol=2)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def save(result: dict, out: Path) -> None:
    """Written whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    draft = out / "results.json.part"
    draft.write_text(json.dumps(result, indent=1) + "\n")
    draft.replace(out / "results.json")


def table(result: dict) -> str:
    """Markdown: mean over the seeds, smallest to largest in brackets."""

    def cell(values: list[float]) -> str:
        return f"{statistics.mean(values):.3f} [{min(values):.3f}, {max(values):.3f}]"

    at = LEVELS.index(ACTIVE)
    lines = [
        "| penalty | residual | debiased | median circular variance |",
        "|---|---|---|---|",
    ]
    for name in (*FAMILIES, "random columns"):
        rows = [r for r in result["runs"] if r["penalty"] == name]
        cells = [cell([r["circular_variance"] for r in rows])]
        for key in ("debiased", "residual"):
            has = "levels" in rows[0]
            cells.insert(0, cell([r["levels"][at][key] for r in rows]) if has else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "| columns learned by | codes by | residual | debiased |", "|---|---|---|---|"]
    for columns in ("soft (l1)", "CEL0"):
        other = "CEL0" if columns == "soft (l1)" else "soft (l1)"
        rows = [r for r in result["swapped"] if r["columns_of"] == columns]
        cells = [cell([r[key] for r in rows]) for key in ("residual", "debiased")]
        lines.append(f"| {columns} | {other} | {' | '.join(cells)} |")
    share = [1 - gap["debiased"] / gap["residual"] for gap in gaps(result, at)]
    lines += ["", f"Shrinkage in the gap between l1 and CEL0, as a part of it: {cell(share)}"]
    return "\n".join(lines)


def gaps(result: dict, at: int) -> list[dict[str, float]]:
    """l1 minus CEL0 in both residuals, one entry a seed."""
    levels = {(r["seed"], r["penalty"]): r.get("levels") for r in result["runs"]}
    return [
        {
            key: levels[seed, "soft (l1)"][at][key] - levels[seed, "CEL0"][at][key]
            for key in ("residual", "debiased")
        }
        for seed in sorted({seed for seed, _ in levels})
    ]


def main() -> None:
    """Run the study and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batches", type=int, default=400)
    parser.add_argument("--out", type=Path, default=HERE)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(table(study(given.seeds, given.batches, given.out)))


if __name__ == "__main__":
    main()
