"""The network of G-Designer's released code: a graph convolution and a fixed projection."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, log_softmax

from hyperagent.topology.features import DIM


class ReleasedNet(nn.Module):
    """Symmetric scores of pairs, squeezed into [-1, 1]; float64.

    Two graph convolutions (Kipf and Welling, ICLR 2017) with a ReLU and a dropout of 1/2 between
    them and a log-softmax after them, a two-layer perceptron that is never trained, inner
    products, and a min-max normalisation over all pairs. The perceptron keeps its random weights
    because the released code does not hand them to the optimiser.

    Parameters
    ----------
    hidden, embedding : int
        Widths of the first convolution, and of the perceptron and its output.
    """

    def __init__(self, *, hidden: int = 16, embedding: int = 16) -> None:
        super().__init__()
        self.first = nn.Linear(2 * DIM, hidden)
        self.second = nn.Linear(hidden, DIM)
        self.project = nn.Sequential(
            nn.Linear(DIM, embedding), nn.ReLU(), nn.Linear(embedding, embedding)
        )
        self.project.requires_grad_(False)
        self.double()

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """Logits of all pairs.

        Parameters
        ----------
        x : Tensor, shape (N, 2 DIM)
            Features of the agents, those of the task beside each.
        adjacency : Tensor, shape (N, N)
            0 or 1, symmetric, without loops.

        Returns
        -------
        Tensor, shape (N, N), in [-1, 1]
            0 where all inner products are equal; the original divides 0 by 0 there.
        """
        loops = adjacency + torch.eye(len(adjacency), dtype=adjacency.dtype)
        scale = loops.sum(1).rsqrt()
        spread = scale.unsqueeze(1) * loops * scale
        hidden = dropout(torch.relu(spread @ self.first(x)), 0.5, self.training)
        rows = self.project(log_softmax(spread @ self.second(hidden), dim=1))
        scores = rows @ rows.T
        low, high = scores.min(), scores.max()
        if high - low <= 1e-12 * high.abs():
            return scores * 0.0
        return 2.0 * (scores - low) / (high - low) - 1.0
