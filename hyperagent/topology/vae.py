"""The variational designer: a plan drawn for the task, groups drawn for the plan."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hyperagent.errors import ConfigError, HypergraphError
from hyperagent.hypergraph import Hypergraph, build_anchor, parse_anchor
from hyperagent.topology.design import AgentLike, Design, TaskLike, best_first
from hyperagent.topology.difficulty import difficulty
from hyperagent.topology.encoders import text_encoder
from hyperagent.topology.plan_net import (
    MAX_SLOTS,
    Gaussian,
    PlanNet,
    SlotLogits,
    anchor_logits,
    default_slots,
)
from hyperagent.topology.seats import agent_features, agent_key
from hyperagent.topology.slots import SlotDistribution, log_probs, sum_terms
from hyperagent.topology.weights_folder import read_folder, write_folder

_CHEAP = 1 << 17
"""Most terms that a design spends on its probability; about 10 ms."""
_TEXT = 8.0
"""Length of the row of a text: as rows of length 1 the difficulty would drown it."""


class Known(NamedTuple):
    """A team as the network reads it; the same for all tasks.

    Attributes
    ----------
    names : tuple of str, length N
        In the order of the rows.
    rows : Tensor, shape (N, seats.WIDTH), float32
    incidence : Tensor, shape (N, M_a), float32
        Of the anchor.
    slots : int
    """

    names: tuple[str, ...]
    rows: Tensor
    incidence: Tensor
    slots: int


class Imitation(NamedTuple):
    """How hypergraphs that are to be imitated look to the model; see `VaeDesigner.imitations`.

    Attributes
    ----------
    policies : list of SlotDistribution, length B
        For plans drawn from the posterior.
    log_prob : Tensor, shape (B,), float64
        Of the hypergraphs, given the plans.
    posterior, prior : Gaussian, shape (B, latent)
        q(z | task, team, hypergraph) and p(z | task).
    """

    policies: list[SlotDistribution]
    log_prob: Tensor
    posterior: Gaussian
    prior: Gaussian


class VaeDesigner:
    r"""Conditional variational designer over slots.

    For a task and N agents a plan :math:`z \sim p(z \mid \text{task})` is drawn, a network
    (`PlanNet`) reads agents, task and an anchor hypergraph and gives each of M slots a gate and N
    memberships, and the slots form the groups (`SlotDistribution`). The number and size of the
    groups and the number of seated agents are all free, down to one agent alone.

    `Design.log_prob` is the exact log-probability of the executed hypergraph, given the noise of
    the plan. The noise comes from the seed and depends on no parameter, so the score-function
    gradient is unbiased over seeds.

    Weights are drawn at random from `init` unless `weights` is given; an untrained designer is
    the anchor, slightly disturbed, not a learned policy.

    Parameters
    ----------
    anchor : str, optional
        Where the slots start, any anchor that adds no samples of agents. By default that of
        `weights`, else ``"role_cover"``. Only who is in which group is read, not phases. Of an
        anchor with more groups than slots the first ones are taken.
    slots : int, optional
        M, from 1 to 64. By default that of `weights`, else ``min(16, 2 ceil(sqrt N) + 4)``.
    mode : {"sample", "mode"}
        ``"mode"`` is deterministic: the mean plan, and every gate and membership as is more
        probable.
    prices : mapping of str to float, optional
        Price of each backend, a feature of its agents. By default those of `weights`, else none.
    encoder : str, optional
        Reads the questions, see `hyperagent.topology.text_encoder`. By default that of `weights`,
        else ``"hashing"``. Agents are always hashed.
    weights : path, optional
        Folder written by `save`.
    init : int
        Seed of the random weights.

    Raises
    ------
    ConfigError
        Naming the option, or the folder, that cannot be used.

    References
    ----------
    Sohn, Lee and Yan, NeurIPS 2015 (conditional prior); the rest in `PlanNet` and
    `SlotDistribution`.
    """

    name = "vae"

    def __init__(
        self,
        *,
        anchor: str | None = None,
        slots: int | None = None,
        mode: str = "sample",
        prices: Mapping[str, float] | None = None,
        encoder: str | None = None,
        weights: str | PathLike[str] | None = None,
        init: int = 0,
    ) -> None:
        if mode not in ("sample", "mode"):
            raise ConfigError(f"vae: mode must be 'sample' or 'mode', got {mode!r}")
        if isinstance(init, bool) or not isinstance(init, int):
            raise ConfigError(f"vae: init must be an integer, got {init!r}")
        saved, arrays = ({}, {}) if weights is None else read_folder(weights, self.name)
        self.anchor = saved.get("anchor", "role_cover") if anchor is None else anchor
        self.slots = saved.get("slots") if slots is None else slots
        self.prices = dict(saved.get("prices", {}) if prices is None else prices)
        self._text = text_encoder(saved.get("encoder", "hashing") if encoder is None else encoder)
        self.mode = mode
        if self.slots is not None and (
            isinstance(self.slots, bool)
            or not isinstance(self.slots, int)
            or not 1 <= self.slots <= MAX_SLOTS
        ):
            raise ConfigError(
                f"vae: slots must be an integer from 1 to {MAX_SLOTS}, got {self.slots!r}"
            )
        self._team: tuple[str, Known] | None = None
        parse_anchor(self.anchor)
        agent_features([], self.prices)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(init)
            self.net = PlanNet()
        if weights is not None:
            try:
                self.net.load_state_dict({k: torch.from_numpy(a) for k, a in arrays.items()})
            except RuntimeError as error:
                raise ConfigError(f"vae: cannot use the weights in {weights}: {error}") from error

    def design(self, task: TaskLike, agents: Sequence[AgentLike], *, seed: int = 0) -> Design:
        """Draw, or in mode ``"mode"`` derive, the hypergraph for `task`.

        The order of `agents` does not matter. Equal arguments give an equal design. Its log_prob
        is NaN where the exact sum would take longer than the design itself: above 7 groups with 64
        slots, 9 with 16.
        """
        with torch.no_grad():
            if self.mode == "mode":
                policy = self.policy(task, agents)
                graph = policy.mode()
            else:
                policy = self.policy(task, agents, seed=seed)
                graph = policy.sample(_generator(seed, task, "slots"))
            formed = policy.formed(graph).tolist()
            cheap = sum_terms(len(graph.edges), policy.slots) <= _CHEAP
            log_prob = policy.log_prob(graph).item() if cheap else math.nan
        ordered = Hypergraph(policy.nodes, graph.edges)
        return Design(ordered, log_prob, {f"e{n}": p for n, p in enumerate(formed)}, self.name)

    def log_prob(
        self,
        task: TaskLike,
        agents: Sequence[AgentLike],
        hypergraph: Hypergraph,
        *,
        seed: int | None = None,
    ) -> Tensor:
        """Exact log-probability of a hypergraph, differentiable in the weights of `net`.

        Parameters
        ----------
        hypergraph : Hypergraph
            Over the same agents.
        seed : int, optional
            The seed of `design` whose plan is given; None: the mean plan, which is what
            designs of mode ``"mode"`` refer to.

        Returns
        -------
        Tensor, scalar, float64
            -inf for a hypergraph that cannot be drawn, e.g. with a second phase.

        Raises
        ------
        HypergraphError
            If the nodes are not the agents.
        """
        return self.policy(task, agents, seed=seed).log_prob(hypergraph)

    def policy(
        self, task: TaskLike, agents: Sequence[AgentLike], *, seed: int | None = None
    ) -> SlotDistribution:
        """Distribution over hypergraphs for the plan of a seed, or without one the mean plan."""
        noise = None if seed is None else self.noise(seed, task).unsqueeze(0)
        return self.policies(self.known(agents), self.task_rows([task]), noise)[0]

    def policies(self, team: Known, tasks: Tensor, noise: Tensor | None) -> list[SlotDistribution]:
        """Distributions of B tasks.

        Parameters
        ----------
        team : Known
        tasks : Tensor, shape (B, TASK)
            By `VaeDesigner.task_rows`.
        noise : Tensor, shape (B, latent), or None
            Of the plans; None: the mean plans.
        """
        return _policies(self.net(team.rows, tasks, team.incidence, team.slots, noise), team)

    def anchored(self, team: Known) -> SlotDistribution:
        """The anchor as a distribution, what `objective.anchor_kl` holds the policy near to."""
        return SlotDistribution(*anchor_logits(team.incidence, team.slots), team.names)

    def imitations(
        self, team: Known, tasks: Tensor, hypergraphs: Sequence[Hypergraph], noise: Tensor
    ) -> Imitation:
        """The parts of the evidence bound of hypergraphs that are known to be good.

        ``log_prob - KL(posterior || prior)`` is a one-sample estimate of a lower bound of the
        log-probability of the hypergraph over all plans (Kingma and Welling, ICLR 2014, eq. 3).
        `hyperagent.topology.objective.kl_free_bits` is the second term.

        Parameters
        ----------
        team : Known
        tasks : Tensor, shape (B, TASK)
        hypergraphs : sequence of Hypergraph, length B
            Over the team, all with the same number of hyperedges. The posterior reads them.
        noise : Tensor, shape (B, latent)
            Of the plans.
        """
        seen = [Hypergraph(team.names, h.canonical().edges).incidence() for h in hypergraphs]
        posterior = self.net.posterior(self.net.encode(team.rows, tasks, _tensor(np.stack(seen))))
        known = self.net.encode(team.rows, tasks, team.incidence)
        logits = self.net.decode(known, posterior.draw(noise), team.incidence, team.slots)
        policies = _policies(logits, team)
        found = log_probs(policies, hypergraphs)
        return Imitation(policies, found, posterior, self.net.prior(tasks))

    def save(self, folder: str | PathLike[str]) -> None:
        """Write options and weights into a folder, made if needed: JSON and safetensors."""
        config = {
            "anchor": self.anchor, "slots": self.slots, "prices": self.prices,
            "encoder": self._text.name,
        }  # fmt: skip
        arrays = {name: t.numpy() for name, t in self.net.state_dict().items()}
        write_folder(folder, self.name, config, arrays)

    @classmethod
    def load(cls, folder: str | PathLike[str], *, mode: str = "sample") -> VaeDesigner:
        """The designer that `save` wrote."""
        return cls(weights=folder, mode=mode)

    def known(self, agents: Sequence[AgentLike]) -> Known:
        """A team as the network reads it; the order in which the agents are given is forgotten.

        Raises
        ------
        HypergraphError
            If there is no agent.
        ConfigError
            If the anchor adds samples of agents.
        """
        if not agents:
            raise HypergraphError("a designer needs at least one agent, got none")
        # One team answers thousands of questions; it is read once.
        key = repr((self.anchor, self.slots, self.prices, *map(agent_key, agents)))
        last = self._team
        if last is None or last[0] != key:
            self._team = last = key, self._read(agents)
        return last[1]

    def _read(self, agents: Sequence[AgentLike]) -> Known:
        # Best first, equals by id.
        agents = best_first(sorted(agents, key=lambda agent: agent.id))
        names = [agent.id for agent in agents]
        slots = default_slots(len(agents)) if self.slots is None else self.slots
        anchor = build_anchor(self.anchor, names, roles={a.id: a.role for a in agents})
        if set(anchor.nodes) != set(names):
            raise ConfigError(f"vae: anchor {self.anchor!r} adds samples of agents as nodes")
        # Edges of several phases may hold the same members; a slot knows no phase.
        groups = list(dict.fromkeys(edge.members for edge in anchor.edges))[:slots]
        incidence = np.zeros((len(names), len(groups)), dtype=np.float32)
        place = {name: i for i, name in enumerate(names)}
        for column, members in enumerate(groups):
            incidence[[place[name] for name in members], column] = 1.0
        rows = _tensor(agent_features(agents, self.prices))
        return Known(tuple(names), rows, _tensor(incidence), slots)

    def task_rows(self, tasks: Sequence[TaskLike]) -> Tensor:
        """What the network reads of tasks: text and difficulty, shape (B, TASK), float32."""
        questions = [task.question for task in tasks]
        hard = np.array([difficulty(question) for question in questions])
        return _tensor(np.concatenate([_TEXT * self._text(questions), hard], 1))

    def noise(self, seed: int, task: TaskLike) -> Tensor:
        """Noise of the plan of a seed, shape (latent,)."""
        return torch.randn(self.net.latent, generator=_generator(seed, task, "plan"))


def _policies(logits: SlotLogits, team: Known) -> list[SlotDistribution]:
    pairs = zip(logits.gates.double(), logits.members.double(), strict=True)
    return [SlotDistribution(gates, members, team.names) for gates, members in pairs]


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(array, dtype=np.float32))


def _generator(seed: int, task: TaskLike, purpose: str) -> torch.Generator:
    """Independent random numbers for each seed, task and purpose."""
    text = f"vae\0{seed}\0{task.id}\0{task.question}\0{purpose}"
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
