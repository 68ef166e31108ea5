"""The guard's evidence: validation questions, and those that a policy was rehearsed on."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.learning.validation import validate
from hyperagent.tasks import Task
from hyperagent.topology import Design, Outcome

NODES = ("ann", "bob")
ANN = Hypergraph(NODES, (Hyperedge(("ann",)),))
BOB = Hypergraph(NODES, (Hyperedge(("bob",)),))
GROUP = Hypergraph(NODES, (Hyperedge(NODES),))
TASKS = [Task("?", id=f"v{i}") for i in range(20)]
MONEY = {"price": 0.0, "scale": 1.0}


class Done:
    """Executions whose outcomes are known: `right` says on which share of the tasks."""

    def __init__(self, right: dict[str, float], before: list[Outcome] = []) -> None:  # noqa: B006
        self.right, self.done = right, list(before)

    def run(self, algorithm: Callable, total: int, stage: str, stops: Any = None) -> Any:
        def execute(task: Task, graph: Hypergraph, seed: int) -> Outcome:
            share = self.right[graph.digest()]
            hit = (int(task.id[1:]) * 7 % 20) / 20 < share
            self.done.append(Outcome(task.id, graph, float(hit), 10.0))
            return self.done[-1]

        return algorithm(execute)


def designer(graph: Hypergraph) -> SimpleNamespace:
    return SimpleNamespace(name="x", design=lambda task, agents, seed=0: Design(graph))


def rights(group: float, ann: float, bob: float) -> dict[str, float]:
    return {GROUP.digest(): group, ANN.digest(): ann, BOB.digest(): bob}


def outcomes(graph: Hypergraph, right: float, number: int) -> list[Outcome]:
    return [
        Outcome(f"t{i}", graph, float((i * 7 % number) / number < right), 10.0)
        for i in range(number)
    ]


def test_every_rival_must_be_beaten_and_the_best_one_stays() -> None:
    rivals = {"bob": BOB, "ann alone": ANN}
    seen = validate(designer(GROUP), rivals, TASKS, (), Done(rights(0.9, 0.8, 0.3)), **MONEY)
    assert not seen.verdict.shipped
    assert seen.verdict.rival == seen.fallback == "ann alone"
    assert list(seen.to_json()) == ["learned", "fixed", "bob"]
    assert seen.to_json()["fixed"]["correct"] == pytest.approx(0.8)
    seen = validate(designer(GROUP), rivals, TASKS, (), Done(rights(1.0, 0.4, 0.3)), **MONEY)
    assert seen.verdict.shipped


def test_a_policy_that_is_a_rival_is_executed_once() -> None:
    done = Done(rights(0.9, 0.8, 0.3))
    seen = validate(designer(ANN), {"ann alone": ANN}, TASKS, (), done, **MONEY)
    assert len(done.done) == len(TASKS)
    assert seen.verdict.difference == 0


def test_questions_that_were_rehearsed_count_where_the_rival_answered_all_of_them() -> None:
    """Too few validation questions for a verdict; with 200 more there is one."""
    rehearsed = outcomes(GROUP, 0.9, 200)
    whole = [*outcomes(ANN, 0.7, 200)]
    right = rights(0.9, 0.8, 0.3)
    alone = validate(
        designer(GROUP), {"ann alone": ANN}, TASKS, (), Done(right, whole), **MONEY
    ).verdict
    assert not alone.shipped
    assert alone.tasks == 20
    more = validate(
        designer(GROUP), {"ann alone": ANN}, TASKS, (), Done(right, whole), rehearsed=rehearsed,
        **MONEY,
    ).verdict  # fmt: skip
    assert more.shipped
    assert more.tasks == 220
    # In a race it answered some: those say nothing here.
    part = validate(
        designer(GROUP), {"ann alone": ANN}, TASKS, (), Done(right, whole[:150]),
        rehearsed=rehearsed, **MONEY,
    ).verdict  # fmt: skip
    assert part == alone


def test_the_first_outcome_of_a_rival_counts() -> None:
    """A race may have asked it twice; the rehearsal is compared with what everybody was asked."""
    rehearsed = outcomes(GROUP, 0.9, 200)
    twice = [*outcomes(ANN, 0.7, 200), *outcomes(ANN, 1.0, 200)]
    verdict = validate(
        designer(GROUP), {"ann alone": ANN}, TASKS, (), Done(rights(0.9, 0.8, 0.3), twice),
        rehearsed=rehearsed, **MONEY,
    ).verdict  # fmt: skip
    assert verdict.difference == pytest.approx((20 * 0.1 + 200 * 0.2) / 220)


def test_others_are_rivals_on_the_questions_of_the_rehearsal() -> None:
    rehearsed = outcomes(GROUP, 0.9, 200)
    for bob, shipped in ((0.7, True), (0.95, False)):
        known = [*outcomes(ANN, 0.5, 200), *outcomes(BOB, bob, 200)]
        verdict = validate(
            designer(GROUP), {"ann alone": ANN}, TASKS, (),
            Done(rights(0.9, 0.5, 0.1), known), rehearsed=rehearsed,
            others={"bob alone": BOB, "ann alone": ANN}, **MONEY,
        ).verdict  # fmt: skip
        assert verdict.shipped is shipped
        assert verdict.rival == "bob alone"
        assert verdict.tasks == 200
