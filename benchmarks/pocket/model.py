"""The two sizes of the pocket model, as `LlamaForCausalLM`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hyperagent.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Size:
    """A model and how it is trained.

    Parameters
    ----------
    hidden, layers, heads, kv_heads, feed : int
        Width, depth, attention heads, heads of keys and values, width of the gated layer.
    vocabulary : int
    batch : int
        Tokens of one step, padding included, on all workers together.
    rate : float
        Learning rate of Muon for matrices; embeddings and norms get a tenth with AdamW.
    tokens : dict of str to int
        Tokens of each stage.
    """

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    feed: int
    vocabulary: int
    batch: int
    rate: float
    tokens: dict[str, int]


SIZES = {
    "cpu": Size(
        192, 8, 6, 3, 512, 2048, 8192, 0.012,
        {"words": 85_000_000, "team": 12_500_000, "longer": 25_000_000, "skill": 2_000_000},
    ),
    "gpu": Size(
        384, 10, 6, 3, 1024, 4096, 65_536, 0.02,
        {"words": 1_500_000_000, "team": 200_000_000, "longer": 200_000_000, "skill": 60_000_000},
    ),
}  # fmt: skip
CONTEXT = 2048
_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)")
_WRITERS = ("self_attn.o_proj.weight", "mlp.down_proj.weight")
"""What a layer adds to the stream goes through these two."""


def size(name: str) -> Size:
    """The size called `name`."""
    if name not in SIZES:
        raise UnknownNameError("size of the pocket model", name, SIZES)
    return SIZES[name]


def build(name: str, seed: int = 0) -> Any:
    """A `LlamaForCausalLM` of that size with fresh weights.

    Attention is plain matrix products: on a CPU the fused kernel's backward pass is slower at
    these lengths.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    wanted = size(name)
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=wanted.vocabulary,
            hidden_size=wanted.hidden,
            intermediate_size=wanted.feed,
            num_hidden_layers=wanted.layers,
            num_attention_heads=wanted.heads,
            num_key_value_heads=wanted.kv_heads,
            head_dim=wanted.hidden // wanted.heads,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=2,
            pad_token_id=0,
            rms_norm_eps=1e-5,
            attn_implementation="eager",
        )
    )


def grown(tensors: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """Weights of a llama as those of one with `layers` layers that computes the same.

    Each further layer stands behind the one it was copied from and adds nothing yet: the two
    matrices through which it would are zero (block expansion, Wu et al., LLaMA Pro, 2024).

    Parameters
    ----------
    tensors : mapping of str to Tensor
    layers : int
        At least as many as `tensors` hold.

    Raises
    ------
    ConfigError
        If they hold more.
    """
    found = [_LAYER.fullmatch(name) for name in tensors]
    had = 1 + max(int(match[1]) for match in found if match)
    if had > layers:
        raise ConfigError(f"weights of {had} layers do not fit a model of {layers}")
    made = {name: tensor for name, tensor in tensors.items() if not _LAYER.fullmatch(name)}
    for layer in range(layers):
        source = layer * had // layers
        new = layer > 0 and source == (layer - 1) * had // layers
        for match in found:
            if match and int(match[1]) == source:
                tensor = tensors[match[0]]
                silent = new and match[2] in _WRITERS
                made[f"model.layers.{layer}.{match[2]}"] = (
                    tensor.new_zeros(tensor.shape) if silent else tensor.clone()
                )
    return made
