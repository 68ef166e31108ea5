"""Recorded replies of a team as arrays: what every agent would answer and what that costs.

Rows are questions, columns agents. With all replies on record a policy that asks some of the
agents can be run on every question at no cost, and exactly: the agents never saw each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hyperagent.errors import ConfigError
from hyperagent.llm.prices import Prices
from hyperagent.llm.recorded import RecordedBackend
from hyperagent.llm.types import CallContext, ChatRequest, Message, Usage
from hyperagent.tasks import Task, equal, extract, normalise
from hyperagent.topology.outcomes import OBJECTIVES, Objective
from hyperagent.topology.reply_features import question_features, reply_features

NO_ANSWER = -1
"""Code of a reply that holds no answer."""


@dataclass(frozen=True)
class Replies:
    """Replies of `N` agents to `n` questions.

    Attributes
    ----------
    agents : tuple of str
        Length N.
    questions : tuple of str
        Ids, length n.
    hashes : ndarray, shape (n,), uint64
        First 64 bits of the content hash; folds are made from it.
    kinds : ndarray, shape (n,), str
        Kind of each question, for reliabilities per kind.
    wrong : ndarray, shape (n,), int64
        κ, number of plausible wrong answers.
    answers : ndarray, shape (n, N), int64
        Code of the answer: equal codes of a row are equal answers, in the order of their spelling;
        `NO_ANSWER` if there is none.
    correct : ndarray, shape (n, N), bool
    prompt_tokens, completion_tokens : ndarray, shape (n, N), int64
        Estimated from characters: the records hold no counts.
    dollars : ndarray, shape (n, N), float64
    question_features : ndarray, shape (n, F), float64
    reply_features : ndarray, shape (n, N, G), float64
    """

    agents: tuple[str, ...]
    questions: tuple[str, ...]
    hashes: np.ndarray
    kinds: np.ndarray
    wrong: np.ndarray
    answers: np.ndarray
    correct: np.ndarray
    prompt_tokens: np.ndarray
    completion_tokens: np.ndarray
    dollars: np.ndarray
    question_features: np.ndarray
    reply_features: np.ndarray

    def __len__(self) -> int:
        return len(self.questions)

    def costs(self, objective: Objective) -> np.ndarray:
        """What each reply costs, shape (n, N), in dollars or in tokens (prompt and completion)."""
        if objective not in OBJECTIVES:
            raise ConfigError(f"objective must be one of {OBJECTIVES}, got {objective!r}")
        if objective == "dollars":
            return self.dollars
        return (self.prompt_tokens + self.completion_tokens).astype(np.float64)

    def take(self, rows: np.ndarray) -> Replies:
        """The questions `rows` (mask of shape (n,) or indices)."""
        index = np.arange(len(self))[rows]
        arrays = {name: getattr(self, name)[index] for name in _BY_QUESTION}
        return replace(self, questions=tuple(self.questions[i] for i in index), **arrays)

    def seat(self, agents: Sequence[str]) -> Replies:
        """Only the columns of `agents`, in that order.

        Raises
        ------
        ConfigError
            If one of them has no column.
        """
        missing = [agent for agent in agents if agent not in self.agents]
        if missing:
            raise ConfigError(f"no replies of {missing}; there are replies of {self.agents}")
        index = [self.agents.index(agent) for agent in agents]
        arrays = {name: getattr(self, name)[:, index] for name in _BY_AGENT}
        return replace(self, agents=tuple(agents), **arrays)

    def folds(self, k: int, *, part: int = 0) -> np.ndarray:
        """Fold of each question, shape (n,), int64 in [0, k), by content hash alone.

        Parameters
        ----------
        k : int
            Number of folds.
        part : int
            0 or 1: which half of the 64 bits decides. The two halves are independent, so that folds
            within folds do not repeat the outer ones.
        """
        return folds_of(self.hashes, k, part=part)


def content_hashes(tasks: Sequence[Task]) -> np.ndarray:
    """The first 64 bits of each task's content hash, shape (n,), uint64."""
    return np.array([int(task.content_hash()[:16], 16) for task in tasks], dtype=np.uint64)


def folds_of(hashes: np.ndarray, k: int, *, part: int = 0) -> np.ndarray:
    """Fold of each question, shape (n,), int64 in [0, k); see `Replies.folds`."""
    half = hashes >> np.uint64(32) if part == 0 else hashes & np.uint64(0xFFFFFFFF)
    return ((half * np.uint64(k)) >> np.uint64(32)).astype(np.int64)


_BY_AGENT = (
    "answers", "correct", "prompt_tokens", "completion_tokens", "dollars", "reply_features",
)  # fmt: skip
_BY_QUESTION = (*_BY_AGENT, "hashes", "kinds", "wrong", "question_features")


@dataclass(frozen=True)
class Played:
    """What a policy did on each question.

    Attributes
    ----------
    correct : ndarray, shape (n,), bool
    asked : ndarray, shape (n, N), bool
    dollars, tokens : ndarray, shape (n,), float64
        Sum over the agents asked.
    """

    correct: np.ndarray
    asked: np.ndarray
    dollars: np.ndarray
    tokens: np.ndarray

    @classmethod
    def of(cls, replies: Replies, leader: np.ndarray, asked: np.ndarray) -> Played:
        """What giving the answer of agent `leader`, shape (n,), after asking `asked`, comes to."""
        correct = replies.correct[np.arange(len(replies)), leader]
        spent = {name: (asked * replies.costs(name)).sum(axis=1) for name in OBJECTIVES}
        return cls(correct, asked, spent["dollars"], spent["tokens"])

    def cost(self, objective: Objective) -> np.ndarray:
        """Dollars or tokens of each question, shape (n,)."""
        return self.dollars if objective == "dollars" else self.tokens


