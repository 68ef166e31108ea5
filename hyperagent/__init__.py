"""Teams of LLM agents that talk along a sparse hypergraph, with every token on a ledger.

The public face. Every name is loaded on first use, so that importing the package is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hyperagent.errors import HyperagentError
    from hyperagent.hypergraph import Hyperedge, Hypergraph
    from hyperagent.llm import Allowance, Ledger, backend
    from hyperagent.tasks import Task, load
    from hyperagent.team import Agent, Result, Routing, Team
    from hyperagent.topology import designer

__version__ = "0.1.0"

_ROOM_OF = {
    "Agent": "team",
    "Allowance": "llm",
    "Hyperedge": "hypergraph",
    "Hypergraph": "hypergraph",
    "HyperagentError": "errors",
    "Ledger": "llm",
    "Result": "team",
    "Routing": "team",
    "Task": "tasks",
    "Team": "team",
    "backend": "llm",
    "designer": "topology",
    "load": "tasks",
}

__all__ = [
    "Agent",
    "Allowance",
    "HyperagentError",
    "Hyperedge",
    "Hypergraph",
    "Ledger",
    "Result",
    "Routing",
    "Task",
    "Team",
    "__version__",
    "backend",
    "designer",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'hyperagent' has no attribute {name!r}")
    value = getattr(import_module(f"hyperagent.{_ROOM_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
