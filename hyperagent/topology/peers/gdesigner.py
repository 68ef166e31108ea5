"""G-Designer over our orchestrator, as published and as released."""

from __future__ import annotations

import math
from collections.abc import Sequence
from os import PathLike
from typing import Any

import torch
from torch import Tensor

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hypergraph, build_anchor, parse_anchor
from hyperagent.topology.design import AgentLike, Design, TaskLike
from hyperagent.topology.features import encode_texts
from hyperagent.topology.outcomes import Execute
from hyperagent.topology.paper_net import Noise, PaperNet
from hyperagent.topology.peers.dag import ArcDistribution, as_phases, generator, ordered
from hyperagent.topology.peers.gdesigner_net import ReleasedNet
from hyperagent.topology.peers.reinforce import Draw, Training, reinforce
from hyperagent.topology.weights_folder import read_folder, write_folder

_EDGE = 1e-3
"""Refitted affinities are kept this far from 0 and 1, so that every likelihood is finite."""
_OPTIONS = ("released", "anchor", "rank", "tau", "zeta")


class GDesigner:
    r"""A graph drawn for each task by a graph network, trained by REINFORCE on correctness.

    *Published*: a variational graph autoencoder over the agents, an anchor graph and a task node
    gives a sketch :math:`S_{ij} = \mathrm{sigmoid}((e_{ij} + \mathrm{FFN}(z_i, z_j, z_t))/\tau)`,
    refitted at low rank towards the anchor under a nuclear norm; the refitted values, kept within
    (0, 1), are the probabilities of the arcs. The loss adds the distance from the anchor and the
    nuclear norm to the policy gradient, `samples` graphs a task.

    *Released* (``released=1``): the code of the authors has no autoencoder, task node, anchor loss,
    nuclear norm or noise. A two-layer graph convolution and a random projection give symmetric
    scores, a min-max normalisation confines them to [-1, 1], and so every probability lies between
    sigmoid(-1) = 0.269 and sigmoid(1) = 0.731 whatever is learned. One graph a task, batches of
    four, Adam with 0.1, no baseline.

    In both the arcs are drawn in the order of the agents, best first, and an arc that would close a
    cycle is left out. The order of the published drawing is not stated; the released one has the
    order of its roles. `Design.log_prob` is exact, given the noise of the seed.

    What differs from the original: hashed n-grams in place of a sentence encoder; the role graph
    that the released code convolves over is written by hand for its own roles, here it is the
    anchor; the published task node is joined to all agents by one hyperedge, and the convolution of
    an anchor of pairs is that of a graph with half the weight on the node itself. Its final
    decision node is the decision of our orchestrator, and rounds of dialogue are its revisions. How
    an arc is executed is described at `hyperagent.topology.peers.dag.as_phases`.

    Parameters
    ----------
    released : bool or int
        Which of the two.
    anchor : str
        An anchor of pairs, e.g. ``"chain"``, ``"star"``.
    mode : {"sample", "mode"}
        Draw, or without noise take each arc of probability above 1/2. The released code draws, in
        tests too.
    rank, tau, zeta : int, float, float
        Of the published refit and sketch.
    samples : int, optional
        Graphs a task in training; by default 10 as published, 1 as released.
    lr : float, optional
        Of Adam; by default 0.1 as released, and 0.01 as published, which does not state it.
    weights : path, optional
        Folder written by `save`; its `released`, `anchor`, `rank`, `tau` and `zeta` are used.
    init : int
        Seed of the random weights.

    Raises
    ------
    ConfigError
        Naming the option, or the folder, that cannot be used.

    References
    ----------
    Zhang et al., "G-Designer: architecting multi-agent communication topologies via graph neural
    networks", ICML 2025, arXiv 2410.11782; the released code is what its authors published with it.
    """

    def __init__(
        self,
        *,
        released: bool | int = False,
        anchor: str = "chain",
        mode: str = "sample",
        rank: int = 16,
        tau: float = 0.01,
        zeta: float = 0.1,
        samples: int | None = None,
        lr: float | None = None,
        weights: str | PathLike[str] | None = None,
        init: int = 0,
    ) -> None:
        if weights is not None:
            saved, arrays = read_folder(weights, "gdesigner")
            released, anchor, rank, tau, zeta = (saved[option] for option in _OPTIONS)
        if mode not in ("sample", "mode"):
            raise ConfigError(f"gdesigner: mode must be 'sample' or 'mode', got {mode!r}")
        if released not in (0, 1):
            raise ConfigError(f"gdesigner: released must be 0 or 1, got {released!r}")
        self.released = bool(released)
        samples = (1 if self.released else 10) if samples is None else samples
        lr = (0.1 if self.released else 0.01) if lr is None else lr
        for option, value in (("rank", rank), ("samples", samples)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"gdesigner: {option} must be an integer >= 1, got {value!r}")
        for option, value, least in (("tau", tau, 1e-6), ("lr", lr, 1e-12), ("zeta", zeta, 0.0)):
            if not isinstance(value, (int, float)) or not least <= value < math.inf:
                raise ConfigError(f"gdesigner: {option} must be a number >= {least:g}: {value!r}")
        parse_anchor(anchor)
        self.anchor, self.mode, self.rank, self.tau = anchor, mode, rank, float(tau)
        self.zeta, self.samples, self.lr = float(zeta), samples, float(lr)
        self.name = "gdesigner:released=1" if self.released else "gdesigner"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(init)
            self.net = (ReleasedNet() if self.released else PaperNet(tau=self.tau)).eval()
        if weights is not None:
            try:
                self.net.load_state_dict({k: torch.from_numpy(a) for k, a in arrays.items()})
            except RuntimeError as error:
                raise ConfigError(f"gdesigner: cannot use the weights in {weights}") from error

    def design(self, task: TaskLike, agents: Sequence[AgentLike], *, seed: int = 0) -> Design:
        """Draw, or in mode ``"mode"`` derive, the graph for `task`.

        The order of `agents` does not matter. Equal arguments give an equal design.
        """
        with torch.no_grad():
            if self.mode == "mode":
                policy = self.policy(task, agents)
                arcs = policy.mode()
            else:
                policy = self.policy(task, agents, seed=seed)
                arcs = policy.sample(generator(seed, task, "gdesigner arcs"))
            log_prob = policy.log_prob(arcs).item()
        return Design(as_phases(policy.nodes, arcs), log_prob, name=self.name)

    def log_prob(
        self,
        task: TaskLike,
        agents: Sequence[AgentLike],
        hypergraph: Hypergraph,
        *,
        seed: int | None = None,
    ) -> Tensor:
        """Exact log-probability of a hypergraph given the noise of `seed`; None: no noise.

        Scalar, float64, differentiable in the weights; -inf for what cannot be drawn.
        """
        return self.policy(task, agents, seed=seed).log_prob_of(hypergraph)

    def policy(
        self, task: TaskLike, agents: Sequence[AgentLike], *, seed: int | None = None
    ) -> ArcDistribution:
        """Distribution over directed graphs; agents are numbered by reliability, then by id."""
        return self._policy(task, agents, seed)[0]

    def fit(
        self,
        tasks: Sequence[TaskLike],
        agents: Sequence[AgentLike],
        execute: Execute,
        *,
        episodes: int = 400,
        seed: int = 0,
    ) -> Training:
        """Train the network in place, in batches of four tasks with `samples` graphs each.

        Parameters
        ----------
        tasks : sequence of TaskLike
        agents : sequence of AgentLike
        execute : Execute
        episodes : int
            Executions, at least one batch. The default is 40 tasks with ten graphs, as published.
        seed : int
            Of the tasks' order, the draws and the dropout.
        """

        def draw(task: TaskLike, number: int) -> Draw:
            policy, penalty = self._policy(task, agents, number)
            arcs = policy.sample(generator(number, task, "gdesigner training"))
            return Draw(as_phases(policy.nodes, arcs), policy.log_prob(arcs), penalty)

        self.net.train()
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                return reinforce(
                    draw, [p for p in self.net.parameters() if p.requires_grad], tasks, execute,
                    episodes=episodes, seed=seed, lr=self.lr, samples=self.samples,
                )  # fmt: skip
        finally:
            self.net.eval()

    def save(self, folder: str | PathLike[str]) -> None:
        """Write options and weights into a folder: JSON and safetensors."""
        arrays = {name: t.numpy() for name, t in self.net.state_dict().items()}
        config = {option: getattr(self, option) for option in _OPTIONS}
        write_folder(folder, "gdesigner", config, arrays)

    @classmethod
    def load(cls, folder: str | PathLike[str], **options: Any) -> GDesigner:
        """The designer that `save` wrote."""
        return cls(weights=folder, **options)

    def _policy(
        self, task: TaskLike, agents: Sequence[AgentLike], seed: int | None
    ) -> tuple[ArcDistribution, Tensor | None]:
        """The distribution, and what training adds to the loss."""
        agents = ordered(agents)
        names = [agent.id for agent in agents]
        anchor = build_anchor(self.anchor, names, roles={a.id: a.role for a in agents})
        if set(anchor.nodes) != set(names) or any(len(e.members) > 2 for e in anchor.edges):
            raise ConfigError(f"gdesigner: anchor {self.anchor!r} is no graph over the agents")
        texts = [f"{a.role} {a.profile or ''}" for a in agents]
        x = torch.from_numpy(encode_texts([*texts, task.question])).double()
        incidence = torch.from_numpy(anchor.incidence()).double()
        adjacency = (incidence @ incidence.T > 0).double().fill_diagonal_(0.0)
        if self.released:
            beside = x[-1].expand(len(agents), -1)
            logits = self.net(torch.cat([x[:-1], beside], 1), adjacency)
            return ArcDistribution(logits, names), None
        noise = None
        if seed is not None:
            noise = Noise.draw(len(agents), self.net.latent, generator(seed, task, "noise"))
        fitted = self.net.affinities(x, incidence, noise, rank=self.rank, zeta=self.zeta)
        penalty = 0.5 * (adjacency - fitted).square().sum()
        penalty = penalty + self.zeta * torch.linalg.matrix_norm(fitted, "nuc")
        return ArcDistribution(fitted.clamp(_EDGE, 1 - _EDGE).logit(), names), penalty
