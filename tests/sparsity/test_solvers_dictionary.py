"""Dictionary learning, its activity controller, and debiasing."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from hyperagent import datadir
from hyperagent.errors import SparsityError
from hyperagent.sparsity.penalties.firm import CEL0
from hyperagent.sparsity.penalties.l0 import L0
from hyperagent.sparsity.penalties.l1 import L1
from hyperagent.sparsity.penalties.lq import Lq
from hyperagent.sparsity.solvers import debias, ista, learn_dictionary

FAMILIES = {"l1": L1, "l0": L0, "half": lambda lam: Lq(lam, 0.5), "cel0": CEL0}


def planted(n=4000, d=16, atoms=24, active=3, seed=0):
    """Patches that are sums of a few columns of a known dictionary."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randn(d, atoms, generator=generator)
    truth = truth / truth.norm(dim=0)
    codes = torch.zeros(n, atoms)
    where = torch.rand(n, atoms, generator=generator).argsort(1)[:, :active]
    sign = torch.randint(0, 2, (n, active), generator=generator) * 2.0 - 1
    codes.scatter_(1, where, sign * (1 + torch.rand(n, active, generator=generator)))
    return truth, codes @ truth.mT + 0.02 * torch.randn(n, d, generator=generator)


def test_a_planted_dictionary_is_found() -> None:
    truth, patches = planted()
    model = learn_dictionary(
        patches, 24, CEL0, active=3 / 24, lam=0.2, batches=150, batch=200, iterations=60
    )
    match = (truth.mT @ model.columns).abs().amax(1)
    assert (match > 0.95).float().mean() >= 0.7
    torch.testing.assert_close(model.columns.norm(dim=0), torch.ones(24))
    assert len(model.error) == len(model.activity) == 150
    assert model.error[-1] < 0.5 * model.error[0]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_controller_reaches_the_wanted_activity(name) -> None:
    _, patches = planted()
    model = learn_dictionary(
        patches, 24, FAMILIES[name], active=0.15, lam=0.01, batches=60, iterations=40
    )
    assert sum(model.activity[-10:]) / 10 == pytest.approx(0.15, rel=0.1)
    for wanted in (0.1, 0.25):
        reached = model.match(patches[:400], wanted, tol=0.02)
        assert reached == pytest.approx(wanted, rel=0.02)
        codes = model.encode(patches[:400]).x
        assert float((codes != 0).float().mean()) == pytest.approx(reached, rel=1e-6)


def test_runs_repeat_and_unused_columns_come_back() -> None:
    _, patches = planted(500)
    one, two = (learn_dictionary(patches, 24, CEL0, lam=0.3, batches=5, seed=3) for _ in range(2))
    assert torch.equal(one.columns, two.columns)
    assert one.lam == 0.3
    priced_out = learn_dictionary(patches, 24, L0, lam=1e6, batches=2)
    similarity = priced_out.columns.mT @ (patches / patches.norm(dim=1, keepdim=True)).mT
    torch.testing.assert_close(similarity.amax(1), torch.ones(24))  # every column is a patch


def test_debiasing_is_least_squares_on_the_support() -> None:
    torch.manual_seed(0)
    for dtype in (torch.float64, torch.complex128):
        a, y = torch.randn(20, 40, dtype=dtype), torch.randn(5, 20, dtype=dtype)
        x = ista(a, y, L1(4.0), iterations=300).x
        x[4] = 0
        free = debias(a, y, x)
        assert torch.equal(free[4], torch.zeros_like(free[4]))
        for i in range(4):
            on = x[i] != 0
            assert on.any()
            best = torch.linalg.lstsq(a[:, on], y[i][:, None]).solution[:, 0]
            torch.testing.assert_close(free[i][on], best)
            assert not free[i][~on].any()
            assert (y[i] - a @ free[i]).norm() <= (y[i] - a @ x[i]).norm() + 1e-12
        torch.testing.assert_close(debias(a, y[0], x[0]), free[0])
    everything = debias(a, y[0], torch.ones(40, dtype=dtype))  # more columns than rows
    torch.testing.assert_close(everything, torch.linalg.pinv(a) @ y[0])


def test_bad_input_is_named() -> None:
    _, patches = planted(50)
    for call, name in (
        (lambda: learn_dictionary(patches[0], 4, L1), "patches"),
        (lambda: learn_dictionary(patches * torch.nan, 4, L1), "patches"),
        (lambda: learn_dictionary(patches, 0, L1), "atoms"),
        (lambda: learn_dictionary(patches, 4, L1, active=1.0), "active"),
        (lambda: learn_dictionary(patches, 4, L1, lam=0.0), "lam"),
        (lambda: learn_dictionary(patches, 4, L1, memory=1.0), "memory"),
        (lambda: debias(patches, patches, patches), "matrix"),
    ):
        with pytest.raises(SparsityError, match=name):
            call()


def study_pictures():
    """The module of the study that cuts patches."""
    path = Path(__file__).parents[2] / "benchmarks" / "sparse_coding" / "pictures.py"
    spec = importlib.util.spec_from_file_location("sparse_coding_pictures", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_grating_is_selective_and_a_spot_is_not() -> None:
    pytest.importorskip("matplotlib")
    pictures = study_pictures()
    place = torch.arange(12.0) - 5.5
    y, x = torch.meshgrid(place, place, indexing="ij")
    window = torch.exp(-(x**2 + y**2) / 12)
    grating = (window * torch.cos(0.25 * 2 * torch.pi * (0.6 * x + 0.8 * y))).reshape(-1)
    spot = (window - window.mean()).reshape(-1)
    spread = pictures.circular_variance(torch.stack([grating, spot], 1), 12)
    assert spread[0] < 0.5
    assert spread[1] > 0.95


def test_natural_pictures_small_version_of_the_study() -> None:
    """The order of the V1 paper at one sparsity, and how much of it is shrinkage."""
    pytest.importorskip("matplotlib")
    if datadir.find("natural_gray") is None and importlib.util.find_spec("skimage") is None:
        pytest.skip("no pictures: set HYPERAGENT_DATA, or install scikit-image")
    pictures = study_pictures()
    found, _ = pictures.load()
    white = [pictures.whiten(p) for p in found]
    train = pictures.patches(white[:-4], 8000, 8, 0)
    test = pictures.patches(white[-4:] if len(white) > 4 else white, 300, 8, 1)
    residual, debiased, spread = {}, {}, {}
    for name in ("l1", "half", "cel0"):
        model = learn_dictionary(
            train, 96, FAMILIES[name], active=0.05, lam=0.2, batches=60, iterations=40
        )
        model.match(test, 0.05, tol=0.01, iterations=150)
        codes = model.encode(test, iterations=150).x
        energy = test.square().sum()
        residual[name] = float((test - model.decode(codes)).square().sum() / energy)
        free = debias(model.columns, test, codes)
        debiased[name] = float((test - model.decode(free)).square().sum() / energy)
        spread[name] = float(pictures.circular_variance(model.columns, 8).median())
    noise = torch.randn(64, 96, generator=torch.Generator().manual_seed(0))
    assert residual["cel0"] <= residual["half"] <= residual["l1"]
    assert residual["cel0"] <= 0.6 * residual["l1"]
    assert debiased["l1"] <= 1.4 * debiased["cel0"]
    assert max(spread.values()) < float(pictures.circular_variance(noise, 8).median())
