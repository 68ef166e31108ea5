"""A probe policy at work: the design that holds every branch, its guide, and its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import ClassVar

from hyperagent.errors import ConfigError, HypergraphError
from hyperagent.hypergraph import Hyperedge, Hypergraph, agent_of
from hyperagent.topology.design import AgentLike, Design, Expected, TaskLike, Vote
from hyperagent.topology.logistic import Logistic
from hyperagent.topology.probe import STOP, ProbePolicy
from hyperagent.topology.reply_features import QUESTION_FEATURES, REPLY_FEATURES
from hyperagent.topology.weights_folder import read_folder, write_folder


@dataclass(frozen=True)
class ProbeGuide:
    """Opens the probe's phase, and then those of the branch that the policy chooses, or none.

    Parameters
    ----------
    policy : ProbePolicy
    question : str
    branches : tuple of (tuple of int)
        Phases of each branch, in their order; the probe's is 0.
    reliabilities : mapping of str to float
        By agent, where known; they weigh the votes.
    """

    policy: ProbePolicy
    question: str
    branches: tuple[tuple[int, ...], ...]
    reliabilities: Mapping[str, float]
    name: ClassVar[str] = "probe"

    @property
    def rates(self) -> Mapping[str, float]:
        """The agents' reliabilities."""
        return self.reliabilities

    def __call__(self, votes: Sequence[Vote]) -> bool:
        """Whether the probe alone is enough."""
        return bool(votes) and self._column(votes) == STOP

    def next(self, votes: Sequence[Vote], closed: Mapping[int, Sequence[str]]) -> int | None:
        """The phase to open, or None; see `Guide`."""
        if 0 in closed:
            return 0
        for phases in self.branches:
            left = [phase for phase in phases if phase in closed]
            if len(left) < len(phases):
                return left[0] if left else None
        column = self._column(votes)
        return None if column == STOP else self.branches[column - 1][0]

    def trust(self, votes: Sequence[Vote]) -> Mapping[str, float]:
        """The reliability of each author's agent, where known."""
        known = {vote.author: self.reliabilities.get(agent_of(vote.author)[0]) for vote in votes}
        return {author: rate for author, rate in known.items() if rate is not None}

    def _column(self, votes: Sequence[Vote]) -> int:
        # Nobody voted: the call failed, which is told apart from a reply by its lack of words.
        first = votes[0] if votes else Vote(self.policy.probe, None)
        return self.policy.choose(self.question, first.text, first.answer)


class ProbeDesigner:
    """Asks one agent, then stops or opens one of several topologies.

    Parameters
    ----------
    policy : ProbePolicy, optional
    weights : path, optional
        Folder written by `save`, in place of `policy`.

    Raises
    ------
    ConfigError
        If not exactly one of `policy` and `weights` is given, or the folder cannot be used.
    """

    name = "probe"

    def __init__(
        self,
        policy: ProbePolicy | None = None,
        *,
        weights: str | PathLike[str] | None = None,
    ) -> None:
        if (policy is None) == (weights is None):
            raise ConfigError("probe: give either a policy or weights=FOLDER")
        if weights is not None:
            policy = _read(weights)
        assert policy is not None
        self.policy = policy

    def design(self, task: TaskLike, agents: Sequence[AgentLike], *, seed: int = 0) -> Design:
        """The probe and all branches, one after the other; the guide opens one at most.

        ``probabilities`` are the shares of the training questions on which a group was formed, and
        1 for the probe.

        Raises
        ------
        ConfigError
            If an agent of the policy is not in the team.
        """
        policy, present = self.policy, {agent.id: agent for agent in agents}
        edges, nodes = [Hyperedge((policy.probe,))], [policy.probe]
        phases: list[tuple[int, ...]] = []
        columns, at = [STOP], 1
        for column, branch in enumerate(policy.branches, 1):
            own = sorted({edge.phase for edge in branch.edges})
            place = {phase: at + i for i, phase in enumerate(own)}
            for edge in branch.canonical().edges:
                edges.append(Hyperedge(edge.members, edge.mode, place[edge.phase], edge.weight))
                columns.append(column)
            nodes += [node for node in branch.seated() if node not in nodes]
            phases.append(tuple(place.values()))
            at += len(own)
        for node in nodes:
            if agent_of(node)[0] not in present:
                raise ConfigError(f"probe: the team has no agent {agent_of(node)[0]}")
        nodes += sorted(set(present).difference(nodes))
        # What a branch adds is divided among its groups by their seats.
        seats = [0] * (len(policy.branches) + 1)
        for edge, column in zip(edges, columns, strict=True):
            seats[column] += len(edge.members)
        expected = {
            f"e{i}": policy.spent[column] * len(edge.members) / seats[column]
            for i, (edge, column) in enumerate(zip(edges, columns, strict=True))
        }
        rates = {a.id: a.reliability for a in agents if a.reliability is not None}
        shares = (1.0, *policy.shares[1:])
        return Design(
            Hypergraph(tuple(nodes), tuple(edges)),
            0.0,
            {f"e{i}": shares[column] for i, column in enumerate(columns)},
            self.name,
            ProbeGuide(policy, task.question, tuple(phases), rates),
            Expected(sum(policy.spent), expected),
        )

    def save(self, folder: str | PathLike[str]) -> None:
        """Write the policy into a folder: JSON and safetensors."""
        policy = self.policy
        config = {
            "probe": policy.probe,
            "branches": [graph.to_hif() for graph in policy.branches],
            "price": policy.price,
            "unit": policy.unit,
            "objective": policy.objective,
            "shares": list(policy.shares),
            "spent": list(policy.spent),
        }
        write_folder(folder, self.name, config, policy.arrays())

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> ProbeDesigner:
        """The designer that `save` wrote."""
        return cls(weights=folder)


def _read(folder: str | PathLike[str]) -> ProbePolicy:
    config, arrays = read_folder(folder, ProbeDesigner.name)

    def model(name: str) -> Logistic:
        return Logistic.from_arrays(arrays, name)

    try:
        branches = tuple(Hypergraph.from_hif(graph) for graph in config["branches"])
        policy = ProbePolicy(
            config["probe"],
            branches,
            model("reading"),
            tuple(model(f"chance.{i}") for i in range(len(branches) + 1)),
            arrays["costs"],
            float(config["price"]),
            float(config["unit"]),
            config["objective"],
            tuple(config["shares"]),
            tuple(config["spent"]),
        )
        if policy.costs.shape != (len(branches) + 1, 2):
            raise ValueError(f"costs of shape {policy.costs.shape}")
    except (KeyError, TypeError, ValueError, HypergraphError) as error:
        raise ConfigError(f"probe: {folder} is damaged: {error!r}") from error
    if len(policy.reading.mean) != len(QUESTION_FEATURES) + len(REPLY_FEATURES):
        raise ConfigError(
            f"probe: the weights in {folder} are of a version that reads other features of "
            "questions and replies; learn again"
        )
    return policy
