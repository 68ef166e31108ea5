"""Anchors: the fixed topologies that every study starts from.

Each anchor is a function of the nodes, best first, and of their roles. Parameters are its
keyword-only arguments and can be written into the name: ``"self_consistency:k=7"``,
``"random:seed=3,size=4"``.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any

from hyperagent.errors import ConfigError, HypergraphError
from hyperagent.hypergraph.model import Hyperedge, Hypergraph
from hyperagent.registry import Registry, split_spec

Anchor = Callable[..., Hypergraph]

anchors: Registry[Anchor] = Registry("anchor")
"""All anchors by name: ``function(nodes, roles, **parameters) -> Hypergraph``."""

_VERIFIERS = ("verif", "critic", "inspector")


def parse_anchor(spec: str) -> tuple[str, dict[str, int]]:
    """Split ``"name:key=value,key=value"`` and check every part of it.

    Returns
    -------
    name : str
    params : dict of str to int
        The parameters that were written down; the others keep their defaults.

    Raises
    ------
    UnknownNameError
        If no anchor has that name.
    ConfigError
        Naming the parameter that the anchor does not have or the value that is no integer.
    """
    name, params = split_spec(spec)
    function = anchors.get(name)
    _check(name, function, params)
    return name, params


def build_anchor(
    name: str,
    nodes: Sequence[str],
    *,
    roles: Mapping[str, str] | None = None,
    **params: int,
) -> Hypergraph:
    """Lay an anchor over a team.

    Parameters
    ----------
    name : str
        Name of an anchor, with parameters if wanted: ``"star"``, ``"random:seed=3"``.
    nodes : sequence of str
        Node names, the most reliable first. All become nodes of the result; those
        without a seat are benched.
    roles : mapping of str to str, optional
        Role of each node.
    **params : int
        Parameters of the anchor; they win over those in `name`.

    Returns
    -------
    Hypergraph
        Equal for equal arguments. One node alone gives the same as ``single``, except
        that ``self_consistency`` still samples it `k` times.

    Raises
    ------
    UnknownNameError
        If no anchor has that name.
    ConfigError
        Naming the wrong parameter or value.
    HypergraphError
        If there is no node, or one is empty or stands twice.
    """
    name, written = parse_anchor(name)
    function = anchors.get(name)
    _check(name, function, params)
    if isinstance(nodes, str):
        raise HypergraphError(f"nodes must be a sequence of names, got the string {nodes!r}")
    if not nodes:
        raise HypergraphError(f"anchor {name!r} needs at least one node, got none")
    # Names are checked here, before an anchor could bench the wrong one out of sight.
    nodes = Hypergraph(tuple(nodes)).nodes
    return function(nodes, dict(roles or {}), **{**written, **params})


def _check(name: str, function: Anchor, params: Mapping[str, Any]) -> None:
    allowed = {
        key: parameter.default
        for key, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    for key, value in params.items():
        if key not in allowed:
            takes = ", ".join(allowed) or "no parameters"
            raise ConfigError(f"anchor {name!r} has no parameter {key!r}; it takes {takes}")
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigError(f"anchor {name!r}: {key} must be an integer, got {value!r}")
        if key != "seed" and value < 1:
            raise ConfigError(f"anchor {name!r}: {key} must be at least 1, got {value!r}")


@anchors.register("single")
def single(nodes: tuple[str, ...], roles: Mapping[str, str]) -> Hypergraph:
    """The first node alone."""
    return Hypergraph(nodes, (Hyperedge(nodes[:1]),))


@anchors.register("self_consistency")
def self_consistency(nodes: tuple[str, ...], roles: Mapping[str, str], *, k: int = 5) -> Hypergraph:
    """`k` independent samples of the first node, each in a group of its own."""
    samples = (nodes[0], *(f"{nodes[0]}#{i}" for i in range(1, k)))
    return Hypergraph((*samples, *nodes[1:]), tuple(Hyperedge((name,)) for name in samples))


@anchors.register("pair")
def pair(nodes: tuple[str, ...], roles: Mapping[str, str]) -> Hypergraph:
    """A solver, then a verifier who checks the solver's note."""
    if len(nodes) == 1:
        return single(nodes, roles)
    named = [n for n in nodes if any(word in roles.get(n, "").lower() for word in _VERIFIERS)]
    verifier = named[0] if named else nodes[1]
    solver = next(n for n in nodes if n != verifier)
    return Hypergraph(nodes, (Hyperedge((solver,)), Hyperedge((solver, verifier), "verify", 1)))


