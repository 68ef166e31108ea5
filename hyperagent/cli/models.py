"""``hyperagent models``: what a server offers."""

from __future__ import annotations

from typing import Any

from hyperagent.cli import output
from hyperagent.cli.options import AsJson, BackendSpec, BaseUrl, ConfigFile
from hyperagent.errors import ConfigError


def models(
    base_url: BaseUrl = None,
    backend: BackendSpec = None,
    config: ConfigFile = None,
    json: AsJson = False,
) -> int:
    """List the models of a server, one a line."""
    from hyperagent.cli import settings
    from hyperagent.team import run_sync

    resolved = settings.resolve({"base_url": base_url, "backend": backend}, file=config)
    found = run_sync(_list(resolved))
    if json:
        output.json_result(found)
    else:
        for name in found:
            output.result(name)
    return output.OK


async def _list(resolved: Any) -> list[str]:
    from hyperagent import llm
    from hyperagent.cli import connect

    spec, options = resolved.spec(), resolved.options()
    kind, _, rest = (spec or "openai").partition(":")
    if kind == "openai" and "@" not in rest:
        return await connect.models_of_server(options)
    server = llm.backend(f"{kind}:{rest or 'models'}", **options)
    try:
        if not isinstance(server, connect.Server):
            raise ConfigError(f"a {kind} backend has no list of models; it is what its spec names")
        return await server.list_models()
    finally:
        await server.aclose()
