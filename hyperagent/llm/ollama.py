"""``ollama:MODEL``: a local Ollama server, which speaks the OpenAI dialect under ``/v1``."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr

from hyperagent.llm.openai_compat import OpenAIBackend, split_spec

DEFAULT_PORT = 11434


def ollama_url(address: str | None = None) -> str:
    """Base address of the server, ending in ``/v1``.

    Parameters
    ----------
    address : str, optional
        As Ollama's own settings have it: scheme, port and ``/v1`` may be missing. Default:
        ``OLLAMA_BASE_URL``, else ``OLLAMA_HOST``, else the usual port on this machine.
        A server told to listen everywhere (0.0.0.0) is called on 127.0.0.1.
    """
    address = (
        address or os.environ.get("OLLAMA_BASE_URL") or os.environ.get("OLLAMA_HOST") or ""
    ).strip()
    has_scheme = re.match(r"[a-z]+://", address) is not None
    parts = urlsplit(address if has_scheme else f"http://{address or '127.0.0.1'}")
    host = parts.hostname or "127.0.0.1"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    host = f"[{host}]" if ":" in host else host
    if parts.port is not None:
        host += f":{parts.port}"
    elif not has_scheme:
        host += f":{DEFAULT_PORT}"
    path = parts.path.rstrip("/")
    return urlunsplit((parts.scheme, host, path if path.endswith("/v1") else path + "/v1", "", ""))


def create(
    rest: str,
    *,
    base_url: str | None = None,
    api_key: str | SecretStr | None = None,
    timeout: float | None = None,
    **_: Any,
) -> OpenAIBackend:
    """Backend for ``ollama:MODEL`` or ``ollama:MODEL@URL``."""
    model, url = split_spec(rest)
    # A key for OpenAI must not travel to another server because it is in the environment.
    key = api_key or os.environ.get("OLLAMA_API_KEY") or SecretStr("ollama")
    return OpenAIBackend(
        model,
        base_url=ollama_url(url or base_url),
        api_key=key,
        timeout=timeout,
        scheme="ollama",
    )
