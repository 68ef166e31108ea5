"""Every anchor, found by listing: a new one is tested by being registered."""

from __future__ import annotations

from math import comb

import pytest

from hyperagent.errors import ConfigError, HypergraphError, UnknownNameError
from hyperagent.hypergraph import Hypergraph, agent_of, anchors, build_anchor, parse_anchor

NODES = tuple(f"agent{i}" for i in range(12))
ROLES = {n: ("solver", "critic", "programmer")[i % 3] for i, n in enumerate(NODES)}

# name: (seats, groups, phases) of n nodes without roles; None where it is drawn.
SHAPES = {
    "single": lambda n: (1, 1, 1),
    "self_consistency": lambda n: (5, 5, 1),
    "pair": lambda n: (min(n, 2), min(n, 2), min(n, 2)),
    "group": lambda n: (n, 1, 1),
    "role_cover": lambda n: (n, 1, 1),
    "chain": lambda n: (n, max(n - 1, 1), max(n - 1, 1)),
    "star": lambda n: (n, max(n - 1, 1), 1),
    "tree": lambda n: (n, max(n // 2, 1), max(n.bit_length() - 1, 1)),
    "windows": lambda n: (n, max(n - 2, 1), 1),
    "bridge": lambda n: (n, 1 if n < 3 else 2, 1),
    "complete": lambda n: (n, max(comb(n, 2), 1), 1),
    "random": lambda n: (None, None, 1),
    "cascade": lambda n: (n, n, n),
}


def edges_of(graph: Hypergraph) -> list[tuple[tuple[str, ...], str, int]]:
    return [(e.members, e.mode, e.phase) for e in graph.edges]


def test_every_anchor_has_a_shape_here() -> None:
    assert set(anchors.names()) == set(SHAPES)


@pytest.mark.parametrize("n", range(1, 13))
@pytest.mark.parametrize("name", anchors.names())
def test_anchor_is_valid_deterministic_and_seats_the_right_nodes(name: str, n: int) -> None:
    graph = build_anchor(name, NODES[:n])
    assert graph == build_anchor(name, list(NODES[:n]))
    assert set(NODES[:n]) <= set(graph.nodes)
    assert {agent_of(node)[0] for node in graph.nodes} == set(NODES[:n])
    assert len(graph.canonical().edges) == len(graph.edges), "a group is listed twice"
    assert [p for p, _ in graph.phases()] == list(range(len(graph.phases()))), "a phase is empty"
    for got, want in zip(
        (len(graph.seated()), len(graph.edges), len(graph.phases())), SHAPES[name](n), strict=True
    ):
        assert want in (None, got)


@pytest.mark.parametrize("name", anchors.names())
@pytest.mark.parametrize("n", range(1, 13))
def test_anchor_with_roles_is_valid(name: str, n: int) -> None:
    graph = build_anchor(name, NODES[:n], roles=ROLES)
    assert {agent_of(node)[0] for node in graph.nodes} == set(NODES[:n])
    assert graph.edges


@pytest.mark.parametrize("name", sorted(set(anchors.names()) - {"self_consistency"}))
def test_one_node_alone_is_single(name: str) -> None:
    assert build_anchor(name, ["ann"]) == build_anchor("single", ["ann"])


def test_each_anchor_by_hand() -> None:
    five = tuple("abcde")
    got = {name: edges_of(build_anchor(name, five)) for name in anchors.names()}
    d = "discuss"
    assert got["single"] == [(("a",), d, 0)]
    assert got["self_consistency"] == [
        ((node,), d, 0) for node in ("a", "a#1", "a#2", "a#3", "a#4")
    ]
    assert got["pair"] == [(("a",), d, 0), (("a", "b"), "verify", 1)]
    assert got["group"] == [(five, d, 0)]
    assert got["chain"] == [((five[i], five[i + 1]), d, i) for i in range(4)]
    assert got["star"] == [(("a", x), d, 0) for x in "bcde"]
    assert got["tree"] == [(("a", "b", "c"), d, 1), (("b", "d", "e"), d, 0)]
    assert got["windows"] == [(tuple(w), d, 0) for w in ("abc", "bcd", "cde")]
    assert got["bridge"] == [(("a", "b", "d"), d, 0), (("a", "c", "e"), d, 0)]
    assert got["cascade"] == [((x,), d, i) for i, x in enumerate(five)]
    assert len(got["random"]) == 2
    assert all(len(members) == 3 for members, _, _ in got["random"])


@pytest.mark.parametrize("n", range(2, 13))
def test_a_deeper_parent_of_the_tree_meets_before_its_own_parent(n: int) -> None:
    phase = {e.members[0]: e.phase for e in build_anchor("tree", NODES[:n]).edges}
    for edge in build_anchor("tree", NODES[:n]).edges:
        assert all(phase[child] == edge.phase - 1 for child in edge.members[1:] if child in phase)


def test_self_consistency_keeps_the_others_on_the_bench() -> None:
    graph = build_anchor("self_consistency:k=3", ["ann", "bob"])
    assert graph.nodes == ("ann", "ann#1", "ann#2", "bob")
    assert graph.benched() == ("bob",)
    assert len(build_anchor("self_consistency:k=7", ["ann"]).edges) == 7


@pytest.mark.parametrize(
    ("roles", "solver", "verifier"),
    [
        (None, "a", "b"),
        ({"a": "solver", "b": "solver", "c": "Verifier"}, "a", "c"),
        ({"a": "solver", "b": "code inspector", "c": "critic"}, "a", "b"),
        ({"a": "math critic", "b": "solver"}, "b", "a"),
    ],
)
def test_pair_finds_its_verifier(roles: dict | None, solver: str, verifier: str) -> None:
    first, second = build_anchor("pair", tuple("abc"), roles=roles).edges
    assert first.members == (solver,)
    assert (second.members, second.mode) == ((solver, verifier), "verify")


def test_role_cover_takes_the_best_of_each_role() -> None:
    roles = {"a": "solver", "b": "solver", "c": "critic"}
    assert build_anchor("role_cover", tuple("abc"), roles=roles).seated() == ("a", "c")
    # Agents whose role nobody told stand for one more role.
    assert build_anchor("role_cover", tuple("abcde"), roles=roles).seated() == ("a", "c", "d")
    assert build_anchor("role_cover", tuple("abc"), roles={"zoe": "critic"}).seated() == tuple(
        "abc"
    )


def test_random_depends_on_its_seed_and_only_on_it() -> None:
    graphs = [build_anchor(f"random:seed={s}", NODES).digest() for s in range(10)]
    assert len(set(graphs)) == 10
    assert build_anchor("random", NODES) == build_anchor("random:seed=0", NODES)
    graph = build_anchor("random:size=2,groups=5,seed=-4", NODES)
    assert {len(e.members) for e in graph.edges} == {2}
    assert len(graph.edges) <= 5


def test_parameters_in_the_call_win() -> None:
    assert len(build_anchor("self_consistency:k=7", tuple("a"), k=2).edges) == 2
    assert parse_anchor("random: seed = 3 , size=4") == ("random", {"seed": 3, "size": 4})
    assert parse_anchor("star") == ("star", {})


def test_an_unknown_anchor_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'self_consistency'") as caught:
        build_anchor("self_consistancy:k=3", tuple("ab"))
    assert caught.value.known == anchors.names()


@pytest.mark.parametrize(
    ("spec", "offender"),
    [
        ("star:k=3", "'k'"),
        ("self_consistency:n=3", "'n'"),
        ("self_consistency:k=0", "k must be at least 1, got 0"),
        ("self_consistency:k=two", "'two'"),
        ("self_consistency:k=2.5", "got 2.5"),
        ("self_consistency:k", "'k'"),
        ("self_consistency:k=2,k=3", "'k'"),
        ("random:size=0", "size"),
        ("windows:size=-1", "size"),
    ],
)
def test_a_wrong_parameter_is_named(spec: str, offender: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_anchor(spec, tuple("abc"))
    assert offender in str(caught.value)
    assert not isinstance(caught.value, UnknownNameError)


def test_a_wrong_parameter_of_the_call_is_named() -> None:
    with pytest.raises(ConfigError, match="'size'"):
        build_anchor("star", tuple("abc"), size=3)
    with pytest.raises(ConfigError, match="True"):
        build_anchor("self_consistency", tuple("abc"), k=True)


@pytest.mark.parametrize("name", anchors.names())
@pytest.mark.parametrize(
    ("nodes", "offender"),
    [((), "none"), ("ann", "'ann'"), (("a", "a"), "'a'"), (("a", " "), "' '")],
)
def test_bad_nodes_are_named(name: str, nodes: tuple, offender: str) -> None:
    with pytest.raises(HypergraphError) as caught:
        build_anchor(name, nodes)
    assert offender in str(caught.value)
