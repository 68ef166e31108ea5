"""Every exception that hyperagent raises on purpose.

::

    HyperagentError
    ├── ConfigError                 bad setting, file or flag: the CLI exits with 2
    │   └── UnknownNameError        a name that no registry knows; says the nearest one
    ├── HypergraphError             a topology that is not a hypergraph (also a ValueError)
    ├── SparsityError               a penalty, solver or plan asked for the impossible (ValueError)
    ├── TaskError
    │   ├── DataError               data set missing, damaged or changed
    │   └── SandboxError            no sandbox that was seen to work
    ├── BackendError                one call to a language model went wrong
    │   ├── ConnectFailed           nobody listens there
    │   ├── CallTimeout             no answer in time
    │   ├── RateLimited             429; carries ``retry_after``
    │   ├── ServerFailed            5xx
    │   ├── BadReply                an answer that cannot be read, or half of one
    │   ├── RequestRejected         400, 422: the request itself is wrong
    │   ├── AuthenticationFailed    401, 403
    │   ├── NotFound                404: wrong address or unknown model
    │   └── NotRecorded             a replay has no such reply
    ├── BudgetExceeded              carries the partial result
    └── RunError                    a run folder that cannot be used
        ├── ResumeRefused           config or data changed since the run began
        └── TooManyFailures         a run stopped because its samples kept failing
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class HyperagentError(Exception):
    """Base of all errors of this package."""


class ConfigError(HyperagentError):
    """A setting, file or flag that cannot be used as given."""


class UnknownNameError(ConfigError):
    """A name that is not registered.

    Parameters
    ----------
    kind : str
        What was looked up, e.g. ``"backend"``.
    name : str
        The name as given.
    known : iterable of str
        All names that exist.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        near = difflib.get_close_matches(name, self.known, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        listed = ", ".join(self.known) or "none"
        super().__init__(f"unknown {kind} {name!r}.{hint} Known: {listed}.")


class HypergraphError(HyperagentError, ValueError):
    """Nodes and hyperedges that do not make a hypergraph."""


class SparsityError(HyperagentError, ValueError):
    """A penalty, solver or plan that was asked for something impossible.

    The message names the argument and what was expected of it. Also raised for data that
    hold NaN, for integer tensors and for shapes that do not fit.
    """


class TaskError(HyperagentError):
    """A task, its data or its scorer."""


class DataError(TaskError):
    """A data set that is missing, damaged or not the expected one."""


class SandboxError(TaskError):
    """No sandbox is available that passed its probe."""


class BackendError(HyperagentError):
    """A call to a language model failed.

    Attributes
    ----------
    retryable : bool
        Whether the same call may succeed later.
    fatal : bool
        Whether every further call will fail the same way (wrong key, wrong address),
        so that a run should stop at once.
    may_have_run : bool
        Whether the server may have generated, and billed, tokens for the failed call.
    """

    retryable = False
    fatal = False
    may_have_run = False


class ConnectFailed(BackendError):
    """No server answers at the address."""

    retryable = True


class CallTimeout(BackendError):
    """The server did not answer in time."""

    retryable = True
    may_have_run = True


class RateLimited(BackendError):
    """The server asked us to slow down (HTTP 429).

    Attributes
    ----------
    retry_after : float or None
        Seconds to wait as the server stated them, if it did.
    """

    retryable = True

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ServerFailed(BackendError):
    """The server failed (HTTP 5xx); ``retry_after`` as in `RateLimited`."""

    retryable = True
    may_have_run = True

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BadReply(BackendError):
    """The server answered something that cannot be read, or broke off half way."""

    retryable = True
    may_have_run = True


class RequestRejected(BackendError):
    """The server refused the request itself (HTTP 400, 422 and other 4xx)."""


class AuthenticationFailed(BackendError):
    """Missing or wrong key (HTTP 401, 403)."""

    fatal = True


class NotFound(BackendError):
    """Wrong address or unknown model (HTTP 404)."""

    fatal = True


class NotRecorded(BackendError):
    """A replay has no reply for this call; it never invents one.

    Parameters
    ----------
    fatal : bool
        True if no call of this shape can ever be in the record, e.g. because it
        shows the model a peer's note that it never saw.
    """

    def __init__(self, message: str, *, fatal: bool = False) -> None:
        super().__init__(message)
        self.fatal = fatal


class BudgetExceeded(HyperagentError):
    """The next call would pass the budget; it was not made.

    Attributes
    ----------
    partial : object or None
        What was reached before the stop (a `hyperagent.team.Result`), filled in by the
        orchestrator.
    """

    def __init__(self, message: str, partial: Any = None) -> None:
        super().__init__(message)
        self.partial = partial


class RunError(HyperagentError):
    """A run folder that cannot be read or written."""


class ResumeRefused(RunError):
    """The run folder belongs to another configuration or other data."""


class TooManyFailures(RunError):
    """A run was stopped because more samples failed than it tolerates; it can be resumed."""
