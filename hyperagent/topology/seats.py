"""Agents to vectors: what a learned designer knows about each member of a team.

The last columns are a *seat*: numbers drawn from a hash of the agent's id. Message passing over
equal rows is blind to the topology (every average of equal rows is that row), so two agents with
one profile need something that tells them apart. It says nothing about their quality.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np

from hyperagent.errors import ConfigError
from hyperagent.topology.design import AgentLike
from hyperagent.topology.features import encode_texts

TEXT = 64
"""Columns of the hashed role and profile."""
BACKEND = 16
"""Columns of the hashed name of the language model."""
TOOLS = ("calculator", "python", "other")
SEAT = 16
"""Columns of the seat."""
WIDTH = TEXT + BACKEND + len(TOOLS) + 4 + SEAT
"""Width of a row: text, backend, tools, log price and reliability with a flag each, seat."""


def agent_features(
    agents: Sequence[AgentLike], prices: Mapping[str, float] | None = None
) -> np.ndarray:
    """One row an agent; permuting the agents permutes the rows.

    Parameters
    ----------
    agents : sequence of AgentLike
        The attributes ``backend`` (a spec string, or an object with a ``name``) and ``tools``
        (names) are read where an agent has them.
    prices : mapping of str to float, optional
        Name of a backend to its price > 0, in any one currency per million tokens.

    Returns
    -------
    ndarray, shape (n_agents, WIDTH), float32
        A row depends on nothing but its agent: the same in every team and every process.

    Raises
    ------
    ConfigError
        Naming the backend whose price is not a positive number.
    """
    for name, price in (prices or {}).items():
        fine = isinstance(price, (int, float)) and not isinstance(price, bool)
        if not fine or not 0 < price < math.inf:
            raise ConfigError(f"the price of {name!r} must be a number > 0, got {price!r}")
    backends = [_backend(agent) for agent in agents]
    start = TEXT + BACKEND
    rows = np.zeros((len(agents), WIDTH), dtype=np.float32)
    rows[:, :TEXT] = _encode([f"{a.role} {a.profile or ''}" for a in agents], TEXT)
    rows[:, TEXT:start] = _encode(backends, BACKEND)
    for row, agent, backend in zip(rows, agents, backends, strict=True):
        for tool in getattr(agent, "tools", None) or ():
            row[start + TOOLS.index(tool if tool in TOOLS else "other")] = 1.0
        price = (prices or {}).get(backend)
        known = start + len(TOOLS)
        if price is not None:
            row[known : known + 2] = math.log(price), 1.0
        if agent.reliability is not None:
            row[known + 2 : known + 4] = _logit(agent.reliability), 1.0
        row[-SEAT:] = seat(agent.id)
    return rows


def agent_key(agent: AgentLike) -> tuple[object, ...]:
    """All that `agent_features` reads of an agent: equal keys have equal rows."""
    tools = tuple(getattr(agent, "tools", None) or ())
    return agent.id, agent.role, agent.profile, agent.reliability, _backend(agent), tools


def seat(name: str) -> np.ndarray:
    """Numbers that belong to a name: shape (SEAT,), float32, length about 1.

    Independent and uniform over names, equal for equal names in every process.
    """
    digest = hashlib.blake2b(f"seat {name}".encode(), digest_size=4 * SEAT).digest()
    uniform = np.frombuffer(digest, dtype="<u4") / 2.0**32
    return ((2 * uniform - 1) * math.sqrt(3 / SEAT)).astype(np.float32)


def _backend(agent: AgentLike) -> str:
    backend = getattr(agent, "backend", None)
    return backend if isinstance(backend, str) else str(getattr(backend, "name", ""))


def _encode(texts: Sequence[str], dim: int) -> np.ndarray:
    """`encode_texts`, each different text once: clones share their profile."""
    different = list(dict.fromkeys(texts))
    place = {text: i for i, text in enumerate(different)}
    return encode_texts(different, dim)[[place[text] for text in texts]]


def _logit(p: float) -> float:
    p = min(max(p, 1e-3), 1 - 1e-3)
    return math.log(p / (1 - p))
