"""From a data set and a team to a learned policy: measure, race, explore, learn, judge."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from hashlib import sha256
from math import fsum
from pathlib import Path
from typing import Any

from hyperagent import tasks
from hyperagent.bench import facts
from hyperagent.bench.plan import config_hash, describe
from hyperagent.bench.progress import Progress, Silent
from hyperagent.bench.store import RunFolder, open_folder
from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hypergraph
from hyperagent.learning.alone import seat_alone
from hyperagent.learning.events import ScalarLog
from hyperagent.learning.execution import Executions, TeamExecutor
from hyperagent.learning.plan import DEFAULT_PRICE, MEASURED, LearnPlan, divide
from hyperagent.learning.policies import Lesson, make_policy
from hyperagent.learning.probing import MOST_BRANCHES
from hyperagent.learning.validation import validate
from hyperagent.llm import Allowance, CacheStore, Limiter, Prices, RetryPolicy
from hyperagent.tasks import TaskSet
from hyperagent.team import Team
from hyperagent.topology.anytime import MOST_AGENTS
from hyperagent.topology.candidates import portfolio
from hyperagent.topology.collect import race
from hyperagent.topology.design import best_first
from hyperagent.topology.encoders import text_encoder
from hyperagent.topology.learned import FORMAT, POLICY_FILE, team_record
from hyperagent.topology.outcomes import Execute, Objective, Outcome, OutcomeLog, means
from hyperagent.topology.verdict import Verdict

_TEAMS = {"number": "math", "text": "math", "choice": "knowledge", "code": "code"}


@dataclass(frozen=True)
class Learned:
    """What came out of a learning run.

    Attributes
    ----------
    policy : str
        Kind that was learned.
    fixed : str
        Name of the fixed topology that stays where the learned policy is not used.
    verdict : Verdict or None
        Of the guard; None for a constant policy.
    price, scale : float
        Correctness that `scale` tokens, or dollars, are worth, and those.
    objective : {"tokens", "dollars"}
    executions, failed : int
        All executions, and those of this start that failed.
    tokens : int
        Of all executions, each counted as if it had been made alone.
    paid_tokens, paid_calls : int
        Really paid for, by all starts together: shared and replayed calls are in neither.
    validation : dict
        ``"learned"``, ``"fixed"`` and other rivals' names to mean ``correct``, ``tokens`` and,
        where all prices are known, ``dollars``; empty for a constant.
    split : str
        ``data set/split`` that was learned from.
    path : str
        Folder of the policy.
    """

    policy: str
    fixed: str
    verdict: Verdict | None
    price: float
    scale: float
    objective: Objective
    executions: int
    failed: int
    tokens: int
    paid_tokens: int
    paid_calls: int
    validation: dict[str, dict[str, float]]
    split: str
    path: str

    @property
    def shipped(self) -> bool:
        """Whether the learned policy is used, and not the best fixed topology."""
        return self.verdict is not None and self.verdict.shipped

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary, ready for `json.dumps`."""
        return asdict(self) | {"shipped": self.shipped}


def learn(
    plan: LearnPlan,
    *,
    out: str | os.PathLike[str],
    resume: bool = False,
    team: Team | str | None = None,
    backend: str | None = None,
    progress: Progress | None = None,
    calls: str | os.PathLike[str] | None = None,
    backend_options: Mapping[str, Any] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = False,
    prices: Prices | None = None,
    limiter: Limiter | None = None,
    retry: RetryPolicy | None = None,
) -> Learned:
    """Learn a policy, or go on learning it, and write it to a folder.

    Equal plans, teams and replies give equal files ``policy.json``, ``outcomes.jsonl`` and
    weights, byte for byte, however often the run was stopped.

    Parameters
    ----------
    plan : LearnPlan
    out : path
        Folder of the policy; ``learned:OUT`` is the designer in it.
    resume : bool
        Go on with the run in `out`. Without it, `out` must not hold a run.
    team : Team or str, optional
        Or a team file or its name; by default the package's team for the kind of task. A `Team` is
        not closed.
    backend : str, optional
        Model of the agents that name none, where `team` is not a `Team`.
    progress : Progress, optional
    calls : path, optional
        Replies to use and to add to, in place of ``replies.sqlite`` in `out`.
    backend_options, prices, limiter, retry : optional
        As in `Team`, where `team` is not one.
    data_dir, download : optional
        As in `hyperagent.tasks.load`.

    Raises
    ------
    ConfigError
        If a name or setting cannot be used.
    RunError
        If the folder cannot be used, or executions keep failing.
    BudgetExceeded
        If ``plan.spend_tokens`` are spent. The folder can be resumed with more.
    BackendError
        If every further call would fail the same way. The folder can be resumed.
    """
    progress = progress or Silent()
    options = dict(backend_options or {})
    loaded = tasks.load(plan.task, _split(plan), data_dir=data_dir, download=download)
    own = not isinstance(team, Team)
    if not isinstance(team, Team):
        if data_dir is not None:
            options.setdefault("data_dir", data_dir)
        if not loaded.tasks:
            raise ConfigError(f"data set {plan.task!r} has no questions in this split")
        team = Team.from_config(
            team or _TEAMS[loaded.tasks[0].kind],
            backend=backend,
            backend_options=options or None,
            prices=prices,
            limiter=limiter,
            retry=retry,
        )
    try:
        run = _Run(plan, team, loaded, progress, calls)
        config = {**plan.decisive(), "split": loaded.split, "members": describe(team)}
        with closing(
            open_folder(
                out,
                config={"hash": config_hash(config), **config},
                meta=facts.meta(plan, loaded, run.train + run.validation),
                resume=resume,
                secrets=facts.secrets(options),
            )
        ) as folder:
            return run.finish(folder)
    finally:
        progress.close()
        if own:
            team.close()


