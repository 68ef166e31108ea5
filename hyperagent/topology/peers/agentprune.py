"""AgentPrune over our orchestrator: train edge masks, prune once, freeze."""

from __future__ import annotations

import math
from os import PathLike

import torch
from torch import Tensor

from hyperagent.errors import ConfigError
from hyperagent.topology.peers.dag import ArcDistribution
from hyperagent.topology.peers.static import StaticArcs


class AgentPrune(StaticArcs):
    """Edge probabilities learned with a low-rank penalty, then the lowest removed for good.

    A few dozen executions train one logit for each directed edge by REINFORCE on correctness, plus
    `zeta` times the nuclear norm of the matrix of probabilities. Then the `rate` share of the arcs
    with the smallest logits is pruned at one stroke, and the rest is frozen.

    What differs from the original: it also learns temporal edges, from a round of dialogue to the
    next. Here rounds exist only inside a group that disagrees, so that only its spatial edges have
    a counterpart. How an arc is executed is described at
    `hyperagent.topology.peers.dag.as_phases`.

    Parameters
    ----------
    rate : float
        Share of the arcs that is pruned, in [0, 1]. Rounded down to whole arcs.
    zeta : float
        Weight of the nuclear norm, at least 0.
    mode : {"sample", "mode"}
        After pruning: draw among the arcs that are left, or take those of probability above 1/2.
    lr : float
        Of Adam.
    weights : path, optional
        Folder written by `save`.

    Raises
    ------
    ConfigError
        Naming the option, or the folder, that cannot be used.

    References
    ----------
    Zhang et al., "Cut the crap: an economical communication pipeline for LLM-based multi-agent
    systems" (AgentPrune), ICLR 2025, arXiv 2410.02506, sections on one-shot pruning.
    """

    name = "agentprune"
    episodes = 40

    def __init__(
        self,
        *,
        rate: float = 0.5,
        zeta: float = 0.1,
        mode: str = "sample",
        lr: float = 0.1,
        weights: str | PathLike[str] | None = None,
    ) -> None:
        if not 0 <= rate <= 1:
            raise ConfigError(f"agentprune: rate must be in [0, 1], got {rate!r}")
        if not 0 <= zeta < math.inf:
            raise ConfigError(f"agentprune: zeta must be at least 0, got {zeta!r}")
        self.rate, self.zeta = float(rate), float(zeta)
        self.kept = torch.zeros(0, 0, dtype=torch.bool)
        super().__init__(mode=mode, lr=lr, baseline=False, weights=weights)

    def _begin(self) -> None:
        self.kept = ~torch.eye(len(self.logits), dtype=torch.bool)

    def _finish(self) -> None:
        """Prune."""
        arcs = self.kept.nonzero()
        # A stable sort prunes equal logits in the order of the agents.
        lowest = self.logits[self.kept].argsort(stable=True)[: int(self.rate * len(arcs) + 1e-9)]
        self.kept[tuple(arcs[lowest].T)] = False

    def effective_logits(self) -> Tensor:
        """Logits, -inf where an arc is pruned."""
        return self.logits.masked_fill(~self.kept, -torch.inf)

    def _penalty(self, policy: ArcDistribution) -> Tensor | None:
        matrix = policy.probabilities
        return self.zeta * torch.linalg.matrix_norm(matrix, "nuc") if self.zeta else None

    def _state(self) -> dict[str, Tensor]:
        return {"logits": self.logits, "kept": self.kept}

    def _restore(self, state: dict[str, Tensor]) -> None:
        super()._restore(state)
        if state.get("kept", self.kept).shape != self.logits.shape:
            raise ConfigError("agentprune: the weights need a mask of the shape of the logits")
        self.kept = state["kept"]
