"""The refit: its minimiser and its derivatives."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from hyperagent.topology.lowrank import refit, shrink_spectrum


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 2.0, 50.0])
@pytest.mark.parametrize("seed", range(3))
def test_shrinking_is_the_prox_of_the_nuclear_norm(threshold: float, seed: int) -> None:
    matrix = random(5, 5, seed=seed)
    best = shrink_spectrum(matrix, threshold)

    def objective(w: torch.Tensor) -> float:
        return ((w - matrix).square().sum() / 2 + threshold * w.svd().S.sum()).item()

    for trial in range(50):
        step = random(5, 5, seed=100 + trial) - 0.5
        for size in (1e-3, 0.1, 1.0):
            assert objective(best + size * step) >= objective(best) - 1e-12


MATRICES = {
    "random": random(5, 5) - 0.5,
    "equal singular values": torch.eye(4, dtype=torch.float64),
    "orthogonal with signs": torch.diag(torch.tensor([1.0, -1, 1, -1], dtype=torch.float64)),
    "zero": torch.zeros(4, 4, dtype=torch.float64),
    "rank one": torch.outer(random(4), random(4, seed=1)) * 4,
}


@pytest.mark.parametrize("name", MATRICES)
def test_gradient_of_shrinking_also_where_singular_values_meet(name: str) -> None:
    matrix = MATRICES[name].clone().requires_grad_()
    assert gradcheck(lambda m: shrink_spectrum(m, 0.3), (matrix,))


@pytest.mark.parametrize(("n", "rank"), [(4, 4), (4, 9), (6, 3), (7, 1)])
def test_refit_minimises_what_it_says(n: int, rank: int) -> None:
    sketch, anchor = random(n, n), random(n, n, seed=1).round()
    zeta = 0.4
    basis = torch.linalg.svd(sketch).U[:, : min(rank, n)]
    got = refit(sketch, anchor, rank=rank, zeta=zeta)
    best = basis.T @ got @ basis
    assert torch.allclose(basis @ best @ basis.T, got, atol=1e-10), "of the form Q W Q^T"

    def objective(w: torch.Tensor) -> float:
        fit = basis @ w @ basis.T
        squares = (sketch - fit).square().sum() + (anchor - fit).square().sum()
        return (squares / 2 + zeta * torch.linalg.svdvals(w).sum()).item()

    for trial in range(50):
        step = random(*best.shape, seed=50 + trial) - 0.5
        for size in (1e-3, 0.1):
            assert objective(best + size * step) >= objective(best) - 1e-12


@pytest.mark.parametrize(("n", "rank"), [(4, 4), (6, 3), (7, 1)])
def test_gradcheck_of_refit(n: int, rank: int) -> None:
    sketch, anchor = random(n, n).requires_grad_(), random(n, n, seed=1).requires_grad_()
    assert gradcheck(lambda s, a: refit(s, a, rank=rank, zeta=0.4), (sketch, anchor))


def test_refit_of_a_degenerate_sketch_has_a_finite_gradient() -> None:
    sketch = torch.ones(6, 6, dtype=torch.float64).requires_grad_()
    refit(sketch, torch.zeros(6, 6, dtype=torch.float64), rank=2, zeta=0.1).sum().backward()
    assert torch.isfinite(sketch.grad).all()


def test_a_larger_zeta_gives_a_lower_rank() -> None:
    sketch, anchor = random(8, 8), random(8, 8, seed=1)
    ranks = [
        torch.linalg.matrix_rank(refit(sketch, anchor, rank=8, zeta=z), atol=1e-9).item()
        for z in (0.0, 0.5, 1.0, 2.0, 20.0)
    ]
    assert ranks == sorted(ranks, reverse=True)
    assert ranks[0] == 8
    assert ranks[-1] == 0
