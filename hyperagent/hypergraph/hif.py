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

    Raises
    ------
    HypergraphError
        If `data` is not HIF; the message says what is missing.
    """
    if not isinstance(data, dict) or not isinstance(data.get("incidences"), list):
        raise HypergraphError("not HIF: expected an object with a list under 'incidences'")
    nodes: dict[str, None] = {}
    for i, row in enumerate(data.get("nodes") or ()):
        nodes[_identifier(row, "node", f"nodes[{i}]")] = None
    edges: dict[str, dict[str, Any]] = {}
    for i, row in enumerate(data.get("edges") or ()):
        name = _identifier(row, "edge", f"edges[{i}]")
        attrs = row.get("attrs") or {}
        edge: dict[str, Any] = {"members": []}
        edge.update({key: attrs[key] for key in ("mode", "phase") if key in attrs})
        if row.get("weight") is not None:
            edge["weight"] = row["weight"]
        edges[name] = edge
    for i, row in enumerate(data["incidences"]):
        node = _identifier(row, "node", f"incidences[{i}]")
        edge = edges.setdefault(_identifier(row, "edge", f"incidences[{i}]"), {"members": []})
        nodes.setdefault(node)
        edge["members"].append(node)
    return tuple(nodes), [edge for edge in edges.values() if edge["members"]]


def _identifier(row: Any, key: str, where: str) -> str:
    value = row.get(key) if isinstance(row, dict) else None
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise HypergraphError(f"not HIF: {where} needs a string or integer {key!r}, got {row!r}")
    return str(value)
