"""Strict models and their one-line errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from hyperagent.config import StrictModel, load_yaml, validate
from hyperagent.errors import ConfigError


class Inner(StrictModel):
    depth: int = 1


class Outer(StrictModel):
    name: str
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()


def test_good_data() -> None:
    assert validate(Outer, {"name": "a", "many": [{"depth": 2}]}, "x").many[0].depth == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "a", "nme": 1}, r"^x: unknown key 'nme'\. Did you mean 'name'\? Known: .*$"),
        ({"name": "a", "inner": {"dept": 1}}, "unknown key 'inner.dept'.*'depth'"),
        ({"name": "a", "many": [{"dpth": 1}]}, "unknown key 'many.0.dpth'.*'depth'"),
        ({"name": "a", "inner": {"depth": "deep"}}, "inner.depth: .*integer.*got 'deep'"),
        ({}, "name: .*required"),
        (["a"], "x: "),
    ],
)
def test_bad_data(data: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(Outer, data, "x")


def test_several_problems_are_several_lines() -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Outer, {"nme": 1}, "x")
    assert len(str(caught.value).splitlines()) == 2


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text("name: a\nagents: [{id: x}]\nname: b\n")
    with pytest.raises(ConfigError, match="'name' stands twice"):
        load_yaml(path)


def test_yaml_never_builds_objects(tmp_path: Path) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text("a: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(ConfigError, match="is not YAML"):
        load_yaml(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not YAML"):
        load_yaml(path)
