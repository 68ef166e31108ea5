"""Data sets: the registry, the files, what happens without them, downloads."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperagent.errors import DataError, UnknownNameError
from hyperagent.tasks import Task, catalogue, data_sets, load
from hyperagent.tasks.data import File, FileSet
from hyperagent.tasks.download import Official

SIZES = {
    ("gsm8k", "test"): 1319, ("gsm8k", "train"): 7473, ("multiarith", "test"): 600,
    ("addsub", "test"): 395, ("singleeq", "test"): 508, ("svamp", "test"): 1000,
    ("asdiv", "test"): 2305, ("aqua", "test"): 254, ("aqua", "dev"): 254,
    ("mmlu", "test"): 14042, ("mmlu", "val"): 1531, ("mmlu", "dev"): 285,
    ("humaneval", "test"): 164, ("mbpp", "test"): 500, ("mbpp", "validation"): 90,
    ("mbpp", "train"): 374, ("mbpp", "prompt"): 10, ("mbpp", "all"): 974,
}  # fmt: skip


def test_every_file_set_and_split_has_a_size_here() -> None:
    listed = {
        (name, split)
        for name in data_sets.names()
        if isinstance(data_sets.get(name), FileSet)
        for split in data_sets.get(name).splits
    }
    assert listed == set(SIZES)


@pytest.mark.parametrize(("name", "split"), SIZES)
def test_published_sizes_and_fields(data: Path, name: str, split: str) -> None:
    loaded = load(name, split, data_dir=data)
    assert len(loaded) == SIZES[name, split]
    assert len({task.id for task in loaded}) == len(loaded)
    assert loaded.scorers
    assert loaded.source
    assert loaded.licence
    path = data / data_sets.get(name).files[split].path
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    for task in loaded:
        assert task.answer
        if task.kind == "choice":
            assert 0 <= ord(task.answer) - 65 < len(task.choices)
        if task.kind == "code":
            assert task.meta["entry_point"]
            assert task.meta["tests"]


def test_known_answers(data: Path) -> None:
    assert load("gsm8k", limit=1)[0].answer == "18"
    assert load("multiarith", limit=1)[0].answer == "39"
    assert load("aqua", limit=1)[0].choices[0] == "5(√3 + 1)"
    kinds = {task.kind for task in load("asdiv")}
    assert kinds == {"number", "text"}


def test_limit_and_slices(data: Path) -> None:
    whole = load("svamp")
    assert load("svamp", limit=7).tasks == whole[:7]
    assert len(load("svamp", limit=0)) == 0
    with pytest.raises(DataError, match="limit"):
        load("svamp", limit=-1)


def write_jsonl(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


OUR_GSM = {"id": "gsm8k_test_0000", "question": "How many?\u2028All?",
           "rationale": "9 * 2 = <<9*2=18>>18", "answer": "18"}  # fmt: skip
THEIR_GSM = {"question": "How many?\u2028All?", "answer": "9 * 2 = <<9*2=18>>18\n#### 18"}


def test_our_form_and_the_makers_form_give_the_same_tasks(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "ours/gsm8k/test.jsonl.gz", [OUR_GSM])
    write_jsonl(tmp_path / "theirs/gsm8k/test.official.jsonl", [THEIR_GSM])
    ours = load("gsm8k", data_dir=tmp_path / "ours")
    theirs = load("gsm8k", data_dir=tmp_path / "theirs")
    assert ours.tasks == theirs.tasks
    assert ours[0].answer == "18"
    assert ours.sha256 != theirs.sha256


@pytest.mark.parametrize(
    ("row", "ours", "theirs"),
    [
        (
            catalogue.SVAMP.row,
            {"id": "svamp_chal-1", "question": "A costs 5. How much?", "equation": "5",
             "answer": 5.0, "type": "Addition"},
            {"ID": "chal-1", "Body": "A costs 5", "Question": "How much?", "Equation": "5",
             "Answer": 5.0, "Type": "Addition"},
        ),
        (
            catalogue.MULTIARITH.row,
            {"id": "multiarith_0", "question": "How many?", "equation": "X=5", "answer": 5.0},
            {"iIndex": 0, "sQuestion": "How many? ", "lEquations": ["X=5"], "lSolutions": [5.0]},
        ),
        (
            catalogue.AQUA.row,
            {"id": "aqua_test_0", "question": "How many?", "options": ["A)1", "B)2"],
             "rationale": "", "correct": "B"},
            {"question": "How many?", "options": ["A)1", "B)2"], "rationale": "", "correct": "B"},
        ),
    ],
)  # fmt: skip
def test_rows_of_both_forms(row, ours: dict, theirs: dict) -> None:
    assert row(ours, 0, "test") == row(theirs, 0, "test")


def test_a_missing_set_names_the_three_ways(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HYPERAGENT_DATA", raising=False)
    with pytest.raises(DataError) as error:
        load("gsm8k")
    for part in ("data_dir", "HYPERAGENT_DATA", "download=True", str(tmp_path / "cache")):
        assert part in str(error.value)
    with pytest.raises(DataError, match="no official address"):
        load("mmlu", download=True)


def test_wrong_names(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="'gsm8k'"):
        load("gsm8")
    with pytest.raises(UnknownNameError, match="train"):
        load("gsm8k", "trian", data_dir=tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"not json\n", b'{"question": "Q?"}\n', b'{"question": "Q?", "answer": "many"}\n',
     b"[1, 2]", b'"text"\n', b"\xff\xfe\n"],
)  # fmt: skip
def test_damaged_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "gsm8k" / "test.jsonl.gz"
    path.parent.mkdir()
    for stored in (gzip.compress(content), gzip.compress(content * 50)[:-12], b"no gzip"):
        path.write_bytes(stored)
        with pytest.raises(DataError, match="cannot be read as gsm8k/test"):
            load("gsm8k", data_dir=tmp_path)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server that offers one official file."""
    folder = tmp_path / "site"
    write_jsonl(folder / "test.jsonl", [THEIR_GSM])

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args) -> None:
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args) -> None:
            pass

    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=site.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{site.server_port}/test.jsonl"
    site.shutdown()
    thread.join()
    site.server_close()


