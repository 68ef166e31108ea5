"""A small team and a task, as any room would hand them to a designer."""

from __future__ import annotations

from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Member:
    id: str
    role: str = "solver"
    profile: str | None = None
    reliability: float | None = None


@dataclass(frozen=True)
class Question:
    id: str = "gsm8k/1"
    question: str = "Natalia sold clips to 48 of her friends in April."


@pytest.fixture
def task() -> Question:
    return Question()


@pytest.fixture
def make_team():
    """Function of the size; reliabilities fall with the number, every fourth is unknown."""

    def make(n: int) -> list[Member]:
        roles = ("solver", "critic", "programmer")
        return [
            Member(f"agent{i}", roles[i % 3], f"kind {i % 3}", None if i % 4 == 3 else 0.9 - i / 99)
            for i in range(n)
        ]

    return make
