"""The wrappers in their one right order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hyperagent.llm.budget import Allowance, Budget
from hyperagent.llm.cache import Cache, CacheStore
from hyperagent.llm.ledger import Ledger
from hyperagent.llm.limit import Limiter, RateLimit
from hyperagent.llm.meter import Meter
from hyperagent.llm.retry import Pauses, Retry, RetryPolicy
from hyperagent.llm.types import Backend

if TYPE_CHECKING:
    from hyperagent.llm.prices import Prices


def stack(
    backend: Backend,
    *,
    ledger: Ledger,
    allowance: Allowance | None = None,
    retry: RetryPolicy | None = None,
    pauses: Pauses | None = None,
    limiter: Limiter | None = None,
    cache: CacheStore | None = None,
    prices: Prices | None = None,
) -> Backend:
    """Wrap `backend` for one solve.

    From the inside out: `RateLimit`, `Budget`, `Meter`, `Retry`, `Cache`. So a try that
    waits for its turn holds its reservation, each try has its own reservation and its own
    ledger row, and a reply from the cache needs none of them. Building it costs a few
    small objects; what calls share is passed in.

    Parameters
    ----------
    backend : Backend
    ledger : Ledger
        Gets one row per try and per cache hit.
    allowance : Allowance, optional
    retry : RetryPolicy, optional
        The default policy if not given; ``RetryPolicy(attempts=1)`` never tries again.
    pauses : Pauses, optional
        Share one per run, so that a 429 holds back all calls of its connection.
    limiter : Limiter, optional
        Share one per run; its limits hold on each connection.
    cache : CacheStore, optional
        Left out for a backend with ``cacheable = False``, such as a replay.
    prices : Prices, optional

    Returns
    -------
    Backend
        Closing it closes `backend`.
    """
    wrapped = backend
    if limiter is not None:
        wrapped = RateLimit(wrapped, limiter, pauses)
    if allowance is not None:
        wrapped = Budget(wrapped, allowance, prices)
    wrapped = Meter(wrapped, ledger, prices)
    wrapped = Retry(wrapped, retry, pauses)
    if cache is not None and getattr(backend, "cacheable", True):
        wrapped = Cache(wrapped, cache, ledger)
    return wrapped
