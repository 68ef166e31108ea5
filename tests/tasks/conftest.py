"""Fixtures of the tasks room."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hyperagent.datadir import find
from hyperagent.tasks import TaskSet, load


@pytest.fixture(scope="session")
def data() -> Path:
    """The data directory; the test is skipped where there is none."""
    named = os.environ.get("HYPERAGENT_DATA")
    if not named or find("gsm8k/test.jsonl.gz") is None:
        pytest.skip("HYPERAGENT_DATA names no data directory")
    return Path(named)


@pytest.fixture(scope="session")
def humaneval(data: Path) -> TaskSet:
    return load("humaneval")
