"""What is learned before the reported questions are touched: reliabilities and a threshold.

Agents are asked alone on the training part, and the threshold of the anytime stop is chosen on
the validation part. Both are ordinary samples of the run folder, whose rows begin with ``@``, so
they are resumed, paid and counted like all others and reported as the price of learning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hyperagent.bench.samples import CALIBRATION, Item
from hyperagent.hypergraph import Hyperedge, Hypergraph
from hyperagent.tasks import Task
from hyperagent.team import Team

THRESHOLDS = (0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
"""Thresholds of the anytime stop that are tried."""


def agent_items(team: Team, tasks: Sequence[Task]) -> list[Item]:
    """Every agent alone on every task, seed 0; the row of agent ``ann`` is ``@agent ann``."""
    nodes = tuple(team.agents)
    return [
        Item(
            f"{CALIBRATION}agent {name}",
            0,
            task,
            team.with_topology(Hypergraph(nodes, (Hyperedge((name,)),))),
        )
        for name in nodes
        for task in tasks
    ]


def reliabilities(team: Team, samples: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Probability that each agent is right, from the samples of `agent_items`.

    The posterior mean under a uniform prior, Beta(1, 1): (right + 1) / (asked + 2), so that few
    questions never make an agent infallible. Six digits are kept.
    """
    found = {}
    for name in team.agents:
        row = f"{CALIBRATION}agent {name}"
        verdicts = [s["correct"] for s in samples.values() if _counts(s, row)]
        found[name] = round((sum(verdicts) + 1) / (len(verdicts) + 2), 6)
    return found


def threshold_items(team: Team, tasks: Sequence[Task]) -> list[Item]:
    """The team with every threshold and without the stop, on every task, seed 0."""
    return [
        Item(_threshold_row(threshold), 0, task, team.with_routing(anytime=threshold))
        for threshold in (None, *THRESHOLDS)
        for task in tasks
    ]


def choose_threshold(samples: Mapping[str, Mapping[str, Any]]) -> float | None:
    """The cheapest threshold that loses no accuracy, from the samples of `threshold_items`.

    Returns
    -------
    float or None
        None, which is no stop at all, if every threshold loses accuracy.
    """
    reference = _mean(samples, None)
    able = {t: _mean(samples, t) for t in THRESHOLDS}
    good = [t for t in THRESHOLDS if able[t][0] >= reference[0] and able[t][1] < reference[1]]
    return min(good, key=lambda t: (able[t][1], -able[t][0]), default=None)


def spent(samples: Iterable[Mapping[str, Any]]) -> int:
    """Tokens of all calibration samples, counted as if every call had been paid for."""
    return sum(
        s["prompt_tokens"] + s["completion_tokens"]
        for s in samples
        if s["row"].startswith(CALIBRATION)
    )


def _threshold_row(threshold: float | None) -> str:
    return f"{CALIBRATION}anytime {threshold}"


def _counts(sample: Mapping[str, Any], row: str) -> bool:
    return sample["row"] == row and sample["status"] == "ok"


def _mean(samples: Mapping[str, Mapping[str, Any]], threshold: float | None) -> tuple[float, float]:
    """Accuracy and tokens per question."""
    row = _threshold_row(threshold)
    found = [s for s in samples.values() if _counts(s, row)]
    n = max(len(found), 1)
    tokens = sum(s["prompt_tokens"] + s["completion_tokens"] for s in found)
    return sum(s["correct"] for s in found) / n, tokens / n
