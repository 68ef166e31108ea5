"""Allowances never promise more than there is, and a server's own count agrees."""

from __future__ import annotations

import asyncio
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperagent import errors, llm
from hyperagent.llm import (
    Allowance,
    Budget,
    ChatReply,
    ChatRequest,
    FunctionBackend,
    Ledger,
    Message,
    ModelPrice,
    Prices,
    RetryPolicy,
    ScriptedBackend,
    Usage,
    estimate,
    stack,
)
from hyperagent.testing.answers import generate
from hyperagent.testing.servers import Answer, LoopbackServer, failure

ASK = ChatRequest((Message("user", "What is 6 times 7?"),), max_tokens=16)
NEED = estimate.reservation(ASK)


def spending(backend: llm.Backend, allowance: Allowance, **options: object) -> Budget:
    return Budget(backend, allowance, **options)  # type: ignore[arg-type]


def test_a_call_that_does_not_fit_is_not_made() -> None:
    backend = ScriptedBackend("42")
    with pytest.raises(errors.BudgetExceeded, match=r"budget of 10 tokens.*may need 26"):
        asyncio.run(spending(backend, Allowance(tokens=10)).complete(ASK))
    assert backend.calls == 0


def test_the_real_usage_is_charged_not_the_reservation() -> None:
    allowance = Allowance(tokens=1000)
    asyncio.run(spending(ScriptedBackend("42"), allowance).complete(ASK))
    assert (allowance.spent.tokens, allowance.held.tokens) == (5 + 1, 0)
    assert allowance.left().tokens == 994
    assert allowance.left().calls is None


def test_unknown_usage_is_charged_as_reserved() -> None:
    allowance = Allowance(tokens=1000)
    reply = ChatReply("42", Usage(prompt_tokens=5))
    asyncio.run(spending(ScriptedBackend([reply]), allowance).complete(ASK))
    assert allowance.spent.tokens == NEED


