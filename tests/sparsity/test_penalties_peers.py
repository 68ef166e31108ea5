"""Side by side with skglm, pyproximal and proxop, skipped where they are not installed."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

STUDY = Path(__file__).resolve().parents[2] / "benchmarks" / "penalties" / "peers.py"


def table() -> ModuleType:
    """The study's list of pairs."""
    spec = importlib.util.spec_from_file_location("penalty_peers", STUDY)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("package", ["skglm", "pyproximal", "proxop"])
def test_as_close_where_they_are_right_and_right_where_they_are_wrong(package: str) -> None:
    pytest.importorskip(package)
    v = np.linspace(0, 12, 801)
    ours_at = torch.from_numpy(v)
    seen = 0
    for pair in table().PACKAGES[package]():

        def objective(z: torch.Tensor, pair: object = pair) -> torch.Tensor:
            return pair.ours.value(z) + (z - ours_at).square() / (2 * pair.step)  # type: ignore[attr-defined]

        ours = pair.ours.prox(ours_at, pair.step)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theirs = torch.from_numpy(np.asarray(pair.prox(v.copy(), pair.step)))
        except IndexError:
            assert not pair.right, f"{pair} raised"
            continue
        excess = objective(theirs.clamp(min=0)) - objective(ours)
        assert excess.min() >= -1e-12, f"{pair} is better than ours"
        if pair.right:
            assert (theirs - ours).abs().max() <= 1e-9, str(pair)
        else:
            assert excess.max() >= 0.01, f"{pair} is right now; correct the study"
        seen += 1
    assert seen > 5
