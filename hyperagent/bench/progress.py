"""How far a run is: a live line on a terminal, a plain line now and then elsewhere.

Everything goes to standard error; standard output belongs to the table or the JSON.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Any, Protocol, TextIO

PLAIN_SECONDS = 5.0
"""Pause between plain lines."""

LIVE_SECONDS = 0.1
"""Pause between updates of the live line."""


@dataclass
class State:
    """Counts of one stage of a run.

    Attributes
    ----------
    stage : str
    total, done, right, errors : int
        Samples; finished ones; right ones; failed ones, which are in neither other count.
    tokens : int
        Prompt and completion tokens of the finished samples.
    price : float or None
        None as soon as one sample has no known price.
    retries, waits : int
        Calls that were repeated; answers of a server that it was too busy.
    """

    stage: str
    total: int
    done: int = 0
    right: int = 0
    errors: int = 0
    tokens: int = 0
    price: float | None = 0.0
    retries: int = 0
    waits: int = 0
    began: float = field(default_factory=time.monotonic)
    before: int = 0

    def count(self, record: dict[str, Any]) -> None:
        """Take in a sample of the run folder."""
        if record["status"] == "ok":
            self.done += 1
            self.right += bool(record["correct"])
        elif record["status"] == "error":
            self.errors += 1
        self.tokens += record["prompt_tokens"] + record["completion_tokens"]
        known = self.price is not None and record["price"] is not None
        self.price = self.price + record["price"] if known else None

    def begin(self) -> None:
        """Start the clock; what was counted until now came from an earlier start."""
        self.before, self.began = self.done + self.errors, time.monotonic()

    def eta(self) -> float | None:
        """Seconds to go at the pace of this start; None before the first sample."""
        fresh = self.done + self.errors - self.before
        left = self.total - self.done - self.errors
        return (time.monotonic() - self.began) / fresh * left if fresh else None

    def line(self) -> str:
        """The counts in one line."""
        parts = [f"{self.stage}: {self.done + self.errors}/{self.total}"]
        if self.done:
            parts.append(f"right {self.right / self.done:.1%}")
        parts.append(f"{self.tokens:,} tokens")
        if self.price:
            parts.append(f"price {self.price:.4f}")
        for name in ("errors", "retries", "waits"):
            if getattr(self, name):
                parts.append(f"{name} {getattr(self, name)}")
        eta = self.eta()
        if eta is not None and self.done + self.errors < self.total:
            parts.append(f"{_span(eta)} to go")
        return ", ".join(parts)


def _span(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class Progress(Protocol):
    """Is told the state after every sample."""

    def show(self, state: State, *, last: bool = False) -> None:
        """Show `state`; `last` ends the stage."""
        ...

    def close(self) -> None:
        """Give the terminal back, also after an error. Harmless when called twice."""
        ...


class Silent:
    """Shows nothing."""

    def show(self, state: State, *, last: bool = False) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class PlainLines:
    """A line every few seconds, for log files and pipes.

    Parameters
    ----------
    stream : text file, optional
        Standard error by default.
    seconds : float
        Pause between lines; the last line of a stage always comes.
    """

    def __init__(self, stream: TextIO | None = None, seconds: float = PLAIN_SECONDS) -> None:
        self.stream = stream or sys.stderr
        self.seconds = seconds
        self._next = 0.0

    def show(self, state: State, *, last: bool = False) -> None:
        """Write a line if it is time."""
        now = time.monotonic()
        if last or now >= self._next:
            self._next = now + self.seconds
            print(state.line(), file=self.stream, flush=True)

    def close(self) -> None:
        """Nothing; the stream belongs to the caller."""


class LiveLine:
    """One line that is kept up to date on a terminal.

    Parameters
    ----------
    stream : text file, optional
        Standard error by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        from rich.console import Console

        self._console = Console(file=stream or sys.stderr)
        self._status: Any = None
        self._next = 0.0

    def show(self, state: State, *, last: bool = False) -> None:
        """Redraw the line; leave it standing at the end of a stage."""
        from rich.markup import escape

        if last:
            self.close()
            self._console.print(escape(state.line()), highlight=False)
            return
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + LIVE_SECONDS
        if self._status is None:
            self._status = self._console.status(escape(state.line()))
            self._status.start()
        self._status.update(escape(state.line()))

    def close(self) -> None:
        """Remove the line."""
        if self._status is not None:
            self._status.stop()
            self._status = None


def make_progress(*, quiet: bool = False, stream: TextIO | None = None) -> Progress:
    """What fits `stream` (standard error): a live line on a terminal, plain lines elsewhere."""
    stream = stream or sys.stderr
    if quiet:
        return Silent()
    return LiveLine(stream) if stream.isatty() else PlainLines(stream)
