"""Train the peers that can be trained on executions of a live team, as often as their papers do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from hyperagent import tasks
from hyperagent.bench import facts
from hyperagent.bench.plan import config_hash, describe
from hyperagent.bench.progress import PlainLines
from hyperagent.bench.store import RunFolder, open_folder
from hyperagent.learning import Executions, LearnPlan, TeamExecutor
from hyperagent.llm import CacheStore
from hyperagent.tasks import Task, TaskSet
from hyperagent.team import Team
from hyperagent.topology import AgentPrune, GDesigner, GptSwarm
from hyperagent.topology.outcomes import OutcomeLog
from hyperagent.topology.peers.reinforce import Training

TRAINED: dict[str, tuple[Callable[[], Any], int]] = {
    "gdesigner": (GDesigner, 400),
    "gdesigner_released": (lambda: GDesigner(released=True), 400),
    "agentprune": (AgentPrune, 40),
    "gptswarm": (GptSwarm, 200),
}
"""By name: how the peer is made, and its episodes."""


def train(
    name: str, plan: LearnPlan, team: Team, folder: Path, *, calls: Path, resume: bool = False
) -> tuple[str, Training]:
    """Train a peer, or read what an earlier start has trained; return its spec and the training.

    Parameters
    ----------
    name : str
        One of `TRAINED`.
    plan : LearnPlan
        Its task, split and seed; the questions are those that a learning run learns from.
    team : Team
    folder : Path
        Run folder; the weights are in ``FOLDER/weights``.
    calls : Path
        Replies to use and to add to.
    resume : bool
        Go on in `folder`: outcomes that are on its log are not executed again.
    """
    make, episodes = TRAINED[name]
    loaded = tasks.load(plan.task, plan.split or "train")
    questions = tasks.split_by_hash(loaded)["train"]
    designer = make()
    with open_executions(
        folder, {"peer": name}, plan, loaded, questions, team, calls=calls, resume=resume
    ) as (_, executions):
        trained = executions.one_by_one(
            lambda execute: designer.fit(
                questions, tuple(team.agents.values()), execute, episodes=episodes, seed=plan.seed
            ),
            episodes,
            name,
        )
    designer.save(folder / "weights")
    return f"{designer.name.split(':')[0]}:weights={folder / 'weights'}", trained


@contextmanager
def open_executions(
    folder: Path,
    about: dict[str, Any],
    plan: LearnPlan,
    loaded: TaskSet,
    questions: Sequence[Task],
    team: Team,
    *,
    calls: Path | None = None,
    resume: bool = False,
) -> Iterator[tuple[RunFolder, Executions]]:
    """A run folder, and executions by a team that are written down in it.

    Parameters
    ----------
    folder : Path
    about : dict
        What the run is, besides its plan and its team; a resumed run must be the same.
    plan : LearnPlan
    loaded : TaskSet
    questions : sequence of Task
        Of `loaded`.
    team : Team
    calls : Path, optional
        Replies to use and to add to, in place of the folder's own.
    resume : bool
        Go on in `folder`.
    """
    config = {**about, **plan.decisive(), "members": describe(team)}
    with (
        closing(
            open_folder(
                folder,
                config={"hash": config_hash(config), **config},
                meta=facts.meta(plan, loaded, tuple(questions)),
                resume=resume,
            )
        ) as run,
        closing(CacheStore(run.replies if calls is None else calls)) as store,
        OutcomeLog(folder / "outcomes.jsonl") as log,
    ):
        yield (
            run,
            Executions(
                log,
                TeamExecutor(team, run, loaded.scorers, store=store),
                seed=plan.seed,
                concurrency=plan.concurrency,
                progress=PlainLines(seconds=30),
            ),
        )