@pytest.mark.parametrize(
    ("error", "tokens"),
    [
        (errors.CallTimeout("late"), NEED),
        (errors.ServerFailed("500"), NEED),
        (errors.BadReply("half"), NEED),
        (RuntimeError("who knows"), NEED),
        (errors.ConnectFailed("nobody"), 0),
        (errors.RateLimited("slow"), 0),
        (errors.RequestRejected("400"), 0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failed_call_costs_what_it_may_have_cost(error: Exception, tokens: int) -> None:
    allowance = Allowance(tokens=1000, calls=10)
    with pytest.raises(type(error)):
        asyncio.run(spending(ScriptedBackend([error]), allowance).complete(ASK))
    assert (allowance.spent.tokens, allowance.spent.calls) == (tokens, 1)
    assert (allowance.held.tokens, allowance.held.calls) == (0, 0)


def test_a_call_cancelled_in_flight_stays_charged_and_has_a_row() -> None:
    allowance, ledger = Allowance(tokens=1000), Ledger()

    async def forever(request: ChatRequest) -> str:
        await asyncio.sleep(30)
        return "late"

    async def cancel() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await stack(FunctionBackend(forever), ledger=ledger, allowance=allowance).complete(
                    ASK
                )

    asyncio.run(cancel())
    assert (allowance.spent.tokens, allowance.held.tokens) == (NEED, 0)
    assert [(row.error, row.total_tokens) for row in ledger] == [("CancelledError", None)]


def test_a_call_cancelled_in_the_queue_costs_nothing_and_has_no_row() -> None:
    allowance, ledger = Allowance(tokens=1000, calls=10), Ledger()
    limiter = llm.Limiter(max_in_flight=1)
    go = []

    async def wait(request: ChatRequest) -> str:
        await go[0].wait()
        return "42"

    async def cancel() -> None:
        go.append(asyncio.Event())
        wrapped = stack(FunctionBackend(wait), ledger=ledger, allowance=allowance, limiter=limiter)
        first = asyncio.create_task(wrapped.complete(ASK))
        second = asyncio.create_task(wrapped.complete(ASK))
        await asyncio.sleep(0.01)
        assert allowance.held.calls == 2
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        go[0].set()
        await first
        await wrapped.complete(ASK)  # the slot is free again

    asyncio.run(cancel())
    assert allowance.spent.calls == len(ledger) == 2
    assert allowance.held.calls == allowance.held.tokens == 0
    assert ledger.totals().failed == 0


def test_a_parent_holds_its_children_together() -> None:
    run = Allowance(tokens=NEED + 10)
    tasks = [Allowance(tokens=NEED + 10, parent=run) for _ in range(2)]
    one = tasks[0].reserve(NEED)
    with pytest.raises(errors.BudgetExceeded):
        tasks[1].reserve(NEED)
    assert tasks[1].held.tokens == 0
    assert tasks[1].left().tokens == 10
    one.settle(Usage(3, 4))
    assert run.spent.tokens == tasks[0].spent.tokens == 7
    tasks[1].reserve(NEED)


def test_a_reservation_is_settled_once() -> None:
    allowance = Allowance(tokens=100)
    reservation = allowance.reserve(40)
    reservation.settle(Usage(10, 10))
    reservation.settle(Usage(10, 10))
    reservation.fail(RuntimeError())
    assert (allowance.spent.tokens, allowance.held.tokens) == (20, 0)


def test_calls_are_limited() -> None:
    backend = ScriptedBackend([errors.RateLimited("slow")] * 10)
    wrapped = stack(
        backend,
        ledger=Ledger(),
        allowance=Allowance(calls=3),
        retry=RetryPolicy(attempts=10, first_wait=0),
    )
    with pytest.raises(errors.BudgetExceeded, match="budget of 3 calls"):
        asyncio.run(wrapped.complete(ASK))
    assert backend.calls == 3


def test_money_is_limited_and_needs_a_known_price() -> None:
    prices = Prices({"m": ModelPrice(prompt=1e6, completion=1e6)})  # 1 per token
    allowance = Allowance(price=NEED + 3)
    reply = ChatReply("42", Usage(2, 2), model="m")
    backend = ScriptedBackend([reply, reply], name="x:m")
    asyncio.run(spending(backend, allowance, prices=prices).complete(ASK))
    assert allowance.spent.price == 4
    with pytest.raises(errors.BudgetExceeded, match="price"):
        asyncio.run(spending(backend, allowance, prices=prices).complete(ASK))
    for unknown in (None, Prices({})):
        with pytest.raises(errors.ConfigError, match="price of the model"):
            asyncio.run(spending(backend, allowance, prices=unknown).complete(ASK))
    assert backend.calls == 1


@pytest.mark.parametrize("wrong", [{"tokens": -1}, {"calls": -1}, {"price": float("nan")}])
def test_a_budget_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(errors.ConfigError, match=next(iter(wrong))):
        Allowance(**wrong)  # type: ignore[arg-type]


FATES = st.sampled_from(["exact", "less", "unknown", "ran", "refused", "unsent"])


@given(
    limit=st.integers(0, 500),
    child_limit=st.none() | st.integers(0, 500),
    calls=st.none() | st.integers(0, 8),
    steps=st.lists(st.tuples(st.integers(0, 200), st.booleans(), FATES), max_size=30),
    order=st.randoms(use_true_random=False),
)
def test_no_order_of_events_passes_a_limit(limit, child_limit, calls, steps, order) -> None:  # type: ignore[no-untyped-def]
    run = Allowance(tokens=limit, calls=calls)
    task = Allowance(tokens=child_limit, parent=run)
    truly_spent, open_reservations = 0, []

    def end(entry: tuple[llm.budget.Reservation, str]) -> int:
        reservation, fate = entry
        if fate in ("exact", "less", "unknown"):
            used = reservation.tokens // (2 if fate == "less" else 1)
            reservation.settle(Usage() if fate == "unknown" else Usage(used, 0))
            return used
        error = {
            "ran": errors.CallTimeout(""),
            "refused": errors.RateLimited(""),
            "unsent": asyncio.CancelledError(),
        }[fate]
        if fate == "unsent":
            error.never_sent = True  # type: ignore[attr-defined]
        reservation.fail(error)
        return reservation.tokens if fate == "ran" else 0

    for tokens, through_child, fate in steps:
        allowance = task if through_child else run
        before = (run.held.tokens, task.held.tokens)
        try:
            open_reservations.append((allowance.reserve(tokens), fate))
        except errors.BudgetExceeded:
            assert (run.held.tokens, task.held.tokens) == before
        if open_reservations and order.random() < 0.5:
            chosen = order.randrange(len(open_reservations))
            truly_spent += end(open_reservations.pop(chosen))
        assert run.spent.tokens == truly_spent
        assert run.spent.tokens + run.held.tokens <= limit
        assert child_limit is None or task.spent.tokens + task.held.tokens <= child_limit
        assert calls is None or run.spent.calls + run.held.calls <= calls
        assert run.left().tokens == limit - run.spent.tokens - run.held.tokens
    for entry in open_reservations:
        truly_spent += end(entry)
    assert run.spent.tokens == truly_spent <= limit
    assert run.held == task.held == llm.budget.Amount()


def test_threads_share_a_parent() -> None:
    run = Allowance(tokens=10_000)

    def work() -> None:
        task = Allowance(parent=run)
        for _ in range(1000):
            try:
                task.reserve(3).settle(Usage(2, 1))
            except errors.BudgetExceeded:
                return

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (run.spent.tokens, run.held.tokens) == (9999, 0)


@pytest.mark.parametrize("trouble", [False, True], ids=["healthy", "failing"])
def test_64_parallel_agents_against_the_servers_own_count(trouble: bool) -> None:
    limit = 3000
    served = [0]

    class Counting(LoopbackServer):
        """Adds up the tokens of the replies that it really makes."""

        def choose(self, request):  # type: ignore[no-untyped-def]
            answer = super().choose(request)
            if answer.status == 200:
                made = generate(request.body, answer, self.reply)
                served[0] += made.prompt_tokens + len(made.tokens)
            return answer

    async def agents(url: str, allowance: Allowance, ledger: Ledger) -> list[object]:
        wrapped = stack(
            llm.backend(f"openai:tiny@{url}"),
            ledger=ledger,
            allowance=Allowance(parent=allowance),
            retry=RetryPolicy(attempts=2, first_wait=0.001),
        )

        async def agent() -> None:
            while True:
                await wrapped.complete(ASK)

        try:
            return await asyncio.gather(*(agent() for _ in range(64)), return_exceptions=True)
        finally:
            await wrapped.aclose()

    # A text longer than max_tokens, so that each reply is as long as it may be.
    with Counting(Answer(text="word " * 50)) as server:
        if trouble:
            bad = [failure(500, "no"), failure(429, "no"), Answer(cut=0.5), Answer(usage="missing")]
            server.next(*(bad[n % 4] if n % 3 == 0 else server.answer for n in range(120)))
        allowance, ledger = Allowance(tokens=limit), Ledger()
        ends = asyncio.run(agents(server.url, allowance, ledger))
        assert server.count == len(ledger)
    kinds = {type(end) for end in ends}
    assert kinds <= {
        errors.BudgetExceeded,
        errors.ServerFailed,
        errors.RateLimited,
        errors.BadReply,
    }
    assert errors.BudgetExceeded in kinds
    totals = ledger.totals()
    assert totals.total_tokens <= allowance.spent.tokens <= limit
    assert served[0] <= limit
    assert trouble or served[0] == totals.total_tokens
    assert allowance.held.tokens == 0
    # Not merely safe: nearly all of the budget was used.
    assert allowance.spent.tokens > limit - 2 * NEED
