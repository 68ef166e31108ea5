"""Which executions to pay for: a race of the portfolio, parts of its winner, the best guesses."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hypergraph
from hyperagent.topology.candidates import sub_hypergraphs
from hyperagent.topology.design import TaskLike
from hyperagent.topology.outcomes import Execute, Objective, Outcome

if TYPE_CHECKING:
    from hyperagent.topology.surrogate import Surrogate


@dataclass(frozen=True)
class Race:
    """The best fixed topology and what it cost to find it.

    Attributes
    ----------
    best : str
        Name in the portfolio.
    outcomes : tuple of Outcome
        All executions.
    """

    best: str
    outcomes: tuple[Outcome, ...]


def race(
    graphs: Mapping[str, Hypergraph],
    tasks: Sequence[TaskLike],
    execute: Execute,
    executions: int,
    *,
    price: float,
    scale: float,
    objective: Objective = "tokens",
    seed: int = 0,
) -> Race:
    """Find the fixed topology of the largest mean reward by sequential halving.

    In every round the survivors run on the same tasks and the better half of them stays (Karnin,
    Koren and Somekh, ICML 2013).

    Parameters
    ----------
    graphs : mapping of str to Hypergraph
        The portfolio.
    tasks : sequence of TaskLike
        Used in order, from the start again when they run out.
    execute : Execute
    executions : int
        Most executions; at least one a topology and round.
    price, scale : float
        Reward is ``correct - price * cost / scale``.
    objective : {"tokens", "dollars"}
        What costs.
    seed : int
        Of the executions.

    Raises
    ------
    ConfigError
        If the executions do not reach for one round, or there is nothing to run.
    """
    rounds = max(1, (len(graphs) - 1).bit_length())
    if not graphs or not tasks or executions < len(graphs) * rounds:
        raise ConfigError(
            f"a race of {len(graphs)} topologies needs tasks and at least "
            f"{len(graphs) * rounds} executions, got {len(tasks)} and {executions}"
        )
    alive = list(graphs)
    rewards: dict[str, list[float]] = {name: [] for name in graphs}
    done: list[Outcome] = []
    supply = cycle(tasks)
    for _ in range(rounds):
        for task in islice(supply, executions // rounds // len(alive)):
            for name in alive:
                outcome = execute(task, graphs[name], seed + len(done))
                rewards[name].append(outcome.reward(price, scale, objective))
                done.append(outcome)
        alive.sort(key=lambda name: -sum(rewards[name]) / len(rewards[name]))
        alive = alive[: max(1, (len(alive) + 1) // 2)]
    return Race(alive[0], tuple(done))


def explore(
    anchor: Hypergraph,
    tasks: Sequence[TaskLike],
    execute: Execute,
    executions: int,
    *,
    size: int | None = None,
    seed: int = 0,
) -> tuple[Outcome, ...]:
    """Run random parts of an anchor, one a task.

    Benching one of many tells most: where several are benched a failure does not say which of
    them was missed, and the whole anchor says nothing about anybody. So b of n seats are benched
    with probability proportional to ``2 ** -b``, b from 1 to n - 1.

    Parameters
    ----------
    anchor : Hypergraph
    tasks : sequence of TaskLike
        Used in order, from the start again when they run out: many tasks teach more than many
        executions of one.
    execute : Execute
    executions : int
    size : int, optional
        Most seats of a part; None: all.
    seed : int
    """
    by_size: dict[int, list[Hypergraph]] = {}
    for graph in sub_hypergraphs(anchor, size):
        by_size.setdefault(len(graph.seated()), []).append(graph)
    n = len(anchor.seated())
    if n > 1:
        del by_size[n]
    weights = [2.0 ** (k - n) for k in by_size]
    draw = random.Random(f"explore {seed}")
    done = []
    for i, task in enumerate(islice(cycle(tasks), executions)):
        (k,) = draw.choices(list(by_size), weights)
        done.append(execute(task, draw.choice(by_size[k]), seed + i))
    return tuple(done)


def follow(
    surrogate: Surrogate,
    graphs: Sequence[Hypergraph],
    tasks: Sequence[TaskLike],
    execute: Execute,
    executions: int,
    *,
    price: float,
    scale: float,
    seed: int = 0,
) -> tuple[Outcome, ...]:
    """Run for each task the hypergraph that one network of a first surrogate likes best.

    The networks take turns, so that what they disagree on is tried, and where the best choice lies
    is learned most about: Thompson sampling with an ensemble (Lu and Van Roy, NeurIPS 2017).

    Parameters
    ----------
    surrogate : Surrogate
        Fitted to the executions so far.
    graphs : sequence of Hypergraph
        To choose from.
    tasks : sequence of TaskLike
        Used in order, from the start again when they run out.
    execute : Execute
    executions : int
    price, scale : float
        Reward is ``correct - price * tokens / scale``.
    seed : int
        Of the executions.
    """
    done = []
    for i, task in enumerate(islice(cycle(tasks), executions)):
        predicted = surrogate.predict(task, graphs)
        member = predicted.members[i % len(predicted.members)]
        best = int((member - price * predicted.tokens / scale).argmax())
        done.append(execute(task, graphs[best], seed + i))
    return tuple(done)
