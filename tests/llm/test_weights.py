"""Weights are the ones that were shipped, or there is a clear error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_pocket import folder_of

from hyperagent.errors import ConfigError, UnknownNameError
from hyperagent.llm import weights


@pytest.fixture
def folder(tiny_gguf: Path, tmp_path: Path) -> Path:
    return folder_of(tiny_gguf, tmp_path)


def test_good_weights_are_found(folder: Path) -> None:
    assert weights.weights_path("", folder) == folder / "pocket.gguf"
    assert list(weights.listed(folder)) == [""]
    assert weights.find(directory=str(folder)).spec == "pocket"


def test_unknown_variants_are_told_the_nearest(folder: Path) -> None:
    entry = json.loads((folder / "weights.json").read_text())["pocket.gguf"]
    names = ("pocket.gguf", "pocket-sums.gguf", "pocket-parts.gguf")
    (folder / "weights.json").write_text(json.dumps(dict.fromkeys(names, entry)))
    with pytest.raises(UnknownNameError, match=r"'pocket:part'.*mean 'pocket:parts'.*pocket:sums"):
        weights.find("part", folder)


def damaged(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "cut short":
        path.write_bytes(content[:-10])
    elif how == "longer":
        path.write_bytes(content + b"x")
    elif how == "foreign":
        path.write_bytes(b"version https://git-lfs.github.com/spec/v1")
    elif how == "one bit":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "is missing; install"),
        ("cut short", r"bytes, not [\d,]+: it is cut short"),
        ("longer", "it is another file"),
        ("foreign", "is not a GGUF file"),
        ("one bit", r"not the file that weights\.json lists: its SHA-256"),
    ],
)
def test_wrong_files_are_refused(folder: Path, how: str, message: str) -> None:
    weights.find("", folder)  # a hash that was right once is not believed for ever
    damaged(folder / "pocket.gguf", how)
    with pytest.raises(ConfigError, match=message) as caught:
        weights.find("", folder)
    assert str(folder / "pocket.gguf") in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"pocket.gguf": {"sha256": "00", "bytes": 3}}',
        '{"pocket.gguf": {"sha256": "' + "0" * 64 + '"}}',
        '{"pocket.gguf": {"sha256": "' + "0" * 64 + '", "bytes": "3"}}',
        '{"../pocket.gguf": {"sha256": "' + "0" * 64 + '", "bytes": 3}}',
        '{"pocket.gguf": 3}',
    ],
)
def test_a_list_that_cannot_be_read(folder: Path, text: str) -> None:
    (folder / "weights.json").write_text(text)
    with pytest.raises(ConfigError, match=r"weights\.json"):
        weights.find("", folder)


def test_a_folder_without_list(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no weights here: .*weights\.json is missing"):
        weights.find("", tmp_path)


def test_a_file_is_hashed_once(folder: Path) -> None:
    weights._sha256.cache_clear()
    for _ in range(3):
        weights.find("", folder)
    assert weights._sha256.cache_info().misses == 1
