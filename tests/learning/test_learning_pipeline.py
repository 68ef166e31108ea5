"""Learning from the beginning to the end: the same bytes, whatever happens on the way."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from learning_parts import ANCHORS, hurry, plan, skilled, sums_team, write_sums

from hyperagent.errors import BudgetExceeded, ConfigError, ResumeRefused, RunError
from hyperagent.learning import LearnPlan, learn
from hyperagent.learning.plan import RIVALS, divide
from hyperagent.llm import ChatRequest, FunctionBackend, Prices
from hyperagent.llm.prices import ModelPrice
from hyperagent.tasks import Task, load
from hyperagent.team import Agent, Team
from hyperagent.topology import designer

pytestmark = pytest.mark.usefixtures("quick")

FRUITS = {"surrogate": ["surrogate.safetensors"], "codebook": ["codebook/weights.safetensors"],
          "vae": ["vae/weights.safetensors"], "rloo": ["rloo/weights.safetensors"],
          "paper": ["paper.safetensors"], "anytime": ["anytime/weights.safetensors"],
          "probe": ["probe/weights.safetensors"], "constant": []}  # fmt: skip

BIG = ("rloo", "paper", "anytime", "probe")


def files(folder: Path) -> dict[str, bytes]:
    """All that must not depend on how often a run was stopped."""
    names = ["policy.json", "outcomes.jsonl", "log.jsonl"]
    names += [str(p.relative_to(folder)) for p in folder.rglob("*.safetensors")]
    return {name: (folder / name).read_bytes() for name in names}


@pytest.mark.parametrize("policy", FRUITS)
def test_the_same_seed_gives_the_same_bytes_and_pays_nothing_twice(
    policy: str, tmp_path: Path, data_dir: Path
) -> None:
    kind = plan(policy=policy, executions=250 if policy in BIG else 90)
    first = learn(kind, out=tmp_path / "a", team=sums_team(), data_dir=data_dir)
    second = learn(
        kind, out=tmp_path / "b", team=sums_team(), data_dir=data_dir,
        calls=tmp_path / "a" / "replies.sqlite",
    )  # fmt: skip
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert set(FRUITS[policy]) <= set(files(tmp_path / "a"))
    assert second.paid_tokens == second.paid_calls == 0
    assert 0 < first.paid_tokens < first.tokens == second.tokens
    assert first.executions <= kind.executions
    # What was learned designs for the team that it was learned with, each time the same.
    made = designer(f"learned:{tmp_path / 'a'}")
    agents = tuple(sums_team().agents.values())
    graphs = {made.design(Task("What is 3 + 4?"), agents, seed=s).hypergraph for s in range(3)}
    assert len(graphs) == 1
    assert policy in made.name
    assert first.fixed in made.name or first.shipped


def test_another_seed_is_another_run(tmp_path: Path, data_dir: Path) -> None:
    for seed in (0, 1):
        learn(plan(policy="codebook", seed=seed), out=tmp_path / str(seed), team=sums_team(),
              data_dir=data_dir)  # fmt: skip
    assert files(tmp_path / "0")["outcomes.jsonl"] != files(tmp_path / "1")["outcomes.jsonl"]


def run_slowly(out: str, data: str) -> None:
    """In a process of its own."""
    hurry()
    team = sums_team()
    for backend in team.backends.values():
        function = backend.function

        def slow(request, function=function):
            time.sleep(0.002)
            return function(request)

        backend.function = slow
    learn(plan(), out=out, team=team, data_dir=data, resume=True)


def test_killed_at_any_moment_it_ends_with_the_same_bytes(tmp_path: Path, data_dir: Path) -> None:
    whole = learn(plan(), out=tmp_path / "whole", team=sums_team(), data_dir=data_dir)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["learning_parts", "hyperagent.learning.pipeline"])
    out, log = tmp_path / "killed", tmp_path / "killed" / "outcomes.jsonl"
    kills = 0
    for lines in (5, 25, 60, 75, None):
        process = context.Process(target=run_slowly, args=(str(out), str(data_dir)))
        process.start()
        while lines is not None and process.is_alive():
            if log.exists() and log.read_bytes().count(b"\n") >= lines:
                os.kill(process.pid, signal.SIGKILL)
                break
            time.sleep(0.001)
        process.join(60)
        kills += process.exitcode == -signal.SIGKILL
    assert kills >= 3
    assert process.exitcode == 0
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    done = json.loads((out / "learned.json").read_text())
    # A call in flight at a kill is made again; no other is.
    assert whole.paid_calls <= done["paid_calls"] <= whole.paid_calls + 4 * 8 * 3


def test_a_finished_run_can_be_resumed_at_no_cost(tmp_path: Path, data_dir: Path) -> None:
    first = learn(plan(), out=tmp_path / "a", team=sums_team(), data_dir=data_dir)
    before = files(tmp_path / "a")
    team = sums_team()
    again = learn(plan(), out=tmp_path / "a", team=team, data_dir=data_dir, resume=True)
    assert files(tmp_path / "a") == before
    assert again.paid_calls == first.paid_calls
    assert all(backend.calls == 0 for backend in team.backends.values())


def test_a_budget_sets_the_price(tmp_path: Path, data_dir: Path) -> None:
    free = learn(plan(), out=tmp_path / "free", team=sums_team(), data_dir=data_dir)
    tight = learn(
        plan(budget_tokens=150), out=tmp_path / "tight", team=sums_team(), data_dir=data_dir
    )
    assert free.price == 0.01
    assert tight.validation["fixed"]["tokens"] <= 150
    assert not tight.shipped or tight.validation["learned"]["tokens"] <= 150
    with pytest.raises(ConfigError, match=r"budget of 10 tokens .* cheapest fixed topology took 8"):
        learn(plan(budget_tokens=10), out=tmp_path / "no", team=sums_team(), data_dir=data_dir)


DEAR = {"weak": 1.0, "fair": 2.0, "good": 20.0}
"""Dollars for a million tokens."""


def priced_team() -> Team:
    """The sums team; whoever is wrong mostly says that it guesses."""

    def hedging(skill: float) -> Callable[[ChatRequest], str]:
        answer = skilled(skill)

        def reply(request: ChatRequest) -> str:
            a, b = map(int, re.findall(r"\d+", request.messages[-1].content)[:2])
            said = answer(request)
            return said if str(a + b) in said or a % 5 == 0 else f"I assume, approximately. {said}"

        return reply

    prices = Prices({name: ModelPrice(prompt=d, completion=d) for name, d in DEAR.items()})
    members = [
        Agent(
            name,
            tools=(),
            backend=FunctionBackend(hedging(skill), name=name, connection=name),
        )
        for name, skill in (("weak", 0.5), ("fair", 0.7), ("good", 0.95))
    ]
    return Team(members, "group", name="priced", prices=prices)


def test_an_anytime_policy_spares_dollars_and_ships(tmp_path: Path) -> None:
    """The cheap agents' replies show when they are wrong, and the good one costs 20 times more."""
    data = write_sums(tmp_path / "data", 900)
    asked = plan(
        policy="anytime", objective="dollars", price=0.01, executions=1500, limit=None,
        anchors=("single", "pair", "group", "star"),
    )  # fmt: skip
    done = learn(asked, out=tmp_path / "p", team=priced_team(), data_dir=data)
    assert done.shipped, done.verdict
    assert done.objective == "dollars"
    learned, fixed = done.validation["learned"], done.validation["fixed"]
    assert learned["correct"] - 0.01 * learned["dollars"] / done.scale > (
        fixed["correct"] - 0.01 * fixed["dollars"] / done.scale
    )
    record = json.loads((tmp_path / "p" / "policy.json").read_text())
    assert record["objective"] == "dollars"
    # As it is used: the same answers and dollars as the guard saw, from questions of that part.
    outcomes = (tmp_path / "p" / "outcomes.jsonl").read_text().splitlines()
    seen = {}
    for line in map(json.loads, outcomes):
        if len(line["hypergraph"]["edges"]) == 3:
            seen.setdefault(line["task"], line["tokens"])
    tasks = [t for t in load("gsm8k", "test", data_dir=data) if t.id in seen]
    with priced_team().with_topology(f"learned:{tmp_path / 'p'}") as team:
        for task in tasks[:20]:
            assert team.solve_sync(task).usage.total_tokens == seen[task.id]