def _split(plan: LearnPlan) -> str:
    if plan.split is not None:
        return plan.split
    return "train" if "train" in tasks.data_sets.get(plan.task).splits else "test"


class _Run:
    """One start of a learning run."""

    def __init__(
        self,
        plan: LearnPlan,
        team: Team,
        loaded: TaskSet,
        progress: Progress,
        calls: str | os.PathLike[str] | None,
    ) -> None:
        self.plan, self.team, self.loaded = plan, team, loaded
        self.progress, self.calls = progress, calls
        # A replay knows only some questions.
        counts = [c for b in team.backends.values() if (c := getattr(b, "samples", None))]
        able = [task for task in loaded if all(count(task.id) for count in counts)]
        parts = tasks.split_by_hash(able)
        self.train = tuple(parts["train"][: plan.limit])
        self.validation = tuple(parts["validation"][: plan.limit])
        self.agents = tuple(team.agents.values())
        # Before anything is paid for: what cannot be used ends the run here.
        text_encoder(plan.encoder)
        if plan.objective == "dollars" and team.prices is None:
            raise ConfigError(
                f"the team {team.name} has no price list (--prices): no dollars can be spared"
            )
        self.topologies = portfolio(self.agents, plan.anchors)
        self.first = plan.probe or best_first(self.agents)[0].id
        self.alone = seat_alone(self.agents)
        self._check_agents()
        if plan.policy in ("anytime", "probe"):
            # Agents alone, which these policies ask first, are their first rivals.
            asked = self.alone if plan.policy == "anytime" else {self.first: self.alone[self.first]}
            alone = {f"{name} alone": graph for name, graph in asked.items()}
            seen = {graph.digest() for graph in alone.values()}
            others = {n: g for n, g in self.topologies.items() if g.digest() not in seen}
            self.topologies = alone | others
        if len(self.train) < MEASURED or len(self.validation) < 2:
            raise ConfigError(
                f"{loaded.name}/{loaded.split} has {len(self.train)} questions to learn from and "
                f"{len(self.validation)} to validate on, which is too few"
            )
        # A probe tries all ways on in a quarter of the executions, and keeps the best.
        explored = {
            "anytime": len(self.agents),
            "probe": 3 + min(MOST_BRANCHES, len(self.topologies) - 1),
        }
        self.shares = divide(
            plan, len(self.topologies), len(self.validation), explored.get(plan.policy, 1)
        )
        self.validation = self.validation[: self.shares.validation or None]

    def _check_agents(self) -> None:
        """Refuse a team or a portfolio that the policy cannot be learned with."""
        plan, known = self.plan, ", ".join(self.alone)
        if self.first not in self.alone:
            raise ConfigError(
                f"the probe {self.first!r} is no agent of the team {self.team.name} ({known})"
            )
        if plan.policy == "anytime" and len(self.alone) > MOST_AGENTS:
            raise ConfigError(
                f"an anytime policy knows at most {MOST_AGENTS} agents, the team {self.team.name} "
                f"has {len(self.alone)}"
            )
        single = self.alone[self.first].digest()
        if plan.policy == "probe" and all(g.digest() == single for g in self.topologies.values()):
            raise ConfigError("a probe needs a topology to go on with besides one agent alone")

    def finish(self, folder: RunFolder) -> Learned:
        """Run all stages and write the policy."""
        plan = self.plan
        allowance = Allowance(tokens=plan.spend_tokens)
        allowance.spent.tokens = folder.tally.charged
        store = CacheStore(folder.replies if self.calls is None else Path(self.calls))
        with (
            closing(store),
            OutcomeLog(folder.path / "outcomes.jsonl") as log,
            closing(ScalarLog(folder.path)) as scalars,
        ):
            executor = TeamExecutor(
                self.team, folder, self.loaded.scorers, store=store, allowance=allowance
            )
            self.executions = Executions(
                log,
                executor,
                seed=plan.seed,
                concurrency=plan.concurrency,
                progress=self.progress,
                on_outcome=lambda number, outcome: scalars.add(
                    "executions", number, {"correct": outcome.correct, "tokens": outcome.tokens}
                ),
            )
            best, price, scale = self._best_fixed()
            fixed, seen = self.topologies[best], None
            if plan.policy != "constant":
                lesson = Lesson(
                    agents=self.agents, train=self.train, validation=self.validation,
                    fixed=fixed, topologies=tuple(self.topologies.values()),
                    first=self.first, price=price, scale=scale, budget=plan.budget_tokens,
                    seed=plan.seed, folder=folder, scalars=scalars, executions=self.executions,
                    explore=self.shares.explore, refine=self.shares.refine, encoder=plan.encoder,
                    objective=plan.objective,
                )  # fmt: skip
                made = make_policy(plan.policy, lesson)
                price, rivals = made.price, self._rivals(best, made.price, scale)
                seen = validate(
                    made.designer, rivals, self.validation, self.agents, self.executions,
                    price=price, scale=scale, objective=plan.objective,
                    budget=plan.budget_tokens, rehearsed=made.rehearsed,
                    others={f"{n} alone": g for n, g in self.alone.items()}, seed=plan.seed,
                )  # fmt: skip
                best, fixed = seen.fallback, rivals[seen.fallback]
                scalars.add(
                    "validation", 0,
                    {"difference": seen.verdict.difference, "low": seen.verdict.low,
                     "high": seen.verdict.high, "tokens_ratio": seen.verdict.tokens_ratio},
                )  # fmt: skip
            # Replays of recorded replies are on the ledger, but nobody is paid for them.
            free = not any(getattr(b, "cacheable", True) for b in self.team.backends.values())
            paid = (0, 0) if free else (folder.tally.tokens, folder.tally.calls)
            done = Learned(
                plan.policy, best, seen and seen.verdict, price, scale, plan.objective,
                len(log), executor.failed, int(fsum(o.tokens for o in log)), *paid,
                seen.to_json() if seen else {},
                f"{self.loaded.name}/{self.loaded.split}", folder.path.name,
            )  # fmt: skip
            folder.write(POLICY_FILE, self._policy(done, fixed, log))
            folder.write("learned.json", done.to_json())
            return done

    def _rivals(self, best: str, price: float, scale: float) -> dict[str, Hypergraph]:
        """The best fixed topology, and one agent alone if that is another one and affordable."""
        single = self.alone[self.first]
        if self.plan.policy == "anytime":
            # All of them were asked: the one that did best.
            rewards: dict[str, list[float]] = {g.digest(): [] for g in self.alone.values()}
            for o in self.executions.done:
                if o.hypergraph.digest() in rewards:
                    reward = o.reward(price, scale, self.plan.objective)
                    rewards[o.hypergraph.digest()].append(reward)
            single = max(
                self.alone.values(),
                key=lambda g: fsum(rewards[g.digest()]) / len(rewards[g.digest()]),
            )
        names = [n for n, g in self.topologies.items() if g.digest() == single.digest()]
        found = {best: self.topologies[best]}
        if not names and self.plan.budget_tokens is None:
            # Left out of the portfolio: it does not race, but it is what a team has to beat. What
            # it takes was not measured, so that it stands for no budget.
            found[f"{self.first} alone"] = single
        return found | {n: single for n in names if n in self.entrants and n != best}

    def _best_fixed(self) -> tuple[str, float, float]:
        """Name of the best fixed topology, price and scale of tokens."""
        plan, few = self.plan, self.train[:MEASURED]

        def measure(execute: Execute) -> dict[str, list[Outcome]]:
            return {
                name: [execute(task, graph, plan.seed) for task in few]
                for name, graph in self.topologies.items()
            }

        measured = self.executions.run(measure, self.shares.measure, "measure")
        tokens = {name: means(outcomes)["tokens"] for name, outcomes in measured.items()}
        scale = min(
            fsum(o.cost(plan.objective) for o in outcomes) / len(outcomes)
            for outcomes in measured.values()
        )
        if not scale > 0:
            raise ConfigError(
                f"the calls of {self.team.name} cost nothing, so that there are no "
                f"{plan.objective} to spare"
            )
        price = DEFAULT_PRICE if plan.price is None else plan.price
        entrants = self.topologies
        if plan.budget_tokens is not None:
            price = 0.0
            entrants = {n: g for n, g in entrants.items() if tokens[n] <= plan.budget_tokens}
            if not entrants:
                raise ConfigError(
                    f"a budget of {plan.budget_tokens:,} tokens a question is too small: the "
                    f"cheapest fixed topology took {scale:,.0f}"
                )
        self.entrants = entrants
        found = self.executions.run(
            lambda execute: race(
                entrants, self.train, execute, self.shares.race,
                price=price, scale=scale, objective=plan.objective, seed=plan.seed,
            ),
            self.shares.race,
            "race",
        )  # fmt: skip
        return found.best, price, scale

    def _policy(self, done: Learned, fixed: Hypergraph, log: OutcomeLog) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "policy": done.policy,
            "shipped": done.shipped,
            "fixed": {"name": done.fixed, "hypergraph": fixed.canonical().to_hif()},
            "team": team_record(self.agents),
            "task": done.split,
            "seed": self.plan.seed,
            "budget_tokens": self.plan.budget_tokens,
            "objective": self.plan.objective,
            "price": done.price,
            "scale": done.scale,
            "verdict": None if done.verdict is None else asdict(done.verdict),
            "validation": done.validation,
            "outcomes": {
                "count": len(log),
                "sha256": sha256(log.path.read_bytes()).hexdigest(),
            },
        }
