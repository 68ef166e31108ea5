"""Does llama.cpp say what transformers says? Greedy replies of one model through both.

    python benchmarks/pocket/parity.py DIR [--type f32 q8_0] [--cache f32 f16] [--count 200]

The model in `DIR` is exported once per type and run by llama.cpp. transformers then reads each
reply in one pass and tells where it would first have said something else, and how much better it
likes its own token there: the gap, in logits. A small gap is a near tie, which rounding decides.

With ``--cache f32`` llama.cpp also remembers in F32 and attends without its fused kernel: an F32
file must then agree exactly. With ``--cache f16``, as llama.cpp is by default, it rounds what it
remembers; with Q8_0 the rate of equal replies is the price of a smaller file.
"""

from __future__ import annotations

import argparse
import itertools
import json
import secrets
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
from export import TYPES, export

from hyperagent.tasks import load
from hyperagent.team.prompts import build_messages

PROMPT = "Solve the problem step by step."
Chat = list[dict[str, str]]


@dataclass(frozen=True)
class Parity:
    """How two engines agree.

    Attributes
    ----------
    type, cache : str
        How the GGUF file stores matrices, and llama.cpp what it remembers.
    prompts, identical : int
        Replies compared, and those that are the same token by token.
    other_prompt : int
        Prompts that the engines turn into different tokens; must be 0.
    gaps : tuple of float
        One per reply that differs: by how many logits transformers prefers its own token to
        llama.cpp's where they first part.
    """

    type: str
    cache: str
    prompts: int
    identical: int
    other_prompt: int
    gaps: tuple[float, ...]

    def __str__(self) -> str:
        said = (
            f"{self.type}, cache {self.cache}: {self.identical} of {self.prompts} replies identical"
        )
        if self.other_prompt:
            said += f"; {self.other_prompt} prompts have other tokens, which is an error"
        if self.gaps:
            middle, most = statistics.median(self.gaps), max(self.gaps)
            said += f"; gap where the others part: median {middle:.4f}, most {most:.4f} logits"
        return said


def chats(count: int) -> list[Chat]:
    """Word problems, worded as a team words them."""
    return [
        [
            {"role": m.role, "content": m.content}
            for m in build_messages(PROMPT, task, purpose="speak")
        ]
        for task in load("wordproblems", "validation", limit=count)
    ]


@contextmanager
def engine(file: Path, cache: str) -> Iterator[Callable[..., Any]]:
    """llama.cpp with `file`; gives a function that asks one of its addresses for an object."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_parallel, params.n_ctx = 1, 4096
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.warmup, params.verbosity = False, -1
    if cache == "f32":
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        fused = xllamacpp.llama_flash_attn_type
        params.flash_attn_type = fused.LLAMA_FLASH_ATTN_TYPE_DISABLED
    key = secrets.token_hex(16)
    params.api_keys = [key]
    server = xllamacpp.Server(params)
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(
        base_url=server.listening_address, headers=headers, timeout=120, trust_env=False
    ) as client:
        yield lambda what, **body: client.post(what, json=body).raise_for_status().json()


def compare(
    directory: Path, kind: str, asked: Sequence[Chat], *, tokens: int = 100, cache: str = "f16"
) -> Parity:
    """Export `directory` as `kind` and compare its replies to `asked` with transformers.

    Parameters
    ----------
    directory : Path
        As for `export.export`.
    kind : {"f32", "f16", "q8_0"}
    asked : sequence of chats
    tokens : int
        Longest reply.
    cache : {"f16", "f32"}
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(
        directory, local_files_only=True, use_safetensors=True, dtype=torch.float32
    ).eval()
    other_prompt, gaps = 0, []
    with tempfile.TemporaryDirectory() as place:
        file = export(directory, Path(place) / f"{kind}.gguf", kind=kind)
        with engine(file, cache) as ask:
            for chat in asked:
                text = tokenizer.apply_chat_template(
                    chat, tokenize=False, add_generation_prompt=True
                )
                prompt = tokenizer.encode(text, add_special_tokens=False)
                written = ask("/apply-template", messages=chat)["prompt"]
                theirs = ask("/tokenize", content=written, add_special=True, parse_special=True)
                other_prompt += theirs["tokens"] != prompt
                reply = ask(
                    "/completion",
                    prompt=prompt,
                    n_predict=tokens,
                    temperature=0.0,
                    return_tokens=True,
                    cache_prompt=False,
                )["tokens"]
                with torch.inference_mode():
                    logits = model(torch.tensor([prompt + reply])).logits[0, len(prompt) - 1 : -1]
                behind = logits.max(dim=1).values - logits[range(len(reply)), reply]
                parted = behind.nonzero()
                if len(parted):
                    gaps.append(float(behind[parted[0]]))
    return Parity(kind, cache, len(asked), len(asked) - len(gaps), other_prompt, tuple(gaps))


def main() -> None:
    """Compare, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--type", nargs="+", choices=TYPES, default=["f32", "q8_0"])
    parser.add_argument("--cache", nargs="+", choices=("f32", "f16"), default=["f32", "f16"])
    parser.add_argument("--count", type=int, default=200, help="prompts (default 200)")
    parser.add_argument("--tokens", type=int, default=100, help="longest reply (default 100)")
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    given = parser.parse_args()
    asked = chats(given.count)
    found: list[dict[str, Any]] = []
    for kind, cache in itertools.product(given.type, given.cache):
        parity = compare(given.directory, kind, asked, tokens=given.tokens, cache=cache)
        print(parity, flush=True)
        found.append(asdict(parity))
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
