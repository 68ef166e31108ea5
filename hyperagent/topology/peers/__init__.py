"""Methods of other authors, rebuilt from their papers over our orchestrator, for comparison.

All share agents, prompts, answer extraction, decision and ledger with every other designer; only
the topology and the stop differ. Each docstring says what is not as in the original.
"""
