"""From a soft, dense plan to a hard, sparse one while the costs are being learned."""

from __future__ import annotations

from collections.abc import Sequence

from hyperagent.errors import SparsityError
from hyperagent.sparsity import checks
from hyperagent.sparsity.transport.inputs import whole
from hyperagent.sparsity.transport.plan import TransportPlan


class Continuation:
    """Lowers gamma and k of a `TransportPlan` along a training run.

    A pair that the limit k cut off has no gradient, so a small k from the start learns
    only among the pairs it happens to begin with. Here gamma falls geometrically and k by
    stages; in the last fifth of the run both stay at their end.

    Parameters
    ----------
    gamma : tuple of two floats
        First and last value, e.g. ``(3.0, 0.3)``.
    k : sequence of int
        Stages of equal length, e.g. ``(8, 4, 2)``.

    Examples
    --------
    >>> path = Continuation((3.0, 0.3), (8, 4, 2))
    >>> [path.at(step / 10)[1] for step in (0, 3, 6, 10)]
    [8, 4, 2, 2]
    """

    HOLD = 0.8

    def __init__(self, gamma: tuple[float, float], k: Sequence[int]) -> None:
        if len(gamma) != 2 or not k:
            raise SparsityError("gamma must hold two numbers and k at least one stage")
        for value in gamma:
            checks.positive("gamma", value)
        for stage in k:
            whole(stage, 1, 2**31)
        self.gamma, self.k = (float(gamma[0]), float(gamma[1])), tuple(k)

    def at(self, progress: float) -> tuple[float, int]:
        """Gamma and k when `progress` (0 to 1) of the run is done."""
        checks.number("progress", progress, low=0.0, high=1.0)
        part = min(progress / self.HOLD, 1.0)
        first, last = self.gamma
        stage = min(int(part * len(self.k)), len(self.k) - 1)
        return first * (last / first) ** part, self.k[stage]

    def apply(self, plan: TransportPlan, progress: float) -> None:
        """Set `plan.gamma` and `plan.k`."""
        plan.gamma, plan.k = self.at(progress)
