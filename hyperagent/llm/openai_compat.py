"""``openai:MODEL`` and ``openai:MODEL@URL``: any server that speaks the OpenAI dialect."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from hyperagent.errors import (
    AuthenticationFailed,
    BackendError,
    BadReply,
    CallTimeout,
    ConfigError,
    RequestRejected,
    ServerFailed,
)
from hyperagent.llm.dialect import Reader, SeedWatch, request_body
from hyperagent.llm.http_errors import said_by, status_error, transport_error
from hyperagent.llm.types import Capabilities, ChatReply, ChatRequest

OPENAI_URL = "https://api.openai.com/v1"
DEFAULT_TIMEOUT = 120.0
"""Seconds for a whole call, unless the request or the user says otherwise."""
CONNECT_TIMEOUT = 10.0
MAX_REPLY_BYTES = 8 << 20
"""No honest reply is larger; reading on would let a server fill our memory."""

_DUMMY_KEY = "no-key"
# Makes the client hand over the response unread and unparsed, in every version since 1.0.
_RAW = {"headers": {"X-Stainless-Raw-Response": "stream"}}


class OpenAIBackend:
    """Chat completions over HTTP through the `openai` package.

    Parameters
    ----------
    model : str
    base_url : str, optional
        Usually ends in ``/v1``. Default: ``OPENAI_BASE_URL``, else the service of OpenAI.
    api_key : str or SecretStr, optional
        Default: ``OPENAI_API_KEY``. Only needed where the server wants one.
    timeout : float, optional
        Seconds for a whole call; a request's own `timeout` goes first.
    scheme : str
        First part of `name`.

    Notes
    -----
    A client belongs to an event loop, so one is kept per loop: the same backend works from
    `asyncio.run` called twice and from several threads.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | SecretStr | None = None,
        timeout: float | None = None,
        scheme: str = "openai",
    ) -> None:
        if not model:
            raise ConfigError(f"{scheme}: needs a model, e.g. {scheme}:NAME or {scheme}:NAME@URL")
        self.model = model
        self.base_url = checked_url(base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL)
        at = "" if self.base_url == OPENAI_URL or scheme != "openai" else f"@{self.base_url}"
        self.name = f"{scheme}:{model}{at}"
        self.connection = f"{self.base_url} {model}"
        self.capabilities = Capabilities()
        self.timeout = timeout or DEFAULT_TIMEOUT
        self._official = urlsplit(self.base_url).hostname == "api.openai.com"
        key = api_key or os.environ.get("OPENAI_API_KEY") or ""
        self._key = key if isinstance(key, SecretStr) else SecretStr(key)
        self._limit_field = "max_completion_tokens" if self._official else "max_tokens"
        self._clients: dict[asyncio.AbstractEventLoop, Any] = {}
        self._seeds = SeedWatch()
        self._schema_refused = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Answer `request`; see `Backend.complete`.

        Where the server refuses JSON schemas the request is repeated once without, and
        later ones are sent without.
        """
        with_schema = request.schema is not None and not self._schema_refused
        try:
            return await self._call(request, with_schema)
        except (RequestRejected, ServerFailed) as error:
            if not (with_schema and self._may_be_the_schema(error)):
                raise
            refusal = str(error)
        reply = await self._call(request, False)
        self._schema_refused = True
        self.capabilities.observe("schema", False, f"JSON schemas are refused: {refusal}")
        return reply

    def _may_be_the_schema(self, error: BackendError) -> bool:
        if isinstance(error, RequestRejected):
            return self.capabilities.schema is not True
        # One widespread server answers 500 to a form of response_format it does not know.
        return "response_format" in str(error) or "schema" in str(error)

    async def _call(self, request: ChatRequest, with_schema: bool) -> ChatReply:
        body = request_body(request, self.model, limit_field=self._limit_field)
        if not with_schema:
            body.pop("response_format", None)
        limit = request.timeout or self.timeout
        # The first call imports the client and reads certificates: not the server's time.
        client = await self._client()
        start = time.perf_counter()
        reader = Reader()
        try:
            async with asyncio.timeout(limit):
                post = client.post("/chat/completions", cast_to=object, body=body, options=_RAW)
                await self._exchange(post, reader, streamed=request.stream)
        except TimeoutError:
            raise CallTimeout(f"{self._where}: no complete reply within {limit:g} s") from None
        reply = reader.reply(request, self.capabilities, time.perf_counter() - start)
        self._seeds.note(request, reply, self.capabilities)
        return reply

    @property
    def _where(self) -> str:
        return f"{self.model} at {self.base_url}"

    async def _exchange(
        self, call: Awaitable[Any], reader: Reader | None = None, *, streamed: bool = False
    ) -> Any:
        """Await one HTTP response; fills `reader`, or returns the JSON value without one."""
        import openai

        response = None
        try:
            response = await call
            if streamed and reader is not None:
                return await self._read_stream(response, reader)
            return self._read_whole(await self._body(response), reader)
        except openai.APIStatusError as error:
            headers, said = error.response.headers, said_by(error.body, error.message)
            failure = status_error(error.status_code, self._scrub(said), headers, self._where)
        except BackendError:
            raise
        except UnicodeEncodeError:
            failure = RequestRejected(f"{self._where}: a message holds a lone surrogate")
        # Each transport has exceptions of its own for a broken connection, and some leak
        # through the client unwrapped.
        except Exception as error:
            failure = transport_error(error, self._where, self.base_url)
        finally:
            if response is not None:
                await response.close()
        # Outside the handlers, so that no request, which holds the key, hangs on the error.
        raise failure

    async def _body(self, response: Any) -> bytes:
        pieces, size = [], 0
        async for piece in response.iter_bytes():
            size += len(piece)
            self._check_size(size)
            pieces.append(piece)
        return b"".join(pieces)

    def _check_size(self, size: int) -> None:
        if size > MAX_REPLY_BYTES:
            raise BadReply(f"{self._where}: the reply is larger than {MAX_REPLY_BYTES >> 20} MB")

    def _read_whole(self, raw: bytes, reader: Reader | None) -> Any:
        data = self._json(raw)
        if reader is not None:
            reader.completion(data)
        return data

    def _json(self, raw: bytes) -> dict[str, Any]:
        try:
            data = json.loads(raw)
        except UnicodeDecodeError:
            raise BadReply(f"{self._where}: the reply is not valid UTF-8") from None
        except ValueError:
            head = self._scrub(raw[:200].decode("utf-8", "replace"))[:80]
            raise BadReply(f"{self._where}: the reply is not JSON: {head!r}") from None
        if not isinstance(data, dict):
            raise BadReply(f"{self._where}: the reply is not a JSON object")
        if data.get("error") and not data.get("choices"):
            # Some servers report failures inside a 200, whole or in the middle of a stream.
            error = data["error"]
            code = error.get("code") if isinstance(error, Mapping) else None
            status = code if type(code) is int and 400 <= code < 600 else 500
            raise status_error(status, self._scrub(said_by(data, "error")), {}, self._where)
        return data

    async def _read_stream(self, response: Any, reader: Reader) -> None:
        """Server-sent events, one JSON chunk per ``data:`` line."""
        pending: list[bytes] = []
        size, done = 0, False
        async for piece in response.iter_bytes():
            pending.append(piece)
            size += len(piece)
            if b"\n" in piece:
                *lines, rest = b"".join(pending).split(b"\n")
                pending, size = [rest], len(rest)
                for line in lines:
                    done = self._event(line, reader) or done
            # The text counts, not the bytes: each token travels in a hundred bytes or more.
            self._check_size(size + reader.size)
        done = self._event(b"".join(pending), reader) or done
        if not reader.started or (not done and reader.finish_reason is None):
            raise BadReply(f"{self._where}: the stream ended in the middle of the reply")

    def _event(self, line: bytes, reader: Reader) -> bool:
        """Read one line of a stream; True if it says that nothing follows."""
        if not line.startswith(b"data:"):
            if line.startswith(b"{"):
                # A server that does not stream, or an error in the middle of one that does.
                self._read_whole(line, reader)
            return False
        data = line[5:].strip()
        if data == b"[DONE]":
            return True
        if data:
            reader.chunk(self._json(data))
        return False

    async def list_models(self) -> list[str]:
        """Ids of the models that the server offers."""
        client = await self._client()
        try:
            async with asyncio.timeout(self.timeout):
                data = await self._exchange(client.get("/models", cast_to=object, options=_RAW))
        except TimeoutError:
            raise CallTimeout(f"{self.base_url}: no answer within {self.timeout:g} s") from None
        listed = data.get("data") or data.get("models") or []
        try:
            return sorted(str(model["id"]) for model in listed)
        except (KeyError, TypeError) as error:
            raise BadReply(f"{self.base_url}: not a list of models ({error!r})") from None

    def _scrub(self, text: str) -> str:
        """`text` without the key, which some servers repeat in their complaints."""
        key = self._key.get_secret_value()
        return text.replace(key, "***") if key else text

    async def _client(self) -> Any:
        """The client of the running event loop, made at its first call."""
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client = self._clients[loop] = self._new_client()
            for old in [other for other in self._clients if other.is_closed()]:
                await _close_stranded(self._clients.pop(old))
        return client

    def _new_client(self) -> Any:
        import openai

        key = self._key.get_secret_value()
        if not key and self._official:
            raise AuthenticationFailed(
                f"{self._where}: no API key; set OPENAI_API_KEY, or name a local server as "
                f"openai:{self.model}@http://127.0.0.1:PORT/v1. To try without either: the team "
                "of small models that comes with the package, --team pocket"
            )
        try:
            transport = openai.DefaultAioHttpClient()
        except RuntimeError:
            # Without aiohttp the client's own transport does the same work at twice the cost.
            transport = None
        return openai.AsyncOpenAI(
            api_key=key or _DUMMY_KEY,
            base_url=self.base_url,
            max_retries=0,
            timeout=openai.Timeout(None, connect=CONNECT_TIMEOUT),
            http_client=transport,
        )

    async def aclose(self) -> None:
        """Close the connections. A later call opens new ones."""
        clients, self._clients = self._clients, {}
        here = asyncio.get_running_loop()
        for loop, client in clients.items():
            if loop is here:
                await client.close()
            elif loop.is_running():
                asyncio.run_coroutine_threadsafe(client.close(), loop)
            else:
                await _close_stranded(client)


async def _close_stranded(client: Any) -> None:
    """Close a client whose event loop is gone; its sockets can no longer say goodbye."""
    with suppress(Exception):
        await client.close()


def checked_url(url: str) -> str:
    """`url` without a final slash.

    Raises
    ------
    ConfigError
        If it is not an http address, or carries a password.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"base_url must look like http://HOST:PORT/v1, not {url!r}")
    if "@" in parts.netloc:
        raise ConfigError("base_url must not hold a password; give the key as OPENAI_API_KEY")
    return url.rstrip("/")


def split_spec(rest: str) -> tuple[str, str | None]:
    """Model and address of ``MODEL`` or ``MODEL@URL``; a model's name may itself hold an @."""
    model, *url = re.split(r"@(?=https?://)", rest, maxsplit=1)
    return model, url[0] if url else None


def create(
    rest: str,
    *,
    base_url: str | None = None,
    api_key: str | SecretStr | None = None,
    timeout: float | None = None,
    **_: Any,
) -> OpenAIBackend:
    """Backend for ``openai:REST``; an address in the spec goes before `base_url`."""
    model, url = split_spec(rest)
    return OpenAIBackend(model, base_url=url or base_url, api_key=api_key, timeout=timeout)
