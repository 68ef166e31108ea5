"""Sums in one order: torch with one thread, so that equal seeds give equal bytes everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread inside, and on as many as before afterwards.

    How many threads share a sum decides in which order it is added up, and so its last bits. The
    networks of this room are too small to gain from more than one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
