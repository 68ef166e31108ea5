"""The figure: accuracy against tokens, one panel a set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from tables import ONE_AGENT, SAMPLES

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#555555"
Rows = Sequence[Mapping[str, Any]]


def draw_figure(results: Mapping[str, Any], path: Path) -> None:
    """Self-consistency as a line, agents and teams as letters, the same ones in each panel."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    # Text stays text and ids are fixed, so that the file is small and changes only with the data.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "0", "font.size": 9})
    tables = {name: found["table"]["rows"] for name, found in results["sets"].items()}
    columns = min(3, len(tables) + 1)
    lines = -(-(len(tables) + 1) // columns)
    figure, grid = pyplot.subplots(
        lines, columns, figsize=(4.6 * columns, 4.0 * lines), squeeze=False
    )
    panels = list(grid.flat)
    for panel, (name, rows) in zip(panels, tables.items(), strict=False):
        _draw(panel, rows)
        panel.set_title(f"{name}, {rows[0]['questions']} questions", fontsize=9)
        panel.set_xlabel("tokens per question, prompt and completion")
        panel.set_ylabel("accuracy, %")
        most = max(row["tokens"] for row in rows)
        # Room on the left for the letters of single agents.
        panel.set_xlim(-0.1 * most, 1.06 * most)
        panel.grid(alpha=0.3)
    for panel in panels[len(tables) :]:
        panel.axis("off")
    _explain(panels[len(tables)], next(iter(tables.values())))
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _sampled(name: str) -> bool:
    return name.endswith(SAMPLES)


def _colour(name: str) -> str:
    return GREY if name.endswith(ONE_AGENT) else BLUE


def _letters(rows: Rows) -> dict[str, str]:
    marked = [row["name"] for row in rows if not _sampled(row["name"])]
    return dict(zip(marked, ascii_lowercase, strict=False))


def _draw(panel: Any, rows: Rows) -> None:
    curve = sorted(
        (row["tokens"], *(100 * row["accuracy"][key] for key in ("value", "low", "high")))
        for row in rows
        if _sampled(row["name"])
    )
    tokens, value, low, high = zip(*curve, strict=True)
    panel.plot(tokens, value, "-o", color=ORANGE, markersize=3, linewidth=1.2)
    panel.fill_between(tokens, low, high, color=ORANGE, alpha=0.12, linewidth=0)
    # Rows that ask the same agents the same thing give the same answers: one point.
    letters = _letters(rows)
    points: dict[tuple[int, float], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["name"] in letters:
            points[round(row["tokens"]), round(row["accuracy"]["value"], 6)].append(row)
    left = cycle((-9, -17, -25))
    for (x, y), here in sorted(points.items(), key=lambda point: point[0][1]):
        accuracy, colour = here[0]["accuracy"], _colour(here[0]["name"])
        # Single agents cost nearly the same: their letters take turns, or they would overlap.
        place = (next(left), -3) if colour == GREY else (3, 3)
        panel.vlines(
            x, 100 * accuracy["low"], 100 * accuracy["high"], color=colour, alpha=0.25, linewidth=1
        )
        panel.plot([x], [100 * y], "o", color=colour, markersize=4)
        panel.annotate(
            "".join(letters[row["name"]] for row in here), (x, 100 * y), xytext=place,
            textcoords="offset points", color=colour, fontsize=8,
        )  # fmt: skip


def _explain(panel: Any, rows: Rows) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker="o", linestyle="", markersize=4, color=_colour(name), label=label)
        for name, letter in _letters(rows).items()
        for label in [f"{letter}  {name}"]
    ]
    counts = [row["name"].split()[0] for row in rows if _sampled(row["name"])]
    handles.append(
        Line2D(
            [], [], marker="o", markersize=3, color=ORANGE,
            label=f"best agent, {', '.join(counts)} samples",
        )
    )  # fmt: skip
    panel.legend(handles=handles, loc="center", ncols=2, fontsize=8, frameon=False)
    panel.set_title("bars and band: 95 % Wilson intervals", fontsize=9)
