"""The same hypergraph for other libraries: numpy, networkx, PyTorch Geometric.

Heavy packages are imported on use, and nothing here knows the `Hypergraph` class.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from hyperagent.errors import HypergraphError

if TYPE_CHECKING:
    import networkx
    import numpy as np

    from hyperagent.hypergraph.pyg import TeamData


def incidence(nodes: Sequence[str], groups: Sequence[Iterable[str]]) -> np.ndarray:
    """0/1 matrix, shape (n_nodes, n_edges), float64."""
    import numpy as np

    row = {name: i for i, name in enumerate(nodes)}
    matrix = np.zeros((len(nodes), len(groups)))
    for column, members in enumerate(groups):
        matrix[[row[name] for name in members], column] = 1.0
    return matrix


def columns(matrix: Any, nodes: Sequence[str], threshold: float) -> list[tuple[str, ...]]:
    """Members of each column: the nodes whose entry is > `threshold`."""
    import numpy as np

    values = np.asarray(matrix, dtype=float)
    if values.ndim != 2 or values.shape[0] != len(nodes):
        raise HypergraphError(
            f"an incidence matrix of {len(nodes)} nodes must have shape ({len(nodes)}, n_edges), "
            f"got {values.shape}"
        )
    if np.isnan(values).any():
        raise HypergraphError("an incidence matrix must not contain NaN")
    return [tuple(nodes[i] for i in np.flatnonzero(column > threshold)) for column in values.T]


def to_networkx(nodes: Sequence[str], edges: Iterable[Any]) -> networkx.Graph:
    """Bipartite graph.

    Agents keep their names with ``bipartite=0``; the group number ``i`` is the node
    ``("edge", i)`` with ``bipartite=1`` and its mode, phase and weight.
    """
    import networkx

    graph = networkx.Graph()
    graph.add_nodes_from(nodes, bipartite=0)
    for i, edge in enumerate(edges):
        group = ("edge", i)
        graph.add_node(group, bipartite=1, mode=edge.mode, phase=edge.phase, weight=edge.weight)
        graph.add_edges_from((name, group) for name in edge.members)
    return graph


def from_networkx(graph: networkx.Graph) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """Nodes and keyword arguments of the hyperedges in a bipartite or a plain graph."""
    groups = {name: data for name, data in graph.nodes(data=True) if data.get("bipartite") == 1}
    if groups:
        found = [
            (tuple(graph.neighbors(name)), data) for name, data in groups.items() if graph[name]
        ]
    else:
        found = [(tuple(dict.fromkeys(edge[:2])), edge[2]) for edge in graph.edges(data=True)]
    return tuple(str(name) for name in graph if name not in groups), [
        {
            "members": tuple(str(name) for name in members),
            **{key: data[key] for key in ("mode", "phase", "weight") if key in data},
        }
        for members, data in found
    ]


def to_pyg(nodes: Sequence[str], edges: Iterable[Any]) -> TeamData:
    """Node and hyperedge numbers in PyTorch Geometric's layout.

    Returns
    -------
    TeamData
        A ``HyperGraphData`` with ``edge_index`` (2, n_incidences) int64, first row node,
        second row hyperedge; ``hyperedge_weight`` (n_edges,) float32;
        ``hyperedge_phase`` (n_edges,) int64; ``num_nodes`` and ``num_hyperedges``.
    """
    import torch

    from hyperagent.hypergraph.pyg import TeamData

    edges = list(edges)
    row = {name: i for i, name in enumerate(nodes)}
    pairs = [(row[name], j) for j, edge in enumerate(edges) for name in edge.members]
    index = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).t().contiguous()
    return TeamData(
        edge_index=index,
        num_nodes=len(nodes),
        num_hyperedges=len(edges),
        hyperedge_weight=torch.tensor([edge.weight for edge in edges], dtype=torch.float),
        hyperedge_phase=torch.tensor([edge.phase for edge in edges], dtype=torch.long),
    )
