"""``make demo``: a short live study with the pocket models, which come with the package.

``python -m hyperagent.demo --recorded`` runs a part of the recorded GSM8K study in its place; that
one needs the recorded replies in the data directory.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from hyperagent import tasks, viewer
from hyperagent.bench import BenchConfig, Row, Summary, make_progress, run_bench
from hyperagent.cli.table import summary_lines
from hyperagent.errors import HyperagentError
from hyperagent.team import Result, Team
from hyperagent.team.teamfile import RoutingModel, load_team_file

QUESTIONS = 48
"""Of the live study: as many of one calculation as of two."""
SHOWN = 10
"""Place of the question that is drawn; it takes three calculations."""
STRONGEST = ("gpt_4o_mini", "qwen_25_7b")
"""Left out of the recorded demo: with them one agent alone is as good as all."""

LIVE = """\
[bold]Word problems, answered here and now by small models of ours.[/bold] Five pocket models of a \
few megabytes each come with the package and run on this processor: no key, no server, no network. \
They learned to do sums in words, with a calculator, and nothing else: they know nothing of the \
world, cannot chat, and make real mistakes, more of them the longer a problem is. These problems \
have one or two calculations; they come from our generator, in wordings that the models were not \
trained on. With {count} questions most differences are noise, and the table says so.
"""
RECORDED = """\
[bold]GSM8K on recorded replies.[/bold] Real questions, real replies of ten real models from disk: \
voting, phases and benching are real; nobody reads a colleague's note, because the models never \
saw one. The two strongest of the study's twelve are left out: with them, asking one agent is as \
good as asking all.
"""


def live_config(questions: int = QUESTIONS) -> BenchConfig:
    """A few ways to spend tokens, from one call a question to everybody twice."""
    return BenchConfig(
        task="wordproblems",
        split="test_easy",
        topologies=(
            Row(topology="single", label="solver alone"),
            Row(topology="self_consistency:k=5", label="solver, 5 samples", temperature=0.7),
            Row(
                topology="cascade",
                label="cascade, anytime stop",
                routing=RoutingModel(anytime=0.9),
            ),
            Row(topology="pair", label="solver and checker"),
            Row(topology="role_cover", label="one of each role"),
            Row(topology="group", label="one group of all"),
        ),
        baselines=False,
        limit=questions,
        scorers=("numeric",),
        concurrency=32,
    )


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


def study(config: BenchConfig, team: Team, folder: Path, console: Console) -> Summary:
    """Run a bench and print its table."""
    began = time.monotonic()
    summary = run_bench(config, out=folder, progress=make_progress(), team=team)
    console.print()
    for line in summary_lines(summary, console.width):
        console.print(line, highlight=False, markup=False, no_wrap=True)
    console.print(f"{time.monotonic() - began:.0f} s.", highlight=False)
    return summary


def draw_one(team: Team, page: Path, console: Console) -> Result:
    """Let the team answer one question in overlapping groups, and draw what happened."""
    task = tasks.load("wordproblems", limit=SHOWN + 1)[SHOWN]
    result = team.with_topology("bridge").solve_sync(task)
    roles = {name: agent.role for name, agent in team.agents.items()}
    page.write_text(
        viewer.html(result.topology, title=task.question, roles=roles, result=result),
        encoding="utf-8",
    )
    console.print("\n[bold]One question in two groups that share an agent[/bold]\n")
    console.print(viewer.terminal(result.topology, title=task.question, roles=roles, result=result))
    verdict = "right" if tasks.score(task, result.answer or "").correct else "wrong"
    console.print(
        f"\nThe answer is {task.answer}; the team's is {verdict}. "
        f"All boards with their notes, as a page to open in a browser:\n{page}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    return result


def run(
    folder: Path, console: Console, *, recorded: bool = False, questions: int = QUESTIONS
) -> Summary:
    """The whole demo, with its files in `folder`."""
    if recorded:
        console.print(RECORDED, highlight=False)
        with recorded_team() as team:
            return study(recorded_config(), team, folder / "run", console)
    console.print(LIVE.format(count=questions), highlight=False)
    with Team.from_config("pocket") as team:
        summary = study(live_config(questions), team, folder / "run", console)
        draw_one(team, folder / "design.html", console)
    return summary


def main() -> None:
    """Run the demo; leave its files in a new folder and say where."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--recorded", action="store_true", help="recorded replies of larger models to GSM8K"
    )
    recorded = parser.parse_args().recorded
    console = Console(file=sys.stdout)
    folder = Path(tempfile.mkdtemp(prefix="hyperagent-demo-"))
    try:
        summary = run(folder, console, recorded=recorded)
    except HyperagentError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    console.print(
        f"\nThe run folder, with samples, calls, topologies and report:\n{folder / 'run'}\n\n"
        "Where to look next:\n"
        '  hyperagent ask --team pocket "Ann has 3 apples and buys 4. How many?"\n'
        "  hyperagent bench wordproblems --team pocket --limit 100\n"
        '  hyperagent ask --base-url http://127.0.0.1:8080/v1 "…"    a server of yours\n'
        "  hyperagent doctor                      what is here, what is missing\n"
        "  benchmarks/pocket_teams/README.md      this study at full length, and on public sets\n"
        "  benchmarks/gsm8k_recorded/README.md    teams of larger models, on recorded replies",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    sys.exit(1 if summary.failed else 0)


if __name__ == "__main__":
    main()
