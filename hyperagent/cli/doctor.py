"""``hyperagent doctor``: what is here, what is missing, and whether that matters."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal

from hyperagent.cli import output
from hyperagent.cli.options import AsJson, BackendSpec, BaseUrl, ConfigFile, DataDir
from hyperagent.errors import BackendError, ConfigError, HyperagentError

if TYPE_CHECKING:
    from hyperagent.cli.connect import Server
    from hyperagent.cli.settings import Resolved

OLDEST = (3, 11)
_PACKAGES = ("hyperagent", "openai", "pydantic", "torch", "torch-geometric", "xllamacpp")


@dataclass(frozen=True)
class Finding:
    """One line: ``ok`` is as it should be, ``note`` limits something, ``bad`` must be repaired."""

    state: Literal["ok", "note", "bad"]
    subject: str
    text: str


def doctor(
    base_url: BaseUrl = None,
    backend: BackendSpec = None,
    data: DataDir = None,
    config: ConfigFile = None,
    json: AsJson = False,
) -> int:
    """Check Python, settings, data, sandbox and server.

    The exit code is 1 if something that was asked for does not work. Keys are never shown.
    """
    found: list[Finding] = []
    for finding in _findings({"base_url": base_url, "backend": backend, "data": data}, config):
        found.append(finding)
        if not json:
            output.result("\n".join(_lines(finding, output.width_of(sys.stdout))))
    if json:
        output.json_result([asdict(finding) for finding in found])
    return output.FAILED if any(finding.state == "bad" for finding in found) else output.OK


def _lines(finding: Finding, width: int | None) -> list[str]:
    margin = 16
    head = f"{finding.state:<5} {finding.subject:<9}".ljust(margin)
    # A settings file may have several faults, one a line.
    text = [output.wrap(line, width and width - margin) for line in finding.text.splitlines()]
    first, *more = [line for lines in text for line in lines] or [""]
    return [(head + first).rstrip(), *(" " * margin + line for line in more)]


def _findings(flags: dict[str, str | None], config: str | None) -> Iterator[Finding]:
    good = sys.version_info >= OLDEST
    yield Finding("ok" if good else "bad", "python", platform.python_version())
    yield from _packages()
    from hyperagent.cli import settings

    try:
        resolved = settings.resolve(flags, file=config)
    except ConfigError as error:
        yield Finding("bad", "settings", str(error))
        resolved = settings.Resolved.defaults()
    else:
        files = ", ".join(resolved.files) or "no settings file"
        given = [key for key, place in resolved.origins.items() if place != settings.DEFAULT]
        told = ", ".join(f"{key} from {resolved.origins[key]}" for key in given)
        yield Finding("ok", "settings", f"{files}; {told or 'all defaults'}")
    yield from _data(resolved)
    yield _weights()
    yield _sandbox()
    yield _key(resolved)
    yield _backend(resolved)
    yield from _plugins()


def _packages() -> Iterator[Finding]:
    there, missing = [], []
    for name in _PACKAGES:
        try:
            there.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    yield Finding("bad" if missing else "ok", "packages", ", ".join(there))
    if missing:
        yield Finding("bad", "packages", f"not installed: {', '.join(missing)}")


def _data(resolved: Resolved) -> Iterator[Finding]:
    from hyperagent import datadir

    places = datadir.places(resolved.values.data)
    there = [place for place in places if place.is_dir()]
    text = ", ".join(f"{p}{'' if p in there else ' (not there)'}" for p in places)
    yield Finding("ok" if there else "note", "data", text)
    found, missing = [], []
    for name, splits in _splits(resolved.values.data).items():
        here = [split for split, present in splits.items() if present]
        if here:
            found.append(f"{name} ({', '.join(here)})" if here != ["test"] else name)
        else:
            missing.append(name)
    yield Finding("ok", "data sets", ", ".join(found))
    if missing:
        yield Finding(
            "note", "data sets", f"missing: {', '.join(missing)}; HYPERAGENT_DATA or --data names "
            "the directory that holds them",
        )  # fmt: skip
    recorded = datadir.find("replay_math/runs.json", resolved.values.data)
    yield Finding(
        "ok" if recorded else "note",
        "replies",
        "recorded replies are here: recorded:RUN works" if recorded else "no recorded replies",
    )


def _splits(data_dir: str | None) -> dict[str, dict[str, bool]]:
    """For each data set which of its splits can be read; a generator needs no file."""
    from hyperagent import datadir
    from hyperagent.tasks import data_sets

    state: dict[str, dict[str, bool]] = {}
    for name in data_sets.names():
        try:
            one = data_sets.get(name)
        except ConfigError:
            continue
        files = getattr(one, "files", None)
        state[name] = {
            split: files is None
            or any(
                datadir.find(path, data_dir) is not None
                for path in (files[split].path, files[split].official_path)
                if path
            )
            for split in one.splits
        }
    return state


def _weights() -> Finding:
    from hyperagent.llm import weights

    good, faults = [], []
    try:
        for one in weights.listed().values():
            try:
                one.verify()
                good.append(one.spec)
            except ConfigError as error:
                faults.append(str(error))
    except ConfigError as error:
        # Without the list there are no such models at all; everything else works.
        return Finding("note", "pocket", str(error))
    if faults:
        return Finding("bad", "pocket", "\n".join(faults))
    return Finding("ok", "pocket", f"{', '.join(good)}: weights here, hashes right")


def _sandbox() -> Finding:
    from hyperagent.tasks import sandbox

    working = sandbox.available()
    faults = "; ".join(f"{name}: {why}" for name, why in sandbox.faults().items() if why)
    if not working:
        return Finding("note", "sandbox", f"none works, so programs are not run ({faults})")
    return Finding("ok", "sandbox", working[0] + (f" ({faults})" if faults else ""))


def _key(resolved: Resolved) -> Finding:
    if resolved.values.api_key is None:
        return Finding("note", "key", "none; a local server needs none")
    return Finding("ok", "key", f"set (from {resolved.origins['api_key']})")


def _backend(resolved: Resolved) -> Finding:
    from hyperagent import llm
    from hyperagent.cli import connect
    from hyperagent.team import run_sync

    try:
        spec = resolved.spec()
        if spec is None and resolved.values.base_url is None and resolved.values.api_key is None:
            return Finding(
                "note", "backend", "none set; name a server with --base-url, or set "
                "OPENAI_API_KEY; --team pocket needs neither",
            )  # fmt: skip
        if spec is None:
            found = run_sync(connect.models_of_server(resolved.options()))
            return Finding("ok", "backend", f"{_address(resolved)} answers: {_some(found)}")
        options = {**resolved.options(), "timeout": connect.LISTING_SECONDS}
        backend = llm.backend(spec, **options)
        if not isinstance(backend, connect.Server):
            return Finding("ok", "backend", backend.name)
        found = run_sync(_list(backend))
        if backend.model not in found:
            return Finding(
                "bad", "backend", f"{backend.base_url} has no model {backend.model!r}; it offers "
                f"{_some(found)}",
            )  # fmt: skip
        return Finding("ok", "backend", f"{backend.name} answers")
    except (BackendError, HyperagentError) as error:
        return Finding("bad", "backend", output.scrub(str(error)))
    except ImportError as error:
        return Finding("bad", "backend", f"a package is missing: {error}")


async def _list(server: Server) -> list[str]:
    try:
        return await server.list_models()
    finally:
        await server.aclose()


def _address(resolved: Resolved) -> str:
    from hyperagent.llm.openai_compat import OPENAI_URL

    return resolved.values.base_url or OPENAI_URL


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _plugins() -> Iterator[Finding]:
    from hyperagent.cli.plugins import OURS, rows

    foreign = [row for row in rows() if row["origin"] != OURS]
    for row in foreign:
        if row["error"]:
            yield Finding("note", "plug-in", row["error"])
    working = [f"{row['kind']} {row['name']}" for row in foreign if not row["error"]]
    yield Finding("ok", "plug-ins", ", ".join(working) or "none")
