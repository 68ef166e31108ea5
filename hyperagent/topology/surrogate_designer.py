"""The designer that asks the surrogate and leaves the fixed topology only where it is sure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from os import PathLike

import numpy as np

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hypergraph, agent_of
from hyperagent.topology.calibration import spread
from hyperagent.topology.candidates import unique
from hyperagent.topology.design import AgentLike, Design, TaskLike
from hyperagent.topology.surrogate import Prediction, Surrogate


class SurrogateDesigner:
    r"""Chooses among candidates by predicted reward, conservatively.

    With `M` networks, :math:`d_m = \hat u_m(c) - \hat u_m(a)` the predicted gain of candidate `c`
    over the fixed topology `a`, it takes the largest

    :math:`\operatorname{mean}_m d_m - \kappa \operatorname{se}_m d_m
    - \lambda (\hat\tau(c) - \hat\tau(a)) / \mathrm{scale}`,

    in which `a` itself scores 0 and se is the standard error (`spread`). The error of the
    *difference* is what counts: networks that disagree on how hard a task is agree on which of two
    topologies is better. The term does not depend on the price, so mean predicted tokens never
    rise with it.

    Parameters
    ----------
    surrogate : Surrogate
    candidates : sequence of Hypergraph
    fixed : Hypergraph
        The best fixed topology; it joins the candidates.
    price : float
        Correctness that `scale` tokens are worth, >= 0.
    scale : float
        Tokens, > 0.
    caution : float
        :math:`\kappa >= 0`.
    paired : bool
        False: the spread of each candidate alone, for comparison.

    Raises
    ------
    ConfigError
        Naming the number that is out of range.
    """

    name = "surrogate"

    def __init__(
        self,
        surrogate: Surrogate,
        candidates: Sequence[Hypergraph],
        fixed: Hypergraph,
        *,
        price: float,
        scale: float,
        caution: float = 0.5,
        paired: bool = True,
    ) -> None:
        numbers = {"price": price, "scale": scale, "caution": caution}
        for name, value in numbers.items():
            if not 0 <= value < float("inf") or (name == "scale" and value == 0):
                raise ConfigError(f"surrogate: {name} must be positive, got {value!r}")
        self.surrogate, self.fixed = surrogate, fixed
        self.candidates = unique([fixed, *candidates])
        self.price, self.scale, self.caution, self.paired = price, scale, caution, paired

    def design(self, task: TaskLike, agents: Sequence[AgentLike], *, seed: int = 0) -> Design:
        """The chosen candidate; the order of `agents` and the seed change nothing.

        Raises
        ------
        ConfigError
            If `agents` lacks one that the fixed topology seats.
        """
        present = {agent.id for agent in agents}
        lost = sorted({agent_of(n)[0] for n in self.fixed.seated()} - present)
        if lost:
            raise ConfigError(f"surrogate: the fixed topology seats {lost[0]!r}, who is not here")
        open_to = [
            graph
            for graph in self.candidates
            if {agent_of(n)[0] for n in graph.seated()} <= present
        ]
        predicted = self.surrogate.predict(task, open_to)
        return Design(open_to[int(self.scores(predicted).argmax())], name=self.name)

    def scores(self, predicted: Prediction) -> np.ndarray:
        """Conservative reward of each candidate, shape (C,); the first is the fixed topology."""
        members = predicted.members
        if self.paired:
            members = members - members[:, :1]
        cost = self.price * predicted.tokens / self.scale
        return members.mean(axis=0) - self.caution * spread(members) - cost

    def save(self, path: str | PathLike[str]) -> None:
        """Write one safetensors file, with the candidates and numbers as JSON in its header."""
        data = {
            "candidates": [graph.to_hif() for graph in self.candidates],
            "fixed": self.fixed.to_hif(),
            "price": self.price,
            "scale": self.scale,
            "caution": self.caution,
            "paired": self.paired,
        }
        self.surrogate.save(path, designer=json.dumps(data, sort_keys=True))

    @classmethod
    def load(cls, path: str | PathLike[str]) -> SurrogateDesigner:
        """Read what `save` wrote.

        Raises
        ------
        ConfigError
            If the file cannot be used, or holds a surrogate without a designer.
        """
        surrogate, extra = Surrogate.load(path)
        if "designer" not in extra:
            raise ConfigError(f"the surrogate in {path} was saved without a designer")
        data = json.loads(extra["designer"])
        graphs = [Hypergraph.from_hif(graph) for graph in data.pop("candidates")]
        return cls(surrogate, graphs, Hypergraph.from_hif(data.pop("fixed")), **data)


def saved_surrogate(weights: str | PathLike[str]) -> SurrogateDesigner:
    """The designer in the file `weights`, for ``"surrogate:weights=FILE"``."""
    return SurrogateDesigner.load(weights)
