"""The kinds of policy: what each makes of the executions, and the files it leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from math import comb

from hyperagent.bench.files import compact
from hyperagent.bench.store import RunFolder
from hyperagent.hypergraph import Hypergraph, agent_of
from hyperagent.learning.alone import read_replies, seat_alone
from hyperagent.learning.events import ScalarLog
from hyperagent.learning.execution import Executions
from hyperagent.learning.paper_gradient import paper_gradient
from hyperagent.learning.pricing import price_for_budget
from hyperagent.tasks import Task
from hyperagent.team import Agent
from hyperagent.topology.anytime import Beliefs
from hyperagent.topology.anytime_designer import AnytimeDesigner
from hyperagent.topology.candidates import sub_hypergraphs, unique
from hyperagent.topology.codebook import MOST, CodebookDesigner
from hyperagent.topology.design import Designer
from hyperagent.topology.distil import distil, good_targets
from hyperagent.topology.learned import FILES
from hyperagent.topology.outcomes import Objective, Outcome
from hyperagent.topology.paper import PaperDesigner
from hyperagent.topology.rehearsal import rehearse
from hyperagent.topology.rloo import rloo
from hyperagent.topology.surrogate import Surrogate, Training
from hyperagent.topology.surrogate_designer import SurrogateDesigner
from hyperagent.topology.vae import VaeDesigner

MOST_CANDIDATES = 1024
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
    price, scale : float
        Reward is ``correct - price * tokens / scale``.
    budget : int or None
        Tokens a question may take on average; the price follows from it.
    seed : int
    folder : RunFolder
    scalars : ScalarLog
    executions : Executions
    refine : int
        On-policy executions.
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
    price: float
    scale: float
    budget: int | None
    seed: int
    folder: RunFolder
    scalars: ScalarLog
    executions: Executions
    refine: int
    encoder: str = "hashing"
    objective: Objective = "tokens"

    @property
    def outcomes(self) -> list[Outcome]:
        """All outcomes so far."""
        return self.executions.done

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


def make_policy(kind: str, lesson: Lesson) -> tuple[Designer, float]:
    """Learn a policy and write its weights.

    Parameters
    ----------
    kind : str
        One of ``POLICIES`` but ``"constant"``.
    lesson : Lesson

    Returns
    -------
    designer : Designer
        Deterministic.
    price : float
        Of tokens, or of dollars; that of the lesson, or the one that keeps its budget.
    """
    if kind == "anytime":
        return _anytime(lesson)
    chooser = _surrogate(lesson)
    if kind == "surrogate":
        return chooser, chooser.price
    return _KINDS[kind](lesson, chooser), chooser.price


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
        if lesson.budget is not None:
            chooser.price = price_for_budget(chooser, lesson.validation, lesson.budget)
        chooser.save(path)
        folder.decide("surrogate", key)
    figures = {"temperature": chooser.surrogate.temperature, "price": chooser.price}
    if chooser.surrogate.ece is not None:
        figures["calibration_error"] = chooser.surrogate.ece
    lesson.scalars.add("surrogate", 0, figures)
    return chooser


def _anytime(lesson: Lesson) -> tuple[AnytimeDesigner, float]:
    """From the answers of every agent alone. It takes seconds: a resumed run does it again."""
    seats = {graph.digest() for graph in seat_alone(lesson.agents).values()}
    pairs = {(o.task, o.hypergraph.digest()) for o in lesson.outcomes}
    alone = Counter(task for task, digest in pairs if digest in seats)
    asked = [task for task in lesson.train if alone[task.id] == len(seats)]
    replies = read_replies(lesson.folder.samples, lesson.agents, asked, seed=lesson.seed)
    price, unit = lesson.price, lesson.scale
    if lesson.budget is not None:
        held = rehearse(replies, lesson.objective)
        price, unit = held.within(lesson.budget), held.unit
    (policy,) = Beliefs.learn(replies).policies((price,), lesson.objective, unit)
    designer = AnytimeDesigner(policy)
    designer.save(lesson.folder.path / FILES["anytime"])
    price *= lesson.scale / unit
    lesson.scalars.add("anytime", 0, {"questions": len(asked), "price": price})
    return designer, price


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
            budget_tokens=lesson.budget,
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


_KINDS: dict[str, Callable[[Lesson, SurrogateDesigner], Designer]] = {
    "codebook": _codebook,
    "paper": _paper,
    "rloo": _rloo,
    "vae": _vae,
}


def _agents_of(graph: Hypergraph) -> set[str]:
    return {agent_of(node)[0] for node in graph.seated()}
