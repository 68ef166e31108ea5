"""The application: its commands, and how it ends."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from hyperagent import __version__
from hyperagent.cli import (
    ask,
    bench,
    config_show,
    doctor,
    explain,
    learn,
    models,
    output,
    plugins,
    serve_model,
    show,
)
from hyperagent.errors import HyperagentError

NAME = "hyperagent"

app = typer.Typer(
    name=NAME,
    help="Teams of LLM agents that talk along a sparse hypergraph, with every token on a ledger.",
    # \b keeps click from filling the lines.
    epilog="\b\nTo begin:\n  hyperagent doctor\n"
    '  hyperagent ask --base-url http://127.0.0.1:8080/v1 "What is 15 % of 80?"',
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
config = typer.Typer(
    help="Settings: a flag goes before the environment, that before a file.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command()(ask.ask)
app.command()(bench.bench)
app.command()(learn.learn)
app.command()(explain.explain)
app.command()(show.show)
app.command()(models.models)
app.command()(plugins.plugins)
app.command()(doctor.doctor)
app.command()(serve_model.serve_model)
app.add_typer(config, name="config")
config.command()(config_show.show)


@config.callback()
def _config() -> None:
    """Without a callback, a group of one command would become that command."""


def _print_version(wanted: bool) -> None:
    if wanted:
        output.result(f"{NAME} {__version__}")
        raise typer.Exit


@app.callback()
def _app(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    if debug:
        os.environ["HYPERAGENT_DEBUG"] = "1"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.

    Returns
    -------
    int
        0 good; 1 finished, but something failed; 2 wrong usage, settings or address;
        130 interrupted.
    """
    output.prepare_streams()
    try:
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of a pipe has had enough; nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = output.FAILED
    return code


def _run(arguments: list[str]) -> int:
    try:
        code = typer.main.get_command(app).main(arguments, prog_name=NAME, standalone_mode=False)
        if code == output.INTERRUPTED:
            output.remark("interrupted")
        return code or output.OK
    except (KeyboardInterrupt, typer.Abort):
        output.remark("interrupted")
        return output.INTERRUPTED
    except HyperagentError as error:
        _show_traceback()
        output.complain(str(error))
        return output.exit_code(error)
    except BrokenPipeError:
        raise
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            output.remark(str(error))
            return output.USAGE
        usage = _usage_error(error)
        if usage is not None:
            output.complain(usage)
            return output.USAGE
        if not _show_traceback():
            output.complain(
                f"{type(error).__name__}: {' '.join(str(error).split())} (this is a fault of "
                f"hyperagent; 'hyperagent --debug ...' shows where)"
            )
        return output.FAILED


def _usage_error(error: Any) -> str | None:
    """The message of a wrong command line, None for any other error.

    Told by its methods, because typer has its own copy of click's classes since 0.24.
    """
    if not callable(getattr(error, "format_message", None)):
        return None
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else NAME
    return f"{error.format_message()} ('{path} --help' lists what there is)"


def _show_traceback() -> bool:
    wanted = bool(os.environ.get("HYPERAGENT_DEBUG"))
    if wanted:
        output.remark(traceback.format_exc())
    return wanted
