"""From a transformers directory to GGUF: the same model, and whole files only."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hyperagent.errors import ConfigError
from hyperagent.testing.tiny_gguf import CHATML
from hyperagent.testing.tiny_hf import write_tiny_hf

gguf = pytest.importorskip("gguf")


@pytest.fixture(scope="module")
def source(tmp_path_factory: Any) -> Path:
    """A random llama with settings that are nobody's default."""
    folder = write_tiny_hf(tmp_path_factory.mktemp("source") / "little", layers=1)
    change(folder, rope_theta=5000.0, max_position_embeddings=2222, rms_norm_eps=3e-5)
    return folder


def change(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def copied(source: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(source, tmp_path / "copy"))


def field(file: Path, name: str) -> Any:
    return gguf.GGUFReader(file).fields[name].contents()


def test_the_header_states_the_model(pocket: SimpleNamespace, source: Path, tmp_path: Path) -> None:
    file = pocket.export.export(source, tmp_path / "new" / "m.gguf", kind="f32")
    assert field(file, "llama.rope.freq_base") == 5000.0
    assert field(file, "llama.context_length") == 2222
    assert field(file, "llama.attention.layer_norm_rms_epsilon") == pytest.approx(3e-5)
    assert field(file, "general.name") == "little"
    assert field(file, "general.license") == "Apache-2.0"
    assert field(file, "tokenizer.ggml.pre") == "gpt-2"
    assert field(file, "tokenizer.chat_template") == CHATML
    assert field(file, "tokenizer.ggml.eos_token_id") == 2
    assert field(file, "tokenizer.ggml.token_type")[:4] == [3, 3, 3, 1]
    assert [path.name for path in file.parent.iterdir()] == ["m.gguf"]


@pytest.mark.parametrize(
    ("kind", "hidden", "stored"),
    [("f32", 64, "F32"), ("f16", 64, "F16"), ("q8_0", 64, "Q8_0"), ("q8_0", 48, "F16")],
)
def test_matrices_are_stored_as_asked_and_norms_are_not(
    pocket: SimpleNamespace, tmp_path: Path, kind: str, hidden: int, stored: str
) -> None:
    """Rows of 48 numbers do not divide into blocks of 32."""
    folder = write_tiny_hf(tmp_path / "s", layers=1, hidden=hidden)
    file = pocket.export.export(folder, tmp_path / "m.gguf", kind=kind)
    types = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(file).tensors}
    assert types["blk.0.attn_norm.weight"] == types["output_norm.weight"] == "F32"
    assert types["token_embd.weight"] == types["blk.0.attn_q.weight"] == stored


@pytest.mark.parametrize("tied", [False, True])
def test_llama_cpp_says_what_transformers_says(
    pocket: SimpleNamespace, source: Path, tmp_path: Path, tied: bool
) -> None:
    pytest.importorskip("transformers", reason="needs the extra hyperagent[hf]")
    folder = copied(source, tmp_path)
    if tied:
        tie(folder)
    chats = pocket.parity.chats(6)
    exact = pocket.parity.compare(folder, "f32", chats, tokens=12, cache="f32")
    assert (exact.prompts, exact.identical, exact.other_prompt) == (6, 6, 0), str(exact)
    rounded = pocket.parity.compare(folder, "q8_0", chats, tokens=12, cache="f32")
    assert all(gap < 1.0 for gap in rounded.gaps), str(rounded)


def tie(folder: Path) -> None:
    """Let the embeddings be the output too, spread as the output was."""
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"] = weights.pop("lm_head.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    change(folder, tie_word_embeddings=True)


def test_a_wrong_turn_of_the_heads_would_be_seen(
    pocket: SimpleNamespace, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers", reason="needs the extra hyperagent[hf]")
    monkeypatch.setattr(pocket.export, "turned", lambda weights, heads: weights)
    wrong = pocket.parity.compare(source, "f32", pocket.parity.chats(4), tokens=8, cache="f32")
    assert wrong.identical < 4
    assert max(wrong.gaps) > 0.1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "gpt2"}, "a llama is expected"),
        ({"attention_bias": True}, "biases"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "yarn"),
        ({"vocab_size": 7}, "tokens in tokenizer.json, 7 in the model"),
        ({"num_hidden_layers": 2}, "no tensor model.layers.1"),
        ({"num_hidden_layers": 0}, "no place for"),
    ],
)
def test_what_cannot_be_written_is_refused(
    pocket: SimpleNamespace, source: Path, tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    folder = copied(source, tmp_path)
    change(folder, **fields)
    with pytest.raises(ConfigError, match=message):
        pocket.export.export(folder, tmp_path / "out" / "m.gguf")
    out = tmp_path / "out"
    assert not out.exists() or list(out.iterdir()) == [], "no half file may be left"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(
    pocket: SimpleNamespace, source: Path, tmp_path: Path, name: str
) -> None:
    folder = copied(source, tmp_path)
    (folder / name).unlink()
    with pytest.raises(ConfigError, match=f"has no {name}"):
        pocket.export.export(folder, tmp_path / "m.gguf")


def test_shipping_lists_sizes_and_sums(
    pocket: SimpleNamespace, source: Path, tmp_path: Path
) -> None:
    file = pocket.export.export(source, tmp_path / "m.gguf")
    weights = tmp_path / "weights"
    for name in ("pocket", "pocket-sums"):
        pocket.export.ship(file, name, weights)
    listed = json.loads((weights / "weights.json").read_text())
    data = file.read_bytes()
    entry = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    assert listed == {"pocket.gguf": entry, "pocket-sums.gguf": entry}
    assert sorted(path.name for path in weights.iterdir()) == [
        "pocket-sums.gguf",
        "pocket.gguf",
        "weights.json",
    ]
    assert (weights / "pocket.gguf").read_bytes() == data


def test_from_the_command_line(pocket: SimpleNamespace, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.gguf"
    script = pocket.export.__file__
    command = [sys.executable, script, str(source), str(out), "--type", "f16", "--name", "mine"]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"{out.stat().st_size:,} bytes" in told.stdout
    assert field(out, "general.name") == "mine"
