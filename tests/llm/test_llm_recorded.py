"""Replays: real replies by question and sample, and never an invented one."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from hyperagent import datadir, errors, llm
from hyperagent.llm import CallContext, ChatReply, ChatRequest, Message, Usage

QUESTIONS = [
    {"id": "gsm8k_test_0000", "outputs": [
        {"run": "alpha", "s": 1, "text": "second 🙂", "pred": 18.5, "ok": True},
        {"run": "alpha", "s": 0, "text": "A: 18", "pred": 18.0, "ok": True},
        {"run": "program", "s": 0, "text": "ans = 9 * 2", "pred": 18.0, "ok": True, "exec": 1},
        {"run": "noted", "s": 0, "text": "so 9", "pred": None, "ok": False, "src": 1},
    ]},
    {"id": "gsm8k_test_0001", "outputs": [
        {"run": "program", "s": 0, "text": "", "pred": None, "ok": False, "exec": 1},
    ]},
]  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "replay_math"
    folder.mkdir()
    runs = {"alpha": {"model": "Alpha-7b"}, "program": {}, "elsewhere": {}}
    (folder / "runs.json").write_text(json.dumps(runs))
    write(folder / "gsm8k_test.jsonl.gz", QUESTIONS)
    return tmp_path


def write(path: Path, questions: list[object]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(question) + "\n" for question in questions)


def ask(backend: llm.Backend, task: str, sample: int = 0, **context: object) -> ChatReply:
    return asyncio.run(
        backend.complete(
            ChatRequest(
                (Message("user", "12345678"),),
                sample=sample,
                context=CallContext(task=task, **context),  # type: ignore[arg-type]
            )
        )
    )


def test_the_reply_is_the_recorded_one(data: Path) -> None:
    backend = llm.backend("recorded:alpha", data_dir=data)
    reply = ask(backend, "gsm8k_test_0000")
    assert reply == ChatReply("A: 18", Usage(2, 2, source="estimated"), "Alpha-7b")
    assert ask(backend, "gsm8k_test_0000", sample=1).text == "second 🙂"
    assert backend.samples("gsm8k_test_0000") == 2
    assert backend.samples("gsm8k_test_0001") == backend.samples("other") == 0


def test_predictions_say_where_they_come_from(data: Path) -> None:
    def prediction(run: str, sample: int = 0, task: str = "gsm8k_test_0000") -> tuple:
        found = llm.backend(f"recorded:{run}", data_dir=data).prediction(task, sample)
        return found.answer, found.origin

    assert prediction("alpha") == ("18", "text")
    assert prediction("alpha", 1) == ("18.5", "text")
    assert prediction("program") == ("18", "executed")
    assert prediction("program", task="gsm8k_test_0001") == (None, "executed")
    # A run that runs.json does not describe is found in the files.
    assert prediction("noted") == (None, "source")


def test_the_text_of_a_program_is_left_as_it_is(data: Path) -> None:
    backend = llm.backend("recorded:program", data_dir=data)
    assert ask(backend, "gsm8k_test_0000").text == "ans = 9 * 2"


@pytest.mark.parametrize(
    ("run", "task", "sample", "said"),
    [
        ("alpha", "gsm8k_test_0000", 2, "recorded:alpha has 2 recorded replies.*index 2"),
        ("alpha", "gsm8k_test_0000", -1, "index -1"),
        ("alpha", "gsm8k_test_0001", 0, "has 0 recorded replies to 'gsm8k_test_0001'"),
        ("alpha", "svamp_chal-1", 0, "has 0 recorded replies"),
        ("elsewhere", "gsm8k_test_0000", 0, "has 0 recorded replies"),
        ("alpha", "humaneval_3", 0, "begin with gsm8k_test, .*'humaneval_3'"),
        ("alpha", "", 0, "there is none for ''"),
    ],
)
def test_nothing_is_invented(data: Path, run: str, task: str, sample: int, said: str) -> None:
    backend = llm.backend(f"recorded:{run}", data_dir=data)
    with pytest.raises(errors.NotRecorded, match=said) as raised:
        ask(backend, task, sample)
    assert not raised.value.fatal
    assert not raised.value.retryable
    with pytest.raises(errors.NotRecorded, match=said):
        backend.prediction(task, sample)


def test_a_prompt_with_a_peers_note_is_refused_for_good(data: Path) -> None:
    backend = llm.backend("recorded:alpha", data_dir=data)
    with pytest.raises(errors.NotRecorded, match="notes of bob, ann#2") as raised:
        ask(backend, "gsm8k_test_0000", reads=("bob", "ann#2"))
    assert raised.value.fatal


def test_an_unknown_run_names_the_nearest(data: Path) -> None:
    with pytest.raises(errors.UnknownNameError, match="Did you mean 'alpha'"):
        llm.backend("recorded:alfa", data_dir=data)
    with pytest.raises(errors.UnknownNameError, match="Did you mean 'noted'"):
        llm.backend("recorded:notd", data_dir=data)


def test_missing_records_are_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(datadir.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(errors.DataError) as raised:
        llm.backend("recorded:alpha")
    message = str(raised.value)
    assert "data_dir" in message
    assert datadir.VARIABLE in message
    assert str(tmp_path / "hyperagent" / "data") in message


@pytest.mark.parametrize("damage", ["cut", "not gzip", "not JSON", "no id", "gap"])
def test_damaged_records_are_a_clear_error(data: Path, damage: str) -> None:
    path = data / "replay_math" / "gsm8k_test.jsonl.gz"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "not gzip":
        path.write_bytes(b"hello")
    elif damage == "not JSON":
        path.write_bytes(gzip.compress(b"{"))
    elif damage == "no id":
        write(path, [{"outputs": []}])
    else:
        output = {"run": "alpha", "s": 1, "text": "", "pred": None}
        write(path, [{"id": "gsm8k_test_0000", "outputs": [output]}])
    backend = llm.backend("recorded:alpha", data_dir=data)
    with pytest.raises(errors.DataError, match=r"gsm8k_test\.jsonl\.gz"):
        ask(backend, "gsm8k_test_0000")


def test_a_cache_is_left_out_of_a_replay(data: Path) -> None:
    # Two questions of a set can have the same text: only the id tells them apart.
    store = llm.CacheStore(":memory:")
    backend = llm.backend("recorded:program", data_dir=data)
    wrapped = llm.stack(backend, ledger=llm.Ledger(), cache=store)
    assert ask(wrapped, "gsm8k_test_0000").text != ask(wrapped, "gsm8k_test_0001").text
    assert len(store) == 0


# ---- on the real records, where they are ---------------------------------------------


def test_every_described_run_replays(replay_math: str) -> None:
    described = json.loads((Path(replay_math) / "replay_math" / "runs.json").read_text())
    held = 0
    for run in described:
        backend = llm.backend(f"recorded:{run}", data_dir=replay_math)
        for task in ("gsm8k_test_0000", "multiarith_0", "svamp_chal-1", "asdiv_nluds-0001"):
            for sample in range(backend.samples(task)):
                assert ask(backend, task, sample).usage.source == "estimated"
                held += 1
    assert held > 60


def test_known_replies_of_the_real_records(replay_math: str) -> None:
    backend = llm.backend("recorded:abel_7b", data_dir=replay_math)
    assert ask(backend, "gsm8k_test_0000").text.endswith("#### 18")
    assert backend.prediction("gsm8k_test_0000") == llm.Prediction("18", "text")
    codex = llm.backend("recorded:pot_codex_zeroshot", data_dir=replay_math)
    assert codex.prediction("svamp_chal-1").origin == "executed"


def test_the_largest_file_loads_quickly_and_once(replay_math: str) -> None:
    script = """
        import asyncio, sys, time
        from hyperagent import llm
        backends = [llm.backend(f"recorded:{run}", data_dir=sys.argv[1])
                    for run in ("abel_7b", "abel_70b", "tora_70b")]
        request = llm.ChatRequest((), context=llm.CallContext(task="gsm8k_test_0003"))
        seconds = []
        for backend in backends:
            start = time.process_time()
            asyncio.run(backend.complete(request))
            seconds.append(time.process_time() - start)
        print(*seconds)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), replay_math],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    first, *others = map(float, run.stdout.split())
    assert first < 2.5
    assert max(others) < 0.05
