"""Runs of the trainer that are cut short, each in a process of its own; `test_training` looks.

tiny_run.py cuts FOLDER      one run in one piece; the same run, stopped, killed, finished
tiny_run.py workers FOLDER   one step of a known batch by one worker; by two, who then make many
                             steps, and are stopped

``benchmarks/pocket`` must be on the path.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import trainer
from examples import Encoded
from launch import launch
from model import SIZES, Size, build
from trainer import Plan, run, write_weights

SIZES["tiny"] = Size(32, 2, 2, 1, 64, 64, 1536, 0.02, {})
# So few chats at a time that a short run draws often, and two workers run out at other steps.
trainer.CHUNK = 96
TOKENS = 10_000
UNION = 64
"""Chats of the known batch, of 24 tokens each."""


def draw(rng: random.Random, count: int) -> list[Encoded]:
    """Chats of random tokens, some behind a common prefix."""
    return [
        chat(rng, rng.randint(6, 40), (1, 5, 9, 2) if rng.random() < 0.5 else ())
        for _ in range(count)
    ]


def chat(rng: random.Random, length: int, prefix: tuple[int, ...] = ()) -> Encoded:
    ids = np.asarray([rng.randrange(3, 64) for _ in range(length)], dtype=np.int32)
    return Encoded(prefix, ids, (np.arange(length) > 2).astype(np.float32), "any")


def union(rng: random.Random, count: int) -> list[Encoded]:
    """Always the known batch, or this worker's half of it."""
    fixed = random.Random("union")
    chats = [chat(fixed, 24) for _ in range(UNION)]
    return chats[dist.get_rank() :: 2] if dist.is_initialized() else chats


def train(
    folder: Path,
    tokens: int,
    of: Callable[[random.Random, int], list[Encoded]] = draw,
    at: dict[int, Callable[[], None]] | None = None,
) -> None:
    """One run with a checkpoint every fifth step; `at` says what happens at which validation."""
    steps = iter(range(1, 10**6))

    def validate(model: torch.nn.Module) -> dict[str, float]:
        (at or {}).get(next(steps), lambda: None)()
        return {}

    plan = Plan("tiny", "words", folder, tokens, decay=0.5, warm=10, every=5)
    model = build("tiny")
    run(plan, model, of, validate)
    rank = dist.get_rank() if dist.is_initialized() else 0
    write_weights(model, folder / f"rank{rank}.safetensors")


def cuts(folder: Path) -> None:
    """The same run whole and in three pieces; prints how each process ended."""

    def signalled(number: int) -> Callable[[], None]:
        return lambda: os.kill(os.getpid(), number)

    todo = [
        (folder / "whole", {}),
        (folder / "cut", {1: signalled(signal.SIGTERM)}),
        (folder / "cut", {2: signalled(signal.SIGKILL)}),
        (folder / "cut", {}),
    ]
    endings = []
    for place, at in todo:
        place.mkdir(exist_ok=True)
        child = os.fork()
        if child == 0:
            train(place, TOKENS, at=at)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        rows = (place / "log.jsonl").read_text().splitlines()
        endings.append(
            {
                "code": os.waitstatus_to_exitcode(status),
                "step": json.loads(rows[-1])["step"],
                "finished": (place / "model.safetensors").exists(),
            }
        )
    print(json.dumps(endings))


def work(rank: int, options: argparse.Namespace) -> None:
    """What each worker does."""
    whole, torch.autocast = torch.autocast, lambda *a, **k: nullcontext()
    train(options.folder / str(options.workers), UNION * 24, union)
    torch.autocast = whole
    if options.workers == 1:
        return

    def stop() -> None:
        if rank == 0:
            os.kill(os.getppid(), signal.SIGTERM)
            time.sleep(2)

    train(options.folder / "many", TOKENS // 2)
    train(options.folder / "stopped", TOKENS, at={1: stop})


def main() -> None:
    what, folder = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(1)
    if what == "cuts":
        cuts(folder)
        return
    for name in ("1", "2", "many", "stopped"):
        (folder / name).mkdir()
    for workers in (1, 2):
        launch(work, argparse.Namespace(workers=workers, folder=folder))


if __name__ == "__main__":
    main()
