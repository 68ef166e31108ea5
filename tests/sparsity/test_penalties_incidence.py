"""Which hyperedges did the probes see? CEL0 as a price per edge against l1, both in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor

from hyperagent.sparsity.penalties import CEL0, L1, Box, Penalty

AGENTS, EDGES, ONES, PROBES = 20, 12, 36, 90


def recover(penalty: Penalty, a: Tensor, y: Tensor, step: float) -> Tensor:
    """Proximal gradient from 0."""
    x = torch.zeros(a.shape[1], dtype=a.dtype)
    for _ in range(300):
        x = penalty.on().prox(x - step * (a.T @ (a @ x - y)), step)
    return x


def score(x: Tensor, truth: Tensor) -> float:
    """F1 of the memberships above 0.25."""
    found, real = x > 0.25, truth > 0
    both = float((found & real).sum())
    return 2 * both / max(float(found.sum() + real.sum()), 1.0)


def test_cel0_finds_more_memberships_and_does_not_shrink_them() -> None:
    theta = 0.5  # a weight counts as fully on from here
    totals = {"l1": [0.0, 0.0], "cel0": [0.0, 0.0]}
    seeds = 5
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        n = AGENTS * EDGES
        truth = torch.zeros(n, dtype=torch.float64)
        truth[torch.randperm(n, generator=generator)[:ONES]] = 1
        a = torch.randn(PROBES, n, dtype=torch.float64, generator=generator) / PROBES**0.5
        y = a @ truth + 0.1 * torch.randn(PROBES, dtype=torch.float64, generator=generator)
        step = 0.99 / float(torch.linalg.matrix_norm(a, 2)) ** 2
        for name in totals:
            best = (-1.0, 0.0)
            for lam in torch.logspace(-2.5, -0.3, 12).tolist():
                # Edge price lam and slope sqrt(2 lam) a with a = sqrt(2 lam) / theta.
                base = L1(lam) if name == "l1" else CEL0(lam, (2 * lam) ** 0.5 / theta)
                x = recover(Box(base), a, y, step)
                best = max(best, (score(x, truth), float(x[truth > 0].mean())))
            totals[name][0] += best[0] / seeds
            totals[name][1] += best[1] / seeds
    assert totals["cel0"][0] >= totals["l1"][0] + 0.05, totals
    assert totals["cel0"][1] >= 0.85 > 0.80 >= totals["l1"][1], totals
