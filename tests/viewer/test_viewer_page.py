"""The HTML page and the terminal view: complete, self-contained, harmless."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console
from test_viewer_picture import HOSTILE

from hyperagent import viewer
from hyperagent.hypergraph import Hypergraph, anchors, build_anchor
from hyperagent.llm import FunctionBackend
from hyperagent.team import Agent, Team

VOID = {"meta", "br", "hr", "img", "input", "link", "rect", "circle", "path", "line"}


class Reader(HTMLParser):
    """Tags, attributes and visible text; fails on tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("name", anchors.names())
def test_a_page_for_every_anchor(name: str) -> None:
    graph = build_anchor(name, [f"agent{i}" for i in range(7)])
    page = Reader(viewer.html(graph, title=f"The {name}"))
    assert page.tags.count("h1") == 1
    assert page.tags.count("svg") == 1
    for node in graph.nodes:
        assert node in page.text
    # The tables are the text alternative: one row a group and one a seated agent.
    assert page.tags.count("tr") == 2 + len(graph.edges) + len(graph.seated())


def test_the_page_is_self_contained_and_scriptless(graph: Hypergraph, make_result) -> None:
    text = viewer.html(graph, title="t", result=make_result())
    page = Reader(text)
    assert {"script", "link", "img", "iframe", "object", "embed", "base", "form"}.isdisjoint(
        page.tags
    )
    assert not [k for k, _ in page.attributes if k in ("src", "href", "action", "style")]
    urls = set(re.findall(r"https?://[^\s\"'<]+", text))
    assert urls == {"http://www.w3.org/2000/svg"}
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text
    assert "prefers-color-scheme:dark" in text
    assert text.startswith("<!doctype html>")
    assert '<html lang="en">' in text


def test_the_page_can_be_used_by_keyboard(graph: Hypergraph, make_result) -> None:
    text = viewer.html(graph, result=make_result())
    page = Reader(text)
    assert page.tags.count("details") == page.tags.count("summary") > 0
    assert ("tabindex", "0") in page.attributes
    assert ":focus-visible" in text
    assert ("scope", "col") in page.attributes


def test_the_page_tells_the_whole_result(graph: Hypergraph, make_result) -> None:
    page = Reader(viewer.html(graph, title="clips?", result=make_result("a fact")))
    for words in (
        "clips?",
        "72",
        "97%",
        "1,456 + 1 call of unknown length",
        "4",
        "vote",
        "a fact",
        "48 + 24",
        "work: a fact",
        "25%",
        "enough agreement",
        "end of the rounds",
        "not opened",
        "BadReply: a fact",
        "Benched, never called: gil",
        "814",
        "0.91",
    ):
        assert words in page.text, words


@pytest.mark.parametrize("word", HOSTILE)
def test_no_model_text_becomes_markup(word: str, graph: Hypergraph, make_result) -> None:
    plain = Reader(viewer.html(graph, title="t", roles={"ann": "r"}, result=make_result()))
    text = viewer.html(graph, title=word, roles={"ann": word}, result=make_result(word))
    page = Reader(text)
    assert page.tags == plain.tags
    assert [k for k, _ in page.attributes] == [k for k, _ in plain.attributes]
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e]", text)
    text.encode()


def show(renderable: object, width: int = 100) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system="truecolor", force_terminal=True).print(renderable)
    return re.sub("\x1b\\[[0-9;]*m", "", out.getvalue())


@pytest.mark.parametrize("n", [1, 5, 12])
@pytest.mark.parametrize("name", anchors.names())
def test_a_terminal_view_for_every_anchor(name: str, n: int) -> None:
    graph = build_anchor(name, [f"agent{i}" for i in range(n)])
    text = show(viewer.terminal(graph, title=name), 160)
    assert all(node in text for node in graph.nodes)
    seats = sum(len(e.members) for e in graph.edges)
    if len(graph.edges) <= 24:
        modes = {e.mode for e in graph.edges}
        assert sum(text.count(g) for g in "●◆■") == seats + len(modes)
    else:
        assert all(f"e{i}" in text for i in range(len(graph.edges)))


def test_the_terminal_view_tells_the_result(graph: Hypergraph, make_result) -> None:
    text = show(
        viewer.terminal(graph, title="clips?", roles={"ann": "solver"}, result=make_result())
    )
    for words in ("clips?", "solver", "72", "97%", "814", "67%", "benched: gil", "1,456", "?"):
        assert words in text
    assert "○" in text
    assert "×" in text


@pytest.mark.parametrize("word", [*HOSTILE, "[bold red]no[/] [link=http://x]y[/link]"])
def test_terminal_codes_and_markup_are_shown_not_obeyed(
    word: str, graph: Hypergraph, make_result
) -> None:
    text = show(viewer.terminal(graph, title=word, roles={"ann": word}, result=make_result(word)))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    if "[bold" in word:
        assert "[bold red]no[/]" in text


@pytest.mark.parametrize("topology", ["self_consistency:k=3", "pair", "group", "cascade"])
def test_the_result_of_a_real_team_is_shown(topology: str) -> None:
    reply = "48 + 24 = 72\nNOTE\nanswer: 72\nconfidence: 0.9\nfact: half of 48 is 24"
    team = Team(
        [Agent("ann"), Agent("ben", role="verifier"), Agent("cy")],
        topology=topology,
        backend=FunctionBackend(lambda request: reply),
    )
    result = team.solve_sync("48 clips, then half as many. How many clips?")
    roles = {"ann": "solver"}
    page = Reader(viewer.html(result.topology, title="clips", roles=roles, result=result))
    assert "half of 48 is 24" in page.text
    assert f"{result.usage.total_tokens:,}" in page.text
    text = show(viewer.terminal(result.topology, result=result))
    assert "answer 72" in text
    assert "answer 72" in viewer.svg(result.topology, result=result)
