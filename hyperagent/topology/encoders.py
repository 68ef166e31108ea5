"""Text encoders by name: hashing, a sentence encoder on this disk, or a server's embeddings."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from pydantic import SecretStr

from hyperagent.errors import BackendError, ConfigError, UnknownNameError
from hyperagent.topology.features import DIM, encode_texts

SCHEMES = ("hashing", "sentence", "openai")
BATCH = 128
"""Texts that go through a model, or to a server, at a time."""


class TextEncoder(Protocol):
    """Turns texts into rows; the same text gives the same row."""

    name: str
    """Spec that makes the encoder again."""

    def __call__(self, texts: Iterable[str]) -> np.ndarray:
        """Rows of length 1 or 0, shape (n_texts, DIM), float32."""


class HashingEncoder:
    """`encode_texts`: no model, no download, nothing to pay."""

    name = "hashing"

    def __call__(self, texts: Iterable[str]) -> np.ndarray:
        """Rows of `texts`."""
        return encode_texts(texts)


class _Remembering(ABC):
    """Asks for every text once and fits the rows to the width that designers expect."""

    name: str

    def __init__(self) -> None:
        self._known: dict[str, np.ndarray] = {}

    def __call__(self, texts: Iterable[str]) -> np.ndarray:
        """Rows of `texts`."""
        texts = list(texts)
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        for start in range(0, len(new), BATCH):
            part = new[start : start + BATCH]
            self._known |= zip(part, to_width(self._embed(part)), strict=True)
        return np.stack([self._known[t] for t in texts]) if texts else np.zeros((0, DIM), "float32")

    @abstractmethod
    def _embed(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of any width, shape (n_texts, d)."""


class SentenceEncoder(_Remembering):
    """A BERT-like sentence encoder such as MiniLM, read from a folder; nothing is downloaded.

    The vector of a text is the mean of its tokens' last hidden states (Reimers and Gurevych, EMNLP
    2019).

    Parameters
    ----------
    path : path
        Folder with ``config.json``, weights as safetensors and a tokenizer.

    Raises
    ------
    ConfigError
        If there is no model in it, or transformers is missing.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        folder = Path(path)
        if not (folder / "config.json").is_file():
            raise ConfigError(f"{folder} holds no model: config.json is missing")
        try:
            from transformers import AutoModel, AutoTokenizer
        except ImportError as error:
            raise ConfigError(
                "a sentence encoder needs transformers: pip install 'hyperagent[hf]'"
            ) from error
        self.name = f"sentence:{path}"
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self._model: Any = AutoModel.from_pretrained(
                folder, local_files_only=True, use_safetensors=True
            )
        except (OSError, ValueError) as error:
            raise ConfigError(f"{folder} holds no sentence encoder: {error}") from error
        self._model.eval()

    def _embed(self, texts: Sequence[str]) -> np.ndarray:
        import torch

        longest = getattr(self._model.config, "max_position_embeddings", 512)
        inputs = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt"
        )
        with torch.inference_mode():
            hidden = self._model(**inputs).last_hidden_state
        mask = inputs["attention_mask"].unsqueeze(-1)
        return ((hidden * mask).sum(1) / mask.sum(1).clamp(min=1)).float().numpy()


class EmbeddingsEncoder(_Remembering):
    """Embeddings of any server that speaks the OpenAI dialect.

    Parameters
    ----------
    model : str
    base_url : str, optional
        Usually ends in ``/v1``. Default: ``OPENAI_BASE_URL``, else the service of OpenAI.
    api_key : str or SecretStr, optional
        Default: ``OPENAI_API_KEY``.
    timeout : float
        Seconds a request.

    Notes
    -----
    Embedding tokens are on no ledger: `tokens` counts what the server reported.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | SecretStr | None = None,
        timeout: float = 60.0,
    ) -> None:
        super().__init__()
        if not model:
            raise ConfigError("openai: needs a model, e.g. openai:NAME or openai:NAME@URL")
        import openai

        key = api_key or os.environ.get("OPENAI_API_KEY") or "no-key"
        self.model, self.tokens = model, 0
        self.name = f"openai:{model}" + (f"@{base_url}" if base_url else "")
        self._client = openai.OpenAI(
            api_key=key.get_secret_value() if isinstance(key, SecretStr) else key,
            base_url=base_url,
            timeout=timeout,
        )

    def _embed(self, texts: Sequence[str]) -> np.ndarray:
        import openai

        try:
            # Servers refuse empty texts.
            reply = self._client.embeddings.create(
                model=self.model, input=[text or " " for text in texts], encoding_format="float"
            )
        except openai.OpenAIError as error:
            raise BackendError(f"{self.name}: no embeddings: {error}") from error
        rows = sorted(reply.data or [], key=lambda row: row.index)
        if len(rows) != len(texts) or len({len(row.embedding) for row in rows}) != 1:
            raise BackendError(f"{self.name}: {len(rows)} embeddings for {len(texts)} texts")
        self.tokens += reply.usage.prompt_tokens if reply.usage else 0
        return np.array([row.embedding for row in rows], dtype=np.float32)


def text_encoder(spec: str) -> TextEncoder:
    """The encoder that `spec` names.

    Parameters
    ----------
    spec : str
        ``"hashing"``, ``"sentence:FOLDER"``, ``"openai:MODEL"`` or ``"openai:MODEL@URL"``.

    Raises
    ------
    UnknownNameError
        If no encoder has that name.
    ConfigError
        If the encoder cannot be made.
    """
    scheme, _, rest = spec.partition(":")
    if scheme not in SCHEMES:
        raise UnknownNameError("text encoder", scheme, SCHEMES)
    if scheme == "sentence":
        return SentenceEncoder(rest)
    if scheme == "openai":
        model, _, url = rest.partition("@")
        return EmbeddingsEncoder(model, base_url=url or None)
    if rest:
        raise ConfigError(f"the encoder 'hashing' takes nothing, got {rest!r}")
    return HashingEncoder()


def to_width(rows: np.ndarray, width: int = DIM) -> np.ndarray:
    """Rows of length 1 in `width` columns.

    Wider rows are projected on fixed random signs, which keeps angles about as they are
    (Achlioptas, JCSS 2003); narrower ones are filled up with zeros.

    Parameters
    ----------
    rows : ndarray, shape (n, d)
    width : int

    Returns
    -------
    ndarray, shape (n, width), float32
    """
    n, d = rows.shape
    if d > width:
        signs = np.random.default_rng(0).integers(0, 2, (d, width)) * 2.0 - 1.0
        rows = rows @ signs
    elif d < width:
        rows = np.concatenate([rows, np.zeros((n, width - d))], axis=1)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(length > 0, length, 1)).astype(np.float32)
