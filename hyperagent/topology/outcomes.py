"""What executions of hypergraphs gave: the record a topology is learned from, and its file."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import fsum
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from hyperagent.errors import ConfigError, HypergraphError
from hyperagent.hypergraph import Hypergraph
from hyperagent.topology.design import TaskLike

Objective = Literal["dollars", "tokens"]
OBJECTIVES: tuple[Objective, ...] = ("dollars", "tokens")
"""What a topology may be asked to spare."""


@dataclass(frozen=True)
class Outcome:
    """One execution of a hypergraph on a task.

    Attributes
    ----------
    task : str
        Id of the task.
    hypergraph : Hypergraph
        What was executed.
    correct : float
        How right the answer was, in [0, 1].
    tokens : float
        Prompt and completion tokens of all calls, > 0.
    dollars : float or None
        Price of all calls; None if unknown.

    Raises
    ------
    ConfigError
        Naming the value that is out of range.
    """

    task: str
    hypergraph: Hypergraph
    correct: float
    tokens: float
    dollars: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.correct <= 1:
            raise ConfigError(f"outcome: correct must lie in [0, 1], got {self.correct!r}")
        if not 0 < self.tokens < float("inf"):
            raise ConfigError(f"outcome: tokens must be positive and finite, got {self.tokens!r}")
        if self.dollars is not None and not 0 <= self.dollars < float("inf"):
            raise ConfigError(f"outcome: dollars must be at least 0 or null, got {self.dollars!r}")

    def cost(self, objective: Objective = "tokens") -> float:
        """Tokens or dollars.

        Raises
        ------
        ConfigError
            If the price in dollars is unknown.
        """
        if objective == "tokens":
            return self.tokens
        if self.dollars is None:
            raise ConfigError(
                f"nobody knows what the calls for task {self.task!r} cost: the price list lacks a "
                "model (--prices)"
            )
        return self.dollars

    def reward(self, price: float, scale: float, objective: Objective = "tokens") -> float:
        """Correctness minus the price of the cost, ``correct - price * cost / scale``.

        Parameters
        ----------
        price : float
            Correctness that `scale` tokens, or dollars, are worth.
        scale : float
            Tokens or dollars, > 0.
        objective : {"tokens", "dollars"}
        """
        return self.correct - price * self.cost(objective) / scale

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; the hypergraph is in Hypergraph Interchange Format."""
        return {
            "task": self.task,
            "correct": self.correct,
            "tokens": self.tokens,
            "dollars": self.dollars,
            "hypergraph": self.hypergraph.to_hif(),
        }

    @classmethod
    def from_json(cls, data: Any) -> Outcome:
        """Read what `to_json` wrote.

        Raises
        ------
        ConfigError
            If a field is missing or wrong.
        """
        try:
            return cls(
                str(data["task"]),
                Hypergraph.from_hif(data["hypergraph"]),
                float(data["correct"]),
                float(data["tokens"]),
                None if data["dollars"] is None else float(data["dollars"]),
            )
        except (KeyError, TypeError, ValueError, HypergraphError) as error:
            raise ConfigError(f"not an outcome: {error!r}") from error


Execute = Callable[[TaskLike, Hypergraph, int], Outcome]
"""Runs a hypergraph on a task with a seed."""


class OutcomeLog:
    """A JSON-lines file of outcomes that only grows.

    A line is flushed to the disk before `append` returns. A killed writer can leave half a line
    at the end; the next opening cuts it off and warns.

    Parameters
    ----------
    path : path
        Created if it is not there.

    Raises
    ------
    ConfigError
        Naming the line that is no outcome, unless it is a torn one at the end.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self.outcomes: list[Outcome] = []
        data = self.path.read_bytes() if self.path.exists() else b""
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            warnings.warn(
                f"{self.path.name}: half a line of {len(data) - whole} bytes at the end dropped",
                stacklevel=2,
            )
            with self.path.open("r+b") as file:
                file.truncate(whole)
        for number, line in enumerate(data[:whole].splitlines(), 1):
            try:
                self.outcomes.append(Outcome.from_json(json.loads(line)))
            except ValueError as error:
                raise ConfigError(f"{self.path.name}, line {number}: {error}") from error
            except ConfigError as error:
                raise ConfigError(f"{self.path.name}, line {number}: {error}") from error
        self._file = self.path.open("ab")

    def __len__(self) -> int:
        return len(self.outcomes)

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self.outcomes)

    def append(self, outcome: Outcome) -> None:
        """Add an outcome; it is on the disk when this returns."""
        text = json.dumps(outcome.to_json(), ensure_ascii=False, separators=(",", ":"))
        self._file.write(text.encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.outcomes.append(outcome)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> OutcomeLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def means(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Mean ``correct`` and ``tokens``, and ``dollars`` where every price is known."""
    count = len(outcomes)
    found = {
        "correct": fsum(outcome.correct for outcome in outcomes) / count,
        "tokens": fsum(outcome.tokens for outcome in outcomes) / count,
    }
    dollars = [outcome.dollars for outcome in outcomes if outcome.dollars is not None]
    return found | ({"dollars": fsum(dollars) / count} if len(dollars) == count else {})
