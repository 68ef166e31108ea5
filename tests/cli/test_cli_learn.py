"""``hyperagent learn`` and ``explain``: what they print, where, and how they end."""

from __future__ import annotations

import json

import pytest

SMALL = ["--anchor", "single", "--anchor", "pair", "--executions", "30", "--limit", "4"]
QUICK = [*SMALL, "--policy", "constant"]
QUESTION = "How many are 3 and 4?"


def learn(shell, server, *words: str):
    return shell("learn", "wordproblems", "--base-url", server.url, "--out", "p", *words)


def test_a_policy_is_learned_benched_and_explained(shell, server):
    done = learn(shell, server, *QUICK)
    assert done.code == 0, done.err
    assert done.out.startswith("constant policy from wordproblems/train: the fixed topology ")
    assert "race: " in done.err
    assert "hyperagent bench wordproblems --split test --topology learned:p" in done.out
    assert shell("learn", "wordproblems", "--base-url", server.url, "--out", "p", *QUICK).code == 2
    bench = shell(
        "bench", "wordproblems", "--no-baselines", "-t", "learned:p", "--limit", "2", "--base-url",
        server.url, "--json", "-q",
    )  # fmt: skip
    assert json.loads(bench.out)["rows"][0]["name"] == "learned:p"
    told = shell("explain", QUESTION, "-t", "learned:p", "--base-url", server.url, "--json")
    document = json.loads(told.out)
    assert document["designer"].startswith("learned constant: ")
    assert document["answer"] == "72"
    seated = {agent["id"] for agent in document["agents"] if agent["seated"]}
    assert seated == {name for edge in document["hyperedges"] for name in edge["members"]}
    for kind in ("agents", "hyperedges"):
        assert sum(entry["tokens"] for entry in document[kind]) == pytest.approx(document["tokens"])
    shown = shell("show", "p")
    assert shown.code == 2
    assert "--topology learned:p" in shown.errors[0]


def test_json_and_resume(shell, server):
    first = learn(shell, server, *QUICK, "--json", "-q")
    assert first.err == ""
    calls = len(server.requests)
    again = learn(shell, server, *QUICK, "--json", "-q", "--resume")
    assert json.loads(again.out) == json.loads(first.out) | {"failed": 0}
    chats = [r for r in list(server.requests)[calls:] if r.path.endswith("/chat/completions")]
    assert chats == []


def test_the_spent_allowance_is_exit_code_1(shell, server):
    done = learn(shell, server, *QUICK, "--spend-tokens", "1500", "--concurrency", "1")
    assert done.code == 1
    assert "--spend-tokens" in done.errors[0]
    assert "--resume goes on" in done.err
    assert learn(shell, server, *QUICK, "--spend-tokens", "90000", "--resume").code == 0


def test_a_dry_explanation_calls_nobody(shell):
    done = shell("explain", QUESTION, "-t", "pair", "--dry", "--team", "math")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "designed by pair"
    assert [line.split()[:3] for line in lines[3:7]] == [
        ["solver", "solver", "yes"],
        ["equations", "equation_writer", "no"],
        ["skeptic", "skeptic", "no"],
        ["verifier", "verifier", "yes"],
    ]
    assert "expected: - tokens" in done.out
    drawn = json.loads(shell("explain", QUESTION, "-t", "vae", "--dry", "--json").out)
    assert all(0 < edge["probability"] <= 1 for edge in drawn["hyperedges"])
    assert drawn["tokens"] is drawn["answer"] is None


def test_what_is_expected_of_a_group_is_said(shell, monkeypatch):
    """With a surrogate, the expected tokens of a design and what each group adds."""

    class Told:
        name = "told"

        def design(self, task, agents, *, seed=0):
            from hyperagent.hypergraph import build_anchor
            from hyperagent.topology import Design

            return Design(build_anchor("chain", [a.id for a in agents]), name=self.name)

        def expect(self, task, graphs):
            import numpy as np

            from hyperagent.topology.surrogate import Prediction

            tokens = np.array([100.0 * sum(len(e.members) for e in g.edges) for g in graphs])
            return Prediction(np.full((2, len(graphs)), 0.75), tokens)

    from hyperagent.topology import designers

    monkeypatch.setitem(designers._objects, "told", Told)
    document = json.loads(shell("explain", QUESTION, "-t", "told", "--dry", "--json").out)
    assert document["expected_success"] == 0.75
    assert document["expected_tokens"] == 100 * sum(
        len(edge["members"]) for edge in document["hyperedges"]
    )
    assert [edge["expected_tokens"] for edge in document["hyperedges"]] == [
        100 * len(edge["members"]) for edge in document["hyperedges"]
    ]


def test_what_a_design_itself_expects_is_said(shell, monkeypatch):
    class Knowing:
        name = "knowing"

        def design(self, task, agents, *, seed=0):
            from hyperagent.hypergraph import build_anchor
            from hyperagent.topology import Design, Expected

            graph = build_anchor("cascade", [a.id for a in agents])
            return Design(graph, name=self.name, expected=Expected(70.0, {"e0": 50.0, "e1": 20.0}))

    from hyperagent.topology import designers

    monkeypatch.setitem(designers._objects, "knowing", Knowing)
    document = json.loads(shell("explain", QUESTION, "-t", "knowing", "--dry", "--json").out)
    assert document["expected_tokens"] == 70.0
    assert document["expected_success"] is None
    expected = [edge["expected_tokens"] for edge in document["hyperedges"]]
    assert expected[:3] == [50.0, 20.0, None]


WRONG = {
    "data set": (["learn", "gsm8", "--out", "p"], "Did you mean 'gsm8k'?"),
    "policy": (["learn", "wordproblems", "--out", "p", "--policy", "ppo"], "unknown policy 'ppo'"),
    "dollars": (
        ["learn", "wordproblems", "--out", "p", "--objective", "dollars"],
        "dollars can be spared by anytime, probe and constant",
    ),
    "no folder": (["learn", "wordproblems"], "--out"),
    "both prices": (
        ["learn", "wordproblems", "--out", "p", "--price", "1", "--budget-tokens", "9"],
        "one of the two",
    ),
    "too few": (["learn", "wordproblems", "--out", "p", "--executions", "20"], "are needed"),
    "anchor": (["learn", "wordproblems", "--out", "p", "--anchor", "strr"], "'star'"),
    "no policy": (["explain", "2 + 2?", "-t", "learned:nowhere", "--dry"], "no folder nowhere"),
}


@pytest.mark.parametrize(("words", "message"), WRONG.values(), ids=list(WRONG))
def test_wrong_usage_is_exit_code_2(words: list[str], message: str, shell, server):
    extra = [] if words[0] == "explain" else ["--base-url", server.url]
    done = shell(*words, *extra)
    assert done.code == 2
    assert message in done.errors[0]
    # Nothing is left that a second try would trip over.
    assert not (shell.folder / "p").exists()
