"""Chats of the second stage: the prompts that a team renders, alone and with a board to read."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from boards import Problem, Said, rates, read
from examples import Chat, last_fact, note
from noise import noisy, renamed
from prompts import NAMES, SOLVERS, render
from words import STEPS, Words, chat_of, work_of

from hyperagent.tasks import Task, equal
from hyperagent.tasks.wordproblems import stream
from hyperagent.team.note import Note

SHARES = {"bare": 0.12, "speak": 0.47, "revise": 0.18, "verify": 0.18, "decide": 0.05}
"""Share of each form of prompt."""
_CALCULATION = re.compile(r"(\d+(?:\.\d+)?)([-+*/])(\d+(?:\.\d+)?)")


class Colleagues:
    """Draws chats as a pocket agent meets them in a team.

    Parameters
    ----------
    words : Words
    boards : Path
        File of `boards`.
    skills : tuple of str
        Skills of which most problems are; empty: all alike. See `hyperagent.tasks.wordproblems`.
    shares : mapping of str to float
        Share of each form of prompt.
    focus : float
        Share of the problems that have one of `skills`.
    """

    def __init__(
        self,
        words: Words,
        boards: Path,
        skills: tuple[str, ...] = (),
        shares: dict[str, float] = SHARES,
        focus: float = 0.95,
    ) -> None:
        self.words, self.shares, self.focus = words, shares, focus
        self.problems = read(boards)
        self.rates = rates(self.problems)
        self.skills = skills
        self._own = [p for p in self.problems if p.kind.split("/")[0] in skills]

    def draw(self, rng: random.Random, count: int) -> list[Chat]:
        """`count` chats."""
        kinds = rng.choices(list(self.shares), list(self.shares.values()), k=count)
        fresh = self._fresh(rng)
        made = []
        for kind in kinds:
            if kind in ("bare", "speak"):
                made.append(self._alone(rng, kind, next(fresh)))
            else:
                own = self._own and rng.random() < self.focus
                made.append(
                    self._with_board(rng, kind, rng.choice(self._own if own else self.problems))
                )
        return made

    def _fresh(self, rng: random.Random) -> Iterator[Problem]:
        """New problems without end; a seventh are GSM8K's."""
        tasks = stream(split="train", seed=rng.getrandbits(48), steps=STEPS)
        public = self.words.public
        while True:
            if rng.random() < (0.06 if self.skills else 0.14):
                example = public("gsm8k", rng)
                asked, work = renamed(example.question, example.work, rng)
                yield Problem(noisy(asked, rng), work, example.answer, "gsm8k")
                continue
            task = next(tasks)
            if self.skills and rng.random() < self.focus:
                while task.meta["skill"] not in self.skills:
                    task = next(tasks)
            kind = f"{task.meta['skill']}/{task.meta['steps']}"
            asked, work = renamed(task.question, work_of(task), rng)
            yield Problem(noisy(asked, rng), work, task.answer or "", kind)

    def _alone(self, rng: random.Random, kind: str, problem: Problem) -> Chat:
        if kind == "bare":
            return chat_of(problem.question, problem.work, problem.answer, kind)
        role = "verifier" if rng.random() < 0.15 else rng.choice(SOLVERS)
        system, user = render(role, Task(problem.question), "speak")
        return Chat(system, user, self._reply(problem, self.rates.get(problem.kind, 0.5)), kind)

    def _with_board(self, rng: random.Random, kind: str, problem: Problem) -> Chat:
        notes = _board(rng, problem)
        own = None
        if kind == "revise":
            said = rng.choice(problem.said)
            own = Note("me", said.answer or None)
        role = "verifier" if kind == "verify" or rng.random() < 0.1 else rng.choice(SOLVERS)
        asked = Task(noisy(problem.question, rng))
        system, user = render(role, asked, kind, notes, own)
        # Whoever reads the right answer is more likely to give it; by how much is a guess that
        # only sets the confidence that the model learns to state.
        helped = sum(n.answer == problem.answer for n in notes) / len(notes)
        sure = problem.rate + (1 - problem.rate) * 0.7 * helped
        return Chat(
            system, user, _verdict(problem, notes, own) + self._closing(problem, sure), kind
        )

    def _reply(self, problem: Problem, sure: float) -> str:
        return f"{problem.work}\n{self._closing(problem, sure)}"

    @staticmethod
    def _closing(problem: Problem, sure: float) -> str:
        confidence = f"{min(max(round(sure, 1), 0.1), 0.9):.1f}"
        return note(problem.answer, confidence, last_fact(problem.work))


def _verdict(problem: Problem, notes: Sequence[Note], own: Note | None) -> str:
    """How a reply to a board begins: whose answer is right, and if nobody's is, the work.

    To say first whom to believe is one decision, which a small model can learn; to be led to the
    right calculations by the notes it did not learn from 2.7 million tokens.
    """
    for said in notes:
        if said.answer == problem.answer:
            return f"right: {said.author}\n"
    if own is not None and own.answer == problem.answer:
        return "right: mine\n"
    return f"right: none\n{problem.work}\n"


def _board(rng: random.Random, problem: Problem) -> tuple[Note, ...]:
    """One to four notes: as sampled, only wrong ones, or some of both."""
    right = [s for s in problem.said if s.answer == problem.answer]
    wrong = [s for s in problem.said if s.answer not in ("", problem.answer)]
    true = Said(problem.answer, last_fact(problem.work))
    count = rng.choice((1, 2, 3, 3, 3, 4))
    form = rng.random()
    if form < 0.3:
        chosen = [rng.choice(problem.said) for _ in range(count)]
    else:
        # Which of the notes are wrong: all, one, or each by chance.
        bad = (
            count
            if form < 0.65
            else 1
            if form < 0.85
            else sum(rng.random() < 0.5 for _ in range(count))
        )
        chosen = [
            rng.choice(wrong) if wrong and rng.random() < 0.7 else _slip(rng, problem)
            for _ in range(bad)
        ]
        chosen += [rng.choice(right) if right else true for _ in range(count - bad)]
        rng.shuffle(chosen)
    names = rng.sample(NAMES, count)
    notes = []
    for name, said in zip(names, chosen, strict=True):
        sure = min(max(problem.rate + rng.gauss(0, 0.15), 0.1), 0.9)
        confidence = round(sure, 1) if rng.random() < 0.9 else None
        facts = (said.fact,) if said.fact and rng.random() < 0.9 else ()
        notes.append(Note(name, said.answer or None, confidence, facts))
    return tuple(notes)


_SIGNS: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b if b else 0.0,
}


def _slip(rng: random.Random, problem: Problem) -> Said:
    """A wrong note: the last calculation with another sign, or with a number of the question."""
    found = _CALCULATION.match(last_fact(problem.work))
    others: Sequence[str] = re.findall(r"\d+(?:\.\d+)?", problem.question) or ["2"]
    for _ in range(8):
        if found is None:
            break
        left, sign, right = found[1], found[2], found[3]
        if rng.random() < 0.5:
            sign = rng.choice([s for s in _SIGNS if s != sign])
        else:
            right = rng.choice(others)
        value = _SIGNS[sign](float(left), float(right))
        text = f"{value:.0f}"
        if 0 < value == int(value) < 50_000 and text != problem.answer:
            return Said(text, f"{left}{sign}{right} is {text}")
    task = Task(problem.question)
    wrong = [n for n in (*others, "1", "2") if not equal(n, problem.answer, task)]
    return Said(rng.choice(wrong), "")
