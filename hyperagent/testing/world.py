"""A simulated team whose best topology is known, to test learners of topologies.

Agents have one skill each. A task needs pairs of skills that meet over one board; the chance of
success and the bill follow from the hypergraph in closed form, so that every hypergraph has an
exact value and the best one can be computed. It is a test bed, not a model of an LLM.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from math import exp

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hyperedge, Hypergraph, agent_of
from hyperagent.tasks import Task
from hyperagent.topology.outcomes import Outcome

_WORDS = {
    "algebra": ("equation", "polynomial", "unknown", "variable", "factorise", "quadratic"),
    "geometry": ("triangle", "angle", "circle", "perimeter", "tangent", "polygon"),
    "chemistry": ("molecule", "reagent", "acid", "titration", "isotope", "solvent"),
    "law": ("contract", "statute", "liability", "plaintiff", "clause", "verdict"),
    "history": ("empire", "treaty", "dynasty", "medieval", "archive", "revolution"),
    "coding": ("function", "compiler", "loop", "recursion", "debugger", "algorithm"),
    "music": ("melody", "chord", "rhythm", "sonata", "tempo", "octave"),
    "biology": ("enzyme", "genome", "organism", "protein", "tissue", "species"),
}
_JOINS = (
    "Relate the {} to the {}.",
    "How does a {} change with the {}?",
    "Bring the {} and the {} together.",
    "Start from this {} and explain the {}.",
    "Which {} agrees with that {}?",
)
_OPENINGS = (
    "A reader sends the following request.",
    "Please answer with care.",
    "Here is a note from the help desk, slightly shortened.",
    "This came in on Monday.",
    "Look at the case below and give one answer.",
)


@dataclass(frozen=True)
class WorldAgent:
    """An agent of the world; it satisfies `hyperagent.topology.AgentLike`."""

    id: str
    role: str
    profile: str | None
    reliability: float | None = None


@dataclass(frozen=True)
class Expected:
    """Exact value of a hypergraph for a task.

    Attributes
    ----------
    success : float
        Probability in [0, 1] of a right answer.
    tokens : float
        Mean number of tokens.
    """

    success: float
    tokens: float


@dataclass(frozen=True)
class World:
    """Simulator of notes/topology.md, section 5.9.

    The bill is that of the orchestrator with one round of revision: a node speaks once, in its
    first phase, and reads the notes that were carried in to its boards; then each group of two or
    more, decide groups apart, disagrees with probability `disagreement` and its members read the
    others' notes, each author once, and speak again. One node at most speaks in a decide group
    that has notes. Skills meet in discuss and verify groups only: nobody reads in a decide group
    but the decider.

    Parameters
    ----------
    skills : int
        Number of skills, 2 to 8.
    copies : int
        Agents of each skill.
    pairs : tuple of int
        Smallest and largest number of pairs of skills that a task needs; drawn uniformly.
    solved : float
        Probability of success if every pair meets.
    floor, partial : float
        Otherwise it is ``floor + (partial - floor) * met / needed``.
    speech, note : float
        Tokens of one speech (prompt and reply), and of one note that is read.
    disagreement : float
        Probability that the gate leaves a group open.
    liars : tuple of str
        Agents who argue for a wrong answer, each with one voice: with L of S seated agents lying,
        success is multiplied by ``1 - harm * L / S``. They bill like the others.
    harm : float
        In [0, 1].
    spread : float
        Standard deviation of the logarithm of the tokens of one execution around the bill.

    Raises
    ------
    ConfigError
        Naming the parameter that is out of range.
    """

    skills: int = 6
    copies: int = 2
    pairs: tuple[int, int] = (1, 3)
    solved: float = 0.95
    floor: float = 0.15
    partial: float = 0.4
    speech: float = 520.0
    note: float = 80.0
    disagreement: float = 0.15
    spread: float = 0.1
    liars: tuple[str, ...] = ()
    harm: float = 1.0

    def __post_init__(self) -> None:
        def check(good: bool, name: str, expected: str) -> None:
            if not good:
                raise ConfigError(f"world: {name} must be {expected}, got {getattr(self, name)!r}")

        check(2 <= self.skills <= len(_WORDS), "skills", f"between 2 and {len(_WORDS)}")
        check(self.copies >= 1, "copies", "at least 1")
        most = self.skills * (self.skills - 1) // 2
        check(1 <= self.pairs[0] <= self.pairs[1] <= most, "pairs", f"between 1 and {most}, rising")
        check(0 <= self.floor <= self.partial <= self.solved <= 1, "partial", "floor to solved")
        check(0 <= self.disagreement <= 1, "disagreement", "a probability")
        check(0 <= self.harm <= 1, "harm", "in [0, 1]")
        check(set(self.liars) <= set(self._skill), "liars", "agents of the world")
        check(min(self.speech, self.note, self.spread) >= 0, "speech", "at least 0, and so others")

    @cached_property
    def agents(self) -> tuple[WorldAgent, ...]:
        """The team: all first copies, then all second copies; the role is the skill."""
        return tuple(
            WorldAgent(f"a{copy * self.skills + i:02d}", skill, f"An expert in {skill}.")
            for copy in range(self.copies)
            for i, skill in enumerate(self.names)
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The skills."""
        return tuple(_WORDS)[: self.skills]

    @cached_property
    def _skill(self) -> dict[str, str]:
        return {agent.id: agent.role for agent in self.agents}

    def blinded(self) -> tuple[WorldAgent, ...]:
        """The same agents with equal roles and profiles, for the control."""
        return tuple(replace(a, role="expert", profile="An expert.") for a in self.agents)

    def tasks(self, count: int, seed: int = 0) -> tuple[Task, ...]:
        """Draw tasks.

        The text names the skills that are needed in varied words, never by their names. `meta`
        holds ``pairs`` (the pairs of skills) and ``difficulty`` (how many pairs).
        """
        draw = random.Random(f"world tasks {seed}")
        every = list(combinations(self.names, 2))
        return tuple(self._task(draw, every, f"world/{seed}/{i}") for i in range(count))

    def _task(self, draw: random.Random, every: list[tuple[str, str]], name: str) -> Task:
        pairs = sorted(draw.sample(every, draw.randint(*self.pairs)))
        sentences = []
        for pair in draw.sample(pairs, len(pairs)):
            words = [draw.choice(_WORDS[skill]) for skill in draw.sample(pair, 2)]
            sentences.append(draw.choice(_JOINS).format(*words))
        text = " ".join([draw.choice(_OPENINGS), *sentences])
        return Task(text, name, kind="text", meta={"pairs": pairs, "difficulty": len(pairs)})

    def execute(self, task: Task, hypergraph: Hypergraph, seed: int = 0) -> Outcome:
        """One run: success and tokens are drawn, anew for every hypergraph and seed."""
        exact = self.expected(task, hypergraph)
        key = f"{seed}\0{task.id}\0{hypergraph.digest()}".encode()
        draw = random.Random(hashlib.blake2b(key, digest_size=8).hexdigest())
        correct = float(draw.random() < exact.success)
        # The logarithm is centred so that the mean is the bill.
        noise = exp(draw.gauss(0.0, self.spread) - self.spread**2 / 2)
        return Outcome(task.id, hypergraph, correct, exact.tokens * noise)

    def expected(self, task: Task, hypergraph: Hypergraph) -> Expected:
        """Exact probability of success and mean number of tokens.

        Raises
        ------
        ConfigError
            If nobody is seated, or a node is no agent of the world.
        """
        if not hypergraph.edges:
            raise ConfigError("the topology has no hyperedge, so nobody would be asked")
        met = self._meetings(hypergraph)
        needed = [tuple(pair) for pair in task.meta["pairs"]]
        share = sum(pair in met for pair in needed) / len(needed)
        success = self.solved if share == 1 else self.floor + (self.partial - self.floor) * share
        if self.liars:
            seated = {agent_of(node)[0] for node in hypergraph.seated()}
            success *= 1 - self.harm * len(seated.intersection(self.liars)) / len(seated)
        return Expected(success, self.bill(hypergraph))

    def _meetings(self, hypergraph: Hypergraph) -> set[tuple[str, str]]:
        met: set[tuple[str, str]] = set()
        for edge in hypergraph.edges:
            if edge.mode != "decide":
                present = {self._skill_of(node) for node in edge.members}
                met.update(combinations([s for s in self.names if s in present], 2))
        return met

    def _skill_of(self, node: str) -> str:
        name = agent_of(node)[0]
        if name not in self._skill:
            raise ConfigError(f"the topology seats {node!r}, which is no agent of the world")
        return self._skill[name]

    def bill(self, hypergraph: Hypergraph) -> float:
        """Mean tokens of a hypergraph."""
        spoken: set[str] = set()
        total, quiet = 0.0, 1.0 - self.disagreement
        for _, edges in hypergraph.canonical().phases():
            carried = {edge: spoken.intersection(edge.members) for edge in edges}
            reads: dict[str, set[str]] = {}
            for edge in edges:
                fresh = [node for node in edge.members if node not in spoken]
                if edge.mode == "decide" and carried[edge]:
                    fresh = fresh[:1] or [min(edge.members)]
                for node in fresh:
                    reads.setdefault(node, set()).update(carried[edge] - {node})
            total += sum(self.speech + self.note * len(read) for read in reads.values())
            spoken.update(reads)
            # How many open boards would make a node speak again, and show it each author.
            again: dict[str, int] = {}
            shared: dict[tuple[str, str], int] = {}
            for edge in edges:
                if edge.mode == "decide" or len(edge.members) < 2:
                    continue
                for node in edge.members:
                    again[node] = again.get(node, 0) + 1
                for pair in combinations(edge.members, 2):
                    shared[pair] = shared.get(pair, 0) + 1
            total += self.speech * sum(1 - quiet**n for n in again.values())
            total += self.note * 2 * sum(1 - quiet**n for n in shared.values())
        return total

    def reward(self, task: Task, hypergraph: Hypergraph, price: float, scale: float) -> float:
        """Exact mean of ``correct - price * tokens / scale``."""
        exact = self.expected(task, hypergraph)
        return exact.success - price * exact.tokens / scale

    def oracle(self, task: Task, price: float, scale: float = 6000.0) -> Hypergraph:
        """The hypergraph of the largest exact reward if nobody lies.

        One phase of discuss groups with one agent a skill is enough: a second copy or a second
        phase adds to the bill and lets no further pair meet. So the search runs over the pairs
        that are made to meet, and over the ways in which their meetings share groups.

        Parameters
        ----------
        task : Task
            Of this world.
        price : float
            Reward that `scale` tokens are worth.
        scale : float
            Tokens.
        """
        first = {agent.role: agent.id for agent in reversed(self.agents)}
        nodes = tuple(agent.id for agent in self.agents)
        found = [Hypergraph(nodes, (Hyperedge(nodes[:1]),))]
        pairs = [tuple(pair) for pair in task.meta["pairs"]]
        for size in range(1, len(pairs) + 1):
            for chosen in combinations(pairs, size):
                for parts in _partitions(list(chosen)):
                    groups = {frozenset(s for pair in part for s in pair) for part in parts}
                    edges = [Hyperedge(tuple(sorted(first[s] for s in group))) for group in groups]
                    found.append(Hypergraph(nodes, tuple(edges)).canonical())
        honest = replace(self, liars=())
        return max(found, key=lambda h: (honest.reward(task, h, price, scale), h.digest()))


def _partitions(items: list) -> Iterator[list[list]]:
    """All ways to split a list into non-empty parts."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for parts in _partitions(rest):
        yield [[first], *parts]
        for i in range(len(parts)):
            yield [*parts[:i], [first, *parts[i]], *parts[i + 1 :]]
