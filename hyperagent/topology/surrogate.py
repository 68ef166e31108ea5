"""A calibrated ensemble that predicts the success and the tokens of a hypergraph on a task."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hypergraph
from hyperagent.topology.calibration import (
    calibration_error,
    log_losses,
    sigmoid,
    spread,
    temperature_of,
)
from hyperagent.topology.design import AgentLike, TaskLike
from hyperagent.topology.outcomes import Outcome
from hyperagent.topology.surrogate_net import Layout, Reader, SurrogateNet, lay_out
from hyperagent.topology.threads import one_thread


@dataclass(frozen=True)
class Training:
    """How a surrogate is trained.

    Parameters
    ----------
    members : int
        Networks of the ensemble, at least 2; each leaves out its share of the tasks, by hash of
        their ids, and is calibrated on it.
    width : int
        Of the hidden layers.
    steps, batch : int
        Steps, and outcomes a step.
    rate : float
        Peak learning rate of Adam (one cosine to zero).
    precisions : tuple of float
        Of the Gaussian prior on the weights that read text, around where they start. The
        smallest is taken whose calibrated log loss on unseen tasks is not significantly (2
        standard errors) above the best: a strong prior hides how tasks differ.
    encoder : str
        Reads the questions: ``"hashing"``, ``"sentence:FOLDER"`` or ``"openai:MODEL@URL"``.
    """

    members: int = 5
    width: int = 32
    steps: int = 400
    batch: int = 128
    rate: float = 0.02
    precisions: tuple[float, ...] = (4.0,)
    encoder: str = "hashing"

    def __post_init__(self) -> None:
        for name, least in {"members": 2, "width": 1, "steps": 1, "batch": 1}.items():
            if getattr(self, name) < least:
                raise ConfigError(f"training: {name} must be at least {least}")
        if not self.precisions or min(self.precisions) < 0:
            raise ConfigError(f"training: precisions >= 0 are needed, got {self.precisions!r}")


@dataclass(frozen=True)
class Prediction:
    """What the ensemble expects of C hypergraphs for one task.

    Attributes
    ----------
    members : ndarray, shape (M, C), float64
        Calibrated probability of success of each network.
    tokens : ndarray, shape (C,), float64
        Expected tokens.
    """

    members: np.ndarray
    tokens: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Mean probability of success, shape (C,)."""
        return self.members.mean(axis=0)

    @property
    def std(self) -> np.ndarray:
        """Standard error of the mean, shape (C,)."""
        return spread(self.members)


