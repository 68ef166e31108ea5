"""Phases, boards, gate, revision, anytime stop, decision, failures."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperagent.errors import (
    AuthenticationFailed,
    BudgetExceeded,
    ConfigError,
    RequestRejected,
)
from hyperagent.hypergraph import Hyperedge, Hypergraph, build_anchor
from hyperagent.llm import Allowance, ChatRequest, FunctionBackend
from hyperagent.tasks import Task
from hyperagent.team import Agent, Result, Routing, Team

TASK = Task("How many eggs are left?", id="eggs", answer="18")
NAMES = ("ann", "bob", "cat", "dan")


class Script:
    """A model that answers by agent and remembers every request."""

    def __init__(self, **answers: str | list[str] | Exception) -> None:
        self.answers = answers
        self.requests: list[ChatRequest] = []

    def __call__(self, request: ChatRequest) -> str:
        agent = request.context.agent
        earlier = sum(r.context.agent == agent for r in self.requests)
        self.requests.append(request)
        answer = self.answers.get(agent, "18")
        if isinstance(answer, list):
            answer = answer[min(earlier, len(answer) - 1)]
        if isinstance(answer, Exception):
            raise answer
        return f"NOTE\nanswer: {answer}\nconfidence: 0.8\nfact: as {agent} says"

    def calls(self) -> list[tuple[str, str]]:
        return [(r.context.agent, r.context.purpose) for r in self.requests]

    def prompt(self, agent: str, call: int = -1) -> str:
        return [r.text for r in self.requests if r.context.agent == agent][call]


def solve(
    script: Script,
    *edges: Hyperedge,
    names: tuple[str, ...] = NAMES,
    reliability: dict[str, float] | None = None,
    task: Task = TASK,
    allowance: Allowance | None = None,
    **routing: object,
) -> Result:
    agents = [Agent(name, reliability=(reliability or {}).get(name)) for name in names]
    nodes = [*names, *{m for e in edges for m in e.members if m not in names}]
    team = Team(agents, Hypergraph(tuple(nodes), edges), FunctionBackend(script),
                routing=Routing(**routing))  # fmt: skip
    return asyncio.run(team.solve(task, allowance=allowance))


def test_first_words_are_independent_and_agreement_closes_the_group() -> None:
    script = Script()
    result = solve(script, Hyperedge(("ann", "bob", "cat")))
    assert sorted(script.calls()) == [("ann", "speak"), ("bob", "speak"), ("cat", "speak")]
    assert all("note from" not in request.text for request in script.requests)
    assert (result.answer, result.finish) == ("18", "vote")
    board = result.boards[0]
    assert (board.closed_by, board.rounds, board.agreement) == ("gate", 0, 1.0)


def test_benched_agents_are_never_called() -> None:
    script = Script()
    solve(script, Hyperedge(("ann",)))
    assert script.calls() == [("ann", "speak")]


def test_a_group_that_disagrees_reads_its_board_once() -> None:
    script = Script(ann=["7", "18"], bob="18", cat="20")
    result = solve(script, Hyperedge(("ann", "bob", "cat")))
    purposes = [purpose for _, purpose in script.calls()]
    assert purposes == ["speak"] * 3 + ["revise"] * 3
    shown = script.prompt("ann")
    assert "[note from bob]\n| answer: 18" in shown
    assert "[note from cat]\n| answer: 20" in shown
    assert "[note from ann]" not in shown
    assert "Your own earlier answer: 7" in shown
    assert result.answer == "18"
    assert result.boards[0].rounds == 1


def test_private_work_is_never_shown() -> None:
    script = Script(ann=["7", "7"], bob="18")
    script_with_work = lambda r: "SECRET WORK\n" + script(r)  # noqa: E731
    team = Team([Agent("ann"), Agent("bob")], "group", FunctionBackend(script_with_work))
    asyncio.run(team.solve(TASK))
    assert any("note from" in request.text for request in script.requests)
    assert all("SECRET WORK" not in request.text for request in script.requests)


def test_an_agent_in_several_groups_speaks_once_for_all() -> None:
    edges = Hyperedge(("ann", "bob")), Hyperedge(("ann", "cat")), Hyperedge(("ann", "dan"))
    script = Script()
    result = solve(script, *edges)
    assert script.calls().count(("ann", "speak")) == 1
    assert [set(board.latest()) for board in result.boards] == [set(e.members) for e in edges]
    row = next(row for row in result.ledger if row.agent == "ann")
    assert row.edges == ("e0", "e1", "e2")
    apart = Script()
    solve(apart, *edges, share_speech=False)
    assert apart.calls().count(("ann", "speak")) == 3


def test_a_note_is_carried_into_the_next_phase_and_read_by_newcomers() -> None:
    script = Script(ann="7", bob="7")
    solve(script, Hyperedge(("ann", "bob"), phase=0), Hyperedge(("bob", "cat"), phase=1),
          rounds=0)  # fmt: skip
    assert script.calls().count(("bob", "speak")) == 1
    shown = script.prompt("cat")
    assert "[note from bob]" in shown
    assert "[note from ann]" not in shown, "only the bridge agent's own note travels"


def test_the_gate_can_be_turned_off() -> None:
    script = Script()
    solve(script, Hyperedge(("ann", "bob")), gate=None)
    assert [purpose for _, purpose in script.calls()] == ["speak"] * 2 + ["revise"] * 2


def test_a_verifier_reads_and_the_solver_repairs() -> None:
    script = Script(ann=["7", "18"], bob="18")
    result = solve(script, Hyperedge(("ann",)), Hyperedge(("ann", "bob"), "verify", 1))
    assert script.calls()[:2] == [("ann", "speak"), ("bob", "verify")]
    assert ("ann", "revise") in script.calls()
    assert "[note from ann]" in script.prompt("bob", 0)
    assert result.answer == "18"


def test_a_decide_group_has_the_last_word() -> None:
    script = Script(ann="7", bob="7", cat="18")
    result = solve(
        script,
        Hyperedge(("ann",)),
        Hyperedge(("bob",)),
        Hyperedge(("ann", "bob", "cat"), "decide", 1),
    )
    assert script.calls()[-1] == ("cat", "decide")
    assert len(script.calls()) == 3
    assert (result.answer, result.finish) == ("18", "decision")


def test_a_decider_that_fails_leaves_the_vote_standing() -> None:
    script = Script(ann=["5", RequestRejected("no")], bob="5", cat="9")
    members = ("ann", "bob", "cat")
    result = solve(script, Hyperedge(members), Hyperedge(members, "decide", 1), rounds=0)
    assert script.calls()[-1] == ("ann", "decide")
    assert (result.answer, result.finish) == ("5", "vote")
    assert result.errors == ("ann: RequestRejected: no",)


def test_a_decide_group_that_nothing_comes_before_votes() -> None:
    script = Script(ann="5", bob="5", cat="9")
    result = solve(script, Hyperedge(("ann", "bob", "cat"), "decide"))
    assert (result.answer, result.finish) == ("5", "vote")


def test_the_anytime_stop_leaves_later_phases_closed() -> None:
    edges = [Hyperedge((name,), phase=i) for i, name in enumerate(NAMES)]
    sure = Script()
    result = solve(sure, *edges, reliability=dict.fromkeys(NAMES, 0.8), anytime=0.95)
    assert result.opened_phases == 2
    assert [board.closed_by for board in result.boards] == [
        "rounds",
        "rounds",
        "skipped",
        "skipped",
    ]
    unsure = Script(ann="1", bob="2", cat="3", dan="4")
    solve(unsure, *edges, reliability=dict.fromkeys(NAMES, 0.8), anytime=0.95)
    assert len(unsure.calls()) == 4 + 1, "all four, then one call to break the tie"


def test_independent_mode_never_shows_a_note() -> None:
    script = Script(ann="1", bob="2", cat="3")
    edges = Hyperedge(("ann", "bob")), Hyperedge(("bob", "cat"), "verify", 1)
    result = solve(script, *edges, read_notes=False)
    assert len(script.calls()) == 3
    assert all(not request.context.reads for request in script.requests)
    assert {purpose for _, purpose in script.calls()} == {"speak"}
    assert result.finish == "vote"


def test_a_tie_is_decided_by_one_more_call() -> None:
    script = Script(ann="7", bob=["18", "18"])
    result = solve(script, Hyperedge(("ann",)), Hyperedge(("bob",)), names=("bob", "ann"))
    assert script.calls()[-1] == ("bob", "decide")
    assert (result.answer, result.finish) == ("18", "decision")
    never = Script(ann="7", bob="18")
    result = solve(never, Hyperedge(("ann",)), Hyperedge(("bob",)), decision="never")
    assert len(never.calls()) == 2


def test_samples_of_one_agent_are_independent_requests() -> None:
    script = Script()
    graph = build_anchor("self_consistency:k=3", ["ann", "bob"])
    team = Team([Agent("ann"), Agent("bob")], graph, FunctionBackend(script))
    result = asyncio.run(team.solve(TASK))
    assert [request.sample for request in script.requests] == [0, 1, 2]
    assert len({request.seed for request in script.requests}) == 3
    assert result.votes == {"18": 3.0}


@pytest.mark.parametrize("failure", [RequestRejected("no"), ValueError("third-party bug")])
def test_an_agent_that_fails_blocks_nobody(failure: Exception) -> None:
    script = Script(bob=failure)
    result = solve(script, Hyperedge(("ann", "bob", "cat")))
    assert result.answer == "18"
    assert result.errors == (f"bob: {type(failure).__name__}: {failure}",)
    assert result.boards[0].latest()["bob"].answer is None


def test_an_agent_that_hangs_blocks_nobody() -> None:
    async def model(request: ChatRequest) -> str:
        if request.context.agent == "bob":
            await asyncio.sleep(60)
        return "The answer is 18."

    team = Team([Agent("ann"), Agent("bob")], "group", FunctionBackend(model),
                routing=Routing(timeout=0.05))  # fmt: skip
    result = asyncio.run(team.solve(TASK))
    assert result.answer == "18"
    assert "CallTimeout" in result.errors[0]


def test_an_error_that_every_call_would_meet_is_raised() -> None:
    with pytest.raises(AuthenticationFailed):
        solve(Script(bob=AuthenticationFailed("wrong key")), Hyperedge(("ann", "bob")))


def test_everybody_fails() -> None:
    script = Script(ann=RequestRejected("no"), bob=RequestRejected("no"))
    result = solve(script, Hyperedge(("ann", "bob")))
    assert (result.answer, result.finish, result.posterior) == (None, "no answer", 0.0)


def test_a_spent_budget_carries_the_partial_result() -> None:
    edges = [Hyperedge((name,), phase=i) for i, name in enumerate(NAMES)]
    with pytest.raises(BudgetExceeded) as caught:
        solve(Script(), *edges, allowance=Allowance(calls=2))
    partial = caught.value.partial
    assert isinstance(partial, Result)
    assert (partial.answer, partial.finish, partial.usage.calls) == ("18", "budget", 2)


def test_a_topology_that_cannot_run_is_refused() -> None:
    with pytest.raises(ConfigError, match="zoe"):
        solve(Script(), Hyperedge(("zoe",)))
    with pytest.raises(ConfigError, match="no hyperedge"):
        solve(Script())


def test_cancellation_leaves_no_task_behind() -> None:
    async def main() -> int:
        async def model(request: ChatRequest) -> str:
            await asyncio.sleep(60)
            return ""

        team = Team([Agent(n) for n in NAMES], "group", FunctionBackend(model))
        running = asyncio.create_task(team.solve(TASK))
        await asyncio.sleep(0.02)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1


def test_programs_are_chosen_by_running_them() -> None:
    task = Task(
        'def f(x):\n    """Double.\n    >>> f(2)\n    4\n    """\n',
        kind="code",
        meta={
            "entry_point": "f",
            "prompt": 'def f(x):\n    """Double.\n    >>> f(2)\n    4\n    """\n',
        },
    )
    good = "```python\ndef f(x):\n    return 2 * x\n```"
    bad = "```python\ndef f(x):\n    return x * x + 1\n```"
    replies = {"ann": bad, "bob": bad, "cat": good}
    team = Team([Agent(n) for n in replies], "group",
                FunctionBackend(lambda r: replies[r.context.agent]),
                routing=Routing(rounds=0))  # fmt: skip
    result = asyncio.run(team.solve(task))
    assert "2 * x" in result.answer


EDGES = st.lists(
    st.builds(
        Hyperedge,
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True).map(tuple),
        st.sampled_from(["discuss", "verify", "decide"]),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=5,
)


@given(EDGES, st.lists(st.sampled_from(["1", "2", "18"]), min_size=4, max_size=4))
def test_nobody_reads_the_future_and_the_ledger_is_the_only_total(
    edges: list[Hyperedge], answers: list[str]
) -> None:
    script = Script(**dict(zip(NAMES, answers, strict=True)))
    result = solve(script, *edges)
    seated = {name for edge in edges for name in edge.members}
    silent = seated - {agent for agent, _ in script.calls()}
    # Only in a group that decides may a member stay silent: one decider is enough.
    assert all(edge.mode == "decide" for edge in edges if silent & set(edge.members))
    assert not {agent for agent, _ in script.calls()} - seated
    first: dict[str, int] = {}
    for request in script.requests:
        context = request.context
        first.setdefault(context.agent, context.phase)
        for author in context.reads:
            assert first[author] <= context.phase
            together = any(
                {author, context.agent} <= set(edge.members) and edge.phase == context.phase
                for edge in edges
            )
            assert together or context.purpose == "decide"
        if context.purpose == "speak":
            assert not any(first.get(author) == context.phase for author in context.reads)
    assert len(result.ledger) == len(script.requests)
    assert result.usage.total_tokens == sum(row.total_tokens for row in result.ledger)


@given(EDGES, st.permutations(range(5)))
def test_order_of_edges_does_not_change_the_answer(
    edges: list[Hyperedge], order: list[int]
) -> None:
    answers = {"ann": "1", "bob": "2", "cat": "2", "dan": "18"}
    shuffled = [edges[i] for i in order if i < len(edges)]
    first, second = solve(Script(**answers), *edges), solve(Script(**answers), *shuffled)
    assert first.votes == second.votes
    assert first.usage.total_tokens == second.usage.total_tokens
