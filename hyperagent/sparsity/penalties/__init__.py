"""Penalties on group magnitudes with their proximal maps, right for every step.

Importing this package loads no torch; each name does so on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hyperagent.registry import Registry

if TYPE_CHECKING:
    from hyperagent.sparsity.penalties.base import Elementwise, Penalty, Regulariser, apply
    from hyperagent.sparsity.penalties.boxed import Box, NonNegative
    from hyperagent.sparsity.penalties.budget import Budget, Lagrangian, log_ratio
    from hyperagent.sparsity.penalties.capped_l1 import CappedL1
    from hyperagent.sparsity.penalties.envelope import Certificate, SparseEnvelope
    from hyperagent.sparsity.penalties.firm import CEL0, MCP
    from hyperagent.sparsity.penalties.hoyer import HoyerSquare
    from hyperagent.sparsity.penalties.ksparse import KSparse
    from hyperagent.sparsity.penalties.l0 import L0
    from hyperagent.sparsity.penalties.l1 import L1, GroupLasso
    from hyperagent.sparsity.penalties.log_sum import LogSum
    from hyperagent.sparsity.penalties.lq import Lq
    from hyperagent.sparsity.penalties.masked import Masked
    from hyperagent.sparsity.penalties.scad import SCAD

_HOME = {
    "Box": "boxed",
    "Budget": "budget",
    "CEL0": "firm",
    "CappedL1": "capped_l1",
    "Certificate": "envelope",
    "Elementwise": "base",
    "GroupLasso": "l1",
    "HoyerSquare": "hoyer",
    "KSparse": "ksparse",
    "L0": "l0",
    "L1": "l1",
    "Lagrangian": "budget",
    "LogSum": "log_sum",
    "Lq": "lq",
    "MCP": "firm",
    "Masked": "masked",
    "NonNegative": "boxed",
    "Penalty": "base",
    "Regulariser": "base",
    "SCAD": "scad",
    "SparseEnvelope": "envelope",
    "apply": "base",
    "log_ratio": "budget",
}

_HERE = "hyperagent.sparsity.penalties"

penalties: Registry[type] = Registry(
    "penalty",
    {
        "box": f"{_HERE}.boxed:Box",
        "budget": f"{_HERE}.budget:Budget",
        "capped_l1": f"{_HERE}.capped_l1:CappedL1",
        "cel0": f"{_HERE}.firm:CEL0",
        "envelope": f"{_HERE}.envelope:SparseEnvelope",
        "group_lasso": f"{_HERE}.l1:GroupLasso",
        "hoyer_square": f"{_HERE}.hoyer:HoyerSquare",
        "k_sparse": f"{_HERE}.ksparse:KSparse",
        "l0": f"{_HERE}.l0:L0",
        "l1": f"{_HERE}.l1:L1",
        "log_sum": f"{_HERE}.log_sum:LogSum",
        "lq": f"{_HERE}.lq:Lq",
        "masked": f"{_HERE}.masked:Masked",
        "mcp": f"{_HERE}.firm:MCP",
        "nonneg": f"{_HERE}.boxed:NonNegative",
        "scad": f"{_HERE}.scad:SCAD",
    },
    group="hyperagent.penalties",
)
"""Penalty classes by name; packages may add some in the group ``hyperagent.penalties``."""

__all__ = [
    "CEL0",
    "L0",
    "L1",
    "MCP",
    "SCAD",
    "Box",
    "Budget",
    "CappedL1",
    "Certificate",
    "Elementwise",
    "GroupLasso",
    "HoyerSquare",
    "KSparse",
    "Lagrangian",
    "LogSum",
    "Lq",
    "Masked",
    "NonNegative",
    "Penalty",
    "Regulariser",
    "SparseEnvelope",
    "apply",
    "log_ratio",
    "penalties",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
