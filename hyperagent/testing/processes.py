"""Servers in processes of their own, which end when their parent does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def child_server(module: str, *arguments: str) -> Iterator[str]:
    """Run ``python -m module``; gives the address that it prints as its first line.

    The child must end when its standard input closes, which happens even if this process
    is killed.
    """
    child = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    try:
        url = child.stdout.readline().strip()
        if not url:
            child.wait(10)
            raise RuntimeError(f"{module} did not start: {child.stderr.read().strip()[-500:]}")
        yield url
    finally:
        child.stdin.close()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()
        child.stderr.close()
