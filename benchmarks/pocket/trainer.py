"""Training of a pocket model: steps, workers, checkpoints, progress.

One process a core; each computes its own batches, the gradients are added up. A checkpoint
holds weights, optimizer and the place in the data, so that a killed run goes on where it was.
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from examples import Encoded, batches
from model import grown
from model import size as size_of
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

CHUNK = 2048
"""Chats that are drawn, sorted by length and cut into batches at a time."""

Draw = Callable[[random.Random, int], list[Encoded]]
"""``draw(rng, count)``: training chats; the same state of `rng` gives the same chats."""


@dataclass
class Plan:
    """What one call of `run` does.

    Parameters
    ----------
    size : str
    stage : str
    folder : Path
        Checkpoint, log and final weights.
    tokens : int
        Tokens of this stage, padding not counted.
    decay : float
        Share of the stage, at its end, in which the rate falls linearly.
    floor : float
        Where it falls to, as a share of its top.
    rate : float
        Factor on the size's learning rate.
    warm : int
        Steps of linear warm-up.
    start : Path, optional
        Weights to begin with.
    seed : int
    every : int
        Steps between two validations and checkpoints.
    compiled : bool
        Compile the model's body: on a CPU a third faster, after half a minute.
    """

    size: str
    stage: str
    folder: Path
    tokens: int
    decay: float
    rate: float = 1.0
    floor: float = 0.0
    warm: int = 100
    start: Path | None = None
    seed: int = 0
    every: int = 250
    compiled: bool = False


@dataclass
class State:
    """Where a run is."""

    step: int = 0
    tokens: int = 0
    chunk: int = 0
    place: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)


def run(
    plan: Plan,
    model: nn.Module,
    draw: Draw,
    validate: Callable[[nn.Module], dict[str, float]],
) -> None:
    """Train `model` until the tokens of the stage are used up.

    SIGTERM ends it after the present step with a checkpoint.

    Parameters
    ----------
    plan : Plan
    model : nn.Module
        A ``LlamaForCausalLM``; trained in place.
    draw : callable
        See `Draw`.
    validate : callable
        Figures of the model for the log, by name; called by the first worker only.
    """
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device)
    stop = _on_signal()
    optimizers = _optimizers(model, plan.rate * size_of(plan.size).rate)
    state = _resume(plan, model, optimizers) or State()
    if state.step == 0 and plan.start is not None:
        model.load_state_dict(grown(load_file(plan.start), size_of(plan.size).layers), strict=False)
    if plan.compiled:
        model.model.compile(dynamic=True)  # In place, so that no name of a weight changes.
    flat = [p for p in model.parameters() if p.requires_grad]
    share = size_of(plan.size).batch // world
    todo: list[list[Encoded]] = []
    running, began = [], time.perf_counter() - state.seconds
    while state.tokens < plan.tokens:
        if not todo:
            todo = _chunk(plan, draw, state.chunk, rank, share)[state.place :]
            if not todo:
                state.chunk, state.place = state.chunk + 1, 0
                continue
        batch, todo = todo[0], todo[1:]
        state.place += 1
        _set_rate(optimizers, _factor(plan, state))
        total, weight, count = loss_of(model, batch, device)
        model.zero_grad()
        total.backward()
        sums = torch.tensor([float(total.detach()), weight, count], dtype=torch.float64)
        gradient = torch.cat([p.grad.reshape(-1) for p in flat])
        # Every worker must know whether another one has used up its chunk or was told to stop.
        ending = torch.tensor([float(not todo), float(stop.is_set())])
        if world > 1:
            dist.all_reduce(gradient)
            dist.all_reduce(sums)
            dist.all_reduce(ending)
        gradient /= sums[1]
        norm = float(gradient.norm())
        gradient *= min(1.0, 1.0 / (norm + 1e-6))
        _give(flat, gradient)
        for optimizer in optimizers:
            optimizer.step()
        state.step, state.tokens = state.step + 1, state.tokens + int(sums[2])
        running.append(float(sums[0] / sums[1]))
        if ending[0]:
            state.chunk, state.place, todo = state.chunk + 1, 0, []
        state.seconds = time.perf_counter() - began
        done = state.tokens >= plan.tokens or bool(ending[1])
        if state.step % plan.every == 0 or done:
            if rank == 0:
                _report(plan, state, running, validate(model), norm)
                _save(plan, state, model, optimizers)
            running = []
            model.train()
        if ending[1]:
            return
    if rank == 0:
        write_weights(model, plan.folder / "model.safetensors")


def loss_of(model: Any, batch: list[Encoded], device: str) -> tuple[Tensor, float, int]:
    """Weighted sum of the cross entropies of a batch, the sum of its weights, its tokens.

    The common prefix goes through the model once; its keys and values serve every row.

    Parameters
    ----------
    model : LlamaForCausalLM
    batch : list of Encoded
        Chats with the same prefix.
    device : str
    """
    longest = max(len(chat.ids) for chat in batch)
    ids = np.zeros((len(batch), longest), dtype=np.int64)
    weights = np.zeros((len(batch), longest), dtype=np.float32)
    for row, chat in enumerate(batch):
        ids[row, : len(chat.ids)] = chat.ids
        weights[row, : len(chat.ids)] = chat.weights
    inputs, wanted = torch.from_numpy(ids).to(device), torch.from_numpy(weights).to(device)
    prefix = batch[0].prefix
    with torch.autocast(device, torch.bfloat16):
        cache = None
        if prefix:
            first = torch.tensor([prefix], device=device)
            cache = model.model(first, use_cache=True).cache
            cache.batch_repeat_interleave(len(batch))
        hidden = model.model(inputs, cache=cache, use_cache=cache is not None).last_hidden_state
        # Only positions that predict a token of the reply need the vocabulary.
        rows, places = torch.nonzero(wanted, as_tuple=True)
        logits = model.lm_head(hidden[rows, places - 1])
    losses = nn.functional.cross_entropy(logits.float(), inputs[rows, places], reduction="none")
    picked = wanted[rows, places]
    return (losses * picked).sum(), float(picked.sum()), int(sum(len(c.ids) for c in batch))


def _chunk(plan: Plan, draw: Draw, chunk: int, rank: int, tokens: int) -> list[list[Encoded]]:
    rng = random.Random(f"{plan.seed}/{plan.stage}/{chunk}/{rank}")
    made = batches(draw(rng, CHUNK), tokens)
    rng.shuffle(made)
    return made


def _factor(plan: Plan, state: State) -> float:
    """Warm-up, a plateau, and a linear fall over the last part."""
    left = (plan.tokens - state.tokens) / (plan.decay * plan.tokens) if plan.decay else 1.0
    falling = plan.floor + (1 - plan.floor) * min(1.0, max(left, 0.0))
    return min(falling, (state.step + 1) / plan.warm)


def _optimizers(model: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for embeddings and norms."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        torch.optim.Muon(
            matrices, lr=rate, weight_decay=0.02, momentum=0.95, adjust_lr_fn="original"
        ),
        torch.optim.AdamW(others, lr=rate / 5, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def _set_rate(optimizers: list[torch.optim.Optimizer], factor: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group.setdefault("top", group["lr"])
            group["lr"] = group["top"] * factor


def _give(parameters: list[nn.Parameter], gradient: Tensor) -> None:
    at = 0
    for parameter in parameters:
        parameter.grad.copy_(gradient[at : at + parameter.numel()].view_as(parameter))
        at += parameter.numel()


def _on_signal() -> Any:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    return stop


def _report(
    plan: Plan, state: State, losses: list[float], scores: dict[str, float], norm: float
) -> None:
    row = {
        "stage": plan.stage,
        "step": state.step,
        "tokens": state.tokens,
        "seconds": round(state.seconds, 1),
        "rate": round(state.tokens / max(state.seconds, 1e-9)),
        "loss": round(sum(losses) / max(len(losses), 1), 4),
        "norm": round(norm, 3),
    } | {name: round(value, 4) for name, value in scores.items()}
    state.history.append(row)
    with (plan.folder / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(row) + "\n")
    left = (plan.tokens - state.tokens) / max(row["rate"], 1)
    print(f"{json.dumps(row)}  {left / 60:.0f} min left", flush=True)


def write_weights(model: Any, path: Path) -> None:
    """Weights as safetensors, whole or not at all; the tied head is left out."""
    write_tensors({k: v for k, v in model.state_dict().items() if k != "lm_head.weight"}, path)


def write_tensors(
    tensors: dict[str, Tensor], path: Path, about: dict[str, str] | None = None
) -> None:
    """Tensors by name, with a header of strings, whole or not at all."""
    fresh = path.with_suffix(".tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, fresh, about)
    os.replace(fresh, path)


def _save(
    plan: Plan, state: State, model: nn.Module, optimizers: list[torch.optim.Optimizer]
) -> None:
    """Weights, optimizer moments and place in one file, so that they can't disagree."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items() if k != "lm_head.weight"}
    for i, optimizer in enumerate(optimizers):
        for number, moments in optimizer.state_dict()["state"].items():
            for name, value in moments.items():
                tensors[f"optimizer.{i}.{number}.{name}"] = torch.as_tensor(value)
    write_tensors(
        tensors, plan.folder / "checkpoint.safetensors", {"state": json.dumps(asdict(state))}
    )


def _resume(plan: Plan, model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> State | None:
    path = plan.folder / "checkpoint.safetensors"
    if not path.exists():
        return None
    with safe_open(path, "pt") as file:
        state = State(**json.loads(file.metadata()["state"]))
    tensors = load_file(path)
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    # The keys of a checkpoint keep the prefix "model." of the network's own body.
    model.load_state_dict(weights, strict=False)
    for i, optimizer in enumerate(optimizers):
        saved: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            parts = key.split(".")
            if parts[0] == "optimizer" and int(parts[1]) == i:
                saved.setdefault(int(parts[2]), {})[parts[3]] = value
        own = optimizer.state_dict()
        optimizer.load_state_dict({"state": saved, "param_groups": own["param_groups"]})
    return state


def is_done(plan: Plan) -> bool:
    """Whether the stage has its final weights."""
    return (plan.folder / "model.safetensors").exists()
