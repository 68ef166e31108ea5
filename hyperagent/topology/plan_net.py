"""The network of the variational designer: set attention over a hypergraph, a plan, slots.

Agents and the hyperedges of an anchor attend to each other; a latent *plan* vector, drawn given
the task, asks a number of slots, which attend to the agents and answer with gate and membership
logits. A latent for the whole plan, and not one for each agent, can switch a group on as one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from hyperagent.errors import ConfigError
from hyperagent.topology.difficulty import FEATURES
from hyperagent.topology.features import DIM
from hyperagent.topology.seats import WIDTH

TASK = DIM + len(FEATURES)
"""Width of a task: its hashed text, then its difficulty features."""
MAX_SLOTS = 64
"""Slots that have a seed, hence the largest number of slots."""
_ANCHOR = 2.0
"""Logit of what stands in the anchor."""


def default_slots(agents: int) -> int:
    """Number of slots for a team: ``min(16, 2 ceil(sqrt(N)) + 4)``."""
    return min(16, 2 * (math.isqrt(max(agents - 1, 0)) + 1) + 4)


class Gaussian(NamedTuple):
    """A normal distribution with independent components.

    Attributes
    ----------
    mean, log_sigma : Tensor, shape (..., latent)
    """

    mean: Tensor
    log_sigma: Tensor

    def draw(self, noise: Tensor | None) -> Tensor:
        """``mean + sigma * noise``; the mean without noise."""
        return self.mean if noise is None else self.mean + self.log_sigma.exp() * noise


class Encoded(NamedTuple):
    """What the encoder knows.

    Attributes
    ----------
    agents : Tensor, shape (..., N, width)
    edges : Tensor, shape (..., M_a + 1, width)
        Anchor hyperedges, then the one that holds everybody and the task.
    task : Tensor, shape (..., width)
    """

    agents: Tensor
    edges: Tensor
    task: Tensor


class SlotLogits(NamedTuple):
    """What the decoder says, float32.

    Attributes
    ----------
    gates : Tensor, shape (..., M)
    members : Tensor, shape (..., N, M)
    """

    gates: Tensor
    members: Tensor


class PlanNet(nn.Module):
    """Encoder, plan and slot decoder.

    Cost and memory are O(N M width): no object holds a pair of agents. Everything but the agents
    may have a batch dimension B in front, e.g. one team and many tasks.

    Parameters
    ----------
    width : int
        Width of every hidden row, a multiple of `heads`.
    heads : int
    latent : int
        Width of the plan.
    layers, rounds : int
        Encoder layers and rounds of the slots.

    Raises
    ------
    ConfigError
        If `width` is no multiple of `heads`.

    References
    ----------
    Chien et al., "You are AllSet", ICLR 2022 (arXiv 2106.13264), eq. 7-8: node to hyperedge to
    node by attention with a learned query. Locatello et al., "Object-centric learning with slot
    attention", NeurIPS 2020 (slots; here the softmax is over agents). Sohn, Lee and Yan,
    "Learning structured output representation using deep conditional generative models", NeurIPS
    2015 (learned conditional prior).
    """

    def __init__(
        self, *, width: int = 64, heads: int = 4, latent: int = 16, layers: int = 2, rounds: int = 2
    ) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(f"width must be a multiple of heads, got {width} and {heads}")
        self.latent = latent
        # Normed each for itself, so that neither the seats nor the task drown in the other.
        self.from_agent = nn.Sequential(nn.Linear(WIDTH, width), nn.LayerNorm(width))
        self.from_task = nn.Sequential(nn.Linear(TASK, width), nn.LayerNorm(width))
        self.seed = nn.Parameter(torch.randn(width))
        self.encoder = nn.ModuleList(
            nn.ModuleList([_Block(width, heads), _Block(width, heads)]) for _ in range(layers)
        )
        self.posterior_head = _head(3 * width, width, latent)
        self.prior_head = _head(width, width, latent)
        self.slot_seed = nn.Parameter(torch.randn(MAX_SLOTS, width))
        self.from_plan = nn.Linear(latent + width, width)
        # A plan moves a slot as far as its seed does; with the usual small weights it is given up.
        nn.init.normal_(self.from_plan.weight[:, :latent], std=latent**-0.5)
        self.from_edge = nn.Linear(width, width, bias=False)
        self.decoder = nn.ModuleList(
            nn.ModuleList([_Block(width, heads, mix=False), _Block(width, heads)])
            for _ in range(rounds)
        )
        self.gate = nn.Linear(width, 1)
        self.key = nn.Linear(width, width)
        self.query = nn.Linear(width, width)
        # At the start the policy is the anchor, slightly disturbed.
        self.gate_scale = nn.Parameter(torch.tensor(1.0))
        self.member_scale = nn.Parameter(torch.tensor(1.0))
        self.residual = nn.Parameter(torch.tensor(0.1))

    def encode(self, agents: Tensor, task: Tensor, incidence: Tensor) -> Encoded:
        """Read a team, a task and a hypergraph over the team.

        Parameters
        ----------
        agents : Tensor, shape (N, WIDTH), float32
        task : Tensor, shape (TASK,) or (B, TASK), float32
        incidence : Tensor, shape (N, M_a), or (B, N, M_a) beside B tasks
            Non-zero where the agent is in the hyperedge; no column is empty.
        """
        n, m = incidence.shape[-2:]
        t = self.from_task(task).unsqueeze(-2)
        # The task is a row of its own that sits in one more hyperedge with everybody.
        h = torch.cat([self.from_agent(agents) + t, t], -2).relu()
        inside = incidence.new_ones(*incidence.shape[:-2], n + 1, m + 1, dtype=torch.bool)
        inside[..., :n, :m] = incidence != 0
        inside[..., n, :m] = False
        seeds = self.seed.expand(*task.shape[:-1], m + 1, -1)
        edges = seeds
        for to_edge, to_node in self.encoder:
            edges = to_edge(seeds, h, inside.transpose(-1, -2))
            h = to_node(h, edges, inside)
        return Encoded(h[..., :n, :], edges, h[..., n, :])

    def posterior(self, seen: Encoded) -> Gaussian:
        """q(z | task, team, hypergraph): the plan behind a hypergraph that was `encode`d."""
        pooled = torch.cat([seen.agents.mean(-2), seen.edges.mean(-2), seen.task], -1)
        return _gaussian(self.posterior_head(pooled))

    def prior(self, task: Tensor) -> Gaussian:
        """p(z | task), the only thing a plan is drawn from when nothing is to be imitated."""
        return _gaussian(self.prior_head(self.from_task(task).relu()))

    def decode(self, known: Encoded, z: Tensor, incidence: Tensor, slots: int) -> SlotLogits:
        """Logits of the slots for a plan.

        Parameters
        ----------
        known : Encoded
            Of the anchor, by `encode`.
        z : Tensor, shape (latent,) or (B, latent)
        incidence : Tensor, shape (N, M_a)
            The anchor; slot m starts from its column m, further slots start closed.
        slots : int
            M, from M_a to `MAX_SLOTS`.

        Raises
        ------
        ConfigError
            If there are fewer slots than anchor hyperedges, or more than `MAX_SLOTS`.
        """
        anchored = incidence.shape[1]
        if not max(anchored, 1) <= slots <= MAX_SLOTS:
            raise ConfigError(
                f"slots must lie between the {anchored} hyperedges of the anchor and {MAX_SLOTS}, "
                f"got {slots}"
            )
        q = self.slot_seed[:slots] + self.from_plan(torch.cat([z, known.task], -1)).unsqueeze(-2)
        edges = self.from_edge(known.edges)
        # Slots without an anchor start from the hyperedge of everybody.
        column = torch.arange(slots, device=q.device).clamp(max=anchored)
        q = q + edges[..., column, :]
        for to_agents, to_slots in self.decoder:
            q = to_agents(q, known.agents)
            q = to_slots(q, q)
        gates, members = anchor_logits(incidence, slots)
        scores = self.key(known.agents) @ self.query(q).transpose(-1, -2) / math.sqrt(q.shape[-1])
        return SlotLogits(
            self.gate_scale * gates + self.residual * self.gate(q).squeeze(-1),
            self.member_scale * members + self.residual * scores,
        )

    def forward(
        self,
        agents: Tensor,
        task: Tensor,
        incidence: Tensor,
        slots: int,
        noise: Tensor | None = None,
    ) -> SlotLogits:
        """Logits for a plan drawn from the prior with `noise`, (..., latent), or its mean."""
        known = self.encode(agents, task, incidence)
        return self.decode(known, self.prior(task).draw(noise), incidence, slots)


def anchor_logits(incidence: Tensor, slots: int) -> SlotLogits:
    """An anchor as logits: gates and memberships that stand in it 2, others -2 or less.

    Parameters
    ----------
    incidence : Tensor, shape (N, M_a)
    slots : int
        M >= M_a.
    """
    n, anchored = incidence.shape
    # A slot invites about one outsider, whatever the size of the team: with a fixed logit of -2
    # a thousand agents would bring 120 of them to a group of three.
    out = -_ANCHOR - math.log(max(n / 8, 1.0))
    members = incidence.new_full((n, slots), out)
    members[:, :anchored].masked_fill_(incidence != 0, _ANCHOR)
    gates = incidence.new_full((slots,), -_ANCHOR)
    gates[:anchored] = _ANCHOR
    return SlotLogits(gates, members)


def _head(inputs: int, width: int, latent: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, 2 * latent))


def _gaussian(row: Tensor) -> Gaussian:
    mean, log_sigma = row.chunk(2, -1)
    # Bounded smoothly: a clamp would leave a component without gradient.
    return Gaussian(mean, 3.0 * torch.tanh(log_sigma / 3.0))


class _Block(nn.Module):
    """Attention of some rows to others, then, with `mix`, a layer on each row; residual, normed."""

    def __init__(self, width: int, heads: int, *, mix: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Sequential(nn.Linear(width, width), nn.ReLU()) if mix else None
        self.mix_norm = nn.LayerNorm(width) if mix else None

    def forward(self, rows: Tensor, others: Tensor, inside: Tensor | None = None) -> Tensor:
        """`inside` (..., rows, others), bool: whom each row may look at; somebody at least."""
        n, width = rows.shape[-2:]
        both = self.kv(others).view(-1, others.shape[-2], 2 * self.heads, width // self.heads)
        k, v = both.transpose(1, 2).chunk(2, 1)
        q = self.q(rows).view(-1, n, self.heads, width // self.heads).transpose(1, 2)
        if inside is not None and inside.ndim == 3:
            inside = inside.unsqueeze(1)
        seen = scaled_dot_product_attention(q, k, v, attn_mask=inside)
        rows = self.norm(rows + self.out(seen.transpose(1, 2).reshape(rows.shape)))
        if self.mix is None or self.mix_norm is None:
            return rows
        return self.mix_norm(rows + self.mix(rows))
