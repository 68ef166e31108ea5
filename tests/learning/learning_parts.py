"""A team of known skill on small sums, and a surrogate that is fitted in a moment."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hyperagent.learning import LearnPlan, policies
from hyperagent.llm import ChatRequest, FunctionBackend
from hyperagent.team import Agent, Team
from hyperagent.topology.distil import distil
from hyperagent.topology.surrogate import Surrogate, Training

ANCHORS = ("single", "pair", "group")
QUICK = Training(members=2, width=8, steps=20)


def plan(**changes: Any) -> LearnPlan:
    """A small run."""
    return LearnPlan(**{"task": "gsm8k", "split": "test", "executions": 90, "anchors": ANCHORS,
                        "limit": 20, **changes})  # fmt: skip


def write_sums(folder: Path, number: int = 60) -> Path:
    """Data directory whose GSM8K test split holds sums."""
    (folder / "gsm8k").mkdir(parents=True)
    with gzip.open(folder / "gsm8k" / "test.jsonl.gz", "wt") as file:
        for i in range(number):
            a, b = 3 * i + 1, 7 * i + 2
            row = {"id": f"gsm8k_test_{i}", "question": f"What is {a} + {b}?",
                   "rationale": "", "answer": str(a + b)}  # fmt: skip
            file.write(json.dumps(row) + "\n")
    return folder


def skilled(skill: float) -> Callable[[ChatRequest], str]:
    """A model that is right on about this share of the questions."""

    def answer(request: ChatRequest) -> str:
        a, b = re.search(r"What is (\d+) \+ (\d+)\?", request.messages[-1].content).groups()
        value = int(a) + int(b)
        noise = hashlib.sha256(f"{value} {request.seed} {skill}".encode()).digest()[0] / 256
        return f"The answer is {value if noise < skill else value + 1}."

    return answer


def sums_team() -> Team:
    """Three agents of different skill, the worst one first."""
    skills = {"weak": 0.4, "fair": 0.6, "good": 0.95}
    return Team(
        [
            # One connection in all processes, so that a killed run finds its replies.
            Agent(name, tools=(), backend=FunctionBackend(
                skilled(skill), name=f"function:{name}", connection=f"function:{name}"))
            for name, skill in skills.items()
        ],
        "group",
        name="sums",
    )  # fmt: skip


class QuickSurrogate(Surrogate):
    """Fitted for a few steps only."""

    @classmethod
    def fit(cls, *args: Any, **options: Any) -> Surrogate:
        return super().fit(*args, **{**options, "training": QUICK})


def hurry() -> None:
    """Let this process fit surrogates quickly."""
    policies.Surrogate = QuickSurrogate


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for one test."""
    monkeypatch.setattr(policies, "Surrogate", QuickSurrogate)
    monkeypatch.setattr(policies, "distil", partial(distil, epochs=3))


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """See `write_sums`."""
    return write_sums(tmp_path / "data")
