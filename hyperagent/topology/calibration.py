"""How far predicted probabilities can be trusted, and what makes them more so."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar


def sigmoid(x: np.ndarray) -> np.ndarray:
    """The logistic function, which overflows nowhere."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def log_losses(logits: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """Negative log likelihood of each outcome, shape (n,).

    Parameters
    ----------
    logits, correct : ndarray, shape (n,)
        Logits, and outcomes in [0, 1].
    """
    return np.logaddexp(0.0, logits) - correct * logits


def temperature_of(logits: np.ndarray, correct: np.ndarray) -> float:
    """The temperature in [0.2, 5] of least log loss (Guo et al., ICML 2017).

    Parameters
    ----------
    logits, correct : ndarray, shape (n,)
        Logits, and outcomes in [0, 1].
    """

    def loss(log_temperature: float) -> float:
        return float(log_losses(logits / np.exp(log_temperature), correct).mean())

    bound = float(np.log(5.0))
    return float(np.exp(minimize_scalar(loss, bounds=(-bound, bound), method="bounded").x))


def spread(members: np.ndarray) -> np.ndarray:
    """Standard error of the mean of networks that each left out a share of the tasks.

    Parameters
    ----------
    members : ndarray, shape (M, C)

    Returns
    -------
    ndarray, shape (C,)
        The grouped jackknife, ``sqrt(M - 1)`` times the standard deviation (Efron and Tibshirani,
        An Introduction to the Bootstrap, equation 11.5).
    """
    return (len(members) - 1) ** 0.5 * members.std(axis=0)


def calibration_error(predicted: np.ndarray, correct: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error over bins of equal count.

    Parameters
    ----------
    predicted, correct : ndarray, shape (n,)
        Probabilities, and outcomes in [0, 1].
    bins : int

    Notes
    -----
    Guo et al., ICML 2017, equation 3, with bins of equal count, which leave no bin empty. It is
    above 0 even for perfect predictions, by about the standard error of a bin.
    """
    order = np.argsort(predicted, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    gaps = [len(p) * abs(predicted[p].mean() - correct[p].mean()) for p in parts]
    return float(sum(gaps) / len(predicted))
