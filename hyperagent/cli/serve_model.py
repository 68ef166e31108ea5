"""``hyperagent serve-model``: a model of ours, or any GGUF file, behind the OpenAI dialect."""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from hyperagent.cli import output
from hyperagent.errors import ConfigError

_CONNECTIONS = 64
"""Each open connection has a thread of the server; fewer of them than clients means stalls."""
_LOOPBACK = ("127.", "::1", "localhost")


def serve_model(
    spec: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="pocket, pocket:VARIANT, or gguf:PATH."),
    ],
    host: Annotated[str, typer.Option("--host", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes any free one.")
    ] = 8080,
    parallel: Annotated[
        int, typer.Option("--parallel", metavar="N", min=1, help="Requests decoded together.")
    ] = 4,
    context: Annotated[
        int,
        typer.Option(
            "--context", metavar="N", min=64, help="Tokens of prompt and reply of one request."
        ),
    ] = 2048,
) -> int:
    """Serve a small local model with llama.cpp's own server until Ctrl-C.

    It speaks the OpenAI dialect, so any client of it will do. llama.cpp's server knows no
    calculator: over HTTP a pocket model does all sums by itself, with slips. The backend
    --backend pocket, inside hyperagent, has the calculator.
    """
    from hyperagent.llm import engine

    path, name = _model(spec)
    _check_free(host, port)
    server = engine.start(
        path,
        context=context,
        parallel=parallel,
        threads=engine.threads_or_default(None),
        alias=name,
        host=host,
        port=port,
        connections=_CONNECTIONS,
    )
    url = f"{server.listening_address}/v1"
    output.result(url)
    output.remark(f'serving {name}; try: hyperagent ask --base-url {url} "What is 15 + 27?"')
    if spec.partition(":")[0] == "pocket":
        output.remark("llama.cpp's server has no calculator: sums may slip")
    if not host.startswith(_LOOPBACK):
        output.remark(f"warning: whoever reaches {host} can use this model; it asks for no key")
    output.remark("Ctrl-C ends it")
    sys.stdout.flush()
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        output.remark("interrupted")
        sys.stderr.flush()
        # The server's threads would go on until the last reply under way is complete.
        os._exit(output.INTERRUPTED)
    return output.OK


def _model(spec: str) -> tuple[Path, str]:
    """File and name of the model that `spec` means."""
    from hyperagent.llm import gguf, weights

    kind, _, rest = spec.partition(":")
    if kind == "pocket":
        found = weights.find(rest)
        return found.path, found.path.stem
    if kind == "gguf":
        path = gguf.checked_file(rest)
        return path, path.stem
    raise ConfigError(f"{spec!r} cannot be served: expected pocket, pocket:VARIANT or gguf:PATH")


def _check_free(host: str, port: int) -> None:
    """Complain if nobody could listen there; llama.cpp would not say why."""
    try:
        family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        raise ConfigError(
            f"cannot listen at {host} port {port}: {error.strerror or error}; choose another "
            "with --port"
        ) from None
