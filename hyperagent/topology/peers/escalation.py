"""The cascade that was searched on recorded replies, executed by the orchestrator."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

import numpy as np

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.topology.cascade import Cascade, Reliabilities
from hyperagent.topology.design import AgentLike, Design, TaskLike
from hyperagent.topology.replies import question_kind
from hyperagent.topology.stops import Posterior
from hyperagent.topology.weights_folder import read_folder, write_folder


class Escalation:
    """One agent a phase, each alone, until the posterior reaches the threshold of a cascade.

    Reliabilities may differ from one kind of question to another, as `question_kind` tells them
    apart; they drive the stop and weigh the votes. The anchor ``cascade`` with an anytime threshold
    is the same with one reliability for each agent and all agents in a row.

    Parameters
    ----------
    cascade : Cascade, optional
        Order, threshold and reliabilities, e.g. from `search_cascades`.
    weights : path, optional
        Folder written by `save`, in place of `cascade`.
    wrong : int
        Number of plausible wrong answers of a task, at least 1.

    Raises
    ------
    ConfigError
        If not exactly one of `cascade` and `weights` is given, or the folder cannot be used.
    """

    name = "escalation"

    def __init__(
        self,
        cascade: Cascade | None = None,
        *,
        weights: str | PathLike[str] | None = None,
        wrong: int = 10,
    ) -> None:
        if (cascade is None) == (weights is None):
            raise ConfigError("escalation: give either a cascade or weights=FOLDER")
        self.cascade = _read(weights) if cascade is None else cascade
        self.stop = Posterior.measured(
            self.cascade.threshold, self.cascade.order, self.cascade.reliabilities, wrong=wrong
        )

    def design(self, task: TaskLike, agents: Sequence[AgentLike], *, seed: int = 0) -> Design:
        """The cascade with the reliabilities of the task's kind; others are benched.

        Raises
        ------
        ConfigError
            If an agent of the cascade is not in the team.
        """
        names = {agent.id for agent in agents}
        missing = [node for node in self.cascade.order if node not in names]
        if missing:
            raise ConfigError(f"escalation: the team has no agent {', '.join(missing)}")
        nodes = (*self.cascade.order, *sorted(names.difference(self.cascade.order)))
        edges = tuple(Hyperedge((node,), phase=i) for i, node in enumerate(self.cascade.order))
        stop = self.stop.of_kind(question_kind(task.question))
        return Design(Hypergraph(nodes, edges), name=self.name, stop=stop)

    def save(self, folder: str | PathLike[str]) -> None:
        """Write the cascade into a folder: JSON and safetensors."""
        known = self.cascade.reliabilities
        config = {
            "order": list(self.cascade.order),
            "threshold": self.cascade.threshold,
            "kinds": [kind for kind, _ in known.by_kind],
        }
        arrays = {"overall": known.overall}
        if known.by_kind:
            arrays["by_kind"] = np.stack([rates for _, rates in known.by_kind])
        write_folder(folder, self.name, config, arrays)

    @classmethod
    def load(cls, folder: str | PathLike[str], *, wrong: int = 10) -> Escalation:
        """The designer that `save` wrote."""
        return cls(weights=folder, wrong=wrong)


def _read(folder: str | PathLike[str]) -> Cascade:
    config, arrays = read_folder(folder, Escalation.name)
    order, kinds = tuple(config["order"]), config["kinds"]
    by_kind = arrays.get("by_kind", np.zeros((0, len(order))))
    if arrays["overall"].shape != (len(order),) or by_kind.shape != (len(kinds), len(order)):
        raise ConfigError(f"escalation: {folder} must hold one reliability for each agent and kind")
    known = Reliabilities(arrays["overall"], tuple(zip(kinds, by_kind, strict=True)))
    return Cascade(order, float(config["threshold"]), known)
