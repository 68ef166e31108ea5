"""Sets of tasks by name, read from the data directory."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, overload

from hyperagent.datadir import VARIABLE, cache_dir, find, places
from hyperagent.errors import DataError, UnknownNameError
from hyperagent.registry import Registry
from hyperagent.tasks.download import Official, download, sha256_of
from hyperagent.tasks.task import Task

Row = Mapping[str, Any]


@dataclass(frozen=True)
class TaskSet(Sequence[Task]):
    """Tasks of one split with what a report must say about their source.

    Parameters
    ----------
    name, split : str
    tasks : tuple of Task
    sha256 : str
        Of the file that was read (as it lies on disk), or of the generated content.
    scorers : tuple of str
        Scorers that are usual for this set; the first one is the default.
    source, licence : str
    """

    name: str
    split: str
    tasks: tuple[Task, ...]
    sha256: str
    scorers: tuple[str, ...]
    source: str = ""
    licence: str = ""

    def __len__(self) -> int:
        return len(self.tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(self.tasks)

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Task, ...]: ...
    def __getitem__(self, index: int | slice) -> Task | tuple[Task, ...]:
        return self.tasks[index]


class DataSet(Protocol):
    """What the registry of data sets holds."""

    name: str
    splits: tuple[str, ...]

    def load(
        self,
        split: str,
        *,
        data_dir: str | os.PathLike[str] | None = None,
        limit: int | None = None,
        download: bool = False,
    ) -> TaskSet: ...


@dataclass(frozen=True)
class File:
    """One split on disk.

    Parameters
    ----------
    path : str
        Below the data directory.
    official : Official, optional
        The makers' own file. It may differ in format; the set's row function reads both. None
        where no address with a known checksum exists: such a set is never downloaded.
    """

    path: str
    official: Official | None = None

    @property
    def official_path(self) -> str | None:
        """Where the makers' own file lies below a data directory."""
        if self.official is None:
            return None
        return f"{self.path.removesuffix('.jsonl.gz')}.official{self.official.suffix}"


@dataclass(frozen=True)
class FileSet:
    """A data set whose splits are files with one record per task.

    Parameters
    ----------
    name : str
    files : mapping of str to File
        By split.
    row : callable
        ``(record, index, split) -> Task`` or None for a record that is no task of the split.
    scorers : tuple of str
    source, licence : str
    """

    name: str
    files: Mapping[str, File]
    row: Callable[[Row, int, str], Task | None]
    scorers: tuple[str, ...]
    source: str
    licence: str
    splits: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "splits", tuple(self.files))

    def load(
        self,
        split: str,
        *,
        data_dir: str | os.PathLike[str] | None = None,
        limit: int | None = None,
        download: bool = False,
    ) -> TaskSet:
        """Read a split; see `load`."""
        if split not in self.files:
            raise UnknownNameError(f"split of {self.name}", split, self.splits)
        path = self._locate(self.files[split], data_dir, download)
        tasks: list[Task] = []
        try:
            for index, record in enumerate(_records(path)):
                if limit is not None and len(tasks) >= limit:
                    break
                if (task := self.row(record, index, split)) is not None:
                    tasks.append(task)
        except (OSError, EOFError, ValueError, KeyError, TypeError, IndexError) as error:
            raise DataError(
                f"{path} cannot be read as {self.name}/{split}: {type(error).__name__}: {error}"
            ) from error
        return TaskSet(
            self.name, split, tuple(tasks), sha256_of(path), self.scorers, self.source, self.licence
        )

    def _locate(self, file: File, data_dir: str | os.PathLike[str] | None, allowed: bool) -> Path:
        for relative in (file.path, file.official_path):
            if relative and (path := find(relative, data_dir)) is not None:
                return path
        if allowed and file.official is not None and data_dir is None:
            return download(file.official, file.official_path or file.path)
        looked = ", ".join(str(place) for place in places(data_dir))
        third = (
            f"let it be fetched from {file.official.url} into {cache_dir() / 'data'} "
            "(--download, in Python download=True)"
            if file.official
            else "it has no official address with a checksum, so it cannot be downloaded"
        )
        raise DataError(
            f"data set {self.name!r} is missing: no {file.path!r} in {looked}. Three ways: pass "
            f"the data directory (data_dir), set {VARIABLE} to it, or {third}."
        )


data_sets: Registry[DataSet] = Registry(
    "data set",
    {
        name: f"hyperagent.tasks.catalogue:{name.upper()}"
        for name in (
            "gsm8k", "multiarith", "svamp", "asdiv", "addsub", "singleeq",
            "aqua", "mmlu", "humaneval", "mbpp",
        )
    }
    | {"wordproblems": "hyperagent.tasks.wordproblems.dataset:WORDPROBLEMS"},
    group="hyperagent.data_sets",
)  # fmt: skip


def load(
    name: str,
    split: str = "test",
    *,
    data_dir: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    download: bool = False,
) -> TaskSet:
    """Load a split of a data set.

    Parameters
    ----------
    name : str
        One of ``data_sets.names()``.
    split : str
    data_dir : path, optional
        Directory that holds the data, one folder a set. Default: ``HYPERAGENT_DATA``, then the
        user's cache.
    limit : int, optional
        Only the first `limit` tasks.
    download : bool
        Whether a set that lies in none of these places may be fetched from its official
        address into the cache. Nothing is fetched otherwise.

    Returns
    -------
    TaskSet

    Raises
    ------
    UnknownNameError
        For an unknown set or split; the message gives the nearest name.
    DataError
        If the file is missing (the message names the three ways to provide it), damaged, or a
        download does not have the expected checksum.
    """
    if limit is not None and limit < 0:
        raise DataError(f"limit must be >= 0, got {limit}")
    return data_sets.get(name).load(split, data_dir=data_dir, limit=limit, download=download)


def _records(path: Path) -> Iterator[Row]:
    """Records of a file: one JSON object a line, or one JSON list; plain or gzipped."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        text = file.read()
    if text.lstrip()[:1] == "[":
        yield from json.loads(text)
    else:
        # Not splitlines: it also breaks at U+2028, which JSON strings may hold.
        yield from (json.loads(line) for line in text.split("\n") if line.strip())
