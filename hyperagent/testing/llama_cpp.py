"""llama.cpp's own HTTP server, from the package xllamacpp, in a process of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
    import xllamacpp

    model, parallel, context = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {"tiny"}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel = parallel
    params.n_ctx = parallel * context
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    # Its HTTP pool gives each connection a thread: fewer than clients means stalls.
    params.n_threads_http = 96
    params.warmup = False
    params.verbosity = -1
    server: Any = xllamacpp.Server(params)
    print(f"{server.listening_address}/v1", flush=True)
    sys.stdin.read()
    # The threads of open connections would keep the process alive.
    os._exit(0)


if __name__ == "__main__":
    main()
