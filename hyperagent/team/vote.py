"""From notes to one answer: weights, agreement, posterior.

The model behind all three is the one-coin model of Dawid and Skene (1979): agent *i* is right
with probability r_i, and otherwise gives one of κ wrong answers, each equally likely. Under it the
most probable answer is the winner of a vote with weights log(κ r_i / (1 − r_i)), and the posterior
below is exact as long as agents err independently. Agents that share training data do not, so the
posterior is too sure of itself on real teams: choose its threshold on validation questions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hyperagent.team.note import Note

UNKNOWN_RELIABILITY = 0.7
"""Stands in for a reliability that nobody measured."""

_CLIP = 0.01


def wrong_answers(kind: str, choices: int = 0) -> int:
    """κ: how many wrong answers there are to fall for.

    Parameters
    ----------
    kind : str
        Kind of the task.
    choices : int
        Number of options of a choice task.
    """
    return max(choices - 1, 1) if kind == "choice" else 10


@dataclass(frozen=True)
class Poll:
    """Votes counted.

    Attributes
    ----------
    weights : mapping of str to float
        Total weight per answer, heaviest first.
    posterior : float
        Probability that the leading answer is right; 0 without answers.
    tied : bool
        Whether a second answer has the same weight as the first.
    """

    weights: Mapping[str, float]
    posterior: float
    tied: bool

    @property
    def leader(self) -> str | None:
        """The answer with the largest weight, None without answers."""
        return next(iter(self.weights), None)

    @property
    def agreement(self) -> float:
        """Share of the total weight behind the leader."""
        total = sum(self.weights.values())
        return next(iter(self.weights.values())) / total if total else 0.0


def poll(
    notes: Iterable[Note],
    reliability: Mapping[str, float | None],
    *,
    wrong: int,
    weighted: bool = True,
) -> Poll:
    """Count the votes.

    Parameters
    ----------
    notes : iterable of Note
        One per voter; notes without an answer do not vote.
    reliability : mapping of str to (float or None)
        By author.
    wrong : int
        κ, number of plausible wrong answers.
    weighted : bool
        Weigh votes by reliability (if any is known); otherwise each counts 1.

    Returns
    -------
    Poll
        Equal weights are ordered by the highest stated confidence, then by answer, so that the
        result does not depend on who spoke first.
    """
    voters = [note for note in notes if note.answer is not None]
    weighted = weighted and any(reliability.get(note.author) is not None for note in voters)
    totals: dict[str, float] = {}
    confidence: dict[str, float] = {}
    log_odds: dict[str, float] = {}
    for note in voters:
        rate = reliability.get(note.author)
        rate = min(max(UNKNOWN_RELIABILITY if rate is None else rate, _CLIP), 1 - _CLIP)
        odds = math.log(wrong * rate / (1 - rate))
        # An agent worse than chance would vote against its own answer; it gets no weight instead.
        weight = max(odds, 0.0) if weighted else 1.0
        totals[note.answer] = totals.get(note.answer, 0.0) + weight
        log_odds[note.answer] = log_odds.get(note.answer, 0.0) + odds
        confidence[note.answer] = max(confidence.get(note.answer, 0.0), note.confidence or 0.0)
    order = sorted(totals, key=lambda a: (-totals[a], -confidence[a], a))
    tied = len(order) > 1 and math.isclose(totals[order[0]], totals[order[1]], abs_tol=1e-12)
    if not order:
        return Poll({}, 0.0, False)
    # Every answer that nobody gave has log-odds 0; there are at least κ + 1 answers in all.
    unseen = max(wrong + 1 - len(order), 0)
    top = max(0.0, *log_odds.values())
    evidence = sum(math.exp(value - top) for value in log_odds.values())
    evidence += unseen * math.exp(-top)
    posterior = math.exp(log_odds[order[0]] - top) / evidence
    return Poll({answer: totals[answer] for answer in order}, posterior, tied)
