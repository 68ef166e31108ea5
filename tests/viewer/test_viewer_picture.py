"""The SVG picture: well-formed, complete, safe, legible."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperagent import viewer
from hyperagent.hypergraph import Hyperedge, Hypergraph, anchors, build_anchor
from hyperagent.viewer.picture import COLOURS
from hyperagent.viewer.text import clean, escape, fit, one_line, width

SVG = "{http://www.w3.org/2000/svg}"
NAMES = [f"agent {chr(65 + i)}" for i in range(24)]
OKABE_ITO = {"#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#009E73", "#CC79A7", "#F0E442"}


def parse(text: str) -> ET.Element:
    return ET.fromstring(text.encode())


def classes(root: ET.Element) -> Counter[str]:
    return Counter(c for e in root.iter() for c in (e.get("class") or "").split())


@pytest.mark.parametrize("n", [1, 4, 12, 24])
@pytest.mark.parametrize("name", anchors.names())
def test_every_anchor_is_drawn_whole(name: str, n: int) -> None:
    graph = build_anchor(name, NAMES[:n])
    root = parse(viewer.svg(graph, title=name))
    words = [e.text for e in root.iter(f"{SVG}text")]
    assert all(node in words for node in graph.nodes)
    # Beads of seats, and one of each mode in the legend.
    modes = {e.mode for e in graph.edges}
    assert classes(root)["bead"] == sum(len(e.members) for e in graph.edges) + len(modes)
    assert classes(root)["band"] == len(graph.phases())
    assert classes(root)["chip"] == len(graph.benched())
    assert words[0] == name
    titles = [e.text for e in root.iter(f"{SVG}title")]
    assert all(any(t.startswith(f"e{i}: ") for t in titles) for i in range(len(graph.edges)))


def test_everything_is_inside_the_picture() -> None:
    for name in anchors.names():
        for n in (1, 4, 12, 24):
            root = parse(viewer.svg(build_anchor(name, NAMES[:n])))
            wide, high = float(root.get("width")), float(root.get("height"))
            for e in root.iter():
                for key, most in (("x", wide), ("cx", wide), ("y", high), ("cy", high)):
                    assert 0 <= float(e.get(key, 0)) <= most
                if e.tag == f"{SVG}rect":
                    assert float(e.get("x", 0)) + float(e.get("width")) <= wide + 0.1
                    assert float(e.get("y", 0)) + float(e.get("height")) <= high + 0.1


def test_modes_differ_in_shape_and_in_words_not_only_in_colour(graph: Hypergraph) -> None:
    root = parse(viewer.svg(graph))
    shapes = {}
    for e in root.iter():
        kinds = (e.get("class") or "").split()
        if "bead" in kinds:
            shapes.setdefault(kinds[1], set()).add(e.tag.removeprefix(SVG))
    assert shapes == {"discuss": {"circle"}, "verify": {"path"}, "decide": {"rect"}}
    words = {e.text for e in root.iter(f"{SVG}text")}
    assert {"discuss", "verify", "decide"} <= words


def test_colours_are_of_the_palette_and_both_schemes_are_served(graph: Hypergraph) -> None:
    assert {c for pair in COLOURS.values() for c in pair} - OKABE_ITO <= {"#2FBF97"}
    assert "prefers-color-scheme:dark" in viewer.svg(graph)


def test_weights_roles_and_result_are_shown(graph: Hypergraph, make_result) -> None:
    roles = {"ann": "solver", "cleo": "critic"}
    text = viewer.svg(graph, title="T", roles=roles, result=make_result())
    words = [e.text for e in parse(text).iter(f"{SVG}text")]
    assert {"0.91", "1.00", "67%", "solver", "critic", "814", "641", "unknown"} <= set(words)
    assert any("answer 72" in w and "1,456 + 1 call of unknown length" in w for w in words)
    kinds = classes(parse(text))
    assert kinds["skip"] == 1
    assert kinds["open"] > 0


def test_beads_say_who_gave_the_final_answer(graph: Hypergraph, make_result) -> None:
    from hyperagent.viewer.view import look

    one, two, three = look(graph, result=make_result()).lanes
    assert one.marks == {"ann": "same", "ben": "other", "cleo": "none"}
    assert two.marks == {"cleo": "same", "dan": "same"}
    assert three.marks == {"ann": "idle", "dan": "idle"}


def test_samples_of_an_agent_have_its_role_and_their_own_tokens() -> None:
    from types import SimpleNamespace

    from hyperagent.llm.ledger import Ledger, LedgerRow
    from hyperagent.viewer.view import look

    graph = build_anchor("self_consistency:k=2", ["ann"])
    ledger = Ledger()
    for sample, tokens in ((0, 5), (1, 7)):
        row = LedgerRow(agent="ann", sample=sample, prompt_tokens=tokens, completion_tokens=0)
        ledger.record(row)
    result = SimpleNamespace(
        answer=None, posterior=0.0, boards=(), ledger=ledger, finish="no answer", seconds=0
    )
    view = look(graph, roles={"ann": "solver"}, result=result)
    assert [(r.name, r.role, r.tokens) for r in view.rows] == [
        ("ann", "solver", 5),
        ("ann#1", "solver", 7),
    ]
    assert "no answer" in viewer.svg(graph, result=result)


def test_a_thousand_agents_make_a_small_picture() -> None:
    nodes = [f"agent{i}" for i in range(1000)]
    edges = tuple(Hyperedge(tuple(nodes[j * 5 % 80] for j in range(i, i + 5))) for i in range(64))
    text = viewer.svg(Hypergraph(tuple(nodes), edges))
    root = parse(text)
    assert re.search(r"and \d+ more", text)
    assert classes(root)["chip"] == 40
    assert len(text) < 400_000
    assert float(root.get("height")) < 3000


def test_no_groups_at_all() -> None:
    assert "no groups" in viewer.svg(Hypergraph(("ann",)))
    parse(viewer.svg(Hypergraph(())))


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "]]><svg onload=alert(1)>",
    "</title></style><style>*{display:none}",
    "' onmouseover='alert(1)",
    "&lt;b&gt; & &#x3C;script&#x3E;",
    "javascript:alert(1)",
    "nul \x00 bell \x07 escape \x1b[31m \x9b31m",
    "bidi \u202e\u2066 override",
    "lone \ud800 surrogate",
]


@pytest.mark.parametrize("word", HOSTILE)
def test_no_text_can_leave_its_element(word: str, graph: Hypergraph, make_result) -> None:
    plain = parse(viewer.svg(graph, title="t", roles={"ann": "r"}, result=make_result()))
    text = viewer.svg(graph, title=word, roles={"ann": word}, result=make_result(word))
    root = parse(text)
    assert [e.tag for e in root.iter()] == [e.tag for e in plain.iter()]
    assert not [k for e in root.iter() for k in e.attrib if k.lower().startswith("on")]
    named = Hypergraph((word, "b"), (Hyperedge((word, "b")),))
    assert Counter(e.tag for e in parse(viewer.svg(named)).iter())[f"{SVG}script"] == 0


@settings(max_examples=150)
@given(st.text(st.characters(), max_size=30))
def test_any_text_gives_well_formed_xml(word: str) -> None:
    name = word if word.strip() else "x"
    root = parse(viewer.svg(Hypergraph((name,), (Hyperedge((name,)),)), title=word))
    title = root.find(f"{SVG}title")
    if word:
        assert title.text == clean(word)


@given(st.text(max_size=40))
def test_escaped_text_holds_no_markup(text: str) -> None:
    out = escape(text)
    assert not re.search("[<>\"'\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", out)


@given(st.text(max_size=60), st.floats(0, 300))
def test_fit_fits(text: str, room: float) -> None:
    out = fit(text, 12, room)
    assert out == text or width(out, 12) <= room or out == "…"
    assert len(one_line(text, 10)) <= 10
