"""Near-field MIMO radar imaging: what a prior on the magnitude is worth.

    python benchmarks/mimo_imaging/run.py

writes results.json, tables.md and slices.png beside this file. It needs denoiser.safetensors, which
`python benchmarks/mimo_imaging/train.py` makes.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from born import Born, back_projection, cross_array, kirchhoff
from net import CHECKPOINT, UNet3d, load
from scenes import magnitudes, noisy, scatterers, sticks
from torch import Tensor

from hyperagent.sparsity import apply
from hyperagent.sparsity.penalties import L1, MCP, Penalty
from hyperagent.sparsity.solvers import TV, PnP, adjoint_gap, csalsa
from hyperagent.sparsity.solvers.csalsa import inverse

HERE = Path(__file__).resolve().parent
TUNING, FRESH = 4, 20
"""Scenes to choose settings on, and scenes to report."""
TUNING_SEED, FRESH_SEED = 1001, 2001
"""Training uses seeds from 20261123 on."""


@dataclass(frozen=True)
class Condition:
    """One table: an array, a noise level, a family of scenes."""

    title: str
    aperture: float = 0.5
    decibel: float = 30.0
    family: Callable[..., Tensor] = magnitudes


CONDITIONS = {
    "main": Condition("Array of 0.5 m, 30 dB"),
    "noisy": Condition("Array of 0.5 m, 10 dB", decibel=10.0),
    "narrow": Condition("Array of 0.3 m, 30 dB", aperture=0.3),
    "sticks": Condition("Array of 0.5 m, 30 dB, sticks", family=sticks),
}


@dataclass(frozen=True)
class Data:
    """Scenes of one condition with their data."""

    operator: Born
    truth: Tensor
    y: Tensor
    eps: Tensor

    @staticmethod
    def draw(condition: Condition, count: int, seed: int) -> Data:
        generator = torch.Generator().manual_seed(seed)
        operator = Born(cross_array(aperture=condition.aperture))
        truth = condition.family(count, generator)
        data = operator.mv(scatterers(truth, generator))
        return Data(operator, truth, *noisy(data, condition.decibel, generator))


def psnr(image: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """Peak signal-to-noise ratio of each scene, decibel, for a peak of 1.

    "scale": with the factor on the image that is best for it. "max": image over its maximum,
    which punishes a method for one bright voxel.
    """
    z, t = image.abs().flatten(1).double(), truth.flatten(1).double()
    best = (z * t).sum(1, keepdim=True) / z.square().sum(1, keepdim=True).clamp_min(1e-30)
    top = z.amax(1, keepdim=True).clamp_min(1e-30)

    def ratio(w: Tensor) -> Tensor:
        return -10 * torch.log10((w - t).square().mean(1))

    return {"scale": ratio(best * z), "max": ratio(z / top)}


Setting = dict[str, Any]


def methods(net: UNet3d) -> dict[str, tuple[Callable[..., Any], list[Setting]]]:
    """Each method with the settings to choose from."""

    def split(make: Callable[..., Penalty], cap: int) -> Callable[..., Any]:
        def solve(d: Data, step: float, kappa: float, **shape: float) -> Any:
            penalty = make(**shape)
            return csalsa(d.operator, d.y, penalty, d.eps, step=step, kappa=kappa, iterations=cap)

        return solve

    def ridge(d: Data, weight: float) -> Tensor:
        s = inverse(d.operator, weight, "woodbury")(d.y, torch.zeros_like(d.y))
        return d.operator.rmv(s)

    def grid(**axes: Iterable[float]) -> list[Setting]:
        found: list[Setting] = [{}]
        for name, values in axes.items():
            found = [f | {name: v} for f in found for v in values]
        return found

    return {
        "nothing (all voxels 0)": (lambda d: torch.zeros_like(d.operator.rmv(d.y)), [{}]),
        "back-projection": (lambda d: back_projection(d.operator.system, d.y), [{}]),
        "Kirchhoff": (lambda d: kirchhoff(d.operator.system, d.y), [{}]),
        "adjoint": (lambda d: d.operator.rmv(d.y), [{}]),
        "ridge": (ridge, grid(weight=(0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0))),
        "TV": (
            split(lambda: TV(1.0), 60),
            grid(step=(0.003, 0.01, 0.03), kappa=(0.5,)),
        ),
        "l1": (split(lambda: L1(1.0), 500), grid(step=(0.05, 0.1, 0.2), kappa=(0.5, 1.0))),
        "MCP": (
            split(lambda knee: MCP(1.0, knee), 500),
            grid(knee=(0.3, 0.6, 1.0), step=(0.1,), kappa=(0.5, 1.0)),
        ),
        "PnP": (
            split(lambda: PnP(net), 30),
            grid(step=(0.0025, 0.005, 0.01, 0.02, 0.04), kappa=(0.1, 0.2, 0.6)),
        ),
    }


def timed(solve: Callable[..., Any], d: Data, setting: Setting) -> tuple[Tensor, Any, float]:
    """The image, the solver's report if it has one, and CPU seconds per scene."""
    began = time.process_time()
    found = solve(d, **setting)
    seconds = (time.process_time() - began) / len(d.y)
    return (found, None, seconds) if isinstance(found, Tensor) else (found.x, found, seconds)


