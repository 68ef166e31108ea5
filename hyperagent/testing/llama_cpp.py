"""llama.cpp's own HTTP server, from the package xllamacpp, in a process of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hyperagent.llm.engine import start
from hyperagent.testing.processes import child_server


@contextmanager
def llama_server(model: str | Path, *, parallel: int = 4, context: int = 2048) -> Iterator[str]:
    """Serve a GGUF file on a free port of 127.0.0.1; gives the base address.

    Parameters
    ----------
    model : str or Path
    parallel : int
        Requests that are decoded together.
    context : int
        Tokens per request.
    """
    with child_server(
        "hyperagent.testing.llama_cpp", str(model), str(parallel), str(context)
    ) as url:
        yield url


def main() -> None:
    """Serve until standard input closes."""
    model, parallel, context = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    # Its HTTP pool gives each connection a thread: fewer than clients means stalls.
    server = start(
        Path(model), context=context, parallel=parallel, threads=1, alias="tiny", connections=96
    )
    print(f"{server.listening_address}/v1", flush=True)
    sys.stdin.read()
    # The threads of open connections would keep the process alive.
    os._exit(0)


if __name__ == "__main__":
    main()