def test_a_probe_policy_ships_where_its_replies_show_the_doubt(tmp_path: Path) -> None:
    data = write_sums(tmp_path / "data", 900)
    asked = plan(policy="probe", price=0.15, executions=2000, limit=None, probe="weak")
    done = learn(asked, out=tmp_path / "p", team=priced_team(), data_dir=data)
    assert done.shipped, done.verdict
    assert set(done.validation) >= {"learned", "fixed"}
    with priced_team().with_topology(f"learned:{tmp_path / 'p'}") as team:
        asked_first = {next(iter(team.solve_sync(t).ledger)).agent for t in load(
            "gsm8k", "test", data_dir=data, limit=10)}  # fmt: skip
    assert asked_first == {"weak"}
    with pytest.raises(ConfigError, match=r"probe 'nobody' is no agent .*weak, fair, good"):
        learn(plan(policy="probe", probe="nobody", executions=250), out=tmp_path / "q",
              team=priced_team(), data_dir=data)  # fmt: skip
    with pytest.raises(ConfigError, match="besides one agent alone"):
        learn(plan(policy="probe", anchors=("single",)), out=tmp_path / "q",
              team=priced_team(), data_dir=data)  # fmt: skip
    with pytest.raises(ConfigError, match="asks no probe first"):
        plan(probe="weak")


