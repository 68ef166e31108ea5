"""The last stage of learning: is the learned policy surely better than what needs no learning?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hyperagent.hypergraph import Hypergraph
from hyperagent.learning.execution import Executions
from hyperagent.tasks import Task
from hyperagent.team import Agent
from hyperagent.topology.design import Designer
from hyperagent.topology.outcomes import Execute, Objective, Outcome, means
from hyperagent.topology.verdict import Verdict, judge


@dataclass(frozen=True)
class Validation:
    """What the guard saw and said.

    Attributes
    ----------
    learned : list of Outcome
        Of the policy.
    rivals : dict of str to (list of Outcome)
        By topology; the first is the one to fall back to.
    verdict : Verdict
        Against the rival that is beaten by least.
    """

    learned: list[Outcome]
    rivals: dict[str, list[Outcome]]
    verdict: Verdict

    @property
    def fallback(self) -> str:
        """Topology with the best mean reward among the rivals."""
        return next(iter(self.rivals))

    def to_json(self) -> dict[str, dict[str, float]]:
        """Mean ``correct``, ``tokens`` and ``dollars``: ``"learned"``, ``"fixed"``, others."""
        found = {"learned": means(self.learned), "fixed": means(self.rivals[self.fallback])}
        return found | {n: means(o) for n, o in self.rivals.items() if n != self.fallback}


def validate(
    designer: Designer,
    rivals: Mapping[str, Hypergraph],
    tasks: Sequence[Task],
    agents: Sequence[Agent],
    executions: Executions,
    *,
    price: float,
    scale: float,
    objective: Objective = "tokens",
    budget: float | None = None,
    rehearsed: Sequence[Outcome] = (),
    others: Mapping[str, Hypergraph] | None = None,
    seed: int = 0,
) -> Validation:
    """Execute the policy and its rivals on the same questions, and judge.

    The policy must surely beat every rival. If it does not, the rival with the best mean reward
    here is what stays: the race that found the best fixed topology is short, and errs.

    Where the policy was rehearsed on further questions, and a rival answered all of them, they
    count too: more questions, at no cost. A rival that answered some, in the race that it won,
    would be flattered by them.

    Parameters
    ----------
    designer : Designer
    rivals : mapping of str to Hypergraph
        The best fixed topology first, then one agent alone if that is another.
    tasks : sequence of Task
        Validation questions.
    agents : sequence of Agent
    executions : Executions
    price, scale, objective
        Reward is ``correct - price * cost / scale``.
    budget : float, optional
        Mean tokens that the policy must not pass here.
    rehearsed : sequence of Outcome
        Of policies that were learned without these questions, which are not among `tasks`.
    others : mapping of str to Hypergraph, optional
        Further rivals, on the questions of `rehearsed` alone, if they answered all of them.
    seed : int
    """
    made = [designer.design(task, agents, seed=seed) for task in tasks]
    stops = {
        (task.id, design.hypergraph.digest()): design.stop
        for task, design in zip(tasks, made, strict=True)
        if design.stop is not None
    }

    def run(execute: Execute) -> tuple[list[Outcome], dict[str, list[Outcome]]]:
        ours: list[Outcome] = []
        theirs: dict[str, list[Outcome]] = {name: [] for name in rivals}
        for task, design in zip(tasks, made, strict=True):
            known = {}
            for name, graph in rivals.items():
                known[graph.digest()] = execute(task, graph, seed)
                theirs[name].append(known[graph.digest()])
            same = None if design.stop is not None else known.get(design.hypergraph.digest())
            ours.append(execute(task, design.hypergraph, seed) if same is None else same)
        return ours, theirs

    before = executions.done
    learned, found = executions.run(run, (1 + len(rivals)) * len(tasks), "validation", stops)
    reward = {
        name: sum(o.reward(price, scale, objective) for o in outcomes)
        for name, outcomes in found.items()
    }
    # Of equals the first stays first.
    found = {name: found[name] for name in sorted(found, key=lambda name: -reward[name])}
    money = {"price": price, "scale": scale, "objective": objective, "budget": budget}

    def known(graph: Hypergraph) -> list[Outcome]:
        """Outcomes on all questions of the rehearsal; empty if one is missing."""
        first = {o.task: o for o in reversed(before) if o.hypergraph.digest() == graph.digest()}
        wanted = [outcome.task for outcome in rehearsed]
        return [first[task] for task in wanted] if set(wanted) <= set(first) else []

    verdicts = []
    for name, outcomes in found.items():
        more = known(rivals[name])
        ours = [*learned, *rehearsed] if more else learned
        verdicts.append(judge(ours, [*outcomes, *more], name=name, **money))
    digests = {graph.digest() for graph in rivals.values()}
    for name, graph in (others or {}).items():
        if graph.digest() not in digests and (more := known(graph)):
            verdicts.append(judge(rehearsed, more, name=name, **money))
    return Validation(learned, found, min(verdicts, key=lambda verdict: verdict.low))
