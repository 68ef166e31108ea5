"""The data type: validation, canonical form, digest, matrices."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest
from hypergraph_strategies import hypergraphs
from hypothesis import assume, given
from hypothesis import strategies as st

from hyperagent.errors import HyperagentError, HypergraphError
from hyperagent.hypergraph import MODES, Hyperedge, Hypergraph, agent_of


def meaning(graph: Hypergraph) -> tuple:
    """What a topology says, written without the canonical form: the test's own reference."""
    weights: dict = {}
    for edge in graph.edges:
        key = (edge.phase, edge.mode, frozenset(edge.members))
        weights[key] = max(weights.get(key, 0), edge.weight)
    return frozenset(graph.nodes), frozenset(weights.items())


@given(hypergraphs(), st.randoms(use_true_random=False), st.booleans())
def test_any_spelling_has_one_digest(graph: Hypergraph, draw: random.Random, twice: bool) -> None:
    nodes = draw.sample(graph.nodes, len(graph.nodes))
    edges = [
        Hyperedge(tuple(draw.sample(e.members, len(e.members))), e.mode, e.phase, e.weight)
        for e in draw.sample(graph.edges, len(graph.edges))
    ]
    if edges and twice:
        edges.insert(draw.randrange(len(edges) + 1), draw.choice(edges))
    other = Hypergraph(tuple(nodes), tuple(edges))
    assert other.digest() == graph.digest()
    assert other.canonical() == graph.canonical()


@given(hypergraphs())
def test_canonical_is_a_fixed_point_and_keeps_the_meaning(graph: Hypergraph) -> None:
    once = graph.canonical()
    assert meaning(once) == meaning(graph)
    assert once.canonical() == once
    assert list(once.nodes) == sorted(once.nodes)
    assert all(list(e.members) == sorted(e.members) for e in once.edges)


@given(hypergraphs(max_nodes=3, max_edges=3), hypergraphs(max_nodes=3, max_edges=3))
def test_different_topologies_differ(one: Hypergraph, two: Hypergraph) -> None:
    assert (one.digest() == two.digest()) == (meaning(one) == meaning(two))


@given(hypergraphs(), st.data())
def test_every_field_enters_the_digest(graph: Hypergraph, data: st.DataObject) -> None:
    graph = graph.canonical()
    assume(graph.edges)
    at = data.draw(st.integers(0, len(graph.edges) - 1))
    edge = graph.edges[at]
    changed = [
        Hyperedge(edge.members, edge.mode, edge.phase + 100, edge.weight),
        Hyperedge(edge.members, edge.mode, edge.phase, edge.weight + 0.5),
        *(Hyperedge(edge.members, m, edge.phase + 100) for m in MODES),
    ]
    digests = {graph.digest()}
    for new in changed:
        edges = (*graph.edges[:at], new, *graph.edges[at + 1 :])
        digests.add(graph.with_edges(edges).digest())
    digests.add(graph.with_edges(graph.edges[:at] + graph.edges[at + 1 :]).digest())
    digests.add(Hypergraph((*graph.nodes, "one more node"), graph.edges).digest())
    # The two spellings of (mode, phase + 100) meet once, for the edge's own mode and weight 1.
    assert len(digests) >= 7
    assert graph.digest() not in digests - {graph.digest()}


def test_many_random_hypergraphs_never_collide() -> None:
    draw = random.Random(0)
    nodes = tuple("abcdefgh")
    seen: dict[str, tuple] = {}
    for _ in range(3000):
        edges = tuple(
            Hyperedge(tuple(draw.sample(nodes, draw.randint(1, 4))), draw.choice(MODES))
            for _ in range(draw.randint(0, 3))
        )
        graph = Hypergraph(nodes, edges)
        assert seen.setdefault(graph.digest(), meaning(graph)) == meaning(graph)
    assert len(seen) > 1500


def test_the_digest_is_the_same_in_every_release() -> None:
    graph = Hypergraph(("bob", "ann", "éva"), (Hyperedge(("bob", "ann"), "verify", 1, 0.5),))
    assert graph.digest() == ("3e397f6212e10ef7b14fdb1d337634afb566c01b4ab7a4f356367993917b341b")


def test_canonical_form_and_digest_of_a_big_team_are_fast() -> None:
    draw = random.Random(1)
    nodes = tuple(f"agent{i:04d}" for i in draw.sample(range(1000), 1000))
    edges = tuple(Hyperedge(tuple(draw.sample(nodes, 16)), phase=i % 4) for i in range(64))
    spent = []
    for _ in range(3):
        graph = Hypergraph(nodes, edges)
        start = time.process_time()
        graph.digest()
        spent.append(time.process_time() - start)
    assert min(spent) < 0.050


BAD_EDGES = {
    "string members": ({"members": "ann"}, "'ann'"),
    "no members": ({"members": ()}, "at least one member"),
    "empty member": ({"members": ("ann", " ")}, "' '"),
    "number as member": ({"members": ("ann", 3)}, "3"),
    "member twice": ({"members": ("ann", "bob", "ann")}, "'ann'"),
    "bad mode": ({"members": ("ann",), "mode": "shout"}, "'shout'"),
    "negative phase": ({"members": ("ann",), "phase": -1}, "-1"),
    "bool phase": ({"members": ("ann",), "phase": True}, "True"),
    "float phase": ({"members": ("ann",), "phase": 1.0}, "1.0"),
    "nan weight": ({"members": ("ann",), "weight": float("nan")}, "nan"),
    "infinite weight": ({"members": ("ann",), "weight": float("inf")}, "inf"),
    "zero weight": ({"members": ("ann",), "weight": 0}, "0"),
    "bool weight": ({"members": ("ann",), "weight": True}, "True"),
    "string weight": ({"members": ("ann",), "weight": "2"}, "'2'"),
}


