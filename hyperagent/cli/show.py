"""``hyperagent show``: a team, a topology, a HIF file or a run, on the terminal or as a page."""

from __future__ import annotations

import json as jsonlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hyperagent.cli import output
from hyperagent.cli.bench import print_summary
from hyperagent.cli.options import AsJson, TeamName
from hyperagent.errors import ConfigError, HypergraphError, UnknownNameError

if TYPE_CHECKING:
    from hyperagent.hypergraph import Hypergraph

FORMATS = (".html", ".svg")
DEFAULT_TEAM = "math"


@dataclass(frozen=True)
class Picture:
    """What the viewer draws."""

    graph: Hypergraph
    title: str
    roles: dict[str, str] = field(default_factory=dict)
    result: Any = None


def show(
    what: Annotated[
        str,
        typer.Argument(
            help="Team or topology by name, team file (.yaml), HIF "
            "file (.json) or run folder; the math team by default.",
        ),
    ] = DEFAULT_TEAM,
    team: TeamName = None,
    question: Annotated[
        str | None,
        typer.Option(
            "--question",
            metavar="TEXT|ID",
            help="Question that a designer draws for; of a run, the question to show.",
        ),
    ] = None,
    row: Annotated[
        str | None,
        typer.Option("--row", metavar="NAME", help="Of a run: the row; the first by default."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of a designer.")] = 0,
    export: Annotated[
        str | None,
        typer.Option(
            "--export",
            metavar="FILE",
            help="Write an offline page (.html) or a picture (.svg) instead.",
        ),
    ] = None,
    json: AsJson = False,
) -> int:
    """Show who works with whom, or what a run found.

    --json prints a topology as HIF, and of a run its summary.
    """
    target = check_export(export)
    path = Path(what)
    if path.is_dir():
        from hyperagent.cli import runs

        run = runs.Run(path)
        if question is None and row is None:
            return _show_run(run, target, json=json)
        picture = Picture(**run.sample(row, question, seed))
    else:
        picture = _picture(what, team, question, seed)
    if target is not None:
        _write(target, _drawn(picture, target))
    if json:
        output.json_result(picture.graph.to_hif())
    elif target is None:
        show_picture(picture)
    return output.OK


def show_picture(picture: Picture, *, stderr: bool = False) -> None:
    """Print `picture`, coloured on a terminal."""
    from hyperagent import viewer

    output.console(stderr=stderr).print(
        viewer.terminal(
            picture.graph, title=picture.title, roles=picture.roles, result=picture.result
        )
    )


def export_picture(picture: Picture, file: str) -> None:
    """Write `picture` as a page or a picture, by the ending of `file`."""
    target = Path(file)
    _write(target, _drawn(picture, target))


def check_export(file: str | None) -> Path | None:
    """The path that ``--export`` names, refused before any work if we cannot write its format."""
    if file is None:
        return None
    path = Path(file)
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"--export writes {' or '.join(FORMATS)}, not {file!r}")
    return path


def _drawn(picture: Picture, target: Path) -> str:
    from hyperagent import viewer

    draw = viewer.svg if target.suffix.lower() == ".svg" else viewer.html
    return draw(picture.graph, title=picture.title, roles=picture.roles, result=picture.result)


def _write(path: Path, text: str) -> None:
    from hyperagent.bench.files import replace_file

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, text)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
    output.remark(f"written to {path}")


def _show_run(run: Any, target: Path | None, *, json: bool) -> int:
    if target is not None:
        _write(target, run.page() if target.suffix.lower() == ".html" else run.picture())
    if json:
        output.json_result(run.summary.to_json())
    elif target is None:
        print_summary(run.summary)
        output.remark(f"--question {run.example} shows what was said about one question")
    return output.OK


def _picture(what: str, team: str | None, question: str | None, seed: int) -> Picture:
    from hyperagent.hypergraph import anchors
    from hyperagent.team import team_names
    from hyperagent.topology import designers

    path = Path(what)
    if path.suffix == ".json":
        return _hif(path)
    if path.suffix in (".yaml", ".yml") or what in team_names():
        return _design(what, None, question, seed)
    shapes = [*anchors.names(), *designers.names()]
    if what.partition(":")[0] in shapes:
        return _design(team or DEFAULT_TEAM, what, question, seed)
    raise UnknownNameError("team or topology", what, [*team_names(), *shapes])


def _hif(path: Path) -> Picture:
    from hyperagent.hypergraph import Hypergraph

    try:
        data = jsonlib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    try:
        return Picture(Hypergraph.from_hif(data), path.name)
    except HypergraphError as error:
        raise ConfigError(f"{path}: {error}") from error


def _design(team: str, topology: str | None, question: str | None, seed: int) -> Picture:
    """What a team's designer, or another one, draws; no model is opened or called."""
    from hyperagent.tasks import Task
    from hyperagent.team import load_team_file
    from hyperagent.topology import designer

    parts = load_team_file(team)
    spec = topology or parts["topology"]
    agents = parts["agents"]
    drawn = designer(spec).design(Task(question or "any question"), agents, seed=seed)
    return Picture(
        drawn.hypergraph,
        f"{parts['name']}: {spec}" + (f"; {question}" if question else ""),
        {agent.id: agent.role for agent in agents},
    )
