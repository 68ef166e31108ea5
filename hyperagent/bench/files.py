"""Writing files that survive a kill: append one line, or replace the whole."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hyperagent.errors import RunError


def compact(data: Any) -> str:
    """JSON on one line, keys in the given order; what is not a number in JSON becomes null."""
    try:
        return json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return json.dumps(_finite(data), ensure_ascii=False, separators=(",", ":"))


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if data - data == 0 else None
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    return data


def replace_file(path: Path, text: str) -> None:
    """Write `text` to a temporary name, flush it to the disk and rename it to `path`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RunError(f"cannot write {path}: {error.strerror}") from error
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Make a rename itself durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Journal:
    """A JSON-lines file that only grows.

    Each record is one `write` of one line: a killed process leaves whole lines and at most one
    torn one at the end, which the next opening cuts off. The fsync after it also survives a crash
    of the machine; records that cost nothing to make again share one a second.

    Parameters
    ----------
    path : Path
        Created if it is not there.
    scrub : callable
        Applied to each line before it is written, to keep secrets out.
    """

    def __init__(self, path: Path, scrub: Callable[[str], str] = str) -> None:
        self.path, self._scrub = path, scrub
        self.cut = _cut_torn_end(path)
        self._dirty, self._synced = False, time.monotonic()
        self._handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def append(self, record: dict[str, Any], *, sync: bool = True) -> None:
        """Write one record; it is on the disk when this returns, or within a second."""
        line = memoryview(self._scrub(compact(record)).encode("utf-8", "replace") + b"\n")
        whole = os.fstat(self._handle).st_size
        try:
            try:
                while line:
                    line = line[os.write(self._handle, line) :]
            except OSError:
                # A full disk may take half a line; the next record must not be glued to it.
                os.ftruncate(self._handle, whole)
                raise
            self._dirty = True
            if sync or time.monotonic() - self._synced > 1.0:
                self.sync()
        except OSError as error:
            raise RunError(f"cannot write {self.path}: {error.strerror}") from error

    def sync(self) -> None:
        """Have everything that was written on the disk."""
        if self._dirty:
            os.fsync(self._handle)
            self._dirty, self._synced = False, time.monotonic()

    def close(self) -> None:
        """Close the file; harmless when called twice."""
        if self._handle >= 0:
            self.sync()
            os.close(self._handle)
            self._handle = -1


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All whole records of a journal; a torn last line is left out.

    Raises
    ------
    RunError
        Naming the line that is not a JSON object.
    """
    if not path.exists():
        return []
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    records = []
    for number, line in enumerate(whole.split(b"\n") if whole else (), 1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise RunError(f"{path}, line {number} is damaged: {line[:80]!r} is no JSON object")
        records.append(record)
    return records


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises
    ------
    RunError
        If it cannot be read or is something else.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}") from error
    if not isinstance(data, dict):
        raise RunError(f"{path} must hold a JSON object, got {type(data).__name__}")
    return data


def _cut_torn_end(path: Path) -> int:
    """Bytes that were cut because the line they belong to was never finished."""
    if not path.exists():
        return 0
    size = path.stat().st_size
    keep, step = size, 1 << 16
    with path.open("rb+") as file:
        while keep:
            start = max(0, keep - step)
            file.seek(start)
            end = file.read(keep - start).rfind(b"\n")
            if end >= 0:
                keep = start + end + 1
                break
            keep = start
        if keep < size:
            file.truncate(keep)
            file.flush()
            os.fsync(file.fileno())
    return size - keep
