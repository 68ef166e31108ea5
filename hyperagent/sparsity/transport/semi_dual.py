"""The semi-dual: prices of the rows alone, columns eliminated in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from hyperagent.sparsity.transport.newton import Point
from hyperagent.sparsity.transport.project import conjugate_mass


def laplacian(share: Tensor) -> Tensor:
    """Unnormalised hypergraph Laplacian of a plan's support.

    ``L = D_v - H D_e^-1 H^T`` with rows as nodes and columns as hyperedges: minus gamma
    times the Hessian of the semi-dual on a fixed support.

    Parameters
    ----------
    share : Tensor, shape (B, T, A)
        Plan, columns first.

    Returns
    -------
    Tensor, shape (B, A, A)
    """
    support = (share > 0).to(share.dtype)
    size = support.sum(-1, keepdim=True).clamp_min(1)
    matrix = -(support / size).mT @ support
    matrix.diagonal(dim1=1, dim2=2).add_(support.sum(1))
    return matrix


class SemiDual:
    """``<alpha, a> - sum_j Omega*_bj(alpha - c_j)``, concave in alpha.

    Its gradient is ``a`` minus the loads of the plan; column sums are exact by
    construction (Liu et al. 2023, eq. of the semi-dual). A capacity instead of an
    equality only adds ``alpha <= 0``, and ``-alpha`` is then the price of congestion.

    Parameters
    ----------
    cost : Tensor, shape (B, T, A)
        Columns first; ``inf`` forbids a pair.
    a : Tensor, shape (B, A)
    b : Tensor, shape (B, T)
    gamma : Tensor, shape (B,)
    k : int, or integer Tensor of shape (B, T, 1), or None
    capacity : bool
        Whether `a` is an upper bound rather than a marginal.
    """

    def __init__(
        self,
        cost: Tensor,
        a: Tensor,
        b: Tensor,
        gamma: Tensor,
        k: Tensor | int | None,
        capacity: bool,
    ) -> None:
        self.cost, self.a, self.mass, self.k = cost, a, b[..., None], k
        self.gamma, self.unit = gamma[:, None, None], 1 / gamma
        self.upper = torch.zeros_like(a[:1, :1]) if capacity else None

    def at(self, x: Tensor) -> Point:
        """The function, its gradient and its plan at the row potentials `x` (B, A)."""
        conjugate, share, tau = conjugate_mass(
            x[:, None, :] - self.cost, self.gamma, self.mass, self.k
        )
        value = (x * self.a).sum(-1) - conjugate.sum(-1)
        return Point(value, self.a - share.sum(1), share, tau[..., 0])

    def curvature(self, point: Point) -> Tensor:
        """The support's Laplacian over gamma, shape (B, A, A)."""
        return laplacian(point.share) / self.gamma
