"""From a trained llama in a transformers directory to one GGUF file, and into the package.

    python benchmarks/pocket/export.py DIR OUT.gguf --type q8_0
    python benchmarks/pocket/export.py DIR OUT.gguf --type q8_0 --ship pocket-sums

`DIR` holds ``config.json``, ``model.safetensors`` and ``tokenizer.json``. With ``--ship`` the
file is also copied to the weights of the package, under that name, and listed there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperagent.errors import ConfigError
from hyperagent.llm.weights import FOLDER, LIST
from hyperagent.testing.tiny_gguf import CHATML, add_tokenizer, describe_llama, tables

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGMLQuantizationType

TYPES = ("f32", "f16", "q8_0")
BLOCK = 32
"""Numbers that share one scale in Q8_0."""

LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def export(
    directory: str | Path,
    out: str | Path,
    *,
    kind: str = "q8_0",
    name: str | None = None,
    author: str = "hyperagent",
    license: str = "Apache-2.0",
) -> Path:
    """Write the llama in `directory` as the GGUF file `out`; return the path.

    Parameters
    ----------
    directory : str or Path
        A ``LlamaForCausalLM`` as transformers saves it, without biases, with plain rotary
        positions. A chat template may stand in ``chat_template.jinja`` or in
        ``tokenizer_config.json``; without one it is ChatML.
    out : str or Path
        Appears only when it is complete.
    kind : {"f32", "f16", "q8_0"}
        How matrices are stored. Norms stay F32; a matrix whose rows are no multiple of 32
        long cannot be Q8_0 and becomes F16.
    name, author, license : str
        Stated in the file; `name` is the directory's by default.

    Raises
    ------
    ConfigError
        If a file is missing, or the model is one that this layout cannot hold.
    """
    import gguf
    from tokenizers import Tokenizer

    if kind not in TYPES:
        raise ConfigError(f"type {kind!r}: one of {', '.join(TYPES)} is expected")
    source, target = Path(directory), Path(out)
    for needed in ("config.json", "model.safetensors", "tokenizer.json"):
        if not (source / needed).is_file():
            raise ConfigError(f"{source} has no {needed}")
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    theta = _checked(config, source)
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    head_width = config.get("head_dim") or config["hidden_size"] // heads
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokens, merges = tables(tokenizer)
    if len(tokens) != config["vocab_size"]:
        raise ConfigError(
            f"{source}: {len(tokens)} tokens in tokenizer.json, {config['vocab_size']} in the model"
        )
    words = _settings(source)

    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    writer = gguf.GGUFWriter(str(part), "llama")
    try:
        writer.add_name(name or source.resolve().name)
        writer.add_author(author)
        writer.add_license(license)
        writer.add_file_type(
            {
                "f32": gguf.LlamaFileType.ALL_F32,
                "f16": gguf.LlamaFileType.MOSTLY_F16,
                "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
            }[kind]
        )
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        describe_llama(
            writer,
            context=config["max_position_embeddings"],
            hidden=config["hidden_size"],
            layers=config["num_hidden_layers"],
            feed=config["intermediate_size"],
            heads=heads,
            kv_heads=kv_heads,
            head_width=head_width,
            epsilon=config["rms_norm_eps"],
        )
        writer.add_rope_freq_base(theta)
        writer.add_key_length(head_width)
        writer.add_value_length(head_width)
        special = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
        add_tokenizer(writer, tokens, merges, special, bos=words["bos"], eos=words["eos"])
        writer.add_chat_template(words["chat"])
        for title, weights in _tensors(source / "model.safetensors", config):
            stored = _type(kind, weights)
            writer.add_tensor(title, gguf.quants.quantize(weights, stored), raw_dtype=stored)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def ship(file: str | Path, name: str, weights: Path = FOLDER) -> Path:
    """Copy a GGUF file to `weights` as ``NAME.gguf`` and list it in ``weights.json``.

    The list states the size and the SHA-256 of every file; both the copy and the list
    replace their predecessors at one stroke.
    """
    weights.mkdir(parents=True, exist_ok=True)
    target = weights / f"{name}.gguf"
    _replace(target, Path(file).read_bytes())
    listing = weights / LIST
    listed = json.loads(listing.read_text(encoding="utf-8")) if listing.is_file() else {}
    data = target.read_bytes()
    listed[target.name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    _replace(listing, (json.dumps(listed, indent=2, sort_keys=True) + "\n").encode())
    return target


def _replace(target: Path, data: bytes) -> None:
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(target)


def _checked(config: dict[str, Any], source: Path) -> float:
    """The base of the rotary positions, if the model is one that can be written."""
    kind = config.get("model_type")
    if kind != "llama":
        raise ConfigError(f"{source}: a llama is expected, model_type is {kind!r}")
    if config.get("attention_bias") or config.get("mlp_bias"):
        raise ConfigError(f"{source}: matrices with biases cannot be exported")
    # transformers 5 states rotary positions in rope_parameters, older ones in two fields.
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    scaling = rope.get("rope_type", "default")
    if scaling != "default":
        raise ConfigError(f"{source}: rotary positions scaled by {scaling!r} cannot be exported")
    return float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0)


def _settings(source: Path) -> dict[str, str]:
    """Chat template and the tokens that begin a text and end a turn."""
    path = source / "tokenizer_config.json"
    stated = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    jinja = source / "chat_template.jinja"
    chat = jinja.read_text(encoding="utf-8") if jinja.is_file() else stated.get("chat_template")

    def mark(key: str, default: str) -> str:
        token = stated.get(key) or default
        return token if isinstance(token, str) else token["content"]

    return {
        "chat": chat or CHATML,
        "bos": mark("bos_token", "<|endoftext|>"),
        "eos": mark("eos_token", "<|im_end|>"),
    }


def _tensors(file: Path, config: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """Title in the GGUF file and float32 weights of every tensor."""
    from safetensors.torch import load_file

    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    found = {key: value.float().numpy() for key, value in load_file(file).items()}

    def take(key: str) -> np.ndarray:
        if key not in found:
            raise ConfigError(f"{file} has no tensor {key}")
        return found.pop(key)

    yield "token_embd.weight", take("model.embed_tokens.weight")
    for i in range(config["num_hidden_layers"]):
        for theirs, ours in LAYER.items():
            weights = take(f"model.layers.{i}.{theirs}.weight")
            if ours in ("attn_q", "attn_k"):
                weights = turned(weights, heads if ours == "attn_q" else kv_heads)
            yield f"blk.{i}.{ours}.weight", weights
    yield "output_norm.weight", take("model.norm.weight")
    head = found.pop("lm_head.weight", None)
    # Without a matrix of its own llama.cpp uses the embeddings for the output.
    if not config.get("tie_word_embeddings"):
        if head is None:
            raise ConfigError(f"{file} has no tensor lm_head.weight, and embeddings are not tied")
        yield "output.weight", head
    if found:
        raise ConfigError(f"{file}: no place for {sorted(found)[:3]}")


def turned(weights: np.ndarray, heads: int, *, back: bool = False) -> np.ndarray:
    """Rows reordered for rotary positions; with `back` the other way round.

    transformers turns number i of a head together with number i + half; llama.cpp turns
    neighbours together.
    """
    rows, columns = weights.shape
    half = rows // heads // 2
    parts = (
        weights.reshape(heads, half, 2, columns)
        if back
        else weights.reshape(heads, 2, half, columns)
    )
    return parts.swapaxes(1, 2).reshape(rows, columns).copy()


def _type(kind: str, weights: np.ndarray) -> GGMLQuantizationType:
    from gguf import GGMLQuantizationType

    if kind == "f32" or weights.ndim < 2:
        return GGMLQuantizationType.F32
    if kind == "q8_0" and weights.shape[-1] % BLOCK == 0:
        return GGMLQuantizationType.Q8_0
    return GGMLQuantizationType.F16


def main() -> None:
    """Export, and ship if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--type", choices=TYPES, default="q8_0", help="how matrices are stored")
    parser.add_argument("--name", help="name stated in the file (default: the directory's)")
    parser.add_argument("--author", default="hyperagent")
    parser.add_argument("--license", default="Apache-2.0")
    parser.add_argument("--ship", metavar="NAME", help="also copy it to the package's weights")
    given = parser.parse_args()
    file = export(
        given.directory,
        given.out,
        kind=given.type,
        name=given.name or given.ship,
        author=given.author,
        license=given.license,
    )
    print(f"{file}: {file.stat().st_size:,} bytes")
    if given.ship:
        shipped = ship(file, given.ship)
        print(f"{shipped.name} is in {shipped.parent}")


if __name__ == "__main__":
    main()
