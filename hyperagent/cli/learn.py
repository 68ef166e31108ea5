"""``hyperagent learn``: from a data set and a team to a policy that designs topologies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hyperagent.cli import output
from hyperagent.cli.options import (
    AsJson,
    BackendSpec,
    BaseUrl,
    ConfigFile,
    DataDir,
    Model,
    Prices,
    Quiet,
    Seed,
    TeamName,
    Timeout,
)
from hyperagent.errors import BudgetExceeded

if TYPE_CHECKING:
    from hyperagent.cli.settings import Resolved
    from hyperagent.learning import Learned, LearnPlan


def learn(
    task: Annotated[str, typer.Argument(help="Data set, e.g. gsm8k or wordproblems.")],
    out: Annotated[
        str, typer.Option("--out", metavar="DIR", help="Folder of the policy; bench takes it as "
                          "--topology learned:DIR."),
    ],
    policy: Annotated[
        str,
        typer.Option("--policy", metavar="KIND", help="surrogate, codebook, vae, rloo, anytime, "
                     "probe, constant or paper."),
    ] = "surrogate",
    team: TeamName = None,
    backend: BackendSpec = None,
    base_url: BaseUrl = None,
    model: Model = None,
    executions: Annotated[
        int | None,
        typer.Option("--executions", metavar="N", help="Most questions put to a topology; 1280 by "
                     "default."),
    ] = None,
    budget_tokens: Annotated[
        int | None,
        typer.Option("--budget-tokens", metavar="N", min=1, help="Tokens that a question may take "
                     "on average once learned. The price of tokens follows from it."),
    ] = None,
    price: Annotated[
        float | None,
        typer.Option("--price", metavar="P", help="Without a budget: right answers that the tokens "
                     "of the cheapest topology are worth; 0.01 by default."),
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option("--objective", metavar="WHAT", help="What to spare: tokens (default), or "
                     "dollars with --policy anytime, probe or constant."),
    ] = None,
    spend_tokens: Annotated[
        int | None,
        typer.Option("--spend-tokens", metavar="N", min=1, help="Stop before learning itself "
                     "could pass this many paid tokens."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="NAME", help="Split to learn from; train by default where "
                     "there is one. Its part test, 20 % by content, is never touched."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", help="Only the first N questions of each part."),
    ] = None,
    anchor: Annotated[
        list[str] | None,
        typer.Option("--anchor", metavar="NAME", help="Fixed topology to start from, in place of "
                     "the usual ones; repeat for more."),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option("--encoder", metavar="SPEC", help="How questions are read: hashing (default), "
                     "sentence:FOLDER or openai:MODEL[@URL]."),
    ] = None,
    probe: Annotated[
        str | None,
        typer.Option("--probe", metavar="AGENT", help="With --policy probe, the agent that is "
                     "asked first; the most reliable one by default."),
    ] = None,
    seed: Seed = None,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", metavar="N", help="Questions in flight; 8 by default."),
    ] = None,
    calls: Annotated[
        str | None,
        typer.Option("--calls", metavar="FILE", help="Replies to use and to add to, e.g. the "
                     "replies.sqlite of another run; by default the folder's own."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out; paid calls stay paid.")
    ] = False,
    download: Annotated[
        bool,
        typer.Option("--download", help="Fetch a missing data set from its official address, "
                     "checked by SHA-256."),
    ] = False,
    timeout: Timeout = None,
    prices: Prices = None,
    data: DataDir = None,
    config: ConfigFile = None,
    json: AsJson = False,
    quiet: Quiet = False,
) -> int:  # fmt: skip
    """Learn which agents should work together on which question.

    The verdict goes to standard output, progress to standard error. The exit code is 1 if the
    budget of learning was spent; the same command with --resume goes on.
    """
    from hyperagent.cli import settings
    from hyperagent.learning import LearnPlan

    resolved = settings.resolve(
        {
            "base_url": base_url, "model": model, "backend": backend, "team": team, "seed": seed,
            "concurrency": concurrency, "timeout": timeout, "prices": prices, "data": data,
        },
        file=config,
    )  # fmt: skip
    given = {
        "executions": executions, "split": split, "limit": limit, "anchors": anchor or None,
        "encoder": encoder, "objective": objective, "probe": probe,
    }  # fmt: skip
    plan = LearnPlan(
        task, policy=policy, budget_tokens=budget_tokens, price=price, seed=resolved.values.seed,
        concurrency=resolved.values.concurrency, spend_tokens=spend_tokens,
        **{key: value for key, value in given.items() if value is not None},
    )  # fmt: skip
    again = f"the same command with --resume goes on in {out}"
    try:
        done = _run(plan, resolved, Path(out), calls, resume=resume, quiet=quiet, download=download)
    except KeyboardInterrupt:
        output.remark(f"stopped; {again}")
        raise
    except BudgetExceeded as error:
        output.complain(f"stopped by --spend-tokens: {error}")
        output.remark(f"{again}, with more tokens")
        return output.FAILED
    if json:
        output.json_result(done.to_json())
    else:
        for line in summary_lines(done, out):
            output.result(line)
    return output.OK


def _run(
    plan: LearnPlan,
    resolved: Resolved,
    folder: Path,
    calls: str | None,
    *,
    resume: bool,
    quiet: bool,
    download: bool,
) -> Learned:
    from hyperagent import llm, tasks
    from hyperagent.bench import make_progress
    from hyperagent.cli import connect
    from hyperagent.learning import learn as run
    from hyperagent.team import run_sync

    values, options = resolved.values, resolved.options()
    if plan.task not in tasks.data_sets.names():
        # Before a server is asked for its models.
        tasks.data_sets.get(plan.task)
    if values.timeout is not None:
        options["timeout"] = values.timeout
    spec = run_sync(connect.choose_backend(resolved, values.team, quiet=quiet))
    if spec is not None:
        run_sync(connect.check_spec(spec, options))
    return run(
        plan,
        out=folder,
        resume=resume,
        team=values.team,
        backend=spec,
        progress=make_progress(quiet=quiet),
        calls=calls,
        backend_options={k: v for k, v in options.items() if k != "data_dir"},
        data_dir=values.data,
        download=download,
        prices=llm.Prices.load(values.prices) if values.prices else None,
    )


def summary_lines(done: Learned, folder: str) -> list[str]:
    """What was learned, in a few lines."""
    head = f"{done.policy} policy from {done.split}: "
    if done.verdict is None:
        head += f"the fixed topology {done.fixed}"
    elif done.shipped:
        head += "used; it beats the best fixed topology and one agent alone"
    else:
        head += f"NOT used; {done.fixed}, the best fixed topology, stays"
    lines = [head]
    if done.verdict is not None:
        lines.append(done.verdict.reason)
        names = {"learned": done.policy, "fixed": f"{done.fixed} (best fixed)"}
        lines += output.columns(
            [("validation", "right", "tokens a question", "$ per 1,000")]
            + [
                (
                    names.get(key, key),
                    f"{value['correct']:.1%}",
                    f"{value['tokens']:,.0f}",
                    f"{1000 * value['dollars']:.4g}" if "dollars" in value else "-",
                )
                for key, value in done.validation.items()
            ],
            indent="  ",
        )
    unit = f"${done.scale:.3g}" if done.objective == "dollars" else f"{done.scale:,.0f} tokens"
    lines.append(f"price of {done.objective}: {done.price:.4g} right answers for {unit}")
    failed = f", {output.plural(done.failed, 'failed')}" if done.failed else ""
    lines.append(
        f"{output.plural(done.executions, 'execution')} of {done.tokens:,} tokens{failed}; paid "
        f"for: {output.plural(done.paid_calls, 'call')} of {done.paid_tokens:,} tokens"
    )
    name, _, split = done.split.partition("/")
    test = "--split test" if split != "test" else "--part test"
    lines.append(f"to test it: hyperagent bench {name} {test} --topology learned:{folder}")
    return lines
