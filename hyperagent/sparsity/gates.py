"""Random gates whose distribution can be learned: relaxed 0/1 decisions for groups.

The two families are functions of logits, so that the logits may be parameters (`Gate`) or
come out of another network. Noise belongs to training only: outside training mode a gate is
deterministic, and `Gate.freeze` ends with exactly as many open gates as a budget allows.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hyperagent.errors import SparsityError
from hyperagent.sparsity import checks
from hyperagent.sparsity.masks import keep_best


class Draw(NamedTuple):
    """One sample of gates.

    Attributes
    ----------
    soft : Tensor
        Relaxed gates in [0, 1].
    hard : Tensor
        0 or 1, with the gradient of `soft` (straight-through).
    """

    soft: Tensor
    hard: Tensor


def logistic_noise(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Standard logistic noise ``log u - log(1 - u)`` of the shape, dtype and device of `like`."""
    wide = like.dtype if like.dtype.itemsize >= 4 else torch.float32
    u = torch.rand(like.shape, dtype=wide, device=like.device, generator=generator)
    tiny = torch.finfo(wide).eps
    return torch.logit(u.clamp(tiny, 1 - tiny)).to(like.dtype)


def straight_through(soft: Tensor, threshold: float) -> Tensor:
    """1 where ``soft > threshold`` else 0, with the gradient of `soft`."""
    hard = (soft > threshold).to(soft.dtype)
    return hard + (soft - soft.detach())


def logistic_gate(
    logits: Tensor,
    *,
    temperature: float = 0.4,
    noise: bool = True,
    generator: torch.Generator | None = None,
) -> Draw:
    """Binary concrete gates: ``soft = sigmoid((logits + e) / T)``, e logistic noise.

    ``hard = [soft > 1/2]`` is then an exact Bernoulli draw: it is 1 with probability
    ``sigmoid(logits)``, at every temperature. (Gumbel noise, as in public code of ATP, gives
    ``1 - exp(-exp(logits))``.)

    Parameters
    ----------
    logits : real tensor
    temperature : float
        T > 0; smaller is closer to 0/1, with larger and rarer gradients.
    noise : bool
        Without noise ``hard = [logits > 0]``.
    generator : torch.Generator, optional

    References
    ----------
    Maddison, Mnih and Teh, "The concrete distribution", ICLR 2017, section 3.
    """
    checks.tensor("logits", logits, complex_ok=False)
    checks.positive("temperature", temperature)
    moved = logits + logistic_noise(logits, generator) if noise else logits
    soft = torch.sigmoid(moved / temperature)
    return Draw(soft, straight_through(soft, 0.5))


def hard_concrete_gate(
    logits: Tensor,
    *,
    temperature: float = 2 / 3,
    low: float = -0.1,
    high: float = 1.1,
    noise: bool = True,
    generator: torch.Generator | None = None,
) -> Draw:
    """Hard-concrete gates: a binary concrete variable stretched to (low, high), clipped to [0, 1].

    `soft` itself is exactly 0 or 1 with positive probability; `hard` is ``[soft > 0]``.

    Parameters
    ----------
    logits : real tensor
        ``log alpha``.
    temperature : float
        beta in (0, 1).
    low, high : float
        gamma < 0 and zeta > 1.
    noise : bool
        Without noise the stretched ``sigmoid(logits)`` is clipped (eq. 13).
    generator : torch.Generator, optional

    References
    ----------
    Louizos, Welling and Kingma, "Learning sparse neural networks through l0 regularization",
    ICLR 2018, eq. 10-13.
    """
    checks.tensor("logits", logits, complex_ok=False)
    _stretch(temperature, low, high)
    if noise:
        s = torch.sigmoid((logits + logistic_noise(logits, generator)) / temperature)
    else:
        s = torch.sigmoid(logits)
    soft = (s * (high - low) + low).clamp(0, 1)
    return Draw(soft, straight_through(soft, 0.0))


def hard_concrete_probability(
    logits: Tensor, *, temperature: float = 2 / 3, low: float = -0.1, high: float = 1.1
) -> Tensor:
    """P(gate > 0) of `hard_concrete_gate`, differentiable (eq. 12)."""
    _stretch(temperature, low, high)
    return torch.sigmoid(logits - temperature * math.log(-low / high))


def _stretch(temperature: float, low: float, high: float) -> None:
    checks.number("temperature", temperature, low=0.0, high=1.0, open_low=True, open_high=True)
    checks.number("low", low, high=0.0, open_high=True)
    checks.number("high", high, low=1.0, open_low=True)


