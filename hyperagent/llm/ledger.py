"""The ledger: one row per call, and no other place where tokens are counted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from hyperagent.errors import ConfigError
from hyperagent.llm.types import CallContext, Usage, UsageSource


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One call, made or replayed from the cache, good or failed.

    Attributes
    ----------
    run, task, topology, phase, edges, agent, purpose
        As in `CallContext`.
    backend, model : str
    sample, attempt : int
        Sample index of the request; number of earlier tries of the same call.
    prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens : int or None
        None: unknown.
    source : str or None
        Who counted: ``"server"``, ``"counted"``, ``"estimated"``; None if nobody could.
    milliseconds : float
        Wall time.
    price : float or None
        In the currency of the price list, None without a known price.
    from_cache : bool
        Replayed from our own cache, so not paid for again.
    error : str
        Class name of the error of a failed call, else empty.
    calculations, inserted_tokens : int
        As in `Usage`: what a calculator wrote into the reply, and its share of the completion.
    """

    run: str = ""
    task: str = ""
    topology: str = ""
    phase: int = 0
    edges: tuple[str, ...] = ()
    agent: str = ""
    purpose: str = "speak"
    backend: str = ""
    model: str = ""
    sample: int = 0
    attempt: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    source: UsageSource | None = None
    milliseconds: float = 0.0
    price: float | None = None
    from_cache: bool = False
    error: str = ""
    calculations: int = 0
    inserted_tokens: int = 0

    @property
    def total_tokens(self) -> int | None:
        """Prompt and completion tokens together, None if either is unknown."""
        if self.prompt_tokens is None or self.completion_tokens is None:
            return None
        return self.prompt_tokens + self.completion_tokens

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary, ready for `json.dumps`."""
        # Not asdict: it copies deeply, and this runs once for every call of a run.
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {
            "edges": list(self.edges)
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> LedgerRow:
        """Inverse of `to_json`."""
        return cls(**(data | {"edges": tuple(data.get("edges", ()))}))

    @classmethod
    def of(cls, context: CallContext, usage: Usage, **rest: Any) -> LedgerRow:
        """Row for a call with this context and usage."""
        return cls(
            run=context.run,
            task=context.task,
            topology=context.topology,
            phase=context.phase,
            edges=context.edges,
            agent=context.agent,
            purpose=context.purpose,
            attempt=context.attempt,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=usage.cached_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            source=usage.source,
            calculations=usage.calculations,
            inserted_tokens=usage.inserted_tokens,
            **rest,
        )


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over ledger rows.

    The token sums run over the rows whose count is known; `unknown` says how many rows
    are not in them, so that a sum is never mistaken for the whole.

    Attributes
    ----------
    calls, failed, from_cache, unknown, estimated : int
        Rows; rows with an error; rows from the cache; rows with an unknown token count;
        rows whose count is an estimate.
    prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens : int
    price : float
        Sum of the known prices.
    unpriced : int
        Rows without a known price.
    milliseconds : float
    calculations, inserted_tokens : int
    """

    calls: int = 0
    failed: int = 0
    from_cache: int = 0
    unknown: int = 0
    estimated: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    price: float = 0.0
    unpriced: int = 0
    milliseconds: float = 0.0
    calculations: int = 0
    inserted_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Known prompt and completion tokens."""
        return self.prompt_tokens + self.completion_tokens

    @classmethod
    def of(cls, rows: Iterable[LedgerRow]) -> Totals:
        """Sum `rows`."""
        sums = _Sums()
        for row in rows:
            sums.add(row)
        return sums.totals()


class _Sums:
    """Running sums, one slot per field of `Totals`."""

    __slots__ = tuple(Totals.__dataclass_fields__)

    def __init__(self) -> None:
        for name, column in Totals.__dataclass_fields__.items():
            setattr(self, name, column.default)

    def add(self, row: LedgerRow) -> None:
        self.calls += 1
        self.failed += bool(row.error)
        self.from_cache += row.from_cache
        self.unknown += row.prompt_tokens is None or row.completion_tokens is None
        self.estimated += row.source == "estimated"
        self.prompt_tokens += row.prompt_tokens or 0
        self.completion_tokens += row.completion_tokens or 0
        self.cached_tokens += row.cached_tokens or 0
        self.reasoning_tokens += row.reasoning_tokens or 0
        self.price += row.price or 0.0
        self.unpriced += row.price is None
        self.milliseconds += row.milliseconds
        self.calculations += row.calculations
        self.inserted_tokens += row.inserted_tokens

    def totals(self) -> Totals:
        return Totals(*(getattr(self, name) for name in self.__slots__))


@dataclass(slots=True)
class Ledger:
    """Append-only list of rows, with running totals.

    Parameters
    ----------
    parent : Ledger, optional
        Receives every row too: a task's ledger feeds its run's.
    on_row : callable, optional
        Called with each new row, e.g. to write it to disk before anything else happens.
    rows : list of LedgerRow, optional
        Rows to begin with; add later ones with `record` only.
    keep : bool
        False keeps the totals but no rows, so that memory stays flat in a long run whose
        rows `on_row` writes to disk.
    """

    parent: Ledger | None = None
    on_row: Callable[[LedgerRow], None] | None = None
    rows: list[LedgerRow] = field(default_factory=list)
    keep: bool = True
    _sums: _Sums = field(default_factory=_Sums, init=False, repr=False, compare=False)
    _lock: threading.Lock = field(
        default_factory=threading.Lock, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        for row in self.rows:
            self._sums.add(row)
        if not self.keep:
            self.rows = []

    def record(self, row: LedgerRow) -> None:
        """Append `row` here and in every parent."""
        # Solves in several threads may share a parent.
        with self._lock:
            self._sums.add(row)
            if self.keep:
                self.rows.append(row)
        if self.on_row is not None:
            self.on_row(row)
        if self.parent is not None:
            self.parent.record(row)

    def totals(self) -> Totals:
        """Sums over all rows ever recorded; the only total there is."""
        with self._lock:
            return self._sums.totals()

    def by(self, field_name: str) -> dict[Any, Totals]:
        """Totals per value of a column, e.g. ``by("agent")``. They add up to `totals`.

        Raises
        ------
        ConfigError
            If rows were recorded that this ledger does not keep.
        """
        if len(self.rows) != len(self):
            raise ConfigError(f"cannot group by {field_name!r}: this ledger keeps no rows")
        groups: dict[Any, _Sums] = {}
        for row in self.rows:
            groups.setdefault(getattr(row, field_name), _Sums()).add(row)
        return {key: sums.totals() for key, sums in groups.items()}

    def __len__(self) -> int:
        """Number of rows ever recorded, kept or not."""
        return self._sums.calls

    def __bool__(self) -> bool:
        """Always true, so that an empty ledger is not taken for no ledger."""
        return True

    def __iter__(self) -> Iterator[LedgerRow]:
        """Over the rows that were kept."""
        return iter(self.rows)
