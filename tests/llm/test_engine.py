"""The engine can be freed at any time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("xllamacpp")

SCRIPT = """
import sys
from pathlib import Path
from hyperagent.llm.engine import start
for _ in range(12):
    engine = start(Path(sys.argv[1]), context=256, parallel=2, threads=1)
    del engine
"""


def test_an_engine_that_is_freed_at_once_ends(tiny_gguf: Path) -> None:
    # In processes of their own, three at a time: the race needs a busy machine, and who loses it
    # waits inside the engine, where nothing can stop it.
    command = [sys.executable, "-c", SCRIPT, str(tiny_gguf)]
    running = [subprocess.Popen(command) for _ in range(3)]
    try:
        assert [process.wait(timeout=60) for process in running] == [0, 0, 0]
    finally:
        for process in running:
            process.kill()
            process.wait()
