"""A router: one agent a question, the one that is predicted to be worth most."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.topology.design import AgentLike, Design, TaskLike
from hyperagent.topology.difficulty import difficulty
from hyperagent.topology.features import encode_texts
from hyperagent.topology.logistic import Logistic
from hyperagent.topology.outcomes import Execute
from hyperagent.topology.peers.dag import ordered
from hyperagent.topology.peers.reinforce import Training, task_order
from hyperagent.topology.weights_folder import read_folder, write_folder

WIDTH = 128
"""Columns of the hashed question."""


class Router:
    """P(agent is right | question) by logistic regression; the best of P − price · cost answers.

    The columns are the hashed words of the question and its difficulty features. The cost of an
    agent is its mean on the training questions, in units of the dearest agent's.

    What differs from published routers (RouteLLM, MasRouter): they encode questions with a
    language model, and some choose a whole team; this one is their simplest form.

    Parameters
    ----------
    price : float
        Accuracy that the cost of the dearest agent is worth, at least 0.
    penalty : float
        Of the regression, positive.
    weights : path, optional
        Folder written by `save`. Without it, and before `fit`, the most reliable agent answers.

    Raises
    ------
    ConfigError
        Naming the option, or the folder, that cannot be used.

    References
    ----------
    Ong et al., "RouteLLM: learning to route LLMs with preference data", arXiv 2406.18665.
    """

    name = "router"

    def __init__(
        self,
        *,
        price: float = 0.0,
        penalty: float = 30.0,
        weights: str | PathLike[str] | None = None,
    ) -> None:
        if not price >= 0:
            raise ConfigError(f"router: price must be at least 0, got {price!r}")
        if not penalty > 0:
            raise ConfigError(f"router: penalty must be positive, got {penalty!r}")
        self.price, self.penalty = float(price), float(penalty)
        self.models: dict[str, Logistic] = {}
        self.costs: dict[str, float] = {}
        if weights is not None:
            self._read(weights)

    def design(self, task: TaskLike, agents: Sequence[AgentLike], *, seed: int = 0) -> Design:
        """The agent of the largest value alone; equals go by reliability, then by id.

        Raises
        ------
        ConfigError
            If the router was not fitted for one of the agents.
        """
        nodes = [agent.id for agent in ordered(agents)]
        values = self.values(task.question, nodes) if self.models else np.zeros(len(nodes))
        best = nodes[int(values.argmax())]
        return Design(Hypergraph(tuple(nodes), (Hyperedge((best,)),)), name=self.name)

    def values(self, question: str, agents: Sequence[str]) -> np.ndarray:
        """P(right) − price · cost of each agent, shape (n_agents,)."""
        missing = [agent for agent in agents if agent not in self.models]
        if missing:
            raise ConfigError(f"router: nothing is known of the agents {', '.join(missing)}")
        row = question_rows([question])
        return np.array(
            [self.models[a].predict(row)[0] - self.price * self.costs[a] for a in agents]
        )

    def fit_rows(
        self,
        agents: Sequence[str],
        questions: Sequence[str],
        correct: np.ndarray,
        costs: np.ndarray,
    ) -> None:
        """Learn from rows, in place.

        Parameters
        ----------
        agents : sequence of str, length N
        questions : sequence of str, length n
        correct : ndarray, shape (n, N)
            In [0, 1]; nan where an agent was not asked.
        costs : ndarray, shape (n, N)
            Tokens or dollars, >= 0; nan where an agent was not asked.

        Raises
        ------
        ConfigError
            If the shapes do not fit, or an agent was never asked.
        """
        shape = (len(questions), len(agents))
        if correct.shape != shape or costs.shape != shape:
            raise ConfigError(
                f"router: correct and costs must have the shape {shape}, "
                f"got {correct.shape} and {costs.shape}"
            )
        asked = ~np.isnan(correct)
        if not asked.any(axis=0).all():
            never = agents[int(asked.any(axis=0).argmin())]
            raise ConfigError(f"router: agent {never!r} was never asked")
        rows = question_rows(questions)
        mean = np.nanmean(costs, axis=0)
        unit = mean.max() if mean.max() > 0 else 1.0
        self.costs = dict(zip(agents, (mean / unit).tolist(), strict=True))
        self.models = {
            agent: Logistic.fit(rows[asked[:, j]], correct[asked[:, j], j], self.penalty)
            for j, agent in enumerate(agents)
        }

    def fit(
        self,
        tasks: Sequence[TaskLike],
        agents: Sequence[AgentLike],
        execute: Execute,
        *,
        episodes: int = 400,
        seed: int = 0,
    ) -> Training:
        """Ask agents alone, in turn, and learn from their rows, in place.

        Parameters
        ----------
        tasks : sequence of TaskLike
        agents : sequence of AgentLike
        execute : Execute
        episodes : int
            Executions, at least one an agent; every task is put to all agents before the next.
        seed : int
        """
        nodes = tuple(agent.id for agent in ordered(agents))
        if episodes < len(nodes):
            raise ConfigError(
                f"router: training needs an episode for each agent, {len(nodes)}, got {episodes}"
            )
        n = -(-episodes // len(nodes))
        correct, costs = np.full((2, n, len(nodes)), np.nan)
        questions = []
        for i, task in zip(range(n), task_order(tasks, seed), strict=False):
            questions.append(task.question)
            for j, node in enumerate(nodes[: episodes - i * len(nodes)]):
                alone = Hypergraph(nodes, (Hyperedge((node,)),))
                outcome = execute(task, alone, seed * 1_000_003 + i * len(nodes) + j)
                correct[i, j], costs[i, j] = outcome.correct, outcome.tokens
        self.fit_rows(nodes, questions, correct, costs)
        means = tuple(np.nanmean(correct, axis=1).tolist())
        return Training(means, episodes, float(np.nansum(costs)))

    def save(self, folder: str | PathLike[str]) -> None:
        """Write options and models into a folder: JSON and safetensors.

        Raises
        ------
        ConfigError
            If nothing was fitted.
        """
        if not self.models:
            raise ConfigError("router: there is nothing to save before fit")
        models = list(self.models.values())
        arrays = {name: np.stack([getattr(m, name) for m in models]) for name in _ARRAYS}
        config = {"agents": list(self.models), "costs": self.costs, "width": WIDTH}
        write_folder(folder, self.name, config, arrays)

    @classmethod
    def load(cls, folder: str | PathLike[str], **options: Any) -> Router:
        """The router that `save` wrote; `price` may differ from that of the fit."""
        return cls(weights=folder, **options)

    def _read(self, folder: str | PathLike[str]) -> None:
        config, arrays = read_folder(folder, self.name)
        width = question_rows([""]).shape[1]
        expected = {"mean": width, "scale": width, "weights": width + 1}
        for name, columns in expected.items():
            if name not in arrays or arrays[name].shape != (len(config["agents"]), columns):
                raise ConfigError(f"router: {folder} must hold {name} with {columns} columns")
        for j, agent in enumerate(config["agents"]):
            self.models[agent] = Logistic(*(arrays[name][j] for name in _ARRAYS))
        self.costs = {agent: float(cost) for agent, cost in config["costs"].items()}


_ARRAYS = ("mean", "scale", "weights")


def question_rows(questions: Sequence[str]) -> np.ndarray:
    """What the router reads: hashed words and difficulty, shape (n, WIDTH + 16), float64."""
    return np.column_stack(
        [encode_texts(questions, WIDTH), np.stack([difficulty(q) for q in questions])]
    ).astype(np.float64)
