"""From a GGUF file that `export` wrote back to weights that training can go on from.

    python benchmarks/pocket/restore.py hyperagent/llm/weights/pocket.gguf runs/pocket/cpu/shipped

writes ``model.safetensors``, ``tokenizer.json`` and ``tokenizer_config.json``. Then

    cp runs/pocket/cpu/shipped/tokenizer*.json runs/pocket/cpu/
    python benchmarks/pocket/train.py longer --start runs/pocket/cpu/shipped/model.safetensors

trains further. What Q8_0 rounded off stays off; the optimizer begins anew.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export import LAYER, turned
from tokenizer import byte_level, save
from trainer import write_tensors

from hyperagent.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

_OUTSIDE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


def restore(file: str | Path, directory: str | Path) -> Path:
    """Write weights and tokenizer of the llama in `file` to `directory`; return it.

    Parameters
    ----------
    file : str or Path
        A GGUF file of F32, F16 or Q8_0 tensors, with a byte-level BPE pre-split as GPT-2 does.
    directory : str or Path

    Raises
    ------
    ConfigError
        If the file is missing, is no GGUF, or holds a model that `export` does not write.
    """
    import gguf
    import torch

    source, target = Path(file), Path(directory)
    if not source.is_file():
        raise ConfigError(f"{source} is missing: a GGUF file is expected")
    try:
        reader = gguf.GGUFReader(source)
    except (ValueError, IndexError) as error:
        raise ConfigError(f"{source} is not a GGUF file that can be read: {error}") from error

    def stated(key: str) -> Any:
        if key not in reader.fields:
            raise ConfigError(f"{source} states no {key}: not a file that export.py wrote")
        return reader.fields[key].contents()

    for key, wanted in (("general.architecture", "llama"), ("tokenizer.ggml.pre", "gpt-2")):
        if stated(key) != wanted:
            raise ConfigError(f"{source}: {key} is {stated(key)!r}, expected {wanted!r}")
    heads = {
        "attn_q": stated("llama.attention.head_count"),
        "attn_k": stated("llama.attention.head_count_kv"),
    }
    theirs = {ours: name for name, ours in LAYER.items()}
    tensors = {}
    for tensor in reader.tensors:
        weights: np.ndarray = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        name = _OUTSIDE.get(tensor.name)
        if name is None:
            _, layer, part, _ = tensor.name.split(".")
            if part in heads:
                weights = turned(weights, heads[part], back=True)
            name = f"model.layers.{layer}.{theirs[part]}.weight"
        tensors[name] = torch.from_numpy(weights.copy())
    save(byte_level(stated("tokenizer.ggml.tokens"), stated("tokenizer.ggml.merges")), target)
    write_tensors(tensors, target / "model.safetensors")
    return target


def main() -> None:
    """Restore one file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="a GGUF file")
    parser.add_argument("directory", type=Path, help="where weights and tokenizer go")
    given = parser.parse_args()
    print(f"weights and tokenizer are in {restore(given.file, given.directory)}")


if __name__ == "__main__":
    main()
