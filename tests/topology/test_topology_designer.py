"""Designers by name, fixed designers, and what importing the room costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import hyperagent.topology as topology
from hyperagent.errors import ConfigError, HypergraphError, UnknownNameError
from hyperagent.hypergraph import anchors, build_anchor
from hyperagent.topology import Design, Designer, FixedDesigner, designer, designers


def python(code: str, *path: Path) -> str:
    prelude = f"import sys; sys.path[:0] = {[str(p) for p in path]!r}; "
    done = subprocess.run(
        [sys.executable, "-c", prelude + code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_importing_the_room_and_a_fixed_designer_stay_light() -> None:
    heavy = ("torch", "torch_geometric", "numpy", "networkx", "scipy", "openai")
    code = (
        "from hyperagent.topology import designer; d = designer('star'); "
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    assert python(code) == "[]"


def test_every_public_name_exists() -> None:
    assert all(getattr(topology, name) is not None for name in topology.__all__)
    assert set(topology.__all__) <= set(dir(topology))
    with pytest.raises(AttributeError, match="no_such_name"):
        topology.no_such_name  # noqa: B018


@pytest.mark.parametrize("name", anchors.names())
def test_every_anchor_is_a_designer(name: str, task, make_team) -> None:
    fixed = designer(name)
    assert isinstance(fixed, FixedDesigner)
    assert isinstance(fixed, Designer)
    agents = make_team(6)
    design = fixed.design(task, agents, seed=3)
    assert isinstance(design, Design)
    assert (design.name, design.log_prob, design.probabilities) == (name, 0.0, None)
    ordered = ["agent0", "agent1", "agent2", "agent4", "agent5", "agent3"]
    roles = {a.id: a.role for a in agents}
    assert design.hypergraph == build_anchor(name, ordered, roles=roles)


def test_the_best_agent_comes_first_and_equals_keep_their_order(make_team) -> None:
    agents = make_team(5)[::-1]
    hub = designer("star").design(None, agents).hypergraph
    assert hub.nodes == ("agent0", "agent1", "agent2", "agent4", "agent3")
    unknown = [type(a)(a.id) for a in agents]
    assert designer("star").design(None, unknown).hypergraph.nodes == tuple(a.id for a in agents)


def test_a_fixed_topology_is_built_once(task, make_team) -> None:
    one, two = (designer("complete").design(task, make_team(8)).hypergraph for _ in range(2))
    assert one is two


def test_parameters_in_the_name() -> None:
    assert len(designer("self_consistency:k=7").design(None, [_one()]).hypergraph.edges) == 7


def _one():
    return type("One", (), {"id": "ann", "role": "solver", "profile": None, "reliability": None})()


def test_a_designer_is_returned_as_it_is() -> None:
    fixed = FixedDesigner("chain")
    assert designer(fixed) is fixed
    with pytest.raises(ConfigError, match="design"):
        designer(42)


def test_no_agents_is_refused(task) -> None:
    for spec in ("star", "paper"):
        with pytest.raises(HypergraphError, match="at least one"):
            designer(spec).design(task, [])


@pytest.mark.parametrize(
    ("spec", "offender"),
    [
        ("chian", "Did you mean 'chain'"),
        ("papr", "Did you mean 'paper'"),
        ("star:k=2", "'k'"),
        ("paper:depth=3", "depth"),
        ("paper:k", "'k'"),
        ("paper:k=0", "k must be"),
        ("paper:k=9", "at most 4"),
        ("paper:tau=0", "tau"),
        ("paper:tau=warm", "tau"),
        ("paper:mode=best", "'best'"),
        ("paper:zeta=-1", "zeta"),
        ("paper:anchor=stra", "star"),
        ("paper:anchor=self_consistency", "self_consistency"),
    ],
)
def test_a_wrong_spec_is_named(spec: str, offender: str, task, make_team) -> None:
    with pytest.raises(ConfigError) as caught:
        designer(spec).design(task, make_team(3))
    assert offender in str(caught.value)


def test_an_unknown_topology_lists_anchors_and_designers() -> None:
    with pytest.raises(UnknownNameError) as caught:
        designer("nonsense")
    assert set(caught.value.known) == {*anchors.names(), *designers.names()}


def test_an_installed_package_can_add_a_designer(tmp_path: Path) -> None:
    (tmp_path / "other_pkg.py").write_text(
        "from hyperagent.topology import FixedDesigner\n"
        "def make(size: int = 3):\n"
        "    d = FixedDesigner(f'windows:size={size}'); d.name = 'ours'; return d\n"
    )
    info = tmp_path / "other_pkg-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-pkg\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[hyperagent.designers]\nours = other_pkg:make\n")
    code = (
        "from hyperagent.topology import designer; from types import SimpleNamespace as N; "
        "team = [N(id=c, role='r', profile='', reliability=None) for c in 'abcd']; "
        "print([len(e.members) for e in designer('ours:size=2').design(None, team)"
        ".hypergraph.edges])"
    )
    assert python(code, tmp_path) == "[2, 2, 2]"
