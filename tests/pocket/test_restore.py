"""Back from a shipped file to weights, and the same model with more layers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from hyperagent.errors import ConfigError
from hyperagent.llm.weights import FOLDER as SHIPPED
from hyperagent.testing.tiny_gguf import write_tiny_gguf
from hyperagent.testing.tiny_hf import write_tiny_hf

torch = pytest.importorskip("torch")
gguf = pytest.importorskip("gguf")
transformers = pytest.importorskip("transformers", reason="needs the extra hyperagent[hf]")


@pytest.fixture(scope="module")
def lab(script: Callable[[str], ModuleType]) -> SimpleNamespace:
    return SimpleNamespace(**{name: script(name) for name in ("export", "model", "restore")})


def tensors(file: Path) -> dict[str, bytes]:
    return {tensor.name: tensor.data.tobytes() for tensor in gguf.GGUFReader(file).tensors}


@pytest.mark.parametrize("kind", ["f32", "f16", "q8_0"])
def test_a_restored_file_exports_to_the_same_tensors(
    lab: SimpleNamespace, tmp_path: Path, kind: str
) -> None:
    source = write_tiny_hf(tmp_path / "source", vocabulary=400)
    first = lab.export.export(source, tmp_path / "first.gguf", kind=kind)
    back = lab.restore.restore(first, tmp_path / "back")
    (back / "config.json").write_bytes((source / "config.json").read_bytes())
    second = lab.export.export(back, tmp_path / "second.gguf", kind=kind)
    assert tensors(first) == tensors(second)
    for key in ("tokens", "merges", "token_type"):
        stated = [
            gguf.GGUFReader(file).fields[f"tokenizer.ggml.{key}"].contents()
            for file in (first, second)
        ]
        assert stated[0] == stated[1], key


def test_the_shipped_tokenizer_comes_back(lab: SimpleNamespace, tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    back = lab.restore.restore(SHIPPED / "pocket.gguf", tmp_path / "back")
    tokenizer = Tokenizer.from_file(str(back / "tokenizer.json"))
    text = "<|im_start|>user\nAnn's 125 marbles — half of them?<|im_end|>\n"
    encoded = tokenizer.encode(text)
    assert encoded.ids[0] == 1
    assert [piece for piece in encoded.tokens if piece.isdigit()] == ["1", "2", "5"]
    assert tokenizer.decode(encoded.ids, skip_special_tokens=False) == text
    settings = json.loads((back / "tokenizer_config.json").read_text())
    assert settings["eos_token"] == "<|im_end|>"


@pytest.mark.parametrize("layers", [2, 3, 4, 7])
def test_a_grown_model_computes_the_same_and_can_learn(lab: SimpleNamespace, layers: int) -> None:
    sizes = lab.model.SIZES
    for count in (2, layers):
        sizes[f"of {count}"] = lab.model.Size(64, count, 2, 1, 64, 300, 512, 0.02, {})
    small, large = lab.model.build("of 2", seed=1), lab.model.build(f"of {layers}", seed=2)
    had = {k: v for k, v in small.state_dict().items() if k != "lm_head.weight"}
    missing = large.load_state_dict(lab.model.grown(had, layers), strict=False)
    assert missing.missing_keys == ["lm_head.weight"]
    assert not missing.unexpected_keys
    ids = torch.arange(20).reshape(2, 10)
    assert torch.equal(small(ids).logits, large(ids).logits)
    large(ids, labels=ids).loss.backward()
    idle = [n for n, p in large.named_parameters() if "down_proj" in n and not p.grad.abs().any()]
    assert not idle


def test_bad_files(lab: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="missing"):
        lab.restore.restore(tmp_path / "none.gguf", tmp_path / "x")
    (tmp_path / "bad.gguf").write_bytes(b"not a model of any kind, only words in a file")
    with pytest.raises(ConfigError, match="not a GGUF file"):
        lab.restore.restore(tmp_path / "bad.gguf", tmp_path / "x")
    whole = write_tiny_gguf(tmp_path / "whole.gguf").read_bytes()
    (tmp_path / "half.gguf").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match="not a GGUF file"):
        lab.restore.restore(tmp_path / "half.gguf", tmp_path / "x")
    other = gguf.GGUFWriter(str(tmp_path / "other.gguf"), "mamba")
    other.write_header_to_file()
    other.write_kv_data_to_file()
    other.write_tensors_to_file()
    other.close()
    with pytest.raises(ConfigError, match="expected 'llama'"):
        lab.restore.restore(tmp_path / "other.gguf", tmp_path / "x")
    assert not (tmp_path / "x").exists()
    sizes = lab.model.SIZES
    sizes["of 3"] = lab.model.Size(64, 3, 2, 1, 64, 300, 512, 0.02, {})
    with pytest.raises(ConfigError, match="3 layers"):
        lab.model.grown(lab.model.build("of 3").state_dict(), 2)
