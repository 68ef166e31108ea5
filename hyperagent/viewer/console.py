"""A design as a Rich renderable for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hyperagent.hypergraph import MODES, Hypergraph
from hyperagent.viewer.text import one_line
from hyperagent.viewer.view import Lane, ResultLike, View, look

if TYPE_CHECKING:
    from rich.console import RenderableType

_SEAT = {"discuss": "●", "verify": "◆", "decide": "■"}
_OTHER = {"discuss": "○", "verify": "◇", "decide": "□"}
_COLOUR = {"discuss": "cyan", "verify": "yellow", "decide": "green"}
_MAX_COLUMNS = 24


def terminal(
    hypergraph: Hypergraph,
    *,
    title: str = "",
    roles: Mapping[str, str] | None = None,
    result: ResultLike | None = None,
) -> RenderableType:
    """Something that ``rich.print`` shows: seats by agent and group, then the boards.

    Parameters are those of `svg`. Text of models is shown as it is: Rich markup in it is
    not obeyed and terminal escape codes are made visible.
    """
    from rich.console import Group
    from rich.text import Text

    view = look(hypergraph, title=title, roles=roles, result=result)
    parts: list[RenderableType] = []
    if title:
        parts.append(Text(one_line(title, 300), style="bold"))
    parts.append(Text(view.summary, style="dim"))
    if view.result is not None:
        line = Text()
        for label, value in view.facts:
            line.append(f"{label} ", style="dim").append(one_line(value, 80) + "   ", style="bold")
        parts.append(line)
    parts.append(Text(""))
    parts.append(_seats(view) if len(view.lanes) <= _MAX_COLUMNS else _groups(view))
    if view.benched:
        shown = ", ".join(one_line(name, 40) for name in view.benched[:20])
        more = len(view.benched) - 20
        parts.append(
            Text(f"benched: {shown}" + (f" and {more} more" if more > 0 else ""), style="dim")
        )
    parts.append(_legend(view))
    return Group(*parts)


def _seats(view: View) -> RenderableType:
    """One row an agent, one column a group, phases from left to right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True)
    table.add_column("agent", no_wrap=True)
    if any(row.role for row in view.rows):
        table.add_column("role", style="dim", no_wrap=True)
    lanes = sorted(view.lanes, key=lambda lane: lane.edge.phase)
    for i, lane in enumerate(lanes):
        first = i == 0 or lanes[i - 1].edge.phase != lane.edge.phase
        head = Text(f"phase {lane.edge.phase}\n" if first else "\n", style="dim")
        table.add_column(head.append(lane.id), justify="center", no_wrap=True)
    if view.result is not None:
        table.add_column("tokens", justify="right")
    for row in view.rows:
        cells: list[Text] = [Text(one_line(row.name, 32))]
        if any(r.role for r in view.rows):
            cells.append(Text(one_line(row.role, 24)))
        cells += [_seat(lane, row.name) for lane in lanes]
        if view.result is not None:
            cells.append(Text("?" if row.tokens is None else f"{row.tokens:,}"))
        table.add_row(*cells)
    if view.result is not None:
        blank = [Text("agreement", style="dim")] + [Text("")] * any(r.role for r in view.rows)
        table.add_section()
        table.add_row(*blank, *(_agreement(lane) for lane in lanes), Text(""))
    return table


def _seat(lane: Lane, name: str) -> RenderableType:
    from rich.text import Text

    mode = lane.edge.mode
    mark = lane.marks.get(name)
    glyph = {None: "·", "none": "×", "other": _OTHER[mode], "idle": _OTHER[mode]}.get(
        mark, _SEAT[mode]
    )
    style = "dim" if mark is None or lane.skipped else f"bold {_COLOUR[mode]}"
    return Text(glyph, style=style)


def _agreement(lane: Lane) -> RenderableType:
    from rich.text import Text

    if lane.board is None or lane.skipped:
        return Text("–", style="dim")
    return Text(f"{lane.board.agreement:.0%}", style="dim")


def _groups(view: View) -> RenderableType:
    """One row a group, for designs with more groups than a terminal has columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for column in ("group", "phase", "mode", "members", "weight"):
        table.add_column(column)
    if view.result is not None:
        table.add_column("agreement", justify="right")
    for lane in view.lanes:
        edge = lane.edge
        cells = [
            Text(lane.id),
            Text(str(edge.phase)),
            Text(f"{_SEAT[edge.mode]} {edge.mode}", style=_COLOUR[edge.mode]),
            Text(one_line(", ".join(edge.members), 200)),
            Text(f"{edge.weight:.2f}"),
        ]
        table.add_row(*cells, *([_agreement(lane)] if view.result is not None else []))
    return table


def _legend(view: View) -> RenderableType:
    from rich.text import Text

    line = Text()
    for mode in MODES:
        if any(lane.edge.mode == mode for lane in view.lanes):
            line.append(f"{_SEAT[mode]} ", style=_COLOUR[mode]).append(f"{mode}   ", style="dim")
    if view.result is not None:
        line.append(
            "filled: the final answer   hollow: another   ×: none   dim: not opened", style="dim"
        )
    return line