class Gate(nn.Module, ABC):
    """Gates with logits of their own.

    Parameters
    ----------
    logits : (..., m) real tensor
        Starting values; stored as a parameter.

    Notes
    -----
    In training mode `forward` samples with noise, in evaluation mode it does not. After
    `freeze` it returns the frozen 0/1 decision in both. The decision is part of the state
    dict, so that a saved gate comes back frozen.
    """

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        checks.finite("logits", logits, complex_ok=False)
        self.logits = nn.Parameter(logits.detach().clone())
        # -1 is "not frozen yet": a buffer that always has its shape loads without surprises.
        self.register_buffer("frozen", torch.full(logits.shape, -1, dtype=torch.int8))

    @abstractmethod
    def probability(self) -> Tensor:
        """P(gate open) of each gate, differentiable in the logits."""

    @abstractmethod
    def _draw(self, noise: bool, generator: torch.Generator | None) -> Draw: ...

    @property
    def is_frozen(self) -> bool:
        """Whether `freeze` was called (here, or before the state was saved)."""
        return bool((self.frozen >= 0).all())

    def forward(self, generator: torch.Generator | None = None) -> Draw:
        """Gates of the shape of the logits; see `Draw`."""
        if self.is_frozen:
            fixed = self.frozen.to(self.logits.dtype)
            return Draw(fixed, fixed)
        return self._draw(self.training, generator)

    def expected_cost(self, cost: Tensor | None = None) -> Tensor:
        """Sum of P(open) times `cost` (1 by default), 0-dim, in units of cost."""
        probability = self.probability()
        if cost is None:
            return probability.sum()
        checks.broadcasts("cost", checks.weight("cost", cost), probability.shape)
        return (probability * cost).sum()

    def freeze(
        self,
        budget: float,
        cost: Tensor | None = None,
        *,
        layers: Tensor | None = None,
        floor: int = 1,
    ) -> Tensor:
        """Fix the gates: open the most probable ones until the budget is used up.

        Parameters
        ----------
        budget : float
            Allowance in units of `cost`. The cost of the open gates is at most this and
            misses it by less than one gate.
        cost : tensor of the shape of the logits, optional
            Cost > 0 of each gate, 1 by default.
        layers : int64 tensor of the shape of the logits, optional
            Layer (or family) of each gate.
        floor : int
            Gates that stay open at least in every layer.

        Returns
        -------
        bool tensor of the shape of the logits

        Raises
        ------
        SparsityError
            If the floors alone exceed the budget.
        """
        for name, value in (("cost", cost), ("layers", layers)):
            fits = isinstance(value, Tensor) and value.shape == self.logits.shape
            if value is not None and not fits:
                raise SparsityError(
                    f"{name} must be a tensor of the shape {tuple(self.logits.shape)}"
                )
        with torch.no_grad():
            keep = keep_best(
                self.logits.flatten(),
                budget=budget,
                cost=None if cost is None else cost.flatten(),
                layers=None if layers is None else layers.flatten(),
                scope="global",
                floor=floor,
            ).view(self.logits.shape)
            self.frozen.copy_(keep)
        return keep


class LogisticGate(Gate):
    """Gates that open with probability ``sigmoid(logits)``; see `logistic_gate`.

    Parameters
    ----------
    logits : (..., m) real tensor
        3 opens a gate with probability 0.95: a common start for pruning.
    temperature : float
    """

    def __init__(self, logits: Tensor, temperature: float = 0.4) -> None:
        super().__init__(logits)
        self.temperature = checks.positive("temperature", temperature)

    def probability(self) -> Tensor:
        return torch.sigmoid(self.logits)

    def _draw(self, noise: bool, generator: torch.Generator | None) -> Draw:
        return logistic_gate(
            self.logits, temperature=self.temperature, noise=noise, generator=generator
        )


class HardConcreteGate(Gate):
    """Hard-concrete gates; see `hard_concrete_gate`.

    Parameters
    ----------
    logits : (..., m) real tensor
    temperature, low, high : float
    """

    def __init__(
        self, logits: Tensor, temperature: float = 2 / 3, low: float = -0.1, high: float = 1.1
    ) -> None:
        super().__init__(logits)
        _stretch(temperature, low, high)
        self._stretch = {"temperature": temperature, "low": low, "high": high}

    def probability(self) -> Tensor:
        return hard_concrete_probability(self.logits, **self._stretch)

    def _draw(self, noise: bool, generator: torch.Generator | None) -> Draw:
        return hard_concrete_gate(self.logits, noise=noise, generator=generator, **self._stretch)
