"""HIF, XGI, networkx, PyTorch Geometric: others read what we mean."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from hypergraph_strategies import hypergraphs
from hypothesis import given, settings

from hyperagent.errors import HypergraphError
from hyperagent.hypergraph import Hyperedge, Hypergraph, anchors, build_anchor

HIF = Path(__file__).parents[1] / "data" / "hif"
SCHEMA = json.loads((HIF / "hif_schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.validators.validator_for(SCHEMA)(SCHEMA)


@given(hypergraphs())
def test_hif_round_trip_validates_against_the_schema(graph: Hypergraph) -> None:
    text = json.dumps(graph.to_hif(), allow_nan=False)
    VALIDATOR.validate(json.loads(text))
    assert Hypergraph.from_hif(json.loads(text)) == graph


def test_the_validator_can_say_no() -> None:
    data = Hypergraph(("a",), (Hyperedge(("a",)),)).to_hif()
    data["edges"][0]["mode"] = "discuss"
    assert not VALIDATOR.is_valid(data)


@pytest.mark.parametrize("file", sorted((HIF / "compliant").iterdir()), ids=lambda f: f.stem)
def test_files_of_other_programs_are_read(file: Path) -> None:
    data = json.loads(file.read_text(encoding="utf-8"))
    VALIDATOR.validate(data)
    graph = Hypergraph.from_hif(data)
    assert {m for e in graph.edges for m in e.members} == {
        str(row["node"]) for row in data["incidences"]
    }
    VALIDATOR.validate(graph.to_hif())


BROKEN = [
    None,
    [],
    {},
    {"incidences": None},
    {"incidences": {}},
    {"incidences": ["a"]},
    {"incidences": [{"edge": 1}]},
    {"incidences": [{"edge": 1, "node": 1.5}]},
    {"incidences": [{"edge": True, "node": "a"}]},
    {"incidences": [], "nodes": 3},
    {"incidences": [], "nodes": [{"node": None}]},
    {"incidences": [], "edges": [{}]},
    {"incidences": [], "edges": [{"edge": "e", "attrs": ["mode"]}]},
    {"incidences": [{"edge": "e", "node": "a"}], "edges": [{"edge": "e", "weight": "x"}]},
    {"incidences": [{"edge": "e", "node": 1}, {"edge": "e", "node": "1"}]},
    {"incidences": [{"edge": "e", "node": ""}]},
]


@pytest.mark.parametrize("data", BROKEN, ids=json.dumps)
def test_what_is_not_hif_is_refused_with_our_error(data: object) -> None:
    with pytest.raises(HypergraphError):
        Hypergraph.from_hif(data)


@settings(max_examples=40)
@given(hypergraphs())
def test_xgi_reads_equal_edges(graph: Hypergraph) -> None:
    xgi = pytest.importorskip("xgi")
    other = xgi.from_hif_dict(graph.to_hif())
    assert set(other.nodes) == set(graph.nodes)
    edges = other.edges.members(dtype=dict)
    assert edges == {f"e{i}": set(e.members) for i, e in enumerate(graph.edges)}
    for i, edge in enumerate(graph.edges):
        # XGI 0.10 drops the standard's own field "weight" of an edge.
        assert other.edges[f"e{i}"] == {"mode": edge.mode, "phase": edge.phase}


@pytest.mark.parametrize("name", anchors.names())
def test_we_read_what_xgi_writes(name: str) -> None:
    xgi = pytest.importorskip("xgi")
    graph = build_anchor(name, tuple("abcdef"))
    back = Hypergraph.from_hif(xgi.to_hif_dict(xgi.from_hif_dict(graph.to_hif())))
    assert {frozenset(e.members) for e in back.edges} == {frozenset(e.members) for e in graph.edges}
    assert set(back.nodes) == set(graph.nodes)


@settings(max_examples=50)
@given(hypergraphs())
def test_networkx_round_trip(graph: Hypergraph) -> None:
    bipartite = graph.to_networkx()
    for i, edge in enumerate(graph.edges):
        assert set(bipartite["edge", i]) == set(edge.members)
        assert bipartite.nodes["edge", i]["mode"] == edge.mode
    assert Hypergraph.from_networkx(bipartite).digest() == graph.digest()


def test_plain_networkx_graph_becomes_pairs() -> None:
    networkx = pytest.importorskip("networkx")
    graph = networkx.Graph([(1, 2), (2, 3), (3, 3)])
    graph.add_node("alone")
    got = Hypergraph.from_networkx(graph)
    assert got.nodes == ("1", "2", "3", "alone")
    assert [e.members for e in got.edges] == [("1", "2"), ("2", "3"), ("3",)]


@settings(max_examples=30, deadline=None)
@given(hypergraphs())
def test_pyg_has_the_same_incidence(graph: Hypergraph) -> None:
    torch = pytest.importorskip("torch")
    data = graph.to_pyg()
    assert data.num_nodes == len(graph.nodes)
    assert data.num_hyperedges == len(graph.edges)
    assert data.edge_index.dtype == torch.long
    dense = torch.zeros(len(graph.nodes), len(graph.edges), dtype=torch.float64)
    dense[data.edge_index[0], data.edge_index[1]] = 1
    assert torch.equal(dense, torch.from_numpy(graph.incidence()))
    assert data.hyperedge_weight.tolist() == [e.weight for e in graph.edges]
    assert data.hyperedge_phase.tolist() == [e.phase for e in graph.edges]


def test_pyg_batches_keep_every_agent_and_group() -> None:
    data = pytest.importorskip("torch_geometric.data")
    # As many nodes as groups, the last node benched: PyG alone would count two nodes.
    graph = Hypergraph(tuple("abc"), tuple(Hyperedge(m) for m in (("a",), ("b",), ("a", "b"))))
    empty = Hypergraph(("x",))
    batch = data.Batch.from_data_list([d.to_pyg() for d in (graph, empty, graph)])
    assert batch.batch.tolist() == [0, 0, 0, 1, 2, 2, 2]
    assert batch.edge_index[:, 4:].tolist() == [[4, 5, 4, 5], [3, 4, 5, 5]]
    assert batch[1].num_nodes == 1
    assert batch[2].num_edges == 3
