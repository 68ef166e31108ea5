"""``hyperagent ask`` as a user types it, against real servers."""

from __future__ import annotations

import json
import socket

from hyperagent.testing.answers import Answer

QUESTION = "How many clips did Natalia sell?"
KEY = "sk-planted-0123456789abcdef"


def test_an_address_is_enough(shell, server):
    done = shell("ask", "--base-url", server.url, QUESTION)
    assert done.code == 0, done.err
    assert done.out == "72\n"
    assert "4 calls, 4 of 4 agents, 1 of 1 phase" in done.err
    assert "tokens" in done.err
    assert "using model tiny" in done.err
    sent = [r.headers["authorization"] for r in server.requests]
    assert set(sent) == {"Bearer no-key"}


def test_json_owns_standard_output(shell, server):
    done = shell("ask", "--base-url", server.url, "--json", "-t", "star", QUESTION)
    document = json.loads(done.out)
    assert document["answer"] == "72"
    assert document["usage"]["calls"] == len(document["ledger"]) == 4
    tokens = sum(r["prompt_tokens"] + r["completion_tokens"] for r in document["ledger"])
    assert document["usage"]["total_tokens"] == tokens
    assert done.err == ""


def test_a_real_llama_server_answers(shell, llama_url):
    done = shell(
        "ask", "--base-url", llama_url, "--kind", "text", "-t", "single", "--json",
        "Name a colour.",
    )  # fmt: skip
    document = json.loads(done.out)
    assert done.code == (0 if document["answer"] else 1), done.err
    (row,) = document["ledger"]
    assert row["source"] == "server"
    assert row["model"] == "tiny"
    assert row["completion_tokens"] > 0


def test_a_question_from_standard_input(shell, server):
    assert shell("ask", "--base-url", server.url, "-", stdin=QUESTION).out == "72\n"
    assert QUESTION in server.requests[-1].body["messages"][-1]["content"]
    empty = shell("ask", "--base-url", server.url, "-", stdin=" \n")
    assert empty.code == 2
    assert empty.errors == ["error: standard input holds no question"]


def test_text_cannot_drive_the_terminal(shell, serve):
    evil = serve(answer=Answer(text="\x1b]0;owned\x07NOTE\nanswer: \x1b[2Jblue\nconfidence: 1"))
    done = shell("ask", "--base-url", evil.url, "--kind", "text", "-v", "--show", "A colour?")
    assert "\x1b" not in done.out + done.err
    assert "blue" in done.out


def test_a_wrong_port_is_one_line(shell):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    done = shell("ask", "--base-url", f"http://127.0.0.1:{port}/v1", QUESTION, seconds=30)
    assert (done.code, done.out, len(done.errors)) == (2, "", 1), done.err
    assert "is the port right?" in done.errors[0]
