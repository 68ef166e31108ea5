"""Learning from feedback while a team is in use: a contextual bandit over fixed topologies.

Each arm has a Bayesian linear model of its reward. The default arm is played unless another is
surely better for this question, or the share of plays that is set apart for exploration is not
used up; then one is drawn by Thompson sampling. So feedback can only ever change what is played
where it has shown that to be better, and what exploration may cost is bounded beforehand.

The state is one sqlite file. A feedback is one transaction, so that a process that is killed loses
nothing that it acknowledged, and several processes may share the file.

What was true last month need not be true today: with a `memory` old feedback fades, every arm's at
each feedback on any, and an arm that was never tried again becomes as unknown as it was.

References
----------
Agrawal and Goyal, "Thompson sampling for contextual bandits with linear payoffs", ICML 2013;
the guard is that of conservative bandits (Wu et al., ICML 2016), kept by counting plays; fading is
the discount of D-LinUCB (Russac, Vernade and Cappé, NeurIPS 2019).
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import exp, log, sqrt
from os import PathLike
from pathlib import Path

import numpy as np

from hyperagent.errors import ConfigError
from hyperagent.topology.difficulty import FEATURES, difficulty
from hyperagent.topology.features import encode_texts

DEFAULT_ARM = "default"
TEXT = 4
"""Columns of the hashed text."""
HARDNESS = ("log words", "log numbers", "log clauses")
"""Difficulties that are read."""
WIDTH = 1 + len(HARDNESS) + TEXT
_COLUMNS = [FEATURES.index(name) for name in HARDNESS]

_NOISE = 0.5
"""Bound on the standard deviation of a reward in [0, 1]."""
_PRIOR = 0.25
"""Standard deviation of each weight before any feedback."""

_TABLES = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS plays (
    id INTEGER PRIMARY KEY, arm TEXT NOT NULL, explored INTEGER NOT NULL,
    features TEXT NOT NULL, reward REAL);
CREATE TABLE IF NOT EXISTS arms (
    name TEXT PRIMARY KEY, precision TEXT NOT NULL, sums TEXT NOT NULL, count INTEGER NOT NULL
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Play:
    """What the bandit chose for a question.

    Attributes
    ----------
    id : int
        Under which its feedback is given.
    arm : str
        `DEFAULT_ARM` or an anchor.
    explored : bool
        Whether it was drawn to learn, not because it is known to be better.
    """

    id: int
    arm: str
    explored: bool


@dataclass(frozen=True)
class Online:
    """How a team learns from feedback.

    Parameters
    ----------
    path : path
        State file; made if needed.
    arms : sequence of str
        Anchors that may be played in place of the team's own topology.
    share : float
        Most of all plays that exploration may take, in [0, 1).
    confidence : float
        With which an arm must be better than the default one to be played for its own sake,
        for all arms together, in (0, 1).
    price, scale : float
        A reward is the feedback minus ``price * tokens / scale``.
    memory : float, optional
        Feedbacks, on all arms together, after which one counts 1/e of a new one; at least 10.
        None: nothing is forgotten.

    Raises
    ------
    ConfigError
        Naming the number that is out of range.
    """

    path: str | PathLike[str]
    arms: tuple[str, ...] = ("single", "pair", "role_cover", "group", "star", "chain")
    share: float = 0.1
    confidence: float = 0.95
    price: float = 0.0
    scale: float = 1000.0
    memory: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "arms", tuple(self.arms))
        if not 0 <= self.share < 1 or not 0 < self.confidence < 1:
            raise ConfigError(
                "online: a share in [0, 1) and a confidence in (0, 1) are needed, got "
                f"{self.share!r} and {self.confidence!r}"
            )
        if not self.price >= 0 or not self.scale > 0:
            raise ConfigError(
                f"online: price >= 0 and scale > 0 are needed, got {self.price!r}, {self.scale!r}"
            )
        if self.memory is not None and not 10 <= self.memory < float("inf"):
            raise ConfigError(f"online: memory must be at least 10 feedbacks, got {self.memory!r}")
        if not self.arms or DEFAULT_ARM in self.arms or len(set(self.arms)) < len(self.arms):
            raise ConfigError(
                f"online: arms must be different anchors, none called {DEFAULT_ARM!r}, got "
                f"{', '.join(self.arms) or 'none'}"
            )


class Bandit:
    """The bandit in a state file.

    Parameters
    ----------
    online : Online
    owner : str
        Digest of the team and its default topology; the file of another one is refused, because
        its arms mean something else.

    Raises
    ------
    ConfigError
        If the file cannot be used or belongs to another team.
    """

    def __init__(self, online: Online, owner: str = "") -> None:
        self.online = online
        self.path = str(online.path)
        self._lock = threading.Lock()
        try:
            if self.path != ":memory:":
                Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                self.path, timeout=30.0, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode=WAL")
            # FULL: what was acknowledged survives a crash of the machine too.
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_TABLES)
            with self._transaction() as db:
                db.execute("INSERT OR IGNORE INTO about VALUES ('owner', ?)", (owner,))
                (found,) = db.execute("SELECT value FROM about WHERE name = 'owner'").fetchone()
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"cannot use {self.path} as the state of a team: {error}") from error
        if found != owner:
            self._db.close()
            raise ConfigError(
                f"{self.path} is the state of a team with other agents or another topology; "
                "give each team its own file"
            )

    def choose(self, question: str, seed: int = 0) -> Play:
        """The arm for a question, noted in the file.

        Parameters
        ----------
        question : str
        seed : int
            Of the draw of an exploration. Equal states, questions and seeds give equal plays.
        """
        x = features(question)
        with self._transaction() as db:
            models = {name: _Model.read(db, name) for name in (DEFAULT_ARM, *self.online.arms)}
            best = self._surely_better(models, x)
            plays, explored = db.execute("SELECT count(*), sum(explored) FROM plays").fetchone()
            arm, draw = best, False
            if best == DEFAULT_ARM and (explored or 0) + 1 <= self.online.share * (plays + 1):
                arm, draw = self._draw(models, x, f"{seed}\0{plays}\0{question}"), True
            number = db.execute(
                "INSERT INTO plays (arm, explored, features) VALUES (?, ?, ?)",
                (arm, int(draw), json.dumps(x.tolist())),
            ).lastrowid
        return Play(int(number), arm, draw)

    def learn(self, play: int, feedback: float, tokens: float = 0.0) -> None:
        """Take in the feedback on a play, in one transaction.

        Parameters
        ----------
        play : int
            `Play.id`.
        feedback : float
            In [0, 1].
        tokens : float
            That the answer took.

        Raises
        ------
        ConfigError
            If the feedback is out of range, was given before, or the play is unknown.
        """
        fine = isinstance(feedback, (int, float)) and 0 <= feedback <= 1
        if not fine:
            raise ConfigError(f"feedback must be a number from 0 to 1, got {feedback!r}")
        reward = float(feedback) - self.online.price * tokens / self.online.scale
        with self._transaction() as db:
            row = db.execute(
                "SELECT arm, features, reward FROM plays WHERE id = ?", (play,)
            ).fetchone()
            if row is None:
                raise ConfigError(f"{self.path} knows no play {play}")
            arm, text, known = row
            if known is not None:
                raise ConfigError("feedback on this result was given before")
            db.execute("UPDATE plays SET reward = ? WHERE id = ?", (reward, play))
            if self.online.memory is not None:
                for name in (DEFAULT_ARM, *self.online.arms):
                    model = _Model.read(db, name)
                    model.fade(exp(-1.0 / self.online.memory))
                    model.write(db, name)
            model = _Model.read(db, arm)
            model.add(np.array(json.loads(text)), reward)
            model.write(db, arm)

    def counts(self) -> dict[str, int]:
        """Feedbacks by arm."""
        with self._lock:
            return dict(self._db.execute("SELECT name, count FROM arms ORDER BY name").fetchall())

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _surely_better(self, models: dict[str, _Model], x: np.ndarray) -> str:
        """The arm of the largest mean among those whose lower bound is above the default's."""
        arms = self.online.arms
        width = sqrt(2 * log(2 * len(arms) / (1 - self.online.confidence)))
        base, spread = models[DEFAULT_ARM].predict(x)
        sure = []
        for arm in arms:
            mean, own = models[arm].predict(x)
            if models[arm].count and mean - base > width * sqrt(own**2 + spread**2):
                sure.append((mean, arm))
        return max(sure)[1] if sure else DEFAULT_ARM

    def _draw(self, models: dict[str, _Model], x: np.ndarray, key: str) -> str:
        digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
        draw = np.random.default_rng(int.from_bytes(digest, "little"))
        values = []
        for arm in self.online.arms:
            mean, spread = models[arm].predict(x)
            values.append(mean + spread * draw.standard_normal())
        return self.online.arms[int(np.argmax(values))]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")


