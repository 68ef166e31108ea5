"""REINFORCE as the peers use it: few executions, plain rewards, Adam."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hypergraph
from hyperagent.topology.design import TaskLike
from hyperagent.topology.objective import policy_loss
from hyperagent.topology.outcomes import Execute

MOMENTUM = 0.9
"""Of the moving average of rewards."""


@dataclass(frozen=True)
class Training:
    """What a training took.

    Attributes
    ----------
    rewards : tuple of float
        Mean reward of each batch, in [0, 1].
    episodes : int
        Executions.
    tokens : float
        Prompt and completion tokens of all of them.
    """

    rewards: tuple[float, ...]
    episodes: int
    tokens: float


@dataclass(frozen=True)
class Draw:
    """A topology that was drawn for training.

    Attributes
    ----------
    hypergraph : Hypergraph
    log_prob : Tensor, scalar
        Differentiable in the parameters.
    penalty : Tensor, scalar, or None
        Added to the loss.
    """

    hypergraph: Hypergraph
    log_prob: Tensor
    penalty: Tensor | None = None


def task_order(tasks: Sequence[TaskLike], seed: int) -> Iterable[TaskLike]:
    """All tasks in a random order, then all in another one, without end.

    Raises
    ------
    ConfigError
        If there is no task.
    """
    if not tasks:
        raise ConfigError("training needs at least one task, got none")

    def endless() -> Iterable[TaskLike]:
        for epoch in count():
            yield from random.Random(f"tasks {seed} {epoch}").sample(list(tasks), len(tasks))

    return endless()


def reinforce(
    draw: Callable[[TaskLike, int], Draw],
    parameters: Iterable[Tensor],
    tasks: Sequence[TaskLike],
    execute: Execute,
    *,
    episodes: int,
    seed: int,
    lr: float,
    batch: int = 4,
    samples: int = 1,
    baseline: bool = False,
) -> Training:
    """Ascend the expected reward; the reward is correctness alone, as the peers have it.

    Parameters
    ----------
    draw : callable of (task, seed) to Draw
    parameters : iterable of Tensor
        Changed in place.
    tasks : sequence of TaskLike
    execute : Execute
    episodes : int
        Executions. A last batch that they do not fill is left out.
    seed : int
    lr : float
        Of Adam.
    batch : int
        Tasks of a step.
    samples : int
        Topologies of a task.
    baseline : bool
        Subtract a moving average of the rewards of earlier batches.

    Raises
    ------
    ConfigError
        If there is no task, or fewer episodes than a batch takes.

    References
    ----------
    Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement
    learning", Machine Learning 8, 1992.
    """
    each = batch * samples
    if episodes < each:
        raise ConfigError(f"training needs at least {each} episodes, one batch, got {episodes}")
    optimizer = torch.optim.Adam(list(parameters), lr=lr)
    order = iter(task_order(tasks, seed))
    average, tokens, means = 0.0, 0.0, []
    for step in range(episodes // each):
        draws, rewards = [], []
        for place in range(batch):
            task = next(order)
            for sample in range(samples):
                number = (step * batch + place) * samples + sample
                # Every episode has a seed of its own, unless two trainings share one.
                draws.append(draw(task, seed * 1_000_003 + number))
                outcome = execute(task, draws[-1].hypergraph, seed * 1_000_003 + number)
                rewards.append(outcome.correct)
                tokens += outcome.tokens
        values = torch.tensor(rewards, dtype=torch.float64)
        loss = policy_loss(torch.stack([d.log_prob for d in draws]), values - average)
        penalties = [d.penalty for d in draws if d.penalty is not None]
        if penalties:
            loss = loss + torch.stack(penalties).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        means.append(values.mean().item())
        if baseline:
            average = means[0] if step == 0 else MOMENTUM * average + (1 - MOMENTUM) * means[-1]
    return Training(tuple(means), len(means) * each, tokens)
