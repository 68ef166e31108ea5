"""The full dual: prices of rows and columns, both marginals relaxed."""

from __future__ import annotations

import torch
from torch import Tensor

from hyperagent.sparsity.transport.newton import Point
from hyperagent.sparsity.transport.project import conjugate_free


class Dual:
    """``<alpha, a> + <beta, b> - sum_j Omega*_+(alpha + beta_j - c_j)``.

    The variables are ``alpha`` (A) followed by ``beta`` (T). At its maximum it equals the
    semi-dual, and ``beta_j = -tau_j`` (Liu et al. 2023). Parameters as in `SemiDual`.
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
        self.cost, self.k = cost, k
        self.gamma, self.unit = gamma[:, None, None], 1 / gamma
        self.marginals = torch.cat([a, b], dim=-1)
        self.rows = a.shape[-1]
        self.upper: Tensor | None = None
        if capacity:
            self.upper = torch.cat([torch.zeros_like(a), torch.full_like(b, torch.inf)], dim=-1)

    def at(self, x: Tensor) -> Point:
        """The function, its gradient and its plan at the potentials `x` (B, A + T)."""
        alpha, beta = x[:, : self.rows], x[:, self.rows :]
        conjugate, share = conjugate_free(
            alpha[:, None, :] + beta[..., None] - self.cost, self.gamma, self.k
        )
        value = (x * self.marginals).sum(-1) - conjugate.sum(-1)
        sums = torch.cat([share.sum(1), share.sum(2)], dim=-1)
        return Point(value, self.marginals - sums, share, -beta)

    def curvature(self, point: Point) -> Tensor:
        """Signless Laplacian of the bipartite support over gamma, shape (B, A + T, A + T)."""
        support = (point.share > 0).to(point.share.dtype)
        matrix = torch.zeros(
            (len(support), self.marginals.shape[-1], self.marginals.shape[-1]),
            dtype=support.dtype,
            device=support.device,
        )
        matrix[:, : self.rows, self.rows :] = support.mT
        matrix[:, self.rows :, : self.rows] = support
        matrix.diagonal(dim1=1, dim2=2).copy_(torch.cat([support.sum(1), support.sum(2)], dim=-1))
        return matrix / self.gamma
