"""The anytime policy at work: a team that is asked one agent at a time, and its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import ClassVar

import numpy as np

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hyperedge, Hypergraph, agent_of
from hyperagent.topology.anytime import STOP, AnytimePolicy, Beliefs, Trust
from hyperagent.topology.design import AgentLike, Design, Expected, TaskLike, Vote
from hyperagent.topology.logistic import Logistic
from hyperagent.topology.replies import Replies, answer_codes, question_kind
from hyperagent.topology.reply_features import (
    QUESTION_FEATURES,
    REPLY_FEATURES,
    question_features,
    reply_features,
)
from hyperagent.topology.weights_folder import read_folder, write_folder


@dataclass(frozen=True)
class AnytimeGuide:
    """Asks the next agent of an `AnytimePolicy`, or stops.

    Parameters
    ----------
    policy : AnytimePolicy
    question : str
    wrong : int
        Number of plausible wrong answers, at least 1.
    """

    policy: AnytimePolicy
    question: str
    wrong: int = 10
    name: ClassVar[str] = "anytime"

    @property
    def rates(self) -> Mapping[str, float]:
        """P(agent is right | question) by agent, before anybody is asked."""
        beliefs = self.policy.beliefs
        (row,) = beliefs.question_probabilities(self._replies(()))
        return dict(zip(beliefs.agents, row.tolist(), strict=True))

    def __call__(self, votes: Sequence[Vote]) -> bool:
        """Whether asking anybody else is not worth its price."""
        return bool(votes) and self._move(votes) == STOP

    def next(self, votes: Sequence[Vote], closed: Mapping[int, Sequence[str]]) -> int | None:
        """The phase of the agent to ask, or None; see `Guide`."""
        move = self._move(votes)
        if move == STOP:
            return None
        agent = self.policy.beliefs.agents[move]
        for phase, nodes in closed.items():
            if agent in {agent_of(node)[0] for node in nodes}:
                return phase
        return None

    def trust(self, votes: Sequence[Vote]) -> dict[str, float]:
        """P(vote is right | question, its reply) by author."""
        beliefs = self.policy.beliefs
        (row,) = beliefs.reply_probabilities(self._replies(votes))
        return {vote.author: float(row[self._seat(vote)]) for vote in votes}

    def probability(self, votes: Sequence[Vote]) -> float:
        """Calibrated P(the leading answer is right); 0 without votes."""
        mask = self._mask(votes)
        states = self.policy.beliefs.states_of(self._replies(votes), [mask])
        return float(states[mask].sure[0])

    def _move(self, votes: Sequence[Vote]) -> int:
        mask = self._mask(votes)
        states = self.policy.beliefs.states_of(self._replies(votes), [mask])
        return int(self.policy.moves(mask, states[mask])[0])

    def _seat(self, vote: Vote) -> int:
        return self.policy.beliefs.agents.index(agent_of(vote.author)[0])

    def _mask(self, votes: Sequence[Vote]) -> int:
        return sum({1 << self._seat(vote) for vote in votes})

    def _replies(self, votes: Sequence[Vote]) -> Replies:
        """The question as one row; agents that were not asked have columns of zeros."""
        agents = self.policy.beliefs.agents
        said: list[str | None] = [None] * len(agents)
        looks = np.zeros((1, len(agents), len(REPLY_FEATURES)))
        for vote in votes:
            seat = self._seat(vote)
            said[seat] = vote.answer
            looks[0, seat] = reply_features(self.question, vote.text, vote.answer)
        answers = answer_codes(np.array([said], dtype=object))
        none = np.zeros_like(answers)
        return Replies(
            agents, ("",), np.zeros(1, dtype=np.uint64), np.array([question_kind(self.question)]),
            np.array([self.wrong]), answers, none.astype(bool), none, none, none.astype(np.float64),
            question_features(self.question)[None], looks,
        )  # fmt: skip


class AnytimeDesigner:
    """One agent a phase, each alone; an `AnytimePolicy` says who is next and when to stop.

    Parameters
    ----------
    policy : AnytimePolicy, optional
        Learned on replies of agents that were asked alone, e.g. by `choose_policy`.
    weights : path, optional
        Folder written by `save`, in place of `policy`.
    wrong : int, optional
        Number of plausible wrong answers of a task, at least 1. By default that of `weights`, else
        10; a choice has as many as it has options but one.

    Raises
    ------
    ConfigError
        If not exactly one of `policy` and `weights` is given, or the folder cannot be used.
    """

    name = "anytime"

    def __init__(
        self,
        policy: AnytimePolicy | None = None,
        *,
        weights: str | PathLike[str] | None = None,
        wrong: int | None = None,
    ) -> None:
        if (policy is None) == (weights is None):
            raise ConfigError("anytime: give either a policy or weights=FOLDER")
        known = 10
        if weights is not None:
            policy, known = _read(weights)
        assert policy is not None
        self.policy, self.wrong = policy, known if wrong is None else wrong
        if self.wrong < 1:
            raise ConfigError(f"anytime: wrong must be at least 1, got {self.wrong!r}")

    def design(self, task: TaskLike, agents: Sequence[AgentLike], *, seed: int = 0) -> Design:
        """The agents of the policy, the most promising first; others are benched.

        ``probabilities`` are 1 for the first, which is asked for certain, and for the others the
        share of the training questions on which they are asked.

        Raises
        ------
        ConfigError
            If an agent of the policy is not in the team.
        """
        names = {agent.id for agent in agents}
        known = self.policy.beliefs.agents
        missing = [agent for agent in known if agent not in names]
        if missing:
            raise ConfigError(f"anytime: the team has no agent {', '.join(missing)}")
        # A choice has fewer wrong answers than a number.
        choices = getattr(task, "choices", ())
        wrong = max(1, len(choices) - 1) if choices else self.wrong
        guide = AnytimeGuide(self.policy, task.question, wrong)
        rates = guide.rates
        first = known[guide._move(())]
        order = sorted(known, key=lambda agent: (agent != first, -rates[agent]))
        edges = tuple(Hyperedge((agent,), phase=i) for i, agent in enumerate(order))
        nodes = (*order, *sorted(names.difference(known)))
        shares = dict(zip(known, self.policy.shares, strict=True)) | {first: 1.0}
        asked = {f"e{i}": shares[agent] for i, agent in enumerate(order)}
        # Weights of before this was kept do not know it.
        spent = dict(zip(known, self.policy.spent, strict=False))
        expected = (
            Expected(sum(spent.values()), {f"e{i}": spent[agent] for i, agent in enumerate(order)})
            if spent
            else None
        )
        return Design(Hypergraph(nodes, edges), 0.0, asked, self.name, guide, expected)

    def save(self, folder: str | PathLike[str]) -> None:
        """Write the policy into a folder: JSON and safetensors."""
        policy, beliefs = self.policy, self.policy.beliefs
        config = {
            "agents": list(beliefs.agents),
            "kinds": list(beliefs.kinds),
            "price": policy.price,
            "objective": policy.objective,
            "unit": policy.unit,
            "shares": list(policy.shares),
            "spent": list(policy.spent),
            "wrong": self.wrong,
        }
        models = {f"question.{i}": model for i, model in enumerate(beliefs.by_question)}
        models |= {f"reply.{i}": model for i, model in enumerate(beliefs.trust.own)}
        models |= {"reply.all": beliefs.trust.pooled}
        models |= {f"state.{mask}": model for mask, model in beliefs.by_state.items()}
        arrays = {k: a for name, m in models.items() for k, a in m.to_arrays(name).items()}
        arrays |= {f"ask.{mask}.{agent}": w for (mask, agent), w in policy.asks.items()}
        write_folder(folder, self.name, config, arrays)

    @classmethod
    def load(cls, folder: str | PathLike[str], *, wrong: int | None = None) -> AnytimeDesigner:
        """The designer that `save` wrote."""
        return cls(weights=folder, wrong=wrong)


def _read(folder: str | PathLike[str]) -> tuple[AnytimePolicy, int]:
    """Policy and number of wrong answers."""
    config, arrays = read_folder(folder, AnytimeDesigner.name)

    def model(name: str) -> Logistic:
        return Logistic.from_arrays(arrays, name)

    try:
        agents = tuple(config["agents"])
        seats, sets = range(len(agents)), range(1, 1 << len(agents))
        beliefs = Beliefs(
            agents,
            tuple(config["kinds"]),
            tuple(model(f"question.{i}") for i in seats),
            Trust(tuple(model(f"reply.{i}") for i in seats), model("reply.all")),
            {mask: model(f"state.{mask}") for mask in sets},
        )
        asks = {
            (mask, agent): arrays[f"ask.{mask}.{agent}"]
            for mask in (0, *sets)
            for agent in seats
            if not mask >> agent & 1
        }
        asked = len(QUESTION_FEATURES) + len(beliefs.kinds)
        widths = (
            {len(m.mean) for m in beliefs.by_question},
            {len(m.mean) for m in beliefs.trust.own},
        )
        if widths != ({asked}, {asked + len(REPLY_FEATURES)}):
            raise ConfigError(
                f"anytime: the weights in {folder} are of a version that reads other features of "
                "questions and replies; learn again"
            )
        policy = AnytimePolicy(
            beliefs, float(config["price"]), config["objective"], float(config["unit"]), asks,
            tuple(config["shares"]), tuple(config.get("spent", ())),
        )  # fmt: skip
        return policy, int(config["wrong"])
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"anytime: {folder} is damaged: {error!r}") from error
