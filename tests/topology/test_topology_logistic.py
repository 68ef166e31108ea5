"""Logistic regression: the minimum, determinism, and cross-fitting without leaks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from hyperagent.errors import ConfigError
from hyperagent.topology.logistic import Logistic, cross_fit, logit


def data(n: int = 200, d: int = 4, seed: int = 0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * [1.0, 10.0, 0.1, 1.0][:d] + 3.0
    y = (rng.random(n) < 1 / (1 + np.exp(-(x[:, 0] - 3)))).astype(float)
    return x, y


@pytest.mark.parametrize("penalty", [0.1, 3.0, 100.0])
def test_the_fit_is_the_minimum(penalty: float) -> None:
    x, y = data()
    model = Logistic.fit(x, y, penalty)
    z = (x - x.mean(axis=0)) / x.std(axis=0)

    def loss(w):
        a = w[0] + z @ w[1:]
        return np.logaddexp(0, a).sum() - y @ a + penalty / 2 * w[1:] @ w[1:] + 5e-4 * w[0] ** 2

    best = minimize(loss, np.zeros(5), method="BFGS", options={"gtol": 1e-8}).x
    np.testing.assert_allclose(model.weights, best, atol=1e-4)
    assert model.predict(x).mean() == pytest.approx(y.mean(), abs=1e-4)


def test_labels_that_separate_or_never_change_do_no_harm() -> None:
    x, _ = data()
    for y in (np.ones(len(x)), np.zeros(len(x)), (x[:, 0] > 3).astype(float)):
        p = Logistic.fit(np.column_stack([x, np.ones(len(x))]), y, 0.01).predict(
            np.column_stack([x, np.ones(len(x))])
        )
        assert np.isfinite(p).all()
        assert ((p > 0.5) == (y > 0.5)).mean() > 0.97


def test_cross_fitted_predictions_do_not_know_their_own_label() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(60, 30)), rng.integers(0, 2, 60).astype(float)
    folds = np.arange(60) % 5
    inside = Logistic.fit(x, y, 0.1).predict(x)
    outside = cross_fit(x, y, 0.1, folds)
    assert ((inside > 0.5) == y).mean() > 0.8
    assert ((outside > 0.5) == y).mean() < 0.7
    changed = y.copy()
    changed[folds == 2] = 1 - changed[folds == 2]
    again = cross_fit(x, changed, 0.1, folds)
    np.testing.assert_array_equal(outside[folds == 2], again[folds == 2])
    assert (outside[folds != 2] != again[folds != 2]).all()


def test_logit_is_clipped_and_wrong_shapes_are_named() -> None:
    np.testing.assert_allclose(logit(np.array([0.0, 0.5, 1.0])), [-np.log(99), 0, np.log(99)])
    with pytest.raises(ConfigError, match=r"\(3, 2\)"):
        Logistic.fit(np.zeros((3, 2)), np.zeros(4), 1.0)
    with pytest.raises(ConfigError, match="penalty > 0"):
        Logistic.fit(np.zeros((3, 2)), np.zeros(3), 0.0)
