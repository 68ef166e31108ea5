"""Study (a): every rule and policy on the test folds of one team, question by question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import permutations

import numpy as np

from hyperagent.topology.anytime import Beliefs
from hyperagent.topology.cascade import search_cascades
from hyperagent.topology.rehearsal import PRICES, Goal, choose_policy, find_cascade, rehearse
from hyperagent.topology.replies import NO_ANSWER, Objective, Played, Replies

FOLDS = 5
SHUFFLES = 5
GOALS: tuple[Goal, ...] = ("match", "budget")
GOAL_NAMES = {"match": "accuracy of the best single", "budget": "price of the best single"}


@dataclass
class Row:
    """One method on every question, filled in fold by fold."""

    right: np.ndarray
    dollars: np.ndarray
    tokens: np.ndarray
    calls: np.ndarray

    @classmethod
    def empty(cls, n: int) -> Row:
        return cls(*np.zeros((4, n)))

    def put(self, rows: np.ndarray, outcome: Played) -> None:
        self.right[rows] = outcome.correct
        self.dollars[rows], self.tokens[rows] = outcome.dollars, outcome.tokens
        self.calls[rows] = outcome.asked.sum(axis=1)

    def cost(self, objective: Objective) -> np.ndarray:
        return self.dollars if objective == "dollars" else self.tokens


@dataclass
class Study:
    """All methods on one team for one objective."""

    objective: Objective
    best: str
    rows: dict[str, Row] = field(default_factory=dict)
    fronts: dict[str, list[Row]] = field(default_factory=dict)
    shuffled: list[Row] = field(default_factory=list)
    notes: list[dict] = field(default_factory=list)
    bound: tuple[tuple[str, ...], Row] | None = None


def plurality(replies: Replies, members: np.ndarray) -> np.ndarray:
    """Agent whose answer most of `members` (shape (n, N), bool) gave; the first one in a tie."""
    answers = np.where(members, replies.answers, NO_ANSWER)
    same = (answers[:, :, None] == answers[:, None, :]) & (answers != NO_ANSWER)[:, :, None]
    return same.sum(axis=2).argmax(axis=1)


def everybody(replies: Replies) -> Played:
    asked = np.ones(replies.answers.shape, dtype=bool)
    return Played.of(replies, plurality(replies, asked), asked)


def until_two_agree(replies: Replies, order: np.ndarray) -> Played:
    """Ask in `order` until two gave the same answer (adaptive consistency with a window of two)."""
    asked = np.zeros(replies.answers.shape, dtype=bool)
    open_ = np.ones(len(replies), dtype=bool)
    for position, j in enumerate(order):
        asked[open_, j] = True
        before = replies.answers[:, order[:position]]
        mine = replies.answers[:, j]
        open_ &= ~((before == mine[:, None]).any(axis=1) & (mine != NO_ANSWER))
    return Played.of(replies, plurality(replies, asked), asked)


def judged_perfectly(replies: Replies, objective: Objective) -> tuple[tuple[str, ...], Played]:
    """What a judge could do at best that sees of every reply whether it is right.

    Of all orders of all teams, asked until a reply is right: the cheapest that is right as often as
    the best single agent. It is no policy, but a bound for all that read replies and judge them.
    """
    best = int(replies.correct.sum(axis=0).argmax())
    found: list[tuple[float, tuple[int, ...], Played]] = []
    for size in range(1, len(replies.agents) + 1):
        for order in permutations(range(len(replies.agents)), size):
            asked = np.zeros(replies.answers.shape, dtype=bool)
            wrong, leader = np.ones(len(replies), dtype=bool), np.full(len(replies), order[0])
            for j in order:
                asked[wrong, j], leader[wrong] = True, j
                wrong &= ~replies.correct[:, j]
            played = Played.of(replies, leader, asked)
            if played.correct.sum() >= replies.correct[:, best].sum():
                cost = float((replies.costs(objective) * asked).sum())
                found.append((cost, order, played))
    _, order, played = min(found, key=lambda entry: entry[:2])
    return tuple(replies.agents[j] for j in order), played


def route(replies: Replies, chance: np.ndarray, cost: np.ndarray, price: float) -> Played:
    """Ask only the agent with the largest P(right | question) − price · mean cost."""
    chosen = (chance - price * cost).argmax(axis=1)
    asked = np.arange(len(cost)) == chosen[:, None]
    return Played.of(replies, chosen, asked)


def run_team(
    replies: Replies, objective: Objective, rules: Mapping[str, Played] | None = None
) -> Study:
    """Learn on four folds, choose there, test on the fifth; each fold is the test once.

    `rules` are further hand-made rules by name, as they went on all questions.
    """
    n, folds = len(replies), replies.folds(FOLDS)
    study = Study(objective, replies.agents[int(replies.correct.sum(axis=0).argmax())])
    order = np.argsort(replies.costs(objective).mean(axis=0), kind="stable")
    for agent in (replies.agents[j] for j in order):
        row = study.rows.setdefault(f"single: {agent}", Row.empty(n))
        one = replies.seat([agent])
        row.put(np.arange(n), Played.of(one, np.zeros(n, int), np.ones((n, 1), bool)))
    study.rows["plurality of all"] = Row.empty(n)
    study.rows["plurality of all"].put(np.arange(n), everybody(replies))
    study.rows["by price until two agree"] = Row.empty(n)
    study.rows["by price until two agree"].put(np.arange(n), until_two_agree(replies, order))
    team, played = judged_perfectly(replies, objective)
    study.bound = team, Row.empty(n)
    study.bound[1].put(np.arange(n), played)
    for name, played in (rules or {}).items():
        study.rows[name] = Row.empty(n)
        study.rows[name].put(np.arange(n), played)
    for fold in range(FOLDS):
        for name, rows, outcome in _fold(study, replies, folds == fold):
            study.rows.setdefault(name, Row.empty(n)).put(rows, outcome)
    return study


def _fold(
    study: Study, replies: Replies, test: np.ndarray
) -> Iterator[tuple[str, np.ndarray, Played]]:
    objective = study.objective
    learn, held, at = replies.take(~test), replies.take(test), np.flatnonzero(test)
    best = int(learn.correct.sum(axis=0).argmax())
    yield "best single, chosen", at, _single(held, best)
    rehearsal = rehearse(learn, objective)
    beliefs, found = Beliefs.learn(learn), search_cascades(learn, objective)
    states = beliefs.states_of(held)
    cost = learn.costs(objective).mean(axis=0)
    unit = cost[best]
    # Cross-fitted on the learning questions, so that the router's price can be chosen there.
    own = 1 / (1 + np.exp(-beliefs.states[0].looks[:, 1:]))
    chance = beliefs.question_probabilities(held)
    price = _router_price(learn, own, cost / unit, best)
    yield "router", at, route(held, chance, cost / unit, price)
    for kind in ("learned", "cascade", "router"):
        study.fronts.setdefault(kind, [Row.empty(len(replies)) for _ in PRICES])
    for k, policy in enumerate(beliefs.policies(PRICES, objective)):
        study.fronts["learned"][k].put(at, policy.run(held, states))
        study.fronts["cascade"][k].put(at, found.best(PRICES[k] / unit).run(held))
        study.fronts["router"][k].put(at, route(held, chance, cost / unit, PRICES[k]))
    for goal in GOALS:
        choice = choose_policy(learn, goal, objective, rehearsal=rehearsal)
        yield (
            f"cascade, {GOAL_NAMES[goal]}",
            at,
            find_cascade(found, learn, goal, objective).run(held),
        )
        yield f"learned, {GOAL_NAMES[goal]}", at, choice.learned.run(held)
        yield f"learned with guard, {GOAL_NAMES[goal]}", at, choice.run(held)
        study.notes.append(
            {"goal": goal, "price": choice.learned.price, "shipped": choice.name,
             "gain": choice.gain, "low": choice.low}
        )  # fmt: skip
        if goal == "match":
            for seed in range(SHUFFLES):
                if len(study.shuffled) <= seed:
                    study.shuffled.append(Row.empty(len(replies)))
                study.shuffled[seed].put(at, choice.learned.run(shuffle(held, seed)))


def shuffle(replies: Replies, seed: int) -> Replies:
    """Give each question the features, of question and replies, of another question."""
    order = np.random.default_rng(seed).permutation(len(replies))
    return replace(
        replies,
        question_features=replies.question_features[order],
        reply_features=replies.reply_features[order],
        kinds=replies.kinds[order],
    )


def _single(replies: Replies, agent: int) -> Played:
    asked = np.zeros(replies.answers.shape, dtype=bool)
    asked[:, agent] = True
    return Played.of(replies, np.full(len(replies), agent), asked)


def _router_price(replies: Replies, chance: np.ndarray, cost: np.ndarray, best: int) -> float:
    goal = replies.correct[:, best].mean()
    for price in reversed(PRICES):
        if route(replies, chance, cost, price).correct.mean() >= goal - 1e-12:
            return price
    return PRICES[0]
