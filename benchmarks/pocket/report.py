"""What was trained and measured: curves.png, tables.md and results.json beside this file.

    python benchmarks/pocket/report.py --size cpu
    python benchmarks/pocket/report.py --from benchmarks/pocket/results.json

The first form collects what lies in runs/pocket/SIZE: the logs of the stages and, as far as they
are there, scores.json, scores_bare.json (without the calculator), parity.json, speed.json and
overlap.json. The second draws again what an earlier call collected. What was not measured has no
table.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from hyperagent.bench.statistics import compare, holm, inside_noise, wilson
from hyperagent.errors import DataError

HERE = Path(__file__).parent
RUNS = Path("runs/pocket")
STAGES = (
    "first_words", "first_team", "words", "team", "second_longer", "longer",
    "sums", "rates", "parts", "verifier",
)  # fmt: skip
MEASURED = ("scores", "scores_bare", "parity", "speed", "overlap")
MAIN = "wordproblems"
"""The set on which all variants are compared."""
Results = dict[str, Any]


# --- what there is


def log(path: Path) -> list[dict[str, Any]]:
    """Rows of a training log. Steps that a killed run did twice count once, as done last."""
    rows: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        while rows and rows[-1]["step"] >= row["step"]:
            rows.pop()
        rows.append(row)
    return rows


def collect(size: str, given: Mapping[str, Path | None]) -> Results:
    """Everything that was measured of the models of one size.

    Parameters
    ----------
    size : str
    given : mapping of str to Path
        Files in place of runs/pocket/SIZE/NAME.json.
    """
    folder = RUNS / size
    stages = {
        name: log(folder / name / "log.jsonl")
        for name in STAGES
        if (folder / name / "log.jsonl").exists()
    }
    results: Results = {"size": size, "stages": stages}
    for name in MEASURED:
        path = given.get(name) or folder / f"{name}.json"
        if path.exists():
            results[name] = json.loads(path.read_text(encoding="utf-8"))
        elif given.get(name):
            raise DataError(f"{path} is missing; expected the measured {name} as JSON")
    if "overlap" in results:
        results["overlap"] = _counted(results["overlap"])
    if len(results) == 2 and not stages:
        raise DataError(f"nothing is in {folder}; expected e.g. {folder}/words/log.jsonl")
    return results


def _counted(overlap: Mapping[str, Any]) -> dict[str, Any]:
    """The report without the text of the questions, which belongs to others."""
    return {
        source: {
            "questions": part["questions"],
            "tests": [
                row | {"exact": len(row["exact"]), "masked": len(row["masked"])}
                for row in part["tests"]
            ],
        }
        for source, part in overlap.items()
        if isinstance(part, dict)
    }


# --- tables


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Lines of a markdown table."""
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def share(score: Mapping[str, Any] | None, mark: str = "") -> str:
    """An accuracy with its interval, in percent."""
    if score is None or not score["n"]:
        return ""
    value, low, high = (f"{100 * score[key]:.1f}" for key in ("accuracy", "low", "high"))
    return f"{mark}{value} %{mark} [{low}, {high}]"


def training(results: Results) -> list[str]:
    """A row for each stage."""
    rows = []
    for name, log_rows in results["stages"].items():
        if log_rows:
            end = log_rows[-1]
            rows.append(
                [
                    name,
                    f"{end['step']:,}",
                    f"{end['tokens'] / 1e6:.2f} million",
                    f"{end['seconds'] / 3600:.2f}",
                    f"{end['tokens'] / end['seconds']:,.0f}",
                    f"{end['loss']:.3f}",
                    f"{100 * end['forced']:.1f} %" if "forced" in end else "",
                ]
            )
    head = ("stage", "steps", "tokens", "hours", "tokens/s", "last loss", "forced accuracy")
    return table(head, rows) if rows else []


def sets(results: Results) -> list[str]:
    """The generalist on every set, with and without the calculator, and the others on the main."""
    scores, bare = results.get("scores", {}), results.get("scores_bare", {})
    rows = []
    for spec in {**scores, **bare}:
        on, off = (part.get(spec, {}).get("sets", {}) for part in (scores, bare))
        for name in {**on, **off}:
            count = (on.get(name) or off[name])["n"]
            rows.append([spec, name, f"{count:,}", share(on.get(name)), share(off.get(name))])
    return table(("model", "set", "n", "with calculator", "without"), rows) if rows else []


Groups = dict[str, dict[str, dict[str, Any]]]


def _by_model(found: Mapping[str, Mapping[str, dict[str, Any]]]) -> Groups:
    """Scores by model, then by group, as by group, then by model."""
    groups: Groups = {}
    for spec, scores in found.items():
        for key, score in scores.items():
            groups.setdefault(key, {})[spec] = score
    return groups


