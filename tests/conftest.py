"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
import signal
import threading

# Before anything imports numpy or torch: two threads are slower than one on small models.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

from hyperagent import datadir

# A shell makes its background jobs ignore Ctrl-C, and children inherit that; tests send it.
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    and threading.current_thread() is threading.main_thread()
):
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The machine is shared and slow at times: a deadline would report that, not a fault.
settings.register_profile(
    "hyperagent", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.load_profile("hyperagent")


@pytest.fixture(autouse=True)
def _no_stray_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's own keys and servers must not reach a test."""
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "OLLAMA_")) or (
            name.startswith("HYPERAGENT_") and name != "HYPERAGENT_DATA"
        ):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def replay_math() -> str:
    """Data directory that holds the recorded replies, or a skip that says why."""
    path = datadir.find("replay_math/gsm8k_test.jsonl.gz")
    if path is None:
        pytest.skip("recorded replies are not here; set HYPERAGENT_DATA")
    return str(path.parent.parent)