def question_kind(question: str) -> str:
    """Kind of a word problem by its wording: ``percent``, ``rate``, ``comparison``, ``plain``."""
    text = question.lower()
    if "%" in text or "percent" in text or "/" in text:
        return "percent"
    if any(word in text for word in (" per ", "each", "every", "average")):
        return "rate"
    return "comparison" if " than " in text or "as many" in text else "plain"


def recorded_replies(
    tasks: Sequence[Task],
    runs: Mapping[str, str | tuple[str, int]],
    prices: Prices,
    *,
    extra_prompt: Mapping[str, int] | None = None,
    data_dir: str | None = None,
) -> Replies:
    """Read the replies of recorded runs to tasks with numbers as answers.

    Parameters
    ----------
    tasks : sequence of Task
        Those without a reply of every run are left out.
    runs : mapping of str to (str or (str, int))
        Name of the agent to the recorded run, or to the run and the sample of it.
    prices : Prices
        Must list the model of every run.
    extra_prompt : mapping of str to int, optional
        Prompt tokens by agent beyond the question itself. The records do not hold the prompts, so
        that instructions and examples are counted only as far as this says.
    data_dir : path, optional

    Returns
    -------
    Replies
        Tokens are estimated at four characters a token (`hyperagent.llm.estimate`).

    Raises
    ------
    ConfigError
        If a model has no price, or no task has all replies.
    """
    extra = extra_prompt or {}
    seats = {a: (run, 0) if isinstance(run, str) else run for a, run in runs.items()}
    backends = {a: RecordedBackend(run, data_dir=data_dir) for a, (run, _) in seats.items()}
    for agent, backend in backends.items():
        if prices.find(backend.model) is None:
            raise ConfigError(f"no price is listed for {backend.model!r}, the model of {agent!r}")
    kept = [t for t in tasks if all(b.samples(t.id) > seats[a][1] for a, b in backends.items())]
    if not kept:
        raise ConfigError(f"no task has a recorded reply of all of {tuple(runs)}")
    shape = len(kept), len(seats)
    answers, correct = np.empty(shape, dtype=object), np.zeros(shape, dtype=bool)
    tokens, dollars = np.zeros((2, *shape), dtype=np.int64), np.zeros(shape)
    spoken = asyncio.run(_replay(kept, [(backends[a], seats[a][1]) for a in seats]))
    looks = [[np.zeros(0)] * shape[1] for _ in kept]
    for i, task in enumerate(kept):
        for j, (agent, backend) in enumerate(backends.items()):
            sample = seats[agent][1]
            text, usage = spoken[i * shape[1] + j]
            stated = backend.prediction(task.id, sample)
            # Only a reply that holds its own answer can be read; of the others the record tells it.
            read = stated.origin == "text"
            answer = extract(text, task) if read else normalise(stated.answer, task)
            answers[i, j], correct[i, j] = answer, equal(answer, task.answer, task.kind)
            usage = replace(usage, prompt_tokens=usage.prompt_tokens + extra.get(agent, 0))
            tokens[:, i, j] = usage.prompt_tokens, usage.completion_tokens
            dollars[i, j] = prices.price(usage, backend.model)
            looks[i][j] = reply_features(task.question, text, answer)
    return Replies(
        tuple(seats),
        tuple(task.id for task in kept),
        content_hashes(kept),
        np.array([question_kind(task.question) for task in kept]),
        np.full(len(kept), 10, dtype=np.int64),
        answer_codes(answers),
        correct,
        tokens[0],
        tokens[1],
        dollars,
        np.stack([question_features(task.question) for task in kept]),
        np.array(looks, dtype=np.float64),
    )


async def _replay(
    tasks: Sequence[Task], seats: Sequence[tuple[RecordedBackend, int]]
) -> list[tuple[str, Usage]]:
    """Text and estimated usage of every reply, task by task and seat by seat."""
    replies = []
    for task in tasks:
        messages = (Message("user", task.render()),)
        for backend, sample in seats:
            request = ChatRequest(messages, sample=sample, context=CallContext(task=task.id))
            reply = await backend.complete(request)
            replies.append((reply.text, reply.usage))
    return replies


def answer_codes(answers: np.ndarray) -> np.ndarray:
    """Codes of spelled answers, row by row.

    Parameters
    ----------
    answers : ndarray, shape (n, N), object
        Strings; None for a reply without an answer.

    Returns
    -------
    ndarray, shape (n, N), int64
        Position of the answer among the sorted answers of its row, `NO_ANSWER` for None.
    """
    codes = np.full(answers.shape, NO_ANSWER, dtype=np.int64)
    for row, spelled in zip(codes, answers, strict=True):
        order = {text: code for code, text in enumerate(sorted({a for a in spelled if a}))}
        row[:] = [order.get(a, NO_ANSWER) for a in spelled]
    return codes