class Surrogate:
    """Ensemble of networks; make one with `fit` or `load`.

    Attributes
    ----------
    reader : Reader
        Features of tasks and agents, as they were when trained.
    nets : list of SurrogateNet
    temperature : float
        Divides every logit (Guo et al., ICML 2017).
    scale : float
        Multiplies the tokens so that their mean is right (smearing; Duan, JASA 1983).
    ece : float or None
        Expected calibration error of the mean on held-out tasks that had no part in the
        temperature; None where there are too few.
    """

    def __init__(
        self,
        reader: Reader,
        nets: Sequence[SurrogateNet],
        training: Training,
        *,
        temperature: float = 1.0,
        scale: float = 1.0,
        ece: float | None = None,
    ) -> None:
        self.reader, self.nets, self.training = reader, list(nets), training
        self.temperature, self.scale, self.ece = temperature, scale, ece

    @classmethod
    @one_thread()
    def fit(
        cls,
        outcomes: Sequence[Outcome],
        tasks: Mapping[str, TaskLike],
        agents: Sequence[AgentLike],
        *,
        training: Training | None = None,
        seed: int = 0,
    ) -> Surrogate:
        """Train on a log and calibrate on its held-out tasks.

        Parameters
        ----------
        outcomes : sequence of Outcome
            At least 20, of at least 5 tasks.
        tasks : mapping of str to TaskLike
            By id.
        agents : sequence of AgentLike
            The team; their order does not matter.
        training : Training, optional
        seed : int
            Equal arguments give equal weights.

        Raises
        ------
        ConfigError
            If there are too few outcomes, or one is of an unknown task or agent.
        """
        training = training or Training()
        names = sorted({outcome.task for outcome in outcomes})
        if len(outcomes) < 20 or len(names) < 5:
            raise ConfigError(
                "a surrogate needs at least 20 outcomes of 5 tasks, "
                f"got {len(outcomes)} of {len(names)}"
            )
        for name in names:
            if name not in tasks:
                raise ConfigError(f"the log has an outcome of the unknown task {name!r}")
        rows = _Rows.of(outcomes, names, tasks, agents, training.encoder)
        # By rank and not by the hash itself, so that no fold is empty.
        order = sorted(range(len(names)), key=lambda i: _hash(names[i]))
        fold = np.empty(len(names), dtype=np.int64)
        fold[order] = np.arange(len(names)) % training.members
        tried = _train(rows, fold, training, seed)
        correct = rows.correct.double().numpy()
        losses = [_calibrated_losses(rows.unseen(nets, fold), correct) for nets in tried]
        best = min(losses, key=np.mean)
        margin = [(x - best).mean() - 2 * (x - best).std() / len(x) ** 0.5 for x in losses]
        nets = tried[next(i for i, value in enumerate(margin) if value <= 0)]
        made = cls(rows.reader, nets, training)
        made._calibrate(rows, fold)
        return made

    def _calibrate(self, rows: _Rows, fold: np.ndarray) -> None:
        unseen, correct = rows.unseen(self.nets, fold), rows.correct.double().numpy()
        _, logs = rows.evaluate(self.nets)
        tokens = np.exp(rows.log_tokens.double().numpy())
        self.scale = float(tokens.sum() / np.exp(logs.mean(axis=0)).sum())
        # Half of the tasks fix the temperature; the error is measured on the rest.
        half = rows.task_of.numpy() % 2 == 0
        self.temperature = temperature_of(unseen[half], correct[half])
        rest = sigmoid(unseen[~half] / self.temperature)
        self.ece = calibration_error(rest, correct[~half]) if (~half).sum() >= 20 else None

    def predict(self, task: TaskLike, hypergraphs: Sequence[Hypergraph]) -> Prediction:
        """Predict every hypergraph for one task.

        Raises
        ------
        ConfigError
            If a hypergraph is empty or seats an unknown agent.
        """
        layout = lay_out(tuple(hypergraphs))
        nodes, text = self.reader.nodes(layout.nodes), self.reader.tasks([task.question])
        logits, logs = _evaluate(
            self.nets, nodes, text, torch.zeros(len(layout), dtype=torch.long), layout
        )
        tokens = self.scale * np.exp(logs.mean(axis=0))
        return Prediction(sigmoid(logits / self.temperature), tokens)

    def save(self, path: str | PathLike[str], **extra: str) -> None:
        """Write weights as safetensors, with the rest, and `extra`, as JSON in its header."""
        path = Path(path)
        weights = {
            f"{i}.{name}": value.contiguous()
            for i, net in enumerate(self.nets)
            for name, value in net.state_dict().items()
        }
        weights |= {"reader.mean": self.reader.mean, "reader.basis": self.reader.basis}
        draft = path.with_name(f".{path.name}.part")
        # One entry: the order of several differs from process to process.
        head = {name: getattr(self, name) for name in ("temperature", "scale", "ece")}
        head |= {"texts": self.reader.texts, "training": asdict(self.training)}
        text = json.dumps({"head": head, "extra": extra}, sort_keys=True)
        save_file(weights, draft, metadata={"surrogate": text})
        draft.replace(path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> tuple[Surrogate, dict[str, str]]:
        """Read what `save` wrote.

        Returns
        -------
        surrogate : Surrogate
        extra : dict of str to str
            The further entries of the header.

        Raises
        ------
        ConfigError
            If the file cannot be used.
        """
        try:
            with safe_open(path, framework="pt") as file:
                data = json.loads((file.metadata() or {})["surrogate"])
                head, extra = data["head"], data["extra"]
                training = Training(**head["training"])
                mean, basis = file.get_tensor("reader.mean"), file.get_tensor("reader.basis")
                reader, nets = Reader(head["texts"], mean, basis, training.encoder), []
                for i in range(training.members):
                    net = SurrogateNet.for_team(reader, training.width)
                    net.load_state_dict(
                        {name: file.get_tensor(f"{i}.{name}") for name in net.state_dict()}
                    )
                    nets.append(net)
            made = cls(
                reader, nets, training,
                temperature=head["temperature"], scale=head["scale"], ece=head["ece"],
            )  # fmt: skip
        except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"cannot use the surrogate in {path}: {error}") from error
        return made, extra


