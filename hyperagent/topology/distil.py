"""Distillation: a designer learns the hypergraphs that a slow chooser found good.

Several hypergraphs may be equally good for one task. A network that predicts memberships one by
one would learn their average, which is none of them; the plan of the variational designer says
which of them is meant, and that is what it is for.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hypergraph
from hyperagent.sparsity import Linear
from hyperagent.topology.design import AgentLike, TaskLike
from hyperagent.topology.objective import (
    anchor_kl,
    group_penalty,
    kl_free_bits,
    named_penalty,
)
from hyperagent.topology.plan_net import Gaussian
from hyperagent.topology.surrogate_designer import SurrogateDesigner
from hyperagent.topology.threads import one_thread
from hyperagent.topology.vae import Imitation, Known, VaeDesigner

Targets = Sequence[tuple[Hypergraph, float]]
"""Hypergraphs that are good for one task, each with its weight > 0."""
Report = Callable[[int, dict[str, float]], None]
"""Called once a step with its number and its figures."""

_STATE = "distil.safetensors"


@dataclass(frozen=True)
class Distillation:
    """How a designer is distilled.

    Parameters
    ----------
    batch : int
        Tasks a step.
    rate : float
        Peak learning rate of Adam; one cosine to zero.
    kl, free_bits, warm_up : float
        Weight of the KL divergence of the plan, nats that a component has for nothing, and the
        share of the steps over which the weight rises from 0. Without a warm-up the plan is given
        up before the decoder has learned to listen.
    anchor : float
        Weight of the KL divergence from the anchor at the start; it falls to 5 % of that.
    cost, seat_tokens, edge_tokens : float
        Nats that an expected token costs, tokens of a seat, and tokens of a group.
    penalties : mapping
        Penalties on the soft incidence: ``"agents"`` or ``"hyperedges"`` to the name of a
        penalty of `hyperagent.sparsity` and its parameters, e.g.
        ``{"hyperedges": {"name": "cel0", "lam": 0.01}}``.

    Raises
    ------
    ConfigError
        Naming the number that is out of range.
    """

    batch: int = 32
    rate: float = 3e-3
    kl: float = 1.0
    free_bits: float = 0.1
    warm_up: float = 0.3
    anchor: float = 0.02
    cost: float = 0.0
    seat_tokens: float = 500.0
    edge_tokens: float = 0.0
    penalties: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.batch < 1 or not 0 < self.rate < math.inf or not 0 <= self.warm_up <= 1:
            raise ConfigError(
                "distillation: a batch >= 1, a rate > 0 and a warm-up in [0, 1] are needed, got "
                f"{self.batch!r}, {self.rate!r} and {self.warm_up!r}"
            )
        for name in ("kl", "free_bits", "anchor", "cost", "seat_tokens", "edge_tokens"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"distillation: {name} must be at least 0 and finite")


def good_targets(
    chooser: SurrogateDesigner,
    designer: VaeDesigner,
    tasks: Sequence[TaskLike],
    agents: Sequence[AgentLike],
    *,
    most: int = 4,
    temperature: float = 0.02,
) -> tuple[Targets, ...]:
    """What the conservative choice finds good, and nearly as good, for each task.

    Parameters
    ----------
    chooser : SurrogateDesigner
    designer : VaeDesigner
        Candidates that its slots cannot form are left out: those with phases, modes, samples of
        agents or too many groups.
    tasks : sequence of TaskLike
    agents : sequence of AgentLike
    most : int
        Hypergraphs a task.
    temperature : float
        Weights are proportional to ``exp(conservative reward / temperature)``.

    Returns
    -------
    tuple of tuples of (Hypergraph, float)
        Best first; weights sum to 1.

    Raises
    ------
    ConfigError
        If the slots can form no candidate.
    """
    team = designer.known(agents)
    open_to = [(i, g) for i, g in enumerate(chooser.candidates) if _formable(g, team)]
    if not open_to:
        raise ConfigError(f"distillation: {team.slots} slots can form none of the candidates")
    found = []
    for task in tasks:
        scores = chooser.scores(chooser.surrogate.predict(task, chooser.candidates))
        best = sorted(open_to, key=lambda pair: -scores[pair[0]])[:most]
        top = scores[best[0][0]]
        weights = [math.exp((scores[i] - top) / temperature) for i, _ in best]
        total = math.fsum(weights)
        found.append(tuple((g, w / total) for (_, g), w in zip(best, weights, strict=True)))
    return tuple(found)


@one_thread()
def distil(
    designer: VaeDesigner,
    tasks: Sequence[TaskLike],
    agents: Sequence[AgentLike],
    targets: Sequence[Targets],
    *,
    epochs: int = 30,
    training: Distillation | None = None,
    seed: int = 0,
    folder: str | PathLike[str] | None = None,
    report: Report | None = None,
) -> None:
    r"""Train a designer to draw good hypergraphs, by a weighted conditional evidence bound.

    .. math::
        \max_\phi \sum_x \sum_k w_{xk} \big( E_{q(z \mid x, T_{xk})} \log p(T_{xk} \mid z, x)
        - \beta\, KL(q(z \mid x, T_{xk}) \,\|\, p(z \mid x)) \big) - \text{penalties}.

    In every epoch each task is seen once, with one of its targets drawn by weight.

    Parameters
    ----------
    designer : VaeDesigner
        Its network is changed in place.
    tasks : sequence of TaskLike
    agents : sequence of AgentLike
        The order does not matter.
    targets : sequence, one for each task, of (Hypergraph, weight)
        A task needs one at least that the slots can form.
    epochs : int
    training : Distillation, optional
    seed : int
        Equal arguments give equal weights, byte for byte.
    folder : path, optional
        Where the state is kept after every epoch, and taken up from.
    report : callable, optional
        Gets the step and its ``loss``, ``log_prob`` and ``kl``, in nats.

    Raises
    ------
    ConfigError
        If there is nothing to learn from, a target cannot be formed, or the state in `folder` is of
        another run.

    References
    ----------
    Sohn, Lee and Yan, NeurIPS 2015, eq. 4, with weights.
    """
    training = training or Distillation()
    if len(tasks) != len(targets) or not tasks or epochs < 1:
        raise ConfigError(
            "distillation needs tasks, the targets of each and at least one epoch, got "
            f"{len(tasks)} tasks, targets of {len(targets)} and {epochs} epochs"
        )
    team, rows = designer.known(agents), designer.task_rows(tasks)
    chances = _chances(team, tasks, targets)
    optimizer = torch.optim.Adam(designer.net.parameters(), training.rate)
    run = _Run(designer, team, training, targets, epochs * -(-len(tasks) // training.batch))
    state = None if folder is None else Path(folder) / _STATE
    print_ = _fingerprint(tasks, targets, team, training, epochs, seed)
    start = 0 if state is None else _resume(state, designer, optimizer, print_)
    for epoch in range(start, epochs):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order = torch.randperm(len(tasks), generator=generator).split(training.batch)
        for number, picked in enumerate(order):
            step = epoch * len(order) + number
            which = [int(torch.multinomial(chances[i], 1, generator=generator)) for i in picked]
            graphs = [targets[i][k][0] for i, k in zip(picked.tolist(), which, strict=True)]
            noise = torch.randn(len(graphs), designer.net.latent, generator=generator)
            figures = run.step(optimizer, step, rows[picked], graphs, noise)
            if report is not None:
                report(step, figures)
        if state is not None:
            _keep(state, designer, optimizer, print_, epoch + 1)


@dataclass(frozen=True)
class _Run:
    """What stays the same from step to step."""

    designer: VaeDesigner
    team: Known
    training: Distillation
    targets: Sequence[Targets]
    steps: int

    def step(
        self,
        optimizer: torch.optim.Optimizer,
        step: int,
        rows: Tensor,
        graphs: Sequence[Hypergraph],
        noise: Tensor,
    ) -> dict[str, float]:
        """One step of Adam on a batch."""
        how = self.training
        warm = Linear(0.0, how.kl, max(1, round(how.warm_up * self.steps))) if how.warm_up else None
        # The posterior reads hypergraphs of one number of groups at a time.
        counts = [len(g.canonical().edges) for g in graphs]
        log_prob, penalty, kls = rows.new_zeros((), dtype=torch.float64), 0.0, []
        for count in sorted(set(counts)):
            mine = [i for i, c in enumerate(counts) if c == count]
            seen = self.designer.imitations(
                self.team, rows[mine], [graphs[i] for i in mine], noise[mine]
            )
            log_prob = log_prob + seen.log_prob.sum() / len(graphs)
            kls.append((seen.posterior, seen.prior))
            penalty = penalty + self._penalty(step, seen) / len(graphs)
        q, p = (_joined([pair[side] for pair in kls]) for side in (0, 1))
        kl = kl_free_bits(q, p, how.free_bits)
        loss = (how.kl if warm is None else warm(step)) * kl - log_prob + penalty
        for group in optimizer.param_groups:
            group["lr"] = how.rate * 0.5 * (1 + math.cos(math.pi * step / self.steps))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.designer.net.parameters(), 1.0)
        optimizer.step()
        return {"loss": loss.item(), "log_prob": log_prob.item(), "kl": kl.item()}

    def _penalty(self, step: int, seen: Imitation) -> Tensor | float:
        how, total = self.training, 0.0
        weight = Linear(how.anchor, 0.05 * how.anchor, self.steps)(step) if how.anchor else 0.0
        anchored = self.designer.anchored(self.team)
        for policy in seen.policies:
            if weight:
                total = total + weight * anchor_kl(policy, anchored)
            if how.cost:
                total = total + how.cost * policy.expected_tokens(how.edge_tokens, how.seat_tokens)
            for over, parameters in how.penalties.items():
                total = total + group_penalty(policy, named_penalty(**parameters), over)
        return total


def _joined(parts: Sequence[Gaussian]) -> Gaussian:
    return Gaussian(*(torch.cat(side) for side in zip(*parts, strict=True)))


def _formable(graph: Hypergraph, team: Known) -> bool:
    plain = all(edge.phase == 0 and edge.mode == "discuss" for edge in graph.edges)
    fits = 1 <= len(graph.canonical().edges) <= team.slots
    return plain and fits and set(graph.nodes) == set(team.names)


def _chances(team: Known, tasks: Sequence[TaskLike], targets: Sequence[Targets]) -> list[Tensor]:
    """Probabilities of the targets of each task."""
    found = []
    for task, pairs in zip(tasks, targets, strict=True):
        weights = [weight for _, weight in pairs]
        if not weights or not all(0 < weight < math.inf for weight in weights):
            raise ConfigError(f"the targets of {task.id!r} need weights > 0, got {weights}")
        if not all(_formable(graph, team) for graph, _ in pairs):
            raise ConfigError(
                f"a target of {task.id!r} cannot be formed: it must be over the agents of the team "
                f"and have 1 to {team.slots} groups in mode discuss and one phase"
            )
        found.append(torch.tensor(weights, dtype=torch.float64))
    return found


def _fingerprint(
    tasks: Sequence[TaskLike],
    targets: Sequence[Targets],
    team: Known,
    training: Distillation,
    epochs: int,
    seed: int,
) -> str:
    """Hash of all that a run depends on, but the weights at its start."""
    pairs = [[[graph.digest(), weight] for graph, weight in some] for some in targets]
    asked = [[task.id, task.question] for task in tasks]
    said = [asked, pairs, team.names, team.slots, asdict(training), epochs, seed]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _keep(
    path: Path, designer: VaeDesigner, optimizer: torch.optim.Adam, run: str, epoch: int
) -> None:
    names = {parameter: name for name, parameter in designer.net.named_parameters()}
    state = {f"net.{name}": t.contiguous() for name, t in designer.net.state_dict().items()}
    for parameter, values in optimizer.state.items():
        for key, value in values.items():
            state[f"adam.{key}.{names[parameter]}"] = value.contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    save_file(state, draft, metadata={"state": json.dumps({"run": run, "epoch": epoch})})
    draft.replace(path)


def _resume(path: Path, designer: VaeDesigner, optimizer: torch.optim.Adam, run: str) -> int:
    """Take up the state of an earlier call, if there is one; the epochs that are done."""
    if not path.exists():
        return 0
    try:
        with safe_open(path, framework="pt") as file:
            meta = json.loads((file.metadata() or {})["state"])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ConfigError(f"distillation: cannot read the state in {path}: {error}") from error
    if meta["run"] != run:
        raise ConfigError(
            f"distillation: the state in {path} is of a run with other tasks, targets or options; "
            "choose another folder"
        )
    designer.net.load_state_dict(
        {name[4:]: value for name, value in state.items() if name.startswith("net.")}
    )
    for name, parameter in designer.net.named_parameters():
        optimizer.state[parameter] = {
            key: state[f"adam.{key}.{name}"] for key in ("step", "exp_avg", "exp_avg_sq")
        }
    return meta["epoch"]
