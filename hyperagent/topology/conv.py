"""Hypergraph convolution with hyperedge weights and a soft incidence matrix."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.inits import glorot

from hyperagent.errors import ConfigError


class SoftHypergraphConv(MessagePassing):
    r"""Node to hyperedge to node, with everything differentiable.

    ``"sym"``, the form of HGNN (arXiv 1809.09401, eq. 11):

    .. math:: X' = \sigma(D^{-1/2} H W B^{-1} H^T D^{-1/2} X \Theta + b)

    ``"row"``, the mean of means:

    .. math:: X' = \sigma(D^{-1} H W B^{-1} H^T X \Theta + b)

    with :math:`B_{ee} = \sum_v H_{ve}` and :math:`D_{vv} = \sum_e w_e H_{ve}`; the inverse
    of a zero is zero, so that an empty hyperedge says nothing and an isolated node gets
    ``act(b)``. Unlike `torch_geometric.nn.HypergraphConv`, hyperedge weights multiply the
    messages and the incidence may be soft and may carry gradient.

    Parameters
    ----------
    in_channels, out_channels : int
        Width of `X` and `X'`.
    normalisation : {"sym", "row"}
    bias : bool
        Whether there is a `b`.
    act : callable, optional
        :math:`\sigma`; identity by default.

    Shapes
    ------
    x : (N, in_channels)
    incidence : (N, M), entries >= 0
    weight : (M,), entries >= 0; ones by default
    output : (N, out_channels)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        normalisation: str = "sym",
        bias: bool = True,
        act: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        if normalisation not in ("sym", "row"):
            raise ConfigError(f"normalisation must be 'sym' or 'row', got {normalisation!r}")
        super().__init__(aggr="sum", node_dim=0)
        self.normalisation = normalisation
        self.act = act
        self.theta = torch.nn.Parameter(torch.empty(in_channels, out_channels))
        self.bias = torch.nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot-uniform `theta`, zero bias."""
        glorot(self.theta)
        if self.bias is not None:
            torch.nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, incidence: Tensor, weight: Tensor | None = None) -> Tensor:
        """One step of the convolution; shapes as in the class."""
        n, m = incidence.shape
        weight = incidence.new_ones(m) if weight is None else weight
        nodes = _inverse(incidence @ weight, 0.5 if self.normalisation == "sym" else 1.0)
        pairs, share = _pairs(incidence)
        x = x @ self.theta
        if self.normalisation == "sym":
            x = nodes.unsqueeze(1) * x
        groups = self.propagate(pairs, x=x, share=share, size=(n, m))
        groups = (weight * _inverse(incidence.sum(0))).unsqueeze(1) * groups
        x = self.propagate(pairs.flip(0), x=groups, share=share, size=(m, n))
        x = nodes.unsqueeze(1) * x
        if self.bias is not None:
            x = x + self.bias
        return x if self.act is None else self.act(x)

    def message(self, x_j: Tensor, share: Tensor) -> Tensor:
        """Features of the sender, scaled by its membership."""
        return share.unsqueeze(1) * x_j


def _pairs(incidence: Tensor) -> tuple[Tensor, Tensor]:
    """Node and hyperedge numbers (2, P) and their membership (P,)."""
    # A membership of zero sends nothing but still has a slope, so it stays if asked for.
    mask = torch.ones_like(incidence) if incidence.requires_grad else incidence
    pairs = mask.nonzero().t().contiguous()
    return pairs, incidence[pairs[0], pairs[1]]


def _inverse(degree: Tensor, power: float = 1.0) -> Tensor:
    """``degree ** -power``, and 0 with zero slope where the degree is 0."""
    empty = degree == 0
    return degree.masked_fill(empty, 1.0).pow(-power).masked_fill(empty, 0.0)
