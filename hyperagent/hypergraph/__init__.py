"""The hypergraph over agents: data type, interchange format, conversions, anchors."""

from hyperagent.hypergraph.anchors import anchors, build_anchor, parse_anchor
from hyperagent.hypergraph.model import MODES, Hyperedge, Hypergraph, agent_of

__all__ = [
    "MODES",
    "Hyperedge",
    "Hypergraph",
    "agent_of",
    "anchors",
    "build_anchor",
    "parse_anchor",
]
