"""The kinds of policy: what each explores, what it makes of that, and the files it leaves."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from math import comb
from typing import NamedTuple

from hyperagent.bench.files import compact
from hyperagent.bench.store import RunFolder
from hyperagent.hypergraph import Hypergraph, agent_of
from hyperagent.learning.alone import ask_alone, read_replies, seat_alone
from hyperagent.learning.events import ScalarLog
from hyperagent.learning.execution import Executions
from hyperagent.learning.paper_gradient import paper_gradient
from hyperagent.learning.pricing import price_for_budget
from hyperagent.learning.probing import ask_probe, read_probes, ways_on
from hyperagent.tasks import Task
from hyperagent.team import Agent
from hyperagent.topology.anytime import Beliefs
from hyperagent.topology.anytime_designer import AnytimeDesigner
from hyperagent.topology.candidates import sub_hypergraphs, unique
from hyperagent.topology.codebook import MOST, CodebookDesigner
from hyperagent.topology.collect import explore
from hyperagent.topology.design import Designer
from hyperagent.topology.distil import distil, good_targets
from hyperagent.topology.learned import FILES
from hyperagent.topology.outcomes import Objective, Outcome
from hyperagent.topology.paper import PaperDesigner
from hyperagent.topology.probe import STOP, ProbePolicy
from hyperagent.topology.probe_designer import ProbeDesigner
from hyperagent.topology.rehearsal import rehearse, run_held_out
from hyperagent.topology.rloo import rloo
from hyperagent.topology.stops import Posterior
from hyperagent.topology.surrogate import Surrogate, Training
from hyperagent.topology.surrogate_designer import SurrogateDesigner
from hyperagent.topology.vae import VaeDesigner

MOST_CANDIDATES = 1024
AIM = 0.9
"""Share of a token budget that a policy aims at: what it takes is known with an error, and the
guard refuses a policy that passes the budget."""
NEVER = 2.0
"""Threshold of a posterior at which nothing stops."""
LEAST_TRIED = 8
"""Executions without which a hypergraph is no code of a codebook."""


@dataclass(frozen=True)
class Lesson:
    """Everything that a policy is learned from.

    Parameters
    ----------
    agents : tuple of Agent
    train, validation : tuple of Task
    fixed : Hypergraph
        The best fixed topology.
    topologies : tuple of Hypergraph
        The portfolio.
    first : str
        Agent that a probe policy asks first.
    price, scale : float
        Reward is ``correct - price * tokens / scale``.
    budget : int or None
        Tokens a question may take on average; the price follows from it.
    seed : int
    folder : RunFolder
    scalars : ScalarLog
    executions : Executions
    explore, refine : int
        Executions to learn from, and those of a policy gradient.
    encoder : str
        Of the questions.
    objective : {"tokens", "dollars"}
        What costs.
    """

    agents: tuple[Agent, ...]
    train: tuple[Task, ...]
    validation: tuple[Task, ...]
    fixed: Hypergraph
    topologies: tuple[Hypergraph, ...]
    first: str
    price: float
    scale: float
    budget: int | None
    seed: int
    folder: RunFolder
    scalars: ScalarLog
    executions: Executions
    explore: int
    refine: int
    encoder: str = "hashing"
    objective: Objective = "tokens"

    @property
    def outcomes(self) -> list[Outcome]:
        """All outcomes so far."""
        return self.executions.done

    @cached_property
    def known(self) -> dict[tuple[str, str], Outcome]:
        """By task and hypergraph, the first outcome of all before anything was explored."""
        return {(o.task, o.hypergraph.digest()): o for o in reversed(self.outcomes)}

    @property
    def target(self) -> float | None:
        """What a policy aims at to keep the budget on questions that it has not seen."""
        return None if self.budget is None else AIM * self.budget

    @cached_property
    def anchor(self) -> Hypergraph:
        """The topology whose parts are tried: one that seats as many agents as any, the fixed one
        if it does. A cheap fixed topology has too few parts to find a better one among them."""
        ranked = [self.fixed, *self.topologies]
        return max(ranked, key=lambda graph: len(_agents_of(graph)))

    @cached_property
    def size(self) -> int:
        """Most seats of a part, so that there are not too many."""
        seats, count, size = len(self.anchor.seated()), 0, 0
        while size < seats and count + comb(seats, size + 1) <= MOST_CANDIDATES:
            size += 1
            count += comb(seats, size)
        return max(1, size)

    @cached_property
    def candidates(self) -> tuple[Hypergraph, ...]:
        """The portfolio and the parts of the anchor."""
        parts = sub_hypergraphs(self.anchor, self.size)
        return unique([self.fixed, *self.topologies, *parts])

    def reporter(self, stage: str) -> Callable[[int, dict[str, float]], None]:
        """Writes the figures of a training loop."""
        return lambda step, figures: self.scalars.add(stage, step, figures)


class Made(NamedTuple):
    """A policy that was learned.

    Attributes
    ----------
    designer : Designer
        Deterministic.
    price : float
        Of tokens, or of dollars; that of the lesson, or the one that keeps its budget.
    rehearsed : list of Outcome
        On questions that it learned from, by policies that were learned without them: evidence that
        costs no execution. Empty where there is none.
    """

    designer: Designer
    price: float
    rehearsed: list[Outcome] = []  # noqa: RUF012


def make_policy(kind: str, lesson: Lesson) -> Made:
    """Learn a policy and write its weights.

    Parameters
    ----------
    kind : str
        One of ``POLICIES`` but ``"constant"``.
    lesson : Lesson
    """
    if kind in _ASKING:
        return _ASKING[kind](lesson)
    lesson.executions.run(
        lambda execute: explore(
            lesson.anchor, lesson.train, execute, lesson.explore,
            size=lesson.size, seed=lesson.seed,
        ),
        lesson.explore,
        "explore",
    )  # fmt: skip
    chooser = _surrogate(lesson)
    if kind == "surrogate":
        return Made(chooser, chooser.price)
    return Made(_KINDS[kind](lesson, chooser), chooser.price)


def _surrogate(lesson: Lesson) -> SurrogateDesigner:
    """Fit the surrogate, or take the one that an earlier start has fitted to the same outcomes."""
    path, folder = lesson.folder.path / FILES["surrogate"], lesson.folder
    lines = "\n".join(compact(outcome.to_json()) for outcome in lesson.outcomes)
    key = sha256(lines.encode()).hexdigest()
    if folder.decisions.get("surrogate") == key and path.exists():
        chooser = SurrogateDesigner.load(path)
    else:
        surrogate = Surrogate.fit(
            lesson.outcomes,
            {task.id: task for task in lesson.train},
            lesson.agents,
            training=Training(encoder=lesson.encoder),
            seed=lesson.seed,
        )
        chooser = SurrogateDesigner(
            surrogate, lesson.candidates, lesson.fixed, price=lesson.price, scale=lesson.scale
        )
        if lesson.target is not None:
            chooser.price = price_for_budget(chooser, lesson.validation, lesson.target)
        chooser.save(path)
        folder.decide("surrogate", key)
    figures = {"temperature": chooser.surrogate.temperature, "price": chooser.price}
    if chooser.surrogate.ece is not None:
        figures["calibration_error"] = chooser.surrogate.ece
    lesson.scalars.add("surrogate", 0, figures)
    return chooser


def _anytime(lesson: Lesson) -> Made:
    """From the answers of every agent alone. It takes seconds: a resumed run does it again."""
    seats = {graph.digest() for graph in seat_alone(lesson.agents).values()}
    questions = lesson.train[: lesson.explore // len(seats)]
    lesson.executions.run(
        lambda execute: ask_alone(
            lesson.agents, questions, execute, known=lesson.known, seed=lesson.seed
        ),
        len(questions) * len(seats),
        "replies",
    )
    pairs = {(o.task, o.hypergraph.digest()) for o in lesson.outcomes}
    alone = Counter(task for task, digest in pairs if digest in seats)
    asked = [task for task in lesson.train if alone[task.id] == len(seats)]
    replies = read_replies(lesson.folder.samples, lesson.agents, asked, seed=lesson.seed)
    price, unit = lesson.price, lesson.scale
    if lesson.target is not None:
        held = rehearse(replies, lesson.objective)
        price, unit = held.within(lesson.target), held.unit
    (policy,) = Beliefs.learn(replies).policies((price,), lesson.objective, unit)
    designer = AnytimeDesigner(policy)
    designer.save(lesson.folder.path / FILES["anytime"])
    price *= lesson.scale / unit
    lesson.scalars.add("anytime", 0, {"questions": len(asked), "price": price})
    if lesson.target is not None:
        # Its price was chosen by what it does on these questions.
        return Made(designer, price)
    played = run_held_out(replies, price, unit, lesson.objective)
    paid = [None if math.isnan(dollars) else float(dollars) for dollars in played.dollars]
    rehearsed = [
        Outcome(task.id, lesson.fixed, float(right), max(float(tokens), 1.0), dollars)
        for task, right, tokens, dollars in zip(
            asked, played.correct, played.tokens, paid, strict=True
        )
    ]
    return Made(designer, price, rehearsed)


def _probe(lesson: Lesson) -> Made:
    """From one agent's reply, and where each of the best topologies led after it."""
    single = seat_alone(lesson.agents)[lesson.first].digest()
    branches = [g.canonical() for g in lesson.topologies if g.digest() != single]
    ways = ways_on(lesson.agents, lesson.first, branches)
    # The team's own anytime threshold must not cut short what is to be learned.
    whole = {(task.id, way.digest()): Posterior(NEVER) for task in lesson.train for way in ways}
    kept, asked = lesson.executions.run(
        lambda execute: ask_probe(
            ways, lesson.train, execute, lesson.explore, price=lesson.price, scale=lesson.scale,
            objective=lesson.objective, known=lesson.known, seed=lesson.seed,
        ),
        lesson.explore,
        "probe",
        whole,
    )  # fmt: skip
    ways = [ways[i] for i in kept]
    policy = ProbePolicy.learn(
        lesson.first,
        [branches[i - 1] for i in kept[1:]],
        read_probes(lesson.folder.samples, ways, asked, seed=lesson.seed),
        price=lesson.price,
        unit=lesson.scale,
        objective=lesson.objective,
        budget=lesson.target,
    )
    designer = ProbeDesigner(policy)
    designer.save(lesson.folder.path / FILES["probe"])
    figures = {"questions": len(asked), "price": policy.price, "stops": policy.shares[STOP]}
    lesson.scalars.add("probe", 0, figures)
    return Made(designer, policy.price)


