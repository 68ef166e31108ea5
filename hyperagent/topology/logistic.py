"""Logistic regression with a ridge penalty, by Newton's method.

Small on purpose: a few dozen columns and about a thousand rows, where Newton's method takes
milliseconds and gives the same bytes each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hyperagent.errors import ConfigError

_STEPS, _ENOUGH = 50, 1e-10
_PARTS = ("mean", "scale", "weights")


@dataclass(frozen=True)
class Logistic:
    """P(y = 1 | x) = 1 / (1 + exp(−w₀ − wᵀ(x − m) / s)).

    Attributes
    ----------
    mean, scale : ndarray, shape (d,), float64
        Of each column on the training rows; a constant column has scale 1.
    weights : ndarray, shape (d + 1,), float64
        The first is the intercept, which is not penalised.
    """

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray

    @classmethod
    def fit(cls, x: np.ndarray, y: np.ndarray, penalty: float) -> Logistic:
        """Minimise the negative log-likelihood + penalty / 2 · ‖w‖² over standardised columns.

        Parameters
        ----------
        x : ndarray, shape (n, d)
        y : ndarray, shape (n,)
            0 or 1; probabilities are taken too.
        penalty : float
            Positive, so that the minimum exists and is unique even where the classes separate.

        Raises
        ------
        ConfigError
            If the shapes do not fit or the penalty is not positive.
        """
        if x.ndim != 2 or y.shape != x.shape[:1] or not len(y) or not penalty > 0:
            raise ConfigError(
                "logistic regression needs x of shape (n, d), y of shape (n,) and a penalty > 0, "
                f"got {x.shape}, {y.shape} and {penalty!r}"
            )
        mean, scale = x.mean(axis=0), x.std(axis=0)
        scale = np.where(scale > 1e-12, scale, 1.0)
        rows = np.column_stack([np.ones(len(x)), (x - mean) / scale])
        # A trace of a penalty on the intercept, for labels that are all the same.
        ridge = np.full(rows.shape[1], penalty)
        ridge[0] = 1e-3
        weights, before = np.zeros(rows.shape[1]), np.inf
        for _ in range(_STEPS):
            p = _sigmoid(rows @ weights)
            slope = rows.T @ (p - y) + ridge * weights
            bend = (rows * (p * (1 - p))[:, None]).T @ rows + np.diag(ridge)
            step = np.linalg.solve(bend, slope)
            size = 1.0
            now = _loss(rows, y, ridge, weights - step)
            while now > before and size > 1e-6:
                size /= 2
                now = _loss(rows, y, ridge, weights - size * step)
            weights = weights - size * step
            if before - now <= _ENOUGH * (1 + abs(now)):
                break
            before = now
        return cls(mean, scale, weights)

    def to_arrays(self, name: str) -> dict[str, np.ndarray]:
        """The numbers for a file, below `name`."""
        return {f"{name}.{part}": getattr(self, part) for part in _PARTS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], name: str) -> Logistic:
        """What `to_arrays` gave; KeyError if it is not there."""
        return cls(*(arrays[f"{name}.{part}"] for part in _PARTS))

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Probabilities, shape (n,), of the rows of `x`, shape (n, d)."""
        return _sigmoid(self.weights[0] + (x - self.mean) / self.scale @ self.weights[1:])


def cross_fit(x: np.ndarray, y: np.ndarray, penalty: float, folds: np.ndarray) -> np.ndarray:
    """Predict every fold with a model of the other folds.

    Parameters
    ----------
    x : ndarray, shape (n, d)
    y : ndarray, shape (n,)
    penalty : float
    folds : ndarray, shape (n,), int
        At least two different values.

    Returns
    -------
    ndarray, shape (n,), float64
        Predictions that no row had a part in, for a second model to learn from.
    """
    out = np.zeros(len(y))
    for fold in np.unique(folds):
        held = folds == fold
        out[held] = Logistic.fit(x[~held], y[~held], penalty).predict(x[held])
    return out


def logit(p: np.ndarray, clip: float = 0.01) -> np.ndarray:
    """log(p / (1 − p)) with `p` kept in [clip, 1 − clip]."""
    p = np.clip(p, clip, 1 - clip)
    return np.log(p / (1 - p))


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * z))


def _loss(rows: np.ndarray, y: np.ndarray, ridge: np.ndarray, weights: np.ndarray) -> float:
    z = rows @ weights
    return float(np.logaddexp(0, z).sum() - y @ z + 0.5 * (ridge * weights) @ weights)
