"""The network of the reconstruction: variational hypergraph encoder and sketch decoder."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hyperagent.topology.conv import SoftHypergraphConv
from hyperagent.topology.features import DIM
from hyperagent.topology.lowrank import refit

_ROWS = 128
"""Rows of the pair scores that are computed at once: bounds memory for big teams."""


@dataclass(frozen=True)
class Noise:
    """Randomness that does not depend on any parameter.

    Attributes
    ----------
    latent : Tensor, shape (N + 1, latent)
        Standard normal; the last row is the task's.
    sketch : Tensor, shape (N, N)
        Standard logistic.
    """

    latent: Tensor
    sketch: Tensor

    @classmethod
    def draw(cls, agents: int, latent: int, generator: torch.Generator) -> Noise:
        """Fresh noise for a team of `agents`."""
        options = {"dtype": torch.float64, "generator": generator}
        uniform = torch.rand(agents, agents, **options).clamp(1e-12, 1 - 1e-12)
        return cls(torch.randn(agents + 1, latent, **options), uniform.logit())


class PaperNet(nn.Module):
    """Two parallel hypergraph networks, reparameterised latents, pair scores; float64.

    Parameters
    ----------
    hidden : int
        Width of the first convolution of each network.
    latent : int
        Width of `Z`. No description that we found states it.
    score : int
        Width of the hidden layer that scores pairs.
    tau : float
        Temperature of the sketch's sigmoid.
    """

    def __init__(
        self, *, hidden: int = 64, latent: int = 64, score: int = 128, tau: float = 0.01
    ) -> None:
        super().__init__()
        self.latent = latent
        self.tau = tau
        self.mean = nn.ModuleList(
            [SoftHypergraphConv(DIM, hidden, act=torch.relu), SoftHypergraphConv(hidden, latent)]
        )
        self.log_sigma = nn.ModuleList(
            [SoftHypergraphConv(DIM, hidden, act=torch.relu), SoftHypergraphConv(hidden, latent)]
        )
        # One layer on (z_i, z_j, z_task) is the sum of three layers on the parts, which
        # spares the (N, N, 3 latent) input.
        self.from_i = nn.Linear(latent, score)
        self.from_j = nn.Linear(latent, score, bias=False)
        self.from_task = nn.Linear(latent, score, bias=False)
        self.out = nn.Linear(score, 1)
        # The refit amplifies rounding where singular values are close, so float64 throughout.
        self.double()

    def encode(self, x: Tensor, incidence: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of `Z`.

        Parameters
        ----------
        x : Tensor, shape (N + 1, DIM)
            Features of the agents, then of the task.
        incidence : Tensor, shape (N, M)
            Anchor hyperedges over the agents. One more hyperedge of everybody and the
            task is added here: the task's link to every agent and back.
        """
        n, m = incidence.shape
        full = incidence.new_ones(n + 1, m + 1)
        full[:n, :m] = incidence
        full[n, :m] = 0
        mean = log_sigma = x
        for layer in self.mean:
            mean = layer(mean, full)
        for layer in self.log_sigma:
            log_sigma = layer(log_sigma, full)
        return mean, log_sigma.clamp(-8.0, 4.0)

    def sketch(self, x: Tensor, incidence: Tensor, noise: Noise | None = None) -> Tensor:
        """Affinity of every ordered pair, in [0, 1], shape (N, N).

        ``sigmoid((e + FFN(z_i, z_j, z_task)) / tau)`` with logistic `e`. Without `noise`,
        `Z` is its mean and `e` is 0.
        """
        z, log_sigma = self.encode(x, incidence)
        if noise is not None:
            z = z + log_sigma.exp() * noise.latent
        left = self.from_i(z[:-1]) + self.from_task(z[-1])
        right = self.from_j(z[:-1])
        scores = torch.cat(
            [
                self.out(torch.relu(rows.unsqueeze(1) + right)).squeeze(2)
                for rows in left.split(_ROWS)
            ]
        )
        if noise is not None:
            scores = scores + noise.sketch
        return torch.sigmoid(scores / self.tau)

    def affinities(
        self,
        x: Tensor,
        incidence: Tensor,
        noise: Noise | None = None,
        *,
        rank: int,
        zeta: float,
    ) -> Tensor:
        """The sketch, refitted at low rank towards the anchor: shape (N, N)."""
        anchor = (incidence @ incidence.T > 0).to(x.dtype).fill_diagonal_(0.0)
        return refit(self.sketch(x, incidence, noise), anchor, rank=rank, zeta=zeta)
