"""The training of the withdrawn paper: a policy gradient on the utility alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle, islice

import torch

from hyperagent.errors import ConfigError
from hyperagent.topology.design import AgentLike, TaskLike
from hyperagent.topology.outcomes import Execute
from hyperagent.topology.paper import PaperDesigner

SAMPLES = 10
"""Hypergraphs a question, as the descriptions have it (M)."""
RATE = 0.01
"""Learning rate of Adam; the descriptions give none."""


def paper_gradient(
    designer: PaperDesigner,
    tasks: Sequence[TaskLike],
    agents: Sequence[AgentLike],
    execute: Execute,
    executions: int,
    *,
    seed: int = 0,
    report: Callable[[int, dict[str, float]], None] | None = None,
) -> None:
    r"""Ascend :math:`\frac1M \sum_k u(a_k) \nabla \log P(G_k)`, without cost and baseline.

    Tokens have no price here: sparsity comes from the refit of the designer alone. That is how the
    paper is described, and why this policy is a rival and not the default.

    Parameters
    ----------
    designer : PaperDesigner
        Its network is changed in place.
    tasks : sequence of TaskLike
        One a step, in order.
    agents : sequence of AgentLike
    execute : Execute
    executions : int
        At least `SAMPLES`.
    seed : int
    report : callable, optional
        Gets the step, its mean ``utility`` and its mean ``tokens``.

    Raises
    ------
    ConfigError
        If the executions do not reach for one step.
    """
    if executions < SAMPLES:
        raise ConfigError(f"the paper's training needs {SAMPLES} executions, got {executions}")
    drawing = PaperDesigner(
        k=designer.k, rank=designer.rank, zeta=designer.zeta, slots=designer.slots,
        temperature=designer.temperature, anchor=designer.anchor,
    )  # fmt: skip
    drawing.net = designer.net
    optimizer = torch.optim.Adam(designer.net.parameters(), RATE)
    for step, task in enumerate(islice(cycle(tasks), executions // SAMPLES)):
        seeds = [seed * 1_000_003 + step * SAMPLES + k for k in range(SAMPLES)]
        graphs = [drawing.design(task, agents, seed=s).hypergraph for s in seeds]
        outcomes = [execute(task, graph, s) for graph, s in zip(graphs, seeds, strict=True)]
        scores = [
            outcome.correct * drawing.log_prob(task, agents, graph, seed=s)
            for outcome, graph, s in zip(outcomes, graphs, seeds, strict=True)
        ]
        optimizer.zero_grad()
        (-torch.stack(scores).mean()).backward()
        optimizer.step()
        if report is not None:
            correct = sum(outcome.correct for outcome in outcomes) / SAMPLES
            tokens = sum(outcome.tokens for outcome in outcomes) / SAMPLES
            report(step, {"utility": correct, "tokens": tokens})
