"""What one design costs, beside a rebuild of G-Designer's design step.

Run from the root of the repository:

    python benchmarks/topologies/design_speed.py

Both run in one process on one thread, with everything that happens anew for a question: features
of the task and of the agents, the network, the decoding. G-Designer's step is rebuilt from the
description of its released code: a sentence encoder embeds every profile and the question, a
two-layer graph convolution, a projection, the inner product of all pairs, and a draw of edges
that makes no cycle. The encoder has MiniLM-L6's shape with random weights, which do not change
the time; a hashing tokenizer stands in for its vocabulary. The released code loads the encoder at
every call and embeds the profiles anew for every question. The loading is not counted here. Where
the team is the same as before, ours has read it already; the row "profiles cached" grants that
to G-Designer as well, and "new team" denies it to ours.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from hyperagent.topology.vae import VaeDesigner

HERE = Path(__file__).parent
QUESTION = (
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in "
    "May. How many clips did Natalia sell altogether in April and May?"
)
PROFILE = (
    "You are the {} of the team. Read the task with care, work step by step, check the numbers "
    "against the text, and say in one short note what you found and how sure you are of it."
)
ROLES = ("solver", "critic", "programmer", "inspector", "planner", "analyst")


def team(size: int, word: str = "") -> list[SimpleNamespace]:
    """Agents with a profile of about forty words each."""
    return [
        SimpleNamespace(
            id=f"agent{i}", role=ROLES[i % len(ROLES)], reliability=None,
            profile=PROFILE.format(ROLES[i % len(ROLES)] + word),
        )
        for i in range(size)
    ]  # fmt: skip


class GDesignerStep(nn.Module):
    """The design step of G-Designer's released code, rebuilt from its description.

    Parameters
    ----------
    roles : int
        Number of agents N; the role graph is complete.
    """

    def __init__(self, roles: int) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        config = BertConfig(
            hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
        )
        self.encoder = BertModel(config).eval()
        self.one, self.two = nn.Linear(768, 16), nn.Linear(16, 384)
        self.mlp = nn.Sequential(nn.Linear(384, 16), nn.ReLU(), nn.Linear(16, 16))
        self.adjacency = torch.full((roles, roles), 1.0 / roles)

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Mean-pooled, normed sentence vectors, shape (n, 384)."""
        words = [[zlib.crc32(w.encode()) % 30522 for w in _tokens(text)] for text in texts]
        longest = max(map(len, words))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in words])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in words])
        rows = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        pooled = (rows * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True)
        return nn.functional.normalize(pooled, dim=1)

    def design(self, question: str, profiles: Tensor, generator: torch.Generator) -> Tensor:
        """Adjacency of a directed acyclic graph, shape (N, N)."""
        n = len(profiles)
        query = self.embed([question]).expand(n, -1)
        x = torch.relu(self.one(self.adjacency @ torch.cat([profiles, query], 1)))
        z = self.mlp(torch.log_softmax(self.two(self.adjacency @ x), 1))
        scores = z @ z.t()
        low, high = scores.min(), scores.max()
        chance = torch.sigmoid(2 * (scores - low) / (high - low).clamp(min=1e-9) - 1)
        drawn = (torch.rand(n, n, generator=generator) < chance).tolist()
        edges = torch.zeros(n, n)
        reach = [{i} for i in range(n)]
        for i in range(n):
            for j in range(n):
                if drawn[i][j] and i not in reach[j]:
                    edges[i, j] = 1.0
                    for k in range(n):
                        if i in reach[k]:
                            reach[k] |= reach[j]
        return edges


def _tokens(text: str) -> list[str]:
    """Words and marks, with the two frame tokens of BERT."""
    return ["[CLS]", *re.findall(r"\w+|[^\w\s]", text.lower()), "[SEP]"]


def seconds(call: Callable[[int], object], repeats: int) -> float:
    """Median processor seconds of a call, after two to warm up."""
    call(0), call(1)
    found = []
    for i in range(repeats):
        start = time.process_time()
        call(i + 2)
        found.append(time.process_time() - start)
    return sorted(found)[len(found) // 2]


def ours(size: int, slots: int | None, repeats: int, *, anew: bool = False) -> float:
    """Seconds of one design, features included; a new question each time, or `anew` a new team."""
    vae = VaeDesigner(slots=slots)
    teams = [team(size, str(i) if anew else "") for i in range(repeats + 2)]
    tasks = [SimpleNamespace(id=str(i), question=f"{QUESTION} ({i})") for i in range(repeats + 2)]
    return seconds(lambda i: vae.design(tasks[i], teams[i], seed=i), repeats)


def theirs(size: int, repeats: int) -> dict[str, float]:
    """Seconds of one design of the rebuilt step."""
    step, profiles = GDesignerStep(size).eval(), [a.profile for a in team(size)]
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        known = step.embed(profiles)
        cached = seconds(lambda i: step.design(f"{QUESTION} ({i})", known, generator), repeats)
        whole = seconds(
            lambda i: step.design(f"{QUESTION} ({i})", step.embed(profiles), generator), repeats
        )
    return {"as released": whole, "profiles cached": cached}


def peak_megabytes() -> float:
    """Peak resident memory of a process that designs for 1,000 agents with 64 slots."""
    done = subprocess.run(
        [sys.executable, __file__, "--memory"], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main() -> None:
    """Measure and write `design_speed.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", action="store_true", help="print the peak memory, in MB")
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if args.memory:
        ours(1000, 64, 1)
        # Not ru_maxrss: a child starts with the peak of its parent in it.
        status = Path("/proc/self/status").read_text()
        print(int(re.search(r"VmHWM:\s*(\d+)", status)[1]) / 1024)
        return
    small, large, new = ours(6, None, 60), ours(1000, 64, 15), ours(6, None, 60, anew=True)
    rival, memory = theirs(6, 20), peak_megabytes()
    ratios = {
        "as released": rival["as released"] / small,
        "as released, new team": rival["as released"] / new,
        "profiles cached": rival["profiles cached"] / small,
    }
    found = {
        "ours, 6 agents, ms": 1e3 * small,
        "ours, 6 agents, new team, ms": 1e3 * new,
        "ours, 1,000 agents and 64 slots, ms": 1e3 * large,
        "ours, 1,000 agents and 64 slots, peak MB": memory,
        **{f"G-Designer, 6 agents, {name}, ms": 1e3 * t for name, t in rival.items()},
        **{f"ratio, {name}": ratio for name, ratio in ratios.items()},
        "threads": 1,
        "bars": {
            "6 agents <= 2 ms": 1e3 * small <= 2,
            "1,000 agents <= 60 ms": 1e3 * large <= 60,
            "<= 500 MB": memory <= 500,
            **{f">= 10 times faster, {name}": ratio >= 10 for name, ratio in ratios.items()},
        },
    }
    text = json.dumps(found, indent=1) + "\n"
    (args.out / "design_speed.json").write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