@dataclass
class _Model:
    """Bayesian linear regression of known noise: precision matrix, weighted sums, feedbacks."""

    precision: np.ndarray
    sums: np.ndarray
    count: int

    @classmethod
    def read(cls, db: sqlite3.Connection, arm: str) -> _Model:
        row = db.execute(
            "SELECT precision, sums, count FROM arms WHERE name = ?", (arm,)
        ).fetchone()
        if row is None:
            return cls(*_before(), 0)
        return cls(np.array(json.loads(row[0])), np.array(json.loads(row[1])), row[2])

    def write(self, db: sqlite3.Connection, arm: str) -> None:
        # JSON writes floats so that they are read back bit for bit.
        db.execute(
            "INSERT OR REPLACE INTO arms VALUES (?, ?, ?, ?)",
            (arm, json.dumps(self.precision.tolist()), json.dumps(self.sums.tolist()), self.count),
        )

    def add(self, x: np.ndarray, reward: float) -> None:
        self.precision = self.precision + np.outer(x, x) / _NOISE**2
        self.sums = self.sums + x * reward / _NOISE**2
        self.count += 1

    def fade(self, share: float) -> None:
        """Keep this share of what feedback has added to the prior."""
        precision, sums = _before()
        self.precision = precision + share * (self.precision - precision)
        self.sums = sums + share * (self.sums - sums)

    def predict(self, x: np.ndarray) -> tuple[float, float]:
        """Mean and standard deviation of the expected reward at `x`."""
        mean, spread = np.linalg.solve(self.precision, np.stack([self.sums, x], axis=1)).T
        return float(x @ mean), sqrt(max(0.0, float(x @ spread)))


def _before() -> tuple[np.ndarray, np.ndarray]:
    """Precision and weighted sums before any feedback: an arm is right half of the time."""
    precision = np.eye(WIDTH) / _PRIOR**2
    weights = np.zeros(WIDTH)
    weights[0] = 0.5
    return precision, precision @ weights


def features(question: str) -> np.ndarray:
    """What the bandit knows about a question.

    Parameters
    ----------
    question : str

    Returns
    -------
    ndarray, shape (WIDTH,), float64
        1, three difficulties divided by 4, and hashed text of length 1/2: small numbers, so that
        the constant decides until there is much feedback.
    """
    hard = difficulty(question)[_COLUMNS] / 4
    text = encode_texts([question], TEXT)[0] / 2
    return np.concatenate([[1.0], hard, text]).astype(np.float64)
