"""Designers by name."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path

from hyperagent.errors import ConfigError, UnknownNameError
from hyperagent.hypergraph import anchors
from hyperagent.registry import Registry, split_spec
from hyperagent.topology.design import Designer
from hyperagent.topology.fixed import FixedDesigner

designers: Registry[Callable[..., Designer]] = Registry(
    "designer",
    {
        "adaptive": "hyperagent.topology.peers.consistency:AdaptiveConsistency",
        "agentprune": "hyperagent.topology.peers.agentprune:AgentPrune",
        "anytime": "hyperagent.topology.anytime_designer:AnytimeDesigner",
        "codebook": "hyperagent.topology.codebook:saved_codebook",
        "dylan": "hyperagent.topology.peers.dylan:Dylan",
        "esc": "hyperagent.topology.peers.consistency:EarlyStoppingConsistency",
        "escalation": "hyperagent.topology.peers.escalation:Escalation",
        "gdesigner": "hyperagent.topology.peers.gdesigner:GDesigner",
        "gptswarm": "hyperagent.topology.peers.gptswarm:GptSwarm",
        "learned": "hyperagent.topology.learned:LearnedDesigner",
        "paper": "hyperagent.topology.paper:PaperDesigner",
        "plurality": "hyperagent.topology.peers.consistency:Plurality",
        "probe": "hyperagent.topology.probe_designer:ProbeDesigner",
        "router": "hyperagent.topology.peers.router:Router",
        "surrogate": "hyperagent.topology.surrogate_designer:saved_surrogate",
        "vae": "hyperagent.topology.vae:VaeDesigner",
    },
    group="hyperagent.designers",
)
"""Callables that take keyword parameters and return a `Designer`. Every anchor is one too,
without being listed here."""

BARE = {"learned": "path"}
"""Parameter whose value may follow the name of a designer alone: ``"learned:DIR"``."""


def weights_digest(spec: str) -> str | None:
    """SHA-256 of what a spec reads from the disk; None if it reads nothing.

    A folder counts by its weights and settings: what a learning run logs beside them may grow.

    Parameters
    ----------
    spec : str
        As `designer` takes it.
    """
    files: list[Path] = []
    for value in split_spec(spec, BARE)[1].values():
        path = Path(str(value))
        if path.is_dir():
            files += [f for f in path.rglob("*") if f.suffix == ".safetensors"]
            files += [f for f in path.rglob("*") if f.name in ("policy.json", "config.json")]
        elif path.is_file():
            files.append(path)
    if not files:
        return None
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.name}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def designer(spec: str | Designer) -> Designer:
    """The designer that `spec` names.

    Parameters
    ----------
    spec : str or Designer
        An anchor (``"star"``, ``"random:seed=3"``), a registered designer with parameters
        (``"paper"``, ``"paper:k=1,mode=mode"``, ``"learned:DIR"``), or a designer, which is
        returned as it is.

    Raises
    ------
    UnknownNameError
        If neither an anchor nor a designer has that name.
    ConfigError
        Naming a parameter that the designer does not take.
    """
    if not isinstance(spec, str):
        if isinstance(spec, Designer):
            return spec
        raise ConfigError(f"a designer needs a name and a method design, got {spec!r}")
    name, params = split_spec(spec, BARE)
    if name in anchors.names():
        return FixedDesigner(spec)
    if name not in designers.names():
        raise UnknownNameError("topology", name, [*anchors.names(), *designers.names()])
    make = designers.get(name)
    try:
        inspect.signature(make).bind(**params)
    except TypeError as error:
        takes = ", ".join(inspect.signature(make).parameters) or "no parameters"
        raise ConfigError(f"designer {spec!r}: {error}; it takes {takes}") from None
    return make(**params)
