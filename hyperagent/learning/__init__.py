"""Learning a topology from executions of a real team.

Importing this room loads neither numpy nor torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hyperagent.learning.plan import POLICIES, LearnPlan

if TYPE_CHECKING:
    from hyperagent.learning.execution import Executions, TeamExecutor
    from hyperagent.learning.pipeline import Learned, learn
    from hyperagent.learning.pricing import price_for_budget

_LAZY = {
    "Executions": "execution",
    "Learned": "pipeline",
    "TeamExecutor": "execution",
    "learn": "pipeline",
    "price_for_budget": "pricing",
}

__all__ = [
    "POLICIES",
    "Executions",
    "LearnPlan",
    "Learned",
    "TeamExecutor",
    "learn",
    "price_for_budget",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
