"""HTTP statuses and the `openai` client's exceptions, as errors of ours."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from hyperagent.errors import (
    AuthenticationFailed,
    BackendError,
    BadReply,
    CallTimeout,
    ConnectFailed,
    NotFound,
    RateLimited,
    RequestRejected,
    ServerFailed,
)

# What the transports call "nobody listens there": aiohttp, httpx and httpx2, operating system.
_UNREACHED = frozenset(
    {
        "ClientConnectorError",
        "ClientConnectorDNSError",
        "ClientConnectorCertificateError",
        "ClientConnectorSSLError",
        "ConnectionTimeoutError",
        "ConnectError",
        "ConnectionRefusedError",
        "gaierror",
        "UnsupportedProtocol",
        "InvalidURL",
        "InvalidUrlClientError",
        "NonHttpUrlClientError",
        "LocalProtocolError",
    }
)


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds the server asks us to wait, or None if it does not say.

    Reads ``retry-after-ms``, then ``Retry-After`` in seconds or as an HTTP date.

    Parameters
    ----------
    headers : mapping
        With case-insensitive, or lower-case, names.
    now : float, optional
        Unix time, for dates.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) * unit
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    try:
        date = parsedate_to_datetime(headers.get("retry-after") or "")
    except ValueError:
        return None
    return max(0.0, date.timestamp() - (time.time() if now is None else now))


def status_error(status: int, message: str, headers: Mapping[str, str], where: str) -> BackendError:
    """The error for an HTTP status.

    Parameters
    ----------
    status : int
    message : str
        What the server said.
    headers : mapping
    where : str
        Model and address, for the message.
    """
    said = f"{where}: HTTP {status}: {message}"
    if status == 429:
        return RateLimited(said, retry_after(headers))
    if status in (401, 403):
        return AuthenticationFailed(
            f"{said} (is the API key right? it is read from OPENAI_API_KEY)"
        )
    if status == 404:
        return NotFound(
            f"{said} (unknown model, or wrong address: base_url must usually end in /v1)"
        )
    if status == 408:
        return CallTimeout(said)
    if 400 <= status < 500:
        return RequestRejected(said)
    return ServerFailed(said, retry_after(headers))


def transport_error(error: BaseException, where: str, address: str) -> BackendError:
    """The error for a call that brought no complete HTTP response.

    The exception of the client itself does not tell "refused" from "broke off": a server
    that hangs up is a connect *timeout* in the aiohttp transport. The chain below it does.
    """
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    names = {type(link).__name__ for link in chain}
    if names & _UNREACHED or any(isinstance(link, ConnectionRefusedError) for link in chain):
        reason = str(chain[-1]) or type(chain[-1]).__name__
        return ConnectFailed(
            f"no server answers at {address} ({reason}): is it running, and is the port right?"
        )
    detail = next((str(link) for link in reversed(chain) if str(link)), type(error).__name__)
    detail = " ".join(detail.split())
    return BadReply(f"{where}: the connection broke before the reply was complete ({detail})")


def said_by(body: Any, fallback: str) -> str:
    """The message in an error body, at most 500 characters."""
    text = body
    if isinstance(body, Mapping):
        inner = body.get("error", body)
        text = inner.get("message", inner) if isinstance(inner, Mapping) else inner
    text = str(text) if text else fallback
    return text if len(text) <= 500 else text[:500] + "…"
