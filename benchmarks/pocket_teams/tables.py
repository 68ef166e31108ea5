"""What the bench's own table does not say: equal tokens row by row, and accuracy by length."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hyperagent import tasks
from hyperagent.bench import RowSummary, Summary, statistics, to_markdown
from hyperagent.bench.files import read_json, read_lines

SAMPLES = (" sample", " samples")
"""How the names of rows end that sample the best agent."""
ONE_AGENT = ("best agent", " alone", " alone, sampled")
"""How the names of rows end that ask one agent once."""
PAIRS = {"1-2": (1, 2), "3-4": (3, 4), "5-6": (5, 6), "7-8": (7, 8)}


@dataclass(frozen=True)
class Study:
    """A finished run on one set.

    Parameters
    ----------
    name : str
    summary : Summary
    folder : Path
    cpu : float
        Seconds.
    """

    name: str
    summary: Summary
    folder: Path
    cpu: float

    @property
    def team(self) -> str:
        """Name of the team, which tells its weights."""
        return read_json(self.folder / "config.json")["members"]["name"]

    @cached_property
    def outcomes(self) -> dict[str, dict[Any, float]]:
        """By row and question: the mean outcome over the seeds."""
        found: dict[str, list[tuple[str, float]]] = defaultdict(list)
        last = {s["item"]: s for s in read_lines(self.folder / "samples.jsonl")}
        for sample in last.values():
            if sample["status"] == "ok":
                found[sample["row"]].append((sample["task"], sample["correct"]))
        return {row: statistics.mean_by_question(pairs) for row, pairs in found.items()}

    @property
    def teams(self) -> list[RowSummary]:
        """Rows with more than one agent."""
        return [row for row in self.summary.rows if not row.name.endswith(SAMPLES + ONE_AGENT)]


def equal_tokens(study: Study, ladder: Sequence[int]) -> list[dict[str, Any]]:
    """Each team beside self-consistency with the fewest samples that cost no less.

    Where the longest of the ladder costs less, that one is taken, and the entry says so. The
    p-values are corrected (Holm) for the number of teams.
    """
    steps = [study.summary.row(f"{k} samples") for k in ladder]
    pairs = [
        (row, next((step for step in steps if step.tokens >= row.tokens), steps[-1]))
        for row in study.teams
    ]
    compared = [
        statistics.compare(study.outcomes[row.name], study.outcomes[step.name])
        for row, step in pairs
    ]
    adjusted = statistics.holm([c.p for c in compared])
    return [
        {
            "row": row.name,
            "tokens": row.tokens,
            "against": step.name,
            "its_tokens": step.tokens,
            "difference": asdict(c.difference),
            "p": c.p,
            "adjusted_p": p,
            "noise": statistics.inside_noise(p, c),
        }
        for (row, step), c, p in zip(pairs, compared, adjusted, strict=True)
    ]


def by_steps(study: Study) -> dict[str, dict[str, Any]]:
    """Accuracy of each row by the number of calculations, singly and in pairs."""
    steps = {task.id: task.meta["steps"] for task in tasks.load(study.name, "test")}
    groups = {str(n): (n,) for n in sorted(set(steps.values()))} | PAIRS
    found: dict[str, dict[str, Any]] = {}
    for row in (row.name for row in study.summary.rows):
        outcomes, found[row] = study.outcomes[row], {}
        for group, lengths in groups.items():
            values = [value for task, value in outcomes.items() if steps[task] in lengths]
            found[row][group] = asdict(statistics.wilson(sum(values), len(values))) | {
                "questions": len(values)
            }
    return found


def markdown(
    studies: Sequence[Study], results: Mapping[str, Any], missing: Mapping[str, str]
) -> str:
    """All tables."""
    parts = [_set(study, results["sets"][study.name]) for study in studies]
    parts += [f"## {name}\n\nLeft out: {why}\n" for name, why in missing.items()]
    return "\n".join(parts)


def _set(study: Study, found: Mapping[str, Any]) -> str:
    reliability = study.summary.decisions["reliability"]
    order = sorted(reliability, key=lambda name: -reliability[name])
    lines = [
        f"## {study.name}",
        "",
        f"{study.summary.rows[0].questions} questions. Measured on the training part: "
        + ", ".join(f"{name} {reliability[name]:.1%}" for name in order)
        + ".",
        "",
        to_markdown(study.summary),
        "### Teams beside self-consistency at no fewer tokens",
        "",
        "| team | tokens | beside | its tokens | difference [95 %] | p | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for entry in found["equal_tokens"]:
        gain = entry["difference"]
        verdict = "better" if gain["value"] > 0 else "worse"
        short = "" if entry["its_tokens"] >= entry["tokens"] else " (fewer: the most we drew)"
        lines.append(
            f"| {entry['row']} | {entry['tokens']:,.0f} | {entry['against']} | "
            f"{entry['its_tokens']:,.0f}{short} | {100 * gain['value']:+.1f} "
            f"[{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}] | {entry['p']:.3g} | "
            f"{'inside the noise' if entry['noise'] else verdict} |"
        )
    if found["by_steps"]:
        lines += ["", "### By number of calculations", "", *_steps(found["by_steps"])]
    return "\n".join(lines) + "\n"


def _steps(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    groups = list(next(iter(found.values())))
    counts = [next(iter(found.values()))[group]["questions"] for group in groups]
    lines = [
        f"| row | {' | '.join(f'{g} ({n})' for g, n in zip(groups, counts, strict=True))} |",
        f"|---|{'---|' * len(groups)}",
    ]
    for row, cells in found.items():
        shown = []
        for group in groups:
            cell = cells[group]
            text = f"{cell['value']:.0%}" if cell["questions"] else ""
            if group in PAIRS and text:
                text += f" [{cell['low']:.0%}, {cell['high']:.0%}]"
            shown.append(text)
        lines.append(f"| {row} | {' | '.join(shown)} |")
    return [*lines, "", "In brackets: questions; for pairs of lengths, 95 % Wilson intervals."]
