"""Agents, their roles and what they are told."""

from __future__ import annotations

import pytest

from hyperagent.errors import ConfigError, UnknownNameError
from hyperagent.tasks import Task
from hyperagent.team import Agent, Note, Sampling, get_role, role_names
from hyperagent.team.prompts import build_messages
from hyperagent.team.speaker import call_seed
from hyperagent.team.tools import get_tools

TASK = Task("How many eggs?", answer="SECRET-GOLD", meta={"tests": "SECRET-TESTS"})


@pytest.mark.parametrize("name", role_names())
def test_a_role_is_complete(name: str) -> None:
    role = get_role(name)
    assert role.prompt.endswith(".")
    assert role.profile.endswith(".")
    get_tools(role.tools)
    agent = Agent("ann", role=name)
    assert (agent.prompt, agent.profile, agent.tools) == (role.prompt, role.profile, role.tools)


def test_an_agent_may_bring_its_own_prompt() -> None:
    agent = Agent("ann", role="poet", prompt="Rhyme.", tools=["calculator"])
    assert (agent.prompt, agent.profile, agent.tools) == ("Rhyme.", "poet", ("calculator",))


@pytest.mark.parametrize("name", ["", " ", "a#1", None])
def test_bad_ids(name: object) -> None:
    with pytest.raises(ConfigError, match="agent id"):
        Agent(name)


def test_bad_values_are_named() -> None:
    with pytest.raises(UnknownNameError, match="'solver'"):
        Agent("ann", role="solvr")
    with pytest.raises(ConfigError, match=r"reliability.*1\.5"):
        Agent("ann", reliability=1.5)
    with pytest.raises(ConfigError, match=r"temperature.*3"):
        Sampling(temperature=3)
    with pytest.raises(ConfigError, match=r"top_p.*0"):
        Sampling(top_p=0)
    with pytest.raises(ConfigError, match=r"max_tokens.*0"):
        Sampling(max_tokens=0)


@pytest.mark.parametrize("purpose", ["speak", "revise", "verify", "decide"])
def test_gold_and_tests_are_never_shown(purpose: str) -> None:
    messages = build_messages("P", TASK, purpose=purpose, notes=[Note("bob", "7")])
    assert "SECRET" not in "".join(message.content for message in messages)


def test_the_common_prefix_comes_first() -> None:
    alone = build_messages("P", TASK, purpose="speak")
    reading = build_messages("P", TASK, purpose="revise", notes=[Note("bob", "7")])
    assert reading[0] == alone[0]
    assert reading[1].content.startswith(alone[1].content)


def test_choices_and_tools_are_in_the_prompt() -> None:
    task = Task("Which?", kind="choice", choices=("red", "blue"))
    system, user = build_messages("P", task, purpose="speak", tools=get_tools(["calculator"]))
    assert "A) red\nB) blue" in user.content
    assert "```calculator" in system.content


def test_seeds_are_the_same_in_every_topology_and_differ_else() -> None:
    seeds = {
        call_seed(seed, task, node, purpose, round)
        for seed in (0, 1)
        for task in ("a", "b")
        for node in ("ann", "ann#1")
        for purpose in ("speak", "revise")
        for round in (0, 1)
    }
    assert len(seeds) == 32
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert call_seed(0, "a", "ann", "speak", 0) == call_seed(0, "a", "ann", "speak", 0)
