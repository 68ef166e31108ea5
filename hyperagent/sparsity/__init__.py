"""Groups, penalties, gates, solvers and transport: everything that makes numbers zero.

One idea: every regulariser is a function of group magnitudes, and its proximal map is one
factor per group. `Groups` says what a group is, a `Penalty` sees only magnitudes. The members
are in `hyperagent.sparsity.penalties`; `hyperagent.sparsity.solvers` and
`hyperagent.sparsity.transport` build on them.

Importing this room loads no torch; each name does so on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hyperagent.sparsity.gates import Gate, HardConcreteGate, LogisticGate
    from hyperagent.sparsity.groups import Groups, Slice, Slices
    from hyperagent.sparsity.masks import Mask, keep_best
    from hyperagent.sparsity.optim import ProximalOptimizer, Term
    from hyperagent.sparsity.penalties.base import Penalty, Regulariser, apply
    from hyperagent.sparsity.schedules import Constant, Cosine, Exponential, Linear, SineStages

_HOME = {
    "Constant": "schedules",
    "Cosine": "schedules",
    "Exponential": "schedules",
    "Gate": "gates",
    "Groups": "groups",
    "HardConcreteGate": "gates",
    "Linear": "schedules",
    "LogisticGate": "gates",
    "Mask": "masks",
    "Penalty": "penalties.base",
    "ProximalOptimizer": "optim",
    "Regulariser": "penalties.base",
    "SineStages": "schedules",
    "Slice": "groups",
    "Slices": "groups",
    "Term": "optim",
    "apply": "penalties.base",
    "keep_best": "masks",
}

__all__ = [
    "Constant",
    "Cosine",
    "Exponential",
    "Gate",
    "Groups",
    "HardConcreteGate",
    "Linear",
    "LogisticGate",
    "Mask",
    "Penalty",
    "ProximalOptimizer",
    "Regulariser",
    "SineStages",
    "Slice",
    "Slices",
    "Term",
    "apply",
    "keep_best",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
