"""Cardinality-constrained optimal transport, and what a team uses it for.

`TransportPlan` moves mass between rows and columns with at most k rows per column, tells
how good its plan is, and is differentiable. `route` seats agents in hyperedges with hard
limits on group size and load.

Importing this room loads no torch; each name does so on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hyperagent.sparsity.transport.continuation import Continuation
    from hyperagent.sparsity.transport.plan import MarginalWarning, Plan, TransportPlan
    from hyperagent.sparsity.transport.project import project_simplex
    from hyperagent.sparsity.transport.rounding import (
        b_matching,
        round_bmatching,
        straight_through,
    )
    from hyperagent.sparsity.transport.routes import Route, route
    from hyperagent.sparsity.transport.semi_dual import laplacian

_HOME = {
    "Continuation": "continuation",
    "MarginalWarning": "plan",
    "Plan": "plan",
    "Route": "routes",
    "TransportPlan": "plan",
    "b_matching": "rounding",
    "laplacian": "semi_dual",
    "project_simplex": "project",
    "round_bmatching": "rounding",
    "route": "routes",
    "straight_through": "rounding",
}

__all__ = [
    "Continuation",
    "MarginalWarning",
    "Plan",
    "Route",
    "TransportPlan",
    "b_matching",
    "laplacian",
    "project_simplex",
    "round_bmatching",
    "route",
    "straight_through",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
