"""Solvers for 1/2 ||A x - y||^2 + penalty, and for the penalty under a bound on the misfit."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hyperagent.sparsity.solvers.operators import (
        Dense,
        Functional,
        Linear,
        adjoint_gap,
        as_linear,
    )

_HOME = {
    "Dense": "operators",
    "Functional": "operators",
    "Linear": "operators",
    "adjoint_gap": "operators",
    "as_linear": "operators",
}

__all__ = ["Dense", "Functional", "Linear", "adjoint_gap", "as_linear"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
