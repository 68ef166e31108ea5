"""Designers: which agents meet in which groups, for a given task.

Importing this room loads neither numpy nor torch; the names that need them do so on
first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hyperagent.topology.design import AgentLike, Design, Designer, TaskLike
from hyperagent.topology.designer import designer, designers
from hyperagent.topology.fixed import FixedDesigner

if TYPE_CHECKING:
    from hyperagent.topology.conv import SoftHypergraphConv
    from hyperagent.topology.features import encode_texts
    from hyperagent.topology.paper import PaperDesigner
    from hyperagent.topology.partners import Partners

_LAZY = {
    "PaperDesigner": "paper",
    "Partners": "partners",
    "SoftHypergraphConv": "conv",
    "encode_texts": "features",
}

__all__ = [
    "AgentLike",
    "Design",
    "Designer",
    "FixedDesigner",
    "PaperDesigner",
    "Partners",
    "SoftHypergraphConv",
    "TaskLike",
    "designer",
    "designers",
    "encode_texts",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
