"""A design as one SVG picture, drawn without any library.

Rows are agents, columns are groups, bands are phases from left to right. A group is a
string of beads: one bead in the row of each member, a hull around members that are
neighbours, a thin line across rows that are not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

from hyperagent.hypergraph import MODES, Hypergraph
from hyperagent.viewer.text import clean, escape, fit, one_line, width
from hyperagent.viewer.view import Lane, ResultLike, Row, View, look

# Okabe and Ito's palette; the second colour of a pair is for dark backgrounds.
COLOURS = {
    "discuss": ("#0072B2", "#56B4E9"),
    "verify": ("#D55E00", "#E69F00"),
    "decide": ("#009E73", "#2FBF97"),
}
_BAR = ("#B2568A", "#CC79A7")

_PAD = 24
_TITLE, _NAME, _SMALL = 19, 14, 11.5
_MAX_NAME = 210
_BAR_ROOM = 110
_MAX_CHIPS = 40

_STYLE = f"""
.ha{{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif}}
.ha .bg{{fill:#fff}} .ha .ink{{fill:#1b2027}} .ha .mute{{fill:#5b6573}}
.ha .band{{fill:#f3f5f8}} .ha .rule{{stroke:#d9dee5;stroke-width:1}}
.ha .chip{{fill:none;stroke:#aab3bf;stroke-dasharray:3 3}}
.ha .bar{{fill:{_BAR[0]}}} .ha .bead{{stroke-width:2}} .ha .open{{fill:#fff}}
.ha .hull{{fill-opacity:.16;stroke-opacity:.55;stroke-width:1.25}}
.ha .string{{stroke-width:2.25;stroke-opacity:.75}}
.ha .skip{{opacity:.38}} .ha .skip .hull,.ha .skip .string{{stroke-dasharray:4 3}}
{"".join(f".ha .{m}{{fill:{c[0]};stroke:{c[0]}}} " for m, c in COLOURS.items())}
@media (prefers-color-scheme:dark){{
.ha .bg,.ha .open{{fill:#10151c}} .ha .ink{{fill:#e8ecf1}} .ha .mute{{fill:#a3adba}}
.ha .band{{fill:#1a212b}} .ha .rule{{stroke:#323c49}} .ha .chip{{stroke:#5d6877}}
.ha .bar{{fill:{_BAR[1]}}} .ha .hull{{fill-opacity:.22}}
{"".join(f".ha .{m}{{fill:{c[1]};stroke:{c[1]}}} " for m, c in COLOURS.items())}
}}
.ha .bead.open{{fill:#fff}}
@media (prefers-color-scheme:dark){{.ha .bead.open{{fill:#10151c}}}}
"""


def svg(
    hypergraph: Hypergraph,
    *,
    title: str = "",
    roles: Mapping[str, str] | None = None,
    result: ResultLike | None = None,
) -> str:
    """Picture of a design.

    Parameters
    ----------
    hypergraph : Hypergraph
    title : str
        Heading.
    roles : mapping of str to str, optional
        Role of each node or agent, written under its name.
    result : Result, optional
        What the team did: beads then say who gave the final answer, bars the tokens.

    Returns
    -------
    str
        A complete SVG document that follows the reader's light or dark scheme. All text is
        escaped.
    """
    return draw(look(hypergraph, title=title, roles=roles, result=result))


def draw(view: View, *, head: bool = True) -> str:
    """Picture of a `View`; see `svg`. Without `head` it has no title, sizes or answer."""
    return _Picture(view, head).document()


class _Picture:
    """Sizes first, then strings."""

    def __init__(self, view: View, head: bool) -> None:
        self.view = view
        lanes, rows = view.lanes, view.rows
        self.row_height = 17 if len(rows) > 60 else 40 if any(r.role for r in rows) else 30
        self.pitch = next(
            p for p, most in ((44, 12), (32, 30), (22, 70), (14, 9**9)) if len(lanes) <= most
        )
        self.bead = min(9.0, self.pitch * 0.27, self.row_height * 0.3)
        named = [(clean(r.name), _NAME) for r in rows] + [(clean(r.role), _SMALL) for r in rows]
        widest = max((width(text, size) for text, size in named), default=0.0)
        self.names = max(64.0, min(widest, _MAX_NAME))
        self.grid = _PAD + self.names + 28
        self.has_weights = any(lane.edge.weight != 1 for lane in lanes)
        self.has_boards = any(lane.board is not None for lane in lanes)
        self.has_bars = any(row.tokens for row in rows)
        self.bands = self._bands()
        self.right = max((x + w for _, x, w, _ in self.bands), default=self.grid)
        self.lane_x = {
            lane.id: x + self.gutter + self.pitch * (i + 0.5)
            for _, x, _, group in self.bands
            for i, lane in enumerate(group)
        }
        self.head = self._head_lines() if head else []
        most = max((1.12 * width(text, size) for text, size, _, _ in self.head), default=0.0)
        bars = _BAR_ROOM + 70 if self.has_bars else 0
        self.width = max(self.right + bars, min(most, 760) + _PAD, 300.0) + _PAD
        self.first = _PAD + 34 + sum(high for *_, high in self.head) + (14 if self.head else 0)
        self.row_y = {
            row.name: self.first + self.row_height * (i + 0.5) for i, row in enumerate(rows)
        }
        self.last = self.first + self.row_height * len(rows)

    def _bands(self) -> list[tuple[int, float, float, list[Lane]]]:
        """Phase, left edge, width and lanes of each band."""
        self.gutter = 6.0
        bands, x = [], self.grid
        ordered = sorted(self.view.lanes, key=lambda lane: lane.edge.phase)
        for phase, group in groupby(ordered, key=lambda lane: lane.edge.phase):
            lanes = list(group)
            wide = self.pitch * len(lanes) + 2 * self.gutter
            bands.append((phase, x, wide, lanes))
            x += wide + 8
        return bands

    def document(self) -> str:
        body = [*self._head(), *self._phases(), *self._rows()]
        body += [self._lane(lane) for lane in self.view.lanes]
        y = self.last + 10
        foot, y = self._foot(y)
        body += foot
        chips, y = self._bench(y)
        body += chips
        legend, y = self._legend(y)
        body += legend
        wide, high = round(self.width), round(y + _PAD - 8)
        mark = self.view.hypergraph.digest()[:8]
        words = "; ".join(lane.sentence for lane in self.view.lanes[:60]) or "no groups"
        named = self.view.title or "Agents and their groups"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="ha" role="img" width="{wide}" '
            f'height="{high}" viewBox="0 0 {wide} {high}" '
            f'aria-labelledby="t{mark} d{mark}">\n'
            f'<title id="t{mark}">{escape(named)}</title>\n'
            f'<desc id="d{mark}">{escape(self.view.summary + ". " + words)}</desc>\n'
            f"<style>{_STYLE}</style>\n"
            f'<rect class="bg" width="{wide}" height="{high}"/>\n' + "\n".join(body) + "\n</svg>\n"
        )

    def _head_lines(self) -> list[tuple[str, float, str, int]]:
        """Text, size, tone and height of the lines above the grid."""
        view = self.view
        lines = [(clean(view.title), _TITLE, "ink", 25)] if view.title else []
        lines.append((view.summary, 12.5, "mute", 20))
        if view.result is not None:
            facts = dict(view.facts)
            said = one_line(facts["answer"], 60)
            text = f"answer {said} · probability {facts['probability']} · tokens {facts['tokens']}"
            lines.append((text, 13.5, "ink", 22))
        return lines

    def _head(self) -> list[str]:
        parts, y = [], float(_PAD)
        for text, size, tone, high in self.head:
            y += high
            line = fit(text, size, (self.width - 2 * _PAD) / 1.12)  # bold runs wider
            parts.append(_text(_PAD, y - 6, line, size, tone, bold=tone == "ink"))
        return parts

    def _phases(self) -> list[str]:
        parts = []
        top = self.first - 40
        wide_enough = all(w >= 58 for _, _, w, _ in self.bands)
        for phase, x, w, lanes in self.bands:
            parts.append(
                f'<rect class="band" x="{x:.1f}" y="{top:.1f}" width="{w:.1f}" '
                f'height="{self.last - top + 4:.1f}" rx="9"/>'
            )
            label = f"phase {phase}" if wide_enough else str(phase)
            parts.append(_text(x + w / 2, top + 16, label, 12, "mute", "middle", bold=True))
            # Narrow columns are numbered by fives.
            parts += [
                _text(self.lane_x[lane.id], top + 33, lane.id, 10.5, "mute", "middle")
                for lane in lanes
                if self.pitch >= 32 or int(lane.id[1:]) % 5 == 0
            ]
        if self.bands and not wide_enough:
            parts.append(_text(self.grid - 12, top + 16, "phase", 12, "mute", "end"))
        return parts

    def _rows(self) -> list[str]:
        parts = []
        most = max((row.tokens or 0 for row in self.view.rows), default=0)
        size = _NAME if self.row_height >= 30 else 11
        if self.has_bars:
            parts.append(_text(self.right + 22, self.first - 10, "tokens", 12, "mute", bold=True))
        for row in self.view.rows:
            y = self.row_y[row.name]
            name = fit(clean(row.name), size, self.names)
            role = fit(clean(row.role), _SMALL, self.names)
            shown = bool(role) and self.row_height >= 40
            parts.append(
                f'<line class="rule" x1="{self.grid - 12:.1f}" x2="{self.right:.1f}" '
                f'y1="{y:.1f}" y2="{y:.1f}"/>'
            )
            parts.append(
                f"<g><title>{escape(_about(row))}</title>"
                + _text(_PAD, y - 2 if shown else y + size * 0.35, name, size)
                + (_text(_PAD, y + 13, role, _SMALL, "mute") if shown else "")
                + "</g>"
            )
            if self.has_bars:
                parts.append(self._bar(row, y, most))
        return parts

    def _bar(self, row: Row, y: float, most: int) -> str:
        x, high = self.right + 22, min(12.0, self.row_height * 0.5)
        if row.tokens is None:
            return _text(x, y + 4, "unknown", _SMALL, "mute")
        long = _BAR_ROOM * row.tokens / most if most else 0.0
        return (
            f'<rect class="bar" x="{x:.1f}" y="{y - high / 2:.1f}" width="{max(long, 1.5):.1f}" '
            f'height="{high:.1f}" rx="3"/>'
            + _text(x + max(long, 1.5) + 7, y + 4, f"{row.tokens:,}", _SMALL, "mute")
        )

    def _lane(self, lane: Lane) -> str:
        x, mode = self.lane_x[lane.id], lane.edge.mode
        ys = sorted(self.row_y[name] for name in lane.edge.members)
        parts = [f"<title>{escape(lane.sentence)}</title>"]
        if len(ys) > 1:
            parts.append(
                f'<line class="string {mode}" x1="{x:.1f}" x2="{x:.1f}" '
                f'y1="{ys[0]:.1f}" y2="{ys[-1]:.1f}"/>'
            )
        half = min(self.bead + 5, self.pitch * 0.42)
        runs = [[ys[0]]]
        for y in ys[1:]:
            if y - runs[-1][-1] > self.row_height * 1.5:
                runs.append([])
            runs[-1].append(y)
        parts += [
            f'<rect class="hull {mode}" x="{x - half:.1f}" y="{run[0] - half:.1f}" '
            f'width="{2 * half:.1f}" height="{run[-1] - run[0] + 2 * half:.1f}" rx="{half:.1f}"/>'
            for run in runs
        ]
        for name in lane.edge.members:
            parts.append(_bead(x, self.row_y[name], self.bead, mode, lane.marks[name]))
        return f"<g{' class=' + chr(34) + 'skip' + chr(34) if lane.skipped else ''}>" + (
            "".join(parts) + "</g>"
        )

    def _foot(self, y: float) -> tuple[list[str], float]:
        """Weights and agreement under the columns, where columns are wide enough."""
        parts: list[str] = []
        lines = []
        if self.has_weights:
            lines.append(("weight", lambda lane: f"{lane.edge.weight:.2f}"))
        if self.has_boards:
            lines.append(
                (
                    "agreement",
                    lambda lane: (
                        "–" if lane.skipped or lane.board is None else f"{lane.board.agreement:.0%}"
                    ),
                )
            )
        if self.pitch < 32:
            return parts, y
        for label, value in lines:
            y += 16
            parts.append(_text(self.grid - 12, y, label, 11, "mute", "end"))
            parts += [
                _text(self.lane_x[lane.id], y, value(lane), 10.5, "mute", "middle")
                for lane in self.view.lanes
            ]
        return parts, y + (6 if lines else 0)

    def _bench(self, y: float) -> tuple[list[str], float]:
        names = self.view.benched
        if not names:
            return [], y
        y += 30
        x = _PAD + 70.0
        start, parts = x, [_text(_PAD, y, "benched", 12.5, "mute", bold=True)]
        for name in names[:_MAX_CHIPS]:
            label = fit(clean(name), 12, 150)
            w = width(label, 12) + 18
            if x + w > self.width - _PAD and x > start:
                x, y = start, y + 28
            parts.append(
                f'<g opacity=".62"><title>{escape(name)}: in no group, never called</title>'
                f'<rect class="chip" x="{x:.1f}" y="{y - 16:.1f}" width="{w:.1f}" height="23" '
                f'rx="11.5"/>' + _text(x + w / 2, y, label, 12, "mute", "middle") + "</g>"
            )
            x += w + 7
        if len(names) > _MAX_CHIPS:
            if x + 90 > self.width - _PAD:
                x, y = start, y + 28
            parts.append(_text(x, y, f"and {len(names) - _MAX_CHIPS} more", 12, "mute"))
        return parts, y + 8

    def _legend(self, y: float) -> tuple[list[str], float]:
        used = [m for m in MODES if any(lane.edge.mode == m for lane in self.view.lanes)]
        items = [(mode, "seat", mode) for mode in used]
        if self.has_boards and used:
            items += [
                (used[0], "same", "gave the final answer"),
                (used[0], "other", "another answer"),
                (used[0], "none", "no answer"),
            ]
        if any(lane.skipped for lane in self.view.lanes):
            items.append((used[0], "idle", "dim: not opened"))
        y += 26
        x, parts = float(_PAD), []
        for mode, mark, label in items:
            w = 22 + width(label, 12) + 18
            if x + w > self.width - _PAD and x > _PAD:
                x, y = float(_PAD), y + 22
            parts.append(_bead(x + 7, y - 4, 6.5, mode, mark))
            parts.append(_text(x + 20, y, label, 12, "mute"))
            x += w
        return parts, y


def _bead(x: float, y: float, r: float, mode: str, mark: str) -> str:
    """Circle, diamond or square by mode; hollow or crossed by what the member said."""
    style = f'class="bead {mode}{" open" if mark in ("other", "none", "idle") else ""}"'
    if mode == "verify":
        d = r * 1.25
        corners = f"M{x:.1f} {y - d:.1f}l{d:.1f} {d:.1f}l{-d:.1f} {d:.1f}l{-d:.1f} {-d:.1f}z"
        shape = f'<path {style} d="{corners}"/>'
    elif mode == "decide":
        d = r * 0.9
        shape = (
            f'<rect {style} x="{x - d:.1f}" y="{y - d:.1f}" width="{2 * d:.1f}" '
            f'height="{2 * d:.1f}" rx="1.5"/>'
        )
    else:
        shape = f'<circle {style} cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}"/>'
    if mark == "none":
        d = r * 0.42
        shape += (
            f'<path class="bead {mode}" d="M{x - d:.1f} {y - d:.1f}l{2 * d:.1f} {2 * d:.1f}'
            f'm0 {-2 * d:.1f}l{-2 * d:.1f} {2 * d:.1f}"/>'
        )
    return shape


def _about(row: Row) -> str:
    words = row.name + (f", {row.role}" if row.role else "")
    return words + (f": {row.tokens:,} tokens" if row.tokens is not None else "")


def _text(
    x: float,
    y: float,
    text: str,
    size: float,
    tone: str = "ink",
    anchor: str = "",
    *,
    bold: bool = False,
) -> str:
    extra = f' text-anchor="{anchor}"' if anchor else ""
    extra += ' font-weight="600"' if bold else ""
    return (
        f'<text class="{tone}" x="{x:.1f}" y="{y:.1f}" font-size="{size:g}"{extra}>'
        f"{escape(text)}</text>"
    )
