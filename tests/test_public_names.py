"""What the package and its rooms offer by name, and what it costs to import them."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

import hyperagent

ROOMS = [
    "hypergraph",
    "sparsity",
    "llm",
    "tasks",
    "topology",
    "team",
    "bench",
    "learning",
    "testing",
    "viewer",
    "cli",
]
HEAVY = ["torch", "torch_geometric", "networkx", "openai", "httpx", "httpx2", "numpy", "pydantic"]

FACE = [
    "Agent",
    "Allowance",
    "Hyperedge",
    "Hypergraph",
    "HyperagentError",
    "Ledger",
    "Result",
    "Routing",
    "Task",
    "Team",
    "backend",
    "designer",
    "load",
]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_exports_what_its_list_says(room: str) -> None:
    module = importlib.import_module(f"hyperagent.{room}")
    names = module.__all__
    assert list(names) == sorted(set(names), key=names.index), "a name stands twice"
    for name in names:
        assert getattr(module, name) is not None
        assert name in dir(module)


@pytest.mark.parametrize("room", ROOMS)
def test_public_things_are_documented(room: str) -> None:
    module = importlib.import_module(f"hyperagent.{room}")
    for name in module.__all__:
        thing = getattr(module, name)
        if isinstance(thing, type) or callable(thing):
            assert (thing.__doc__ or "").strip(), f"hyperagent.{room}.{name} has no docstring"


def test_the_public_face() -> None:
    assert sorted(hyperagent.__all__) == sorted([*FACE, "__version__"])
    for name in FACE:
        assert getattr(hyperagent, name) is not None
    with pytest.raises(AttributeError, match="Taem"):
        hyperagent.Taem  # noqa: B018


def child(code: str) -> dict:
    """Run `code` in a new interpreter; it leaves a dictionary in ``out``."""
    program = (
        "import json, resource, sys\n"
        "before = resource.getrusage(resource.RUSAGE_SELF)\n"
        f"{code}\n"
        "after = resource.getrusage(resource.RUSAGE_SELF)\n"
        "cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime\n"
        "print(json.dumps({'cpu': cpu, 'modules': sorted(sys.modules)}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)


def test_importing_the_package_is_light() -> None:
    seen = child("import hyperagent")
    assert not [name for name in HEAVY if name in seen["modules"]]
    assert seen["cpu"] <= 0.25, "seconds of CPU"


def test_a_team_can_be_made_without_the_heavy_libraries() -> None:
    seen = child(
        "import hyperagent as ha\n"
        "from hyperagent.llm import FunctionBackend\n"
        "ha.Team([ha.Agent('ann')], 'star', FunctionBackend(lambda r: 'The answer is 1.'))"
    )
    heavy = ["torch", "torch_geometric", "networkx", "openai", "scipy", "matplotlib", "xllamacpp"]
    assert not [name for name in heavy if name in seen["modules"]]
