"""The designer in a folder that ``hyperagent learn`` wrote."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from hyperagent.errors import ConfigError, HypergraphError
from hyperagent.hypergraph import Hypergraph
from hyperagent.topology.anytime_designer import AnytimeDesigner
from hyperagent.topology.codebook import CodebookDesigner
from hyperagent.topology.design import AgentLike, Design, Designer, TaskLike
from hyperagent.topology.paper import PaperDesigner
from hyperagent.topology.probe_designer import ProbeDesigner
from hyperagent.topology.surrogate import Prediction
from hyperagent.topology.surrogate_designer import SurrogateDesigner
from hyperagent.topology.vae import VaeDesigner

FORMAT = 1
POLICY_FILE = "policy.json"
FILES = {
    "surrogate": "surrogate.safetensors", "codebook": "codebook", "vae": "vae", "rloo": "rloo",
    "paper": "paper.safetensors", "anytime": "anytime", "probe": "probe",
}  # fmt: skip
"""Weights of each kind of policy, below the folder."""

_LOADERS: dict[str, Callable[[Path], Designer]] = {
    "anytime": AnytimeDesigner.load,
    "codebook": CodebookDesigner.load,
    "paper": lambda path: PaperDesigner(weights=path, mode="mode"),
    "probe": ProbeDesigner.load,
    "surrogate": SurrogateDesigner.load,
    "vae": lambda path: VaeDesigner.load(path, mode="mode"),
    "rloo": lambda path: VaeDesigner.load(path, mode="mode"),
}


class LearnedDesigner:
    """Designs as it was learned, or, where the guard refused that, the best fixed topology.

    Parameters
    ----------
    path : path
        Folder that ``hyperagent learn`` wrote.

    Attributes
    ----------
    name : str
        ``"learned surrogate"``; ``"learned surrogate, not used: star"`` where the guard refused it;
        ``"learned constant: star"``.
    record : dict
        What ``policy.json`` says.

    Raises
    ------
    ConfigError
        If the folder is missing, not finished, or holds something else.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        # A folder whose name is a number is read as one from a spec.
        self.path = Path(str(path))
        self.record = _read(self.path)
        try:
            kind, name = self.record["policy"], self.record["fixed"]["name"]
            self.fixed = Hypergraph.from_hif(self.record["fixed"]["hypergraph"])
            self._team = [dict(agent) for agent in self.record["team"]]
            shipped = bool(self.record["shipped"])
        except (KeyError, TypeError, ValueError, HypergraphError) as error:
            raise ConfigError(
                f"learned: {self.path / POLICY_FILE} is damaged: {error!r}"
            ) from error
        self._designer: Designer | None = None
        if shipped:
            if kind not in _LOADERS:
                raise ConfigError(f"learned: {self.path} holds a policy of unknown kind {kind!r}")
            self._designer = _LOADERS[kind](self.path / FILES[kind])
            self.name = f"learned {kind}"
        else:
            self.name = (
                f"learned {kind}: {name}"
                if kind == "constant"
                else (f"learned {kind}, not used: {name}")
            )
        self._surrogate: SurrogateDesigner | None = None

    def design(self, task: TaskLike, agents: Sequence[AgentLike], *, seed: int = 0) -> Design:
        """The topology for `task`; the order of `agents` and the seed change nothing.

        Raises
        ------
        ConfigError
            If the agents are not those that the policy was learned with.
        """
        self._check(agents)
        if self._designer is None:
            return Design(self.fixed, name=self.name)
        return replace(self._designer.design(task, agents, seed=seed), name=self.name)

    def expect(self, task: TaskLike, hypergraphs: Sequence[Hypergraph]) -> Prediction | None:
        """Expected success and tokens of hypergraphs; None where no surrogate was learned."""
        file = self.path / FILES["surrogate"]
        if self._surrogate is None and file.exists():
            self._surrogate = SurrogateDesigner.load(file)
        if self._surrogate is None:
            return None
        return self._surrogate.surrogate.predict(task, hypergraphs)

    def _check(self, agents: Sequence[AgentLike]) -> None:
        given = {agent["id"]: agent for agent in team_record(agents)}
        known = {agent["id"]: agent for agent in self._team}
        for what, names in (
            ("it lacks", sorted(set(known) - set(given))),
            ("new is", sorted(set(given) - set(known))),
        ):
            if names:
                raise ConfigError(
                    f"learned: the policy in {self.path} was learned with other agents: "
                    f"{what} {names[0]!r} (learned with {', '.join(sorted(known))})"
                )
        for name in sorted(known):
            for key, value in known[name].items():
                if given[name][key] != value:
                    raise ConfigError(
                        f"learned: the policy in {self.path} was learned with other agents: the "
                        f"{key} of {name!r} was {value!r} and is {given[name][key]!r}"
                    )


def team_record(agents: Iterable[AgentLike]) -> list[dict[str, Any]]:
    """What a policy says of the agents it was learned with, sorted by id.

    Reliabilities are left out: they may be measured again.
    """
    return [
        {"id": agent.id, "role": agent.role, "profile": agent.profile}
        for agent in sorted(agents, key=lambda agent: agent.id)
    ]


def _read(folder: Path) -> dict[str, Any]:
    path = folder / POLICY_FILE
    if not folder.is_dir():
        raise ConfigError(f"learned: there is no folder {folder}; 'hyperagent learn' writes one")
    if not path.exists():
        begun = (folder / "outcomes.jsonl").exists()
        raise ConfigError(
            f"learned: {folder} holds no policy (no {POLICY_FILE})"
            + ("; learning was not finished: go on with --resume" if begun else "")
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"learned: cannot read {path}: {error}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ConfigError(
            f"learned: {path} must be of format {FORMAT}, as 'hyperagent learn' writes it"
        )
    return record
