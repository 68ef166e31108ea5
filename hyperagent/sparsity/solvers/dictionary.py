"""Dictionary learning: columns and sparse codes together, at a wanted activity."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hyperagent.errors import SparsityError
from hyperagent.sparsity import checks
from hyperagent.sparsity.penalties.base import Penalty
from hyperagent.sparsity.solvers.ista import convex, ista
from hyperagent.sparsity.solvers.operators import Dense
from hyperagent.sparsity.solvers.solution import Solution

Family = Callable[[float], Penalty]
"""A penalty for every weight, e.g. the class `CEL0` itself (columns have norm 1)."""


@dataclass
class Dictionary:
    """A learned dictionary.

    Attributes
    ----------
    columns : (d, K) tensor
        Atoms of Euclidean norm 1.
    family : callable
        Weight to penalty.
    lam : float
        Weight in use.
    activity : list of float
        Part of the coefficients that was not zero, one number a batch.
    error : list of float
        ``||x - D r||^2 / ||x||^2``, one number a batch, before the dictionary saw it.
    """

    columns: Tensor
    family: Family
    lam: float
    activity: list[float] = field(default_factory=list)
    error: list[float] = field(default_factory=list)

    def encode(
        self, patches: Tensor, *, lam: float | None = None, iterations: int = 300, tol: float = 1e-4
    ) -> Solution:
        """Codes (B, K) of patches (B, d) by `ista` (with momentum if the penalty is convex)."""
        penalty = self.family(self.lam if lam is None else lam)
        return ista(
            Dense(self.columns),
            patches,
            penalty,
            iterations=iterations,
            tol=tol,
            momentum=convex(penalty),
        )

    def decode(self, codes: Tensor) -> Tensor:
        """Patches (B, d) of codes (B, K)."""
        return codes @ self.columns.mT

    def match(
        self,
        patches: Tensor,
        active: float,
        *,
        rounds: int = 16,
        tol: float = 0.005,
        iterations: int = 300,
    ) -> float:
        """Set `lam` so that the activity on `patches` is `active`, to `tol` relative.

        Activity falls with the weight, nearly as a power of it; so the search interpolates
        in logarithms. With it penalties can be compared at one sparsity.

        Returns
        -------
        float
            The activity that was reached.
        """
        _fraction("active", active)
        below = above = None  # (log weight, log activity), activity below and above the goal
        goal, reached = math.log(active), 0.0
        for _ in range(rounds):
            reached = _activity(self.encode(patches, iterations=iterations).x)
            if abs(reached - active) <= tol * active:
                break
            here = (math.log(self.lam), math.log(max(reached, 0.1 * active)))
            if here[1] > goal:
                above = here
            else:
                below = here
            if below is None or above is None:
                self.lam *= math.exp(1.2 * (here[1] - goal))
                continue
            part = (above[1] - goal) / (above[1] - below[1])
            # Away from the ends, or a curved relation would make the search creep.
            part = min(max(part, 0.1), 0.9)
            self.lam = math.exp(above[0] + part * (below[0] - above[0]))
        return reached


@torch.no_grad()
def learn_dictionary(
    patches: Tensor,
    atoms: int,
    family: Family,
    *,
    active: float | None = None,
    lam: float = 0.1,
    batches: int = 300,
    batch: int = 250,
    iterations: int = 100,
    memory: float = 0.9,
    gain: float = 0.3,
    seed: int = 0,
) -> Dictionary:
    """Minimise ``E 1/2 ||x - D r||^2 + sum_i pen(r_i)`` over unit columns D and codes r.

    For each batch the codes are found by `ista`; then one sweep of block coordinate descent
    updates every column on the (slowly forgotten) sums ``r r^T`` and ``x r^T``. No learning
    rate is needed. Columns start as Gaussian noise; one that is never used is replaced by a
    patch.

    Parameters
    ----------
    patches : (n, d) real tensor
        Training data; take off means and scale before.
    atoms : int
        Number of columns K.
    family : callable
        Weight to penalty.
    active : float in (0, 1), optional
        Wanted part of coefficients that are not zero. A controller then moves the weight
        after each batch, by ``gain * log(activity / active)`` in its logarithm.
    lam : float
        Weight, or its start.
    batches, batch : int
        Number and size of batches, drawn without order from `patches`.
    iterations : int
        Of `ista`, at most, for each batch.
    memory : float in [0, 1)
        What part of the sums remains after a batch. The update is exact for the codes in the
        sums, but those of old batches belong to old columns: long memories learn slowly.
    gain : float
        Of the controller.
    seed : int
        Of the start and of the draws.

    References
    ----------
    Mairal et al., "Online dictionary learning for sparse coding", ICML 2009 (the update);
    Olshausen and Field, Nature 381, 1996 (the model); Rentzeperis et al., "Beyond l1 sparse
    coding in V1", PLoS Comput. Biol. 19(9), 2023 (penalties other than l1; they take plain
    gradient steps on D).
    """
    checks.finite("patches", patches, complex_ok=False)
    if patches.ndim != 2 or not len(patches):
        raise SparsityError(f"patches must be (n, d), got {tuple(patches.shape)}")
    checks.count("atoms", atoms, 1)
    checks.count("batches", batches, 1)
    checks.count("batch", batch, 1)
    checks.positive("lam", lam)
    checks.number("memory", memory, low=0.0, high=1.0, open_high=True)
    if active is not None:
        _fraction("active", active)
    generator = torch.Generator().manual_seed(seed)
    d = patches.shape[1]
    columns = torch.randn(d, atoms, generator=generator, dtype=torch.float64)
    columns = (columns / columns.norm(dim=0)).to(patches)
    model = Dictionary(columns, family, float(lam))
    codes_sum, cross_sum = patches.new_zeros(atoms, atoms), patches.new_zeros(d, atoms)
    for _ in range(batches):
        index = torch.randint(len(patches), (batch,), generator=generator).to(patches.device)
        x = patches[index]
        codes = model.encode(x, iterations=iterations).x
        model.activity.append(_activity(codes))
        miss = (x - model.decode(codes)).square().sum() / x.square().sum()
        model.error.append(float(miss))
        codes_sum = memory * codes_sum + codes.mT @ codes
        cross_sum = memory * cross_sum + x.mT @ codes
        _sweep(model.columns, codes_sum, cross_sum, x, generator)
        if active is not None:
            # An empty batch says "far too sparse", not "infinitely".
            ratio = max(model.activity[-1] / active, 0.1)
            model.lam *= ratio**gain
    return model


def _sweep(
    columns: Tensor, codes_sum: Tensor, cross_sum: Tensor, x: Tensor, generator: torch.Generator
) -> None:
    """One pass of block coordinate descent over the columns, in place."""
    weight = codes_sum.diagonal().clone()
    used = weight > 1e-8 * weight.amax().clamp_min(torch.finfo(weight.dtype).tiny)
    for k in torch.nonzero(used).squeeze(1).tolist():
        new = columns[:, k] + (cross_sum[:, k] - columns @ codes_sum[:, k]) / weight[k]
        length = torch.linalg.vector_norm(new)
        if length > 0:
            columns[:, k] = new / length
    for k in torch.nonzero(~used).squeeze(1).tolist():
        patch = x[int(torch.randint(len(x), (1,), generator=generator))]
        length = torch.linalg.vector_norm(patch)
        if length > 0:
            columns[:, k] = patch / length


def _activity(codes: Tensor) -> float:
    return float((codes != 0).to(torch.float32).mean())


def _fraction(name: str, value: float) -> None:
    checks.number(name, value, low=0.0, high=1.0, open_low=True, open_high=True)
