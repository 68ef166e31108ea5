"""Accuracy by skill: as many problems of each, the same for every model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import islice
from types import ModuleType

import pytest

from hyperagent.llm import ChatRequest, FunctionBackend
from hyperagent.tasks.wordproblems import SKILLS, stream


@pytest.fixture(scope="module")
def evaluate(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("evaluate")


def test_every_skill_gets_as_many_problems_and_hits_line_up(evaluate: ModuleType) -> None:
    """A model that is right on the skills that it knows and nowhere else."""
    known = {
        task.question: (task.answer, task.meta["skill"])
        for task in islice(stream(split="test", seed=1, steps=range(1, 5)), 400)
    }
    asked: list[str] = []

    def answer(request: ChatRequest) -> str:
        text = request.messages[-1].content
        question = next(q for q in known if q in text)
        asked.append(question)
        gold, skill = known[question]
        return f"The answer is {gold if skill in ('money', 'time') else int(gold) + 1}."

    found = asyncio.run(evaluate.skills(FunctionBackend(answer), 3))
    assert set(found) == set(SKILLS)
    assert len(asked) == len(set(asked)) == 3 * len(SKILLS)
    for skill, score in found.items():
        assert score["n"] == 3
        assert score["hits"] == ("111" if skill in ("money", "time") else "000")
        assert score["accuracy"] == (skill in ("money", "time"))
