"""Completion tokens a second, start time and memory of small models in the process.

    python benchmarks/pocket/speed.py pocket pocket:calculator=off hf:FOLDER
    python benchmarks/pocket/speed.py --random          # the size of a pocket model, no weights

Each backend is measured in a process of its own, and `--calls` calls run at once. The start
runs from the first import to the first reply. A random model writes no sums, so its calculator
has nothing to do; only real weights show its cost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

QUESTION = (
    "{name} has {n} marbles and gives {m} of them to a friend. Then {name} buys 3 bags with "
    "{m} marbles each. How many marbles does {name} have now?"
)
SIZE = {"vocabulary": 2048, "layers": 6, "hidden": 192, "heads": 6, "kv_heads": 3}
ROUNDS = 3


async def measure(spec: str, options: dict[str, Any], calls: int, tokens: int) -> dict[str, Any]:
    """One backend: its start, then rounds of `calls` calls at once; the median round counts."""
    begun = time.perf_counter()
    from hyperagent.llm import ChatRequest, Message, backend

    made = backend(spec, **options)

    def request(i: int) -> ChatRequest:
        text = QUESTION.format(name=("Ann", "Ben", "Cleo", "Dan")[i % 4], n=20 + i, m=2 + i % 7)
        return ChatRequest(
            (Message("user", text),), temperature=0.0, max_tokens=tokens, seed=i, timeout=600.0
        )

    first = await made.complete(request(0))
    start = time.perf_counter() - begun
    rows = []
    for number in range(ROUNDS):
        clock, cpu = time.perf_counter(), time.process_time()
        asked = [request(1000 * number + i) for i in range(calls)]
        replies = await asyncio.gather(*(made.complete(one) for one in asked))
        wall, used = time.perf_counter() - clock, time.process_time() - cpu
        usages = [reply.usage for reply in replies]
        count = sum(usage.completion_tokens or 0 for usage in usages)
        rows.append(
            {
                "tokens_per_second": count / wall,
                "cpu_us_per_token": 1e6 * used / count,
                "cores": used / wall,
                "tokens_per_reply": count / calls,
                "calculations_per_reply": sum(u.calculations for u in usages) / calls,
                "prompt_tokens_per_call": sum(u.prompt_tokens or 0 for u in usages) / calls,
            }
        )
    await made.aclose()
    median = sorted(rows, key=lambda row: row["tokens_per_second"])[ROUNDS // 2]
    return {
        "spec": spec,
        "start_seconds": start,
        "resident_mb": peak_mb(),
        "torch": "torch" in sys.modules,
        "first_reply": first.text[:60],
        **median,
    }


def peak_mb() -> float:
    """Most memory that this process ever had resident."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmHWM in /proc/self/status")


def random_weights(folder: Path) -> None:
    """A random model of a pocket model's size, as pocket weights."""
    import hashlib

    from hyperagent.testing.tiny_gguf import write_tiny_gguf

    content = write_tiny_gguf(folder / "pocket.gguf", **SIZE).read_bytes()
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (folder / "weights.json").write_text(json.dumps({"pocket.gguf": entry}))


def child(spec: str, options: dict[str, Any], calls: int, tokens: int) -> dict[str, Any]:
    """`measure` in a new process, so that one's imports and memory are not another's."""
    words = json.dumps([spec, options, calls, tokens])
    done = subprocess.run(
        [sys.executable, __file__, "--child", words], stdout=subprocess.PIPE, text=True
    )
    if done.returncode != 0:
        raise SystemExit(f"{spec} failed")
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def main() -> None:
    """Measure each spec and print a table, or JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("specs", nargs="*", default=["pocket", "pocket:calculator=off"])
    parser.add_argument("--calls", type=int, default=32, help="at once")
    parser.add_argument("--tokens", type=int, default=100, help="max_tokens of a reply")
    parser.add_argument("--threads", type=int, help="for the arithmetic")
    parser.add_argument("--parallel", type=int, help="calls decoded together")
    parser.add_argument("--directory", help="folder with other pocket weights")
    parser.add_argument("--random", action="store_true", help="a random model in their place")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.child:
        print(json.dumps(asyncio.run(measure(*json.loads(told.child)))))
        return
    with tempfile.TemporaryDirectory() as folder:
        directory = told.directory
        if told.random:
            random_weights(Path(folder))
            directory = folder
        wishes = {"threads": told.threads, "parallel": told.parallel, "directory": directory}
        options = {name: wish for name, wish in wishes.items() if wish is not None}
        rows = [child(spec, options, told.calls, told.tokens) for spec in told.specs]
    if told.json:
        print(json.dumps(rows, indent=2))
        return
    print("| backend | tokens/s | CPU µs/token | cores | start s | resident MB | sums/reply |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['spec']} | {row['tokens_per_second']:,.0f} | {row['cpu_us_per_token']:.0f} "
            f"| {row['cores']:.2f} | {row['start_seconds']:.2f} | {row['resident_mb']:.0f} "
            f"| {row['calculations_per_reply']:.2f} |"
        )


if __name__ == "__main__":
    main()
