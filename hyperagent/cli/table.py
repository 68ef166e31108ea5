"""The table of a bench as plain text that fits the terminal."""

from __future__ import annotations

from hyperagent.bench import Summary, footnotes
from hyperagent.bench.report import cells, headings
from hyperagent.cli import output

_GAP = "  "


def summary_lines(summary: Summary, width: int) -> list[str]:
    """The table, then its footnotes.

    Parameters
    ----------
    summary : Summary
    width : int
        Characters of a line. Columns that do not fit go below, with the names of the rows
        again, so that no number is ever cut.
    """
    order = _order(headings(summary))
    rows = [headings(summary), *cells(summary)]
    columns = [[output.clean(row[i]) for row in rows] for i in order]
    lines = [summary.task]
    for block in _blocks(columns, width):
        lines += ["", *block]
    return [*lines, "", *(line for note in footnotes(summary) for line in output.wrap(note, width))]


def _order(heads: list[str]) -> list[int]:
    """What decides first: accuracy and verdict, then cost, then counts, then other scorers."""
    scorers = range(2, heads.index("prompt"))
    first = [0, 1, heads.index("verdict"), heads.index("p vs first")]
    rest = [i for i in range(len(heads)) if i not in first and i not in scorers]
    return [*first, *rest, *scorers]


def _blocks(columns: list[list[str]], width: int) -> list[list[str]]:
    """Lines of each part of the table."""
    names, *others = columns
    parts: list[list[list[str]]] = []
    room = 0
    for column in others:
        size = len(_GAP) + max(map(len, column))
        if not parts or size > room:
            parts.append([])
            room = width - max(map(len, names))
        parts[-1].append(column)
        room -= size
    return [_lines(names, part) for part in parts]


def _lines(names: list[str], columns: list[list[str]]) -> list[str]:
    sizes = [max(map(len, column)) for column in columns]
    left = max(map(len, names))
    lines = []
    for i, name in enumerate(names):
        cells = [
            column[i].ljust(size) if column[0] == "verdict" else column[i].rjust(size)
            for column, size in zip(columns, sizes, strict=True)
        ]
        lines.append(_GAP.join([name.ljust(left), *cells]).rstrip())
    rule = "-" * max(map(len, lines))
    return [lines[0], rule, *lines[1:]]
