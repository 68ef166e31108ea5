"""Programs in replies, and whether they pass."""

from __future__ import annotations

import gzip
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from hyperagent.errors import SandboxError
from hyperagent.tasks import Task, TaskSet, extract, load, normalise, public_tests, score
from hyperagent.tasks.programs import complete, hidden_tests, reference
from hyperagent.tasks.sandbox import available, run_python

PROMPT = '''from typing import List


def helper(x):
    return x + 1


def total(numbers: List[int]) -> int:
    """ Sum, each one larger by one.
    >>> total([1, 2])
    5
    >>> total([])  # nothing
    0
    total([4]) == 5
    total([5]) ➞ 6
    >>> total(unknown)
    3
    """
'''
TASK = Task(
    PROMPT,
    kind="code",
    answer="    return sum(helper(n) for n in numbers)",
    meta={
        "entry_point": "total",
        "prompt": PROMPT,
        "tests": "assert total([1, 2, 3]) == 9\nassert total([]) == 0",
    },
)
BODY = "    return sum(helper(n) for n in numbers)"
WHOLE = "def total(numbers: List[int]) -> int:\n    return sum(helper(n) for n in numbers)"

needs_sandbox = pytest.mark.skipif(not available(), reason="no sandbox works here")

REPLIES = [
    BODY,
    BODY.strip(),
    WHOLE,
    PROMPT + BODY,
    f"Sure!\n```python\n{WHOLE}\n```\nIt adds.",
    f"```\n{BODY}\n```",
    f"First:\n```python\ndef other(): pass\n```\nBetter:\n```py\n{WHOLE}\n```\n```text\nok\n```",
    f"1. Do this:\n   ```python\n   {WHOLE.splitlines()[0]}\n   {WHOLE.splitlines()[1]}\n   ```",
    f"```python\n{WHOLE}\n```\nRun it:\n```python\nprint(total([1]))\n```",
    f"Here it is:\n\n{WHOLE}\n\nThis works because it's a sum.",
    f"<think>```python\ndef total(n): return 0\n```</think>\n```python\n{WHOLE}\n```",
    f"```python\nfrom __future__ import annotations\n{WHOLE}\n```",
    f"~~~python\n{WHOLE}",
]


@needs_sandbox
@pytest.mark.parametrize("reply", REPLIES)
def test_right_programs_in_any_dress(reply: str) -> None:
    result = score(TASK, reply)
    assert result.correct, result.reason


@needs_sandbox
@pytest.mark.parametrize(
    "reply",
    [
        "",
        "I cannot do it.",
        "```\n```",
        "18",
        WHOLE.replace("sum", "max"),
        "def total(:",
        "return 9",
    ],
)
def test_wrong_programs(reply: str) -> None:
    result = score(TASK, reply)
    assert not result.correct
    assert result.reason


def test_replies_without_code_are_no_answer() -> None:
    for reply in ("", "I cannot do it.", "18", "yes"):
        assert extract(reply, TASK) is None
    assert normalise(None, TASK) is None


def test_layout_and_comments_do_not_split_votes() -> None:
    variants = (WHOLE, WHOLE + "  # a sum\n", WHOLE.replace("    ", "\t"), f"\n\n{WHOLE}\n")
    assert len({normalise(program, TASK) for program in variants}) == 1
    assert normalise(WHOLE.replace("sum", "max"), TASK) != normalise(WHOLE, TASK)
    assert normalise("def (", TASK) == "def ("


def test_public_tests_are_the_examples_of_the_question() -> None:
    assert set(public_tests(TASK)) == {
        "assert total([1, 2]) == 5",
        "assert total([]) == 0",
        "assert total([4]) == 5",
        "assert total([5]) == 6",
    }


def test_hidden_tests_are_not_in_the_question(humaneval: TaskSet) -> None:
    for task in humaneval:
        assert "check(candidate)" in task.meta["tests"]
        assert "check(candidate)" not in task.render()
    for task in load("mbpp", limit=100):
        (shown,) = public_tests(task)
        assert task.question.endswith(shown)
        assert task.question.count("assert") == shown.count("assert")
        assert task.meta["tests"].count("assert") > shown.count("assert")


def passed(tasks: list[Task], tests) -> list[str]:
    """Ids of the tasks whose own solution fails `tests`."""

    def run(task: Task) -> bool:
        return run_python(reference(task), tests=tests(task), seconds=30).ok

    with ThreadPoolExecutor(2) as pool:
        return [task.id for task, ok in zip(tasks, pool.map(run, tasks), strict=True) if not ok]


@needs_sandbox
def test_all_humaneval_solutions_pass(humaneval: TaskSet) -> None:
    assert len(humaneval) == 164
    assert passed(list(humaneval), hidden_tests) == []


@needs_sandbox
def test_sampled_mbpp_solutions_pass(data) -> None:
    assert passed(list(load("mbpp", "all"))[::10], hidden_tests) == []


@needs_sandbox
def test_public_tests_hold_for_the_solutions(humaneval: TaskSet) -> None:
    tasks = [task for task in humaneval if public_tests(task)]
    assert len(tasks) >= 120
    # These three docstrings contradict the hidden tests; see the data set.
    wrong = {"HumanEval/47", "HumanEval/116", "HumanEval/130"}
    chosen = [task for task in tasks if task.id in wrong or int(task.id[10:]) % 4 == 0]
    assert set(passed(chosen, lambda task: "\n".join(public_tests(task)))) == wrong


@needs_sandbox
def test_verdicts_agree_with_recorded_ones(data, humaneval: TaskSet) -> None:
    tasks = {task.id: task for task in humaneval}
    jobs = []
    with gzip.open(data / "replay_code" / "humaneval.jsonl.gz", "rt", encoding="utf-8") as file:
        for number, line in enumerate(file):
            row = json.loads(line)
            output = row["outputs"][number % 12]
            jobs.append((tasks[row["id"]], output["text"], output["ok"]))
    with ThreadPoolExecutor(2) as pool:
        verdicts = list(pool.map(lambda job: score(job[0], job[1]).correct, jobs))
    agreed = sum(verdict == job[2] for verdict, job in zip(verdicts, jobs, strict=True))
    assert {job[2] for job in jobs} == {True, False}
    assert agreed / len(jobs) >= 0.98


def test_without_a_sandbox_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hyperagent.tasks.sandbox.ROADS", ())
    with pytest.raises(SandboxError, match="not run"):
        score(TASK, WHOLE)


def test_complete_keeps_future_imports_first() -> None:
    program = complete("from __future__ import annotations\n" + WHOLE, TASK)
    assert program.startswith("from __future__ import annotations\n")
    compile(program, "program", "exec")