@pytest.mark.parametrize("case", BAD_EDGES)
def test_a_bad_hyperedge_is_named(case: str) -> None:
    arguments, offender = BAD_EDGES[case]
    with pytest.raises(HypergraphError) as caught:
        Hyperedge(**arguments)
    assert offender in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, HyperagentError)


BAD_GRAPHS = {
    "string nodes": (("ann", ()), "'ann'"),
    "duplicate node": ((("ann", "bob", "ann"), ()), "'ann'"),
    "empty node": ((("ann", ""), ()), "''"),
    "number as node": ((("ann", 7), ()), "7"),
    "no hyperedge": ((("ann",), (("ann",),)), "Hyperedge"),
    "unknown member": ((("ann",), (Hyperedge(("ann", "eve")),)), "'eve'"),
}


@pytest.mark.parametrize("case", BAD_GRAPHS)
def test_a_bad_hypergraph_is_named(case: str) -> None:
    arguments, offender = BAD_GRAPHS[case]
    with pytest.raises(HypergraphError) as caught:
        Hypergraph(*arguments)
    assert offender in str(caught.value)


def test_an_unknown_member_of_a_big_team_gives_a_short_message() -> None:
    nodes = tuple(f"a{i}" for i in range(1000))
    with pytest.raises(HypergraphError) as caught:
        Hypergraph(nodes, (Hyperedge(("eve",)),))
    assert len(str(caught.value)) < 300


@given(hypergraphs())
def test_incidence_round_trip(graph: Hypergraph) -> None:
    matrix = graph.incidence()
    assert matrix.shape == (len(graph.nodes), len(graph.edges))
    assert matrix.sum() == sum(len(e.members) for e in graph.edges)
    back = Hypergraph.from_incidence(
        matrix,
        graph.nodes,
        modes=[e.mode for e in graph.edges],
        phases=[e.phase for e in graph.edges],
        weights=[e.weight for e in graph.edges],
    )
    assert back.digest() == graph.digest()


def test_incidence_by_hand() -> None:
    graph = Hypergraph(("a", "b", "c"), (Hyperedge(("c", "a")), Hyperedge(("b",))))
    assert graph.incidence().tolist() == [[1, 0], [0, 1], [1, 0]]


def test_soft_incidence_has_a_strict_threshold_and_drops_empty_columns() -> None:
    soft = np.array([[0.5, 0.9, 0.1], [0.2, 0.6, 0.3]])
    graph = Hypergraph.from_incidence(soft, "ab", weights=[1, 2, 3])
    assert graph.edges == (Hyperedge(("a", "b"), weight=2),)
    assert len(Hypergraph.from_incidence(soft, "ab", threshold=0.05).edges) == 3


@pytest.mark.parametrize(
    ("matrix", "options", "offender"),
    [
        ([[1.0], [0.0], [1.0]], {}, "(3, 1)"),
        ([1.0, 0.0], {}, "(2,)"),
        ([[float("nan")], [1.0]], {}, "NaN"),
        ([[1.0], [1.0]], {"modes": ["discuss", "verify"]}, "modes"),
        ([[1.0], [1.0]], {"phases": []}, "phases"),
        ([[1.0], [1.0]], {"weights": [-1.0]}, "-1.0"),
    ],
)
def test_a_bad_incidence_matrix_is_named(matrix: list, options: dict, offender: str) -> None:
    with pytest.raises(HypergraphError) as caught:
        Hypergraph.from_incidence(matrix, ("a", "b"), **options)
    assert offender in str(caught.value)


@given(hypergraphs())
def test_everybody_is_seated_or_benched(graph: Hypergraph) -> None:
    assert sorted(graph.seated() + graph.benched()) == sorted(graph.nodes)
    assert set(graph.seated()) == {m for e in graph.edges for m in e.members}
    assert [n for n in graph.nodes if n in graph.seated()] == list(graph.seated())


@given(hypergraphs())
def test_phases_ascend_and_hold_every_edge(graph: Hypergraph) -> None:
    phases = graph.phases()
    assert [n for n, _ in phases] == sorted({e.phase for e in graph.edges})
    assert sorted((e.key for _, group in phases for e in group)) == sorted(
        e.key for e in graph.edges
    )


@given(hypergraphs())
def test_clique_expansion_has_the_pairs_that_share_a_group(graph: Hypergraph) -> None:
    expanded = graph.clique_expansion()
    assert all(len(e.members) <= 2 for e in expanded.edges)
    want = {
        (e.phase, e.mode, frozenset((a, b)))
        for e in graph.edges
        for a in e.members
        for b in e.members
        if a != b or len(e.members) == 1
    }
    assert {(e.phase, e.mode, frozenset(e.members)) for e in expanded.edges} == want
    assert expanded.seated() == graph.seated()


@pytest.mark.parametrize(
    ("node", "agent", "sample"),
    [
        ("ann", "ann", 0),
        ("ann#2", "ann", 2),
        ("a#b#10", "a#b", 10),
        ("#3", "#3", 0),
        ("ann#", "ann#", 0),
        ("ann#x", "ann#x", 0),
        ("ann#-1", "ann#-1", 0),
        ("ann#²", "ann#²", 0),
    ],
)
def test_agent_of(node: str, agent: str, sample: int) -> None:
    assert agent_of(node) == (agent, sample)
