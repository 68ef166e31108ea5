"""The run folder: one writer, nothing rewritten, nothing lost to a kill.

::

    config.json       what was asked for, with its hash
    meta.json         versions, data set and its hash, number of starts
    decisions.json    what was measured on the way and then used: reliabilities, sizes of baselines
    samples.jsonl     one line per finished question, row and seed
    calls.jsonl       one line per call: the ledger of record
    replies.sqlite    bodies of the replies that were paid for, by content
    topologies/       every executed hypergraph once, as HIF, named by its digest
    summary.json      the table
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hyperagent.bench.files import Journal, compact, read_json, read_lines, replace_file
from hyperagent.bench.tally import Tally
from hyperagent.errors import ResumeRefused, RunError
from hyperagent.hypergraph import Hypergraph
from hyperagent.llm import LedgerRow

FORMAT = 1
"""Version of the layout of a run folder."""


class RunFolder:
    """A run on disk, open for writing by this process alone.

    Use `open_folder`.

    Attributes
    ----------
    path : Path
    start : int
        How often the run was started, this time included; from 1.
    samples : dict of str to dict
        Last record of each item.
    decisions : dict
    tally : Tally
        Sums over all calls of all starts.
    """

    def __init__(self, path: Path, lock: int, start: int, secrets: Iterable[str]) -> None:
        self.path, self._lock, self.start = path, lock, start
        self._secrets = _spellings(secrets)
        self.samples = {r["item"]: r for r in read_lines(path / "samples.jsonl")}
        decided = path / "decisions.json"
        self.decisions: dict[str, Any] = read_json(decided) if decided.exists() else {}
        self.tally = Tally()
        for record in read_lines(path / "calls.jsonl"):
            item = record.pop("item")
            del record["start"]
            self.tally.add(item, LedgerRow.from_json(record))
        self._samples = Journal(path / "samples.jsonl", self.scrub)
        self._calls = Journal(path / "calls.jsonl", self.scrub)
        self._topologies = {file.name for file in (path / "topologies").iterdir()}

    @property
    def replies(self) -> Path:
        """File for the cache of replies."""
        return self.path / "replies.sqlite"

    def add_call(self, item: str, row: LedgerRow, *, paid: bool = True) -> None:
        """Write down a call as soon as it has ended.

        A `paid` one is on the disk when this returns, another within a second.
        """
        self._calls.append({"item": item, "start": self.start, **row.to_json()}, sync=paid)
        self.tally.add(item, row)

    def add_sample(
        self, record: dict[str, Any], graph: Hypergraph | None, *, paid: bool = True
    ) -> None:
        """Write down a finished sample; its topology first, so that none is ever missing."""
        if graph is not None:
            name = f"{graph.digest()}.hif.json"
            if name not in self._topologies:
                text = json.dumps(graph.canonical().to_hif(), sort_keys=True)
                replace_file(self.path / "topologies" / name, self.scrub(text) + "\n")
                self._topologies.add(name)
        if paid:
            self._calls.sync()
        self._samples.append({"start": self.start, **record}, sync=paid)
        self.samples[record["item"]] = {"start": self.start, **record}

    def decide(self, key: str, value: Any) -> Any:
        """Keep a measured value for good: a resumed run must go on with the same one."""
        if key not in self.decisions:
            # As JSON gives it back, so that this start and a resumed one see the same.
            self.decisions[key] = json.loads(compact(value))
            self.write("decisions.json", self.decisions)
        return self.decisions[key]

    def write(self, name: str, data: Mapping[str, Any] | str) -> None:
        """Replace a whole file of the folder; a mapping becomes JSON."""
        text = data if isinstance(data, str) else json.dumps(json.loads(compact(data)), indent=2)
        replace_file(self.path / name, self.scrub(text.rstrip("\n")) + "\n")

    def scrub(self, text: str) -> str:
        """`text` without the secrets, should a server's message have repeated one."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, "[key]")
        return text

    def close(self) -> None:
        """Close the files and release the lock; harmless when called twice."""
        self._samples.close()
        self._calls.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def open_folder(
    path: str | os.PathLike[str],
    *,
    config: Mapping[str, Any],
    meta: Mapping[str, Any],
    resume: bool = False,
    secrets: Iterable[str] = (),
) -> RunFolder:
    """Create a run folder, or go on in one.

    Parameters
    ----------
    path : path
        Created with its parents. Without `resume` it must not hold a run yet.
    config : mapping
        Everything that decides the answers. A resumed run must have the same.
    meta : mapping
        Facts about this start; ``meta["data"]`` must be the same on resume.
    resume : bool
        Go on with the run in `path`; a folder without one is started afresh.
    secrets : iterable of str
        Never written to any file of the folder.

    Raises
    ------
    RunError
        If the folder cannot be used, holds a run already, or another process writes to it.
    ResumeRefused
        Naming each setting that changed.
    """
    path = Path(path)
    try:
        (path / "topologies").mkdir(parents=True, exist_ok=True)
        lock = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RunError(f"cannot use {path} as a run folder: {error.strerror}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(
                f"another process is writing to {path}; wait for it or stop it"
            ) from error
        start = _check(path, config, meta, resume) + 1
        folder = RunFolder(path, lock, start, secrets)
        folder.write("config.json", config)
        folder.write("meta.json", {"format": FORMAT, "starts": start, **meta})
    except BaseException:
        os.close(lock)
        raise
    return folder


def _check(path: Path, config: Mapping[str, Any], meta: Mapping[str, Any], resume: bool) -> int:
    """Earlier starts of the run in `path`, 0 if there is none yet."""
    # config.json is the first file of a run and meta.json the second: a kill between the two
    # leaves a run that has not begun.
    if not (path / "meta.json").exists():
        return 0
    if not resume:
        raise RunError(f"{path} holds a run already; resume it, or choose another folder")
    old_config, old_meta = read_json(path / "config.json"), read_json(path / "meta.json")
    if old_meta.get("format") != FORMAT:
        raise ResumeRefused(
            f"{path} has layout {old_meta.get('format')!r}, this version writes {FORMAT}"
        )
    # The hash of the settings changes with them and says nothing to a reader.
    changes = _changes(old_config | {"hash": config.get("hash")}, json.loads(compact(dict(config))))
    changes += _changes(
        {"data": old_meta.get("data")}, {"data": json.loads(compact(meta.get("data")))}
    )
    if changes:
        raise ResumeRefused(
            f"{path} was started with other settings or data: {'; '.join(changes)}. "
            f"Start a new run in another folder."
        )
    return int(old_meta["starts"])


def _changes(old: Any, new: Any, where: str = "") -> list[str]:
    """What differs between two JSON values, leaf by leaf."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            change
            for key in [*old, *(key for key in new if key not in old)]
            for change in _changes(old.get(key), new.get(key), f"{where}.{key}" if where else key)
        ]
    if old == new:
        return []
    return [f"{where} was {_short(old)} and is now {_short(new)}"]


def _short(value: Any) -> str:
    text = compact(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _spellings(secrets: Iterable[str]) -> tuple[str, ...]:
    """Each secret as it stands and as JSON would write it; short ones would hit ordinary text."""
    found = {
        spelling
        for secret in secrets
        if len(secret) >= 8
        for spelling in (
            secret,
            json.dumps(secret)[1:-1],
            json.dumps(secret, ensure_ascii=False)[1:-1],
        )
    }
    return tuple(sorted(found, key=len, reverse=True))
