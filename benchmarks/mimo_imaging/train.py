"""Train the denoiser of the imaging study.

    python benchmarks/mimo_imaging/train.py

writes denoiser.safetensors beside this file. It may be stopped at any time: the state lies in
runs/mimo_imaging and the same command goes on from there, with the same result as without a stop.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from net import CHECKPOINT, UNet3d
from safetensors.torch import load_file, save_file
from scenes import magnitudes
from torch import Tensor, nn

STATE = Path("runs/mimo_imaging/training.safetensors")
STEPS, BATCH, RATE, SIGMA = 3500, 8, 4e-3, 0.3
SEED = 20261123


def pairs(step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy magnitudes, noise levels and clean magnitudes of one step, a function of `step`.

    Half of a batch has real Gaussian noise; the other half is the modulus of a voxel with complex
    noise (Rician), which is what the denoiser meets inside the solver.
    """
    generator = torch.Generator().manual_seed(SEED + step)
    clean = magnitudes(BATCH, generator)
    sigma = SIGMA * torch.rand(BATCH, 1, 1, 1, generator=generator)
    noise = sigma[None] * torch.randn(2, *clean.shape, generator=generator)
    gaussian, rician = clean + noise[0], torch.hypot(clean + noise[0], noise[1])
    half = (torch.arange(BATCH) < BATCH // 2)[:, None, None, None]
    return torch.where(half, gaussian.abs(), rician), sigma, clean


def rate(step: int, steps: int) -> float:
    """Linear warm-up over a twentieth of the steps, then half a cosine to zero."""
    warm = max(steps // 20, 1)
    if step < warm:
        return RATE * (step + 1) / warm
    return RATE * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))


def write(tensors: dict[str, Tensor], path: Path) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".tmp")
    save_file({k: v.contiguous() for k, v in tensors.items()}, fresh)
    os.replace(fresh, path)


def pack(net: nn.Module, adam: torch.optim.Adam, step: int, seconds: float) -> dict[str, Tensor]:
    state = {f"net.{k}": v for k, v in net.state_dict().items()}
    for name, p in net.named_parameters():
        state |= {f"adam.{name}.{k}": v for k, v in adam.state[p].items()}
    return state | {"at": torch.tensor([step, seconds], dtype=torch.float64)}


def unpack(state: dict[str, Tensor], net: nn.Module, adam: torch.optim.Adam) -> tuple[int, float]:
    net.load_state_dict({k[4:]: v for k, v in state.items() if k.startswith("net.")})
    for name, p in net.named_parameters():
        head = f"adam.{name}."
        adam.state[p] = {k[len(head) :]: v for k, v in state.items() if k.startswith(head)}
    step, seconds = state["at"].tolist()
    return int(step), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--state", type=Path, default=STATE)
    parser.add_argument("--out", type=Path, default=CHECKPOINT)
    options = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    net = UNet3d()
    adam = torch.optim.Adam(net.parameters(), lr=RATE)
    start, before = 0, 0.0
    if options.state.exists():
        start, before = unpack(load_file(options.state), net, adam)
        print(f"going on from step {start}")
    begun, total = time.process_time(), 0.0
    for step in range(start, options.steps):
        noisy, sigma, clean = pairs(step)
        adam.param_groups[0]["lr"] = rate(step, options.steps)
        loss = (net(noisy, sigma) - clean).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        total += loss.item()
        if (step + 1) % 100 == 0 or step + 1 == options.steps:
            seconds = before + time.process_time() - begun
            mean = total / min(100, step + 1 - start)
            total = 0.0
            print(f"step {step + 1}: loss {mean:.2e}, {seconds:.0f} CPU s", flush=True)
            write(pack(net, adam, step + 1, seconds), options.state)
    write(net.state_dict(), options.out)


if __name__ == "__main__":
    main()
