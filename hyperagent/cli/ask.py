"""``hyperagent ask``: one question, one answer, and what it took."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hyperagent.cli import output
from hyperagent.cli.options import (
    AsJson,
    BackendSpec,
    BaseUrl,
    BudgetTokens,
    ConfigFile,
    DataDir,
    Kind,
    Model,
    Prices,
    Quiet,
    Seed,
    TeamName,
    Timeout,
)
from hyperagent.cli.show import Picture, check_export, export_picture, show_picture
from hyperagent.errors import BudgetExceeded, ConfigError, NotFound

if TYPE_CHECKING:
    from hyperagent.cli.settings import Resolved
    from hyperagent.tasks import Task
    from hyperagent.team import Result, Team

DEFAULT_TEAM = "math"
SHOWN_FAILURES = 3
"""More failures than this are only counted, unless asked for."""


def ask(
    question: Annotated[str, typer.Argument(help="The question; - reads standard input.")],
    base_url: BaseUrl = None,
    model: Model = None,
    backend: BackendSpec = None,
    team: TeamName = None,
    topology: Annotated[
        str | None,
        typer.Option(
            "--topology",
            "-t",
            metavar="NAME",
            help="Who talks to whom, in place of the team's own, e.g. single, star, cascade.",
        ),
    ] = None,
    kind: Annotated[
        Kind,
        typer.Option(
            "--kind", help="What the answer is. auto: a number where one is asked for, else text."
        ),
    ] = Kind.AUTO,
    budget_tokens: BudgetTokens = None,
    seed: Seed = None,
    timeout: Timeout = None,
    prices: Prices = None,
    data: DataDir = None,
    config: ConfigFile = None,
    show: Annotated[bool, typer.Option("--show", help="Draw the topology that was used.")] = False,
    export: Annotated[
        str | None,
        typer.Option(
            "--export",
            metavar="FILE",
            help="Write topology and boards as an offline page (.html) or a picture (.svg).",
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show every board with its notes.")
    ] = False,
    json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Ask a team one question.

    The answer goes to standard output, everything else to standard error.
    """
    from hyperagent.cli import settings
    from hyperagent.cli.kinds import make_task, spelled
    from hyperagent.team import run_sync

    check_export(export)
    resolved = settings.resolve(
        {
            "base_url": base_url, "model": model, "backend": backend, "team": team,
            "topology": topology, "budget_tokens": budget_tokens, "seed": seed,
            "timeout": timeout, "prices": prices, "data": data,
        },
        file=config,
    )  # fmt: skip
    task = make_task(read_question(question), kind)
    silent = quiet or json
    with output.waiting("the team is working", quiet=silent):
        done = run_sync(_solve(resolved, task, quiet=silent))
    result = done.result
    if json:
        output.json_result(_document(result, task, spelled(result, task)))
    else:
        _print(done, task, show=show, verbose=verbose, quiet=quiet)
    if export is not None:
        export_picture(done.picture(task.question), export)
    if done.stopped is not None:
        output.complain(f"stopped by the budget: {done.stopped}")
    elif result.answer is None:
        output.complain(_why_no_answer(result))
    return output.OK if result.answer is not None and done.stopped is None else output.FAILED


@dataclass(frozen=True)
class _Done:
    """A result, the team that gave it, and the budget's word if that was the end."""

    result: Result
    team: Team
    stopped: BudgetExceeded | None = None

    def picture(self, title: str) -> Picture:
        roles = {name: agent.role for name, agent in self.team.agents.items()}
        return Picture(self.result.topology, title, roles, self.result)


def read_question(question: str) -> str:
    """The question, from standard input where it is ``-``."""
    if question != "-":
        return question
    if sys.stdin.isatty():
        output.remark("type the question, then Ctrl-D")
    text = sys.stdin.read().strip()
    if not text:
        raise ConfigError("standard input holds no question")
    return text


