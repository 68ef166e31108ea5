"""Language models behind one protocol, wrappers that compose, and the ledger."""

from hyperagent.llm.ledger import Ledger, LedgerRow, Totals
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

__all__ = [
    "PURPOSES",
    "Backend",
    "CallContext",
    "Capabilities",
    "ChatReply",
    "ChatRequest",
    "Ledger",
    "LedgerRow",
    "Message",
    "TokenLogprob",
    "Totals",
    "Usage",
]
