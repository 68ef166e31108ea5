"""The one list of penalties that every property test goes through.

A new penalty is one class and one line here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hyperagent.sparsity.penalties import (
    CEL0,
    L0,
    L1,
    MCP,
    SCAD,
    Box,
    Budget,
    CappedL1,
    GroupLasso,
    HoyerSquare,
    KSparse,
    LogSum,
    Lq,
    Masked,
    NonNegative,
    Penalty,
    SparseEnvelope,
)


@dataclass(frozen=True)
class Case:
    """A penalty, steps on both sides of 1 / rho, and the interval that its values live in."""

    penalty: Penalty
    steps: tuple[float, ...]
    low: float = 0.0
    high: float = 8.0

    def __str__(self) -> str:
        return repr(self.penalty)


KEEP = torch.tensor([True, False, False, True, False, True])
WEIGHTS = torch.tensor([0.5, 1.0, 1.5, 0.8, 1.2, 1.0], dtype=torch.float64)

CASES = [
    Case(L1(0.7), (0.3, 3.0)),
    Case(GroupLasso(0.7, 1.4), (0.3, 3.0)),
    Case(L0(0.7), (0.3, 3.0)),
    *(Case(Lq(0.7, q), (0.1, 0.8, 5.0)) for q in (0.1, 0.3, 0.5, 2 / 3, 0.8, 0.95)),
    Case(CEL0(0.5, 1.3), (0.2, 0.59, 1 / 1.3**2, 0.6, 4.0)),
    Case(MCP(0.7, 2.0), (0.3, 1.9, 2.0, 2.1, 20.0)),
    Case(SCAD(0.7, 3.7), (0.3, 2.6, 2.7, 2.8, 4.6, 4.7, 4.8, 20.0)),
    Case(LogSum(0.7, 0.3), (0.05, 0.1285, 0.13, 3.0)),
    Case(LogSum(0.7, 2.0), (0.3, 5.6, 5.8, 20.0)),
    Case(CappedL1(0.7, 0.5), (0.1, 0.7, 0.8, 6.0)),
    Case(Box(L0(0.2), high=0.8), (0.2, 2.0), 0.0, 0.8),
    Case(Box(CEL0(0.2, 0.9), -0.5, 0.7), (0.4, 1.2, 1.3, 5.0), -0.5, 0.7),
    Case(Box(Lq(0.3, 0.5), -0.2, 1.0), (0.3, 3.0), -0.2, 1.0),
    Case(Box(SCAD(0.5, 3.7)), (0.5, 2.6), 0.0, 1.0),
    Case(NonNegative(MCP(0.4, 2.0)), (0.5, 3.0), 0.0, 8.0),
    Case(Masked(CEL0(0.5), KEEP), (0.5, 3.0)),
    Case(SparseEnvelope(0.6, 2), (0.2, 5.0)),
    Case(SparseEnvelope(0.6, 3, WEIGHTS, method="sort"), (0.2, 50.0)),
    Case(SparseEnvelope(0.6, 2, debiased=True), (0.2, 1.6, 5.0)),
    Case(SparseEnvelope(0.6, 2.5, cost=WEIGHTS), (0.2, 5.0)),
    Case(HoyerSquare(0.2), (0.05, 0.5, 5.0)),
    Case(KSparse(2), (1.0,)),
    Case(KSparse(2, "nonneg"), (1.0,)),
    Case(KSparse(3, "box", high=0.8), (1.0,), 0.0, 0.8),
    Case(KSparse(3, "simplex"), (1.0,)),
    Case(Budget(2.0, WEIGHTS), (1.0,)),
    Case(Budget(2.0, lam=0.3), (0.4, 4.0)),
]

SEPARABLE = [c for c in CASES if c.penalty.separable and not isinstance(c.penalty, Masked)]
ELEMENTWISE = [c for c in SEPARABLE if not c.penalty.signed]
"""Penalties on magnitudes of any shape."""


def signed_or_not(case: Case, v: torch.Tensor) -> torch.Tensor:
    """`v` for penalties on real numbers, ``|v|`` for penalties on magnitudes."""
    return v if case.penalty.signed else v.abs()
