"""The other commands: show, models, plugins, doctor, config; help, version, weight."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import hyperagent

KEY = "sk-planted-0123456789abcdef"
HEAVY = ["torch", "torch_geometric", "openai", "networkx", "numpy", "scipy", "pydantic", "rich"]
COMMANDS = ["ask", "bench", "show", "models", "plugins", "doctor", "serve-model", "config"]


def test_version_and_help(shell):
    assert shell("--version").out == f"hyperagent {hyperagent.__version__}\n"
    told = shell("--help")
    assert told.code == 0
    for name in COMMANDS:
        assert f"  {name} " in told.out
        one = shell(name, "-h")
        assert one.code == 0
        assert one.out.startswith(f"Usage: hyperagent {name}")
        assert max(map(len, one.out.splitlines())) <= 100
    assert shell("config", "show", "--help").code == 0


def test_nothing_asked_and_nonsense_asked(shell):
    bare = shell()
    assert bare.code == 2
    assert "Usage: hyperagent" in bare.err
    wrong = shell("aks", "x")
    assert (wrong.code, len(wrong.errors)) == (2, 1)
    assert "'aks'" in wrong.errors[0]


def test_the_module_is_the_command(shell):
    done = subprocess.run(
        [sys.executable, "-m", "hyperagent", "--version"], capture_output=True, text=True
    )
    assert done.stdout == shell("--version").out


def test_help_is_light(shell):
    """At most 0.5 s of CPU, and none of the heavy packages."""
    program = (
        "import json, sys; from hyperagent.cli import main; code = main(['--help']);"
        "print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert code == 0
    assert not [name for name in HEAVY if name in modules]
    seconds = []
    for _ in range(3):
        child = shell.start("--help")
        child.stdout.read()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        child.stdout.close()
        child.stderr.close()
        seconds.append(used.ru_utime + used.ru_stime)
    assert min(seconds) <= 0.5, seconds


def test_a_reader_who_leaves_early_is_no_fault(shell):
    child = shell.start("plugins")
    child.stdout.close()
    err = child.stderr.read()
    child.stderr.close()
    child.wait(20)
    assert err == ""


def test_models_of_a_server(shell, server, llama_url):
    assert shell("models", "--base-url", server.url).out == "tiny\n"
    assert shell("models", "--base-url", llama_url).out == "tiny\n"
    listed = shell("models", "--json", env={"OPENAI_BASE_URL": server.url})
    assert json.loads(listed.out) == ["tiny"]
    at_ollama = shell("models", "--backend", "ollama", "--base-url", server.url)
    assert at_ollama.out == "tiny\n"
    for words in (["--base-url", "http://127.0.0.1:9/v1"], ["--backend", "scripted:x"]):
        wrong = shell("models", *words)
        assert (wrong.code, len(wrong.errors)) == (2, 1), wrong


def write_plugin(folder: Path) -> None:
    """An installed package with one good and one broken backend."""
    (folder / "goodplugin.py").write_text("def make(rest, **options):\n    raise ValueError\n")
    facts = folder / "goodplugin-1.2.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: goodplugin\nVersion: 1.2\n")
    (facts / "entry_points.txt").write_text(
        "[hyperagent.backends]\ngood = goodplugin:make\nbad = no_such_module:make\n"
    )


def test_plugins_have_origins_and_a_broken_one_only_warns(shell, tmp_path):
    write_plugin(tmp_path)
    env = {"PYTHONPATH": str(tmp_path)}
    done = shell("plugins", env=env)
    assert done.code == 0
    rows = [line.split(None, 2) for line in done.out.splitlines()]
    assert ["backend", "openai", "hyperagent"] in rows
    assert ["backend", "good", "goodplugin 1.2"] in rows
    assert ["backend", "bad", "goodplugin 1.2 (broken)"] in rows
    assert "no_such_module" in done.err
    listed = json.loads(shell("plugins", "backend", "--json", env=env).out)
    assert {row["kind"] for row in listed} == {"backend"}
    assert shell("plugins", "backends").code == 2
    health = shell("doctor", env=env)
    assert health.code == 0
    assert "backend good" in health.out
    assert "no_such_module" in health.out


def test_doctor_tells_good_from_bad(shell, server):
    bare = shell("doctor")
    assert bare.code == 0, bare.out
    assert "none set" in bare.out
    env = {"OPENAI_API_KEY": KEY}
    good = shell("doctor", "--base-url", server.url, env=env)
    assert good.code == 0
    assert f"{server.url} answers: tiny" in good.out
    assert "set (from OPENAI_API_KEY)" in good.out
    assert KEY not in good.out + good.err
    for words in (
        ["--base-url", "http://127.0.0.1:9/v1"],
        ["--backend", f"openai:other@{server.url}"],
        ["--backend", "opnai:x"],
        ["--config", "missing.yaml"],
    ):
        bad = shell("doctor", *words)
        assert bad.code == 1, (words, bad.out)
        assert [line for line in bad.out.splitlines() if line.startswith("bad ")]
    states = {row["subject"]: row["state"] for row in json.loads(shell("doctor", "--json").out)}
    assert states["python"] == states["packages"] == "ok"
    assert states["backend"] == "note"


def test_a_fault_of_ours_is_one_line_and_debug_shows_it(shell, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import hyperagent.cli.settings as s\n"
        "def broken(*a, **k):\n    raise RuntimeError('boom')\n"
        "s.resolve = broken\n"
    )
    env = {"PYTHONPATH": str(tmp_path)}
    done = shell("config", "show", env=env)
    assert done.code == 1
    assert len(done.errors) == 1
    assert "RuntimeError: boom" in done.errors[0]
    child = shell.start("--debug", "config", "show", env=env)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 1
    assert "Traceback" in err