async def _solve(resolved: Resolved, task: Task, *, quiet: bool) -> _Done:
    from hyperagent.cli import connect
    from hyperagent.llm import Allowance
    from hyperagent.llm import Prices as PriceList
    from hyperagent.team import Team

    values, options = resolved.values, resolved.options()
    name = values.team or DEFAULT_TEAM
    team: Team = Team.from_config(
        name,
        backend=await connect.choose_backend(resolved, name, quiet=quiet),
        topology=values.topology,
        prices=PriceList.load(values.prices) if values.prices else None,
        backend_options=options,
    )
    if values.timeout is not None:
        team = team.with_routing(timeout=values.timeout)
    async with team:
        backends = team.backends.values()
        await connect.check_servers(backends)
        try:
            result = await team.solve(
                task,
                seed=values.seed,
                allowance=Allowance(tokens=values.budget_tokens) if values.budget_tokens else None,
            )
        except NotFound as error:
            raise await connect.explain(error, backends, options) from error
        except BudgetExceeded as error:
            if error.partial is None:
                raise
            return _Done(error.partial, team, error)
        return _Done(result, team)


def _print(done: _Done, task: Task, *, show: bool, verbose: bool, quiet: bool) -> None:
    from hyperagent.cli.boards import board_lines
    from hyperagent.cli.kinds import spelled

    result = done.result
    if result.answer is not None:
        output.result(spelled(result, task))
    elif result.text:
        # What was said may still help; it is no answer, so it is not on standard output.
        output.remark(result.text.strip())
    if quiet:
        return
    if show:
        show_picture(done.picture(""), stderr=True)
    if verbose:
        for line in board_lines(result):
            output.remark(line)
    shown = result.errors if verbose else result.errors[:SHOWN_FAILURES]
    for failure in shown:
        output.remark(f"warning: {failure}")
    if len(result.errors) > len(shown):
        output.remark(f"warning: and {len(result.errors) - len(shown)} more; -v shows them")
    output.remark(account(result))
    if verbose:
        models = sorted({backend.name for backend in done.team.backends.values()})
        output.remark(f"models: {', '.join(models)}; answer taken as {task.kind}")


def account(result: Result) -> str:
    """What the answer took, in one line."""
    usage = result.usage
    tokens = (
        f"{'about ' if usage.estimated else ''}{usage.total_tokens:,} tokens "
        f"({usage.prompt_tokens:,} in, {usage.completion_tokens:,} out)"
    )
    if usage.unknown:
        tokens += f", {output.plural(usage.unknown, 'call')} of unknown size"
    agents = {row.agent for row in result.ledger if row.agent}
    phases = {edge.phase for edge in result.topology.edges}
    parts = [
        tokens,
        output.plural(usage.calls, "call") + (f" ({usage.failed} failed)" if usage.failed else ""),
        f"{len(agents)} of {output.plural(_team_size(result), 'agent')}",
        f"{result.opened_phases} of {output.plural(len(phases), 'phase')}",
        f"{result.seconds:.1f} s",
    ]
    if not usage.unpriced and usage.calls:
        parts.append(f"price {usage.price:.6f}")
    return ", ".join(parts)


def _team_size(result: Result) -> int:
    from hyperagent.hypergraph import agent_of

    return len({agent_of(node)[0] for node in result.topology.nodes})


def _why_no_answer(result: Result) -> str:
    if result.errors and len(result.errors) >= result.usage.calls:
        return f"no agent could answer: {result.errors[0]}"
    return "no reply holds an answer that can be read; -v shows the replies, --kind text takes any"


def _document(result: Result, task: Task, written: str) -> dict[str, Any]:
    usage = result.usage
    return {
        "answer": result.answer,
        "written": written,
        "kind": task.kind,
        "usage": {
            "total_tokens": usage.total_tokens,
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "calls": usage.calls,
            "failed": usage.failed,
            "unknown": usage.unknown,
            "estimated": usage.estimated,
            "price": None if usage.unpriced else usage.price,
        },
        **result.to_json(),
    }
