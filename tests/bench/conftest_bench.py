"""A data directory with small sums, and agents that answer them with known skill."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from hyperagent.llm import ChatRequest, FunctionBackend
from hyperagent.team import Agent, Team

SUMS = 40


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Data directory whose GSM8K test split holds `SUMS` sums."""
    return write_sums(tmp_path / "data", SUMS)


def write_sums(folder: Path, number: int) -> Path:
    (folder / "gsm8k").mkdir(parents=True)
    with gzip.open(folder / "gsm8k" / "test.jsonl.gz", "wt") as file:
        for i in range(number):
            a, b = 3 * i + 1, 7 * i + 2
            row = {"id": f"gsm8k_test_{i}", "question": f"What is {a} + {b}?",
                   "rationale": "", "answer": str(a + b)}  # fmt: skip
            file.write(json.dumps(row) + "\n")
    return folder


def right_answer(text: str) -> int:
    """Sum of the question in a prompt."""
    a, b = re.search(r"What is (\d+) \+ (\d+)\?", text).groups()
    return int(a) + int(b)


def skilled(skill: float) -> Callable[[ChatRequest], str]:
    """A model that is right on about this share of the questions; which ones depends on the
    question and the decoding seed alone."""

    def answer(request: ChatRequest) -> str:
        text = request.messages[-1].content
        value = right_answer(text)
        noise = hashlib.sha256(f"{value} {request.seed} {skill}".encode()).digest()[0] / 256
        return f"The answer is {value if noise < skill else value + 1}."

    return answer


SKILLS = {"weak": 0.4, "fair": 0.6, "good": 0.9}


def three_agents() -> Team:
    """Three agents of very different skill, the worst one first."""
    return Team(
        [
            Agent(name, tools=(), backend=FunctionBackend(skilled(skill), name=f"function:{name}"))
            for name, skill in SKILLS.items()
        ],
        "group",
        name="sums",
    )


@pytest.fixture
def team() -> Team:
    """See `three_agents`."""
    return three_agents()