def choose(solve: Callable[..., Any], settings: list[Setting], d: Data) -> Setting:
    """Best mean PSNR (best scale) on the tuning scenes; within 0.01 dB the cheapest."""
    if len(settings) == 1:
        return settings[0]
    rated = []
    for setting in settings:
        image, _, seconds = timed(solve, d, setting)
        rated.append((round(float(psnr(image, d.truth)["scale"].mean()), 2), -seconds, setting))
    return max(rated, key=lambda r: r[:2])[2]


def mean_and_error(values: Tensor) -> list[float]:
    """Mean and its standard error over scenes."""
    return [float(values.mean()), float(values.std() / len(values) ** 0.5)]


def measure(
    name: str, net: UNet3d, borrowed: dict[str, Setting] | None
) -> tuple[dict[str, Any], dict[str, Tensor], Data]:
    """One condition: choose settings (or take given ones), then report fresh scenes."""
    condition = CONDITIONS[name]
    tuning = Data.draw(condition, TUNING, TUNING_SEED)
    fresh = Data.draw(condition, FRESH, FRESH_SEED)
    rows, images, scores = {}, {}, {}
    for method, (solve, settings) in methods(net).items():
        setting = borrowed[method] if borrowed else choose(solve, settings, tuning)
        image, report, seconds = timed(solve, fresh, setting)
        images[method], scores[method] = image, psnr(image, fresh.truth)
        row: dict[str, Any] = {"setting": setting, "cpu_s": seconds}
        row |= {kind: mean_and_error(v) for kind, v in scores[method].items()}
        if report is not None:
            row["misfit_over_eps"] = mean_and_error(report.misfit / report.eps)
            row["iterations"] = float(report.iterations.double().mean())
            row["converged"] = float(report.converged.double().mean())
        rows[method] = row
        print(f"{name:7} {method:24} {row['scale'][0]:6.2f} dB {seconds:.3f} CPU s", flush=True)
    # Differences scene by scene: far less noisy than differences of means.
    gains = {
        f"{a} over {b}": mean_and_error(scores[a]["scale"] - scores[b]["scale"])
        for a, b in (("PnP", "l1"), ("PnP", "MCP"), ("l1", "back-projection"), ("MCP", "l1"))
    }
    return {"title": condition.title, "rows": rows, "gains": gains}, images, fresh


