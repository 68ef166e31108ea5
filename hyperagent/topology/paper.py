"""The designer of the withdrawn paper, rebuilt from what others wrote about it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from hyperagent.errors import ConfigError, HypergraphError
from hyperagent.hypergraph import Hyperedge, Hypergraph, build_anchor
from hyperagent.topology.design import AgentLike, Design, TaskLike, best_first
from hyperagent.topology.features import encode_texts
from hyperagent.topology.paper_net import Noise, PaperNet
from hyperagent.topology.partners import Partners


class PaperDesigner:
    r"""Reconstruction from secondary descriptions of a withdrawn paper (arXiv 2510.10611).

    Its code was never published and its text is withdrawn; reading notes by others give
    the steps, so no published number is claimed for it. For a task and N agents:

    1. Features of each agent's id, role and profile, and of the task as a virtual node
       (hashed n-grams here, a sentence encoder there).
    2. An anchor hypergraph (a chain of neighbours) and two parallel hypergraph
       convolution networks give mean and log sigma; :math:`Z = \mu + \sigma\epsilon`.
    3. Sketch :math:`S_{ij} = \mathrm{sigmoid}((e_{ij} + \mathrm{FFN}(z_i, z_j, z_t))/\tau)`
       with logistic noise `e`.
    4. Low-rank refit towards the anchor under a nuclear norm (`hyperagent.topology.lowrank`).
    5. Each agent and the `k` agents of highest affinity form a group; equal groups merge.

    Two repairs. *Likelihood*: as described, the gradient weighs the probability of the
    sketch, but step 5 executes something else. Here step 5 is itself a distribution, in
    which every agent draws its partners by Plackett-Luce with logits
    ``affinity / temperature``, and `Design.log_prob` is the exact log-probability of the
    executed hypergraph, summed over all draws that merge into it (`Partners`). It is
    conditional on the noise of steps 2 and 3, which comes from the seed and depends on no
    parameter; averaged over seeds its score-function gradient is therefore unbiased.
    *Order*: the description runs agents in a "topological order" of symmetric groups,
    which does not exist; all groups are of phase 0.

    Weights are drawn at random from `init` unless `weights` is given, so an untrained
    designer is a random prior near the chain, not a learned policy.

    Parameters
    ----------
    k : int
        Partners of each agent.
    rank, tau, zeta : int, float, float
        Rank of the refit, temperature of the sketch, weight of the nuclear norm.
    slots : int
        How many agents, the most reliable first, open a group; the others can only be
        invited. 32 leaves teams of the paper's size untouched and keeps the exact
        likelihood within reach for any team.
    temperature : float
        Temperature of the draw of partners; towards 0 it becomes the described top-k.
    mode : {"sample", "mode"}
        ``"mode"`` is deterministic: no noise, and every agent takes its top `k`.
    noise : bool
        Whether `Z` and the sketch are noisy when sampling. Without it `log_prob` is
        conditional on nothing.
    anchor : str
        Anchor of steps 2 and 4.
    weights : path, optional
        Safetensors file written by `save`.
    init : int
        Seed of the random weights.

    Raises
    ------
    ConfigError
        Naming the option, or the weight file, that cannot be used.
    """

    name = "paper"

    def __init__(
        self,
        *,
        k: int = 2,
        rank: int = 16,
        tau: float = 0.01,
        zeta: float = 0.1,
        slots: int = 32,
        temperature: float = 0.1,
        mode: str = "sample",
        noise: bool = True,
        anchor: str = "chain",
        weights: str | PathLike[str] | None = None,
        init: int = 0,
    ) -> None:
        for option, value in (("k", k), ("rank", rank), ("slots", slots)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"paper: {option} must be an integer >= 1, got {value!r}")
        if k > 4:  # the sum over orders has k! terms
            raise ConfigError(f"paper: k must be at most 4, got {k!r}")
        for option, value, least in (("tau", tau, 1e-6), ("temperature", temperature, 1e-9)):
            _check_number(option, value, least)
        _check_number("zeta", zeta, 0.0)
        if mode not in ("sample", "mode"):
            raise ConfigError(f"paper: mode must be 'sample' or 'mode', got {mode!r}")
        self.k, self.rank, self.zeta, self.slots = k, rank, float(zeta), slots
        self.temperature, self.mode, self.noise, self.anchor = temperature, mode, noise, anchor
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(init)
            self.net = PaperNet(tau=float(tau))
        if weights is not None:
            self._load(Path(weights))

    def design(self, task: TaskLike, agents: Sequence[AgentLike], *, seed: int = 0) -> Design:
        """Draw, or in mode ``"mode"`` derive, the hypergraph for `task`.

        The order of `agents` does not matter. Equal arguments give an equal design.
        """
        agents = _ordered(agents)
        with torch.no_grad():
            if self.mode == "mode":
                policy = self.policy(task, agents)
                groups = policy.mode()
            else:
                policy = self.policy(task, agents, seed=seed)
                groups = policy.sample(_generator(seed, task, "partners"))
            log_prob = policy.log_prob(groups).item()
            listed = sorted(groups, key=lambda g: sorted(agents[i].id for i in g))
            formed = policy.formed(listed)
        edges = tuple(Hyperedge(tuple(sorted(agents[i].id for i in g))) for g in listed)
        return Design(
            Hypergraph(tuple(agent.id for agent in agents), edges),
            log_prob,
            {f"e{n}": p for n, p in enumerate(formed)},
            self.name,
        )

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
            Over the same agents. Duplicates merge and weights are not looked at.
        seed : int, optional
            The seed of `design` whose noise is given; None: no noise, which is what
            designs of mode ``"mode"``, and of ``noise=False``, refer to.

        Returns
        -------
        Tensor, scalar, float64
            -inf for a hypergraph that cannot be drawn, e.g. with a second phase.

        Raises
        ------
        HypergraphError
            If the nodes are not the agents.
        """
        agents = _ordered(agents)
        place = {agent.id: i for i, agent in enumerate(agents)}
        if set(hypergraph.nodes) != set(place):
            odd = sorted(set(hypergraph.nodes) ^ set(place))[0]
            raise HypergraphError(f"the hypergraph is not over these agents: {odd!r} differs")
        policy = self.policy(task, agents, seed=seed)
        if any(edge.phase != 0 or edge.mode != "discuss" for edge in hypergraph.edges):
            return policy.logits.new_tensor(-torch.inf)
        return policy.log_prob(frozenset(place[m] for m in e.members) for e in hypergraph.edges)

    def policy(
        self, task: TaskLike, agents: Sequence[AgentLike], *, seed: int | None = None
    ) -> Partners:
        """Distribution over groups; agents are numbered by reliability, then by id."""
        agents = _ordered(agents)
        names = [agent.id for agent in agents]
        texts = [f"{a.id} {a.role} {a.profile or ''}" for a in agents]
        x = torch.from_numpy(encode_texts([*texts, task.question])).double()
        roles = {agent.id: agent.role for agent in agents}
        anchor = build_anchor(self.anchor, names, roles=roles)
        if set(anchor.nodes) != set(names):
            raise ConfigError(f"paper: anchor {self.anchor!r} adds samples of agents as nodes")
        incidence = torch.from_numpy(anchor.incidence())
        noise = None
        if self.noise and seed is not None:
            noise = Noise.draw(len(names), self.net.latent, _generator(seed, task, "noise"))
        affinity = self.net.affinities(x, incidence, noise, rank=self.rank, zeta=self.zeta)
        return Partners(affinity[: self.slots] / self.temperature, self.k)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the weights of `net` as safetensors."""
        path = Path(path)
        draft = path.with_name(f".{path.name}.part")
        save_file({name: t.contiguous() for name, t in self.net.state_dict().items()}, draft)
        draft.replace(path)

    def _load(self, path: Path) -> None:
        try:
            self.net.load_state_dict(load_file(path))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise ConfigError(f"paper: cannot use the weights in {path}: {error}") from error


def _check_number(option: str, value: object, least: float) -> None:
    fine = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not fine or not least <= value < float("inf"):
        raise ConfigError(f"paper: {option} must be a number >= {least:g}, got {value!r}")


def _ordered(agents: Sequence[AgentLike]) -> list[AgentLike]:
    """Best first, equals by id, so that the order in which they are given is forgotten."""
    if not agents:
        raise HypergraphError("a designer needs at least one agent, got none")
    return best_first(sorted(agents, key=lambda agent: agent.id))


def _generator(seed: int, task: TaskLike, purpose: str) -> torch.Generator:
    """Independent random numbers for each seed, task and purpose."""
    text = f"{seed}\0{task.id}\0{task.question}\0{purpose}"
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
