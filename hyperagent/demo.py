"""``make demo``: a bench of topologies on the questions that are here.

With the recorded replies of real models in the data directory it is a part of the recorded GSM8K
study. Without them the questions come from our generator and the replies from a script; then the
table shows that the machinery works, and nothing about language models.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from hyperagent import datadir, tasks, viewer
from hyperagent.bench import BenchConfig, Row, Summary, make_progress, run_bench
from hyperagent.cli.table import summary_lines
from hyperagent.llm import ChatRequest, FunctionBackend
from hyperagent.team import Agent, Result, Team
from hyperagent.team.teamfile import RoutingModel, load_team_file

RECORDED = "replay_math/gsm8k_test.jsonl.gz"

STRONGEST = ("gpt_4o_mini", "qwen_25_7b")
"""Left out of the demo: with them one agent alone is as good as all, and nothing is shown."""

SKILL = {"ann": 0.85, "bob": 0.75, "cat": 0.65, "dan": 0.55}
"""How often each scripted agent is right."""


def recorded_config() -> BenchConfig:
    """A part of the recorded GSM8K study; the whole is in benchmarks/gsm8k_recorded."""
    sure = RoutingModel(anytime=0.95)
    everybody = RoutingModel(vote="plurality")
    return BenchConfig(
        task="gsm8k",
        topologies=(
            Row(topology="cascade", label="cascade, anytime stop", routing=sure),
            Row(topology="group", label="all, plurality vote", routing=everybody),
            Row(topology="group", label="all, weighted vote"),
        ),
        calibrate=True,
        scorers=("numeric",),
        cache=False,
        concurrency=32,
    )


def recorded_team() -> Team:
    """The recorded team without its two strongest agents."""
    parts = load_team_file("recorded_gsm8k")
    parts["agents"] = [agent for agent in parts["agents"] if agent.id not in STRONGEST]
    return Team(**parts)


def scripted_config() -> BenchConfig:
    """Word problems from the generator."""
    sure = RoutingModel(anytime=0.95)
    return BenchConfig(
        task="wordproblems",
        topologies=(
            Row(topology="cascade", label="cascade, anytime stop", routing=sure),
            Row(topology="group", label="one group"),
        ),
        limit=100,
        scorers=("numeric",),
        cache=False,
        concurrency=32,
    )


def scripted_team() -> Team:
    """Four agents whose replies a script makes up, each right with its own probability."""
    known = {task.id: task for task in tasks.load("wordproblems")}

    def script(request: ChatRequest) -> str:
        context = request.context
        task = known[context.task]
        key = f"{context.task}/{context.agent}/{request.sample}/{context.purpose}/{request.seed}"
        draw = hashlib.sha256(key.encode()).digest()
        right = draw[0] / 256 < SKILL[context.agent]
        answer = task.answer if right else str(int(task.answer) + 1 + draw[1] % 5)
        return f"NOTE\nanswer: {answer}\nconfidence: {0.9 if right else 0.6}"

    return Team(
        [Agent(name, reliability=skill) for name, skill in SKILL.items()],
        "cascade",
        FunctionBackend(script, name="scripted double"),
        name="scripted",
    )


def run(folder: Path, console: Console) -> Summary:
    """Run the demo that fits what is here, and say which one it is."""
    if datadir.find(RECORDED) is not None:
        console.print(
            "[bold]GSM8K on recorded replies.[/bold] Real questions, real replies of ten real "
            "models from disk: voting, phases and benching are real; nobody reads a colleague's "
            "note, because the models never saw one. The two strongest of the study's twelve are "
            "left out: with them, asking one agent is as good as asking all.\n",
            highlight=False,
        )
        config, team = recorded_config(), recorded_team()
    else:
        console.print(
            "[bold]No recorded replies here, so a script plays the models.[/bold] Questions come "
            "from our generator, and each scripted agent is right with a fixed probability. The "
            "table shows the machinery at work; it says nothing about language models. "
            "Set HYPERAGENT_DATA to the data directory for the real study.\n",
            highlight=False,
        )
        config, team = scripted_config(), scripted_team()
    summary = run_bench(config, out=folder / "run", progress=make_progress(), team=team)
    console.print()
    for line in summary_lines(summary, console.width):
        console.print(line, highlight=False, markup=False, no_wrap=True)
    return summary


def draw_one(folder: Path, console: Console) -> None:
    """Answer one more question with notes on the table, and draw what happened."""
    team = scripted_team().with_topology("windows")
    task = tasks.load("wordproblems")[2]
    result: Result = team.solve_sync(task)
    page = folder / "design.html"
    roles = {name: agent.role for name, agent in team.agents.items()}
    page.write_text(
        viewer.html(result.topology, title=task.question, roles=roles, result=result),
        encoding="utf-8",
    )
    console.print("\nOne design with its boards, drawn from scripted agents:", highlight=False)
    console.print(str(page), highlight=False, soft_wrap=True)
    console.print(viewer.terminal(result.topology, roles=roles))


def main() -> None:
    """Run the demo; leave its files in a new folder and say where."""
    console = Console(file=sys.stdout)
    folder = Path(tempfile.mkdtemp(prefix="hyperagent-demo-"))
    summary = run(folder, console)
    draw_one(folder, console)
    console.print(
        f"\nThe run folder, with samples, calls, topologies and report:\n{folder / 'run'}\n\n"
        "Where to look next:\n"
        '  hyperagent ask --base-url http://127.0.0.1:8080/v1 "…"    a server of yours\n'
        "  hyperagent bench gsm8k --team math --limit 100 --out runs/first\n"
        "  hyperagent doctor                      what is here, what is missing\n"
        "  benchmarks/gsm8k_recorded/README.md    the whole recorded study",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    sys.exit(1 if summary.failed else 0)


if __name__ == "__main__":
    main()
