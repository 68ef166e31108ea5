"""Our penalties next to skglm, pyproximal and proxop: who is right, and how fast.

    python benchmarks/penalties/run.py [--out benchmarks/penalties/results.json]

Peers that are not installed are skipped and named. Times are CPU time of one thread, the
best of several passes, and every ratio is taken within this one run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from peers import PACKAGES, Pair  # noqa: E402
from torch import Tensor  # noqa: E402

from hyperagent.sparsity import apply  # noqa: E402
from hyperagent.sparsity.penalties import (  # noqa: E402
    CEL0,
    L0,
    L1,
    MCP,
    SCAD,
    CappedL1,
    Elementwise,
    LogSum,
    Lq,
    SparseEnvelope,
)

GRID = 240_001
LARGE = 1_000_000
ACCURACY: list[tuple[Elementwise, tuple[float, ...]]] = [
    (L1(0.7), (0.3, 3.0)),
    (L0(0.7), (0.3, 3.0)),
    *((Lq(0.7, q), (0.1, 0.8, 5.0)) for q in (0.1, 0.3, 0.5, 2 / 3, 0.8, 0.95)),
    (CEL0(0.5, 1.3), (0.2, 0.59, 0.6, 4.0)),
    (MCP(0.7, 2.0), (0.3, 1.9, 2.1, 20.0)),
    (SCAD(0.7, 3.7), (0.3, 2.6, 2.8, 4.6, 4.8, 20.0)),
    (LogSum(0.7, 0.3), (0.05, 0.13, 3.0)),
    (LogSum(0.7, 2.0), (0.3, 5.8, 20.0)),
    (CappedL1(0.7, 0.5), (0.1, 0.8, 6.0)),
]
SPEED: list[tuple[Elementwise, float]] = [
    (L1(0.7), 1.0),
    (L0(0.7), 1.0),
    (MCP(1.0, 2.0), 1.0),
    (MCP(1.0, 2.0), 3.0),
    (CEL0(0.5, 1.0), 0.9),
    (SCAD(1.0, 3.7), 1.0),
    (SCAD(1.0, 3.7), 3.0),
    (LogSum(1.0, 0.5), 1.0),
    (CappedL1(0.7, 1.0), 1.0),
    (Lq(0.7, 0.5), 1.0),
    (Lq(0.7, 2 / 3), 1.0),
    (Lq(0.7, 0.3), 1.0),
]


def seconds(call: Callable[[], Any], passes: int = 5) -> float:
    """Smallest CPU time of a call."""
    call()
    best = float("inf")
    for _ in range(passes):
        began = time.process_time()
        call()
        best = min(best, time.process_time() - began)
    return best


def excess(pen: Elementwise, z: Tensor, v: Tensor, step: float) -> Tensor:
    """pen(z) + (z - v)^2 / (2 s), the objective of the prox."""
    return pen.value(z) + (z - v).square() / (2 * step)


def accuracy() -> list[dict[str, Any]]:
    """Gap to the best point of a fine grid, both precisions."""
    rows = []
    v = torch.linspace(0, 6, 161, dtype=torch.float64)
    grid = torch.linspace(0, 8, GRID, dtype=torch.float64)
    for pen, steps in ACCURACY:
        for step in steps:
            fixed = pen.value(grid) + grid.square() / (2 * step)
            least = [torch.add(fixed, grid, alpha=-float(x) / step).amin() for x in v]
            best = torch.stack(least) + v.square() / (2 * step)
            double = excess(pen, pen.prox(v, step), v, step) - best
            single = excess(pen, pen.prox(v.float(), step).double(), v, step) - best
            share = (single / best.clamp(min=1e-3)).max()
            rows.append(
                {
                    "penalty": repr(pen),
                    "step": step,
                    "gap64": float(double.max()),
                    "relative32": float(share),
                }
            )
    return rows


def compare(pair: Pair) -> dict[str, Any]:
    """Objective of the peer's result minus that of ours at 2001 points, and the times."""
    v = np.linspace(0, 12, 2001)
    ours_at = torch.from_numpy(v)
    ours = pair.ours.prox(ours_at, pair.step)
    row: dict[str, Any] = {
        "package": pair.package,
        "name": pair.name,
        "penalty": repr(pair.ours),
        "step": pair.step,
        "expected_right": pair.right,
        "note": pair.note,
    }
    try:
        theirs = torch.from_numpy(np.asarray(pair.prox(v.copy(), pair.step))).clamp(min=0)
    except Exception as error:  # what a peer raises is the finding
        return row | {"raises": type(error).__name__}
    worse = excess(pair.ours, theirs, ours_at, pair.step) - excess(
        pair.ours, ours, ours_at, pair.step
    )
    row |= {
        "largest_excess": float(worse.max()),
        "smallest_excess": float(worse.min()),
        "largest_difference": float((theirs - ours).abs().max()),
        "curve": worse[::20].tolist(),
    }
    size = 2000 if pair.package == "skglm" else LARGE
    data = np.abs(np.random.default_rng(0).standard_normal(size))
    tensor = torch.from_numpy(data)
    mine = seconds(lambda: pair.ours.prox(tensor, pair.step))
    row |= {"elements": size, "ours_ms": 1e3 * mine}
    row["peer_ms"] = 1e3 * seconds(lambda: pair.prox(data, pair.step), 3)
    return row