@pytest.mark.parametrize("anchors", [ANCHORS, ("pair", "group")])
def test_the_guard_knows_one_agent_alone(anchors: tuple, tmp_path: Path, data_dir: Path) -> None:
    """What stays is the rival with the best reward on validation questions, whoever won a race."""
    done = learn(
        plan(executions=250, anchors=anchors), out=tmp_path / "a", team=sums_team(),
        data_dir=data_dir,
    )  # fmt: skip
    single = "single" if "single" in anchors else "weak alone"
    rivals = {name: means for name, means in done.validation.items() if name != "learned"}
    assert single == done.fixed or single in rivals
    reward = {n: m["correct"] - done.price * m["tokens"] / done.scale for n, m in rivals.items()}
    assert reward["fixed"] == max(reward.values())
    record = json.loads((tmp_path / "a" / "policy.json").read_text())
    assert record["fixed"]["name"] == done.fixed


def test_dollars_need_prices_and_a_policy_that_spares_them(tmp_path: Path, data_dir: Path) -> None:
    with pytest.raises(ConfigError, match="surrogate' spares tokens; dollars can be spared by any"):
        plan(objective="dollars")
    with pytest.raises(ConfigError, match="objective"):
        plan(objective="euros")
    with pytest.raises(ConfigError, match="budget of tokens"):
        plan(objective="dollars", policy="anytime", budget_tokens=100)
    in_dollars, unpriced = plan(policy="constant", objective="dollars"), sums_team()
    with pytest.raises(ConfigError, match="no price list"):
        learn(in_dollars, out=tmp_path / "a", team=unpriced, data_dir=data_dir)
    assert not (tmp_path / "a").exists()
    unpriced.prices = Prices({})
    with pytest.raises(ConfigError, match="price list lacks"):
        learn(in_dollars, out=tmp_path / "a", team=unpriced, data_dir=data_dir)
    crowd = Team([Agent(f"a{i}", backend=FunctionBackend(skilled(0.5))) for i in range(7)])
    with pytest.raises(ConfigError, match="at most 6 agents"):
        learn(plan(policy="anytime", executions=900), out=tmp_path / "b", team=crowd,
              data_dir=data_dir)  # fmt: skip
    assert not (tmp_path / "b").exists()


