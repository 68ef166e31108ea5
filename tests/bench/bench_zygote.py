"""A process that imports everything once and then forks a bench run per line of input.

Each run is a real process of its own that a test can kill, without paying seconds of imports for
each. Input: one JSON object a line. Output: the process id of the run, then, when the run has
ended, its wait status.
"""

from __future__ import annotations

import json
import os
import sys

import openai  # noqa: F401

from hyperagent.bench import BenchConfig, run_bench
from hyperagent.errors import HyperagentError


def run(order: dict) -> int:
    """One bench run; 3 if it ended with an error of ours."""
    try:
        summary = run_bench(
            BenchConfig(**order["config"]),
            out=order["out"],
            resume=order["resume"],
            data_dir=order["data_dir"],
            backend_options=order.get("options"),
        )
    except HyperagentError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 3
    return 1 if summary.failed else 0


def main() -> None:
    """Serve until input ends."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(run(json.loads(line)))
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
