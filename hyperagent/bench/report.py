"""The table: accuracy with its interval, what it cost, and what is inside the noise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from hyperagent.bench import statistics


@dataclass(frozen=True)
class RowSummary:
    """One line of the table. Tokens, calls and price are means per sample.

    Attributes
    ----------
    name, topology : str
    questions, samples : int
        Questions with at least one finished sample; finished samples of all seeds.
    errors, unfinished : int
        Failed samples, and samples that the budget or an interruption left out; they are in no
        mean.
    unparsed : int
        Finished samples without a readable answer; they count as wrong.
    accuracy : Interval
        Mean over questions of the mean over seeds, with the Wilson interval for that many
        questions.
    by_seed : dict of int to float
    scores : dict of str to float
        Accuracy by the other scorers.
    prompt_tokens, completion_tokens, calls : float
    unknown, estimated : int
        Calls without a token count; calls whose count is an estimate.
    price : float or None
        None if a call has no known price.
    against_first : Comparison or None
        None for the first row itself.
    adjusted_p : float or None
        p after Holm's correction for the number of rows.
    noise : bool or None
        Whether the difference from the first row is inside the noise.
    remark : str
    """

    name: str
    topology: str
    questions: int
    samples: int
    errors: int
    unfinished: int
    unparsed: int
    accuracy: statistics.Interval
    by_seed: dict[int, float]
    scores: dict[str, float]
    prompt_tokens: float
    completion_tokens: float
    calls: float
    unknown: int
    estimated: int
    price: float | None
    against_first: statistics.Comparison | None = None
    adjusted_p: float | None = None
    noise: bool | None = None
    remark: str = ""

    @property
    def tokens(self) -> float:
        """Prompt and completion tokens per sample."""
        return self.prompt_tokens + self.completion_tokens

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary, ready for `json.dumps`."""
        return asdict(self) | {"tokens": self.tokens}


