"""A real llama whose next token depends on the last one only, as a table says.

Its embeddings are one-hot and its layers add nothing, so the output matrix is the table
itself. It says whatever a test wants it to say, calculator marks too, in a real llama.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hyperagent.testing.tiny_gguf import CHATML

END = "<|im_end|>"
START = "\n"
"""The last token of every prompt: what follows it is how each reply begins."""

_SPECIAL = ["<|endoftext|>", "<|im_start|>", END]
_MERGES = {"<<": "< <", ">>": "> >", ")=": ") ="}


def _bytes_as_letters() -> list[str]:
    """The 256 letters that stand for the bytes in a byte-level vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in plain else next(others)) for byte in range(256)]


def write_chain_gguf(path: Path, follows: Mapping[str, str | Mapping[str, float]]) -> Path:
    """Write a model in which `follows` names the token, or the weights of several, after each.

    A token is an ASCII character, ``<<``, ``>>``, ``)=``, or ``<|im_end|>``. One that the
    table leaves out is followed by the end of the reply.
    """
    import gguf
    import numpy as np

    letters = _bytes_as_letters()
    tokens = [*_SPECIAL, *letters, *_MERGES]
    ids = {token: i for i, token in enumerate(tokens)} | {
        chr(byte): len(_SPECIAL) + byte for byte in range(128)
    }
    size = -len(tokens) % 32 + len(tokens)
    embedding = np.eye(len(tokens), size, dtype=np.float32)
    table = np.zeros_like(embedding)
    table[ids[END]] = 1.0
    for token, then in follows.items():
        table[:, ids[token]] = 0.0
        for name, weight in ({then: 1.0} if isinstance(then, str) else then).items():
            # The norm before the output makes a one-hot vector sqrt(size) long.
            table[ids[name], ids[token]] = weight
    out = gguf.GGUFWriter(str(path), "llama")
    out.add_context_length(2048)
    out.add_embedding_length(size)
    out.add_block_count(1)
    out.add_feed_forward_length(32)
    out.add_head_count(size // 32)
    out.add_head_count_kv(1)
    out.add_rope_dimension_count(32)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_vocab_size(len(tokens))
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")
    out.add_token_list(tokens)
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    out.add_token_types([control if token in _SPECIAL else normal for token in tokens])
    out.add_token_merges(list(_MERGES.values()))
    out.add_bos_token_id(0)
    out.add_eos_token_id(ids[END])
    out.add_add_bos_token(False)
    out.add_chat_template(CHATML)
    shapes = {
        "attn_q": (size, size),
        "attn_k": (32, size),
        "attn_v": (32, size),
        "attn_output": (size, size),
        "ffn_gate": (32, size),
        "ffn_up": (32, size),
        "ffn_down": (size, 32),
    }
    out.add_tensor("token_embd.weight", embedding)
    out.add_tensor("output.weight", table)
    ones = np.ones(size, dtype=np.float32)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        out.add_tensor(f"{name}.weight", ones)
    for name, shape in shapes.items():
        out.add_tensor(f"blk.0.{name}.weight", np.zeros(shape, dtype=np.float32))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return path
