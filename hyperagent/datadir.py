"""Where data files lie: the directory that was asked for, ``HYPERAGENT_DATA``, or the cache."""

from __future__ import annotations

import os
from pathlib import Path

from hyperagent.errors import DataError

VARIABLE = "HYPERAGENT_DATA"
"""Environment variable that names the data directory."""


def cache_dir() -> Path:
    """Folder for what we download or build: ``$XDG_CACHE_HOME/hyperagent``.

    Without that variable, or when it is relative (the XDG base directory specification
    says to ignore it then), ``~/.cache/hyperagent``. The folder is not created.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "hyperagent"


def places(data_dir: str | os.PathLike[str] | None = None) -> list[Path]:
    """Directories to look in, first one first.

    Parameters
    ----------
    data_dir : path, optional
        The user's explicit choice. It is then the only place: a file that is missing
        there must not be taken silently from somewhere else.

    Returns
    -------
    list of Path
        ``[data_dir]``, else ``$HYPERAGENT_DATA`` (if set) and ``cache_dir() / "data"``.
    """
    if data_dir is not None:
        return [Path(data_dir).expanduser()]
    named = os.environ.get(VARIABLE)
    return [*([Path(named).expanduser()] if named else []), cache_dir() / "data"]


def find(relative: str, data_dir: str | os.PathLike[str] | None = None) -> Path | None:
    """Path of a data file or folder, or None if no place holds it.

    Parameters
    ----------
    relative : str
        Path below the data directory, e.g. ``"gsm8k/test.jsonl.gz"``.
    data_dir : path, optional
        As in `places`.
    """
    return next((p for d in places(data_dir) if (p := d / relative).exists()), None)


def require(relative: str, data_dir: str | os.PathLike[str] | None = None) -> Path:
    """As `find`, but a missing file is an error that says how to provide it.

    Raises
    ------
    DataError
        If `relative` is in none of the places.
    """
    path = find(relative, data_dir)
    if path is None:
        looked = ", ".join(str(d) for d in places(data_dir))
        raise DataError(
            f"data file {relative!r} was not found (looked in {looked}). Pass the data "
            f"directory as data_dir, set {VARIABLE} to it, or put the file into "
            f"{cache_dir() / 'data'}."
        )
    return path