def verify(d: Data, net: UNet3d, setting: Setting) -> dict[str, float]:
    """The exact properties: adjoint, factors, updates, phases, batches."""
    a, y = d.operator, d.y
    matrix = a.dense()
    x = torch.randn(4, *a.domain, dtype=a.dtype, generator=torch.Generator().manual_seed(3))
    direct = (x.flatten(1) @ matrix.mT).reshape(4, *a.codomain)
    exact = inverse(a, 0.2, "woodbury")(y, torch.zeros_like(y))
    loose = inverse(a, 0.2, "cg")(y, torch.zeros_like(y))
    pnp = PnP(net)
    options = {"step": setting["step"], "kappa": setting["kappa"], "iterations": 30}
    whole = csalsa(a, y[:4], pnp, d.eps[:4], **options)
    single = torch.stack([csalsa(a, y[i], pnp, d.eps[i], **options).x for i in range(4)])
    out = apply(pnp, x, setting["step"])
    lit = out != 0
    turned = (out[lit].to(torch.complex128) * x[lit].conj().to(torch.complex128)).angle()
    fine = Born(a.system, torch.complex128)
    turn = torch.polar(torch.tensor(1.0).double(), torch.tensor(0.7).double())
    data, eps = y[:2].to(torch.complex128), d.eps[:2].double()
    plain, rotated = (csalsa(fine, v, L1(1.0), eps, iterations=100).x for v in (data, turn * data))

    def relative(p: Tensor, q: Tensor) -> float:
        return float((p - q).abs().max() / q.abs().max())

    return {
        "adjoint gap": adjoint_gap(a),
        "factorised against dense": relative(a.mv(x), direct),
        "memory of the factors / dense": a.nbytes / (matrix.numel() * matrix.element_size()),
        "Woodbury against conjugate gradients": relative(loose, exact),
        "phase moved by the prox, rad, complex64": float(turned.abs().max()),
        "batch against item by item": relative(whole.x, single),
        "global phase, l1, complex128": relative(rotated, turn * plain),
    }


def denoising(net: UNet3d) -> list[dict[str, float]]:
    """The denoiser by itself on fresh scenes with Gaussian noise; TV at its best weight."""
    clean = magnitudes(FRESH, torch.Generator().manual_seed(FRESH_SEED))
    rows = []
    for sigma in (0.05, 0.1, 0.2):
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(9))
        z = (clean + sigma * noise).abs()

        def score(w: Tensor) -> float:
            return float((-10 * torch.log10((w - clean).square().mean((1, 2, 3)))).mean())

        weights = sigma * torch.tensor([0.1, 0.2, 0.4, 0.6, 0.8, 1.2])
        rows.append(
            {
                "sigma": sigma,
                "noisy": score(z),
                "TV": max(score(TV(float(w)).prox(z, 1.0)) for w in weights),
                "network": score(PnP(net).prox(z, sigma**2)),
            }
        )
    return rows


