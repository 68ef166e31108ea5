"""Where data is looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from hyperagent import datadir, errors


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A file of the same name in the asked, the named and the cache directory."""
    found = {
        "asked": tmp_path / "asked",
        "named": tmp_path / "named",
        "cache": tmp_path / "cache" / "hyperagent" / "data",
    }
    for name, folder in found.items():
        (folder / "set").mkdir(parents=True)
        (folder / "set" / "file").write_text(name)
    monkeypatch.setenv(datadir.VARIABLE, str(found["named"]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return found


def test_the_asked_place_wins_then_the_named_then_the_cache(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert datadir.require("set/file", places["asked"]).read_text() == "asked"
    assert datadir.require("set/file").read_text() == "named"
    (places["named"] / "set" / "file").unlink()
    assert datadir.require("set/file").read_text() == "cache"
    monkeypatch.delenv(datadir.VARIABLE)
    assert datadir.require("set/file").read_text() == "cache"


def test_an_asked_place_is_the_only_one(places: dict[str, Path]) -> None:
    (places["asked"] / "set" / "file").unlink()
    assert datadir.find("set/file", places["asked"]) is None
    with pytest.raises(errors.DataError) as raised:
        datadir.require("set/file", places["asked"])
    for part in ("'set/file'", str(places["asked"]), datadir.VARIABLE, "data_dir"):
        assert part in str(raised.value)


def test_a_relative_cache_variable_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
    assert datadir.cache_dir() == Path.home() / ".cache" / "hyperagent"
