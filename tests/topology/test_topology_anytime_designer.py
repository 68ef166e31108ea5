"""The anytime policy at work does what the same policy does on recorded replies."""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_sums import questions, recorder

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.learning.alone import ask_alone, read_replies, seat_alone
from hyperagent.llm import ChatRequest, FunctionBackend
from hyperagent.tasks import Task
from hyperagent.team import Agent, Team
from hyperagent.topology import (
    AnytimeDesigner,
    Beliefs,
    Design,
    Guide,
    Replies,
    Vote,
    anytime_designer,
    designer,
)
from hyperagent.topology.anytime_designer import AnytimeGuide

SKILLS = {"cheap": 0.5, "fair": 0.7, "good": 0.9}


def answers(skill: float) -> Callable[[ChatRequest], str]:
    """Right on this share of the questions; half of the wrong replies say that they guess."""

    def answer(request: ChatRequest) -> str:
        a, b = map(int, re.findall(r"\d+", request.messages[-1].content)[:2])
        rng = random.Random(hashlib.sha256(f"{a} {b} {skill}".encode()).digest())
        if rng.random() < skill:
            return f"{a} + {b} = {a + b}\nThe answer is {a + b}."
        hedge = "Approximately, I assume. " if rng.random() < 0.5 else ""
        words = "It takes some thought. " * rng.randrange(3)
        return f"{hedge}{words}The answer is {a + b + rng.randrange(1, 4)}."

    return answer


@pytest.fixture(scope="module")
def team() -> Team:
    members = [
        Agent(name, tools=(), backend=FunctionBackend(answers(skill), name=f"function:{name}"))
        for name, skill in SKILLS.items()
    ]
    return Team(members, "group", name="sums")


def recorded(team: Team, tasks: list[Task]) -> Replies:
    """All agents on all tasks, as a run folder keeps them."""
    samples: dict[str, dict] = {}
    agents = tuple(team.agents.values())
    # The dear agent costs eight times as much.
    dear = {"cheap": 1, "fair": 2, "good": 8}
    execute = recorder(
        team, samples,
        price=lambda graph, result: result.usage.total_tokens * dear[graph.nodes[0]] * 1e-6,
    )  # fmt: skip
    ask_alone(agents, tasks, execute)
    return read_replies(samples, agents, tasks)


@pytest.fixture(scope="module")
def world(team: Team) -> SimpleNamespace:
    train, test = recorded(team, questions(0, 300)), recorded(team, questions(1000, 80))
    (policy,) = Beliefs.learn(train).policies((0.2,), "dollars")
    return SimpleNamespace(policy=policy, test=test, tasks=questions(1000, 80))


def test_live_it_asks_and_answers_as_on_record(team: Team, world: SimpleNamespace) -> None:
    offline = world.policy.run(world.test)
    designer = AnytimeDesigner(world.policy)
    live = team.with_topology(designer)
    for row, task in enumerate(world.tasks):
        result = live.solve_sync(task)
        asked = {entry.agent for entry in result.ledger}
        expected = {
            name for name, was in zip(world.test.agents, offline.asked[row], strict=True) if was
        }
        assert asked == expected, task.question
        assert (result.answer == task.answer) == offline.correct[row], task.question
        assert result.opened_phases == len(expected)
    # Something was learned to decide: neither everybody every time nor one agent only.
    assert 1.05 < offline.asked.sum(axis=1).mean() < 2.9


def test_a_saved_policy_decides_alike(world: SimpleNamespace, tmp_path: Path) -> None:
    first = AnytimeDesigner(world.policy, wrong=7)
    first.save(tmp_path / "a")
    second = AnytimeDesigner.load(tmp_path / "a")
    assert second.wrong == 7
    assert designer(f"anytime:weights={tmp_path / 'a'}").wrong == 7
    second.save(tmp_path / "b")
    for name in ("config.json", "weights.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    np.testing.assert_array_equal(
        second.policy.run(world.test).asked, world.policy.run(world.test).asked
    )
    with pytest.raises(ConfigError, match="without their training rows"):
        second.policy.beliefs.policies((0.1,))


