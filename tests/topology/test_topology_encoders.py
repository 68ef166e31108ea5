"""Every encoder gives a row of length 1 for a text; real models and sockets behind them."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hyperagent.errors import BackendError, ConfigError, UnknownNameError
from hyperagent.tasks import Task
from hyperagent.team import Agent
from hyperagent.topology.encoders import EmbeddingsEncoder, text_encoder, to_width
from hyperagent.topology.features import DIM, encode_texts
from hyperagent.topology.vae import VaeDesigner

TEXTS = ["Tom has 3 apples.", "", "Who wrote the letter?", "Tom has 3 apples."]


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server of embeddings on a real socket; its vectors are counts of letters."""
    asked: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(body | {"path": self.path})
            if body["model"] == "broken":
                answer = {"data": [], "model": "broken", "object": "list"}
            else:
                rows = [
                    [float(t.count(chr(97 + k % 26))) for k in range(600)] for t in body["input"]
                ]
                data = [
                    {"object": "embedding", "index": i, "embedding": row}
                    for i, row in enumerate(rows)
                ]
                answer = {
                    # Servers need not keep the order.
                    "data": data[::-1], "model": "letters", "object": "list",
                    "usage": {"prompt_tokens": 7, "total_tokens": 7},
                }  # fmt: skip
            said = json.dumps(answer).encode()
            self.send_response(200 if body["model"] != "refused" else 400)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: Any) -> None:
            pass

    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{site.server_port}/v1", asked
    site.shutdown()
    site.server_close()


def test_hashing_is_the_default_and_what_it_was() -> None:
    assert np.array_equal(text_encoder("hashing")(TEXTS), encode_texts(TEXTS))


def test_a_server_is_asked_once_for_each_text(server: tuple[str, list[dict[str, Any]]]) -> None:
    url, asked = server
    encoder = text_encoder(f"openai:letters@{url}")
    rows = encoder(TEXTS)
    assert rows.shape == (4, DIM)
    assert rows.dtype == np.float32
    assert np.array_equal(rows[0], rows[3])
    assert np.linalg.norm(rows[[0, 2]], axis=1) == pytest.approx(1, abs=1e-5)
    assert rows[0] @ rows[2] < 0.99
    assert np.array_equal(encoder(TEXTS[:1]), rows[:1])
    assert [len(body["input"]) for body in asked] == [3]
    assert asked[0]["path"] == "/v1/embeddings"
    assert isinstance(encoder, EmbeddingsEncoder)
    assert encoder.tokens == 7
    assert encoder([]).shape == (0, DIM)


@pytest.mark.parametrize("model", ["broken", "refused"])
def test_a_server_that_gives_no_rows_is_named(server: tuple[str, Any], model: str) -> None:
    with pytest.raises(BackendError, match=f"openai:{model}@.*embeddings"):
        text_encoder(f"openai:{model}@{server[0]}")(TEXTS)


def test_the_variational_designer_reads_with_it_and_remembers_that(
    server: tuple[str, list], tmp_path: Path
) -> None:
    url = server[0]
    spec, agents = f"openai:letters@{url}", [Agent("ann"), Agent("ben"), Agent("cleo")]
    vae = VaeDesigner(encoder=spec, mode="mode")
    task = Task("How many apples?", id="t")
    rows = vae.task_rows([task])
    assert not torch.equal(rows, VaeDesigner().task_rows([task]))
    assert torch.equal(rows[:, DIM:], VaeDesigner().task_rows([task])[:, DIM:])
    vae.save(tmp_path / "vae")
    again = VaeDesigner.load(tmp_path / "vae", mode="mode")
    assert torch.equal(again.task_rows([task]), rows)
    assert again.design(task, agents).hypergraph == vae.design(task, agents).hypergraph
    with pytest.raises(ConfigError, match="minilm"):
        VaeDesigner(encoder="minilm")


def test_a_sentence_encoder_reads_meaning_per_text(sentence_model: Path) -> None:
    encoder = text_encoder(f"sentence:{sentence_model}")
    rows = encoder(TEXTS)
    assert rows.shape == (4, DIM)
    assert np.linalg.norm(rows[[0, 2, 3]], axis=1) == pytest.approx(1, abs=1e-5)
    # The padding of a longer neighbour must not change a text's own row.
    again = text_encoder(f"sentence:{sentence_model}")
    assert again(["Tom has 3 apples."])[0] == pytest.approx(rows[0], abs=1e-5)
    long = "Tom has 3 apples. " * 50
    assert np.isfinite(encoder([long])).all(), "longer than the model's positions"


def test_bad_specs_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="hashing"):
        text_encoder("minilm")
    with pytest.raises(ConfigError, match=r"config\.json"):
        text_encoder(f"sentence:{tmp_path}")
    with pytest.raises(ConfigError, match="needs a model"):
        text_encoder("openai:")
    with pytest.raises(ConfigError, match="takes nothing"):
        text_encoder("hashing:3")
    (tmp_path / "config.json").write_text("{}")
    pytest.importorskip("transformers")
    with pytest.raises(ConfigError, match="no sentence encoder"):
        text_encoder(f"sentence:{tmp_path}")


def test_projection_keeps_angles_and_padding_keeps_all() -> None:
    rng = np.random.default_rng(1)
    narrow, wide = rng.normal(size=(6, 50)), rng.normal(size=(6, 1536))
    wide[1] = wide[0] + 0.3 * wide[1]

    def cosine(rows: np.ndarray) -> np.ndarray:
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return rows @ rows.T

    assert cosine(to_width(narrow)) == pytest.approx(cosine(narrow), abs=1e-5)
    assert cosine(to_width(wide)) == pytest.approx(cosine(wide), abs=0.2)
    assert not to_width(np.zeros((1, 3))).any()
