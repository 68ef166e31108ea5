"""What goes to which stream, how errors read, and which exit code they have.

Standard output holds the result alone: an answer, a table or one JSON document. Everything else
goes to standard error.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from hyperagent import credentials, errors

if TYPE_CHECKING:
    from rich.console import Console

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: good; finished, but something failed; wrong usage or settings; Ctrl-C."""

_FAILURES = (
    errors.BudgetExceeded,
    errors.SandboxError,
    errors.RateLimited,
    errors.ServerFailed,
    errors.CallTimeout,
    errors.BadReply,
    errors.NotRecorded,
    errors.TooManyFailures,
)
"""Errors of an attempt that was asked for correctly; all others are the caller's to repair."""

# A reply may hold escape sequences that retitle the terminal or write its clipboard.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
WIDTH_OF_A_FILE = 160

_secrets: set[str] = set()


def keep_secret(value: str) -> None:
    """Never print `value`, should a server's message repeat it."""
    if len(value) >= credentials.SHORTEST:
        _secrets.add(value)


def scrub(text: str) -> str:
    """`text` without the secrets of the settings and of the environment."""
    for secret in sorted(_secrets | credentials.in_environment(), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def clean(text: str) -> str:
    """`text` without control characters other than line breaks and tabs."""
    return _CONTROL.sub("", text)


def result(text: str) -> None:
    """Print part of the result."""
    print(clean(text))


def remark(text: str) -> None:
    """Print something that is not part of the result."""
    print(scrub(clean(text)), file=sys.stderr)


def json_result(value: Any) -> None:
    """Print the result as the one JSON document of standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def complain(message: str) -> None:
    """Print an error: each line of `message` becomes a line that begins with ``error:``."""
    for line in message.splitlines() or [""]:
        remark(f"error: {line}")


def exit_code(error: errors.HyperagentError) -> int:
    """Exit code for an error that ended the command."""
    return FAILED if isinstance(error, _FAILURES) else USAGE


def console(*, stderr: bool = False) -> Console:
    """A rich console; it honours ``NO_COLOR`` and the width of the terminal."""
    from rich.console import Console

    # A file has no width; rich would take 80 characters and squeeze tables into them.
    width = None if width_of(sys.stderr if stderr else sys.stdout) else WIDTH_OF_A_FILE
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=width)


@contextmanager
def waiting(text: str, *, quiet: bool = False) -> Iterator[None]:
    """Show on a terminal that something is going on."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    with console(stderr=True).status(clean(text)):
        yield


def columns(rows: Iterable[Iterable[str]], *, indent: str = "") -> list[str]:
    """Lines of a plain table: columns padded to equal width, two spaces between them."""
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        indent + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def wrap(text: str, width: int | None, *, indent: str = "") -> list[str]:
    """Lines of at most `width` characters, later ones behind `indent`; None: one line."""
    text = clean(text)
    if width is None:
        return [text]
    return textwrap.wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    ) or [""]


def width_of(stream: TextIO) -> int | None:
    """Characters of a line of the terminal behind `stream`, None if it is a file or a pipe."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def plural(count: int, noun: str) -> str:
    """``1 call``, ``1,200 calls``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def prepare_streams() -> None:
    """Warnings as one plain line; no crash on a terminal that lacks a character."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        remark(f"warning: {' '.join(str(message).split())}")

    warnings.showwarning = show
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