def test_spent_tokens_stop_it_and_more_let_it_go_on(tmp_path: Path, data_dir: Path) -> None:
    whole = learn(plan(), out=tmp_path / "whole", team=sums_team(), data_dir=data_dir)
    with pytest.raises(BudgetExceeded):
        learn(plan(spend_tokens=9_000), out=tmp_path / "a", team=sums_team(), data_dir=data_dir)
    done = learn(plan(spend_tokens=10**6, concurrency=2), out=tmp_path / "a", team=sums_team(),
                 data_dir=data_dir, resume=True)  # fmt: skip
    assert files(tmp_path / "a") == files(tmp_path / "whole")
    assert done.paid_tokens == whole.paid_tokens


def test_a_folder_is_used_for_one_run(tmp_path: Path, data_dir: Path) -> None:
    learn(plan(policy="constant"), out=tmp_path / "a", team=sums_team(), data_dir=data_dir)
    with pytest.raises(RunError, match="holds a run already"):
        learn(plan(policy="constant"), out=tmp_path / "a", team=sums_team(), data_dir=data_dir)
    with pytest.raises(ResumeRefused, match="seed was 0 and is now 1"):
        learn(plan(policy="constant", seed=1), out=tmp_path / "a", team=sums_team(),
              data_dir=data_dir, resume=True)  # fmt: skip


def test_the_test_part_is_never_touched(tmp_path: Path, data_dir: Path) -> None:
    from hyperagent import tasks

    parts = tasks.split_by_hash(tasks.load("gsm8k", "test", data_dir=data_dir))
    learn(plan(), out=tmp_path / "a", team=sums_team(), data_dir=data_dir)
    used = {
        json.loads(line)["task"] for line in files(tmp_path / "a")["outcomes.jsonl"].splitlines()
    }
    assert used
    assert not used & {task.id for task in parts["test"]}


def test_models_of_the_package_learn_too(tmp_path: Path) -> None:
    """The real thing, small: word problems, our own models, no network."""
    parts = {"single": ("single",), "pair": ("pair",)}
    done = learn(
        LearnPlan("wordproblems", policy="constant", executions=24, limit=2, anchors=tuple(parts)),
        out=tmp_path / "a", team="pocket",
    )  # fmt: skip
    assert done.fixed in parts
    assert done.split == "wordproblems/train"
    assert done.executions <= 24
    with Team.from_config("pocket", topology=f"learned:{tmp_path / 'a'}") as team:
        assert team.design(Task("How many are 2 and 3?")).name == f"learned constant: {done.fixed}"


WRONG = {
    "policy": ({"policy": "surogate"}, "Did you mean 'surrogate'"),
    "executions": ({"executions": 0}, "executions must be at least 1"),
    "two prices": ({"budget_tokens": 100, "price": 0.1}, "one of the two"),
    "negative price": ({"price": -1.0}, "price"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=list(WRONG))
def test_wrong_plans(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(**changes)


def test_executions_are_divided_and_none_is_lost() -> None:
    for policy in FRUITS:
        for total in (250, 1280, 5120):
            shares = divide(plan(policy=policy, executions=total), 11, 400)
            used = shares.measure + shares.race + shares.explore + shares.refine
            assert used + (1 + RIVALS) * shares.validation == total
    with pytest.raises(ConfigError, match=r"executions are too few: (\d+) are needed") as caught:
        divide(plan(executions=60), 11, 400)
    least = int(str(caught.value).split("few: ")[1].split()[0])
    assert divide(plan(executions=least), 11, 400).explore >= 20
    with pytest.raises(ConfigError, match="too few"):
        divide(plan(executions=least - 1), 11, 400)


def test_too_few_questions(tmp_path: Path, data_dir: Path) -> None:
    team = Team([Agent("a", backend="pocket")], "single")
    with pytest.raises(ConfigError, match="too few"):
        learn(plan(limit=1), out=tmp_path / "a", team=team, data_dir=data_dir)