@anchors.register("group")
def group(nodes: tuple[str, ...], roles: Mapping[str, str]) -> Hypergraph:
    """Everybody over one board."""
    return Hypergraph(nodes, (Hyperedge(nodes),))


@anchors.register("role_cover")
def role_cover(nodes: tuple[str, ...], roles: Mapping[str, str]) -> Hypergraph:
    """One group with the first node of each role; everybody if no role is known."""
    if not any(name in roles for name in nodes):
        return group(nodes, roles)
    first: dict[str, str] = {}
    for name in nodes:
        first.setdefault(roles.get(name, ""), name)
    return Hypergraph(nodes, (Hyperedge(tuple(first.values())),))


@anchors.register("chain")
def chain(nodes: tuple[str, ...], roles: Mapping[str, str]) -> Hypergraph:
    """Neighbours in the list form pairs, one pair a phase."""
    if len(nodes) == 1:
        return single(nodes, roles)
    return Hypergraph(nodes, tuple(Hyperedge(p, phase=i) for i, p in enumerate(pairwise(nodes))))


@anchors.register("star")
def star(nodes: tuple[str, ...], roles: Mapping[str, str]) -> Hypergraph:
    """The first node is the hub and pairs with each other node."""
    if len(nodes) == 1:
        return single(nodes, roles)
    return Hypergraph(nodes, tuple(Hyperedge((nodes[0], other)) for other in nodes[1:]))


@anchors.register("tree")
def tree(nodes: tuple[str, ...], roles: Mapping[str, str]) -> Hypergraph:
    """Binary tree rooted at the first node; parents meet their children, leaves first."""
    if len(nodes) == 1:
        return single(nodes, roles)
    parents = range(len(nodes) // 2)
    # Node i sits at depth bit_length(i + 1) - 1; the deepest parents go first.
    deepest = parents[-1] + 1
    return Hypergraph(
        nodes,
        tuple(
            Hyperedge(
                (nodes[i], *nodes[2 * i + 1 : 2 * i + 3]),
                phase=deepest.bit_length() - (i + 1).bit_length(),
            )
            for i in parents
        ),
    )


@anchors.register("windows")
def windows(nodes: tuple[str, ...], roles: Mapping[str, str], *, size: int = 3) -> Hypergraph:
    """Every run of `size` neighbours in the list is a group."""
    starts = range(max(1, len(nodes) - size + 1))
    return Hypergraph(nodes, tuple(Hyperedge(nodes[i : i + size]) for i in starts))


@anchors.register("bridge")
def bridge(nodes: tuple[str, ...], roles: Mapping[str, str]) -> Hypergraph:
    """Two halves of equal strength that share the first node."""
    halves = [half for half in (nodes[1::2], nodes[2::2]) if half] or [()]
    return Hypergraph(nodes, tuple(Hyperedge((nodes[0], *half)) for half in halves))


@anchors.register("complete")
def complete(nodes: tuple[str, ...], roles: Mapping[str, str]) -> Hypergraph:
    """All pairs."""
    if len(nodes) == 1:
        return single(nodes, roles)
    return Hypergraph(nodes, tuple(Hyperedge(p) for p in combinations(nodes, 2)))


@anchors.register("random")
def random_groups(
    nodes: tuple[str, ...],
    roles: Mapping[str, str],
    *,
    seed: int = 0,
    size: int = 3,
    groups: int | None = None,
) -> Hypergraph:
    """Groups of `size` drawn at random.

    `groups` of them are drawn, by default as many as would seat everybody once; a group
    drawn twice counts once.
    """
    draw = random.Random(seed)
    size = min(size, len(nodes))
    wanted = -(-len(nodes) // size) if groups is None else groups
    drawn = (tuple(sorted(draw.sample(range(len(nodes)), size))) for _ in range(wanted))
    return Hypergraph(
        nodes, tuple(Hyperedge(tuple(nodes[i] for i in rows)) for rows in dict.fromkeys(drawn))
    )


@anchors.register("cascade")
def cascade(nodes: tuple[str, ...], roles: Mapping[str, str]) -> Hypergraph:
    """One node a phase, each alone: pure escalation."""
    return Hypergraph(nodes, tuple(Hyperedge((name,), phase=i) for i, name in enumerate(nodes)))
