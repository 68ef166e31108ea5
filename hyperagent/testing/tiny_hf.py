"""A tiny llama with random weights as a transformers directory; written without transformers."""

from __future__ import annotations

import json
from pathlib import Path

from hyperagent.testing.tiny_gguf import CHATML, CONTEXT, tiny_tokenizer


def write_tiny_hf(
    directory: str | Path,
    *,
    seed: int = 0,
    vocabulary: int = 512,
    layers: int = 2,
    hidden: int = 64,
    heads: int = 4,
    kv_heads: int = 2,
) -> Path:
    """Write a random llama to `directory` and return the path.

    Its logits are spread as those of `write_tiny_gguf`, for the same reason, and its special
    tokens are all but never said.

    Parameters
    ----------
    directory : str or Path
    seed : int
        Seed of the weights.
    vocabulary, layers, hidden, heads, kv_heads : int
        As in `write_tiny_gguf`.
    """
    import torch
    from safetensors.torch import save_file

    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tiny_tokenizer(vocabulary)
    size = tokenizer.get_vocab_size()
    width, feed = hidden // heads, 2 * hidden
    generator = torch.Generator().manual_seed(seed)

    def matrix(rows: int, columns: int) -> torch.Tensor:
        return torch.randn(rows, columns, generator=generator) / columns**0.5

    weights = {"model.embed_tokens.weight": matrix(size, hidden)}
    for i in range(layers):
        for name, rows, columns in (
            ("self_attn.q_proj", hidden, hidden),
            ("self_attn.k_proj", kv_heads * width, hidden),
            ("self_attn.v_proj", kv_heads * width, hidden),
            ("self_attn.o_proj", hidden, hidden),
            ("mlp.gate_proj", feed, hidden),
            ("mlp.up_proj", feed, hidden),
            ("mlp.down_proj", hidden, feed),
        ):
            weights[f"model.layers.{i}.{name}.weight"] = matrix(rows, columns)
        for name in ("input_layernorm", "post_attention_layernorm"):
            weights[f"model.layers.{i}.{name}.weight"] = torch.ones(hidden)
    weights["model.norm.weight"] = torch.ones(hidden)
    weights["lm_head.weight"] = 3.0 * matrix(size, hidden)
    weights["lm_head.weight"][:3] = 0.0
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": size,
        "hidden_size": hidden,
        "intermediate_size": feed,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": width,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    words = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|endoftext|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "chat_template": CHATML,
    }
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(words, indent=2) + "\n")
    return folder
