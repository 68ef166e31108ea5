"""Calibration, matched baselines and progress on their own."""

from __future__ import annotations

import io
from typing import Any

import pytest

from hyperagent.bench import baselines, calibrate
from hyperagent.bench.progress import LiveLine, PlainLines, Silent, State, make_progress
from hyperagent.bench.tally import Tally
from hyperagent.hypergraph import build_anchor, parse_anchor
from hyperagent.llm import FunctionBackend, LedgerRow
from hyperagent.tasks import Task
from hyperagent.team import Agent, Team

TASKS = tuple(Task(f"What is {i} + 1?", answer=str(i + 1)) for i in range(4))


def sample(row: str, correct: bool, tokens: int = 10, status: str = "ok") -> dict[str, Any]:
    return {"row": row, "correct": correct, "status": status, "prompt_tokens": tokens,
            "completion_tokens": 0, "price": None}  # fmt: skip


def numbered(samples: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {str(i): s for i, s in enumerate(samples)}


def test_reliability_is_the_posterior_mean_under_a_uniform_prior(team: Team) -> None:
    samples = numbered(
        [sample("@agent good", True)] * 8
        + [sample("@agent good", False)] * 2
        + [sample("@agent fair", True)] * 3
        + [sample("@agent fair", False, status="error")] * 5
    )
    found = calibrate.reliabilities(team, samples)
    assert found == {
        "weak": 0.5, "fair": pytest.approx(4 / 5), "good": pytest.approx(9 / 12)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ({None: (3, 100), 0.7: (2, 20), 0.9: (3, 40), 0.99: (3, 60)}, 0.9),
        ({None: (3, 100), 0.7: (4, 30), 0.9: (3, 20)}, 0.9),
        ({None: (3, 100), 0.7: (3, 100), 0.9: (3, 100)}, None),
        ({None: (4, 100), 0.7: (2, 20), 0.9: (3, 40)}, None),
    ],
)
def test_the_cheapest_threshold_that_loses_nothing_is_chosen(
    accuracies: dict[float | None, tuple[int, int]], expected: float | None
) -> None:
    # A threshold that is not listed loses everything.
    table = dict.fromkeys(calibrate.THRESHOLDS, (0, 1)) | accuracies
    samples = numbered(
        [
            sample(f"@anytime {threshold}", i < right, tokens)
            for threshold, (right, tokens) in table.items()
            for i in range(4)
        ]
    )
    assert calibrate.choose_threshold(samples) == expected


def test_the_tally_separates_made_calls_from_replays() -> None:
    tally = Tally()
    tally.add("group|0|t", LedgerRow(agent="ann", prompt_tokens=30, completion_tokens=10))
    tally.add("star|0|t", LedgerRow(agent="ann", prompt_tokens=30, completion_tokens=10,
                                    from_cache=True))  # fmt: skip
    tally.add("group|0|t", LedgerRow(agent="bob", error="CallTimeout"))
    tally.add("@agent ann|0|t", LedgerRow(agent="ann", prompt_tokens=900, completion_tokens=0))
    assert (tally.calls, tally.tokens, tally.unknown) == (3, 940, 1)
    assert tally.charged == 940 + 900
    assert tally.speech == {"ann": (80, 2)}


@pytest.mark.parametrize("tokens", [1.0, 100.0, 101.0, 730.0])
def test_matched_self_consistency_takes_as_few_samples_as_reach_the_tokens(
    team: Team, tokens: float
) -> None:
    speech = {"weak": 100.0, "fair": 50.0, "good": 80.0}
    spec, remark = baselines.matched_topology(
        "self_consistency-matched", team, TASKS, tokens, speech
    )
    k = parse_anchor(spec)[1]["k"]
    assert k * 100 >= tokens > (k - 1) * 100
    assert remark == ""


def test_a_replay_has_only_so_many_samples() -> None:
    backend = FunctionBackend(lambda request: "1")
    backend.samples = lambda task: 3
    team = Team([Agent("ann", tools=(), backend=backend)])
    spec, remark = baselines.matched_topology(
        "self_consistency-matched", team, TASKS, 1000.0, {"ann": 100.0}
    )
    assert spec == "self_consistency:k=3"
    assert remark == "10 samples would match, 3 are on record"


@pytest.mark.parametrize("tokens", [50.0, 400.0, 700.0])
def test_matched_random_groups_reach_the_tokens_on_average(tokens: float) -> None:
    names = [f"a{i}" for i in range(8)]
    team = Team([Agent(n, tools=(), backend=FunctionBackend(lambda r: "1")) for n in names])
    spec, remark = baselines.matched_topology(
        "random-matched", team, TASKS, tokens, dict.fromkeys(names, 100.0)
    )
    assert remark == ""
    drawn = [build_anchor(spec, names, seed=seed) for seed in range(400)]
    mean = sum(100 * len(graph.seated()) for graph in drawn) / len(drawn)
    assert mean >= 0.95 * tokens


def test_random_groups_that_cannot_reach_the_tokens_say_so(team: Team) -> None:
    _, remark = baselines.matched_topology(
        "random-matched", team, TASKS, 1e6, dict.fromkeys(team.agents, 10.0)
    )
    assert "less than the first row" in remark


def test_a_state_line_tells_everything() -> None:
    state = State("rows", 10)
    state.count(sample("a", True, 1000) | {"price": 0.5})
    state.begin()
    state.count(sample("a", False, 500) | {"price": 0.25})
    state.count(sample("a", False, 0, "error") | {"price": 0.0})
    state.retries = 2
    line = state.line()
    for part in ("rows: 3/10", "right 50.0%", "1,500 tokens", "price 0.7500", "errors 1",
                 "retries 2", "to go"):  # fmt: skip
        assert part in line
    assert "waits" not in line


def test_an_unknown_price_is_not_shown_as_a_sum() -> None:
    state = State("rows", 2)
    state.count(sample("a", True) | {"price": 0.5})
    state.count(sample("a", True))
    assert state.price is None
    assert "price" not in state.line()


def test_plain_lines_keep_their_pause_but_always_end() -> None:
    stream = io.StringIO()
    progress = PlainLines(stream, seconds=60)
    state = State("rows [a]", 3)
    for _ in range(3):
        progress.show(state)
    progress.show(state, last=True)
    assert stream.getvalue() == "rows [a]: 0/3, 0 tokens\n" * 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_live_line_and_keeps_the_last_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    progress = make_progress(stream=stream)
    assert isinstance(progress, LiveLine)
    state = State("rows [a]", 3)
    progress.show(state)
    state.count(sample("a", True))
    progress.show(state, last=True)
    progress.close()
    assert "rows [a]: 1/3, right 100.0%" in stream.getvalue()


def test_the_progress_fits_the_stream() -> None:
    assert isinstance(make_progress(stream=io.StringIO()), PlainLines)
    assert isinstance(make_progress(quiet=True, stream=Terminal()), Silent)
