"""Teams of LLM agents that talk along a sparse hypergraph, with every token on a ledger."""

__version__ = "0.1.0"