@dataclass(frozen=True)
class _Rows:
    """A log as tensors; B outcomes."""

    reader: Reader
    nodes: Tensor
    tasks: Tensor
    layout: Layout
    graph_of: Tensor
    task_of: Tensor
    correct: Tensor
    log_tokens: Tensor

    @classmethod
    def of(
        cls,
        outcomes: Sequence[Outcome],
        names: Sequence[str],
        tasks: Mapping[str, TaskLike],
        agents: Sequence[AgentLike],
        encoder: str,
    ) -> _Rows:
        questions = [tasks[name].question for name in names]
        reader = Reader.fit(questions, agents, encoder)
        graphs: dict[str, Hypergraph] = {}
        for outcome in outcomes:
            graphs.setdefault(outcome.hypergraph.digest(), outcome.hypergraph)
        layout = lay_out(tuple(graphs.values()))
        graph_of = {digest: i for i, digest in enumerate(graphs)}
        task_of = {name: i for i, name in enumerate(names)}
        return cls(
            reader,
            reader.nodes(layout.nodes),
            reader.tasks(questions),
            layout,
            torch.tensor([graph_of[o.hypergraph.digest()] for o in outcomes]),
            torch.tensor([task_of[o.task] for o in outcomes]),
            torch.tensor([o.correct for o in outcomes], dtype=torch.float32),
            torch.tensor([o.tokens for o in outcomes], dtype=torch.float32).log(),
        )

    def evaluate(self, nets: Sequence[SurrogateNet]) -> tuple[np.ndarray, np.ndarray]:
        """Logits and logarithms of tokens of all outcomes, each of shape (M, B)."""
        layout = self.layout.take(self.graph_of)
        return _evaluate(nets, self.nodes, self.tasks, self.task_of, layout)

    def unseen(self, nets: Sequence[SurrogateNet], fold: np.ndarray) -> np.ndarray:
        """Logit of each outcome by the network that has not seen its task, shape (B,)."""
        logits, _ = self.evaluate(nets)
        return logits[fold[self.task_of.numpy()], np.arange(logits.shape[1])]


def _evaluate(
    nets: Sequence[SurrogateNet], nodes: Tensor, tasks: Tensor, task_of: Tensor, layout: Layout
) -> tuple[np.ndarray, np.ndarray]:
    """Logits and logarithms of tokens, each of shape (M, R), float64."""
    with torch.no_grad():
        pairs = [net(nodes, tasks, task_of, layout) for net in nets]
    logits, logs = (torch.stack(side).double().numpy() for side in zip(*pairs, strict=True))
    return logits, logs


def _train(
    rows: _Rows, fold: np.ndarray, training: Training, seed: int
) -> list[list[SurrogateNet]]:
    """The networks of each precision; network m never sees a task of fold m.

    All are trained at once, on the same batches, with their weights stacked: the tensors are so
    small that the number of operations is what takes the time.
    """
    with torch.random.fork_rng(devices=[]):
        members = []
        for member in range(training.members):
            torch.manual_seed(seed * 1009 + member)
            members.append(SurrogateNet.for_team(rows.reader, training.width))
            with torch.no_grad():
                members[-1].tokens[-1].bias.copy_(rows.log_tokens.mean())
        precisions = sorted(training.precisions)
        nets = [deepcopy(net) for _ in precisions for net in members]
        weights, _ = torch.func.stack_module_state(nets)
        which = torch.arange(training.members).repeat(len(precisions))
        seen = torch.from_numpy(fold)[rows.task_of] != which[:, None]
        strength = torch.tensor(precisions).repeat_interleave(training.members)
        strength = strength / (2 * seen.sum(dim=1))
        _descend(rows, weights, nets[0], seen, strength, training)
    for i, net in enumerate(nets):
        net.load_state_dict({name: value[i].detach() for name, value in weights.items()})
        net.eval()
    step = training.members
    return [nets[i : i + step] for i in range(0, len(nets), step)]


def _descend(
    rows: _Rows,
    weights: dict[str, Tensor],
    shape: SurrogateNet,
    seen: Tensor,
    strength: Tensor,
    training: Training,
) -> None:
    """Change stacked weights so that each network fits the outcomes in its row of `seen`."""
    optimizer = torch.optim.Adam(weights.values(), training.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, training.steps)
    # Only what reads text has more weights than the log has outcomes.
    start = {name: weights[name].detach().clone() for name in ("agent.weight", "need.weight")}
    order, at = torch.randperm(len(rows.correct)), 0
    for _ in range(training.steps):
        if at >= len(order):
            order, at = torch.randperm(len(order)), 0
        picked = order[at : at + training.batch]
        at += training.batch
        inputs = (
            rows.nodes, rows.tasks, rows.task_of[picked], rows.layout.take(rows.graph_of[picked])
        )  # fmt: skip
        logit, logs = torch.func.vmap(
            lambda own, inputs=inputs: torch.func.functional_call(shape, own, inputs)
        )(weights)
        correct, tokens = rows.correct[picked], rows.log_tokens[picked]
        losses = nn.functional.softplus(logit) - correct * logit + (logs - tokens) ** 2
        here = seen[:, picked]
        loss = ((losses * here).sum(dim=1) / here.sum(dim=1).clamp_min(1)).sum()
        for name, value in start.items():
            loss = loss + (strength * ((weights[name] - value) ** 2).sum(dim=(1, 2))).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def _calibrated_losses(logits: np.ndarray, correct: np.ndarray) -> np.ndarray:
    return log_losses(logits / temperature_of(logits, correct), correct)


def _hash(name: str) -> bytes:
    """Equal in all processes, unlike Python's own."""
    return hashlib.blake2b(name.encode(), digest_size=8).digest()