def test_the_first_phase_is_the_first_ask_and_probabilities_follow_the_replies(
    team: Team, world: SimpleNamespace
) -> None:
    task = world.tasks[0]
    design = AnytimeDesigner(world.policy).design(task, tuple(team.agents.values()))
    guide = design.stop
    assert isinstance(guide, AnytimeGuide)
    assert isinstance(guide, Guide)
    phases = {edge.phase: edge.members for edge in design.hypergraph.edges}
    assert guide.next((), phases) == 0
    asked = [design.probabilities[f"e{i}"] for i in range(3)]
    assert asked[0] == 1.0
    assert all(0 <= share < 1 for share in asked[1:])
    assert any(asked[1:])
    # What is expected is what the policy took on the questions that it learned from.
    training = world.policy.beliefs.training
    taken = (world.policy.run(training).asked * training.costs("tokens")).sum(axis=1).mean()
    assert design.expected.tokens == pytest.approx(taken, rel=0.1)
    assert sum(design.expected.by_edge.values()) == pytest.approx(design.expected.tokens)
    assert not guide(())
    hedged = Vote("good", "3", None, "Approximately, I assume. The answer is 3.")
    plain = Vote("good", "3", None, "1 + 2 = 3\nThe answer is 3.")
    assert guide.trust([plain])["good"] > guide.trust([hedged])["good"] + 0.1
    assert guide.probability([plain]) > guide.probability([hedged])
    agrees = Vote("fair", "3", None, plain.text)
    differs = Vote("fair", "5", None, plain.text)
    assert guide.probability([hedged, agrees]) > guide.probability([hedged, differs])


def test_wrong_use(
    team: Team, world: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="either a policy or weights"):
        AnytimeDesigner()
    with pytest.raises(ConfigError, match="at least 1"):
        AnytimeDesigner(world.policy, wrong=0)
    with pytest.raises(ConfigError, match="no agent good"):
        AnytimeDesigner(world.policy).design(world.tasks[0], [Agent("cheap"), Agent("fair")])
    with pytest.raises(ConfigError, match="cannot use the weights"):
        AnytimeDesigner.load(tmp_path)
    AnytimeDesigner(world.policy).save(tmp_path)
    monkeypatch.setattr(anytime_designer, "REPLY_FEATURES", ("one",))
    with pytest.raises(ConfigError, match="learn again"):
        AnytimeDesigner.load(tmp_path)
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="both"):
        team.solve_sync(world.tasks[0], stop=AnytimeGuide(world.policy, "?"))


class Backwards:
    """Opens the last phase first and stops after two; trusts one author only."""

    name = "backwards"
    rates: dict[str, float] = {}  # noqa: RUF012

    def __init__(self, trusted: str) -> None:
        self.trusted, self.seen = trusted, []

    def __call__(self, votes: list[Vote]) -> bool:
        return len(votes) == 2

    def next(self, votes: list[Vote], closed: dict[int, list[str]]) -> int | None:
        self.seen.append((len(votes), dict(closed)))
        return None if self(votes) else max(closed)

    def trust(self, votes: list[Vote]) -> dict[str, float]:
        assert all(vote.text for vote in votes)
        return {vote.author: 0.9 if vote.author == self.trusted else 0.1 for vote in votes}


@pytest.mark.parametrize("trusted", ["b", "c"])
def test_a_guide_opens_phases_in_its_own_order_and_weighs_the_votes(trusted: str) -> None:
    team = Team(
        [
            Agent(name, tools=(), backend=FunctionBackend(lambda r, n=n: f"The answer is {n}."))
            for n, name in enumerate("abc", 1)
        ]
    )
    graph = Hypergraph(
        ("a", "b", "c"), tuple(Hyperedge((n,), phase=i) for i, n in enumerate("abc"))
    )
    guide = Backwards(trusted)

    class Fixed:
        name = "fixed"

        def design(self, task: object, agents: object, *, seed: int = 0) -> Design:
            return Design(graph, stop=guide)

    result = asyncio.run(team.with_topology(Fixed()).solve("What is it?"))
    assert guide.seen[0] == (0, {0: ["a"], 1: ["b"], 2: ["c"]})
    assert guide.seen[1] == (1, {0: ["a"], 1: ["b"]})
    assert [entry.agent for entry in result.ledger] == ["c", "b"]
    assert result.answer == {"b": "2", "c": "3"}[trusted]
    assert result.opened_phases == 2


def test_seats_alone() -> None:
    seats = seat_alone([Agent("x"), Agent("y")])
    assert {name: graph.seated() for name, graph in seats.items()} == {"x": ("x",), "y": ("y",)}
    assert all(set(graph.nodes) == {"x", "y"} for graph in seats.values())
