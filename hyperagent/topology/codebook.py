"""The codebook designer: a few fixed hypergraphs, and a small model of which suits a task.

The cheapest learner: it never invents a group, and a few hundred executions fit it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from os import PathLike

import numpy as np
import torch

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hypergraph, agent_of
from hyperagent.topology.candidates import portfolio, sub_hypergraphs, unique
from hyperagent.topology.design import AgentLike, Design, TaskLike
from hyperagent.topology.logistic import Logistic
from hyperagent.topology.outcomes import Outcome
from hyperagent.topology.surrogate_net import Reader
from hyperagent.topology.weights_folder import read_folder, write_folder

MOST = 16
"""Largest codebook."""


def default_codes(
    agents: Sequence[AgentLike], fixed: Hypergraph, most: int = MOST
) -> tuple[Hypergraph, ...]:
    """A fixed topology, the portfolio, then the fixed topology with one agent, two, … benched.

    Parameters
    ----------
    agents : sequence of AgentLike
    fixed : Hypergraph
        The best fixed topology.
    most : int
        Length of the codebook.
    """
    parts = sub_hypergraphs(fixed)[::-1] if len(fixed.seated()) <= 12 else ()
    return unique([fixed.canonical(), *portfolio(agents).values(), *parts])[:most]


class CodebookDesigner:
    r"""Takes the code of the largest predicted reward.

    The success of each code is a ridge-penalised logistic function of the task's features, its
    tokens are the mean of its executions:
    :math:`\arg\max_c \hat u_c(x) - \lambda \bar\tau_c / \mathrm{scale}`. Make one with `fit` or
    `load`.

    Parameters
    ----------
    codes : sequence of Hypergraph
        1 to 16; the first is taken where rewards are equal.
    reader : Reader
        Features of tasks.
    models : sequence of Logistic
        One a code.
    tokens : sequence of float
        Mean tokens of each code.
    price : float
        Correctness that `scale` tokens are worth, >= 0.
    scale : float
        Tokens, > 0.

    Raises
    ------
    ConfigError
        If a number is out of range or the lengths differ.

    References
    ----------
    The form of Codebook Agent (arXiv 2609.02264): a few topologies and a reward model. Its codes
    come from an autoencoder; ours are anchors and parts of the best of them.
    """

    name = "codebook"

    def __init__(
        self,
        codes: Sequence[Hypergraph],
        reader: Reader,
        models: Sequence[Logistic],
        tokens: Sequence[float],
        *,
        price: float,
        scale: float,
    ) -> None:
        if not 1 <= len(codes) <= MOST or not len(codes) == len(models) == len(tokens):
            raise ConfigError(
                f"codebook: 1 to {MOST} codes and as many models and tokens are needed, got "
                f"{len(codes)}, {len(models)} and {len(tokens)}"
            )
        if not (0 <= price < math.inf and 0 < scale < math.inf):
            raise ConfigError(
                f"codebook: price >= 0 and scale > 0 are needed, got {price!r} and {scale!r}"
            )
        self.codes, self.models = tuple(codes), tuple(models)
        self.reader, self.tokens = reader, np.asarray(tokens, dtype=np.float64)
        self.price, self.scale = price, scale

    @classmethod
    def fit(
        cls,
        codes: Sequence[Hypergraph],
        outcomes: Sequence[Outcome],
        tasks: Mapping[str, TaskLike],
        agents: Sequence[AgentLike],
        *,
        price: float,
        scale: float,
        penalty: float = 30.0,
        encoder: str = "hashing",
    ) -> CodebookDesigner:
        """Learn from a log.

        Parameters
        ----------
        codes : sequence of Hypergraph
            A code that the log has no execution of is left out.
        outcomes : sequence of Outcome
            Of other hypergraphs too; those are ignored.
        tasks : mapping of str to TaskLike
            By id.
        agents : sequence of AgentLike
        price, scale : float
        penalty : float
            Ridge penalty on the standardised features: the larger, the nearer is the success of
            a code to the same for all tasks.
        encoder : str
            Reads the questions, see `hyperagent.topology.text_encoder`.

        Raises
        ------
        ConfigError
            If no code was executed, or a task is unknown.
        """
        by_code: dict[str, list[Outcome]] = {code.digest(): [] for code in codes}
        for outcome in outcomes:
            if outcome.task not in tasks:
                raise ConfigError(f"the log has an outcome of the unknown task {outcome.task!r}")
            by_code.get(outcome.hypergraph.digest(), []).append(outcome)
        kept = [code for code in unique(codes) if by_code[code.digest()]]
        if not kept:
            raise ConfigError("codebook: the log has no execution of any code")
        names = sorted({o.task for code in kept for o in by_code[code.digest()]})
        reader = Reader.fit([tasks[name].question for name in names], agents, encoder)
        features = reader.tasks([tasks[name].question for name in names]).double().numpy()
        place = {name: i for i, name in enumerate(names)}
        models, tokens = [], []
        for code in kept:
            mine = by_code[code.digest()]
            x = features[[place[o.task] for o in mine]]
            # Smoothed as by one success and one failure, so that few executions claim little.
            y = np.array([o.correct for o in mine])
            n = len(y)
            models.append(Logistic.fit(x, (y * n + 1) / (n + 2), penalty))
            tokens.append(float(np.mean([o.tokens for o in mine])))
        return cls(kept, reader, models, tokens, price=price, scale=scale)

    def scores(self, task: TaskLike) -> np.ndarray:
        """Predicted reward of each code, shape (C,), float64."""
        x = self.reader.tasks([task.question]).double().numpy()
        success = np.array([float(model.predict(x)[0]) for model in self.models])
        return success - self.price * self.tokens / self.scale

    def design(self, task: TaskLike, agents: Sequence[AgentLike], *, seed: int = 0) -> Design:
        """The best code; the order of `agents` and the seed change nothing.

        Raises
        ------
        ConfigError
            If every code seats somebody who is not among `agents`.
        """
        present = {agent.id for agent in agents}
        open_to = [
            i
            for i, code in enumerate(self.codes)
            if {agent_of(n)[0] for n in code.seated()} <= present
        ]
        if not open_to:
            raise ConfigError("codebook: every code seats an agent who is not in this team")
        scores = self.scores(task)
        return Design(self.codes[max(open_to, key=lambda i: scores[i])], name=self.name)

    def save(self, folder: str | PathLike[str]) -> None:
        """Write codes and numbers into a folder: JSON and safetensors."""
        config = {
            "codes": [code.to_hif() for code in self.codes],
            "texts": self.reader.texts,
            "encoder": self.reader.encoder,
            "price": self.price,
            "scale": self.scale,
        }
        parts = {name: [getattr(model, name) for model in self.models] for name in _PARTS}
        arrays = {name: np.stack(rows) for name, rows in parts.items()}
        arrays |= {"tokens": self.tokens}
        arrays |= {
            "reader.mean": self.reader.mean.numpy(),
            "reader.basis": self.reader.basis.numpy(),
        }
        write_folder(folder, self.name, config, arrays)

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> CodebookDesigner:
        """Read what `save` wrote.

        Raises
        ------
        ConfigError
            If the folder cannot be used.
        """
        data, arrays = read_folder(folder, cls.name)
        try:
            rows = (arrays[name] for name in _PARTS)
            models = [Logistic(*row) for row in zip(*rows, strict=True)]
            codes = [Hypergraph.from_hif(code) for code in data["codes"]]
            mean, basis = (torch.from_numpy(arrays[f"reader.{name}"]) for name in ("mean", "basis"))
            reader = Reader(data["texts"], mean, basis, data["encoder"])
            tokens = arrays["tokens"].tolist()
            return cls(codes, reader, models, tokens, price=data["price"], scale=data["scale"])
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"cannot use the codebook in {folder}: {error}") from error


_PARTS = ("mean", "scale", "weights")


def saved_codebook(weights: str | PathLike[str]) -> CodebookDesigner:
    """The codebook in the folder `weights`, for ``"codebook:weights=DIR"``."""
    return CodebookDesigner.load(weights)
