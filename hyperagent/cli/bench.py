"""``hyperagent bench``: compare topologies on a data set, in a run folder."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from json import loads
from pathlib import Path
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
    Model,
    Prices,
    Quiet,
    TeamName,
    Timeout,
)
from hyperagent.errors import ConfigError, NotFound

if TYPE_CHECKING:
    from hyperagent.bench import BenchConfig, Summary
    from hyperagent.cli.settings import Resolved

CALIBRATED = "calibrated"
ENVIRONMENT_RANK = 1
"""Rank of the environment among the places of `settings.resolve`; flags have 0."""


def bench(
    task: Annotated[str, typer.Argument(help="Data set, e.g. gsm8k, or a YAML study file.")],
    topology: Annotated[
        list[str] | None,
        typer.Option(
            "--topology",
            "-t",
            metavar="NAME",
            help="Row of the table; repeat for more. "
            "The first is what the others are compared with.",
        ),
    ] = None,
    baselines: Annotated[
        bool | None,
        typer.Option(
            "--baselines/--no-baselines",
            help="Also single agent, self-consistency at "
            "no fewer tokens, chain, star, tree, group, complete, random. On by default.",
        ),
    ] = None,
    team: TeamName = None,
    backend: BackendSpec = None,
    base_url: BaseUrl = None,
    model: Model = None,
    split: Annotated[
        str | None, typer.Option("--split", metavar="NAME", help="Split; test by default.")
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            "--part",
            metavar="NAME",
            help="Only train, validation or test of the split, 60, 20 and 20 % by content.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            help="Only the first N questions; with --calibrate, N of each part.",
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", metavar="K", help="Ask each question with K seeds.")
    ] = None,
    budget_tokens: BudgetTokens = None,
    calibrate: Annotated[
        bool | None,
        typer.Option(
            "--calibrate",
            help="Measure each agent's reliability on the training part, report the test part.",
        ),
    ] = None,
    anytime: Annotated[
        str | None,
        typer.Option(
            "--anytime",
            metavar="P|calibrated",
            help="Stop before the next phase when the answer is this probable.",
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", metavar="N", help="Questions in flight; 8 by default."),
    ] = None,
    timeout: Timeout = None,
    fail_on_error: Annotated[
        float | None,
        typer.Option(
            "--fail-on-error",
            metavar="SHARE",
            help="Stop when more than this share of the samples failed.",
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("--out", metavar="DIR", help="Run folder; a new one below runs by default."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out; paid calls stay paid.")
    ] = False,
    download: Annotated[
        bool,
        typer.Option(
            "--download",
            help="Fetch a missing data set from its official address, checked by SHA-256.",
        ),
    ] = False,
    prices: Prices = None,
    data: DataDir = None,
    config: ConfigFile = None,
    json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Compare topologies on the questions of a data set.

    The table goes to standard output, progress to standard error. The exit code is 1 if a sample
    failed or was left out.
    """
    from hyperagent.cli import settings

    resolved = settings.resolve(
        {
            "base_url": base_url, "model": model, "backend": backend, "team": team,
            "budget_tokens": budget_tokens, "concurrency": concurrency, "timeout": timeout,
            "prices": prices, "data": data,
        },
        file=config,
    )  # fmt: skip
    if resume and out is None:
        raise ConfigError("--resume goes on with the run in --out; name its folder")
    plan = _plan(
        task,
        resolved,
        {
            "topologies": topology or None, "baselines": baselines, "split": split, "part": part,
            "limit": limit, "seeds": seeds, "calibrate": calibrate,
            "anytime": _probability(anytime), "fail_on_error": fail_on_error,
        },
    )  # fmt: skip
    folder = Path(out) if out is not None else _new_folder(plan.task)
    if not (quiet or json):
        output.remark(f"run folder: {folder}")
    try:
        summary = _run(plan, resolved, folder, resume=resume, quiet=quiet, download=download)
    except KeyboardInterrupt:
        if folder.exists():
            output.remark(f"stopped; the same command with --out {folder} --resume goes on")
        raise
    if json:
        from hyperagent.bench.files import compact

        # What is not a number, such as the accuracy of no question, is null in JSON.
        output.json_result(loads(compact(summary.to_json())))
    else:
        print_summary(summary)
    if not quiet:
        output.remark(f"written to {folder}")
    return output.FAILED if summary.failed else output.OK


def _probability(text: str | None) -> float | str | None:
    if text is None or text == CALIBRATED:
        return text
    try:
        return float(text)
    except ValueError:
        raise ConfigError(
            f"--anytime must be a probability or {CALIBRATED!r}, got {text!r}"
        ) from None


def _new_folder(task: str) -> Path:
    return Path("runs") / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{task}"


def _plan(task: str, resolved: Resolved, flags: dict[str, Any]) -> BenchConfig:
    """Flags before the environment, that before the study file, that before settings files."""
    from hyperagent.bench import BenchConfig
    from hyperagent.config import load_yaml, validate

    is_study = task.endswith((".yaml", ".yml"))
    plan: dict[str, Any] = load_yaml(task) if is_study else {"task": task}
    values, ranks = resolved.values, resolved.ranks
    found = {
        "team": (values.team, ranks["team"]),
        "backend": (resolved.spec(), min(ranks["backend"], ranks["model"])),
        "budget_tokens": (values.budget_tokens, ranks["budget_tokens"]),
        "concurrency": (values.concurrency, ranks["concurrency"]),
        "topologies": (values.topology and [values.topology], ranks["topology"]),
        "routing": (values.timeout and {"timeout": values.timeout}, ranks["timeout"]),
    }
    for key, (value, rank) in found.items():
        if value is not None and (rank <= ENVIRONMENT_RANK or key not in plan):
            known = plan.get(key)
            plan[key] = {**known, **value} if isinstance(known, dict) else value
    plan.update({key: value for key, value in flags.items() if value is not None})
    return validate(BenchConfig, plan, task if is_study else "bench")


def _run(
    plan: BenchConfig,
    resolved: Resolved,
    folder: Path,
    *,
    resume: bool,
    quiet: bool,
    download: bool,
) -> Summary:
    from hyperagent import llm
    from hyperagent.bench import make_progress, run_bench
    from hyperagent.cli import connect
    from hyperagent.team import run_sync

    values, options = resolved.values, resolved.options()
    # A study's team may bring its own models; the teams of the package bring none.
    spec = run_sync(connect.choose_backend(resolved, plan.team, spec=plan.backend, quiet=quiet))
    if spec is not None:
        run_sync(connect.check_spec(spec, options))
    plan = plan.model_copy(update={"backend": spec})
    try:
        return run_bench(
            plan,
            out=folder,
            resume=resume,
            progress=make_progress(quiet=quiet),
            backend_options={k: v for k, v in options.items() if k != "data_dir"},
            data_dir=values.data,
            download=download,
            prices=llm.Prices.load(values.prices) if values.prices else None,
        )
    except NotFound as error:
        if spec is None:
            raise
        raise run_sync(connect.explain(error, [llm.backend(spec, **options)], options)) from error


def print_summary(summary: Summary) -> None:
    """The table: as wide as the terminal, as Markdown in a file or a pipe."""
    from hyperagent.bench import to_markdown
    from hyperagent.cli.table import summary_lines

    width = output.width_of(sys.stdout)
    if width is None:
        output.result(to_markdown(summary).rstrip())
        return
    for line in summary_lines(summary, width):
        output.result(line)