def steps(results: Results) -> list[str]:
    """Accuracy by number of calculations, a column for each model."""
    scores = results.get("scores", {})
    groups, specs = (
        _by_model({spec: _steps_of(parts) for spec, parts in scores.items()}),
        list(scores),
    )
    rows = [[key, *(share(by.get(spec)) for spec in specs)] for key, by in sorted(groups.items())]
    return table(("steps", *specs), rows) if rows else []


def _steps_of(parts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    by = parts["sets"].get(MAIN, {}).get("by", {})
    return {
        key.removeprefix("steps "): score for key, score in by.items() if key.startswith("steps ")
    }


def skills(results: Results) -> list[str]:
    """Accuracy by skill: the best in bold, and what its distance to the first model is worth."""
    scores = results.get("scores", {})
    groups = _by_model({spec: parts.get("skills", {}) for spec, parts in scores.items()})
    specs = list(scores)
    verdicts = _verdicts(groups, specs)
    rows = []
    for skill, by in sorted(groups.items()):
        best = max(score["accuracy"] for score in by.values())
        cells = []
        for spec in specs:
            score = by.get(spec)
            bold = "**" if score is not None and score["accuracy"] == best else ""
            cells.append(f"{share(score, bold)} {verdicts.get((skill, spec), '')}".strip())
        rows.append([skill, *cells])
    return table(("skill", *specs), rows) if rows else []


def _verdicts(
    groups: Mapping[str, Mapping[str, Mapping[str, Any]]], specs: list[str]
) -> dict[tuple[str, str], str]:
    """Each model against the first on the same questions; Holm over the whole table."""
    pairs = {}
    for skill, by in groups.items():
        for spec in specs[1:]:
            hits = [by.get(one, {}).get("hits") for one in (spec, specs[0])]
            if all(hits) and len(hits[0]) == len(hits[1]):
                mine, first = (dict(enumerate(map(int, one))) for one in hits)
                pairs[skill, spec] = compare(mine, first)
    adjusted = holm([pair.p for pair in pairs.values()])
    return {
        key: "(~)"
        if inside_noise(p, pair)
        else ("(better)" if pair.difference.value > 0 else "(worse)")
        for (key, pair), p in zip(pairs.items(), adjusted, strict=True)
    }


def boards(results: Results) -> list[str]:
    """What models make of notes, in each role."""
    rows = []
    for spec, parts in results.get("scores", {}).items():
        for role in ("solver", "verifier"):
            found = parts.get(f"boards as {role}", {})
            for form, score in found.items():
                if isinstance(score, dict):
                    columns = ("alone", "with board", "repeats the first note")
                    count = f"{score['alone']['n']:,}"
                    rows.append([spec, role, form, count, *(share(score[c]) for c in columns)])
            if "balanced accuracy" in found:
                balanced = f"{100 * found['balanced accuracy']:.1f} %"
                rows.append([spec, role, "balanced accuracy", "", "", "", balanced])
    head = ("model", "role", "board", "n", "alone", "with board", "repeats the first note")
    return table(head, rows) if rows else []


def parity(results: Results) -> list[str]:
    """How far llama.cpp says what transformers says."""
    rows = []
    for row in results.get("parity", ()):
        inside, gaps = wilson(row["identical"], row["prompts"]), row["gaps"]
        score = {"accuracy": inside.value, "low": inside.low, "high": inside.high}
        rows.append(
            [
                row["type"],
                row["cache"],
                f"{row['identical']} of {row['prompts']}",
                share(score | {"n": row["prompts"]}),
                str(row["other_prompt"]),
                f"{statistics.median(gaps):.4f}" if gaps else "",
                f"{max(gaps):.4f}" if gaps else "",
            ]
        )
    head = (
        "file", "cache", "identical", "share", "other prompt", "gap, median", "gap, most",
    )  # fmt: skip
    return table(head, rows) if rows else []


def speed(results: Results) -> list[str]:
    """Rows of `speed` as they are: their single values."""
    rows = results.get("speed", ())
    names = list(dict.fromkeys(k for row in rows for k, v in row.items() if _single(v)))
    cells = [[_cell(row[name]) if name in row else "" for name in names] for row in rows]
    return table((name.replace("_", " ") for name in names), cells) if rows else []


def _single(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _cell(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) and value < 1000 else (
        f"{value:,.0f}" if isinstance(value, int | float) else str(value)
    )  # fmt: skip


def overlap(results: Results) -> list[str]:
    """Test questions that share 13 words in a row with training questions."""
    rows = []
    for source, part in results.get("overlap", {}).items():
        for row in part["tests"]:
            rows.append(
                [
                    f"{source} ({part['questions']:,})",
                    row["name"],
                    f"{row['questions']:,}",
                    str(row["exact"]),
                    str(row["masked"]),
                ]
            )
    head = ("training questions", "test set", "questions", "share a run", "numbers as `<n>`")
    return table(head, rows) if rows else []


PARTS: dict[str, tuple[Callable[[Results], list[str]], str]] = {
    "Training": (
        training,
        "Forced accuracy: held-out problems of which every calculation and the answer are the most "
        "probable ones after the true solution so far (`measure.py`).",
    ),
    "Data sets": (sets, "Test parts, greedy. Intervals here and below: 95 %, Wilson."),
    "Word problems by number of calculations": (steps, ""),
    "Word problems by skill": (
        skills,
        "Problems of one to four calculations on held-out frames, as many of each skill. "
        "Best of each skill in bold. In brackets the difference to the first model on the same "
        "questions: (~) inside the noise (McNemar with Holm over the table, or the paired "
        "bootstrap interval holds 0).",
    ),
    "Boards": (
        boards,
        "Notes were sampled from the first model. Balanced accuracy: mean of the right answers "
        "that are repeated and the wrong ones that are not.",
    ),
    "llama.cpp against transformers": (
        parity,
        "Greedy replies, token by token. Gap: logits by which transformers prefers its own token "
        "where the replies part.",
    ),
    "Speed": (speed, ""),
    "Overlap with test sets": (
        overlap,
        "Test questions that share 13 words in a row with a training question.",
    ),
}


def tables(results: Results) -> str:
    """All tables as markdown."""
    lines = [f"Size {results['size']}."]
    for title, (part, words) in PARTS.items():
        if found := part(results):
            lines += ["", f"## {title}", "", *([words, ""] if words else []), *found]
    return "\n".join(lines) + "\n"


# --- figure


def figure(results: Results, path: Path) -> None:
    """Loss, speed and forced accuracy against tokens, the stages one after the other."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    fig, (left, middle, right) = pyplot.subplots(1, 3, figsize=(13, 4.2))
    colours = pyplot.get_cmap("viridis")
    begun, named = 0.0, set()
    for name, rows in results["stages"].items():
        if not rows:
            continue
        tokens = [begun + row["tokens"] / 1e6 for row in rows]
        left.plot(tokens, [row["loss"] for row in rows], "o-", ms=2.5, color="tab:blue")
        middle.plot(tokens, _rates(rows), "o-", ms=2.5, color="tab:green")
        for kind in sorted({key for row in rows for key in row if key.startswith("forced")}):
            steps = kind.removeprefix("forced").removeprefix("_s")
            colour = colours((int(steps) - 1) / 8) if steps.isdigit() else "black"
            right.plot(
                tokens,
                [100 * row.get(kind, float("nan")) for row in rows],
                color=colour,
                lw=1.2 if steps else 2,
                label=None if kind in named else (f"steps {steps}" if steps else "all"),
            )
            named.add(kind)
        for panel in (left, middle, right):
            panel.axvline(begun, color="gray", lw=0.6, ls=":")
            panel.annotate(
                name, (begun, 1.01), xycoords=("data", "axes fraction"), fontsize=7, color="gray",
                rotation=45,
            )  # fmt: skip
        begun = tokens[-1]
    left.set(ylabel="loss of the reply, mean since the last point", ylim=(0, None))
    middle.set(ylabel="tokens/s", ylim=(0, None))
    right.set(ylabel="forced accuracy on held-out problems, %", ylim=(0, 100))
    for panel in (left, middle, right):
        panel.set(xlabel="million tokens, padding not counted", xlim=(0, None))
        panel.grid(alpha=0.3)
    if named:
        right.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    fig.tight_layout()
    fig.savefig(path, dpi=110)
    pyplot.close(fig)


def _rates(rows: list[dict[str, Any]]) -> list[float]:
    """Tokens a second between a row and the one before."""
    before = [{"tokens": 0, "seconds": 0.0}, *rows]
    return [
        (row["tokens"] - last["tokens"]) / max(row["seconds"] - last["seconds"], 1e-9)
        for last, row in zip(before, rows, strict=False)
    ]


def main() -> None:
    """Collect, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--size", default="cpu")
    parser.add_argument("--from", dest="earlier", type=Path, help="an earlier results.json")
    for name in MEASURED:
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=Path, help=f"in place of {name}.json"
        )
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    try:
        if options.earlier:
            results = json.loads(options.earlier.read_text(encoding="utf-8"))
        else:
            results = collect(options.size, {name: getattr(options, name) for name in MEASURED})
    except (DataError, OSError, ValueError) as error:
        raise SystemExit(f"report: {error}") from error
    options.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1) + "\n"
    (options.out / "results.json").write_text(text, encoding="utf-8")
    (options.out / "tables.md").write_text(tables(results), encoding="utf-8")
    try:
        figure(results, options.out / "curves.png")
    except ImportError as error:
        print(f"figure skipped: {error}")
    print(tables(results))


if __name__ == "__main__":
    main()
