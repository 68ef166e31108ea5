"""Running sums over the calls of a run, so that the ledger need not be read again."""

from __future__ import annotations

from dataclasses import dataclass, field

from hyperagent.bench.samples import CALIBRATION
from hyperagent.llm import LedgerRow


@dataclass
class Tally:
    """Sums over all starts of a run, abandoned samples included.

    Attributes
    ----------
    calls, tokens : int
        Calls that were really made, and their known tokens; replays from the cache are in
        neither.
    unknown : int
        Calls made whose tokens are not known.
    largest : int
        Most tokens of one call.
    speech : dict of str to (int, int)
        Tokens and number of the independent speeches of each agent, calibration left out.
    """

    calls: int = 0
    tokens: int = 0
    unknown: int = 0
    largest: int = 0
    speech: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, item: str, row: LedgerRow) -> None:
        """Take in one row of the ledger."""
        total = row.total_tokens
        if not row.from_cache:
            self.calls += 1
            self.tokens += total or 0
            self.unknown += total is None
            self.largest = max(self.largest, total or 0)
        if row.purpose == "speak" and total is not None and not item.startswith(CALIBRATION):
            tokens, number = self.speech.get(row.agent, (0, 0))
            self.speech[row.agent] = tokens + total, number + 1

    @property
    def charged(self) -> int:
        """Tokens to charge against a budget: an unknown call counts as the largest known one."""
        return self.tokens + self.unknown * self.largest
