"""llama.cpp, from the package `xllamacpp`: one model file, loaded and ready.

Backends use it inside the process; `hyperagent serve-model` and the tests serve it over HTTP.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hyperagent.errors import NotFound


def threads_or_default(threads: int | None) -> int:
    """`threads`, else ``OMP_NUM_THREADS``, else all processors."""
    omp = os.environ.get("OMP_NUM_THREADS", "")
    return threads or (int(omp) if omp.isdigit() else 0) or os.cpu_count() or 1


def start(
    path: Path,
    *,
    context: int,
    parallel: int,
    threads: int,
    alias: str | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    key: str | None = None,
    connections: int | None = None,
    **settings: Any,
) -> Any:
    """Load a GGUF file and give the running ``xllamacpp.Server``, which listens on a port too.

    Parameters
    ----------
    path : Path
    context : int
        Tokens of prompt and reply together that one call may use.
    parallel : int
        Calls that are decoded together.
    threads : int
        Threads for the arithmetic.
    alias : str, optional
        Name of the model in replies; its path by default.
    host : str
    port : int
        0 takes any free one.
    key : str, optional
        Demanded of whoever comes over HTTP.
    connections : int, optional
        Open connections that are served; each has a thread.
    **settings
        Further attributes of ``xllamacpp.CommonParams``.

    Raises
    ------
    NotFound
        If xllamacpp is not installed or cannot load the file.
    """
    try:
        import xllamacpp
    except ImportError as error:
        raise NotFound("gguf: needs the package xllamacpp: pip install xllamacpp") from error
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    if alias is not None:
        params.model_alias = {alias}
    params.n_parallel = parallel
    params.n_ctx = context * parallel
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.warmup = False
    params.verbosity = -1
    params.hostnames, params.port = [host], port
    if key is not None:
        params.api_keys = [key]
    if connections is not None:
        params.n_threads_http = connections
    for name, setting in settings.items():
        setattr(params, name, setting)
    try:
        engine = xllamacpp.Server(params)
    except RuntimeError:
        raise NotFound(
            f"gguf:{path}: llama.cpp cannot load this file of {path.stat().st_size:,} bytes; it is "
            "incomplete, damaged, or of a kind that the installed xllamacpp does not know"
        ) from None
    # An engine that is freed before its loop runs waits for ever for a thread that has missed the
    # signal. A token that was answered shows that the loop runs.
    engine.handle_completions({"prompt": "a", "n_predict": 0})
    return engine
