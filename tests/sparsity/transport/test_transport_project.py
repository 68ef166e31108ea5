"""The k-sparse simplex projection and the conjugates against enumeration."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hyperagent.errors import SparsityError
from hyperagent.sparsity.transport import project_simplex
from hyperagent.sparsity.transport.project import conjugate_free, conjugate_mass


def simplex(v: Tensor, mass: float) -> Tensor:
    """Projection onto the simplex by bisection on the threshold: slow and independent."""
    low, high = v.min() - mass, v.max()
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if (v - middle).clamp_min(0).sum() > mass else (low, middle)
    return (v - (low + high) / 2).clamp_min(0)


def by_enumeration(v: Tensor, k: int, mass: float) -> float:
    """Least squared distance over every support of k entries."""
    best = torch.inf
    for support in itertools.combinations(range(len(v)), k):
        point = torch.zeros_like(v)
        point[list(support)] = simplex(v[list(support)], mass)
        best = min(best, float((point - v).square().sum()))
    return best


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_projection_is_the_nearest_point(data):
    n = data.draw(st.integers(1, 6))
    k = data.draw(st.integers(1, n))
    mass = data.draw(st.floats(0.01, 5))
    values = data.draw(st.lists(st.floats(-4, 4), min_size=n, max_size=n))
    v = torch.tensor(values, dtype=torch.float64)
    before = v.clone()
    point = project_simplex(v, k, mass)
    assert torch.equal(v, before)
    assert (point >= 0).all()
    assert int((point > 0).sum()) <= k
    assert abs(float(point.sum()) - mass) <= 1e-9
    assert float((point - v).square().sum()) <= by_enumeration(v, k, mass) + 1e-9


def test_of_equal_entries_the_lower_index_is_kept():
    v = torch.tensor([1.0, 2.0, 2.0, 2.0, 2.0])
    for k in (1, 2, 3):
        assert project_simplex(v, k).nonzero().flatten().tolist() == list(range(1, k + 1))


def test_each_slice_may_have_its_own_limit_and_mass():
    v = torch.randn(4, 3, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    k = torch.tensor([[1], [2], [5], [7]])
    mass = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)
    together = project_simplex(v, k, mass)
    for i, j in itertools.product(range(4), range(3)):
        alone = project_simplex(v[i, j], int(k[i]), float(mass[j]))
        assert torch.allclose(together[i, j], alone, atol=1e-14, rtol=0)
    turned = project_simplex(v.movedim(-1, 0), k, mass, dim=0)
    assert torch.equal(turned.movedim(0, -1), together)


def test_projection_passes_gradcheck():
    v = torch.tensor([[0.3, -1.0, 2.1, 0.9], [1.0, 0.2, 0.4, 3.0]], dtype=torch.float64)
    v.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: project_simplex(x, 3, 1.5), (v,))


@pytest.mark.parametrize("k", [1, 2, 4, None])
def test_conjugates_are_maxima_and_their_gradients_the_maximisers(k):
    generator = torch.Generator().manual_seed(3)
    gamma, mass = torch.tensor([0.7], dtype=torch.float64), torch.tensor([1.3], dtype=torch.float64)
    for _ in range(50):
        s = torch.randn(4, generator=generator, dtype=torch.float64)
        free, t_free = conjugate_free(s, gamma, k)
        held, t_held, _ = conjugate_mass(s, gamma, mass, k)
        for value, t in ((free, t_free), (held, t_held)):
            reached = (s * t).sum() - 0.5 * gamma * t.square().sum()
            assert torch.allclose(value, reached, atol=1e-12)
        # No k-sparse point on a grid of random ones does better.
        t = torch.rand(2000, 4, generator=generator, dtype=torch.float64)
        keep = torch.rand(2000, 4, generator=generator).argsort(-1) < (k or 4)
        t = t * keep
        assert ((t * 2 @ s) - 2 * gamma * t.square().sum(-1) <= free + 1e-12).all()
        t = mass * t / t.sum(-1, keepdim=True)
        assert ((t @ s) - 0.5 * gamma * t.square().sum(-1) <= held + 1e-12).all()
        for function, gradient in (
            (lambda x: conjugate_free(x, gamma, k)[0], t_free),
            (lambda x: conjugate_mass(x, gamma, mass, k)[0], t_held),
        ):
            step = 1e-6 * torch.eye(4, dtype=torch.float64)
            slope = torch.stack([(function(s + d) - function(s - d)) / 2e-6 for d in step])
            assert torch.allclose(slope.flatten(), gradient, atol=1e-6)


def test_same_point_as_pot(capsys):
    utils = pytest.importorskip("ot.utils", reason="POT is not installed")
    generator = torch.Generator().manual_seed(1)
    for k in (1, 3, 6):
        v = torch.randn(6, 9, generator=generator, dtype=torch.float64)
        theirs = utils.projection_sparse_simplex(v.numpy().copy(), k, axis=0)
        capsys.readouterr()
        ours = project_simplex(v, k, dim=0)
        assert abs(ours.numpy() - theirs).max() <= 1e-12
        assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("v", "arguments", "said"),
    [
        (torch.arange(4), {}, "v must be a real floating-point"),
        (torch.tensor([1.0, torch.nan]), {}, "v must be finite"),
        (torch.ones(4), {"k": 0}, r"k must be in \[1, 4\]"),
        (torch.ones(4), {"k": 5}, r"k must be in \[1, 4\], got 5"),
        (torch.ones(4), {"k": 2.0}, "k must be an integer"),
        (torch.ones(4), {"mass": 0.0}, "mass"),
        (torch.ones(3, 4), {"k": torch.tensor([1, 2])}, "k must broadcast"),
        (torch.tensor(1.0), {}, "at least one dimension"),
    ],
)
def test_bad_input_is_named(v, arguments, said):
    with pytest.raises(SparsityError, match=said):
        project_simplex(v, **arguments)
