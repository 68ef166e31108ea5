"""The implicit gradient through a plan: no unrolling, one small linear system.

On a fixed support S_j of column j, with ``Pi_j x = (x - mean of x over S_j)`` on S_j,

    P_j = Pi_j (alpha - c_j) / gamma + b_j / |S_j|

holds, and ``sum_j P_j = a`` is a linear system in alpha whose matrix is L / gamma, L being
the hypergraph Laplacian of the support. For upstream gradients G of the plan and h of alpha,
``y = L_FF^+ (sum_j Pi_j G_j + gamma h)_F`` gives

    dc_j = -(Pi_j G_j - Pi_j y) / gamma,   da = y,   db_j = mean over S_j of (G_j - y).

F holds the rows whose marginal binds. Off the support the gradient is 0: a pair that the
limit k cut off learns nothing. Costs O(nonzeros + A^3).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hyperagent.sparsity.transport.semi_dual import laplacian

NULL = 1e-10
"""Eigenvalues of the Laplacian below this share of the largest count as 0."""


class Implicit(torch.autograd.Function):
    """Hands out a solved plan and carries gradients back to what it was solved from."""

    @staticmethod
    def forward(
        ctx: Any,
        cost: Tensor,
        a: Tensor,
        b: Tensor,
        gamma: Tensor,
        share: Tensor,
        alpha: Tensor,
        binding: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Shapes: cost, share (B, T, A); a, alpha, binding (B, A); b (B, T); gamma (B,)."""
        ctx.save_for_backward(cost, gamma, share, alpha, binding)
        return share.clone(), alpha.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, on_share: Tensor, on_alpha: Tensor) -> tuple[Tensor | None, ...]:
        cost, gamma, share, alpha, binding = ctx.saved_tensors
        support = (share > 0).to(share.dtype)
        size = support.sum(-1, keepdim=True).clamp_min(1)
        gamma = gamma[:, None]
        pulled = on_share * support
        centred = pulled - support * pulled.sum(-1, keepdim=True) / size
        free = binding.to(share.dtype)
        matrix = laplacian(share) * free[:, :, None] * free[:, None, :]
        right = (centred.sum(1) + gamma * on_alpha) * free
        inverse = torch.linalg.pinv(matrix, rtol=NULL, hermitian=True)
        y = (inverse @ right[..., None])[..., 0] * free
        mean = (support @ y[..., None]) / size
        on_cost = -(centred - support * (y[:, None, :] - mean)) / gamma[..., None]
        on_b = (pulled.sum(-1, keepdim=True) / size - mean)[..., 0]
        on_gamma = None
        if ctx.needs_input_grad[3]:
            # The plan depends on cost / gamma alone, alpha is gamma times such a function.
            used = torch.where(share > 0, cost, 0)
            on_gamma = (on_alpha * alpha).sum(-1) - (on_cost * used).sum((1, 2))
            on_gamma = on_gamma / gamma[:, 0]
        return on_cost, y, on_b, on_gamma, None, None, None
