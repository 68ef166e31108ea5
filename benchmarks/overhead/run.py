"""What each layer costs per model call, side by side on one loopback server.

    python benchmarks/overhead/run.py [--passes 5] [--out benchmarks/overhead/results.json]

Every client runs in a process of its own (imports must not help each other); the passes are
interleaved, so that a slow minute of the machine hits all of them. Figures are CPU time of the
client's process; peers that are not installed are skipped and named.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import importlib
import json
import os
import platform
import pstats
import statistics
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from clients import CLIENTS  # noqa: E402

SEQUENTIAL, CONCURRENT, IN_FLIGHT, PROFILED = 200, 512, 64, 40


def cpu() -> float:
    """CPU seconds of this process so far."""
    return time.process_time()


async def measure(name: str, url: str) -> dict[str, float]:
    """One pass of one client: milliseconds of CPU and Python calls per model call."""
    make, calls_each = CLIENTS[name]
    call, close = make(url)
    for _ in range(20):
        await call()
    began = cpu()
    for _ in range(SEQUENTIAL // calls_each):
        await call()
    sequential = (cpu() - began) / SEQUENTIAL * 1e3
    gate = asyncio.Semaphore(IN_FLIGHT // calls_each)

    async def limited() -> None:
        async with gate:
            await call()

    began, wall = cpu(), time.perf_counter()
    await asyncio.gather(*(limited() for _ in range(CONCURRENT // calls_each)))
    seconds = time.perf_counter() - wall
    concurrent = (cpu() - began) / CONCURRENT * 1e3
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(PROFILED // calls_each):
        await call()
    profile.disable()
    await close()
    return {
        "sequential_cpu_ms": sequential,
        "concurrent_cpu_ms": concurrent,
        "requests_per_second": CONCURRENT / seconds,
        "python_calls": pstats.Stats(profile).total_calls / PROFILED,
    }


async def memory(url: str, calls: int) -> dict[str, float]:
    """Resident memory of our team after 1,000 and after `calls` model calls, in MB."""
    import psutil

    call, close = CLIENTS["hyperagent team"][0](url)
    process, sizes = psutil.Process(), {}
    for done in range(0, calls, 50):
        await asyncio.gather(*(call() for _ in range(50)))
        if done + 50 in (1000, calls):
            sizes[f"after_{done + 50}"] = process.memory_info().rss / 2**20
    await close()
    return sizes


def scale() -> dict[str, float]:
    """1,000 agents, 64 hyperedges, 16 seated, scripted backend; seconds of wall time."""
    import random

    import hyperagent as ha
    from hyperagent.llm import FunctionBackend

    names = [f"agent{i:04d}" for i in range(1000)]
    chooser = random.Random(0)
    seats = chooser.sample(names, 16)
    few = tuple(ha.Hyperedge(tuple(chooser.sample(seats, 4)), phase=i % 4) for i in range(64))
    wide = tuple(ha.Hyperedge(tuple(chooser.sample(names, 40)), phase=i % 4) for i in range(64))
    team = ha.Team(
        [ha.Agent(name) for name in names],
        ha.Hypergraph(tuple(names), few),
        FunctionBackend(lambda request: f"The answer is {len(request.context.agent)}."),
    )
    team.solve_sync(ha.Task("How many?"))
    began = time.perf_counter()
    result = team.solve_sync(ha.Task("How many?"))
    solve = time.perf_counter() - began
    began = cpu()
    graph = ha.Hypergraph(tuple(names), wide)
    graph.canonical()
    graph.digest()
    return {
        "solve_seconds": solve,
        "calls": result.usage.calls,
        "canonical_and_digest_cpu_ms": (cpu() - began) * 1e3,
    }


def imports() -> dict[str, float]:
    """CPU seconds of `import hyperagent` and `hyperagent --help`, best of five."""

    def best(*command: str) -> float:
        code = (
            "import resource, subprocess, sys; "
            "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True); "
            "u = resource.getrusage(resource.RUSAGE_CHILDREN); print(u.ru_utime + u.ru_stime)"
        )
        runs = [
            float(subprocess.check_output([sys.executable, "-c", code, *command])) for _ in range(5)
        ]
        return min(runs)

    return {
        "python_alone": best(sys.executable, "-c", "pass"),
        "import_hyperagent": best(sys.executable, "-c", "import hyperagent"),
        "hyperagent_help": best(sys.executable, "-m", "hyperagent", "--help"),
    }


def missing(name: str, url: str) -> str | None:
    """Why a client cannot be measured here, or None."""
    try:
        CLIENTS[name][0](url)
    except ImportError as error:
        return f"{error.name} is not installed"
    return None


def child(*arguments: str) -> dict[str, float]:
    """Run this file in a new process and read the JSON that it prints."""
    done = subprocess.run(
        [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout)


def main() -> None:
    """Measure everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--calls", type=int, default=10_000, help="calls of the memory test")
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument("--part", choices=["client", "memory", "scale"], help=argparse.SUPPRESS)
    parser.add_argument("--url", default="http://127.0.0.1:9/v1", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part == "client":
        print(json.dumps(asyncio.run(measure(options.client, options.url))))
        return
    if options.part == "memory":
        print(json.dumps(asyncio.run(memory(options.url, options.calls))))
        return
    if options.part == "scale":
        print(json.dumps(scale()))
        return
    load_server = importlib.import_module("hyperagent.testing.servers").load_server
    skipped = {n: why for n in CLIENTS if (why := missing(n, options.url))}
    passes: dict[str, list[dict[str, float]]] = {n: [] for n in CLIENTS if n not in skipped}
    with load_server() as url:
        for _ in range(options.passes):
            for name, seen in passes.items():
                seen.append(child("--part", "client", "--client", name, "--url", url))
        resident = child("--part", "memory", "--calls", str(options.calls), "--url", url)
    rows = {
        name: {key: statistics.median(one[key] for one in seen) for key in seen[0]}
        for name, seen in passes.items()
    }
    results = {
        "clients": rows,
        "skipped": skipped,
        "memory_mb": resident,
        "scale": child("--part", "scale"),
        "import_cpu_seconds": imports(),
        "passes": options.passes,
        "versions": versions(),
    }
    partial = options.out.with_suffix(".tmp")
    partial.write_text(json.dumps(results, indent=1) + "\n")
    partial.replace(options.out)
    print(table(results))


def versions() -> dict[str, str]:
    """Versions of what was measured."""
    found = {"python": platform.python_version()}
    for package in ("openai", "aiohttp", "pydantic-ai-slim", "langgraph", "langchain-openai"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def table(results: dict) -> str:
    """The results as Markdown."""
    rows = results["clients"]
    floor = rows["hyperagent backend"]
    bare = rows["openai client"]
    lines = [
        "| client | CPU ms per call | at 64 in flight | requests/s at 64 | Python calls |"
        " over the bare client: CPU ms, calls |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        extra = row["sequential_cpu_ms"] - bare["sequential_cpu_ms"]
        calls = row["python_calls"] - bare["python_calls"]
        lines.append(
            f"| {name} | {row['sequential_cpu_ms']:.2f} | {row['concurrent_cpu_ms']:.2f} | "
            f"{row['requests_per_second']:.0f} | {row['python_calls']:.0f} | "
            f"{extra:+.2f}, {calls:+.0f} |"
        )
    team = rows["hyperagent team"]
    lines += [
        "",
        "Our own layer (team, orchestrator, ledger, budget) over our backend: "
        f"{team['sequential_cpu_ms'] - floor['sequential_cpu_ms']:.2f} ms CPU and "
        f"{team['python_calls'] - floor['python_calls']:.0f} Python calls per model call.",
        f"Memory: {results['memory_mb']}. Scale: {results['scale']}. "
        f"Imports, CPU seconds: {results['import_cpu_seconds']}.",
    ]
    lines += [f"Skipped: {name}: {why}." for name, why in results["skipped"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
