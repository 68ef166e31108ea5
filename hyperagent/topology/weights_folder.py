"""Folders of a fitted designer: options as JSON, numbers as safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from hyperagent.errors import ConfigError

_CONFIG, _WEIGHTS = "config.json", "weights.safetensors"
_FORMAT = 1


def write_folder(
    folder: str | PathLike[str],
    designer: str,
    config: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Write options and weights into a folder, made if needed."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{_WEIGHTS}.part"
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, draft)
    draft.replace(folder / _WEIGHTS)
    text = json.dumps({**config, "format": _FORMAT, "designer": designer}, indent=1, sort_keys=True)
    draft = folder / f".{_CONFIG}.part"
    draft.write_text(text + "\n", encoding="utf-8")
    draft.replace(folder / _CONFIG)


def read_folder(
    folder: str | PathLike[str], designer: str
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Options and weights that `write_folder` wrote.

    Raises
    ------
    ConfigError
        If the folder cannot be read, or is another designer's.
    """
    folder = Path(folder)
    try:
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        arrays = load_file(folder / _WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise ConfigError(f"{designer}: cannot use the weights in {folder}: {error}") from error
    found = (config.get("format"), config.get("designer")) if isinstance(config, dict) else None
    if found != (_FORMAT, designer):
        raise ConfigError(
            f"{designer}: {folder} must hold a {designer!r} of format {_FORMAT}, got {found!r}"
        )
    return config, arrays
