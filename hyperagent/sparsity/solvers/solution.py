"""What every solver returns."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Solution(NamedTuple):
    """A point and how good it is.

    Attributes
    ----------
    x : Tensor
        The unknown, of the dtype and device of the data.
    objective : real Tensor
        ``1/2 ||A x - y||^2 + pen(x)`` in loss units, one number per item of the batch.
    residual : real Tensor
        ``||x - prox(x - s grad)|| / s`` for the step(s) s of the solver, in units of the
        gradient: 0 exactly at its fixed points. One number per item.
    iterations : int
        Iterations (epochs for coordinate descent) of the slowest item.
    converged : bool Tensor
        Whether the stopping rule was met, per item.
    """

    x: Tensor
    objective: Tensor
    residual: Tensor
    iterations: int
    converged: Tensor
