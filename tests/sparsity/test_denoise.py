"""Denoisers on magnitudes: the phase stays, the modulus is the denoiser's, TV is a prox."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hyperagent.errors import SparsityError
from hyperagent.sparsity.penalties import apply
from hyperagent.sparsity.solvers.denoise import TV, PnP, Scaled

COMPLEX = [(torch.complex64, 1e-6), (torch.complex128, 1e-12)]


def image(dtype: torch.dtype, *shape: int, seed: int = 0) -> Tensor:
    x = torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    x.view(-1)[::7] = 0
    return x


def bend(z: Tensor, sigma: Tensor) -> Tensor:
    """A denoiser with all vices: it mixes voxels, raises zeros and goes below 0."""
    return 0.5 * z + 0.8 * z.roll(1, -1) - 0.9 + sigma


@pytest.mark.parametrize(("dtype", "tol"), COMPLEX)
@pytest.mark.parametrize("penalty", [PnP(bend), TV(1.0, dims=3)])
def test_the_phase_does_not_move(penalty, dtype, tol):
    x = image(dtype, 2, 5, 6, 7)
    out = apply(penalty, x, 0.09)
    lit = (x != 0) & (out != 0)
    assert int(lit.sum()) > 100
    assert float(torch.angle(out[lit] * x[lit].conj()).abs().max()) <= tol
    dark = (x == 0) & (out != 0)
    assert int(dark.sum()) > 5
    assert float(out[dark].imag.abs().max()) == 0
    assert float(out[dark].real.min()) > 0


@pytest.mark.parametrize(("dtype", "tol"), COMPLEX)
def test_the_modulus_is_the_denoisers(dtype, tol):
    x = image(dtype, 4, 9)
    sigma = torch.tensor(0.3, dtype=x.real.dtype)
    wanted = bend(x.abs(), sigma).clamp_min(0)
    assert int((wanted == 0).sum()) > 0
    torch.testing.assert_close(apply(PnP(bend), x, 0.09).abs(), wanted, rtol=0, atol=tol)


def test_the_noise_level_is_strength_times_root_of_the_step():
    seen: list[Tensor] = []

    def spy(z: Tensor, sigma: Tensor) -> Tensor:
        seen.append(sigma)
        return z

    z = torch.ones(3, 2)
    PnP(spy, strength=2.0).prox(z, 0.25)
    PnP(spy).prox(z, torch.tensor([[1.0], [4.0], [9.0]]))
    assert float(seen[0]) == 1.0
    assert seen[1].flatten().tolist() == [1.0, 2.0, 3.0]


def test_a_denoiser_is_differentiable_through():
    v = torch.rand(4, 4, dtype=torch.float64, requires_grad=True) + 1
    assert torch.autograd.gradcheck(lambda z: PnP(bend).prox(z, 0.01), (v,))


def test_a_scaled_denoiser_is_homogeneous():
    def soft(z: Tensor, sigma: Tensor) -> Tensor:
        return (z - sigma).clamp_min(0) ** 2  # far from homogeneous

    scaled = Scaled(soft, dims=2)
    z = image(torch.float64, 3, 5, 6).abs()
    sigma = torch.tensor(0.1, dtype=z.dtype)
    t = torch.tensor([1.0, 1e-3, 1e5], dtype=z.dtype).reshape(3, 1, 1)
    torch.testing.assert_close(scaled(t * z, t * sigma), t * scaled(z, sigma))
    one = z / z.amax((1, 2), keepdim=True)
    torch.testing.assert_close(scaled(one, sigma), soft(one, sigma))
    assert float(scaled(torch.zeros(2, 5, 6), torch.tensor(0.0)).abs().max()) == 0


def test_total_variation_of_a_known_image():
    z = torch.zeros(2, 4, 4, 4, dtype=torch.float64)
    z[1, 2:] = 3.0  # one face of 16 voxels, jump 3
    assert TV(0.5).value(z).tolist() == [0.0, 0.5 * 3 * 16]
    assert TV(1.0).value(torch.ones(2, 3, 4, 4, 4)).shape == (2, 3)


def test_the_gradient_has_its_adjoint():
    tv = TV(1.0, dims=2)
    z, p = image(torch.float64, 3, 4, 5), image(torch.float64, 2, 3, 4, 5, seed=1)
    left, right = (tv._gradient(z) * p).sum(), (tv._adjoint(p) * z).sum()
    torch.testing.assert_close(left, right)


@pytest.mark.parametrize("step", [0.02, 0.3])
def test_total_variation_prox_beats_perturbations(step):
    """16,000 complex images near the result: none has a smaller objective."""
    x = image(torch.complex128, 3, 4, 4)
    tv = TV(1.0, iterations=3000)

    def objective(w: Tensor) -> Tensor:
        return tv.value(w.abs()) + (w - x).abs().square().sum((-3, -2, -1)) / (2 * step)

    out = apply(tv, x, step)
    best = float(objective(out))
    g = torch.Generator().manual_seed(2)
    for size in (1e-4, 1e-3, 1e-2, 1e-1):
        near = out + size * torch.randn(4000, 3, 4, 4, dtype=x.dtype, generator=g)
        assert float(objective(near).min()) >= best - 1e-9


def test_total_variation_prox_in_the_limits():
    z = image(torch.float64, 6, 6).abs()
    tv = TV(1.0, dims=2, iterations=2000)
    flat = tv.prox(z, 1e3)
    torch.testing.assert_close(flat, z.mean().expand(6, 6), rtol=0, atol=1e-5)
    torch.testing.assert_close(tv.prox(z, 1e-9), z, rtol=0, atol=1e-8)
    assert torch.equal(TV(0.0, dims=2).prox(z, 1.0), z)


def test_total_variation_batch_is_per_item():
    z = image(torch.float64, 3, 5, 5, 5).abs()
    whole = TV(1.0).prox(z, 0.2)
    for i in range(3):
        torch.testing.assert_close(TV(1.0).prox(z[i], 0.2), whole[i], rtol=0, atol=1e-12)


def test_an_image_of_constant_modulus_fits_anything():
    """Why total variation of a modulus is degenerate: 32 random data, 250 voxels, TV = 0."""
    g = torch.Generator().manual_seed(5)
    a = torch.randn(32, 250, dtype=torch.complex128, generator=g)
    y = torch.randn(32, dtype=a.dtype, generator=g)
    pinv = torch.linalg.pinv(a)
    least = pinv @ y
    level = least.abs().square().mean().sqrt() * 1.2
    x = level * torch.sgn(torch.randn(250, dtype=a.dtype, generator=g))
    for _ in range(2000):
        x = level * torch.sgn(x + pinv @ (y - a @ x))
    assert float(TV(1.0, dims=1).value(x.abs())) < 1e-10
    assert float(torch.linalg.vector_norm(y - a @ x) / torch.linalg.vector_norm(y)) < 1e-3


@pytest.mark.parametrize("penalty", [PnP(bend), TV(1.0, dims=1)])
def test_inputs_are_not_modified(penalty):
    z = torch.rand(5, 8)
    copy = z.clone()
    penalty.prox(z, 0.1)
    assert torch.equal(z, copy)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: PnP(3), "denoiser"),
        (lambda: PnP(bend, strength=0.0), "strength"),
        (lambda: PnP(bend).value(torch.ones(3)), "penalty"),
        (lambda: PnP(lambda z, s: z[:1]).prox(torch.ones(3), 1.0), "denoiser"),
        (lambda: PnP(lambda z, s: z.double()).prox(torch.ones(3), 1.0), "denoiser"),
        (lambda: PnP(lambda z, s: None).prox(torch.ones(3), 1.0), "denoiser"),
        (lambda: PnP(lambda z, s: z / 0).prox(torch.ones(3), 1.0), "denoiser's output"),
        (lambda: PnP(bend).prox(-torch.ones(3), 1.0), "v"),
        (lambda: PnP(bend).prox(torch.ones(3), 0.0), "step"),
        (lambda: PnP(bend).prox(torch.ones(3, dtype=torch.int64), 1.0), "v"),
        (lambda: Scaled(bend, dims=0), "dims"),
        (lambda: Scaled(bend, dims=3)(torch.ones(2), torch.ones(())), "z"),
        (lambda: TV(-1.0), "lam"),
        (lambda: TV(1.0, iterations=0), "iterations"),
        (lambda: TV(1.0).prox(torch.ones(3, 3), 1.0), "v"),
        (lambda: TV(1.0).value(torch.full((3, 3, 3), float("nan"))), "z"),
    ],
)
def test_refusals_name_the_argument(call, name):
    with pytest.raises(SparsityError, match=rf"^{name} must"):
        call()


def test_a_denoiser_that_works_in_place_leaves_the_input_alone():
    v = torch.ones(4)
    assert torch.equal(PnP(lambda z, sigma: z.mul_(0)).prox(v, 0.1), torch.zeros(4))
    assert torch.equal(v, torch.ones(4))
