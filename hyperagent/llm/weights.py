"""The weights of the pocket models: files of this package, checked before they are used.

``weights.json`` beside them states the size and the SHA-256 of each.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from hyperagent.errors import ConfigError, UnknownNameError
from hyperagent.llm.gguf import checked_file

FOLDER = Path(__file__).with_name("weights")
LIST = "weights.json"
_FILE = re.compile(r"pocket(?:-([a-z0-9]+))?\.gguf")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_REPAIR = "install hyperagent again"


@dataclass(frozen=True)
class Weights:
    """One file of weights, as the list states it; `verify` compares.

    Attributes
    ----------
    spec : str
        ``"pocket"`` or ``"pocket:VARIANT"``.
    path : Path
    sha256 : str
    size : int
        Bytes.
    """

    spec: str
    path: Path
    sha256: str
    size: int

    def verify(self) -> Path:
        """The path, if the file there is the one that the list means.

        Raises
        ------
        ConfigError
            If it is missing, no GGUF file, cut short, or has other content.
        """
        if not self.path.is_file():
            raise ConfigError(f"{self.spec}: {self.path} is missing; {_REPAIR}")
        checked_file(self.path)
        state = self.path.stat()
        if state.st_size != self.size:
            raise ConfigError(
                f"{self.spec}: {self.path} has {state.st_size:,} bytes, not {self.size:,}: it is "
                f"{'cut short' if state.st_size < self.size else 'another file'}; {_REPAIR}"
            )
        found = _sha256(self.path, state.st_size, state.st_mtime_ns)
        if found != self.sha256:
            raise ConfigError(
                f"{self.spec}: {self.path} is not the file that {LIST} lists: its SHA-256 is "
                f"{found[:12]}…, not {self.sha256[:12]}…; {_REPAIR}"
            )
        return self.path


def listed(directory: str | Path | None = None) -> dict[str, Weights]:
    """What the list names, by variant; the generalist's is the empty string.

    Parameters
    ----------
    directory : path, optional
        Folder with the files and their list; the package's own by default.

    Raises
    ------
    ConfigError
        If the list is missing or cannot be read.
    """
    path = Path(directory or FOLDER) / LIST
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"pocket: no weights here: {path} is missing; {_REPAIR}") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"pocket: {path} cannot be read: {error}") from None
    found = {}
    try:
        for file, entry in entries.items():
            name = _FILE.fullmatch(file)
            digest, size = entry["sha256"], entry["bytes"]
            if name is None or not _DIGEST.fullmatch(digest) or type(size) is not int:
                raise ValueError(file)
            variant = name[1] or ""
            found[variant] = Weights(spec_of(variant), path.with_name(file), digest, size)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"pocket: {path} must map file names, pocket-NAME.gguf, to sha256 and bytes ({error})"
        ) from None
    return dict(sorted(found.items()))


def find(variant: str = "", directory: str | Path | None = None) -> Weights:
    """The weights of a variant, verified.

    Raises
    ------
    UnknownNameError
        If the list has no such variant; the message gives the nearest one.
    ConfigError
        If the list or the file is not as it should be.
    """
    known = listed(directory)
    if variant not in known:
        raise UnknownNameError("pocket model", spec_of(variant), map(spec_of, known))
    known[variant].verify()
    return known[variant]


def weights_path(variant: str = "", directory: str | Path | None = None) -> Path:
    """Path of the verified weights of a variant; see `find`."""
    return find(variant, directory).path


def spec_of(variant: str) -> str:
    """``pocket`` or ``pocket:VARIANT``."""
    return f"pocket:{variant}" if variant else "pocket"


# Size and time are in the key: a file that changed is read again.
@functools.lru_cache(maxsize=64)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
