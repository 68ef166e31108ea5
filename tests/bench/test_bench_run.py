"""Whole runs: rows, resume, failures, budget, calibration, matched baselines."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest
from conftest_bench import SUMS, right_answer, skilled, three_agents, write_sums

from hyperagent.bench import BenchConfig, Summary, run_bench, to_markdown
from hyperagent.bench.files import read_lines
from hyperagent.bench.progress import PlainLines
from hyperagent.bench.run import SAMPLED
from hyperagent.errors import (
    AuthenticationFailed,
    BadReply,
    ConfigError,
    ResumeRefused,
    TooManyFailures,
    UnknownNameError,
)
from hyperagent.hypergraph import Hypergraph
from hyperagent.llm import ChatReply, ChatRequest, FunctionBackend, ModelPrice, Prices
from hyperagent.llm.retry import RetryPolicy
from hyperagent.llm.types import Usage
from hyperagent.tasks import load as load_tasks
from hyperagent.tasks import split_by_hash
from hyperagent.team import Agent, Routing, Sampling, Team
from hyperagent.topology import VaeDesigner

ONCE = RetryPolicy(attempts=1)


def config(**changes: Any) -> BenchConfig:
    return BenchConfig(
        **({"task": "gsm8k", "topologies": ("group",), "baselines": False} | changes)
    )


def one_agent(function: Any, **options: Any) -> Team:
    return Team([Agent("ann", tools=(), backend=FunctionBackend(function))], "single", **options)


def answers(path: Path) -> dict[str, tuple[Any, ...]]:
    """What a run answered, by item; the last record counts."""
    return {
        s["item"]: (s["status"], s["answer"], s["correct"], s["topology"], s["prompt_tokens"],
                    s["completion_tokens"], s["calls"], json.dumps(s["notes"]))
        for s in read_lines(path / "samples.jsonl")
    }  # fmt: skip


FULL = config(topologies=("windows", "single"), baselines=True, seeds=2, limit=12)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Summary, Path, Team, Path]:
    """A whole run with all baselines: its summary, folder, team and data."""
    folder = tmp_path_factory.mktemp("finished")
    team, data = three_agents(), write_sums(folder / "data", SUMS)
    return run_bench(FULL, out=folder / "run", team=team, data_dir=data), folder / "run", team, data


def test_every_row_answers_every_question_with_every_seed(
    finished: tuple[Summary, Path, Team, Path],
) -> None:
    summary, path, *_ = finished
    assert {row.samples for row in summary.rows} == {24}
    assert {row.questions for row in summary.rows} == {12}
    assert summary.failed == 0
    for sample in read_lines(path / "samples.jsonl"):
        file = path / "topologies" / f"{sample['topology']}.hif.json"
        assert Hypergraph.from_hif(json.loads(file.read_text())).digest() == sample["topology"]
    for name in ("config.json", "meta.json", "summary.json", "decisions.json"):
        assert json.loads((path / name).read_text())


def test_rows_differ_in_topology_alone(finished: tuple[Summary, Path, Team, Path]) -> None:
    """Common random numbers: what an agent says first does not depend on the row."""
    said: dict[tuple[Any, ...], set[Any]] = {}
    for sample in read_lines(finished[1] / "samples.jsonl"):
        for note in sample["notes"]:
            if note["round"] == 0 and note["phase"] == 0:
                key = sample["task"], sample["seed"], note["author"]
                said.setdefault(key, set()).add(note["answer"])
    assert len(said) > 24
    assert all(len(found) == 1 for found in said.values())


def test_the_ledger_adds_up(finished: tuple[Summary, Path, Team, Path]) -> None:
    summary, path, *_ = finished
    samples = {s["item"]: s for s in read_lines(path / "samples.jsonl")}
    by_item: dict[str, int] = dict.fromkeys(samples, 0)
    calls = read_lines(path / "calls.jsonl")
    for call in calls:
        by_item[call["item"]] += call["prompt_tokens"] + call["completion_tokens"]
    for item, sample in samples.items():
        assert by_item[item] == sample["prompt_tokens"] + sample["completion_tokens"]
    made = [c for c in calls if not c["from_cache"]]
    assert summary.made_calls == len(made)
    assert summary.made_tokens == sum(c["prompt_tokens"] + c["completion_tokens"] for c in made)
    # Rows share their first calls, so fewer were made than the rows add up to.
    as_if_paid = sum(row.tokens * row.samples for row in summary.rows)
    assert summary.made_tokens < as_if_paid == pytest.approx(sum(by_item.values()))


def test_matched_rows_get_at_least_the_tokens_of_the_first(
    finished: tuple[Summary, Path, Team, Path],
) -> None:
    summary = finished[0]
    first = summary.rows[0]
    consistency = summary.row("self_consistency-matched")
    assert consistency.tokens >= first.tokens * 0.999
    assert consistency.topology.startswith("self_consistency:k=")
    assert summary.row("random-matched").tokens >= 0.5 * first.tokens


def test_a_finished_run_resumes_to_the_same_summary_without_a_call(
    finished: tuple[Summary, Path, Team, Path],
) -> None:
    summary, path, team, data = finished
    before = {n: (path / n).read_bytes() for n in ("samples.jsonl", "calls.jsonl")}
    again = run_bench(FULL, out=path, resume=True, team=team, data_dir=data)
    assert again == summary
    assert before == {n: (path / n).read_bytes() for n in before}


def test_answers_do_not_depend_on_concurrency(team: Team, data_dir: Path, tmp_path: Path) -> None:
    for number in (1, 64):
        run_bench(
            config(topologies=("group", "chain"), concurrency=number),
            out=tmp_path / str(number), team=team, data_dir=data_dir,
        )  # fmt: skip
    assert answers(tmp_path / "1") == answers(tmp_path / "64")


def test_other_weights_under_the_same_name_refuse_to_resume(
    team: Team, data_dir: Path, tmp_path: Path
) -> None:
    out, weights = tmp_path / "run", tmp_path / "vae"
    asked = config(limit=2, topologies=(f"vae:weights={weights}",))
    VaeDesigner(init=1).save(weights)
    first = run_bench(asked, out=out, team=team, data_dir=data_dir)
    VaeDesigner(init=1).save(weights)
    assert run_bench(asked, out=out, resume=True, team=team, data_dir=data_dir) == first
    VaeDesigner(init=2).save(weights)
    with pytest.raises(ResumeRefused, match="weights"):
        run_bench(asked, out=out, resume=True, team=team, data_dir=data_dir)


def test_changed_settings_team_or_data_refuse_to_resume(
    team: Team, data_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run_bench(config(limit=2), out=out, team=team, data_dir=data_dir)
    with pytest.raises(ResumeRefused, match="limit was 2 and is now 3"):
        run_bench(config(limit=3), out=out, resume=True, team=team, data_dir=data_dir)
    with pytest.raises(ResumeRefused, match=r"routing\.vote"):
        run_bench(
            config(limit=2), out=out, resume=True, team=team.with_routing(vote="plurality"),
            data_dir=data_dir,
        )  # fmt: skip
    other = write_sums(tmp_path / "other", SUMS - 1)
    with pytest.raises(ResumeRefused, match=r"data\.sha256"):
        run_bench(config(limit=2), out=out, resume=True, team=team, data_dir=other)


def test_failed_samples_are_counted_and_retried_on_resume(data_dir: Path, tmp_path: Path) -> None:
    broken = True

    def moody(request: ChatRequest) -> str:
        value = right_answer(request.messages[-1].content)
        if broken and value % 3 == 0:
            raise BadReply("half a reply")
        return f"The answer is {value}."

    team = one_agent(moody, retry=ONCE)
    settings = config(topologies=("single",), concurrency=1)
    summary = run_bench(settings, out=tmp_path / "r", team=team, data_dir=data_dir)
    row = summary.rows[0]
    assert row.errors > 5
    assert row.errors + row.samples == SUMS
    assert row.accuracy.value == 1.0
    assert summary.failed == row.errors
    assert "half a reply" in json.dumps(read_lines(tmp_path / "r" / "samples.jsonl"))
    broken = False
    again = run_bench(settings, out=tmp_path / "r", resume=True, team=team, data_dir=data_dir)
    assert (again.rows[0].errors, again.rows[0].samples) == (0, SUMS)
    assert again.made_calls == SUMS + row.errors


def test_a_crash_in_a_backend_is_one_failed_sample(data_dir: Path, tmp_path: Path) -> None:
    def crashing(request: ChatRequest) -> str:
        value = right_answer(request.messages[-1].content)
        return f"The answer is {1 // (value // 10 % 2) * value}."

    team = one_agent(crashing, retry=ONCE)
    settings = config(topologies=("single",), concurrency=1)
    row = run_bench(settings, out=tmp_path / "r", team=team, data_dir=data_dir).rows[0]
    assert (row.errors, row.samples) == (SUMS // 2, SUMS // 2)


def test_no_answer_is_unparsed_and_wrong_but_no_error(data_dir: Path, tmp_path: Path) -> None:
    team = one_agent(lambda request: "I do not know.")
    row = run_bench(
        config(topologies=("single",)), out=tmp_path, team=team, data_dir=data_dir
    ).rows[0]
    assert (row.errors, row.unparsed, row.accuracy.value) == (0, SUMS, 0.0)


def test_five_failures_at_the_start_stop_the_run(data_dir: Path, tmp_path: Path) -> None:
    def bad(request: ChatRequest) -> str:
        raise BadReply("always broken")

    backend = FunctionBackend(bad)
    team = Team([Agent("ann", tools=(), backend=backend)], "single", retry=ONCE)
    settings = config(topologies=("single",), concurrency=1)
    with pytest.raises(TooManyFailures, match=r"first 5 samples all failed.*always broken"):
        run_bench(settings, out=tmp_path, team=team, data_dir=data_dir)
    assert backend.calls == 5


def test_too_large_a_share_of_failures_stops_the_run(data_dir: Path, tmp_path: Path) -> None:
    def moody(request: ChatRequest) -> str:
        if request.seed % 2:
            raise BadReply("broken")
        return "The answer is 1."

    team = one_agent(moody, retry=ONCE)
    settings = config(topologies=("single",), fail_on_error=0.1, concurrency=1)
    with pytest.raises(TooManyFailures, match="5 of 40 samples failed"):
        run_bench(settings, out=tmp_path, team=team, data_dir=data_dir)


def test_a_wrong_key_stops_at_once_and_leaves_a_folder_to_resume(
    data_dir: Path, tmp_path: Path
) -> None:
    locked = True

    async def guarded(request: ChatRequest) -> str:
        await asyncio.sleep(0.01)
        if locked:
            raise AuthenticationFailed("wrong key")
        return f"The answer is {right_answer(request.messages[-1].content)}."

    backend = FunctionBackend(guarded)
    team = Team([Agent("ann", tools=(), backend=backend)], "single")
    settings = config(topologies=("single",), concurrency=4)
    with pytest.raises(AuthenticationFailed, match="wrong key"):
        run_bench(settings, out=tmp_path / "r", team=team, data_dir=data_dir)
    assert backend.calls <= 4
    locked = False
    summary = run_bench(settings, out=tmp_path / "r", resume=True, team=team, data_dir=data_dir)
    assert summary.rows[0].samples == SUMS


@pytest.mark.parametrize(
    "changes",
    [
        {"topologies": ("grup",)},
        {"topologies": ("star:k=3",)},
        {"scorers": ("numerik",)},
        {"task": "gsm9k"},
        {"split": "tset"},
    ],
)
def test_wrong_names_are_met_before_the_folder_is_made(
    team: Team, data_dir: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError) as caught:
        run_bench(config(**changes), out=tmp_path / "r", team=team, data_dir=data_dir)
    if isinstance(caught.value, UnknownNameError):
        assert "Did you mean" in str(caught.value)
    assert not (tmp_path / "r").exists()


def test_64_parallel_agents_stay_within_a_hard_budget(data_dir: Path, tmp_path: Path) -> None:
    """64 agents in one group, several questions at once; spend is counted by the model itself."""
    spent = 0

    async def costly(request: ChatRequest) -> ChatReply:
        nonlocal spent
        await asyncio.sleep(0.002)
        spent += 60
        return ChatReply("The answer is 5.", Usage(40, 20, source="server"))

    shared = FunctionBackend(costly, connection="one")
    agents = [Agent(f"a{i}", prompt=f"You are {i}.", tools=(), backend=shared) for i in range(64)]
    team = Team(agents, "group", routing=Routing(read_notes=False))
    limit = 60 * 64 * 3
    settings = config(budget_tokens=limit, concurrency=8)
    summary = run_bench(settings, out=tmp_path / "r", team=team, data_dir=data_dir)
    assert 0 < spent <= limit
    assert summary.made_tokens == spent
    assert "budget of 11,520 tokens" in summary.stopped
    assert summary.rows[0].unfinished == SUMS - summary.rows[0].samples
    assert summary.failed > 0
    # What is spent stays spent: a resumed run with the same budget buys no more than its rest.
    again = run_bench(settings, out=tmp_path / "r", resume=True, team=team, data_dir=data_dir)
    assert spent <= limit
    assert again.made_tokens == spent
    # A larger budget is allowed to go on, and pays for no call twice.
    rich = settings.model_copy(update={"budget_tokens": None})
    whole = run_bench(rich, out=tmp_path / "r", resume=True, team=team, data_dir=data_dir)
    assert whole.rows[0].samples == SUMS
    assert whole.stopped == ""
    assert spent == 60 * 64 * SUMS


def test_a_limit_holds_for_calibration_too(team: Team, tmp_path: Path) -> None:
    data = write_sums(tmp_path / "data", 300)
    settings = config(topologies=("single",), calibrate=True, limit=2)
    run_bench(settings, out=tmp_path / "r", team=team, data_dir=data)
    lines = (tmp_path / "r" / "samples.jsonl").read_text().splitlines()
    assert len(lines) == 2 * len(team.agents) + 2


def test_a_scorer_that_reads_a_form_judges_the_reply_in_any_place(
    data_dir: Path, tmp_path: Path
) -> None:
    team = Team([Agent("ann", tools=())], "single", FunctionBackend(lambda request: "#### 13"))
    found = []
    for scorers in (("strict", "numeric"), ("numeric", "strict")):
        settings = config(topologies=("single",), scorers=scorers)
        row = run_bench(settings, out=tmp_path / scorers[0], team=team, data_dir=data_dir).rows[0]
        found += [row.accuracy.value, *row.scores.values()]
    assert len(set(found)) == 1
    assert found[0] > 0


def test_what_calls_under_way_reserve_does_not_end_a_run(data_dir: Path, tmp_path: Path) -> None:
    """Replies take a small part of what is reserved; the budget is for what they take."""

    async def frugal(request: ChatRequest) -> ChatReply:
        await asyncio.sleep(0.01)
        return ChatReply("The answer is 5.", Usage(40, 20, source="server"))

    team = Team([Agent("ann", tools=())], "single", FunctionBackend(frugal))
    settings = config(topologies=("single",), budget_tokens=4_000, concurrency=16)
    summary = run_bench(settings, out=tmp_path, team=team, data_dir=data_dir)
    assert summary.stopped == ""
    assert summary.rows[0].samples == SUMS
    assert summary.made_tokens == 60 * SUMS


def test_a_budget_leaves_every_row_with_the_same_questions(
    team: Team, data_dir: Path, tmp_path: Path
) -> None:
    settings = config(topologies=("group", "chain", "star"), budget_tokens=8_000, concurrency=1)
    summary = run_bench(settings, out=tmp_path, team=team, data_dir=data_dir)
    assert summary.stopped
    counts = [row.samples for row in summary.rows]
    assert max(counts) - min(counts) <= 1 < max(counts) < SUMS


def test_calibration_uses_other_questions_than_the_report(team: Team, tmp_path: Path) -> None:
    data = write_sums(tmp_path / "data", 300)
    settings = config(
        topologies=("cascade", {"topology": "group", "routing": {"anytime": None}}),
        calibrate=True, anytime="calibrated",
    )  # fmt: skip
    summary = run_bench(
        settings, out=tmp_path / "r", team=team.with_routing(read_notes=False), data_dir=data
    )
    parts = split_by_hash(load_tasks("gsm8k", data_dir=data).tasks)
    ids = {name: {task.id for task in part} for name, part in parts.items()}
    asked: dict[str, set[str]] = {}
    for sample in read_lines(tmp_path / "r" / "samples.jsonl"):
        kind = "report" if not sample["row"].startswith("@") else sample["row"].split()[0]
        asked.setdefault(kind, set()).add(sample["task"])
    assert asked == {
        "@agent": ids["train"], "@anytime": ids["validation"], "report": ids["test"]
    }  # fmt: skip
    found = summary.decisions["reliability"]
    assert found == pytest.approx({"weak": 0.4, "fair": 0.6, "good": 0.9}, abs=0.12)
    cascade, group = summary.rows
    assert cascade.calls < group.calls == 3
    assert summary.decisions["anytime"] is not None
    assert summary.calibration_tokens > 0
    # Best first: the cascade opens with the agent that was measured to be the best.
    first = [s["notes"][0]["author"] for s in read_lines(tmp_path / "r" / "samples.jsonl")
             if s["row"] == "cascade"]  # fmt: skip
    assert set(first) == {"good"}


def test_prices_count_shared_calls_in_every_row(data_dir: Path, tmp_path: Path) -> None:
    team = Team(
        [Agent("ann", tools=(), backend=FunctionBackend(skilled(0.9), name="function:m"))],
        prices=Prices({"m": ModelPrice(prompt=1.0, completion=2.0)}),
    )
    settings = config(topologies=("single", "group"), limit=4)
    summary = run_bench(settings, out=tmp_path, team=team, data_dir=data_dir)
    single, group = summary.rows
    assert single.price == pytest.approx(group.price)
    assert single.price == pytest.approx(
        (single.prompt_tokens + 2 * single.completion_tokens) / 1e6, rel=1e-6
    )
    assert summary.currency == "USD"


def test_an_unknown_token_count_is_never_zero(data_dir: Path, tmp_path: Path) -> None:
    team = one_agent(lambda request: ChatReply("The answer is 1.", Usage()))
    summary = run_bench(
        config(topologies=("single",), limit=3), out=tmp_path, team=team, data_dir=data_dir
    )
    row = summary.rows[0]
    assert (row.unknown, row.price) == (3, None)
    assert "0+" in to_markdown(summary)
    assert "no known token count" in to_markdown(summary)


def test_progress_goes_to_its_stream_and_counts(
    team: Team, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = io.StringIO()
    run_bench(
        config(limit=10), out=tmp_path, team=team, data_dir=data_dir,
        progress=PlainLines(stream, seconds=0.0),
    )  # fmt: skip
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("rows: 0/10")
    assert lines[-1].startswith("rows: 10/10, right ")
    assert "tokens" in lines[-1]
    assert any("to go" in line for line in lines[1:-1])
    assert capsys.readouterr().out == ""


def test_the_table_shows_what_it_must(finished: tuple[Summary, Path, Team, Path]) -> None:
    summary, path, *_ = finished
    text = to_markdown(summary)
    assert (path / "report.md").read_text() == text
    for row in summary.rows:
        assert f"| {row.name} |" in text
    assert "inside the noise" in text
    assert "reference" in text
    stored = json.loads((path / "summary.json").read_text())
    assert stored["rows"][0]["name"] == "windows"
    assert stored["rows"][1]["against_first"]["p"] == summary.rows[1].against_first.p


def test_a_row_may_have_a_temperature_of_its_own(data_dir: Path, tmp_path: Path) -> None:
    seen: dict[str, set[float | None]] = {}

    def answer(request: ChatRequest) -> str:
        seen.setdefault(request.context.agent, set()).add(request.temperature)
        return f"The answer is {right_answer(request.messages[-1].content)}."

    agents = [Agent(name, backend=FunctionBackend(answer), tools=()) for name in ("ann", "bob")]
    rows = ({"topology": "group", "temperature": 0.3}, {"topology": "single", "temperature": 0.0})
    summary = run_bench(
        config(topologies=rows, limit=2), out=tmp_path / "r", team=Team(agents), data_dir=data_dir
    )
    assert [row.name for row in summary.rows] == ["group temperature=0.3", "single temperature=0"]
    assert seen == {"ann": {0.3, 0.0}, "bob": {0.3}}
    with pytest.raises(ResumeRefused, match="temperature"):
        run_bench(
            config(topologies=(rows[0] | {"label": rows[0]["topology"] + " temperature=0.3"},
                               rows[1] | {"temperature": 0.1, "label": "single temperature=0"}),
                   limit=2),
            out=tmp_path / "r", resume=True, team=Team(agents), data_dir=data_dir,
        )  # fmt: skip


def test_samples_of_a_greedy_agent_are_drawn_and_the_report_says_so(
    data_dir: Path, tmp_path: Path
) -> None:
    seen: set[float | None] = set()

    def answer(request: ChatRequest) -> str:
        seen.add(request.temperature)
        return f"The answer is {right_answer(request.messages[-1].content)}."

    greedy = Agent("ann", backend=FunctionBackend(answer), tools=(), sampling=Sampling(0.0))
    rows = ("single", "self_consistency:k=2", "self_consistency-matched",
            {"topology": "self_consistency:k=3", "temperature": 0.2})  # fmt: skip
    summary = run_bench(
        config(topologies=rows, limit=2), out=tmp_path / "r", team=Team([greedy]), data_dir=data_dir
    )
    assert seen == {0.0, SAMPLED, 0.2}
    remarks = [row.remark for row in summary.rows]
    assert remarks[0] == remarks[3] == ""
    assert all("sampled at temperature 0.7" in remark for remark in remarks[1:3])
