"""Table and figure of the study in the simulated world."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy import stats


def bounds(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and 95 % t interval over seeds."""
    mean = float(np.mean(values))
    half = 0.0
    if len(values) > 1:
        half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return mean, mean - half, mean + half


def interval(values: Sequence[float]) -> str:
    """As text."""
    mean, low, high = bounds(values)
    digits = 0 if abs(mean) > 50 else 3
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def table(results: Sequence[dict], price: float, scale: float, tests: int) -> str:
    """The report."""
    seeds = sorted({r["seed"] for r in results})
    text = [
        "# The surrogate designer in the simulated world\n",
        "`python benchmarks/topologies/world.py`. A simulation, not LLMs. Means over "
        f"{len(seeds)} seeds ({seeds[0]} to {seeds[-1]}) with 95 % t intervals; {tests} held-out "
        f"tasks a seed, scored exactly; reward = success - {price} tokens / {scale:.0f}.\n",
        *_bars(results),
    ]
    for executions in sorted({r["executions_asked"] for r in results}):
        text += _section(executions, [r for r in results if r["executions_asked"] == executions])
    return "\n".join(text).rstrip()


def _differences(runs: Sequence[dict], name: str, base: str, key: str = "reward") -> list[float]:
    return [r["rows"][name][key] - r["rows"][base][key] for r in runs]


def _ratios(runs: Sequence[dict], name: str, base: str) -> list[float]:
    return [r["rows"][name]["tokens"] / r["rows"][base]["tokens"] for r in runs]


def _bars(results: Sequence[dict]) -> list[str]:
    most = max(r["executions_asked"] for r in results)
    large = [r for r in results if r["executions_asked"] == most]
    small = [r for r in results if r["executions_asked"] == 320]
    gain = _differences(large, "shipped by the guard", "best fixed")
    ratio = _ratios(large, "shipped by the guard", "best fixed")
    lost = _differences(large, "learned", "learned, of another task")
    means = [[p["tokens"] for p in r["by_price"].values()] for r in large]
    falls = all(a >= b for row in means for a, b in pairwise(row))
    spans = [row[0] / row[-1] for row in means]
    rank = [r["spearman"] for r in large]
    rows = [
        ("reward - best fixed, as shipped", gain, "low >= 0", bounds(gain)[1] >= 0),
        ("tokens / best fixed, as shipped", ratio, "high <= 0.9", bounds(ratio)[2] <= 0.9),
        ("Spearman(difficulty, tokens)", rank, "mean >= 0.5", bounds(rank)[0] >= 0.5),
        ("tokens at the lowest / highest price", spans, "low >= 3", bounds(spans)[1] >= 3),
        ("tokens fall at every step of price", [float(falls)], "1", falls),
        ("reward - that of another task's topology", lost, "low > 0", bounds(lost)[1] > 0),
    ]
    text = ["| what | mean [95 %] | bar | reached |", "|---|---|---|---|"]
    text += [
        f"| {most}: {a} | {interval(b)} | {c} | {'yes' if d else 'NO'} |" for a, b, c, d in rows
    ]
    if small:
        back = sum(not r["shipped"] for r in small)
        reached = "yes" if back == len(small) else "NO"
        text += [f"| 320: the guard falls back | {back} of {len(small)} | all | {reached} |"]
    return [*text, ""]


def _section(executions: int, runs: Sequence[dict]) -> list[str]:
    text = [f"## {executions} executions\n"]
    text += ["| policy | reward | reward - best fixed | success | tokens | tokens / best fixed |"]
    text += ["|---|---|---|---|---|---|"]
    for name in runs[0]["rows"]:
        cells = [interval([r["rows"][name]["reward"] for r in runs])]
        cells += [interval(_differences(runs, name, "best fixed"))]
        cells += [interval([r["rows"][name][key] for r in runs]) for key in ("success", "tokens")]
        cells += [interval(_ratios(runs, name, "best fixed"))]
        text += [f"| {name} | {' | '.join(cells)} |"]
    shipped = sum(r["shipped"] for r in runs)
    text += [f"\n* The guard let the learned policy through in {shipped} of {len(runs)} seeds."]
    text += [f"* Best fixed by race: {', '.join(r['raced'] for r in runs)}."]
    text += [f"* Spearman(difficulty, tokens): {interval([r['spearman'] for r in runs])}."]
    text += [f"* Seated agents, tasks by number: {_seated(runs)}."]
    eces = [r["ece"] for r in runs if r["ece"] is not None]
    text += [f"* Calibration error on unseen tasks: {interval(eces) if eces else 'too few tasks'}."]
    mean = [
        f"{p}: {np.mean([r['by_price'][p]['tokens'] for r in runs]):.0f}"
        for p in runs[0]["by_price"]
    ]
    text += [f"* Mean tokens by price: {', '.join(mean)}."]
    text += [f"* Tokens of all executions: {interval([r['training_tokens'] for r in runs])}."]
    even = [r["break_even"] for r in runs]
    if all(even) and all(r["shipped"] for r in runs):
        text += [f"* Questions until the tokens saved have paid for them: {interval(even)}."]
    else:
        text += ["* Not all seeds ship, so the executions are not always paid back."]
    liars = [r["liars"] for r in runs if r["liars"]]
    if liars:
        names = list(liars[0]["nobody"])
        text += ["\nSuccess with liars, whom no policy knows of:\n"]
        text += [f"| liars | {' | '.join(names)} | learned - best fixed |"]
        text += ["|---" * (len(names) + 2) + "|"]
        for where in liars[0]:
            cells = [interval([found[where][name] for found in liars]) for name in names]
            cells += [interval([f[where]["learned"] - f[where]["best fixed"] for f in liars])]
            text += [f"| {where} | {' | '.join(cells)} |"]
    return [*text, ""]


def _seated(runs: Sequence[dict]) -> str:
    sizes = sorted({int(size) for r in runs for size in r["seated"]})
    return ", ".join(
        f"{size}: {np.mean([r['seated'].get(str(size), 0) for r in runs]):.0f}" for size in sizes
    )


def draw(results: Sequence[dict], path: Path) -> None:
    """Success against tokens: the fronts of learned policies and oracle, and fixed topologies."""
    import matplotlib

    matplotlib.use("Agg")
    # The same figures give the same file.
    matplotlib.rcParams["svg.hashsalt"] = "world"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4.2), layout="constrained")
    for executions in sorted({r["executions_asked"] for r in results}):
        runs = [r for r in results if r["executions_asked"] == executions]
        _front(axes, runs, "by_price", marker="o", label=f"learned, {executions} executions")
    _front(
        axes, results, "oracle_by_price", marker="", linestyle="--", color="black", label="oracle"
    )
    most = max(r["executions_asked"] for r in results)
    runs = [r for r in results if r["executions_asked"] == most]
    for name in ("single", "best fixed", "group of all", "complete"):
        x, y = (np.mean([r["rows"][name][key] for r in runs]) for key in ("tokens", "success"))
        axes.plot(x, y, "s", color="grey")
        axes.annotate(name, (x, y), xytext=(0, -12), textcoords="offset points", ha="center")
    axes.set(xlabel="tokens a task", ylabel="success", ylim=(0, 1))
    axes.legend(loc="lower right")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _front(axes, runs: Sequence[dict], key: str, **style) -> None:
    prices = list(runs[0][key])
    x, y = (
        [np.mean([r[key][p][what] for r in runs]) for p in prices] for what in ("tokens", "success")
    )
    axes.plot(x, y, **style)
