"""Strengths that change over training: pure functions of the step number.

A schedule is any callable ``step -> float``. Ours are frozen dataclasses: they print their
numbers, compare equal by value and hold no state, so that a resumed run continues exactly.
Steps are optimizer steps, counted from 0.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hyperagent.errors import SparsityError
from hyperagent.registry import Registry
from hyperagent.sparsity import checks

Schedule = Callable[[int], float]
"""What the rest of the package asks for; a lambda will do."""

schedules: Registry[Callable[..., Schedule]] = Registry("schedule")
"""Schedules by name: constant, linear, cosine, sine_stages, exponential."""


@schedules.register("constant")
@dataclass(frozen=True)
class Constant:
    """One value for ever.

    Parameters
    ----------
    value : float
        Finite, >= 0.
    """

    value: float

    def __post_init__(self) -> None:
        checks.weight("value", self.value)

    def __call__(self, step: int) -> float:
        return float(self.value)


@dataclass(frozen=True)
class _Ramp:
    """`start` for `delay` steps, `end` from ``delay + steps`` on, monotone between."""

    start: float
    end: float
    steps: int
    delay: int = 0

    def __post_init__(self) -> None:
        checks.weight("start", self.start)
        checks.weight("end", self.end)
        checks.count("steps", self.steps, 1)
        checks.count("delay", self.delay, 0)

    def __call__(self, step: int) -> float:
        part = min(max((step - self.delay) / self.steps, 0.0), 1.0)
        # Written so that both ends are met exactly.
        return self.end if part == 1 else self.start + self._shape(part) * (self.end - self.start)

    def _shape(self, part: float) -> float:
        raise NotImplementedError


@schedules.register("linear")
@dataclass(frozen=True)
class Linear(_Ramp):
    """From `start` in a straight line to `end`, then `end`.

    ``Linear(gamma, 0, steps)`` is the decreasing weight of l1-sparse unlearning (Jia et al.,
    2023).

    Parameters
    ----------
    start, end : float
        Values >= 0.
    steps : int
        Length of the way, >= 1.
    delay : int
        Steps at `start` before it begins.
    """

    def _shape(self, part: float) -> float:
        return part


@schedules.register("cosine")
@dataclass(frozen=True)
class Cosine(_Ramp):
    """From `start` to `end` along half a cosine: flat at both ends. Parameters as `Linear`."""

    def _shape(self, part: float) -> float:
        return 0.5 - 0.5 * math.cos(math.pi * part)


@schedules.register("exponential")
@dataclass(frozen=True)
class Exponential:
    """``peak (exp(alpha t / steps) - 1) / (exp(alpha) - 1)``, then `peak`.

    The strength of the proximal step in ATP: it starts at 0 and is steepest at its end.

    Parameters
    ----------
    peak : float
        Value >= 0 from `steps` on.
    steps : int
        Length, >= 1.
    alpha : float
        Steepness > 0; towards 0 the ramp becomes a straight line.

    References
    ----------
    Lu et al., "All-in-one tuning and structural pruning for domain-specific LLMs",
    arXiv 2412.14426 (form taken from the behaviour of its public code).
    """

    peak: float
    steps: int
    alpha: float = 1.0

    def __post_init__(self) -> None:
        checks.weight("peak", self.peak)
        checks.count("steps", self.steps, 1)
        checks.number("alpha", self.alpha, low=0.0, high=500.0, open_low=True)

    def __call__(self, step: int) -> float:
        part = min(max(step / self.steps, 0.0), 1.0)
        return self.peak * math.expm1(self.alpha * part) / math.expm1(self.alpha)


@schedules.register("sine_stages")
@dataclass(frozen=True)
class SineStages:
    """The staged weight of ProSparse: nothing, a constant, then rises along half sine waves.

    With peaks l_1 <= ... <= l_S and ends T_1 < ... < T_S (both sequences of length S)::

        t <= silent                 0
        silent < t <= T_1           l_1
        T_(i-1) < t <= T_i          l_(i-1) + e (l_i - l_(i-1)),
                                    e = (sin(-pi/2 + pi (t - T_(i-1)) / (T_i - T_(i-1))) + 1) / 2
        t > T_S                     l_S

    It is continuous from T_1 on, flat at every join, and never falls. Two equal peaks make a
    constant stage.

    Parameters
    ----------
    ends : sequence of int
        Last step of each stage, increasing, the first > `silent`.
    peaks : sequence of float
        Value at the end of each stage, >= 0, not decreasing.
    silent : int
        Last step of stage 0, in which the weight is 0.

    Raises
    ------
    SparsityError
        If the table is empty, of unequal length, or not ordered.

    References
    ----------
    Song et al., "ProSparse", arXiv 2402.13516, Algorithm 1.
    """

    ends: Sequence[int]
    peaks: Sequence[float]
    silent: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "ends", tuple(self.ends))
        object.__setattr__(self, "peaks", tuple(self.peaks))
        if not self.ends or len(self.ends) != len(self.peaks):
            raise SparsityError(
                "ends and peaks must have one length >= 1, got "
                f"{len(self.ends)} and {len(self.peaks)}"
            )
        before = checks.count("silent", self.silent, 0)
        for end in self.ends:
            before = checks.count(
                "ends (each after the one before and after silent)", end, before + 1
            )
        least = 0.0
        for peak in self.peaks:
            checks.weight("peaks", peak)
            least = checks.number("peaks (never falling)", float(peak), low=least)

    def __call__(self, step: int) -> float:
        if step <= self.silent:
            return 0.0
        stage = bisect_left(self.ends, step)  # the first stage that ends at or after step
        if stage == 0 or stage == len(self.ends):
            return float(self.peaks[min(stage, len(self.ends) - 1)])
        begin, end = self.ends[stage - 1 : stage + 1]
        low, high = self.peaks[stage - 1 : stage + 1]
        if step == end:
            return float(high)
        rise = 0.5 * (math.sin(math.pi * ((step - begin) / (end - begin) - 0.5)) + 1)
        return low + rise * (high - low)