def skglm_compiled() -> dict[str, float]:
    """skglm's own way: its scalar prox inside a compiled loop over 10^6 elements, ms."""
    from numba import njit
    from skglm import penalties as peer
    from skglm.utils.jit_compilation import compiled_clone

    @njit
    def loop(pen: Any, v: np.ndarray, step: float, out: np.ndarray) -> None:
        for i in range(len(v)):
            out[i] = pen.prox_1d(v[i], step, 0)

    data = np.abs(np.random.default_rng(0).standard_normal(LARGE))
    out, tensor = np.empty_like(data), torch.from_numpy(data)
    found = {}
    for name, theirs, ours in (
        ("MCPenalty", peer.MCPenalty(0.7, 2.0), MCP(0.7, 2.0)),
        ("L0_5", peer.L0_5(0.7), Lq(0.7, 0.5)),
        ("L2_3", peer.L2_3(0.7), Lq(0.7, 2 / 3)),
        ("SCAD", peer.SCAD(0.7, 3.7), SCAD(0.7, 3.7)),
        ("LogSumPenalty", peer.LogSumPenalty(0.7, 0.5), LogSum(0.7, 0.5)),
    ):
        pen = compiled_clone(theirs)
        found[name] = {
            "peer_ms": 1e3 * seconds(lambda p=pen: loop(p, data, 0.5, out)),
            "ours_ms": 1e3 * seconds(lambda p=ours: p.prox(tensor, 0.5)),
        }
    return found


def speed(dtype: torch.dtype) -> dict[str, Any]:
    """Prox of 10^6 elements against copies of them.

    "memory": the vectors change with every call and together exceed the caches, and the copy
    goes to memory that is not cached either. "cache": one vector, again and again.
    """
    count = 24 if dtype == torch.float64 else 48
    generator = torch.Generator().manual_seed(0)
    many = [torch.randn(LARGE, dtype=dtype, generator=generator).abs() for _ in range(count)]
    targets = [torch.empty_like(x) for x in many]

    def all_of(call: Callable[[Tensor], Any]) -> float:
        def round_() -> None:
            for x in many:
                call(x)

        return seconds(round_, 4) / count

    one = many[0]
    copy = seconds(lambda: [t.copy_(x) for t, x in zip(targets, many, strict=True)], 4) / count
    hot = seconds(one.clone, 40)
    rows = []
    for pen, step in SPEED:
        prox = all_of(lambda x, p=pen, s=step: p.prox(x, s))
        cached = seconds(lambda p=pen, s=step: p.prox(one, s), 20)
        rows.append(
            {
                "penalty": repr(pen),
                "step": step,
                "kept": float((pen.prox(one, step) > 0).float().mean()),
                "ms": 1e3 * prox,
                "times_copy": prox / copy,
                "cached_ms": 1e3 * cached,
                "times_cached_copy": cached / hot,
            }
        )
    signed = torch.randn(LARGE, dtype=dtype, generator=generator)
    on_signed = seconds(lambda: apply(L1(0.7), signed, 1.0), 20)
    return {
        "copy_ms": 1e3 * copy,
        "cached_copy_ms": 1e3 * hot,
        "l1_on_signed_numbers_times_cached_copy": on_signed / hot,
        "rows": rows,
    }


