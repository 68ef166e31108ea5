"""Time against a copy of the same vectors, in CPU time of one run; the study has the table."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch

from hyperagent.sparsity.penalties import L0, L1, MCP, SCAD, Penalty, SparseEnvelope


def seconds(call: Callable[[], object], passes: int) -> float:
    call()
    best = float("inf")
    for _ in range(passes):
        began = time.process_time()
        call()
        best = min(best, time.process_time() - began)
    return best


@pytest.mark.parametrize(
    ("penalty", "bar"), [(L1(0.7), 3), (L0(0.7), 3), (MCP(1.0, 2.0), 10), (SCAD(1.0), 10)], ids=str
)
def test_a_prox_is_a_few_copies_from_and_to_memory(penalty: Penalty, bar: float) -> None:
    # Together larger than the caches, so that every call reads from memory.
    many = [torch.rand(10**6, dtype=torch.float64) * 3 for _ in range(12)]
    copies = [torch.empty_like(x) for x in many]

    def all_proxes() -> None:
        for x in many:
            penalty.prox(x, 1.0)

    copying = seconds(lambda: [c.copy_(x) for c, x in zip(copies, many, strict=True)], 5)
    assert seconds(all_proxes, 5) <= bar * copying


def test_the_envelope_grows_linearly() -> None:
    times = {}
    for m in (100_000, 1_000_000):
        v = torch.rand(m)
        pen = SparseEnvelope(0.5, m // 10)
        times[m] = seconds(lambda pen=pen, v=v: pen.prox(v, 0.7), 2)
    assert times[1_000_000] <= 1.0
    assert times[1_000_000] <= 30 * times[100_000]
