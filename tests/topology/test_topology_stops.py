"""Stop rules against their papers' criteria, against the poll, and inside a running team."""

from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_world import AGENTS, world
from scipy.stats import beta

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.llm import FunctionBackend
from hyperagent.tasks import Task
from hyperagent.team import Agent, Result, Routing, Team
from hyperagent.team.note import Note
from hyperagent.team.vote import UNKNOWN_RELIABILITY, poll
from hyperagent.topology import (
    Adaptive,
    Agreement,
    Design,
    Escalation,
    Posterior,
    StopRule,
    Vote,
    Window,
)
from hyperagent.topology import stops as stops_module
from hyperagent.topology.cascade import Cascade, Reliabilities, search_cascades

answers = st.lists(st.sampled_from(["1", "2", "3", None]), min_size=1, max_size=12)


def votes(*spoken: str | None) -> list[Vote]:
    return [Vote("ann" if i == 0 else f"ann#{i}", answer) for i, answer in enumerate(spoken)]


@given(answers)
def test_agreement_is_the_consensus_of_dylan(spoken: list[str | None]) -> None:
    """There, more answers than the floor of 2/3 of the agents must be equal."""
    most = max(spoken.count(a) for a in ("1", "2", "3"))
    assert Agreement()(votes(*spoken)) == (most > math.floor(2 / 3 * len(spoken)))


def test_two_of_three_are_not_more_than_two_thirds() -> None:
    assert not Agreement()(votes("1", "1", "2"))
    assert Agreement()(votes("1", "1", "1", "2"))
    assert not Agreement(0)(votes(None))


def test_a_window_must_be_full_and_of_one_mind() -> None:
    stop = Window(3)
    assert not stop(votes("1", "1"))
    assert stop(votes("1", "1", "1"))
    assert not stop(votes("1", "1", "1", "1")), "half of the next window"
    assert not stop(votes("2", "1", "1", "1", "1", "2"))
    assert stop(votes("2", "1", "1", "1", "1", "1")), "earlier windows are not looked at"
    assert not stop(votes(None, None, None))
    assert not stop([])


@given(answers)
def test_adaptive_is_the_beta_criterion(spoken: list[str | None]) -> None:
    first, second = sorted((spoken.count(a) for a in ("1", "2", "3")), reverse=True)[:2]
    expected = beta.sf(0.5, first + 1, second + 1)
    assert Adaptive.probability(votes(*spoken)) == pytest.approx(expected, abs=1e-12)
    assert Adaptive(0.9)(votes(*spoken)) == (expected > 0.9)


def test_four_equal_answers_settle_it_at_the_published_level() -> None:
    assert not Adaptive()(votes(*"111"))
    assert Adaptive()(votes(*"1111"))
    assert not Adaptive()(votes(*"11112"))
    assert Adaptive.probability([]) == 0.5


@given(answers, st.integers(1, 12), st.lists(st.floats(0, 1), min_size=12, max_size=12))
def test_posterior_is_that_of_the_poll(
    spoken: list[str | None], wrong: int, rates: list[float]
) -> None:
    names = [f"a{i}" for i in range(len(spoken))]
    known = dict(zip(names[::2], rates, strict=False))
    stop = Posterior(0.9, known, wrong)
    said = [Vote(name, answer) for name, answer in zip(names, spoken, strict=True)]
    counted = poll([Note(*vote) for vote in said], known, wrong=wrong)
    if not counted.tied:  # the poll breaks ties by confidence first
        assert stop.probability(said) == pytest.approx(counted.posterior, abs=1e-12)
        assert stop(said) == (stop.probability(said) >= 0.9)
    assert stops_module.UNKNOWN_RELIABILITY == UNKNOWN_RELIABILITY


@pytest.mark.parametrize("threshold", [0.0, 0.7, 0.95, 1.1])
def test_posterior_by_kind_stops_where_the_recorded_cascade_does(threshold: float) -> None:
    replies = world(300, seed=4)
    known = Reliabilities.measure(world(400, seed=5), strength=20.0)
    assert not np.allclose(known.by_kind[0][1], known.by_kind[1][1], atol=0.05)
    outcome = Cascade(replies.agents, threshold, known).run(replies)
    rule = Posterior.measured(threshold, replies.agents, known)
    for row in range(len(replies)):
        stop = rule.of_kind(str(replies.kinds[row]))
        said: list[Vote] = []
        for agent, code in zip(replies.agents, replies.answers[row], strict=True):
            said.append(Vote(agent, None if code < 0 else str(code)))
            if stop(said):
                break
        assert len(said) == outcome.asked[row].sum()


