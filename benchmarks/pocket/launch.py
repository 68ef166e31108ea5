"""Start workers that train together."""

from __future__ import annotations

import argparse
import os
import signal
import socket
from collections.abc import Callable
from types import FrameType

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

Work = Callable[[int, argparse.Namespace], None]


def launch(work: Work, options: argparse.Namespace) -> None:
    """Run ``work(rank, options)`` in `options.workers` processes, on a group of theirs."""
    if options.workers < 2:
        work(0, options)
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = mp.spawn(_worker, (work, options, port), options.workers, join=False)

    def hand_on(number: int, frame: FrameType | None) -> None:
        for process in context.processes:
            os.kill(process.pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, hand_on)
    while not context.join():
        pass


def _worker(rank: int, work: Work, options: argparse.Namespace, port: int) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=options.workers)
    work(rank, options)
    dist.destroy_process_group()
