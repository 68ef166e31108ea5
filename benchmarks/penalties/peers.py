"""Which class of which other package computes the same prox, and for which steps it is right.

Used by the study and by ``tests/sparsity/test_penalties_peers.py``. Each pair maps our
penalty to the other package's conventions: a step, a magnitude >= 0 in, a magnitude out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hyperagent.sparsity.penalties import CEL0, L0, L1, MCP, SCAD, CappedL1, LogSum, Lq, Penalty

Prox = Callable[[np.ndarray, float], np.ndarray]


@dataclass(frozen=True)
class Pair:
    """One of our penalties next to one class of another package.

    Attributes
    ----------
    package, name : str
        Package and class.
    ours : Penalty
    step : float
    prox : callable
        ``prox(v, step)`` of the other package on a float64 vector v >= 0.
    right : bool
        Whether it solves its own problem at this step, up to rounding.
    note : str
        What is wrong, if it is.
    """

    package: str
    name: str
    ours: Penalty
    step: float
    prox: Prox
    right: bool = True
    note: str = ""

    def __str__(self) -> str:
        return f"{self.package} {self.name}, step {self.step:g}"


def skglm() -> list[Pair]:
    """skglm 0.5: compiled scalar functions, right for small steps."""
    from skglm import penalties as peer

    def scalar(penalty: object) -> Prox:
        def prox(v: np.ndarray, step: float) -> np.ndarray:
            return np.array([penalty.prox_1d(x, step, 0) for x in v])  # type: ignore[attr-defined]

        return prox

    steep = "uses the firm formula beyond its range: step > gamma"
    return [
        Pair("skglm", "L1", L1(0.7), 0.5, scalar(peer.L1(0.7))),
        Pair("skglm", "MCPenalty", MCP(0.7, 2.0), 0.5, scalar(peer.MCPenalty(0.7, 2.0))),
        Pair(
            "skglm", "MCPenalty", MCP(0.7, 2.0), 3.0, scalar(peer.MCPenalty(0.7, 2.0)), False, steep
        ),
        Pair("skglm", "L0_5", Lq(0.7, 0.5), 0.5, scalar(peer.L0_5(0.7))),
        Pair("skglm", "L2_3", Lq(0.7, 2 / 3), 0.5, scalar(peer.L2_3(0.7))),
        Pair("skglm", "SCAD", SCAD(0.7, 3.7), 0.5, scalar(peer.SCAD(0.7, 3.7))),
        Pair("skglm", "LogSumPenalty", LogSum(0.7, 0.5), 0.5, scalar(peer.LogSumPenalty(0.7, 0.5))),
    ]


def pyproximal() -> list[Pair]:
    """pyproximal 0.13: vectorised numpy."""
    import pyproximal as peer

    def vector(operator: object) -> Prox:
        return lambda v, step: operator.prox(v, step)  # type: ignore[attr-defined]

    scale = math.log(1 + 2.0)
    return [
        Pair("pyproximal", "L1", L1(0.7), 0.5, vector(peer.L1(0.7))),
        Pair("pyproximal", "Log", LogSum(0.7 / scale, 0.5), 0.5, vector(peer.Log(0.7, 2.0))),
        Pair("pyproximal", "SCAD", SCAD(0.7, 3.7), 0.5, vector(peer.SCAD(0.7, 3.7))),
        Pair(
            "pyproximal",
            "SCAD",
            SCAD(0.7, 3.7),
            6.0,
            vector(peer.SCAD(0.7, 3.7)),
            False,
            "no branch for step > a - 1",
        ),
        Pair(
            "pyproximal",
            "L0",
            L0(0.7),
            0.5,
            vector(peer.L0(0.7)),
            False,
            "threshold step sigma instead of sqrt(2 step sigma)",
        ),
        Pair(
            "pyproximal",
            "Log1",
            LogSum(0.7, 0.5),
            0.5,
            vector(peer.Log1(0.7, 0.5)),
            False,
            "2 step sigma under the root instead of 4",
        ),
    ]


def proxop() -> list[Pair]:
    """proxop 1.0.6: vectorised numpy."""
    import proxop as peer

    def vector(function: object, weight: float = 1.0) -> Prox:
        return lambda v, step: function.prox(v, weight * step)  # type: ignore[attr-defined]

    return [
        Pair("proxop", "CEL0", CEL0(0.7, 1.3), 0.5, vector(peer.CEL0(0.7, 1.3))),
        Pair("proxop", "CEL0", CEL0(0.7, 1.3), 3.0, vector(peer.CEL0(0.7, 1.3))),
        Pair("proxop", "L0Norm", L0(0.7), 0.5, vector(peer.L0Norm(), 0.7)),
        Pair("proxop", "MCP", MCP(0.7, 2.0), 0.5, vector(peer.MCP(0.7, 2.0))),
        Pair("proxop", "MCP", MCP(0.7, 2.0), 3.0, vector(peer.MCP(0.7, 2.0))),
        Pair("proxop", "SCAD", SCAD(0.7, 3.7), 0.5, vector(peer.SCAD(0.7, 3.7))),
        Pair(
            "proxop",
            "SCAD",
            SCAD(0.7, 3.7),
            20.0,
            vector(peer.SCAD(0.7, 3.7)),
            False,
            "threshold of the soft branch where that branch is 0: step > a + 1",
        ),
        Pair(
            "proxop",
            "CapL1",
            CappedL1(0.7, 0.5),
            0.5,
            vector(peer.CapL1(2.0), 0.7),
            False,
            "adds two factors that should be multiplied: prox(0) = 1",
        ),
        Pair("proxop", "Root", Lq(0.7, 0.5), 0.5, vector(peer.Root(0.5), 0.7)),
        Pair(
            "proxop",
            "Root",
            Lq(0.7, 0.3),
            0.1,
            vector(peer.Root(0.3), 0.7),
            False,
            "Newton's method starts at x / 2 for a root in (0, 1)",
        ),
        Pair(
            "proxop",
            "LogSum",
            LogSum(0.7, 0.5),
            0.5,
            vector(peer.LogSum(0.5), 0.7),
            False,
            "raises IndexError",
        ),
    ]


PACKAGES: dict[str, Callable[[], list[Pair]]] = {
    "skglm": skglm,
    "pyproximal": pyproximal,
    "proxop": proxop,
}
