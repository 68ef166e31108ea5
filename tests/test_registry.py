"""Names to objects: ours, registered ones, and installed plug-ins, broken ones included."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hyperagent.errors import ConfigError, UnknownNameError
from hyperagent.registry import Registry


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed distribution with one good plug-in, one broken, one that takes our name."""
    info = tmp_path / "other_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[hyperagent.things]\n"
        "good = other_things:GOOD\n"
        "broken = other_things:MISSING\n"
        "ours = other_things:GOOD\n"
    )
    (tmp_path / "other_things.py").write_text("GOOD = 'from the plug-in'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("other_things", None)


def things() -> Registry[object]:
    return Registry("thing", {"ours": "hyperagent.registry:Registry"}, group="hyperagent.things")


def test_builtin_names_are_loaded_on_use() -> None:
    assert things().get("ours") is Registry


def test_registering_twice_is_refused() -> None:
    registry = things()
    registry.register("mine")(1)
    assert registry.get("mine") == 1
    with pytest.raises(ConfigError, match="'mine' is already registered"):
        registry.register("mine")(2)
    with pytest.raises(ConfigError, match="'ours'"):
        registry.register("ours")(2)


def test_an_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown thing 'oors'\. Did you mean 'ours'\?"):
        things().get("oors")


def test_plugins_are_listed_and_loaded(plugins: Path) -> None:
    registry = things()
    assert registry.names() == ["broken", "good", "ours"]
    assert registry.get("good") == "from the plug-in"


def test_our_name_wins(plugins: Path) -> None:
    assert things().get("ours") is Registry


def test_a_broken_plugin_only_warns(plugins: Path) -> None:
    registry = things()
    with pytest.warns(UserWarning, match="'broken'"):
        state = registry.check()
    assert state["good"] == "from the plug-in"
    assert isinstance(state["broken"], ConfigError)
    with pytest.raises(ConfigError, match=r"other_things:MISSING.*AttributeError"):
        registry.get("broken")
