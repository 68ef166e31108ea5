"""DyLAN over our orchestrator: layers as phases, stop at consensus, agents by importance."""

from __future__ import annotations

import random
from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.topology.design import AgentLike, Design, TaskLike
from hyperagent.topology.outcomes import Execute
from hyperagent.topology.peers.dag import ordered
from hyperagent.topology.peers.reinforce import Training, task_order
from hyperagent.topology.stops import Agreement
from hyperagent.topology.weights_folder import read_folder, write_folder


class Dylan:
    """A feed-forward network of agents that stops when more than 2/3 of a layer agree.

    In the first layer every agent answers alone; in each later one all of them meet over one board,
    read the others and may change their answer.

    `fit` keeps the `size` agents of the largest importance for all tasks: the mean reward of random
    teams with an agent minus that of teams without it.

    What differs from the original: there, agents rate each other's answers by further calls, and
    importance is the sum of the ratings that flow back through the layers, without any reward. Here
    nobody rates, so that the rewards of training tasks stand in for the ratings. For the same
    reason no ranker drops agents between the layers of one task. A layer in which the agreement
    gate of the routing closes the group asks nobody; ``gate=None`` turns that off. The final answer
    is the vote of our orchestrator.

    Parameters
    ----------
    layers : int
        At least 1.
    size : int
        Agents that `fit` keeps, at least 1.
    share : float
        In [0, 1); more than this share must agree.
    weights : path, optional
        Folder written by `save`. Without it, and before `fit`, all agents are seated.

    Raises
    ------
    ConfigError
        Naming the option, or the folder, that cannot be used.

    References
    ----------
    Liu et al., "A dynamic LLM-powered agent network for task-oriented agent collaboration", COLM
    2024, arXiv 2310.02170.
    """

    name = "dylan"

    def __init__(
        self,
        *,
        layers: int = 3,
        size: int = 4,
        share: float = 2 / 3,
        weights: str | PathLike[str] | None = None,
    ) -> None:
        for option, value in (("layers", layers), ("size", size)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"dylan: {option} must be an integer >= 1, got {value!r}")
        self.layers, self.size, self.stop = layers, size, Agreement(share)
        self.importance: dict[str, float] | None = None
        if weights is not None:
            config, arrays = read_folder(weights, self.name)
            if arrays.get("importance", np.zeros(0)).shape != (len(config["agents"]),):
                raise ConfigError(f"dylan: {weights} must hold one importance for each agent")
            values = arrays["importance"].tolist()
            self.importance = dict(zip(config["agents"], values, strict=True))

    def design(self, task: TaskLike, agents: Sequence[AgentLike], *, seed: int = 0) -> Design:
        """The same for every task and seed; the order of `agents` does not matter.

        Raises
        ------
        ConfigError
            If an agent has no importance, because the designer was fitted without it.
        """
        nodes = [agent.id for agent in ordered(agents)]
        seated = nodes
        if self.importance is not None:
            missing = [node for node in nodes if node not in self.importance]
            if missing:
                raise ConfigError(f"dylan: nothing is known of the agents {', '.join(missing)}")
            seated = sorted(nodes, key=lambda node: -self.importance[node])[: self.size]
        return Design(self._layered(nodes, seated), name=self.name, stop=self.stop)

    def fit(
        self,
        tasks: Sequence[TaskLike],
        agents: Sequence[AgentLike],
        execute: Execute,
        *,
        episodes: int = 100,
        seed: int = 0,
    ) -> Training:
        """Measure the importance of each agent, in place.

        Parameters
        ----------
        tasks : sequence of TaskLike
        agents : sequence of AgentLike
        execute : Execute
        episodes : int
            Executions, each of a random team of `size` agents on one task; at least two. `execute`
            may run all layers, as it does not know the stop.
        seed : int
        """
        nodes = [agent.id for agent in ordered(agents)]
        if episodes < 2:
            raise ConfigError(f"dylan: importance needs at least 2 episodes, got {episodes}")
        draw = random.Random(f"dylan {seed}")
        seats = np.zeros((episodes, len(nodes)), dtype=bool)
        rewards, tokens = np.zeros(episodes), 0.0
        for episode, task in zip(range(episodes), task_order(tasks, seed), strict=False):
            team = sorted(draw.sample(range(len(nodes)), min(self.size, len(nodes))))
            graph = self._layered(nodes, [nodes[i] for i in team])
            outcome = execute(task, graph, seed * 1_000_003 + episode)
            seats[episode, team] = True
            rewards[episode] = outcome.correct
            tokens += outcome.tokens
        self.importance = {node: _difference(rewards, seats[:, i]) for i, node in enumerate(nodes)}
        return Training(tuple(rewards.tolist()), episodes, tokens)

    def save(self, folder: str | PathLike[str]) -> None:
        """Write the importance of each agent into a folder: JSON and safetensors.

        Raises
        ------
        ConfigError
            If nothing was fitted.
        """
        if self.importance is None:
            raise ConfigError("dylan: there is nothing to save before fit")
        values = np.array(list(self.importance.values()))
        config = {"agents": list(self.importance)}
        write_folder(folder, self.name, config, {"importance": values})

    @classmethod
    def load(cls, folder: str | PathLike[str], **options: Any) -> Dylan:
        """The designer that `save` wrote."""
        return cls(weights=folder, **options)

    def _layered(self, nodes: Sequence[str], seated: Sequence[str]) -> Hypergraph:
        edges = [Hyperedge((node,)) for node in seated]
        if len(seated) > 1:
            members = tuple(sorted(seated))
            edges += [Hyperedge(members, phase=layer) for layer in range(1, self.layers)]
        return Hypergraph(tuple(nodes), tuple(edges))


def _difference(rewards: np.ndarray, seated: np.ndarray) -> float:
    """Mean with minus mean without; 0 for an agent that was always or never there."""
    if seated.all() or not seated.any():
        return 0.0
    return float(rewards[seated].mean() - rewards[~seated].mean())
