"""Hypergraph Interchange Format (HIF, doi:10.1017/nws.2025.10018): plain dictionaries in and out.

HIF refuses unknown keys, so mode and phase travel in an edge's ``attrs``. Nothing here
knows the `Hypergraph` class; it is built on these functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from hyperagent.errors import HypergraphError


def dump(nodes: Sequence[str], edges: Iterable[Any]) -> dict[str, Any]:
    """HIF dictionary of nodes and of edges with ``members, mode, phase, weight``."""
    edges = list(edges)
    return {
        "network-type": "undirected",
        "metadata": {"hyperagent": {"format": 1}},
        "nodes": [{"node": name} for name in nodes],
        "edges": [
            {
                "edge": f"e{i}",
                "weight": edge.weight,
                "attrs": {"mode": edge.mode, "phase": edge.phase},
            }
            for i, edge in enumerate(edges)
        ],
        "incidences": [
            {"edge": f"e{i}", "node": name} for i, edge in enumerate(edges) for name in edge.members
        ],
    }


def load(data: Any) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """Nodes and keyword arguments of the hyperedges in a HIF dictionary.

    An incidence that is listed twice (also as head and as tail) counts once.

    Raises
    ------
    HypergraphError
        If `data` is not HIF; the message says what is missing.
    """
    if not isinstance(data, dict) or not isinstance(data.get("incidences"), list):
        raise HypergraphError("not HIF: expected an object with a list under 'incidences'")
    # Dictionaries as ordered sets: a node, an edge or an incidence may be listed twice.
    nodes: dict[int | str, None] = {}
    members: dict[int | str, dict[int | str, None]] = {}
    options: dict[int | str, dict[str, Any]] = {}
    for row in _rows(data, "nodes", "node"):
        nodes[row["node"]] = None
    for row in _rows(data, "edges", "edge"):
        attrs = row.get("attrs") or {}
        if not isinstance(attrs, dict):
            raise HypergraphError(f"not HIF: attrs must be an object, got {attrs!r}")
        edge = {key: attrs[key] for key in ("mode", "phase") if key in attrs}
        if row.get("weight") is not None:
            edge["weight"] = row["weight"]
        members.setdefault(row["edge"], {})
        options.setdefault(row["edge"], {}).update(edge)
    for row in _rows(data, "incidences", "edge", "node"):
        nodes[row["node"]] = None
        members.setdefault(row["edge"], {})[row["node"]] = None
    # Two nodes 1 and "1" become one name, which the hypergraph refuses as a duplicate.
    return tuple(str(node) for node in nodes), [
        {"members": tuple(str(node) for node in group), **options.get(name, {})}
        for name, group in members.items()
        if group
    ]


def _rows(data: dict[str, Any], kind: str, *keys: str) -> Iterable[dict[str, Any]]:
    """The objects listed under `kind`, each with identifiers under `keys`."""
    rows = data.get(kind) or []
    if not isinstance(rows, list):
        raise HypergraphError(f"not HIF: {kind!r} must be a list, got {rows!r}")
    for i, row in enumerate(rows):
        for key in keys:
            value = row.get(key) if isinstance(row, dict) else None
            if isinstance(value, bool) or not isinstance(value, (str, int)):
                raise HypergraphError(
                    f"not HIF: {kind}[{i}] needs a string or integer {key!r}, got {row!r}"
                )
        yield row
