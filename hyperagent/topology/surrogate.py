"""A calibrated ensemble that predicts the success and the tokens of a hypergraph on a task."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from scipy.optimize import minimize_scalar
from torch import Tensor

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hypergraph
from hyperagent.topology.design import AgentLike, TaskLike
from hyperagent.topology.outcomes import Outcome
from hyperagent.topology.surrogate_net import Layout, Reader, SurrogateNet, lay_out


@dataclass(frozen=True)
class Training:
    """How a surrogate is trained.

    Parameters
    ----------
    members : int
        Networks of the ensemble, each on a bootstrap sample of the tasks.
    width : int
        Of the hidden layers.
    steps, batch : int
        Steps of AdamW, and outcomes a step.
    rate, decay : float
        Peak learning rate (one cosine to zero) and weight decay.
    held_out : float
        Share of the tasks, by hash of their ids, for calibration.
    """

    members: int = 5
    width: int = 32
    steps: int = 600
    batch: int = 128
    rate: float = 0.02
    decay: float = 2.0
    held_out: float = 0.15

    def __post_init__(self) -> None:
        for name in ("members", "width", "steps", "batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"training: {name} must be at least 1")
        if not 0 < self.held_out < 1:
            raise ConfigError(f"training: held_out must lie in (0, 1), got {self.held_out!r}")


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
        """Standard deviation between the networks, shape (C,)."""
        return self.members.std(axis=0)


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
        rows = _Rows.of(outcomes, names, tasks, agents)
        shares = np.array([_share(name) for name in names])
        held = shares < max(training.held_out, float(np.sort(shares)[1]) + 1e-12)
        nets = []
        with torch.random.fork_rng(devices=[]):
            for member in range(training.members):
                torch.manual_seed(seed * 1009 + member)
                nets.append(_train(rows, np.flatnonzero(~held), training, seed * 1009 + member))
        made = cls(rows.reader, nets, training)
        made._calibrate(rows, held)
        return made

    def _calibrate(self, rows: _Rows, held: np.ndarray) -> None:
        number = rows.task_of.numpy()
        picked = np.flatnonzero(held[number])
        logits, logs = rows.evaluate(self.nets, torch.from_numpy(picked))
        correct = rows.correct.numpy()[picked].astype(np.float64)
        tokens = np.exp(rows.log_tokens.numpy()[picked].astype(np.float64))
        self.scale = float(tokens.sum() / np.exp(logs.mean(axis=0)).sum())
        # Every other held-out task fixes the temperature; the error is measured on the rest.
        rank = np.cumsum(held) - 1
        even = rank[number[picked]] % 2 == 0
        self.temperature = _temperature(logits[:, even], correct[even])
        rest = _sigmoid(logits[:, ~even] / self.temperature).mean(axis=0)
        self.ece = calibration_error(rest, correct[~even]) if (~even).sum() >= 20 else None

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
        return Prediction(_sigmoid(logits / self.temperature), tokens)

    def header(self) -> str:
        """All but the weights, as JSON."""
        return json.dumps(
            {
                "texts": self.reader.texts,
                "training": asdict(self.training),
                "temperature": self.temperature,
                "scale": self.scale,
                "ece": self.ece,
            },
            sort_keys=True,
        )

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
        save_file(weights, draft, metadata={"surrogate": self.header(), **extra})
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
                extra = dict(file.metadata() or {})
                head = json.loads(extra.pop("surrogate"))
                training = Training(**head["training"])
                mean, basis = file.get_tensor("reader.mean"), file.get_tensor("reader.basis")
                reader, nets = Reader(head["texts"], mean, basis), []
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


def calibration_error(predicted: np.ndarray, correct: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error over bins of equal count.

    Parameters
    ----------
    predicted, correct : ndarray, shape (n,)
        Probabilities, and outcomes in [0, 1].
    bins : int

    Notes
    -----
    Guo et al., ICML 2017, equation 3, with bins of equal count, which leave no bin empty. It is
    above 0 even for perfect predictions, by about the standard error of a bin.
    """
    order = np.argsort(predicted, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    gaps = [len(p) * abs(predicted[p].mean() - correct[p].mean()) for p in parts]
    return float(sum(gaps) / len(predicted))


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
    ) -> _Rows:
        questions = [tasks[name].question for name in names]
        reader = Reader.fit(questions, agents)
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

    def evaluate(
        self, nets: Sequence[SurrogateNet], picked: Tensor
    ) -> tuple[np.ndarray, np.ndarray]:
        layout = self.layout.take(self.graph_of[picked])
        return _evaluate(nets, self.nodes, self.tasks, self.task_of[picked], layout)


def _evaluate(
    nets: Sequence[SurrogateNet], nodes: Tensor, tasks: Tensor, task_of: Tensor, layout: Layout
) -> tuple[np.ndarray, np.ndarray]:
    """Logits and logarithms of tokens, each of shape (M, R), float64."""
    with torch.no_grad():
        pairs = [net(nodes, tasks, task_of, layout) for net in nets]
    logits, logs = (torch.stack(side).double().numpy() for side in zip(*pairs, strict=True))
    return logits, logs


def _train(rows: _Rows, fitted: np.ndarray, training: Training, seed: int) -> SurrogateNet:
    """One network on a bootstrap sample of the tasks in `fitted`."""
    draw = np.random.default_rng(seed)
    copies = np.bincount(draw.choice(fitted, len(fitted)), minlength=len(rows.tasks))
    sample = torch.from_numpy(np.repeat(np.arange(len(rows.task_of)), copies[rows.task_of.numpy()]))
    net = SurrogateNet.for_team(rows.reader, training.width)
    mean = rows.log_tokens.mean()
    with torch.no_grad():
        net.tokens[-1].bias.copy_(mean)
    # Only what reads text has more weights than the log has outcomes.
    wide = [net.agent.weight, net.need.weight]
    narrow = [value for value in net.parameters() if all(value is not other for other in wide)]
    optimizer = torch.optim.AdamW(
        [{"params": wide, "weight_decay": training.decay}, {"params": narrow, "weight_decay": 0.0}],
        training.rate,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, training.steps)
    order, at = torch.randperm(len(sample)), 0
    for _ in range(training.steps):
        if at >= len(order):
            order, at = torch.randperm(len(sample)), 0
        picked = sample[order[at : at + training.batch]]
        at += training.batch
        layout = rows.layout.take(rows.graph_of[picked])
        logit, logs = net(rows.nodes, rows.tasks, rows.task_of[picked], layout)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logit, rows.correct[picked])
        loss = loss + torch.nn.functional.mse_loss(logs, rows.log_tokens[picked])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval()


def _temperature(logits: np.ndarray, correct: np.ndarray) -> float:
    """The temperature in [0.2, 5] of least log loss of the ensemble's mean."""

    def loss(log_temperature: float) -> float:
        p = _sigmoid(logits / np.exp(log_temperature)).mean(axis=0).clip(1e-6, 1 - 1e-6)
        return float(-(correct * np.log(p) + (1 - correct) * np.log(1 - p)).mean())

    bound = float(np.log(5.0))
    return float(np.exp(minimize_scalar(loss, bounds=(-bound, bound), method="bounded").x))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _share(name: str) -> float:
    """A number in [0, 1) from the hash of a name, equal in all processes."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") / 2**64
