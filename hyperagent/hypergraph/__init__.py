"""The hypergraph over agents: data type, interchange format, conversions, anchors."""

from hyperagent.hypergraph.model import MODES, Hyperedge, Hypergraph, agent_of

__all__ = ["MODES", "Hyperedge", "Hypergraph", "agent_of"]
