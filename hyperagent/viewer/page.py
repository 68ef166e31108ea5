"""One self-contained HTML page: the picture, the same in tables, and the boards.

It holds no script, loads nothing and forbids both by its own content policy, so text of a
model can do nothing on it. Boards are ``details`` elements: they open by keyboard.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hyperagent.hypergraph import Hypergraph
from hyperagent.viewer.picture import draw
from hyperagent.viewer.text import escape
from hyperagent.viewer.view import Lane, ResultLike, View, look

_CLOSED_BY = {
    "gate": "enough agreement",
    "rounds": "end of the rounds",
    "skipped": "not opened",
}

_STYLE = """
:root{color-scheme:light dark;--bg:#fff;--ink:#1b2027;--mute:#5b6573;--line:#d9dee5;
--card:#f3f5f8;--accent:#0072B2}
@media (prefers-color-scheme:dark){:root{--bg:#10151c;--ink:#e8ecf1;--mute:#a3adba;
--line:#323c49;--card:#1a212b;--accent:#56B4E9}}
*{box-sizing:border-box}
body{margin:0 auto;padding:2rem clamp(1rem,4vw,3rem) 4rem;max-width:78rem;background:var(--bg);
color:var(--ink);font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif}
h1{font-size:1.55rem;line-height:1.25;margin:0 0 .2rem;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2.4rem 0 .7rem}
p.sub{margin:0;color:var(--mute)}
a{color:var(--accent)}
.facts{display:flex;flex-wrap:wrap;gap:.7rem;margin:1.4rem 0 0;padding:0;list-style:none}
.facts div{background:var(--card);border-radius:10px;padding:.55rem .95rem;min-width:6.5rem}
.facts dt{color:var(--mute);font-size:.82rem}
.facts dd{margin:0;font-size:1.2rem;font-weight:600;overflow-wrap:anywhere}
figure{margin:1.6rem 0 0;overflow-x:auto;border:1px solid var(--line);border-radius:12px}
figure svg{display:block;margin:0 auto}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.95rem}
th,td{text-align:left;vertical-align:top;padding:.4rem .8rem .4rem 0;
border-bottom:1px solid var(--line)}
th{color:var(--mute);font-weight:600;font-size:.85rem}
td{overflow-wrap:anywhere} td.n,th.n{text-align:right;padding-right:1.7rem;
font-variant-numeric:tabular-nums}
.dim{color:var(--mute)}
details{border:1px solid var(--line);border-radius:10px;margin:.55rem 0;padding:0 .95rem}
summary{cursor:pointer;padding:.6rem 0;font-weight:600;overflow-wrap:anywhere}
summary span{color:var(--mute);font-weight:400}
details details{border:0;margin:0;padding:0}
details details summary{padding:.15rem 0;font-weight:400;color:var(--accent)}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--card);border-radius:8px;
padding:.7rem .9rem;margin:.3rem 0 .5rem;font:13.5px/1.5 ui-monospace,'Cascadia Mono',
Menlo,Consolas,monospace}
ul.plain{margin:0;padding-left:1.1rem}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px;border-radius:6px}
@media print{details:not([open])>*{display:block}}
"""


def html(
    hypergraph: Hypergraph,
    *,
    title: str = "",
    roles: Mapping[str, str] | None = None,
    result: ResultLike | None = None,
) -> str:
    """Page about a design and, with `result`, about what the team did.

    Parameters
    ----------
    hypergraph : Hypergraph
    title : str
        Heading, e.g. the question.
    roles : mapping of str to str, optional
        Role of each node or agent.
    result : Result, optional
        Adds the answer, the totals, the tokens of each agent and every board.

    Returns
    -------
    str
        A complete HTML document that needs no network and no script. All text is escaped.
    """
    view = look(hypergraph, title=title, roles=roles, result=result)
    heading = title or "Agents and their groups"
    parts = [
        f"<h1>{_isolated(heading)}</h1>",
        f'<p class="sub">{escape(view.summary)}</p>',
        _facts(view),
        '<figure tabindex="0" role="region" aria-label="Picture of the topology">',
        draw(view, head=False),
        "</figure>",
        _groups(view),
        _agents(view),
        _boards(view),
        _errors(view),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
        "form-action 'none'\">\n"
        f"<title>{escape(heading)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _isolated(text: object) -> str:
    """Escaped text whose writing direction cannot disturb its neighbours."""
    return f"<bdi>{escape(text)}</bdi>"


def _facts(view: View) -> str:
    rows = "".join(
        f"<div><dt>{escape(label)}</dt><dd>{_isolated(value)}</dd></div>"
        for label, value in view.facts
    )
    return f'<dl class="facts">{rows}</dl>' if rows else ""


def _table(head: Sequence[str], rows: Iterable[Iterable[str]], numbers: frozenset[int]) -> str:
    """Table of cells that are HTML already; columns in `numbers` are right-aligned."""
    number = [' class="n"' if i in numbers else "" for i in range(len(head))]
    top = "".join(f'<th scope="col"{number[i]}>{escape(h)}</th>' for i, h in enumerate(head))
    body = "".join(
        "<tr>" + "".join(f"<td{number[i]}>{cell}</td>" for i, cell in enumerate(row)) + "</tr>\n"
        for row in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody>'
        "</table></div>"
    )


def _names(names: Iterable[str]) -> str:
    return ", ".join(_isolated(name) for name in names)


def _groups(view: View) -> str:
    head, numbers = ["group", "phase", "mode", "members", "weight"], {1, 4}
    if view.result is not None:
        head += ["agreement", "rounds", "closed by"]
        numbers |= {5, 6}
    rows = []
    for lane in view.lanes:
        edge, board = lane.edge, lane.board
        row = [lane.id, str(edge.phase), edge.mode, _names(edge.members), f"{edge.weight:.2f}"]
        if view.result is not None:
            row += ["–"] * 3 if board is None else _fate(lane)
        rows.append(row)
    return "<h2>Groups</h2>\n" + (
        _table(head, rows, frozenset(numbers)) if rows else '<p class="sub">No group.</p>'
    )


def _fate(lane: Lane) -> list[str]:
    board = lane.board
    how = escape(_CLOSED_BY.get(board.closed_by, board.closed_by))
    if lane.skipped:
        return ["–", "–", how]
    return [f"{board.agreement:.0%}", str(board.rounds), how]


def _agents(view: View) -> str:
    where: dict[str, list[str]] = {row.name: [] for row in view.rows}
    for lane in view.lanes:
        for name in lane.edge.members:
            where[name].append(lane.id)
    head = ["agent", "role", "groups"] + (["tokens"] if view.result is not None else [])
    rows = []
    for row in view.rows:
        cells = [_isolated(row.name), _isolated(row.role), ", ".join(where[row.name])]
        if view.result is not None:
            cells.append("–" if row.tokens is None else f"{row.tokens:,}")
        rows.append(cells)
    out = "<h2>Agents</h2>\n" + _table(head, rows, frozenset({3}))
    if view.benched:
        out += f'\n<p class="dim">Benched, never called: {_names(view.benched)}</p>'
    return out


def _boards(view: View) -> str:
    boards = [lane for lane in view.lanes if lane.board is not None and lane.board.notes]
    if not boards:
        return ""
    parts = ["<h2>Boards</h2>"]
    for lane in boards:
        how = _CLOSED_BY.get(lane.board.closed_by, lane.board.closed_by)
        line = f"phase {lane.edge.phase}, {lane.edge.mode}, closed by {how}"
        rows = [_note(note) for note in lane.board.notes]
        table = _table(["author", "round", "answer", "confidence", "note"], rows, frozenset({1, 3}))
        # Many boards would bury the page; the first ones stand open.
        state = " open" if lane.id in {b.id for b in boards[:3]} else ""
        parts.append(
            f"<details{state}><summary>{lane.id}: {_names(lane.edge.members)} "
            f"<span>· {escape(line)}</span></summary>\n{table}\n</details>"
        )
    return "\n".join(parts)


def _note(note: Any) -> list[str]:
    said = "".join(f"<li>{_isolated(fact)}</li>" for fact in note.facts)
    body = f'<ul class="plain">{said}</ul>' if said else ""
    if note.error:
        body += f'<p class="sub">failed: {_isolated(note.error)}</p>'
    if note.text:
        body += (
            "<details><summary>private work</summary>"
            f'<pre dir="auto">{escape(note.text)}</pre></details>'
        )
    return [
        _isolated(note.author),
        str(note.round),
        '<span class="dim">none</span>' if note.answer is None else _isolated(note.answer),
        "–" if note.confidence is None else f"{note.confidence:.0%}",
        body,
    ]


def _errors(view: View) -> str:
    errors = getattr(view.result, "errors", ())
    if not errors:
        return ""
    rows = "".join(f"<li>{_isolated(error)}</li>" for error in errors)
    return f'<h2>Failed calls</h2>\n<ul class="plain">{rows}</ul>'
