"""Write every try of every call to the ledger."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from hyperagent.errors import BudgetExceeded
from hyperagent.llm.ledger import Ledger, LedgerRow
from hyperagent.llm.types import Backend, ChatReply, ChatRequest, Usage
from hyperagent.llm.wrapper import Wrapper

if TYPE_CHECKING:
    from hyperagent.llm.prices import Prices


class Meter(Wrapper):
    """One `LedgerRow` for each call that goes out, answered, failed or cancelled.

    A call that the budget refused or that was cancelled before it was sent has no row: no
    server saw it. The milliseconds include the wait for a free slot.

    Parameters
    ----------
    backend : Backend
    ledger : Ledger
    prices : Prices, optional
        Without it every price is None, which is unknown and not 0.
    """

    def __init__(self, backend: Backend, ledger: Ledger, prices: Prices | None = None) -> None:
        super().__init__(backend)
        self.ledger = ledger
        self.prices = prices

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Answer `request` and record what it took."""
        start = time.perf_counter()
        try:
            reply = await self.backend.complete(request)
        except BudgetExceeded:
            raise
        except BaseException as error:
            if not getattr(error, "never_sent", False):
                self._record(request, Usage(), "", start, type(error).__name__)
            raise
        self._record(request, reply.usage, reply.model, start, "")
        return reply

    def _record(
        self, request: ChatRequest, usage: Usage, model: str, start: float, error: str
    ) -> None:
        price = None if self.prices is None else self.prices.price(usage, model, self.name)
        self.ledger.record(
            LedgerRow.of(
                request.context,
                usage,
                backend=self.name,
                model=model,
                sample=request.sample,
                milliseconds=(time.perf_counter() - start) * 1000.0,
                price=price,
                error=error,
            )
        )