def _vae(lesson: Lesson, chooser: SurrogateDesigner) -> VaeDesigner:
    designer = VaeDesigner(mode="mode", encoder=lesson.encoder, init=lesson.seed)
    distil(
        designer,
        lesson.train,
        lesson.agents,
        good_targets(chooser, designer, lesson.train, lesson.agents),
        seed=lesson.seed,
        folder=lesson.folder.path / "checkpoint",
        report=lesson.reporter("distil"),
    )
    designer.save(lesson.folder.path / FILES["vae"])
    return designer


def _rloo(lesson: Lesson, chooser: SurrogateDesigner) -> VaeDesigner:
    """Policy gradient from the distilled designer; its executions are made one at a time."""
    designer = _vae(lesson, chooser)
    lesson.executions.one_by_one(
        lambda execute: rloo(
            designer,
            lesson.train,
            lesson.agents,
            execute,
            lesson.refine,
            price=chooser.price,
            scale=lesson.scale,
            surrogate=chooser.surrogate,
            budget_tokens=lesson.target,
            seed=lesson.seed,
            report=lesson.reporter("rloo"),
        ),
        lesson.refine,
        "rloo",
    )
    designer.save(lesson.folder.path / FILES["rloo"])
    return designer


def _codebook(lesson: Lesson, chooser: SurrogateDesigner) -> CodebookDesigner:
    tried = Counter(outcome.hypergraph.digest() for outcome in lesson.outcomes)
    kept = [c for c in lesson.candidates[1:] if tried[c.digest()] >= LEAST_TRIED]
    kept = sorted(kept, key=lambda code: -tried[code.digest()])[: MOST - 1]
    designer = CodebookDesigner.fit(
        [lesson.fixed, *kept],
        lesson.outcomes,
        {task.id: task for task in lesson.train},
        lesson.agents,
        price=chooser.price,
        scale=lesson.scale,
        encoder=lesson.encoder,
    )
    designer.save(lesson.folder.path / FILES["codebook"])
    return designer


def _paper(lesson: Lesson, chooser: SurrogateDesigner) -> PaperDesigner:
    """The reconstruction of the paper, trained as it says; the surrogate only sets the price."""
    designer = PaperDesigner(mode="mode", init=lesson.seed)
    lesson.executions.one_by_one(
        lambda execute: paper_gradient(
            designer, lesson.train, lesson.agents, execute, lesson.refine,
            seed=lesson.seed, report=lesson.reporter("paper"),
        ),
        lesson.refine,
        "paper",
    )  # fmt: skip
    designer.save(lesson.folder.path / FILES["paper"])
    return designer


_ASKING: dict[str, Callable[[Lesson], Made]] = {
    "anytime": _anytime,
    "probe": _probe,
}
"""Policies that decide by what an agent has said: they explore in their own way."""
_KINDS: dict[str, Callable[[Lesson, SurrogateDesigner], Designer]] = {
    "codebook": _codebook,
    "paper": _paper,
    "rloo": _rloo,
    "vae": _vae,
}


def _agents_of(graph: Hypergraph) -> set[str]:
    return {agent_of(node)[0] for node in graph.seated()}
