"""From trained stages to the GGUF files that the package ships, with their list of hashes.

    python benchmarks/pocket/release.py --size cpu
    python benchmarks/pocket/release.py --size cpu --out DIR --type f32 pocket=words

Without names it releases the generalist (stage ``longer``) and the four specialists into the
package. ``--checkpoint`` takes a stage's last checkpoint, while it is still being trained.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from export import TYPES, export, ship
from model import SIZES, build
from safetensors.torch import load_file
from trainer import write_weights

from hyperagent.errors import ConfigError
from hyperagent.llm.weights import FOLDER

RUNS = Path("runs/pocket")
SHIPPED = {
    "pocket": "longer",
    "pocket-sums": "sums",
    "pocket-rates": "rates",
    "pocket-parts": "parts",
    "pocket-verifier": "verifier",
}
"""Name of each file and the stage that it comes from."""


def directory(size: str, stage: str, *, checkpoint: bool = False) -> Path:
    """A stage as a transformers directory, ``runs/pocket/SIZE/STAGE/hf``.

    Parameters
    ----------
    size, stage : str
    checkpoint : bool
        Take the last checkpoint in place of the final weights.

    Raises
    ------
    ConfigError
        If the stage has not come so far.
    """
    folder = RUNS / size / stage
    source = folder / ("checkpoint.safetensors" if checkpoint else "model.safetensors")
    if not source.exists():
        raise ConfigError(f"{source} is missing: the stage is not trained so far")
    tensors = load_file(source)
    if checkpoint:
        tensors = {
            key.removeprefix("model."): value
            for key, value in tensors.items()
            if key.startswith("model.")
        }
    model = build(size)
    model.load_state_dict(tensors, strict=False)
    target = folder / "hf"
    target.mkdir(exist_ok=True)
    write_weights(model, target / "model.safetensors")
    model.config.architectures = ["LlamaForCausalLM"]
    model.config.save_pretrained(target)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(RUNS / size / name, target / name)
    return target


def main() -> None:
    """Export and ship."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", help="NAME=STAGE, e.g. pocket=team")
    parser.add_argument("--size", choices=SIZES, default="cpu")
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--type", choices=TYPES, default="q8_0")
    parser.add_argument("--checkpoint", action="store_true")
    options = parser.parse_args()
    wanted = dict(name.split("=", 1) for name in options.names) or SHIPPED
    for name, stage in wanted.items():
        source = directory(options.size, stage, checkpoint=options.checkpoint)
        with tempfile.TemporaryDirectory() as folder:
            file = export(source, Path(folder) / "model.gguf", kind=options.type, name=name)
            shipped = ship(file, name, options.out)
        print(f"{shipped.name}: {shipped.stat().st_size:,} bytes from stage {stage}")


if __name__ == "__main__":
    main()
