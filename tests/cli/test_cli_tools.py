"""The other commands: show, doctor, config."""

from __future__ import annotations

import json

import pytest

from hyperagent.hypergraph import Hypergraph

KEY = "sk-planted-0123456789abcdef"
HEAVY = ["torch", "torch_geometric", "openai", "networkx", "numpy", "scipy", "pydantic", "rich"]
COMMANDS = ["ask", "bench", "show", "models", "plugins", "doctor", "serve-model", "config"]


def test_show_a_team_a_topology_and_a_file(shell):
    team = shell("show", "math")
    assert team.code == 0
    assert "equation_writer" in team.out
    chain = shell("show", "chain", "--json")
    graph = Hypergraph.from_hif(json.loads(chain.out))
    assert [edge.phase for edge in graph.edges] == [0, 1, 2]
    (shell.folder / "chain.json").write_text(chain.out)
    read = shell("show", "chain.json")
    assert "3 groups" in read.out
    drawn = shell("show", "paper", "--question", "What is 2 + 2?", "--seed", "3", "--json")
    assert Hypergraph.from_hif(json.loads(drawn.out)).edges


@pytest.mark.parametrize("ending", ["html", "svg"])
def test_show_exports_offline_files(ending, shell):
    done = shell("show", "star", "--export", f"deep/star.{ending}")
    assert done.code == 0
    assert done.out == ""
    text = (shell.folder / "deep" / f"star.{ending}").read_text()
    assert "skeptic" in text
    assert "<script" not in text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["stra"], "Did you mean 'star'?"),
        (["nothing.json"], "cannot read nothing.json"),
        (["bad.json"], "bad.json: not HIF"),
        (["broken.json"], "broken.json is not JSON"),
        (["."], "is not a run folder"),
        (["star", "--export", "x.png"], ".html or .svg"),
        (["star", "--team", "mth"], "Did you mean 'math'?"),
        (["star:k=3"], "no parameter 'k'"),
    ],
)
def test_show_says_what_is_wrong(words, expected, shell):
    (shell.folder / "bad.json").write_text("{}")
    (shell.folder / "broken.json").write_text("{")
    done = shell("show", *words)
    assert done.code == 2
    assert len(done.errors) == 1, done.err
    assert expected in done.errors[0]


def test_show_a_run(shell, server):
    shell(
        "bench", "wordproblems", "--no-baselines", "-t", "star", "-t", "chain", "--limit", "2",
        "--base-url", server.url, "--out", "run", "-q",
    )  # fmt: skip
    table = shell("show", "run")
    assert "| star |" in table.out
    question = table.err.split("--question ")[1].split()[0]
    one = shell("show", "run", "--question", question, "--row", "chain")
    assert f"chain, {question}: " in one.out
    assert "answer 72" in one.out
    assert shell("show", "run", "--export", "run.html").code == 0
    page = (shell.folder / "run.html").read_text()
    assert page.count("<svg") == 2
    assert "inside the noise" in page
    assert "<script" not in page
    unknown = shell("show", "run", "--row", "chian")
    assert unknown.code == 2
    assert "Did you mean 'chain'?" in unknown.errors[0]
    assert json.loads(shell("show", "run", "--json").out)["task"] == "wordproblems/test"


def test_doctor_sees_the_data(shell, replay_math):
    done = shell("doctor", env={"HYPERAGENT_DATA": replay_math})
    assert "gsm8k" in done.out
    assert "recorded:RUN works" in done.out


def test_config_show_says_where_each_value_comes_from(shell):
    (shell.folder / "hyperagent.yaml").write_text(f"team: code\nseed: 3\napi_key: {KEY}\n")
    done = shell("config", "show", "--json", env={"HYPERAGENT_SEED": "5"})
    told = json.loads(done.out)
    assert told["seed"] == {"value": 5, "from": "HYPERAGENT_SEED"}
    assert told["team"] == {"value": "code", "from": "hyperagent.yaml"}
    assert told["concurrency"] == {"value": 8, "from": "default"}
    assert told["api_key"]["from"] == "hyperagent.yaml"
    plain = shell("config", "show")
    assert KEY not in plain.out + plain.err + done.out + done.err
