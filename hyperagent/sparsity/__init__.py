"""Groups, penalties, gates, solvers and transport: everything that makes numbers zero.

One idea: every regulariser is a function of group magnitudes, and its proximal map is one
factor per group. `Groups` says what a group is, a `Penalty` sees only magnitudes.

Importing this room loads no torch; each name does so on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hyperagent.sparsity.groups import Groups, Slice
    from hyperagent.sparsity.penalties.base import Penalty, Regulariser, apply

_HOME = {
    "Groups": "groups",
    "Penalty": "penalties.base",
    "Regulariser": "penalties.base",
    "Slice": "groups",
    "apply": "penalties.base",
}

__all__ = ["Groups", "Penalty", "Regulariser", "Slice", "apply"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
