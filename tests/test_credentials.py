"""What counts as a secret of the environment."""

from __future__ import annotations

import pytest

from hyperagent import credentials


def test_names_that_end_like_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "FOO_KEY", "hf_token", "DB_PASSWORD"):
        monkeypatch.setenv(name, f"value-of-{name}")
    monkeypatch.setenv("SHORT_KEY", "abc")
    monkeypatch.setenv("KEYBOARD", "not-a-secret")
    found = credentials.in_environment()
    assert {"value-of-FOO_KEY", "value-of-hf_token", "value-of-DB_PASSWORD"} <= found
    assert not found & {"abc", "not-a-secret"}
