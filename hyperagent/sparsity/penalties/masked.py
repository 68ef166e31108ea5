"""A penalty on some groups only; the others are left alone bit for bit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hyperagent.errors import SparsityError
from hyperagent.sparsity.checks import Number
from hyperagent.sparsity.penalties.base import Penalty


class Masked(Penalty):
    """`base` where `keep` is false, nothing where it is true.

    Parameters
    ----------
    base : Penalty
        Separable.
    keep : boolean tensor
        Broadcasts over the groups.

    References
    ----------
    Jiang et al., "Pruning-aware sparse regularization for network pruning" (MaskSparsity),
    Mach. Intell. Res. 20, 2023.
    """

    def __init__(self, base: Penalty, keep: Tensor) -> None:
        if not isinstance(base, Penalty) or not base.separable:
            raise SparsityError(f"base must be a separable penalty, got {base!r}")
        if not isinstance(keep, Tensor) or keep.dtype != torch.bool:
            raise SparsityError(f"keep must be a boolean tensor, got {_kind(keep)}")
        self.base, self.keep = base, keep
        self.signed = base.signed

    @property
    def rho(self) -> Number:
        return self.base.rho

    def value(self, z: Tensor) -> Tensor:
        value = self.base.value(z)
        return value.masked_fill(self._keep(z), 0)

    def prox(self, v: Tensor, step: Number) -> Tensor:
        moved = self.base.prox(v, step)
        return torch.where(self._keep(v), v, moved)

    def _keep(self, z: Tensor) -> Tensor:
        try:
            return self.keep.to(z.device).expand(z.shape)
        except RuntimeError:
            raise SparsityError(
                f"keep must broadcast to {tuple(z.shape)}, got {tuple(self.keep.shape)}"
            ) from None


def _kind(x: Any) -> str:
    return str(x.dtype) if isinstance(x, Tensor) else type(x).__name__
