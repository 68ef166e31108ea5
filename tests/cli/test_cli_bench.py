"""``hyperagent bench``: flags, study files, failures, and keys that stay secret."""

from __future__ import annotations

import json

import pytest

from hyperagent.testing.answers import failure

KEY = "sk-planted-0123456789abcdef"
PLAIN = ["--no-baselines", "-t", "role_cover", "-t", "single", "--limit", "3"]


def calls(server) -> int:
    return sum(request.path.endswith("/chat/completions") for request in server.requests)


def test_json_owns_standard_output(shell, server):
    done = shell("bench", "wordproblems", *PLAIN, "--base-url", server.url, "--out", "r", "--json")
    summary = json.loads(done.out)
    assert [row["name"] for row in summary["rows"]] == ["role_cover", "single"]
    assert summary["rows"][1]["against_first"]["p"] == 1
    assert "rows: 6/6" in done.err


def test_baselines_are_on_by_default(shell, server):
    done = shell(
        "bench", "wordproblems", "-t", "pair", "--limit", "1", "--base-url", server.url, "--json",
        "-q",
    )  # fmt: skip
    names = [row["name"] for row in json.loads(done.out)["rows"]]
    assert names[0] == "pair"
    assert {"single", "self_consistency-matched", "complete", "random-matched"} <= set(names)
    (folder,) = (shell.folder / "runs").iterdir()
    assert folder.name.endswith("-wordproblems")


def test_a_failed_sample_is_exit_code_1(shell, server):
    server.next(failure(400, "no"))
    done = shell(
        "bench", "wordproblems", "--no-baselines", "-t", "single", "--limit", "3",
        "--concurrency", "1", "--base-url", server.url, "--out", "run",
    )  # fmt: skip
    assert done.code == 1
    assert "| single |" in done.out
    assert (
        shell(
            "bench", "wordproblems", "--no-baselines", "-t", "single", "--limit", "3",
            "--base-url", server.url, "--out", "run", "--resume",
        ).code
        == 0
    )  # fmt: skip


def test_a_spent_budget_is_exit_code_1(shell, server):
    done = shell(
        "bench", "wordproblems", *PLAIN, "--base-url", server.url, "--budget-tokens", "2000",
        "--concurrency", "1",
    )  # fmt: skip
    assert done.code == 1
    assert "STOPPED EARLY" in done.out


def test_what_is_no_number_is_null_in_json(shell, server):
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    done = shell(
        "bench", "wordproblems", *PLAIN, "--base-url", server.url, "--budget-tokens", "1", "--json"
    )  # fmt: skip
    assert json.loads(done.out, parse_constant=refuse)["rows"][0]["accuracy"]["value"] is None


WRONG = {
    "data set misspelt": (["gsm8"], "Did you mean 'gsm8k'?"),
    "no data": (["gsm8k"], "HYPERAGENT_DATA"),
    "topology misspelt": (["wordproblems", "-t", "strr"], "Did you mean 'star'?"),
    "row twice": (["wordproblems", "-t", "star", "-t", "star"], "two rows have the name 'star'"),
    "no limit": (["wordproblems", "--limit", "0"], "limit"),
    "part misspelt": (["wordproblems", "--part", "tset"], "part"),
    "no probability": (["wordproblems", "--anytime", "often"], "--anytime"),
    "anytime above 1": (["wordproblems", "--anytime", "1.5"], "anytime"),
    "no study": (["study.yaml"], "cannot read study.yaml"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_the_user_got_wrong_is_one_line(case, shell, server):
    words, expected = WRONG[case]
    done = shell("bench", *words, "--base-url", server.url, "--out", "run")
    assert done.code == 2, done
    assert done.out == ""
    assert len(done.errors) == 1, done.err
    assert expected in done.errors[0]
    assert calls(server) == 0


STUDY = """
task: wordproblems
baselines: false
limit: 2
topologies:
  - topology: cascade
    label: cascade, sure
    routing: {anytime: 0.5}
  - cascade
"""


def test_a_study_file_and_flags_before_it(shell, server):
    (shell.folder / "study.yaml").write_text(STUDY)
    words = ["bench", "study.yaml", "--base-url", server.url, "--json", "-q"]
    study = json.loads(shell(*words, "--out", "a").out)
    assert [row["name"] for row in study["rows"]] == ["cascade, sure", "cascade"]
    assert [row["samples"] for row in study["rows"]] == [2, 2]
    flagged = json.loads(shell(*words, "--out", "b", "--limit", "1").out)
    assert [row["samples"] for row in flagged["rows"]] == [1, 1]
    (shell.folder / "study.yaml").write_text(STUDY.replace("limit", "limitt"))
    wrong = shell(*words, "--out", "c")
    assert wrong.code == 2
    assert "Did you mean 'limit'?" in wrong.errors[0]


@pytest.mark.parametrize("place", ["OPENAI_API_KEY", "HYPERAGENT_API_KEY", "file"])
def test_a_planted_key_appears_nowhere(place, shell, serve):
    """Not in the output and not in the run folder, even if the server repeats it."""
    chatty = serve(answer=failure(400, f"your key {KEY} is fine, your request is not"))
    env = {} if place == "file" else {place: KEY}
    if place == "file":
        (shell.home / ".config" / "hyperagent").mkdir(parents=True)
        settings = shell.home / ".config" / "hyperagent" / "hyperagent.yaml"
        settings.write_text(f"api_key: {KEY}\n")
    done = shell(
        "bench", "wordproblems", "--no-baselines", "-t", "single", "--limit", "3",
        "--base-url", chatty.url, "--out", "run", env=env,
    )  # fmt: skip
    assert any(r.headers["authorization"] == f"Bearer {KEY}" for r in chatty.requests)
    assert done.code == 1, done
    assert KEY not in done.out + done.err
    files = [path for path in (shell.folder / "run").rglob("*") if path.is_file()]
    assert len(files) > 4
    for path in files:
        assert KEY.encode() not in path.read_bytes(), path


def test_a_data_set_is_fetched_only_when_asked(shell, server, monkeypatch):
    from hyperagent.tasks import data_sets

    real, asked = data_sets.get("wordproblems"), []

    class Spy:
        def load(self, split, *, download=False, **options):
            asked.append(download)
            return real.load(split, **options)

    monkeypatch.setitem(data_sets._objects, "wordproblems", Spy())
    words = ("bench", "wordproblems", *PLAIN, "--base-url", server.url, "-q")
    assert shell(*words, "--out", "a").code == 0
    assert shell(*words, "--out", "b", "--download").code == 0
    assert asked == [False, True]


def test_the_pocket_team_needs_no_key_and_no_server(shell):
    done = shell(
        "bench", "wordproblems", "--team", "pocket", "--limit", "2", "--no-baselines",
        "-t", "group", "-t", "self_consistency:k=2", "--out", "run",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "| group |" in done.out
    assert "sampled at temperature 0.7" in done.out, "self-consistency of greedy agents"
