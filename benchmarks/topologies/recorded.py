"""Study (a): a learned anytime policy against every hand-made rule, on recorded GSM8K replies.

    HYPERAGENT_DATA=... python benchmarks/topologies/recorded.py

writes recorded.json, recorded.md and recorded.svg beside this file. Nothing is sent anywhere.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from recorded_rows import FOLDS, GOAL_NAMES, Row, Study, everybody, run_team, until_two_agree

from hyperagent.bench.statistics import Interval, bootstrap_mean, compare, wilson
from hyperagent.llm import Prices, RecordedBackend
from hyperagent.tasks import load
from hyperagent.topology.rehearsal import PRICES
from hyperagent.topology.replies import OBJECTIVES, Objective, Replies, recorded_replies

HERE = Path(__file__).resolve().parent
LLAMA, RE2 = "mack_Llama-3.{}-Instruct_{}", "re2_gpt-{}"
RUNS: dict[str, str | tuple[str, int]] = {
    "Llama-3.2-3B": LLAMA.format("2-3B", "few-shot"),
    "Llama-3.1-8B": LLAMA.format("1-8B", "few-shot"),
    "Llama-3.2-3B, zero-shot": LLAMA.format("2-3B", "zero-shot"),
    "Llama-3.1-8B, zero-shot": LLAMA.format("1-8B", "zero-shot"),
    "Qwen2.5-7B": "mack_Qwen2.5-7B-Instruct_few-shot",
    "gpt-4o-mini": RE2.format("4o-mini-2024-07-18_base_vanilla"),
    "gpt-3.5-turbo": RE2.format("3.5-turbo_re2_vanilla"),
    "gpt-4": "mot_gpt-4_greedy_cot1",
    **{f"gpt-4, sample {k}": ("mot_gpt-4_cot1", k) for k in range(3)},
}
SAMPLES = [name for name in RUNS if "sample" in name]
OPEN = ["Llama-3.2-3B", "Llama-3.1-8B", "Qwen2.5-7B"]
TEAMS = {
    "three": ["Llama-3.1-8B", "Qwen2.5-7B", "gpt-4o-mini"],
    "four": [*OPEN, "gpt-4o-mini"],
    "zero-shot": ["Llama-3.2-3B, zero-shot", "Llama-3.1-8B, zero-shot", "gpt-4o-mini"],
    "six": [*OPEN, "gpt-4o-mini", "gpt-3.5-turbo", "gpt-4"],
}
EXAMPLES = 1000
"""Prompt tokens of eight worked GSM8K examples, about; the few-shot runs had some."""
MATCH, BUDGET = (f"learned, {GOAL_NAMES[goal]}" for goal in ("match", "budget"))
HAND = f"cascade, {GOAL_NAMES['match']}"
ROUNDS = 1000


def reprice(replies: Replies, prices: Prices, extra: int = 0) -> Replies:
    """The same replies at other prices, and with `extra` prompt tokens for few-shot runs."""
    prompt, dollars = replies.prompt_tokens.copy(), replies.dollars.copy()
    for j, agent in enumerate(replies.agents):
        run = RUNS[agent]
        name = RecordedBackend(run if isinstance(run, str) else run[0]).model
        rate = prices.find(name)
        assert rate is not None, name
        prompt[:, j] += extra * ("few-shot" in run)
        paid = prompt[:, j] * rate.prompt + replies.completion_tokens[:, j] * rate.completion
        dollars[:, j] = paid / 1e6
    return replace(replies, prompt_tokens=prompt, dollars=dollars)


def plain(interval: Interval) -> list[float]:
    return [round(float(x), 6) for x in (interval.value, interval.low, interval.high)]


def envelope(accuracy: np.ndarray, cost: np.ndarray, goal: float) -> float:
    """Least cost of reaching `goal` with one rule or a coin between two; infinite if none does."""
    low, high = accuracy <= goal, accuracy >= goal
    if not high.any():
        return float("inf")
    best = float(cost[high].min())
    a, b = np.meshgrid(np.flatnonzero(low), np.flatnonzero(high), indexing="ij")
    gap = accuracy[b] - accuracy[a]
    share = np.divide(goal - accuracy[a], gap, out=np.ones_like(gap), where=gap > 0)
    mixed = (1 - share) * cost[a] + share * cost[b]
    return min(best, float(mixed.min(initial=np.inf)))


def rules_of(study: Study) -> list[Row]:
    """Everything that is not the learned policy: rows and fronts."""
    rows = [row for name, row in study.rows.items() if not name.startswith("learned")]
    return rows + study.fronts["cascade"] + study.fronts["router"]


def headline(study: Study) -> dict[str, Any]:
    """The three bars of the study, each with a bootstrap interval over questions."""
    objective = study.objective
    best, match = study.rows[f"single: {study.best}"], study.rows[MATCH]
    budget = study.rows[BUDGET]
    rules, front = rules_of(study), study.fronts["learned"]
    sets = {"front": front, "rules": rules}
    right = {name: np.array([r.right for r in rows]) for name, rows in sets.items()}
    cost = {name: np.array([r.cost(objective) for r in rows]) for name, rows in sets.items()}
    n = len(best.right)
    # Only as much accuracy as the best single model has counts: a rule need not reach what the
    # policy has above it by luck.
    goal_reached = min(match.right.mean(), best.right.mean()) - 1e-12
    _, name = min(
        (row.cost(objective).mean(), name)
        for name, row in study.rows.items()
        if not name.startswith("learned") and row.right.mean() >= goal_reached
    )
    chosen = study.rows[name]

    def measure(weight: np.ndarray) -> list[float]:
        mean = weight / weight.sum()
        price, goal = best.cost(objective) @ mean, best.right @ mean
        ours, reached = match.cost(objective) @ mean, match.right @ mean
        rule = envelope(right["rules"] @ mean, cost["rules"] @ mean, min(reached, goal))
        at_goal = [envelope(right[k] @ mean, cost[k] @ mean, goal) / price for k in sets]
        return [
            ours / price, reached - goal, budget.right @ mean - goal,
            budget.cost(objective) @ mean / price, 1 - ours / rule,
            1 - ours / (chosen.cost(objective) @ mean),
            *at_goal,
        ]  # fmt: skip

    point = measure(np.ones(n))
    rng = np.random.default_rng(0)
    drawn = np.array([measure(rng.multinomial(n, np.full(n, 1 / n))) for _ in range(ROUNDS)])
    drawn[~np.isfinite(drawn)] = np.nan
    low, high = np.nanquantile(drawn, (0.025, 0.975), axis=0)
    labels = (
        "match_cost_share", "match_accuracy_gain", "budget_accuracy_gain", "budget_cost_share",
        "saving_against_best_front", "saving_against_cheapest_rule",
        "front_cost_share_at_best_accuracy", "rules_cost_share_at_best_accuracy",
    )  # fmt: skip
    found: dict[str, Any] = {
        label: [None if not np.isfinite(x) else round(float(x), 4) for x in values]
        for label, *values in zip(labels, point, low, high, strict=True)
    }
    found["cheapest_rule"] = name
    saved = (best.cost(objective) - match.cost(objective)).mean()
    paid = sum(r.cost(objective).mean() for k, r in study.rows.items() if k.startswith("single: "))
    learned_from = n * (FOLDS - 1) / FOLDS
    found["break_even_questions"] = int(np.ceil(learned_from * paid / saved)) if saved > 0 else None
    return found


def report(study: Study) -> dict[str, Any]:
    best = study.rows[f"single: {study.best}"]
    unit = float(best.cost(study.objective).mean())

    def share(row: Row) -> float:
        return float(row.cost(study.objective).mean()) / unit

    rows = []
    for name, row in study.rows.items():
        entry: dict[str, Any] = {
            "name": name,
            "accuracy": plain(wilson(float(row.right.sum()), len(row.right))),
            "dollars_per_1000": plain(bootstrap_mean(row.dollars * 1000)),
            "tokens": plain(bootstrap_mean(row.tokens)),
            "calls": round(float(row.calls.mean()), 3),
            "share": round(share(row), 4),
        }
        for label, other in (("best_single", best), ("cascade", study.rows[HAND])):
            compared = compare(
                dict(enumerate(row.right.tolist())), dict(enumerate(other.right.tolist()))
            )
            entry[f"against_{label}"] = {
                "difference": plain(compared.difference), "better": compared.better,
                "worse": compared.worse, "p": round(compared.p, 5),
            }  # fmt: skip
        rows.append(entry)
    value = {"real": study.rows[MATCH]}
    value |= {f"shuffled {k}": row for k, row in enumerate(study.shuffled)}
    price = float(np.mean([note["price"] for note in study.notes if note["goal"] == "match"]))
    control = {
        name: {"accuracy": round(float(r.right.mean()), 4), "share": round(share(r), 4),
               "value": round(float(r.right.mean()) - price * share(r), 4)}
        for name, r in value.items()
    }  # fmt: skip
    fronts = {
        name: [[round(float(row.right.mean()), 5), round(share(row), 5)] for row in front]
        for name, front in study.fronts.items()
    }
    assert study.bound is not None
    team, bound = study.bound
    ratio = bootstrap_ratio(bound.cost(study.objective), best.cost(study.objective))
    perfect = {"agents": team, "accuracy": round(float(bound.right.mean()), 4), "share": ratio}
    return {
        "perfect_judge": perfect,
        "objective": study.objective, "questions": len(best.right), "best_single": study.best,
        "headline": headline(study), "rows": rows, "prices": PRICES, "fronts": fronts,
        "shuffled_control": control, "folds": study.notes,
    }  # fmt: skip


def bootstrap_ratio(top: np.ndarray, bottom: np.ndarray) -> list[float]:
    """Ratio of means with its bootstrap interval over questions."""
    n, rng = len(top), np.random.default_rng(0)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=ROUNDS)
    drawn = (weights @ top) / (weights @ bottom)
    found = (top.mean() / bottom.mean(), *np.quantile(drawn, (0.025, 0.975)))
    return [round(float(x), 4) for x in found]


def self_consistency(replies: Replies) -> list[dict[str, Any]]:
    """The only run with samples of every question: gpt-4, three of them."""
    seated = replies.seat(SAMPLES)
    found = []
    for name, outcome in (
        ("one sample", everybody(seated.seat(SAMPLES[:1]))),
        ("three samples, plurality", everybody(seated)),
        ("until two agree, at most three", until_two_agree(seated, np.arange(3))),
    ):
        found.append(
            {"name": name, "accuracy": plain(wilson(float(outcome.correct.sum()), len(seated))),
             "dollars_per_1000": plain(bootstrap_mean(outcome.dollars * 1000)),
             "tokens": plain(bootstrap_mean(outcome.tokens))}
        )  # fmt: skip
    return found


def main() -> None:
    from recorded_report import draw, to_markdown

    began = time.monotonic()
    prices = Prices.load(HERE.parents[1] / "configs" / "prices.yaml")
    second = Prices.load(HERE / "second_prices.yaml")
    replies = recorded_replies(load("gsm8k"), RUNS, prices)
    read = time.monotonic() - began
    studies: dict[str, Any] = {}
    for team, agents in TEAMS.items():
        seated = replies.seat(agents)
        for objective in OBJECTIVES:
            studies[f"{team}, {objective}"] = report(run_team(seated, objective))
    variants: dict[str, tuple[Replies, Objective]] = {
        "four, second price list": (reprice(replies.seat(TEAMS["four"]), second), "dollars"),
        "four, examples counted": (
            reprice(replies.seat(TEAMS["four"]), prices, EXAMPLES), "dollars",
        ),
    }  # fmt: skip
    for name, (seated, objective) in variants.items():
        studies[name] = report(run_team(seated, objective))
    results = {
        "set": "GSM8K replies",
        "questions": len(replies),
        "teams": TEAMS,
        "self_consistency": self_consistency(replies),
        "studies": studies,
    }
    (HERE / "recorded.json").write_text(json.dumps(results, indent=1) + "\n")
    (HERE / "recorded.md").write_text(to_markdown(results))
    draw(results, HERE / "recorded.svg")
    print(to_markdown(results))
    took = time.monotonic() - began
    print(f"reading {read:.0f} s, all {took:.0f} s, CPU {time.process_time():.0f} s")


if __name__ == "__main__":
    main()
