"""A budget that is held before the money is spent: reserve, call, settle."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hyperagent.errors import BudgetExceeded, ConfigError
from hyperagent.llm import estimate
from hyperagent.llm.types import Backend, ChatReply, ChatRequest, Usage
from hyperagent.llm.wrapper import Wrapper

if TYPE_CHECKING:
    from hyperagent.llm.prices import Prices


@dataclass(slots=True)
class Amount:
    """Tokens, calls and price; None in a limit means no limit."""

    tokens: int | None = 0
    calls: int | None = 0
    price: float | None = 0.0


class Allowance:
    """What may be spent. Nested: a task's allowance within a run's.

    What is reserved counts as spent until it is settled, here and in every parent, so the
    sum of all settled calls stays within every limit as long as no call takes more than
    its reservation. A call that does is charged in full, and the next ones are refused.

    Parameters
    ----------
    tokens : int, optional
        Prompt and completion tokens.
    calls : int, optional
        Tries that went out to a server, failed ones included.
    price : float, optional
        In the currency of the price list.
    parent : Allowance, optional
    """

    def __init__(
        self,
        tokens: int | None = None,
        calls: int | None = None,
        price: float | None = None,
        parent: Allowance | None = None,
    ) -> None:
        for name, value in (("tokens", tokens), ("calls", calls), ("price", price)):
            if value is not None and not value >= 0:
                raise ConfigError(f"a budget of {name} must be 0 or more, got {value!r}")
        self.limit = Amount(tokens, calls, price)
        self.spent = Amount()
        self.held = Amount()
        self.parent = parent
        self._chain: tuple[Allowance, ...] = (self, *(parent._chain if parent else ()))
        # One lock for the whole tree: solves in several threads may share a parent.
        self._lock: threading.Lock = parent._lock if parent else threading.Lock()

    def left(self) -> Amount:
        """What may still be reserved, parents included; a field is None if unlimited."""
        with self._lock:
            return Amount(*(self._least(name) for name in ("tokens", "calls", "price")))

    def _least(self, name: str) -> float | None:
        room = [a._room(name) for a in self._chain if getattr(a.limit, name) is not None]
        return max(0, min(room)) if room else None

    def _room(self, name: str) -> float:
        return getattr(self.limit, name) - getattr(self.spent, name) - getattr(self.held, name)

    @property
    def limits_price(self) -> bool:
        """Whether this allowance or a parent has a limit on the price."""
        return any(a.limit.price is not None for a in self._chain)

    def reserve(self, tokens: int, price: float | None = None) -> Reservation:
        """Set aside one call of at most `tokens` tokens and `price`.

        Raises
        ------
        BudgetExceeded
            If it does not fit here or in a parent; then nothing is set aside anywhere.
        ConfigError
            If there is a limit on the price and the price of the call is unknown.
        """
        if price is None:
            if self.limits_price:
                raise ConfigError("a budget in money needs the price of the model, none is known")
            price = 0.0
        with self._lock:
            for allowance in self._chain:
                allowance._check(tokens, price)
            for allowance in self._chain:
                held = allowance.held
                held.tokens += tokens
                held.calls += 1
                held.price += price
        return Reservation(self, tokens, price)

    def _check(self, tokens: int, price: float) -> None:
        limit, spent, held = self.limit, self.spent, self.held
        if limit.calls is not None and spent.calls + held.calls + 1 > limit.calls:
            kind, most, used, waiting, need = "calls", limit.calls, spent.calls, held.calls, 1
        elif limit.tokens is not None and spent.tokens + held.tokens + tokens > limit.tokens:
            kind, most, used = "tokens", limit.tokens, spent.tokens
            waiting, need = held.tokens, tokens
        elif limit.price is not None and spent.price + held.price + price > limit.price:
            kind, most, used, waiting, need = "price", limit.price, spent.price, held.price, price
        else:
            return
        raise BudgetExceeded(
            f"budget of {most:,} {kind}: {used:,} spent, {waiting:,} reserved for calls under "
            f"way, the next call may need {need:,}"
        )

    def _settle(self, held: Reservation, tokens: int, calls: int, price: float) -> None:
        with self._lock:
            for allowance in self._chain:
                allowance.held.tokens -= held.tokens
                allowance.held.calls -= 1
                allowance.held.price -= held.price
                allowance.spent.tokens += tokens
                allowance.spent.calls += calls
                allowance.spent.price += price


class Reservation:
    """One call's share of an allowance, settled exactly once."""

    __slots__ = ("_allowance", "price", "tokens")

    def __init__(self, allowance: Allowance, tokens: int, price: float) -> None:
        self._allowance: Allowance | None = allowance
        self.tokens = tokens
        self.price = price

    def settle(self, usage: Usage, price: float | None = None) -> None:
        """The call was answered; what is unknown is charged as reserved."""
        total = usage.total_tokens
        self._close(
            self.tokens if total is None else total, 1, self.price if price is None else price
        )

    def fail(self, error: BaseException) -> None:
        """The call raised `error`.

        It stays charged if the server may have worked on it (any error that does not say
        otherwise, cancellation too: the server does not stop when we stop listening),
        counts as a call without tokens if the server refused it, and as nothing at all
        if it was never sent.
        """
        if getattr(error, "never_sent", False):
            self._close(0, 0, 0.0)
        elif getattr(error, "may_have_run", True):
            self._close(self.tokens, 1, self.price)
        else:
            self._close(0, 1, 0.0)

    def _close(self, tokens: int, calls: int, price: float) -> None:
        allowance, self._allowance = self._allowance, None
        if allowance is not None:
            allowance._settle(self, tokens, calls, price)


class Budget(Wrapper):
    """Make a call only if it fits `allowance`.

    Parameters
    ----------
    backend : Backend
    allowance : Allowance
    prices : Prices, optional
        Needed for a limit on the price.

    Notes
    -----
    A call reserves `hyperagent.llm.estimate.reservation`: a cautious guess of its prompt,
    and ``max_tokens``. Without ``max_tokens`` the completion is a guess too, and the limit
    is only as hard as that guess.
    """

    def __init__(
        self, backend: Backend, allowance: Allowance, prices: Prices | None = None
    ) -> None:
        super().__init__(backend)
        self.allowance = allowance
        self.prices = prices

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Answer `request`, or raise `BudgetExceeded` without a call."""
        tokens = estimate.reservation(request)
        price = None
        if self.prices is not None:
            prompt = estimate.at_most(request)
            price = self.prices.price(Usage(prompt, tokens - prompt), self.name)
        reservation = self.allowance.reserve(tokens, price)
        try:
            reply = await self.backend.complete(request)
        except BaseException as error:
            reservation.fail(error)
            raise
        if self.prices is not None:
            price = self.prices.price(reply.usage, reply.model, self.name)
        reservation.settle(reply.usage, price)
        return reply
