"""For authors of backends: a conformance suite, servers that misbehave, a tiny model.

Run the suite on a backend with ``pytest --pyargs hyperagent.testing --backend SPEC``, or
subclass `BackendSuite` in a test file. Needs ``pytest``; the tiny model needs ``gguf``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hyperagent.testing.answers import Answer, failure, misbehaviours, rate_limited
    from hyperagent.testing.llama_cpp import llama_server
    from hyperagent.testing.servers import LoopbackServer, load_server
    from hyperagent.testing.suite import BackendSuite
    from hyperagent.testing.tiny_gguf import write_tiny_gguf

__all__ = [
    "Answer",
    "BackendSuite",
    "LoopbackServer",
    "failure",
    "llama_server",
    "load_server",
    "misbehaviours",
    "rate_limited",
    "write_tiny_gguf",
]

_HOMES = {
    "Answer": "answers",
    "BackendSuite": "suite",
    "LoopbackServer": "servers",
    "failure": "answers",
    "llama_server": "llama_cpp",
    "load_server": "servers",
    "misbehaviours": "answers",
    "rate_limited": "answers",
    "write_tiny_gguf": "tiny_gguf",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