@dataclass(frozen=True)
class Summary:
    """What a run found.

    Attributes
    ----------
    task, scorer : str
    rows : tuple of RowSummary
    made_tokens, made_calls : int
        Of the calls that were really made, in all starts of the run, failed and abandoned ones
        too. Less than the sum of the rows where rows shared calls.
    calibration_tokens : int
        Spent on reliabilities and threshold, counted as if no call had been shared.
    decisions : dict
        Measured values that the run used: reliabilities, threshold, sizes of matched rows.
    replayed : bool
        Whether all replies came from records, so that nothing was paid at all.
    left_out : int
        Questions that a replay has no reply for.
    stopped : str
        Why the run ended early; empty if it did not.
    currency : str
        Of the prices, empty without a price list.
    path : str
        The run folder.
    """

    task: str
    scorer: str
    rows: tuple[RowSummary, ...]
    made_tokens: int = 0
    made_calls: int = 0
    calibration_tokens: int = 0
    decisions: dict[str, Any] = field(default_factory=dict)
    replayed: bool = False
    left_out: int = 0
    stopped: str = ""
    currency: str = ""
    path: str = ""

    @property
    def failed(self) -> int:
        """Samples that failed or were left out; a command that meets any must not exit with 0."""
        return sum(row.errors + row.unfinished for row in self.rows)

    def row(self, name: str) -> RowSummary:
        """The row called `name`."""
        return next(row for row in self.rows if row.name == name)

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary, ready for `json.dumps`."""
        return asdict(self) | {"rows": [row.to_json() for row in self.rows], "failed": self.failed}


def summarise_row(
    name: str,
    topology: str,
    samples: Iterable[Mapping[str, Any]],
    expected: int,
    scorers: Sequence[str],
    remark: str = "",
) -> RowSummary:
    """Sum up the samples of one row.

    Parameters
    ----------
    samples : iterable of mapping
        Last record of each item of the row.
    expected : int
        Samples that the row should have.
    scorers : sequence of str
        The first decided; the others become `scores`.
    """
    samples = sorted(samples, key=lambda s: (s["seed"], s["task"]))
    done = [s for s in samples if s["status"] == "ok"]
    errors = sum(s["status"] == "error" for s in samples)
    n = len(done)
    by_question = statistics.mean_by_question((s["task"], s["correct"]) for s in done)
    seeds = sorted({s["seed"] for s in done})

    def mean(values: Iterable[float]) -> float:
        return sum(values) / n if n else 0.0

    prices = [s["price"] for s in done]
    return RowSummary(
        name=name,
        topology=topology,
        questions=len(by_question),
        samples=n,
        errors=errors,
        unfinished=expected - n - errors,
        unparsed=sum(s["answer"] is None for s in done),
        accuracy=statistics.wilson(
            min(sum(by_question.values()), len(by_question)), len(by_question)
        ),
        by_seed={seed: _share(s["correct"] for s in done if s["seed"] == seed) for seed in seeds},
        scores={
            scorer: mean(s["scores"].get(scorer, False) for s in done) for scorer in scorers[1:]
        },
        prompt_tokens=mean(s["prompt_tokens"] for s in done),
        completion_tokens=mean(s["completion_tokens"] for s in done),
        calls=mean(s["calls"] for s in done),
        unknown=sum(s["unknown"] for s in done),
        estimated=sum(s["estimated"] for s in done),
        price=None if None in prices else mean(prices),
        remark=remark,
    )


def compare_with_first(
    rows: Sequence[RowSummary], samples: Mapping[str, Sequence[Mapping[str, Any]]]
) -> tuple[RowSummary, ...]:
    """Add to each row its comparison with the first one.

    Parameters
    ----------
    rows : sequence of RowSummary
    samples : mapping of row name to samples
    """
    outcomes = {
        row.name: statistics.mean_by_question(
            (s["task"], s["correct"]) for s in samples[row.name] if s["status"] == "ok"
        )
        for row in rows
    }
    first, *others = rows
    found = [statistics.compare(outcomes[row.name], outcomes[first.name]) for row in others]
    adjusted = statistics.holm([c.p for c in found])
    return (
        first,
        *(
            replace(row, against_first=c, adjusted_p=p, noise=statistics.inside_noise(p, c))
            for row, c, p in zip(others, found, adjusted, strict=True)
        ),
    )


def _share(values: Iterable[bool]) -> float:
    values = list(values)
    return sum(values) / len(values) if values else 0.0


def headings(summary: Summary) -> list[str]:
    """Titles of the columns of `cells`."""
    more = list(summary.rows[0].scores) if summary.rows else []
    price = ["price"] if _priced(summary) else []
    return [
        "row", f"{summary.scorer} [95 %]", *more, "prompt", "completion", "calls", *price,
        "n", "errors", "unparsed", "p vs first", "verdict",
    ]  # fmt: skip


def cells(summary: Summary) -> list[list[str]]:
    """The table as text, one list a row. Tokens, calls and price are means per sample."""
    priced = _priced(summary)
    return [
        [
            row.name,
            f"{row.accuracy.value:.1%} [{row.accuracy.low:.1%}, {row.accuracy.high:.1%}]"
            if row.questions
            else "none finished",
            *(f"{value:.1%}" for value in row.scores.values()),
            f"{row.prompt_tokens:,.0f}" + _doubt(row),
            f"{row.completion_tokens:,.0f}" + _doubt(row),
            f"{row.calls:.2f}",
            *(["?" if row.price is None else f"{row.price:.6f}"] if priced else []),
            f"{row.samples}",
            f"{row.errors + row.unfinished}",
            f"{row.unparsed}",
            "" if row.against_first is None else f"{row.against_first.p:.3g}",
            verdict(row),
        ]
        for row in summary.rows
    ]


def verdict(row: RowSummary) -> str:
    """What may be said about a row against the first one."""
    if row.against_first is None:
        return "reference"
    if row.noise:
        return "inside the noise"
    return "better" if row.against_first.difference.value > 0 else "worse"


def footnotes(summary: Summary) -> list[str]:
    """What a reader of the table must know."""
    notes = [
        "Tokens, calls and price are means per sample and count every call as if it had been "
        "paid for. p: exact McNemar over questions; verdict after Holm's correction."
    ]
    if any(row.estimated for row in summary.rows):
        notes.append("~ estimated from characters, not reported by a server.")
    if any("strict" in row.scores for row in summary.rows):
        notes.append("strict reads only '#### answer', which our prompts do not ask for.")
    if any(row.unknown for row in summary.rows):
        notes.append("+ some calls have no known token count; the mean leaves them out.")
    made = "Replies replayed from records, none paid for" if summary.replayed else "Calls made"
    notes.append(f"{made}: {summary.made_calls:,} with {summary.made_tokens:,} tokens.")
    if summary.calibration_tokens:
        notes.append(
            f"Calibration on training and validation questions: "
            f"{summary.calibration_tokens:,} tokens, not in the rows."
        )
    if summary.left_out:
        notes.append(f"{summary.left_out} questions have no recorded reply and were left out.")
    notes += [f"{row.name}: {row.remark}." for row in summary.rows if row.remark]
    if summary.stopped:
        notes.append(f"STOPPED EARLY: {summary.stopped}.")
    return notes


def _priced(summary: Summary) -> bool:
    return any(row.price is not None and row.samples for row in summary.rows)


def _doubt(row: RowSummary) -> str:
    return "+" if row.unknown else "~" if row.estimated else ""


def to_markdown(summary: Summary) -> str:
    """The table and its footnotes as Markdown."""
    heads = headings(summary)
    lines = [f"| {' | '.join(heads)} |", f"|{'|'.join('---' for _ in heads)}|"]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in cells(summary)]
    return "\n".join([*lines, "", *(f"- {note}" for note in footnotes(summary))]) + "\n"
