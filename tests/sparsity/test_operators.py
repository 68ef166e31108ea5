"""Operators: adjoints, norms, Gram matrices, batches, refusals."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hyperagent.errors import SparsityError
from hyperagent.sparsity.solvers.operators import (
    Dense,
    Functional,
    Linear,
    adjoint_gap,
    as_linear,
)

DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]


def matrix(dtype: torch.dtype, m: int = 7, n: int = 12) -> Tensor:
    return torch.randn(m, n, dtype=dtype, generator=torch.Generator().manual_seed(3))


def functional(a: Tensor) -> Functional:
    """The same matrix behind functions, on x of shape (3, 4)."""
    n, m = a.shape[1], a.shape[0]
    return Functional(
        lambda x: x.reshape(-1, n) @ a.mT,
        lambda y: (y @ a.conj()).reshape(-1, 3, n // 3),
        (3, n // 3),
        (m,),
        a.dtype,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make", [Dense, functional])
def test_adjoint(make, dtype):
    tol = 1e-5 if dtype in (torch.float32, torch.complex64) else 1e-13
    assert adjoint_gap(make(matrix(dtype))) < tol


def test_adjoint_gap_sees_a_missing_conjugate():
    a = matrix(torch.complex128)
    wrong = Functional(lambda x: x @ a.mT, lambda y: y @ a, (12,), (7,), a.dtype)
    assert adjoint_gap(wrong) > 1e-2


@pytest.mark.parametrize("dtype", DTYPES)
def test_norm_and_squares(dtype):
    a = matrix(dtype)
    exact = float(torch.linalg.svdvals(a)[0])
    for op in (Dense(a), functional(a)):
        assert op.norm() == pytest.approx(exact, rel=1e-3)
        torch.testing.assert_close(op.gram(), a @ a.mH)
        torch.testing.assert_close(op.normal(), a.mH @ a)


def test_power_iteration_never_exceeds_the_norm():
    a = matrix(torch.float64)
    assert functional(a).norm() <= float(torch.linalg.svdvals(a)[0]) * (1 + 1e-12)


def test_a_zero_operator_has_norm_zero():
    assert functional(torch.zeros(7, 12)).norm() == 0


@pytest.mark.parametrize("batch", [(), (5,), (2, 3)])
def test_batches_stay(batch):
    a = matrix(torch.complex128)
    op = functional(a)
    x = torch.randn(*batch, 3, 4, dtype=a.dtype)
    y = op.mv(x)
    assert y.shape == (*batch, 7)
    torch.testing.assert_close(y, x.reshape(*batch, 12) @ a.mT)
    assert op.rmv(y).shape == x.shape


def test_as_linear():
    a = matrix(torch.float32)
    op = as_linear(a)
    assert isinstance(op, Linear)
    assert as_linear(op) is op
    assert (op.m, op.n) == (7, 12)
    assert "(12,) -> (7,)" in repr(op)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: as_linear([[1.0]]), "operator"),
        (lambda: Dense(torch.ones(3)), "matrix"),
        (lambda: Dense(torch.ones(2, 2, dtype=torch.int64)), "matrix"),
        (lambda: Dense(torch.full((2, 2), float("nan"))), "matrix"),
        (lambda: Dense(torch.ones(2, 3)).mv(torch.ones(2)), "x"),
        (lambda: Dense(torch.ones(2, 3)).rmv(torch.ones(3)), "y"),
        (lambda: Dense(torch.ones(2, 3)).mv(torch.ones(3, dtype=torch.float64)), "x"),
        (lambda: Functional(abs, abs, (0,), (1,)), "domain"),
        (lambda: Functional(abs, abs, (1,), (1,), torch.int32), "dtype"),
    ],
)
def test_refusals_name_the_argument(call, names):
    with pytest.raises(SparsityError, match=rf"^{names} must"):
        call()
