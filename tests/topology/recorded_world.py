"""A made-up set of recorded replies whose truth is known."""

from __future__ import annotations

import hashlib

import numpy as np

from hyperagent.topology.replies import Replies, answer_codes

AGENTS = ("cheap", "middle", "strong")
PRICES = np.array([1.0, 3.0, 10.0])


def world(n: int, *, seed: int = 0, telling: float = 1.0, agents: int = 3) -> Replies:
    """Replies of three agents, of which the dearer are better.

    Parameters
    ----------
    n : int
        Questions.
    seed : int
    telling : float
        How much the one reply feature says about whether the reply is right; 0 is nothing.
    agents : int
        The first so many.
    """
    rng = np.random.default_rng(seed)
    easy = rng.random(n) < 0.6
    skill = np.where(easy[:, None], [0.93, 0.96, 0.98], [0.35, 0.6, 0.9])
    correct = rng.random((n, 3)) < skill
    wrong = rng.integers(1, 11, (n, 3)).astype(str)
    answers = np.where(correct, "right", wrong).astype(object)
    answers[rng.random((n, 3)) < 0.02] = None
    correct &= answers != None  # noqa: E711
    tokens = np.tile(np.array([40, 60, 100]), (n, 1)) + rng.integers(0, 20, (n, 3))
    looks = np.stack([telling * correct + rng.normal(size=(n, 3)), rng.normal(size=(n, 3))], axis=2)
    digests = [hashlib.sha256(f"{seed} {i}".encode()).hexdigest()[:16] for i in range(n)]
    replies = Replies(
        AGENTS,
        tuple(f"q{i}" for i in range(n)),
        np.array([int(digest, 16) for digest in digests], dtype=np.uint64),
        np.where(easy, "plain", "rate"),
        np.full(n, 10),
        answer_codes(answers),
        correct,
        np.full((n, 3), 50),
        tokens,
        PRICES * (50 + tokens) * 1e-6,
        np.column_stack([easy + rng.normal(scale=0.7, size=n), rng.normal(size=n)]),
        looks,
    )
    return replies.seat(AGENTS[:agents])
