"""Real replies of real language models, replayed from disk at no cost."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from hyperagent import datadir
from hyperagent.errors import ConfigError, DataError, NotRecorded, UnknownNameError
from hyperagent.llm import estimate
from hyperagent.llm.types import Capabilities, ChatReply, ChatRequest, Usage

FOLDER = "replay_math"
BENCHES = ("gsm8k_test", "multiarith", "svamp", "asdiv")
"""Files of the folder; the ids of their questions begin with their names."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer of a recorded reply, as its record states it.

    Attributes
    ----------
    answer : str or None
        A number; None if the reply had none.
    origin : {"text", "executed", "source"}
        Read from the text; computed by running the program in the text; or noted by the
        source, from an exchange of which the text is only a part. With the last two the
        answer need not stand in the text.
    """

    answer: str | None
    origin: Literal["text", "executed", "source"]


@dataclass(frozen=True, slots=True)
class _Output:
    text: str
    answer: float | None
    origin: Literal["text", "executed", "source"]


_Run = Mapping[str, tuple[_Output, ...]]


class RecordedBackend:
    """Replays one run: the reply to ``request.context.task``, sample ``request.sample``.

    Nothing is invented: a call whose reply is not on record raises `NotRecorded`. What
    the prompt says is not looked at, except that a prompt with a peer's note
    (``request.context.reads``) is refused, because the recorded model never saw one.
    Sampling options change nothing. Tokens are estimated from characters.

    Parameters
    ----------
    run : str
        A run of ``replay_math/runs.json``, e.g. ``"abel_7b"``.
    data_dir : path, optional
        As in `hyperagent.datadir.places`.

    Raises
    ------
    UnknownNameError
        If there is no such run.
    DataError
        If the records are missing or damaged.
    """

    cacheable = False

    def __init__(self, run: str, *, data_dir: str | Path | None = None) -> None:
        self._folder = datadir.require(FOLDER, data_dir)
        known = _described(self._folder)
        if run not in known:
            held = {name for bench in BENCHES for name in self._bench(bench)}
            if run not in held:
                raise UnknownNameError("recorded run", run, {*known, *held})
        self.run = run
        self.name = self.connection = f"recorded:{run}"
        self.model = known.get(run) or run
        self.capabilities = Capabilities(
            streaming=False,
            usage=False,
            stream_usage=False,
            max_tokens=False,
            stop=False,
            seed=False,
            schema=False,
            logprobs=False,
        )

    async def complete(self, request: ChatRequest) -> ChatReply:
        """The recorded reply.

        Raises
        ------
        NotRecorded
            If there is none; ``fatal`` if the prompt holds a peer's note.
        """
        reads = request.context.reads
        if reads:
            raise NotRecorded(
                f"{self.name} cannot answer a prompt that holds notes of {', '.join(reads)}: "
                "the recorded model never saw them. Let agents of a replay answer "
                "independently (read_notes=False).",
                fatal=True,
            )
        text = self._output(request.context.task, request.sample).text
        usage = Usage(estimate.about(request.text), estimate.about(text), source="estimated")
        return ChatReply(text, usage, self.model)

    async def aclose(self) -> None:
        """Nothing to release: the records belong to the process."""

    def samples(self, task_id: str) -> int:
        """How many replies to a question are on record; 0 if none."""
        bench = _bench_of(task_id)
        return len(self._bench(bench).get(self.run, {}).get(task_id, ())) if bench else 0

    def prediction(self, task_id: str, sample: int = 0) -> Prediction:
        """The answer that the record states for a reply.

        Raises
        ------
        NotRecorded
            If there is no such reply.
        """
        output = self._output(task_id, sample)
        answer = output.answer
        if answer is None:
            return Prediction(None, output.origin)
        whole = float(answer).is_integer()
        return Prediction(str(int(answer) if whole else answer), output.origin)

    def _output(self, task_id: str, sample: int) -> _Output:
        bench = _bench_of(task_id)
        if bench is None:
            raise NotRecorded(
                f"{self.name} knows questions by their ids, which begin with "
                f"{', '.join(BENCHES)}; there is none for {task_id!r}"
            )
        outputs = self._bench(bench).get(self.run, {}).get(task_id, ())
        if not 0 <= sample < len(outputs):
            raise NotRecorded(
                f"{self.name} has {len(outputs)} recorded replies to {task_id!r}, "
                f"none with sample index {sample}"
            )
        return outputs[sample]

    def _bench(self, bench: str) -> Mapping[str, _Run]:
        path = self._folder / f"{bench}.jsonl.gz"
        return _load(path) if path.exists() else {}


def recorded(rest: str, *, data_dir: str | Path | None = None, **options: Any) -> RecordedBackend:
    """``recorded:RUN``: replay a run of the recorded mathematics replies."""
    if not rest:
        raise ConfigError("write recorded:RUN, e.g. recorded:abel_7b")
    return RecordedBackend(rest, data_dir=data_dir)


def _bench_of(task_id: str) -> str | None:
    return next((bench for bench in BENCHES if task_id.startswith(bench + "_")), None)


@cache
def _described(folder: Path) -> Mapping[str, str]:
    """Model of each run that the folder describes."""
    path = folder / "runs.json"
    try:
        runs = json.loads(path.read_text(encoding="utf-8"))
        return {name: str(about.get("model", "")) for name, about in runs.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{path} cannot be read: {type(error).__name__}: {error}") from error


@cache
def _load(path: Path) -> Mapping[str, _Run]:
    """All runs of a file: run, question id, replies by sample index.

    One pass serves every backend of the process, because taking out one run costs as much
    as taking out all of them.
    """
    found: dict[str, dict[str, dict[int, _Output]]] = {}
    try:
        with gzip.open(path, "rb") as lines:
            for line in lines:
                question = json.loads(line)
                task = question["id"]
                for output in question["outputs"]:
                    run = found.setdefault(output["run"], {})
                    run.setdefault(task, {})[output["s"]] = _Output(
                        output["text"],
                        output["pred"],
                        "executed" if "exec" in output else "source" if "src" in output else "text",
                    )
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
    return {
        run: {task: _in_order(path, task, samples) for task, samples in tasks.items()}
        for run, tasks in found.items()
    }


def _in_order(path: Path, task: str, samples: Mapping[int, _Output]) -> tuple[_Output, ...]:
    if len(samples) - 1 != max(samples):
        raise DataError(f"{path}: the sample indices of {task!r} have gaps")
    return tuple(samples[index] for index in range(len(samples)))
