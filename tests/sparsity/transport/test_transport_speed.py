"""CPU time as a ratio to something measured in the same run (and the one absolute bar)."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable

import pytest
import torch

from hyperagent.sparsity.transport import TransportPlan

CAPACITY = torch.full((16,), 20.0, dtype=torch.float64)


def least(call: Callable[[], object], rounds: int = 7) -> float:
    """Least CPU seconds of some rounds."""
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        call()
        best = min(best, time.process_time() - began)
    return best


def unrolled_sinkhorn(affinity: torch.Tensor) -> torch.Tensor:
    """Entropic plan with capacities, 100 steps under autograd."""
    scores, row = affinity / 0.05, torch.zeros(16, 1, dtype=torch.float64)
    for _ in range(100):
        column = -torch.logsumexp(scores + row, 0, keepdim=True)
        row = (
            CAPACITY.log()[:, None] - torch.logsumexp(scores + column, 1, keepdim=True)
        ).clamp_max(0)
    return torch.exp(scores + row + column)


def test_router_with_gradient_is_faster_than_unrolled_sinkhorn(hot_affinity):
    affinity = hot_affinity(0).requires_grad_()
    module = TransportPlan(None, 0.05, row="le")
    forward = least(lambda: module(-affinity, CAPACITY))
    assert forward <= 0.010
    both = least(lambda: module(-affinity, CAPACITY).share.square().sum().backward())
    assert both - forward <= 0.010
    assert both < least(lambda: unrolled_sinkhorn(affinity).square().sum().backward(), 3)


def test_no_slower_than_pot_at_its_tight_tolerance(random_problem):
    """POT's L-BFGS, stopped at a row error of 1e-7; ours has 1e-10 or less."""
    smooth = pytest.importorskip("ot.smooth", reason="POT is not installed")
    cost, a, b = random_problem(40, 40, 0)

    def theirs() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            smooth.smooth_ot_semi_dual(
                a.numpy(),
                b.numpy(),
                cost.numpy(),
                0.5,
                reg_type="sparsity_constrained",
                max_nz=39,
                stopThr=1e-15,
                numItermax=5000,
            )

    module = TransportPlan(39, 0.5)
    assert float(module(cost, a, b).row_error) <= 1e-10
    assert least(lambda: module(cost, a, b)) <= 1.5 * least(theirs)
