"""A run folder, read back for people."""

from __future__ import annotations

import html
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any

from hyperagent import viewer
from hyperagent.bench import RowSummary, Summary, footnotes
from hyperagent.bench.files import read_json, read_lines
from hyperagent.bench.report import cells, headings
from hyperagent.bench.samples import CALIBRATION
from hyperagent.bench.statistics import Comparison, Interval
from hyperagent.errors import ConfigError, UnknownNameError
from hyperagent.hypergraph import Hypergraph
from hyperagent.llm import Ledger, LedgerRow
from hyperagent.team import Board, Note, Result

_STYLE = """
:root{color-scheme:light dark}
body{max-width:75em;margin:2em auto;padding:0 1em;font:1em/1.5 system-ui,sans-serif}
table{border-collapse:collapse;font-size:.9em}
th,td{white-space:nowrap;padding:.3em .7em;border-bottom:1px solid #8886;text-align:right}
th:first-child,td:first-child,th:last-child,td:last-child{text-align:left}
div{overflow-x:auto}svg{max-width:100%;height:auto}
"""


class Run:
    """A run folder, finished or not. Nothing in it is changed.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ConfigError
        If `path` is not a run folder.
    """

    def __init__(self, path: Path) -> None:
        if not (path / "meta.json").exists():
            raise ConfigError(f"{path} is not a run folder: it has no meta.json")
        self.path = path

    @cached_property
    def samples(self) -> dict[str, dict[str, Any]]:
        """Last record of every sample of a row of the table."""
        found = {r["item"]: r for r in read_lines(self.path / "samples.jsonl")}
        return {key: r for key, r in found.items() if not r["row"].startswith(CALIBRATION)}

    @cached_property
    def summary(self) -> Summary:
        """The table of the run.

        Raises
        ------
        ConfigError
            If the run has not come to its end yet.
        """
        file = self.path / "summary.json"
        if (self.path / "outcomes.jsonl").exists():
            raise ConfigError(
                f"{self.path} is of hyperagent learn and has no table: use it as --topology "
                f"learned:{self.path}, or look at one execution with --question"
            )
        if not file.exists():
            raise ConfigError(
                f"{self.path} has no table yet: {len(self.samples)} samples are done. Finish the "
                "run with --resume, or look at one sample with --question"
            )
        return read_summary(read_json(file))

    @property
    def example(self) -> str:
        """Id of a question of the run."""
        return next((record["task"] for record in self.samples.values()), "ID")

    def sample(self, row: str | None, question: str | None, seed: int) -> dict[str, Any]:
        """What a team did with one question: graph, title, roles and result.

        Raises
        ------
        UnknownNameError
            If the run has no such row or question.
        ConfigError
            If that sample has not been finished.
        """
        rows = list(dict.fromkeys(record["row"] for record in self.samples.values()))
        row = row or self._first_row(rows)
        if row not in rows:
            raise UnknownNameError("row", row, rows)
        done = {r["task"]: r for r in self.samples.values() if r["row"] == row}
        question = question or next(iter(done))
        if question not in done:
            raise UnknownNameError("question of the run", question, list(done)[:50])
        record = self.samples.get(f"{row}|{seed}|{question}", {})
        if "topology" not in record:
            why = "; ".join(record.get("errors", ())) or "it is not in the folder"
            raise ConfigError(f"{row}, {question}, seed {seed} was not finished: {why}")
        graph = self._graph(record["topology"])
        verdict = "right" if record["correct"] else "wrong"
        return {
            "graph": graph,
            "title": f"{row}, {question}: {verdict}",
            "roles": self._roles(),
            "result": self._result(record, graph),
        }

    def _first_row(self, rows: list[str]) -> str:
        known = list(read_json(self.path / "config.json").get("rows", ()))
        first = next((name for name in known if name in rows), None) or next(iter(rows), None)
        if first is None:
            raise ConfigError(f"{self.path} holds no sample yet")
        return first

    def _graph(self, digest: str) -> Hypergraph:
        return Hypergraph.from_hif(read_json(self.path / "topologies" / f"{digest}.hif.json"))

    def _roles(self) -> dict[str, str]:
        members = read_json(self.path / "config.json").get("members", {}).get("agents", {})
        return {name: agent["role"] for name, agent in members.items()}

    def _result(self, record: dict[str, Any], graph: Hypergraph) -> Result:
        boards = []
        for i, edge in enumerate(graph.edges):
            board = Board(f"e{i}", edge)
            if board.id in record["boards"]:
                board.agreement, board.rounds, board.closed_by = record["boards"][board.id]
            for note in record["notes"]:
                if board.id in note["boards"]:
                    kept = {key: value for key, value in note.items() if key != "boards"}
                    board.post(Note(**{**kept, "facts": tuple(kept["facts"])}))
            boards.append(board)
        rows = [
            {key: value for key, value in call.items() if key not in ("item", "start")}
            for call in read_lines(self.path / "calls.jsonl")
            if call["item"] == record["item"] and call["start"] == record["start"]
        ]
        return Result(
            task=record["task"],
            answer=record["answer"],
            text=record["text"],
            posterior=record["posterior"],
            topology=graph,
            boards=tuple(boards),
            ledger=Ledger(rows=[LedgerRow.from_json(row) for row in rows]),
            opened_phases=record["opened_phases"],
            finish=record["finish"],
            errors=tuple(record["errors"]),
            seconds=record["seconds"],
        )

    def picture(self) -> str:
        """The topology that the first row used for its first question, as SVG."""
        for digest, rows in self._topologies().items():
            return viewer.svg(self._graph(digest), title=", ".join(rows), roles=self._roles())
        raise ConfigError(f"{self.path} holds no finished sample yet")

    def _topologies(self) -> dict[str, list[str]]:
        """What each row used for its first question: digests, and the rows that share them."""
        rows: dict[str, str] = {}
        for record in self.samples.values():
            if "topology" in record:
                rows.setdefault(record["row"], record["topology"])
        ordered = [row.name for row in self.summary.rows if row.name in rows]
        found: dict[str, list[str]] = {}
        for row in ordered:
            found.setdefault(rows[row], []).append(row)
        return found

    def page(self) -> str:
        """The table and the topology of every row, as one page without script or network."""
        summary = self.summary
        told = html.escape(f"{summary.task}: {self.path.name}")
        head = "".join(f'<th scope="col">{html.escape(h)}</th>' for h in headings(summary))
        body = "".join(
            f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in line)}</tr>\n"
            for line in cells(summary)
        )
        notes = "".join(f"<li>{html.escape(note)}</li>\n" for note in footnotes(summary))
        pictures = "".join(
            f"<h2>{html.escape(', '.join(rows))}</h2>\n"
            f"<div>{viewer.svg(self._graph(digest), roles=self._roles())}</div>\n"
            for digest, rows in self._topologies().items()
        )
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n"
            f"<title>{told}</title><style>{_STYLE}</style></head><body><main>\n<h1>{told}</h1>\n"
            f"<div><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>\n"
            f"<ul>{notes}</ul>\n{pictures}</main></body></html>\n"
        )


def read_summary(data: dict[str, Any]) -> Summary:
    """Inverse of `Summary.to_json`."""
    rows = tuple(_row(row) for row in data["rows"])
    return Summary(**{**_known(Summary, data), "rows": rows})


def _row(data: dict[str, Any]) -> RowSummary:
    against = data["against_first"]
    if against is not None:
        against = Comparison(**{**against, "difference": Interval(**against["difference"])})
    return RowSummary(
        **{
            **_known(RowSummary, data),
            "accuracy": Interval(**data["accuracy"]),
            "against_first": against,
        }
    )


def _known(kind: type, data: dict[str, Any]) -> dict[str, Any]:
    """The fields of `kind` in `data`, which also holds computed values."""
    names = {field.name for field in fields(kind)}
    return {key: value for key, value in data.items() if key in names}
