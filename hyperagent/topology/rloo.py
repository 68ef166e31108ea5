"""Reinforcement learning of a designer on its own hypergraphs, with a leave-one-out baseline.

Every step draws several hypergraphs for each of a few tasks, learns what they are worth, and makes
the better ones more probable. Executions are dear, so with a surrogate only one draw in five is
executed and the rest is predicted; the executed ones correct the prediction without bias.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hypergraph
from hyperagent.topology.design import AgentLike, TaskLike
from hyperagent.topology.objective import (
    credit_loss,
    dual_ascent,
    edge_credit,
    policy_loss,
    rloo_advantages,
)
from hyperagent.topology.outcomes import Execute, Outcome
from hyperagent.topology.slots import SlotDistribution, log_probs
from hyperagent.topology.surrogate import Surrogate
from hyperagent.topology.threads import one_thread
from hyperagent.topology.vae import VaeDesigner

Report = Callable[[int, dict[str, float]], None]
"""Called once a step with its number and its figures."""

EXECUTED = 5
"""With a surrogate, one draw of this many is executed."""


@dataclass(frozen=True)
class Reinforcement:
    """How a designer is reinforced.

    Parameters
    ----------
    batch : int
        Tasks a step, fewer where the executions do not reach; with a surrogate five times as
        many, so that a step costs the same.
    rate : float
        Learning rate of Adam.
    credit : float
        Weight of the per-edge credit (`objective.credit_loss`), >= 0; 0 leaves the gradient
        unbiased.
    dual_step : float
        Step of the price where a budget is given.

    Raises
    ------
    ConfigError
        If a number is out of range.
    """

    batch: int = 10
    rate: float = 1e-4
    credit: float = 0.2
    dual_step: float = 0.02

    def __post_init__(self) -> None:
        if self.batch < 1 or not (0 < self.rate < math.inf and 0 < self.dual_step < math.inf):
            raise ConfigError(
                "reinforcement: a batch >= 1, a rate > 0 and a dual step > 0 are needed, got "
                f"{self.batch!r}, {self.rate!r} and {self.dual_step!r}"
            )
        if not 0 <= self.credit < math.inf:
            raise ConfigError(f"reinforcement: credit must be at least 0, got {self.credit!r}")


def rloo(
    designer: VaeDesigner,
    tasks: Sequence[TaskLike],
    agents: Sequence[AgentLike],
    execute: Execute,
    executions: int,
    *,
    price: float,
    scale: float,
    samples: int = 4,
    surrogate: Surrogate | None = None,
    budget_tokens: float | None = None,
    training: Reinforcement | None = None,
    seed: int = 0,
    report: Report | None = None,
) -> tuple[Outcome, ...]:
    r"""Raise the mean of ``correct - price * tokens / scale`` by policy gradient.

    Each draw has its own plan, whose noise no parameter moves, so that the score of the groups
    given the plan is the whole gradient. With a surrogate the reward of a draw is

    :math:`R = \hat u + \frac{E}{p} (u - \hat u)`,

    where `E` says whether it was executed and `p` = 1/5 is the probability of that: its mean is
    that of `u` whatever the surrogate says (the doubly robust estimator), and so for the tokens.

    Parameters
    ----------
    designer : VaeDesigner
        Its network is changed in place.
    tasks : sequence of TaskLike
        A random order of them again and again.
    agents : sequence of AgentLike
    execute : Execute
        Gets a new seed each time. Sharing equal calls is its business.
    executions : int
        Most executions.
    price, scale : float
        Correctness that `scale` tokens are worth. With a budget, the price at the start.
    samples : int
        Hypergraphs a task and step, at least 2.
    surrogate : Surrogate, optional
        Without one every draw is executed.
    budget_tokens : float, optional
        Mean tokens of a task; the price rises while they are exceeded and falls while they are
        not.
    training : Reinforcement, optional
    seed : int
        With an `execute` that is a function of its arguments, equal arguments give equal weights.
    report : callable, optional
        Gets the step and its ``reward`` (at the price of the step), ``tokens``, ``price`` and
        ``executions``.

    Returns
    -------
    tuple of Outcome
        All executions in order.

    Raises
    ------
    ConfigError
        If the executions do not reach for one task, or a number is out of range.

    References
    ----------
    Kool, van Hoof and Welling, ICLR 2019 workshop (leave-one-out baseline); Dudik, Langford and
    Li, "Doubly robust policy evaluation and learning", ICML 2011, eq. 2.
    """
    training = training or Reinforcement()
    if samples < 2 or not tasks or executions < samples:
        raise ConfigError(
            "reinforcement needs tasks, at least 2 samples a task and as many executions, got "
            f"{len(tasks)}, {samples} and {executions}"
        )
    batch = min(training.batch, executions // samples)
    spent = batch * samples
    batch *= 1 if surrogate is None else EXECUTED
    if not (0 <= price < math.inf and 0 < scale < math.inf):
        raise ConfigError(f"price >= 0 and scale > 0 are needed, got {price!r} and {scale!r}")
    team, rows = designer.known(agents), designer.task_rows(tasks)
    optimizer = torch.optim.Adam(designer.net.parameters(), training.rate)
    generator = torch.Generator().manual_seed(seed)
    queue: list[int] = []
    done: list[Outcome] = []
    for step in range(executions // spent):
        while len(queue) < batch:
            queue += torch.randperm(len(tasks), generator=generator).tolist()
        asked, queue = queue[:batch], queue[batch:]
        each = [i for i in asked for _ in range(samples)]
        noise = torch.randn(len(each), designer.net.latent, generator=generator)
        with one_thread():
            policies = designer.policies(team, rows[each], noise)
        graphs = [policy.sample(generator) for policy in policies]
        real = torch.randperm(len(each), generator=generator)[:spent].sort().values.tolist()
        # An execution may need its threads.
        outcomes = [
            execute(tasks[each[i]], graphs[i], _seed(seed, len(done) + n))
            for n, i in enumerate(real)
        ]
        done += outcomes
        with one_thread():
            correct, tokens = _valued(
                [tasks[i] for i in asked], graphs, surrogate, dict(zip(real, outcomes, strict=True))
            )
            costs = tokens.view(batch, samples) / scale
            advantages = rloo_advantages(correct.view(batch, samples), costs, price=price)
            loss = policy_loss(log_probs(policies, graphs).view(batch, samples), advantages)
            if training.credit:
                loss = loss + training.credit * _credits(policies, graphs, advantages) / len(each)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(designer.net.parameters(), 1.0)
            optimizer.step()
        mean = tokens.mean().item()
        if report is not None:
            reward = correct.mean().item() - price * mean / scale
            figures = {"reward": reward, "tokens": mean, "price": price}
            report(step, {**figures, "executions": float(len(done))})
        if budget_tokens is not None:
            price = dual_ascent(price, mean, budget_tokens, training.dual_step)
    return tuple(done)


def _valued(
    asked: Sequence[TaskLike],
    graphs: Sequence[Hypergraph],
    surrogate: Surrogate | None,
    real: dict[int, Outcome],
) -> tuple[Tensor, Tensor]:
    """Doubly robust correctness and tokens of each draw, shape (B K,), float64."""
    correct = torch.zeros(len(graphs), dtype=torch.float64)
    tokens = torch.zeros(len(graphs), dtype=torch.float64)
    each = len(graphs) // len(asked)
    if surrogate is not None:
        for row, task in enumerate(asked):
            here = slice(row * each, (row + 1) * each)
            predicted = surrogate.predict(task, graphs[here])
            correct[here] = torch.from_numpy(predicted.mean)
            tokens[here] = torch.from_numpy(predicted.tokens)
    weight = len(graphs) / len(real)
    for i, outcome in real.items():
        correct[i] += weight * (outcome.correct - correct[i])
        tokens[i] += weight * (outcome.tokens - tokens[i])
    return correct, tokens


def _credits(
    policies: Sequence[SlotDistribution], graphs: Sequence[Hypergraph], advantages: Tensor
) -> Tensor:
    """Sum of the credit losses; each task's credit goes to all of its policies."""
    samples = advantages.shape[1]
    total = policies[0].gate_logits.sum() * 0.0
    for row, values in enumerate(advantages):
        here = slice(row * samples, (row + 1) * samples)
        credit = edge_credit(graphs[here], values)
        for policy in policies[here]:
            total = total + credit_loss(policy, credit)
    return total


def _seed(seed: int, number: int) -> int:
    """Seed of an execution: different for each of one run, and for runs of other seeds."""
    return seed * 1_000_003 + number
