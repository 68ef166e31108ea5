"""The scripts of the pocket models, importable by their short names while a file runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "pocket"


@pytest.fixture(scope="session")
def pocket() -> Iterator[SimpleNamespace]:
    """``tokenizer``, ``export`` and ``parity`` of benchmarks/pocket."""
    if not FOLDER.is_dir():
        pytest.skip("the studies are not part of this checkout")
    sys.path.insert(0, str(FOLDER))
    try:
        import export
        import parity
        import tokenizer

        yield SimpleNamespace(tokenizer=tokenizer, export=export, parity=parity)
    finally:
        sys.path.remove(str(FOLDER))
        for name in ("export", "parity", "tokenizer"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def script() -> Iterator[Callable[[str], ModuleType]]:
    """Imports a script of benchmarks/pocket by its name."""
    if not FOLDER.is_dir():
        pytest.skip("the studies are not part of this checkout")
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    try:
        yield import_module
    finally:
        sys.path.remove(str(FOLDER))
        for name in {path.stem for path in FOLDER.glob("*.py")} - before:
            sys.modules.pop(name, None)