def offered(url: str, sha256: str) -> FileSet:
    file = File("offered/test.jsonl.gz", Official(url, sha256))
    return FileSet("offered", {"test": file}, catalogue.GSM8K.row, ("numeric",), "", "MIT")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HYPERAGENT_DATA", raising=False)
    return tmp_path / "cache" / "hyperagent" / "data" / "offered"


def test_download_only_when_allowed_and_only_once(server: str, cache: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256((tmp_path / "site" / "test.jsonl").read_bytes()).hexdigest()
    offer = offered(server, digest)
    with pytest.raises(DataError, match=r"download=True"):
        offer.load("test")
    assert not cache.exists()
    loaded = offer.load("test", download=True)
    assert loaded.sha256 == digest
    assert loaded[0] == Task(**{**vars(loaded[0]), "answer": "18"})
    assert [path.name for path in cache.iterdir()] == ["test.official.jsonl"]
    (tmp_path / "site" / "test.jsonl").unlink()
    assert offer.load("test").tasks == loaded.tasks


def test_an_explicit_directory_is_never_filled_from_elsewhere(
    server: str, cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError):
        offered(server, "0" * 64).load("test", data_dir=tmp_path, download=True)
    assert not cache.exists()


def test_a_changed_file_is_refused_and_leaves_nothing(server: str, cache: Path) -> None:
    with pytest.raises(DataError, match="expected 0000"):
        offered(server, "0" * 64).load("test", download=True)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x.jsonl", "nonsense", "{server}x"])
def test_an_address_that_does_not_answer(server: str, cache: Path, url: str) -> None:
    with pytest.raises(DataError, match="cannot download"):
        offered(url.format(server=server), "0" * 64).load("test", download=True)
    assert list(cache.iterdir()) == []
