"""``hyperagent ask``: what it takes, what it refuses, and how it survives a bad server."""

from __future__ import annotations

import json
import socket

import pytest

from hyperagent.testing.answers import Answer, failure, misbehaviours, rate_limited

QUESTION = "How many clips did Natalia sell?"
KEY = "sk-planted-0123456789abcdef"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_quiet_leaves_the_answer_alone(shell, server):
    done = shell("ask", "--base-url", server.url, "-q", QUESTION)
    assert (done.code, done.out, done.err) == (0, "72\n", "")


def test_verbose_shows_the_boards_and_show_draws(shell, server):
    done = shell("ask", "--base-url", server.url, "-v", "--show", "-t", "chain", QUESTION)
    assert done.out == "72\n"
    for expected in ("e0, discuss, phase 0", "48 + 24 = 72", "phase 2", "equation_writer"):
        assert expected in done.err


def test_export_writes_a_page(shell, server):
    done = shell("ask", "--base-url", server.url, "--export", "out.html", QUESTION)
    assert done.code == 0
    page = (shell.folder / "out.html").read_text()
    assert "72" in page
    assert QUESTION in page
    refused = shell("ask", "--base-url", server.url, "--export", "out.pdf", QUESTION)
    assert refused.code == 2
    assert server.count == 5 + 1, "the wrong ending is met before any call"


def test_timeout_ends_a_slow_turn(shell, serve):
    slow = serve(answer=Answer(delay=20))
    done = shell("ask", "--base-url", slow.url, "--timeout", "0.5", "-t", "single", QUESTION)
    assert done.code == 1
    assert "no agent could answer" in done.errors[0]


def test_a_spent_budget_keeps_what_was_said(shell, server):
    done = shell(
        "ask", "--base-url", server.url, "--budget-tokens", "1200", "-t", "chain", QUESTION
    )
    assert done.code == 1
    assert done.out == "72\n"
    assert done.errors[0].startswith("error: stopped by the budget")
    assert server.count < 6


def test_no_readable_answer_is_not_an_answer(shell, serve):
    rambling = serve(answer=Answer(text="I like trains."))
    done = shell("ask", "--base-url", rambling.url, "-t", "single", QUESTION)
    assert done.code == 1
    assert done.out == ""
    assert "I like trains." in done.err
    assert len(done.errors) == 1


WRONG = {
    "nobody listens": (["--base-url", "http://127.0.0.1:{port}/v1"], "is the port right?"),
    "nobody listens, model named": (
        ["--base-url", "http://127.0.0.1:{port}/v1", "-m", "any"],
        "is the port right?",
    ),
    "no /v1": (["--base-url", "{url}"], "use --base-url {url}/v1"),
    "no /v1, model named": (["--base-url", "{url}", "-m", "tiny"], "use {url}/v1"),
    "not an address": (["--base-url", "127.0.0.1:80/v1"], "http://HOST:PORT/v1"),
    "no server and no key": ([], "set OPENAI_API_KEY"),
    "no server and no key: what to try": ([], "--team pocket"),
    "team misspelt": (["--base-url", "{url}/v1", "--team", "maths"], "Did you mean 'math'?"),
    "topology misspelt": (["--base-url", "{url}/v1", "-t", "starr"], "Did you mean 'star'?"),
    "backend misspelt": (["--backend", "opnai:x"], "Did you mean 'openai'?"),
    "flag misspelt": (["--modell", "x"], "--model"),
    "backend and model": (["--backend", "openai:x", "--model", "y"], "both set"),
    "no number": (["--budget-tokens", "many"], "valid integer"),
    "negative timeout": (["--timeout", "-1"], "timeout"),
    "no such settings file": (["--config", "nothing.yaml"], "cannot read nothing.yaml"),
    "no such price list": (
        ["--base-url", "{url}/v1", "--prices", "no.yaml"],
        "cannot read no.yaml",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_the_user_got_wrong_is_one_line(case, shell, server):
    words, expected = WRONG[case]
    values = {"port": free_port(), "url": server.url.removesuffix("/v1")}
    done = shell("ask", *(word.format(**values) for word in words), QUESTION)
    assert done.code == 2
    assert done.out == ""
    assert len(done.errors) == 1, done.err
    assert expected.format(**values) in done.errors[0]


@pytest.mark.parametrize("given", [{}, {"OPENAI_API_KEY": KEY}])
def test_a_wrong_key_is_one_line_without_the_key(given, shell, serve):
    closed = serve(api_key="sk-another")
    for words in ([], ["-m", "tiny"]):
        done = shell("ask", "--base-url", closed.url, *words, QUESTION, env=given)
        assert done.code == 2
        assert len(done.errors) == 1
        assert "OPENAI_API_KEY" in done.errors[0]
        assert KEY not in done.out + done.err


def test_a_right_key_reaches_the_server(shell, serve):
    open_to_it = serve(api_key=KEY, reply=lambda body: "The answer is 72.")
    for name in ("OPENAI_API_KEY", "HYPERAGENT_API_KEY"):
        done = shell("ask", "--base-url", open_to_it.url, QUESTION, env={name: KEY})
        assert done.out == "72\n", done.err
    (shell.folder / "hyperagent.yaml").write_text(f"api_key: {KEY}\n")
    assert shell("ask", "--base-url", open_to_it.url, QUESTION).out == "72\n"


def test_an_unknown_model_is_told_from_a_wrong_address(shell, serve):
    strict = serve(answer=failure(404, "The model does not exist"))
    done = shell("ask", "--base-url", strict.url, "-m", "gpt-9", QUESTION)
    assert done.code == 2
    assert done.errors == [f"error: {strict.url} has no model 'gpt-9'; it offers tiny"]


@pytest.mark.parametrize("name", ["429 ms", "503", "closed", "half body", "not JSON", "empty"])
def test_a_stumbling_server_is_asked_again(name, shell, server):
    server.next(misbehaviours()[name])
    done = shell("ask", "--base-url", server.url, "-t", "single", QUESTION)
    assert (done.code, done.out) == (0, "72\n")
    assert "(1 failed)" in done.err


def test_one_silent_agent_does_not_spoil_the_answer(shell, server):
    server.next(failure(400, "no"))
    done = shell("ask", "--base-url", server.url, QUESTION)
    assert (done.code, done.out) == (0, "72\n")
    assert "RequestRejected" in done.err


def test_a_server_that_refuses_every_request(shell, serve):
    broken = serve(answer=failure(400, f"bad request with {KEY}"))
    done = shell("ask", "--base-url", broken.url, QUESTION, env={"OPENAI_API_KEY": KEY})
    assert done.code == 1
    assert done.errors[0].startswith("error: no agent could answer")
    assert KEY not in done.err


def test_a_pause_that_is_asked_for_is_kept(shell, server):
    server.next(rate_limited(0.3, "ms"))
    assert shell("ask", "--base-url", server.url, "-t", "single", QUESTION).code == 0


def test_the_pocket_team_needs_no_key_and_no_server(shell):
    done = shell("ask", "--team", "pocket", "Ann has 3 apples and buys 4. How many?")
    assert (done.code, done.out) == (0, "7\n"), done.err
    assert "5 of 5 agents" in done.err
    assert "about" not in done.err, "tokens are counted, not estimated"


def test_a_pocket_model_can_play_every_agent_of_another_team(shell):
    done = shell("ask", "--backend", "pocket", "--json", "Ann has 3 apples and buys 4. How many?")
    ledger = json.loads(done.out)["ledger"]
    assert {row["backend"] for row in ledger} == {"pocket"}
    assert not any(row["error"] for row in ledger)