def bars(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The acceptance bars with what was measured."""
    main, checks = results["conditions"]["main"], results["checks"]
    rows = main["rows"]
    gain = main["gains"]
    limits = [
        ("PnP over l1, dB (best scale)", gain["PnP over l1"][0], ">=", 1.0),
        ("l1 over back-projection, dB (best scale)", gain["l1 over back-projection"][0], ">=", 2.0),
        (
            "PnP over back-projection, dB (maximum 1)",
            rows["PnP"]["max"][0] - rows["back-projection"]["max"][0],
            ">=",
            7.0,
        ),
        ("misfit / eps of PnP", rows["PnP"]["misfit_over_eps"][0], "<=", 1.3),
        ("CPU time of PnP / l1", rows["PnP"]["cpu_s"] / rows["l1"]["cpu_s"], "<=", 0.5),
    ]
    tight = {
        "adjoint gap": 1e-4,
        "factorised against dense": 1e-5,
        "memory of the factors / dense": 0.3,
        "Woodbury against conjugate gradients": 1e-4,
        "phase moved by the prox, rad, complex64": 1e-6,
        "batch against item by item": 1e-3,
        "global phase, l1, complex128": 1e-10,
    }
    limits += [(name, checks[name], "<=", limit) for name, limit in tight.items()]
    return [
        {"bar": n, "value": v, "limit": f"{way} {x:g}", "met": v >= x if way == ">=" else v <= x}
        for n, v, way, x in limits
    ]


def tables(results: dict[str, Any]) -> str:
    out = []
    for c in results["conditions"].values():
        out += [f"## {c['title']}\n"]
        out += ["| method | PSNR, best scale | PSNR, maximum 1 | misfit / eps | iterations "]
        out[-1] += "| CPU s | setting |\n|---|---|---|---|---|---|---|"
        for name, r in c["rows"].items():
            fit = f"{r['misfit_over_eps'][0]:.2f}" if "misfit_over_eps" in r else ""
            count = f"{r['iterations']:.0f}" if "iterations" in r else ""
            setting = ", ".join(f"{k} {v:g}" for k, v in r["setting"].items())
            out.append(
                f"| {name} | {r['scale'][0]:.2f} ± {r['scale'][1]:.2f} | "
                f"{r['max'][0]:.2f} ± {r['max'][1]:.2f} | {fit} | {count} | "
                f"{r['cpu_s']:.3f} | {setting} |"
            )
        gains = [f"{k} {v[0]:+.2f} ± {v[1]:.2f} dB" for k, v in c["gains"].items()]
        out += ["", "Scene by scene: " + "; ".join(gains) + ".\n"]
    out += ["## Bars\n", "| bar | measured | wanted | met |\n|---|---|---|---|"]
    for b in results["bars"]:
        out.append(
            f"| {b['bar']} | {b['value']:.3g} | {b['limit']} | {'yes' if b['met'] else '**no**'} |"
        )
    out += ["\n## The denoiser by itself, PSNR in dB\n", "| sigma | noisy | TV | network |"]
    out += ["|---|---|---|---|"]
    for r in results["denoising"]:
        out.append(f"| {r['sigma']:g} | {r['noisy']:.1f} | {r['TV']:.1f} | {r['network']:.1f} |")
    return "\n".join(out) + "\n"


def draw(parts: dict[str, tuple[dict[str, Tensor], Data]], path: Path) -> None:
    """One slice of some scenes: the z with most energy, each image over its maximum."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    chosen = ("back-projection", "Kirchhoff", "TV", "l1", "MCP", "PnP")
    lines = [("main", 0), ("main", 1), ("noisy", 2), ("narrow", 3), ("sticks", 0)]
    figure, axes = pyplot.subplots(
        len(lines), len(chosen) + 1, figsize=(9.6, 7.4), layout="constrained"
    )
    for line, (name, scene) in zip(axes, lines, strict=True):
        images, d = parts[name]
        truth = d.truth[scene]
        z = int(truth.square().sum((0, 1)).argmax())
        pictures = {"truth": truth} | {m: images[m][scene].abs() for m in chosen}
        for axis, (title, image) in zip(line, pictures.items(), strict=True):
            shown = image[:, :, z] / image.max().clamp_min(1e-30)
            axis.imshow(shown.T, vmin=0, vmax=1, cmap="magma", origin="lower")
            axis.set(xticks=[], yticks=[])
            if name == "main" and scene == 0:
                axis.set_title(title, fontsize=9)
        label = CONDITIONS[name].title.replace("Array of ", "")
        line[0].set_ylabel(f"{label}\nz slice {z}", fontsize=7)
    figure.savefig(path, dpi=80, metadata={"Software": None})
    pyplot.close(figure)


def main() -> None:
    if not CHECKPOINT.exists():
        raise SystemExit(f"{CHECKPOINT.name} is missing: run train.py first")
    torch.set_num_threads(1)
    began = time.process_time()
    net = load()
    results: dict[str, Any] = {"conditions": {}}
    parts, settings = {}, {}
    for name in CONDITIONS:
        # Who images something unknown has no scenes of its kind to choose settings on.
        borrowed = settings["main"] if name == "sticks" else None
        found, images, data = measure(name, net, borrowed)
        settings[name] = {m: r["setting"] for m, r in found["rows"].items()}
        results["conditions"][name], parts[name] = found, (images, data)
    results["checks"] = verify(parts["main"][1], net, settings["main"]["PnP"])
    results["denoising"] = denoising(net)
    results["bars"] = bars(results)
    results["parameters"] = sum(p.numel() for p in net.parameters())
    results["cpu_s"] = time.process_time() - began
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (HERE / "tables.md").write_text(tables(results))
    draw(parts, HERE / "slices.png")
    print((HERE / "tables.md").read_text())
    print(f"{results['cpu_s']:.0f} CPU s")


if __name__ == "__main__":
    main()