def test_a_kind_that_is_not_listed_has_the_overall_rates() -> None:
    rule = Posterior(0.9, {"ann": 0.6, "bob": 0.7}, by_kind={"rate": {"ann": 0.9}})
    assert rule.rates == {"ann": 0.6, "bob": 0.7}
    assert rule.of_kind("rate").rates == {"ann": 0.9, "bob": 0.7}
    assert rule.of_kind("percent").rates == rule.rates
    sample = [Vote("ann#3", "1")]
    assert rule.probability(sample) == pytest.approx(0.6)
    assert rule.of_kind("rate").probability(sample) == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Agreement(1.0), "share"),
        (lambda: Window(0), "size"),
        (lambda: Window(True), "size"),
        (lambda: Adaptive(1.0), "level"),
        (lambda: Posterior(-0.1), "threshold"),
        (lambda: Posterior(0.9, wrong=0), "wrong"),
        (lambda: Posterior(0.9, {"ann": 1.5}), "'ann'"),
        (lambda: Posterior(0.9, by_kind={"rate": {"bob": -1}}), "'bob'"),
    ],
)
def test_what_is_out_of_range_is_named(make, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        make()


class Stopped:
    """A designer of one phase an agent with a given rule."""

    name = "stopped"

    def __init__(self, stop: StopRule | None) -> None:
        self.stop = stop

    def design(self, task, agents, *, seed: int = 0) -> Design:
        names = tuple(agent.id for agent in agents)
        edges = tuple(Hyperedge((name,), phase=i) for i, name in enumerate(names))
        return Design(Hypergraph(names, edges), name=self.name, stop=self.stop)


def solve(stop: StopRule | None, rates: dict[str, float] | None = None, **said: str) -> Result:
    agents = [Agent(name, reliability=(rates or {}).get(name)) for name in said]
    backend = FunctionBackend(lambda r: f"The answer is {said[r.context.agent]}.")
    routing = Routing(anytime=0.6, decision="never")
    team = Team(agents, Stopped(stop), backend, routing=routing)
    return asyncio.run(team.solve(Task("How many?", "q", "1")))


def test_the_rule_of_a_design_stands_in_for_the_anytime_threshold() -> None:
    said = {"ann": "1", "bob": "2", "cat": "2", "dan": "3"}
    rates = dict.fromkeys(said, 0.9)
    assert solve(None, rates, **said).opened_phases == 1
    assert solve(Agreement(0.6), rates, **said).opened_phases == 1
    result = solve(Window(3), rates, **said)
    assert result.opened_phases == 4
    result = solve(Window(1), rates, **said)
    assert [board.closed_by for board in result.boards] == ["rounds", *["skipped"] * 3]
    assert result.design.stop.name == "window"


def test_rates_of_a_posterior_weigh_the_votes_too() -> None:
    """Else the team could stop because it is sure of one answer, and give the other."""
    said = {"ann": "1", "bob": "2", "cat": "2"}
    stated = {"ann": 0.55, "bob": 0.9, "cat": 0.9}
    rule = Posterior(0.99, stated, by_kind={"rate": {"ann": 0.97, "bob": 0.4, "cat": 0.4}})
    assert solve(rule, stated, **said).answer == "2"
    result = solve(rule.of_kind("rate"), stated, **said)
    assert result.answer == "1"
    spoken = [Vote(name, answer) for name, answer in said.items()]
    assert result.posterior == pytest.approx(rule.of_kind("rate").probability(spoken))


@pytest.mark.parametrize(("strength", "asked"), [(None, (60, 60, 24)), (20.0, (60, 24, 21))])
def test_a_cascade_does_live_what_it_did_on_the_records(
    strength: float | None, asked: tuple[int, ...], tmp_path
) -> None:
    known = Reliabilities.measure(world(400, seed=5), strength=strength)
    cascade = Cascade(AGENTS, 0.8, known)
    Escalation(cascade).save(tmp_path)
    replies = world(60, seed=6)
    outcome = cascade.run(replies)
    assert tuple(outcome.asked.sum(axis=0)) == asked
    agents = [Agent(name) for name in replies.agents]
    calls: list[str] = []
    row = 0

    def say(request) -> str:
        calls.append(request.context.agent)
        code = replies.answers[row, replies.agents.index(request.context.agent)]
        return "I do not know." if code < 0 else f"The answer is {code}."

    team = Team(agents, f"escalation:weights={tmp_path}", FunctionBackend(say),
                routing=Routing(decision="never"))  # fmt: skip
    for row in range(len(replies)):
        # The world calls its kinds plain and rate.
        question = "How many each?" if replies.kinds[row] == "rate" else "How many?"
        calls.clear()
        result = asyncio.run(team.solve(Task(question, f"q{row}")))
        assert calls == [AGENTS[j] for j in np.flatnonzero(outcome.asked[row])]
        right = [c for c, ok in zip(replies.answers[row], replies.correct[row], strict=True) if ok]
        assert (result.answer in {str(code) for code in right}) == outcome.correct[row]


def test_a_cascade_needs_its_agents(task, make_team) -> None:
    with pytest.raises(ConfigError, match="either"):
        Escalation()
    cascade = search_cascades(world(100)).best(0.0)
    with pytest.raises(ConfigError, match=cascade.order[0]):
        Escalation(cascade).design(task, make_team(3))
