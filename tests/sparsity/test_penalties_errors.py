"""Bad input raises our error, which names the argument and what was expected."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from penalty_list import CASES, ELEMENTWISE, Case

from hyperagent.errors import HyperagentError, SparsityError
from hyperagent.sparsity import Groups, apply, checks
from hyperagent.sparsity.penalties import (
    CEL0,
    L0,
    L1,
    MCP,
    SCAD,
    Box,
    Budget,
    CappedL1,
    HoyerSquare,
    KSparse,
    Lagrangian,
    LogSum,
    Lq,
    Masked,
    SparseEnvelope,
    log_ratio,
)

ONES = torch.ones(4)
BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: L1(-0.1), "lam must lie in"),
    (lambda: L1(float("nan")), "lam"),
    (lambda: L1(float("inf")), "lam"),
    (lambda: L1("a"), "lam must be a number"),
    (lambda: L1(torch.tensor([1.0, -2.0])), "lam .* got -2"),
    (lambda: L1(torch.tensor([1, 2])), "lam must be a real floating-point tensor, got torch.int64"),
    (lambda: L0(True), "lam"),
    (lambda: Lq(1.0, 1.0), r"q must lie in \(0, 1\)"),
    (lambda: Lq(1.0, 0.0), "q"),
    (lambda: MCP(1.0, 0.0), "gamma"),
    (lambda: CEL0(1.0, -1.0), "norm"),
    (lambda: SCAD(1.0, 2.0), "c must lie in"),
    (lambda: LogSum(1.0, 0.0), "eps"),
    (lambda: CappedL1(1.0, 0.0), "t must"),
    (lambda: SparseEnvelope(0.0, 2), "lam"),
    (lambda: SparseEnvelope(1.0, 0), "k must be >= 1"),
    (lambda: SparseEnvelope(1.0, 2.5), "k must be an integer"),
    (lambda: SparseEnvelope(1.0, torch.tensor([1.5])), "k"),
    (lambda: SparseEnvelope(1.0, 5).prox(ONES, 1.0), "k must be <= 4"),
    (lambda: SparseEnvelope(torch.ones(2), 2), "lam must be one number"),
    (lambda: SparseEnvelope(1.0, 2, method="fast"), "method must be one of"),
    (lambda: SparseEnvelope(1.0, 2, layer=torch.zeros(4)), "k must be a .L,. tensor"),
    (lambda: SparseEnvelope(1.0, 2, torch.ones(3)).prox(ONES, 1.0), "weights"),
    (
        lambda: SparseEnvelope(1.0, 2, torch.tensor([0.5, 2.0, 0.5, 2.0]), debiased=True).prox(
            ONES, 1.0
        ),
        "step must keep",
    ),
    (lambda: HoyerSquare(-1.0), "lam"),
    (lambda: KSparse(0), "k must be >= 1"),
    (lambda: KSparse(5).prox(ONES), "k must be <= 4"),
    (lambda: KSparse(torch.tensor([0, 1])), "k must be >= 1"),
    (lambda: KSparse(1.0), "k must be an integer"),
    (lambda: KSparse(1, "ball"), "within must be one of"),
    (lambda: KSparse(1, dim=3).prox(ONES), "dimension 3"),
    (lambda: Box(SCAD(1.0)).prox(ONES, 3.0), "step must keep step . rho < 1"),
    (lambda: Box(CappedL1(1.0, 1.0)).prox(ONES, 0.1), "step must keep"),
    (lambda: Box(L1(1.0), 0.2, 1.0), "low"),
    (lambda: Box(HoyerSquare(1.0)), "base"),
    (lambda: Box(L0(1.0)).on(Groups.rows()), "groups must be elements"),
    (lambda: KSparse(1, "box").on(Groups.rows()), "groups must be elements"),
    (lambda: apply(Box(L0(1.0)), torch.ones(3, dtype=torch.complex64), 1.0), "x must be a real"),
    (lambda: Masked(L1(1.0), torch.ones(3)), "keep must be a boolean"),
    (lambda: Masked(L1(1.0), torch.ones(3, dtype=torch.bool)).prox(ONES, 1.0), "keep must"),
    (lambda: Masked(HoyerSquare(1.0), torch.ones(3, dtype=torch.bool)), "base must be a separable"),
    (lambda: Budget(-1.0), "limit"),
    (lambda: Budget(1.0, torch.ones(3)).prox(ONES, 1.0), "cost must broadcast"),
    (lambda: Lagrangian(3.0, 2.0), "target must be <= total"),
    (lambda: log_ratio(torch.zeros(()), 2.0), "used"),
    (
        lambda: L1(torch.ones(3)).prox(ONES, 1.0),
        r"lam must broadcast to \(4,\), got the shape \(3,\)",
    ),
    (lambda: L1(1.0).prox(ONES, torch.ones(3)), "step must broadcast"),
    (lambda: L1(1.0).residual(ONES, torch.ones(3), 1.0), "grad must have the shape of x"),
]


@pytest.mark.parametrize(("call", "message"), BAD, ids=[m for _, m in BAD])
def test_the_message_names_the_argument(call: Callable[[], object], message: str) -> None:
    with pytest.raises(SparsityError, match=message) as caught:
        call()
    assert isinstance(caught.value, HyperagentError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_bad_vectors_and_steps(case: Case) -> None:
    pen = case.penalty
    v = torch.rand(6)
    nan = v.clone()
    nan[3] = float("nan")
    for bad in (nan, torch.arange(6), v.to(torch.complex64), [0.1, 0.2]):
        with pytest.raises(SparsityError, match=r"v must|x must"):
            pen.prox(bad, 0.1)  # type: ignore[arg-type]
    for step in (0.0, -1.0, float("nan"), float("inf"), "1", torch.tensor(-1.0)):
        with pytest.raises(SparsityError, match="step"):
            pen.prox(v, step)  # type: ignore[arg-type]
    if not pen.signed:
        with pytest.raises(SparsityError, match=r"v must hold .* >= 0 .no NaN., got -1"):
            pen.prox(v - 1.0 - v.amin(), 0.1)
        with pytest.raises(SparsityError, match="z must"):
            pen.value(nan)


def test_a_loop_may_skip_the_checks_that_read_values() -> None:
    nan = torch.tensor([1.0, float("nan")])
    with checks.trusted():
        assert L1(0.5).prox(nan, 1.0)[0] == 0.5
        with pytest.raises(SparsityError, match="v must be"):
            L1(0.5).prox(torch.arange(3), 1.0)
    with pytest.raises(SparsityError, match="NaN"):
        L1(0.5).prox(nan, 1.0)


@pytest.mark.parametrize("case", ELEMENTWISE, ids=str)
def test_a_penalty_prints_its_parameters(case: Case) -> None:
    for name in case.penalty.parameters:  # type: ignore[attr-defined]
        assert f"{name}=" in repr(case.penalty)
    assert "Groups.elements()" in repr(case.penalty.on())