def envelope() -> list[dict[str, Any]]:
    """CPU seconds of the envelope's prox, all three forms."""
    rows = []
    for m in (10_000, 30_000, 100_000, 300_000, 1_000_000):
        v = torch.randn(m, generator=torch.Generator().manual_seed(m)).abs()
        row: dict[str, Any] = {"groups": m}
        for method in ("bisect", "sort", "linear"):
            pen = SparseEnvelope(0.5, m // 10, method=method)
            row[method] = seconds(lambda p=pen, v=v: p.prox(v, 0.7), 3)
        rows.append(row)
    return rows


def figure(results: dict[str, Any], path: Path) -> None:
    """Where peers are wrong, and how the envelope's time grows."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    for row in results["peers"]:
        if row.get("largest_excess", 0) > 1e-6:
            x = np.linspace(0, 12, 2001)[::20]
            left.plot(
                x, row["curve"], label=f"{row['package']} {row['name']}, step {row['step']:g}"
            )
    left.set(xlabel="input", ylabel="objective above ours", title="Peers outside their range")
    left.set_ylim(0, 1.5)
    left.legend(fontsize=7)
    sizes = [row["groups"] for row in results["envelope"]]
    for method in ("bisect", "sort", "linear"):
        right.loglog(sizes, [row[method] for row in results["envelope"]], "o-", label=method)
    right.loglog(sizes, [1e-6 * m for m in sizes], "k:", label="1 microsecond a group")
    right.set(xlabel="groups", ylabel="CPU seconds", title="Prox of the sparse envelope")
    right.legend(fontsize=8)
    fig.tight_layout()
    fig.savefig(path, dpi=90)


def report(results: dict[str, Any]) -> str:
    """The tables of the README."""
    gaps = results["accuracy"]
    lines = [
        f"Grid of {GRID:,} points, {len(gaps)} pairs of penalty and step, 161 inputs each: "
        f"largest gap "
        f"{max(r['gap64'] for r in gaps):.1e} (float64), largest relative gap "
        f"{max(r['relative32'] for r in gaps):.1e} (float32).",
        "",
        "| peer | step | objective above ours, largest | below ours, largest | peer / our time | |",
        "|---|---|---|---|---|---|",
    ]
    for row in results["peers"]:
        name = f"| {row['package']} {row['name']} | {row['step']:g} |"
        if "raises" in row:
            lines.append(f"{name} raises {row['raises']} | | | on every vector |")
            continue
        ratio = row["peer_ms"] / row["ours_ms"]
        scale = "2,000 scalar calls" if row["package"] == "skglm" else "10^6 elements"
        lines.append(
            f"{name} {row['largest_excess']:.1e} | {abs(min(row['smallest_excess'], 0)):.1e} | "
            f"{ratio:.1f} ({scale}) | {row['note']} |"
        )
    for package, why in results["skipped"].items():
        lines.append(f"| {package} | | skipped: {why} | | | |")
    if results["skglm_compiled"]:
        lines += [
            "",
            "| skglm's prox in a compiled loop, 10^6 float64 | its ms | our ms |",
            "|---|---|---|",
        ]
        for name, row in results["skglm_compiled"].items():
            lines.append(f"| {name} | {row['peer_ms']:.1f} | {row['ours_ms']:.1f} |")
    for dtype, part in results["speed"].items():
        lines += [
            "",
            f"10^6 elements, {dtype}: a copy takes {part['copy_ms']:.2f} ms from and to memory, "
            f"{part['cached_copy_ms']:.2f} ms in the cache. L1 on signed numbers: "
            f"{part['l1_on_signed_numbers_times_cached_copy']:.1f} times the cached copy.",
            "",
            "| penalty | step | kept | ms | times the copy | cached: ms | times the cached copy |",
            "|---|---|---|---|---|---|---|",
        ]
        for r in part["rows"]:
            lines.append(
                f"| {r['penalty']} | {r['step']:g} | {r['kept']:.0%} | {r['ms']:.2f} | "
                f"{r['times_copy']:.1f} | {r['cached_ms']:.2f} | {r['times_cached_copy']:.1f} |"
            )
    lines += ["", "| groups | bisect, s | sort, s | linear, s |", "|---|---|---|---|"]
    for r in results["envelope"]:
        lines.append(
            f"| {r['groups']:,} | {r['bisect']:.3f} | {r['sort']:.3f} | {r['linear']:.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    results: dict[str, Any] = {
        "torch": torch.__version__,
        "skipped": {},
        "peers": [],
        "versions": {},
    }
    results["accuracy"] = accuracy()
    for package, pairs in PACKAGES.items():
        try:
            results["peers"] += [compare(pair) for pair in pairs()]
            results["versions"][package] = version(package)
        except ImportError as error:
            results["skipped"][package] = f"not installed ({error.name})"
    has_skglm = "skglm" in results["versions"]
    results["skglm_compiled"] = skglm_compiled() if has_skglm else {}
    results["speed"] = {
        str(d).removeprefix("torch."): speed(d) for d in (torch.float32, torch.float64)
    }
    results["envelope"] = envelope()
    figure(results, out.with_name("penalties.png"))
    out.write_text(json.dumps(results, indent=1) + "\n")
    print(report(results))


if __name__ == "__main__":
    main()
