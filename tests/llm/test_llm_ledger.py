"""The ledger: running totals are the sums of the rows, and memory stays flat."""

from __future__ import annotations

import asyncio
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperagent import errors
from hyperagent.llm import (
    CallContext,
    ChatRequest,
    FunctionBackend,
    Ledger,
    LedgerRow,
    Message,
    Meter,
    ModelPrice,
    Prices,
    ScriptedBackend,
    Totals,
    stack,
)

COUNTS = st.none() | st.integers(0, 10_000)
ROWS = st.lists(
    st.builds(
        LedgerRow,
        agent=st.sampled_from(["ann", "bob", ""]),
        purpose=st.sampled_from(["speak", "revise"]),
        edges=st.lists(st.sampled_from(["e0", "e1"]), unique=True).map(tuple),
        prompt_tokens=COUNTS,
        completion_tokens=COUNTS,
        cached_tokens=COUNTS,
        reasoning_tokens=COUNTS,
        source=st.sampled_from([None, "server", "counted", "estimated"]),
        milliseconds=st.floats(0, 1e6),
        price=st.none() | st.floats(0, 10),
        from_cache=st.booleans(),
        error=st.sampled_from(["", "RateLimited"]),
        calculations=st.integers(0, 9),
        inserted_tokens=st.integers(0, 99),
    ),
    max_size=20,
)
ASK = ChatRequest((Message("user", "What is 6 times 7?"),), context=CallContext(agent="ann"))


def naive(rows: list[LedgerRow]) -> Totals:
    """The sums, written a second time, row by row."""
    known = [row for row in rows if row.total_tokens is not None]
    return Totals(
        calls=len(rows),
        failed=len([row for row in rows if row.error]),
        from_cache=len([row for row in rows if row.from_cache]),
        unknown=len(rows) - len(known),
        estimated=len([row for row in rows if row.source == "estimated"]),
        prompt_tokens=sum(row.prompt_tokens or 0 for row in rows),
        completion_tokens=sum(row.completion_tokens or 0 for row in rows),
        cached_tokens=sum(row.cached_tokens or 0 for row in rows),
        reasoning_tokens=sum(row.reasoning_tokens or 0 for row in rows),
        price=sum(row.price or 0.0 for row in rows),
        unpriced=len([row for row in rows if row.price is None]),
        milliseconds=sum(row.milliseconds for row in rows),
        calculations=sum(row.calculations for row in rows),
        inserted_tokens=sum(row.inserted_tokens for row in rows),
    )


@given(ROWS, st.integers(0, 20))
def test_running_totals_are_the_sums_of_the_rows(
    rows: list[LedgerRow], given_at_start: int
) -> None:
    begin, later = rows[:given_at_start], rows[given_at_start:]
    ledger = Ledger(rows=list(begin))
    for row in later:
        ledger.record(row)
    assert ledger.totals() == Totals.of(rows) == naive(rows)
    assert list(ledger) == rows
    assert len(ledger) == len(rows)


@given(ROWS)
def test_groups_add_up(rows: list[LedgerRow]) -> None:
    ledger = Ledger(rows=list(rows))
    for column in ("agent", "purpose", "edges", "error"):
        groups = ledger.by(column)
        assert sum(t.calls for t in groups.values()) == len(rows)
        assert sum(t.total_tokens for t in groups.values()) == ledger.totals().total_tokens


@given(ROWS)
def test_rows_survive_json(rows: list[LedgerRow]) -> None:
    for row in rows:
        assert LedgerRow.from_json(json.loads(json.dumps(row.to_json()))) == row


def test_a_parent_gets_every_row_and_may_keep_none() -> None:
    seen: list[LedgerRow] = []
    run = Ledger(keep=False, on_row=seen.append)
    tasks = [Ledger(parent=run) for _ in range(3)]
    for n, task in enumerate(tasks):
        task.record(LedgerRow(prompt_tokens=n, completion_tokens=1))
    assert run.totals() == Totals.of(row for task in tasks for row in task)
    assert (len(run), list(run), len(seen)) == (3, [], 3)
    with pytest.raises(errors.ConfigError, match="keeps no rows"):
        run.by("agent")


def test_an_empty_ledger_is_not_no_ledger() -> None:
    assert Ledger()
    assert Ledger().totals() == Totals()
    assert Ledger(keep=False).by("agent") == {}


def test_memory_is_flat_over_ten_thousand_calls() -> None:
    run = Ledger(keep=False)
    backend = FunctionBackend(lambda request: "42")

    async def calls(number: int) -> None:
        for _ in range(number):
            await stack(backend, ledger=Ledger(parent=run)).complete(ASK)

    asyncio.run(calls(500))
    tracemalloc.start()
    try:
        asyncio.run(calls(100))
        before = tracemalloc.get_traced_memory()[0]
        asyncio.run(calls(10_000))
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(run) == 10_600
    assert grown < 50_000  # bytes; one kept row a call would be more than 2 MB


def test_the_meter_copies_the_context_and_measures() -> None:
    context = CallContext("run", "task", "topology", 2, ("e0", "e1"), "ann", "revise", ("bob",))
    ledger = Ledger()
    request = ChatRequest(ASK.messages, context=context, sample=3)
    prices = Prices({"scripted": ModelPrice(prompt=1, completion=2)})
    asyncio.run(Meter(ScriptedBackend("the answer"), ledger, prices).complete(request))
    (row,) = ledger
    assert row.milliseconds > 0
    expected = LedgerRow(
        "run", "task", "topology", 2, ("e0", "e1"), "ann", "revise", "scripted", "scripted",
        sample=3, prompt_tokens=5, completion_tokens=2, source="counted",
        milliseconds=row.milliseconds, price=(5 * 1 + 2 * 2) / 1e6,
    )  # fmt: skip
    assert row == expected


def test_a_failed_call_is_a_row_with_unknown_tokens() -> None:
    ledger = Ledger()
    with pytest.raises(errors.RateLimited):
        asyncio.run(Meter(ScriptedBackend([errors.RateLimited("slow")]), ledger).complete(ASK))
    (row,) = ledger
    assert (row.error, row.prompt_tokens, row.price) == ("RateLimited", None, None)
    assert ledger.totals().unknown == ledger.totals().failed == 1
