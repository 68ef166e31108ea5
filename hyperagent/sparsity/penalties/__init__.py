"""Penalties on group magnitudes with their proximal maps, right for every step."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hyperagent.registry import Registry

if TYPE_CHECKING:
    from hyperagent.sparsity.penalties.base import Elementwise, Penalty, Regulariser, apply
    from hyperagent.sparsity.penalties.firm import CEL0, MCP
    from hyperagent.sparsity.penalties.l1 import L1, GroupLasso

_HOME = {
    "CEL0": "firm",
    "Elementwise": "base",
    "GroupLasso": "l1",
    "L1": "l1",
    "MCP": "firm",
    "Penalty": "base",
    "Regulariser": "base",
    "apply": "base",
}

_HERE = "hyperagent.sparsity.penalties"

penalties: Registry[type] = Registry(
    "penalty",
    {
        "cel0": f"{_HERE}.firm:CEL0",
        "group_lasso": f"{_HERE}.l1:GroupLasso",
        "l1": f"{_HERE}.l1:L1",
        "mcp": f"{_HERE}.firm:MCP",
    },
    group="hyperagent.penalties",
)
"""Penalty classes by name; packages may add some in the group ``hyperagent.penalties``."""

__all__ = [
    "CEL0",
    "L1",
    "MCP",
    "Elementwise",
    "GroupLasso",
    "Penalty",
    "Regulariser",
    "apply",
    "penalties",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
