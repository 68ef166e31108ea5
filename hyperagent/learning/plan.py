"""What a learning run is asked to do, and how its executions are divided."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import count
from typing import Any

from hyperagent.errors import ConfigError, UnknownNameError
from hyperagent.topology.candidates import PORTFOLIO
from hyperagent.topology.outcomes import OBJECTIVES, Objective

POLICIES = ("surrogate", "codebook", "vae", "rloo", "anytime", "probe", "constant", "paper")
"""Kinds of policy that can be learned."""

DEFAULT_PRICE = 0.01
DEFAULT_EXECUTIONS = 1280
MEASURED = 2
"""Executions of each fixed topology that measure how many tokens it takes."""
GRADIENTS = ("rloo", "paper")
"""Policies that execute what they draw themselves."""
LEAST_EXPLORED = 20
LEAST_REFINED = 10
"""Questions without which nothing is explored, and executions without which a step of a gradient is
refused."""
RIVALS = 2
"""Of the guard, at most: the best fixed topology, and one agent alone."""
IN_DOLLARS = ("anytime", "probe", "constant")
"""Policies that can spare dollars in place of tokens."""


@dataclass(frozen=True)
class LearnPlan:
    """Settings of a learning run.

    Parameters
    ----------
    task : str
        Data set.
    split : str, optional
        Of the data set; by default ``train`` where there is one, else ``test``. Its questions are
        divided by content; those of the part ``test`` are never touched.
    policy : str
        One of `POLICIES`.
    executions : int
        Most executions of a hypergraph on a question, validation included.
    budget_tokens : int, optional
        Tokens that a question may take on average. The price of tokens follows from it.
    price : float, optional
        Without a budget: the correctness that the cheapest topology's cost is worth.
        0.01 by default: one more answer must bring one right answer in a hundred questions.
    seed : int
    limit : int, optional
        Only the first questions of each part.
    concurrency : int
        Executions in flight; it changes nothing but the time.
    anchors : sequence of str
        The portfolio of fixed topologies.
    spend_tokens : int, optional
        Paid tokens that the run must not pass, all its starts together.
    encoder : str
        Reads the questions for surrogate, codebook and vae, see `hyperagent.topology.text_encoder`.
    objective : {"tokens", "dollars"}
        What the policy spares; dollars only with the policies of `IN_DOLLARS`.
    probe : str, optional
        With the policy ``probe``: the agent that is asked first, by default the most reliable one.
    """

    task: str
    split: str | None = None
    policy: str = "surrogate"
    executions: int = DEFAULT_EXECUTIONS
    budget_tokens: int | None = None
    price: float | None = None
    seed: int = 0
    limit: int | None = None
    concurrency: int = 8
    anchors: tuple[str, ...] = PORTFOLIO
    spend_tokens: int | None = None
    encoder: str = "hashing"
    objective: Objective = "tokens"
    probe: str | None = None

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise UnknownNameError("policy", self.policy, POLICIES)
        for name in ("executions", "budget_tokens", "limit", "concurrency", "spend_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value!r}")
        if self.budget_tokens is not None and self.price is not None:
            raise ConfigError("a token budget sets the price of tokens; give one of the two")
        if self.objective not in OBJECTIVES:
            raise UnknownNameError("objective", self.objective, OBJECTIVES)
        if self.objective == "dollars" and self.policy not in IN_DOLLARS:
            raise ConfigError(
                f"policy {self.policy!r} spares tokens; dollars can be spared by "
                f"{', '.join(IN_DOLLARS[:-1])} and {IN_DOLLARS[-1]}"
            )
        if self.objective == "dollars" and self.budget_tokens is not None:
            raise ConfigError("a budget of tokens does not go with the objective dollars")
        if self.probe is not None and self.policy != "probe":
            raise ConfigError(f"policy {self.policy!r} asks no probe first; only 'probe' does")
        if self.price is not None and not 0 <= self.price < float("inf"):
            raise ConfigError(f"price must be at least 0, got {self.price!r}")
        object.__setattr__(self, "anchors", tuple(self.anchors))

    def decisive(self) -> dict[str, Any]:
        """What decides the policy: a run can be resumed with other values of the rest."""
        return {k: v for k, v in asdict(self).items() if k not in ("concurrency", "spend_tokens")}


@dataclass(frozen=True)
class Shares:
    """How many executions each stage gets.

    Attributes
    ----------
    measure, race, explore, refine : int
        `refine`: on-policy executions of a policy gradient.
    validation : int
        Questions of the guard; each is executed with the learned policy and with `RIVALS`.
    """

    measure: int
    race: int
    explore: int
    refine: int
    validation: int


def divide(plan: LearnPlan, topologies: int, validation: int, explored: int = 1) -> Shares:
    """Divide the executions of a plan.

    A fifth goes to the race, three tenths to the guard, a fifth to the policy gradient where there
    is one, and the rest to exploration. The race of a constant policy gets what others explore
    with.

    Parameters
    ----------
    plan : LearnPlan
    topologies : int
        Fixed topologies that differ for this team.
    validation : int
        Questions that there are.
    explored : int
        Executions that a question takes to explore: an anytime policy asks every agent alone, a
        probe policy the probe, and every topology that may follow.

    Raises
    ------
    ConfigError
        If there are too few executions.
    """
    shares = _shares(plan.policy, plan.executions, topologies, validation)
    if not _enough(plan.policy, shares, explored):
        needed = next(
            total
            for total in count(plan.executions + 1)
            if _enough(plan.policy, _shares(plan.policy, total, topologies, validation), explored)
        )
        raise ConfigError(
            f"{plan.executions} executions are too few: {needed} are needed for {topologies} fixed "
            "topologies; give more (--executions) or fewer topologies (--anchor)"
        )
    return shares


def _shares(policy: str, total: int, topologies: int, validation: int) -> Shares:
    """The shares of the executions; exploration may be negative."""
    measure = MEASURED * topologies
    race = topologies * max(1, (topologies - 1).bit_length())
    if policy == "constant":
        race = max(race, total - measure)
        return Shares(measure, race, total - measure - race, 0, 0)
    race = max(race, total // 5)
    guard = min(validation, max(2, 3 * total // 10 // (1 + RIVALS)))
    refine = total // 5 if policy in GRADIENTS else 0
    return Shares(
        measure, race, total - measure - race - (1 + RIVALS) * guard - refine, refine, guard
    )


def _enough(policy: str, shares: Shares, explored: int) -> bool:
    if policy == "constant":
        return shares.explore >= 0
    refined = policy not in GRADIENTS or shares.refine >= LEAST_REFINED
    return refined and shares.explore >= LEAST_EXPLORED * explored
