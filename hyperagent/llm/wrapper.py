"""What all wrappers share: they look like the backend that they wrap."""

from __future__ import annotations

from hyperagent.llm.types import Backend, ChatReply, ChatRequest


class Wrapper:
    """A backend around a backend; subclasses write `complete`.

    Parameters
    ----------
    backend : Backend
        Receives the calls. Name, connection and capabilities are taken from it.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.name = backend.name
        self.connection = backend.connection
        self.capabilities = backend.capabilities

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Answer `request` through the wrapped backend."""
        return await self.backend.complete(request)

    async def aclose(self) -> None:
        """Close the wrapped backend."""
        await self.backend.aclose()
