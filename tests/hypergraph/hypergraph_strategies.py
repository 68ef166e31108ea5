"""Hypothesis strategies for hypergraphs."""

from __future__ import annotations

from hypothesis import strategies as st

from hyperagent.hypergraph import MODES, Hyperedge, Hypergraph

names = st.text(min_size=1, max_size=6).filter(lambda s: s.strip() != "")


@st.composite
def hypergraphs(draw: st.DrawFn, max_nodes: int = 7, max_edges: int = 6) -> Hypergraph:
    """Any hypergraph, isolated nodes and repeated groups included."""
    nodes = draw(st.lists(names, min_size=1, max_size=max_nodes, unique=True))
    edge = st.builds(
        Hyperedge,
        st.lists(st.sampled_from(nodes), min_size=1, unique=True).map(tuple),
        st.sampled_from(MODES),
        st.integers(0, 3),
        st.sampled_from([0.25, 1.0, 2.0]),
    )
    return Hypergraph(tuple(nodes), tuple(draw(st.lists(edge, max_size=max_edges))))
