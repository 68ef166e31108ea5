"""Language models behind one protocol, wrappers that compose, and the ledger."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hyperagent.llm.budget import Allowance, Budget
from hyperagent.llm.cache import Cache, CacheStore
from hyperagent.llm.function import FunctionBackend
from hyperagent.llm.ledger import Ledger, LedgerRow, Totals
from hyperagent.llm.limit import Limiter, RateLimit
from hyperagent.llm.meter import Meter
from hyperagent.llm.recorded import Prediction, RecordedBackend
from hyperagent.llm.retry import Pauses, Retry, RetryPolicy
from hyperagent.llm.scripted import ScriptedBackend
from hyperagent.llm.specs import backend, backends
from hyperagent.llm.stack import stack
from hyperagent.llm.types import (
    PURPOSES,
    Backend,
    CallContext,
    Capabilities,
    ChatReply,
    ChatRequest,
    Message,
    TokenLogprob,
    Usage,
)

if TYPE_CHECKING:
    from hyperagent.llm.prices import ModelPrice, Prices

__all__ = [
    "PURPOSES",
    "Allowance",
    "Backend",
    "Budget",
    "Cache",
    "CacheStore",
    "CallContext",
    "Capabilities",
    "ChatReply",
    "ChatRequest",
    "FunctionBackend",
    "Ledger",
    "LedgerRow",
    "Limiter",
    "Message",
    "Meter",
    "ModelPrice",
    "Pauses",
    "Prediction",
    "Prices",
    "RateLimit",
    "RecordedBackend",
    "Retry",
    "RetryPolicy",
    "ScriptedBackend",
    "TokenLogprob",
    "Totals",
    "Usage",
    "backend",
    "backends",
    "stack",
]

# Price lists need pydantic, which takes longer to import than all the rest.
_LAZY = ("ModelPrice", "Prices")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module("hyperagent.llm.prices"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
