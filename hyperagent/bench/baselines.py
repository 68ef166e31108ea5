"""Baselines that get as many tokens as the first row: self-consistency and random groups.

A method that spends more tokens should be compared with the simplest way to spend them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hyperagent.bench.tally import Tally
from hyperagent.hypergraph import agent_of, build_anchor
from hyperagent.tasks import Task
from hyperagent.team import Team
from hyperagent.topology.design import best_first

_DRAWS = 200
"""Random topologies per size from which the expected tokens are estimated."""


def mean_tokens(samples: Iterable[Mapping[str, Any]], row: str) -> float:
    """Tokens per finished sample of a row; 0 without any."""
    found = [
        s["prompt_tokens"] + s["completion_tokens"]
        for s in samples
        if s["row"] == row and s["status"] == "ok"
    ]
    return sum(found) / len(found) if found else 0.0


def speech_tokens(team: Team, tally: Tally) -> dict[str, float]:
    """Mean tokens of one independent speech of each agent.

    Agents that have not spoken yet get the mean of those that have.
    """
    known = {agent: tokens / number for agent, (tokens, number) in tally.speech.items()}
    mean = sum(known.values()) / len(known) if known else 0.0
    return {name: known.get(name, mean) for name in team.agents}


def matched_topology(
    name: str, team: Team, tasks: Sequence[Task], tokens: float, speech: Mapping[str, float]
) -> tuple[str, str]:
    """Anchor for a row that should use at least `tokens` tokens a question.

    Parameters
    ----------
    name : {"self_consistency-matched", "random-matched"}
    team : Team
    tasks : sequence of Task
        The questions of the run; a replay has only so many samples of each.
    tokens : float
        Mean tokens of the first row.
    speech : mapping of str to float
        From `speech_tokens`.

    Returns
    -------
    spec : str
    remark : str
        What kept the row from getting that many, empty if nothing did.
    """
    order = [agent.id for agent in best_first(team.agents.values())]
    if name == "random-matched":
        return _random(order, tokens, speech)
    first = order[0]
    wanted = math.ceil(tokens / speech[first] - 1e-9) if speech[first] else 1
    k, remark = max(1, wanted), ""
    count = getattr(team.backends[first], "samples", None)
    if count is not None:
        most = min((count(task.id) for task in tasks), default=0)
        if most < k:
            remark = f"{k} samples would match, {max(most, 1)} are on record"
            k = max(most, 1)
    return f"self_consistency:k={k}", remark


def _random(order: Sequence[str], tokens: float, speech: Mapping[str, float]) -> tuple[str, str]:
    """As few random groups as reach the tokens on average, when everybody seated speaks once."""
    size = min(3, len(order))
    most = math.comb(len(order), size)
    groups, reached = 0, 0.0
    while groups < most and reached < tokens:
        groups += 1
        drawn = [
            build_anchor("random", order, seed=seed, size=size, groups=groups)
            for seed in range(_DRAWS)
        ]
        reached = sum(speech[agent_of(n)[0]] for g in drawn for n in g.seated()) / _DRAWS
        if all(len(g.seated()) == len(order) for g in drawn):
            break
    remark = "" if reached >= tokens else "every agent once is less than the first row's tokens"
    return f"random:size={size},groups={max(groups, 1)}", remark
