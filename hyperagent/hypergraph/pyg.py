"""PyTorch Geometric's container of a hypergraph, with sizes that are stated, not guessed."""

from __future__ import annotations

from torch_geometric.data.hypergraph_data import HyperGraphData


class TeamData(HyperGraphData):
    """`HyperGraphData` that trusts its own ``num_nodes`` and ``num_hyperedges``.

    The parent guesses both from the largest index: it forgets a benched last agent when
    there are as many agents as groups, and fails without any group.
    """

    @property
    def num_nodes(self) -> int:
        """Number of agents, benched ones included."""
        return self._store["num_nodes"]

    @num_nodes.setter
    def num_nodes(self, value: int) -> None:
        self._store["num_nodes"] = value

    @property
    def num_edges(self) -> int:
        """Number of groups."""
        return self._store["num_hyperedges"]
