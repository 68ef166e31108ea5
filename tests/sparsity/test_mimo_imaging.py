"""The imaging study: its operator, its solver settings and its trained denoiser."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from hyperagent.sparsity import apply
from hyperagent.sparsity.penalties import L1
from hyperagent.sparsity.solvers import PnP, adjoint_gap, csalsa
from hyperagent.sparsity.solvers.csalsa import inverse

FOLDER = Path(__file__).parents[2] / "benchmarks" / "mimo_imaging"
if not FOLDER.is_dir():
    pytest.skip("the studies are not part of this checkout", allow_module_level=True)


@pytest.fixture(scope="module")
def study() -> Iterator[SimpleNamespace]:
    """The study's own modules, importable by their short names while this file runs."""
    sys.path.insert(0, str(FOLDER))
    try:
        import born
        import net
        import scenes
        import train

        yield SimpleNamespace(born=born, net=net, scenes=scenes, train=train)
    finally:
        sys.path.remove(str(FOLDER))
        for name in ("born", "net", "scenes", "train"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def small(study: SimpleNamespace) -> torch.nn.Module:
    """A system of 7^3 voxels and 3 x 4 x 5 data in double precision."""
    system = study.born.cross_array(side=7, transmitters=4, receivers=5, frequencies=3)
    return study.born.Born(system, torch.complex128)


def test_the_factorised_operator_is_the_dense_one(study, small):
    x = torch.randn(2, 7, 7, 7, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    y = torch.randn(2, 3, 4, 5, dtype=torch.complex128, generator=torch.Generator().manual_seed(1))
    matrix = small.dense()
    torch.testing.assert_close(small.mv(x).flatten(1), x.flatten(1) @ matrix.mT)
    torch.testing.assert_close(small.rmv(y).flatten(1), y.flatten(1) @ matrix.conj())
    assert adjoint_gap(small) < 1e-13
    torch.testing.assert_close(small.gram(), matrix @ matrix.mH)
    # Columns of unit energy on average, whatever the distances.
    assert float(matrix.abs().square().sum(0).mean()) == pytest.approx(1)


def test_one_entry_from_the_formula(study, small):
    s = small.system
    v, k, t, r = 100, 2, 1, 3
    legs = [torch.linalg.vector_norm(a - s.voxels[v]) for a in (s.transmitters[t], s.receivers[r])]
    phase = -s.wavenumbers[k] * (legs[0] + legs[1])
    wanted = torch.polar(small.unit / (legs[0] * legs[1]), phase)
    torch.testing.assert_close(small.dense().reshape(3, 4, 5, -1)[k, t, r, v], wanted)


def test_single_precision_memory_and_adjoint(study):
    operator = study.born.Born(study.born.cross_array())
    assert operator.dtype == torch.complex64
    assert adjoint_gap(operator) < 1e-4
    assert operator.nbytes <= 0.3 * operator.m * operator.n * 8


def test_woodbury_is_conjugate_gradients(study, small):
    r = torch.randn(2, 3, 4, 5, dtype=torch.complex128, generator=torch.Generator().manual_seed(2))
    exact, loose = (inverse(small, 0.5, how)(r, torch.zeros_like(r)) for how in ("woodbury", "cg"))
    torch.testing.assert_close(loose, exact, rtol=0, atol=1e-4 * float(exact.abs().max()))


@pytest.mark.parametrize("at", [(3, 3, 3), (1, 5, 2), (5, 2, 6)])
def test_a_point_target_lands_in_its_voxel(study, small, at):
    x = torch.zeros(1, 7, 7, 7, dtype=torch.complex128)
    x[(0, *at)] = 1j
    y = small.mv(x)
    where = [tuple(torch.unravel_index(i.abs().argmax(), (7, 7, 7))) for i in (
        study.born.back_projection(small.system, y)[0],
        study.born.kirchhoff(small.system, y)[0],
        csalsa(small, y, L1(1.0), 1e-3, step=0.2, kappa=0.5).split[0],
    )]  # fmt: skip
    assert where == [at, at, at]


@pytest.mark.parametrize("family", ["magnitudes", "sticks"])
def test_scenes_are_magnitudes_up_to_one(study, family):
    make = getattr(study.scenes, family)
    one, two = (make(5, torch.Generator().manual_seed(s)) for s in (1, 1))
    assert torch.equal(one, two)
    assert one.shape == (5, 15, 15, 15)
    assert float(one.min()) >= 0
    assert one.amax((1, 2, 3)).tolist() == [1.0] * 5
    assert not torch.equal(one, make(5, torch.Generator().manual_seed(2)))


def test_the_shipped_denoiser(study):
    assert study.net.CHECKPOINT.stat().st_size < 300_000
    net = study.net.load()
    assert 40_000 < sum(p.numel() for p in net.parameters()) < 45_000
    g = torch.Generator().manual_seed(77)
    clean = study.scenes.magnitudes(4, g)
    z = (clean + 0.1 * torch.randn(clean.shape, generator=g)).abs()
    error = (PnP(net).prox(z, 0.01) - clean).square().mean()
    assert float(error) < 0.1 * float((z - clean).square().mean())
    x = study.scenes.scatterers(z, g)
    out = apply(PnP(net), x, 0.01)
    lit = out != 0
    turned = out[lit].to(torch.complex128) * x[lit].conj().to(torch.complex128)
    assert float(turned.angle().abs().max()) <= 1e-6


def test_training_resumes_to_the_same_weights(study, tmp_path, monkeypatch):
    """Four steps at once, and two and then the rest, are one and the same training."""
    train = study.train

    def run(name: str, *limits: int) -> dict[str, Tensor]:
        out, state = tmp_path / f"{name}.safetensors", tmp_path / f"{name}.state.safetensors"
        for limit in limits:
            command = ["train.py", "--steps", str(limit), "--state", str(state), "--out", str(out)]
            monkeypatch.setattr(sys, "argv", command)
            train.main()
        return study.train.load_file(out)

    # The rate depends on the whole length, so the halves must know it.
    monkeypatch.setattr(train, "rate", lambda step, steps: 1e-3 * (step + 1))
    straight, resumed = run("a", 4), run("b", 2, 4)
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(straight[k], resumed[k]) for k in straight)


def test_pnp_beats_l1_beats_back_projection_on_fresh_scenes(study):
    """The bar of the study, on scenes that neither training nor tuning has seen."""
    g = torch.Generator().manual_seed(31337)
    system = study.born.cross_array()
    operator = study.born.Born(system)
    truth = study.scenes.magnitudes(4, g)
    y, eps = study.scenes.noisy(operator.mv(study.scenes.scatterers(truth, g)), 30.0, g)

    def psnr(image: Tensor) -> float:
        z, t = image.abs().flatten(1), truth.flatten(1)
        scale = (z * t).sum(1, keepdim=True) / z.square().sum(1, keepdim=True)
        return float(-10 * torch.log10((scale * z - t).square().mean(1)).mean())

    pnp = csalsa(operator, y, PnP(study.net.load()), eps, step=0.005, kappa=0.1, iterations=30)
    l1 = csalsa(operator, y, L1(1.0), eps, step=0.1, kappa=0.5)
    assert bool(l1.converged.all())
    assert float((l1.misfit / eps).max()) <= 1.02
    assert float((pnp.misfit / eps).max()) <= 1.3
    assert psnr(pnp.x) >= psnr(l1.x) + 1
    assert psnr(l1.x) >= psnr(study.born.back_projection(system, y)) + 2
