"""``hyperagent plugins``: every name that can be asked for, and who provides it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hyperagent.cli import output
from hyperagent.cli.options import AsJson

if TYPE_CHECKING:
    from hyperagent.registry import Registry

OURS = "hyperagent"


def plugins(
    kind: Annotated[str | None, typer.Argument(help="Only this kind, e.g. backend.")] = None,
    json: AsJson = False,
) -> int:
    """List backends, topologies, data sets and the like.

    A plug-in that cannot be loaded is marked as broken; it stops nothing.
    """
    from hyperagent.errors import UnknownNameError

    found = list(rows())
    kinds = list(dict.fromkeys(row["kind"] for row in found))
    if kind is not None:
        if kind not in kinds:
            raise UnknownNameError("kind of plug-in", kind, kinds)
        found = [row for row in found if row["kind"] == kind]
    if json:
        output.json_result(found)
    else:
        lines = [(row["kind"], row["name"], row["origin"]) for row in found]
        for line in output.columns([("kind", "name", "origin"), *lines]):
            output.result(line)
    for row in found:
        if row["error"]:
            output.remark(f"warning: {row['error']}")
    return output.OK


def rows() -> Iterator[dict[str, Any]]:
    """``kind, name, origin, error`` of every member of every registry."""
    for registry in _registries():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = registry.check()
        foreign = registry.plugins()
        for name in registry.names():
            error = state.get(name) if isinstance(state.get(name), Exception) else None
            origin = _distribution(foreign[name]) if name in foreign else OURS
            yield {
                "kind": registry.kind,
                "name": name,
                "origin": f"{origin} (broken)" if error else origin,
                "error": str(error) if error else None,
            }


def _registries() -> list[Registry[Any]]:
    from hyperagent.hypergraph import anchors
    from hyperagent.llm import backends
    from hyperagent.tasks import data_sets, scorers
    from hyperagent.team import tools
    from hyperagent.topology import designers

    return [backends, anchors, designers, data_sets, scorers, tools]


def _distribution(point: Any) -> str:
    package = point.dist
    return point.value if package is None else f"{package.name} {package.version}"
