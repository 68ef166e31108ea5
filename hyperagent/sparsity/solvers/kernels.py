"""How coordinate descent moves entries: by a threshold rule, or by any penalty's prox.

A kernel belongs to a working set. It knows the squared norms of its columns, hence the step
of every entry, and offers the prox of all entries at once, a sweep over some of them, and a
jump to the solution on the present pattern of zeros, signs and knees.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hyperagent.sparsity.penalties.base import Penalty
from hyperagent.sparsity.penalties.firm import CEL0, MCP
from hyperagent.sparsity.penalties.l0 import L0
from hyperagent.sparsity.penalties.l1 import L1, GroupLasso


class Threshold:
    """L1, L0, MCP, CEL0: ``z = min(a, (a - cut)_+ gain)``, with an infinite gain where hard.

    Scalars of the loop are Python numbers: numpy's own take five times as long.
    """

    def __init__(self, squares: np.ndarray, slope: np.ndarray, rho: np.ndarray) -> None:
        self.squares, self.slope, self.rho = squares, slope, rho
        step = 1 / squares
        with np.errstate(divide="ignore", invalid="ignore"):
            hard = step * rho >= 1
            self.cut = np.where(hard, slope * np.sqrt(step / rho), step * slope)
            self.gain = np.where(hard, np.inf, 1 / (1 - step * rho))
            self.knee = np.where(rho > 0, slope / rho, np.inf)
        self.convex = not rho.any()

    @classmethod
    def counting(cls, squares: np.ndarray, price: np.ndarray) -> Threshold:
        """The l0 count."""
        kernel = cls(squares, np.zeros_like(squares), np.full_like(squares, np.inf))
        kernel.cut, kernel.gain = np.sqrt(2 * price / squares), np.full_like(squares, np.inf)
        kernel.knee = np.zeros_like(squares)
        return kernel

    def of(self, members: np.ndarray) -> Threshold:
        part = copy.copy(self)
        for name, value in vars(self).items():
            if name != "convex":
                setattr(part, name, value[members])
        return part

    def prox(self, v: np.ndarray) -> np.ndarray:
        a = np.abs(v)
        above = a - self.cut
        # Never inf * 0: entries that stay 0 get the factor 0 by the comparison.
        z = np.where(above > 0, np.minimum(a, np.maximum(above, 1e-300) * self.gain), 0.0)
        return np.copysign(z, v)

    def sweep(self, gram: np.ndarray, x: np.ndarray, pull: np.ndarray, order: list[int]) -> None:
        cut, gain, squares = self.cut.tolist(), self.gain.tolist(), self.squares.tolist()
        for i in order:
            old = x.item(i)
            v = old + pull.item(i) / squares[i]
            a = abs(v)
            if a > cut[i]:
                z = (a - cut[i]) * gain[i]
                new = (z if z < a else a) if v > 0 else (-z if z < a else -a)
            elif old:
                new = 0.0
            else:
                continue
            if new != old:
                x[i] = new
                pull -= (new - old) * gram[i]

    def pattern(self, x: np.ndarray) -> bytes:
        return (np.sign(x) * (1 + (np.abs(x) >= self.knee))).astype(np.int8).tobytes()

    def jump(self, gram: np.ndarray, known: np.ndarray, x: np.ndarray) -> bool:
        """Solve exactly on the pattern of `x`, and go there if the pattern holds there too.

        If it does not, a convex problem still goes as far as the objective falls.
        """
        on = np.flatnonzero(x)
        if not len(on):
            return False
        sign = np.sign(x[on])
        bent = np.abs(x[on]) < self.knee[on]
        system = gram[np.ix_(on, on)]
        right = known[on]
        if bent.any():
            system[np.diag_indices(len(on))] -= np.where(bent, self.rho[on], 0.0)
            right = right - np.where(bent, self.slope[on], 0.0) * sign
        try:
            np.linalg.cholesky(system)  # a saddle or a flat valley is no place to jump to
            new = np.linalg.solve(system, right)
        except np.linalg.LinAlgError:
            return False
        same = (np.sign(new) == sign) & ((np.abs(new) < self.knee[on]) == bent)
        if same.all():
            x[on] = new
        elif self.convex:
            x[on] = self._towards(gram[np.ix_(on, on)], right, x[on], new)
        return bool(same.all()) or self.convex

    @staticmethod
    def _towards(
        system: np.ndarray, right: np.ndarray, old: np.ndarray, new: np.ndarray
    ) -> np.ndarray:
        """The target without the entries that changed sign, or the way to the first change.

        While signs hold, l1 is linear and already in `right`, so that the objective is the
        quadratic of which `new` is the minimiser.
        """
        kept = np.where(new * old > 0, new, 0.0)
        if kept @ (0.5 * (system @ kept) - right) < old @ (0.5 * (system @ old) - right):
            return kept
        crossing = new * old <= 0
        part = np.where(crossing, old / np.where(crossing, old - new, 1.0), np.inf)
        moved = old + part.min() * (new - old)
        moved[part == part.min()] = 0.0
        return moved


class Proximal:
    """Any separable penalty, through its own prox."""

    convex = False  # not known, and there is nothing to jump with

    def __init__(self, squares: np.ndarray, penalty: Penalty) -> None:
        self.squares, self.penalty = squares, penalty
        self.step = torch.as_tensor(1 / squares)
        self._singles: list[Penalty] | None = None

    def of(self, members: np.ndarray) -> Proximal:
        return Proximal(
            self.squares[members], _part(self.penalty, torch.as_tensor(members), len(self.squares))
        )

    def prox(self, v: np.ndarray) -> np.ndarray:
        return self._prox(self.penalty, torch.as_tensor(v), self.step).numpy()

    def sweep(self, gram: np.ndarray, x: np.ndarray, pull: np.ndarray, order: list[int]) -> None:
        squares = self.squares.tolist()
        for i in order:
            old = x.item(i)
            v = old + pull.item(i) / squares[i]
            # Signs are handled here: on one number every call of torch counts.
            seen = torch.tensor([v if self.penalty.signed else abs(v)], dtype=torch.float64)
            new = self._single(i).prox(seen, 1 / squares[i]).item()
            if not self.penalty.signed and v < 0:
                new = -new
            if new != old:
                pull -= (new - old) * gram[i]
                x[i] = new

    def _single(self, i: int) -> Penalty:
        if self._singles is None:
            n = len(self.squares)
            self._singles = [_part(self.penalty, torch.tensor([j]), n) for j in range(n)]
        return self._singles[i]

    @staticmethod
    def _prox(penalty: Penalty, v: Tensor, step: Tensor) -> Tensor:
        if penalty.signed:
            return penalty.prox(v, step)
        return torch.copysign(penalty.prox(v.abs(), step), v)

    def pattern(self, x: np.ndarray) -> None:
        return None

    def jump(self, gram: np.ndarray, known: np.ndarray, x: np.ndarray) -> bool:
        return False


Kernel = Threshold | Proximal


def kernel_of(penalty: Penalty, squares: np.ndarray) -> Kernel:
    """The fastest kernel for a separable penalty; `squares` are the columns' squared norms."""
    # A zero column has nothing to say: with a huge step its prox is the penalty's minimiser.
    squares = np.where(squares > 0, squares, 1e-30)

    def array(value: Any) -> np.ndarray:
        if isinstance(value, Tensor):
            value = value.detach().cpu().double().numpy()
        return np.broadcast_to(np.asarray(value, dtype=np.float64), squares.shape)

    kind = type(penalty)
    if kind is L1:
        return Threshold(squares, array(penalty.lam), np.zeros_like(squares))
    if kind is GroupLasso:
        return Threshold(
            squares, array(penalty.lam) * array(penalty.weights), np.zeros_like(squares)
        )
    if kind is L0:
        return Threshold.counting(squares, array(penalty.lam))
    if kind is MCP:
        return Threshold(squares, array(penalty.lam), 1 / array(penalty.gamma))
    if kind is CEL0:
        norm = array(penalty.norm)
        return Threshold(squares, norm * np.sqrt(2 * array(penalty.lam)), norm**2)
    return Proximal(squares, widened(penalty))


def widened(penalty: Penalty) -> Penalty:
    """The penalty with its tensors on the CPU in float64, outside autograd."""

    def wide(t: Tensor) -> Tensor:
        t = t.detach().cpu()
        return t.double() if t.is_floating_point() else t

    return _changed(penalty, wide)


def _part(penalty: Penalty, members: Tensor, n: int) -> Penalty:
    """The penalty on some of its n entries."""

    def pick(t: Tensor) -> Tensor:
        return t[..., members] if t.ndim and t.shape[-1] == n and n > 1 else t

    return _changed(penalty, pick)


def _changed(penalty: Penalty, change: Any) -> Penalty:
    new = copy.copy(penalty)
    for name, value in vars(penalty).items():
        if isinstance(value, Tensor):
            setattr(new, name, change(value))
        elif isinstance(value, Penalty):
            setattr(new, name, _changed(value, change))
    return new
