"""Official copies of data files: fetched once, checked, and put into the user's cache."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hyperagent.datadir import cache_dir
from hyperagent.errors import DataError


@dataclass(frozen=True)
class Official:
    """Where the makers of a data set publish one of its files.

    Parameters
    ----------
    url : str
        Address of one fixed version.
    sha256 : str
        Hex SHA-256 of the file at that address.
    """

    url: str
    sha256: str

    @property
    def suffix(self) -> str:
        """Ending of the file's name, e.g. ``.jsonl.gz``."""
        return "".join(Path(self.url).suffixes[-2:])


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(official: Official, relative: str, *, timeout: float = 60.0) -> Path:
    """Fetch a file into the data part of the cache.

    Parameters
    ----------
    official : Official
    relative : str
        Path below the cache's data folder.
    timeout : float
        Seconds without a byte after which the download fails.

    Raises
    ------
    DataError
        If the address does not answer, or the file is not the one with that checksum. The
        cache is then unchanged.
    """
    import urllib.request  # Loads an HTTP client that reading local files has no use for.

    target = cache_dir() / "data" / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            try:
                with urllib.request.urlopen(official.url, timeout=timeout) as reply:
                    while chunk := reply.read(1 << 16):
                        digest.update(chunk)
                        file.write(chunk)
            except (OSError, ValueError) as error:
                raise DataError(f"cannot download {official.url}: {error}") from error
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != official.sha256:
            raise DataError(
                f"{official.url} has SHA-256 {digest.hexdigest()}, expected {official.sha256}: "
                "the file was changed or damaged and is not used"
            )
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return target
