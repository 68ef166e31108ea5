"""Designers with one logit for each ordered pair of agents, whatever the task."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any, ClassVar

import torch
from torch import Tensor

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hypergraph
from hyperagent.topology.design import AgentLike, Design, TaskLike
from hyperagent.topology.outcomes import Execute
from hyperagent.topology.peers.dag import ArcDistribution, as_phases, generator, ordered
from hyperagent.topology.peers.reinforce import Draw, Training, reinforce
from hyperagent.topology.weights_folder import read_folder, write_folder


class StaticArcs:
    """What GPTSwarm and AgentPrune share; each adds what is its own, and says what differs.

    Before training all logits are 0, so that every arc has probability 1/2, for any team. A
    trained designer knows one team by the ids of its agents.
    """

    name: ClassVar[str]
    batch: ClassVar[int] = 4
    episodes: ClassVar[int]
    """Executions of a training unless told otherwise, as many as its authors made."""

    def __init__(
        self, *, mode: str, lr: float, baseline: bool, weights: str | PathLike[str] | None
    ) -> None:
        if mode not in ("sample", "mode"):
            raise ConfigError(f"{self.name}: mode must be 'sample' or 'mode', got {mode!r}")
        if not lr > 0:
            raise ConfigError(f"{self.name}: lr must be positive, got {lr!r}")
        self.mode, self.lr, self.baseline = mode, float(lr), bool(baseline)
        self.agents: tuple[str, ...] | None = None
        self.logits = torch.zeros(0, 0, dtype=torch.float64)
        if weights is not None:
            config, arrays = read_folder(weights, self.name)
            self.agents = tuple(config["agents"])
            self._restore({name: torch.from_numpy(array) for name, array in arrays.items()})

    def design(self, task: TaskLike, agents: Sequence[AgentLike], *, seed: int = 0) -> Design:
        """Draw, or in mode ``"mode"`` derive, the directed graph; only the draw sees the task.

        The order of `agents` does not matter. Equal arguments give an equal design.

        Raises
        ------
        ConfigError
            If the designer was trained for another team.
        """
        policy = self.policy(agents)
        arcs = policy.sample(generator(seed, task, self.name)) if self.mode == "sample" else None
        if arcs is None:
            arcs = policy.mode()
        with torch.no_grad():
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
        """Exact log-probability of a hypergraph, whatever the task; scalar, float64."""
        return self.policy(agents).log_prob_of(hypergraph)

    def policy(self, agents: Sequence[AgentLike]) -> ArcDistribution:
        """Distribution over directed graphs; agents are numbered by reliability, then by id."""
        names = [agent.id for agent in ordered(agents)]
        if self.agents is None:
            return ArcDistribution(torch.zeros(len(names), len(names), dtype=torch.float64), names)
        if sorted(names) != sorted(self.agents):
            raise ConfigError(
                f"{self.name}: the weights are for the agents {', '.join(self.agents)}, "
                f"got {', '.join(names)}"
            )
        rows = [self.agents.index(name) for name in names]
        return ArcDistribution(self.effective_logits()[rows][:, rows], names)

    def effective_logits(self) -> Tensor:
        """Logits of the arcs that may be drawn, shape (N, N), in the order of `agents`."""
        return self.logits

    def save(self, folder: str | PathLike[str]) -> None:
        """Write the fitted logits into a folder: JSON and safetensors.

        Raises
        ------
        ConfigError
            If nothing was fitted.
        """
        if self.agents is None:
            raise ConfigError(f"{self.name}: there is nothing to save before fit")
        arrays = {name: t.detach().numpy() for name, t in self._state().items()}
        write_folder(folder, self.name, {"agents": list(self.agents)}, arrays)

    @classmethod
    def load(cls, folder: str | PathLike[str], **options: Any) -> StaticArcs:
        """The designer that `save` wrote."""
        return cls(weights=folder, **options)

    def fit(
        self,
        tasks: Sequence[TaskLike],
        agents: Sequence[AgentLike],
        execute: Execute,
        *,
        episodes: int | None = None,
        seed: int = 0,
    ) -> Training:
        """Learn the logits in place, from 0, in batches of four tasks.

        Parameters
        ----------
        tasks : sequence of TaskLike
        agents : sequence of AgentLike
        execute : Execute
        episodes : int, optional
            Executions, at least one batch; by default `episodes` of the class.
        seed : int
        """
        self.agents = tuple(agent.id for agent in ordered(agents))
        n = len(self.agents)
        self.logits = torch.zeros(n, n, dtype=torch.float64, requires_grad=True)
        self._begin()

        def draw(task: TaskLike, number: int) -> Draw:
            policy = self.policy(agents)
            arcs = policy.sample(generator(number, task, f"{self.name} training"))
            return Draw(as_phases(policy.nodes, arcs), policy.log_prob(arcs), self._penalty(policy))

        training = reinforce(
            draw, [self.logits], tasks, execute, seed=seed, lr=self.lr, batch=self.batch,
            episodes=self.episodes if episodes is None else episodes, baseline=self.baseline,
        )  # fmt: skip
        self.logits = self.logits.detach()
        self._finish()
        return training

    def _begin(self) -> None:
        """Before the first batch."""

    def _finish(self) -> None:
        """After the last one."""

    def _penalty(self, policy: ArcDistribution) -> Tensor | None:
        return None

    def _state(self) -> dict[str, Tensor]:
        return {"logits": self.logits}

    def _restore(self, state: dict[str, Tensor]) -> None:
        n = len(self.agents or ())
        if state.get("logits", self.logits).shape != (n, n):
            raise ConfigError(f"{self.name}: the weights need logits of shape ({n}, {n})")
        self.logits = state["logits"]
