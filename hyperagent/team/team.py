"""The team: agents, a designer of topologies and the models they speak with."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperagent import llm
from hyperagent import topology as designers
from hyperagent.errors import ConfigError
from hyperagent.hypergraph import Hypergraph
from hyperagent.llm import Allowance, Backend, CacheStore, CallContext, Ledger, Limiter, Pauses
from hyperagent.tasks import Task
from hyperagent.team.agent import Agent
from hyperagent.team.loop import run_sync
from hyperagent.team.orchestrator import Orchestrator
from hyperagent.team.result import Result
from hyperagent.team.routing import Routing
from hyperagent.team.speaker import Speaker
from hyperagent.team.teamfile import load_team_file
from hyperagent.team.tools import get_tools
from hyperagent.topology import Design, Designer, FixedDesigner, StopRule, designer

if TYPE_CHECKING:
    from hyperagent.topology import Bandit, Online

DEFAULT_BACKEND = "openai:gpt-4o-mini"


class Team:
    """Agents that answer tasks together along a hypergraph.

    Parameters
    ----------
    agents : iterable of Agent
        At least one; ids unique.
    topology : str, Hypergraph or Designer
        An anchor such as ``"role_cover"`` or ``"self_consistency:k=5"``, the name of a designer, a
        designer, or one hypergraph for every task.
    backend : str or Backend, optional
        Model of the agents that name none. Default: the environment's ``HYPERAGENT_BACKEND``,
        else ``openai:gpt-4o-mini``.
    routing : Routing
    name : str
    retry : RetryPolicy, optional
        Default: a few attempts, honouring Retry-After.
    limiter : Limiter, optional
        Shared limit on calls in flight and on rates.
    cache : CacheStore, optional
        Replies are replayed from it and added to it.
    prices : Prices, optional
        Price list; without one every price is unknown.
    backend_options : dict, optional
        Passed on to backends made from a spec string: ``base_url``, ``api_key``, ``timeout``.
    online : path or Online, optional
        State file of a team that learns from `Result.feedback` when to use other topologies; see
        `hyperagent.topology.Bandit`. Off by default.

    Raises
    ------
    ConfigError
        Naming what was wrong.

    Examples
    --------
    >>> from hyperagent.llm import FunctionBackend
    >>> team = Team([Agent("ann")], "single", FunctionBackend(lambda request: "The answer is 4."))
    >>> team.solve_sync("What is 2 + 2?").answer
    '4'
    """

    def __init__(
        self,
        agents: Iterable[Agent],
        topology: str | Hypergraph | Designer = "role_cover",
        backend: str | Backend | None = None,
        *,
        routing: Routing | None = None,
        name: str = "team",
        retry: llm.RetryPolicy | None = None,
        limiter: Limiter | None = None,
        cache: CacheStore | None = None,
        prices: llm.Prices | None = None,
        backend_options: dict[str, Any] | None = None,
        online: str | Path | Online | None = None,
    ) -> None:
        self.agents = {agent.id: agent for agent in _checked(agents)}
        self.name = name
        self.routing = routing or Routing()
        self.topology = topology
        self.designer = None if isinstance(topology, Hypergraph) else designer(topology)
        self.retry, self.limiter, self.cache, self.prices = retry, limiter, cache, prices
        self._bandit = None if online is None else self._open_bandit(online)
        self._pauses = Pauses()
        self._backends = self._open_backends(backend, backend_options or {})

    @classmethod
    def from_config(cls, name: str | Path, **overrides: Any) -> Team:
        """Team of a team file.

        Parameters
        ----------
        name : str or Path
            Path of a YAML file, or a bare name: looked up in ``configs/teams`` of the working
            directory, then among the files of the package (``math``, ``code``, …).
        **overrides
            Any parameter of `Team`, in place of the file's.
        """
        parts = load_team_file(name)
        parts.update({key: value for key, value in overrides.items() if value is not None})
        return cls(**parts)

    def _open_backends(
        self, default: str | Backend | None, options: dict[str, Any]
    ) -> dict[str, Backend]:
        """A backend for each agent; equal spec strings share one."""
        if default is not None and all(a.backend is not None for a in self.agents.values()):
            shown = default if isinstance(default, str) else default.name
            warnings.warn(
                f"backend {shown!r} is not used: every agent of team {self.name!r} names its own",
                stacklevel=3,
            )
        opened: dict[str, Backend] = {}
        found: dict[str, Backend] = {}
        for agent in self.agents.values():
            spec = agent.backend or default or os.environ.get("HYPERAGENT_BACKEND")
            spec = spec or DEFAULT_BACKEND
            if isinstance(spec, str):
                if spec not in opened:
                    opened[spec] = llm.backend(spec, **options)
                spec = opened[spec]
            found[agent.id] = spec
        return found

    def _open_bandit(self, online: str | Path | Online) -> Bandit:
        settings = online if isinstance(online, designers.Online) else designers.Online(online)
        for arm in settings.arms:
            FixedDesigner(arm)
        spec = self.topology
        if not isinstance(spec, str):
            spec = spec.digest() if isinstance(spec, Hypergraph) else spec.name
        return designers.Bandit(settings, team_digest(self.agents.values(), spec))

    @property
    def backends(self) -> dict[str, Backend]:
        """Bare backends by agent id."""
        return dict(self._backends)

    def with_topology(self, topology: str | Hypergraph | Designer) -> Team:
        """The same team, sharing its backends and limits, with another topology; not online."""
        other = object.__new__(Team)
        other.__dict__.update(self.__dict__)
        # What was learned from feedback is about the topology of this team.
        other._bandit = None
        other.topology = topology
        other.designer = None if isinstance(topology, Hypergraph) else designer(topology)
        return other

    def with_routing(self, **changes: Any) -> Team:
        """The same team, sharing its backends and limits, with other routing switches."""
        other = object.__new__(Team)
        other.__dict__.update(self.__dict__)
        other.routing = replace(self.routing, **changes)
        return other

    def with_temperature(self, temperature: float) -> Team:
        """The same team, sharing its backends and limits, all agents sampled alike; 0: greedy."""
        other = object.__new__(Team)
        other.__dict__.update(self.__dict__)
        other.agents = {
            name: replace(agent, sampling=replace(agent.sampling, temperature=temperature))
            for name, agent in self.agents.items()
        }
        return other

    def with_reliability(self, reliability: dict[str, float]) -> Team:
        """The same team, sharing its backends and limits, with measured reliabilities."""
        unknown = sorted(set(reliability) - set(self.agents))
        if unknown:
            raise ConfigError(
                f"reliability of {', '.join(unknown)}, but the agents are {', '.join(self.agents)}"
            )
        other = object.__new__(Team)
        other.__dict__.update(self.__dict__)
        other.agents = {
            name: replace(agent, reliability=reliability.get(name, agent.reliability))
            for name, agent in self.agents.items()
        }
        return other

    def design(self, task: Task, *, seed: int = 0) -> Design:
        """The topology that this team would use for `task`; calls no agent."""
        if self.designer is None:
            return Design(self.topology, name="given")
        return self.designer.design(task, tuple(self.agents.values()), seed=seed)

    async def solve(
        self,
        task: str | Task,
        *,
        hypergraph: Hypergraph | None = None,
        stop: StopRule | None = None,
        seed: int = 0,
        allowance: Allowance | None = None,
        ledger: Ledger | None = None,
        run: str = "",
    ) -> Result:
        """Answer one task.

        Parameters
        ----------
        task : str or Task
            A bare string is taken as a question with a number as its answer.
        hypergraph : Hypergraph, optional
            In place of the team's topology.
        stop : StopRule, optional
            That of `hypergraph`.
        seed : int
            Decoding seed and seed of the designer.
        allowance : Allowance, optional
            Budget that this task must not pass.
        ledger : Ledger, optional
            Parent that receives every row too.
        run : str
            Name of the run, for the ledger.

        Raises
        ------
        ConfigError
            If `stop` comes without a hypergraph.
        BudgetExceeded
            Carrying the partial `Result`.
        BackendError
            Only for errors that every call would meet, such as a wrong key or address.
        """
        if isinstance(task, str):
            task = Task(task)
        design = play = None
        if hypergraph is None:
            if stop is not None:
                raise ConfigError("a stop rule is that of a hypergraph; give both")
            design = self.design(task, seed=seed)
            if self._bandit is not None:
                play = self._bandit.choose(task.question, seed)
                if play.arm != designers.DEFAULT_ARM:
                    design = FixedDesigner(play.arm).design(task, tuple(self.agents.values()))
        elif stop is not None:
            design = Design(hypergraph, stop=stop)
        graph = hypergraph if design is None else design.hypergraph
        # So that e0, e1, … mean the same groups here, on the ledger and in HIF files.
        graph = graph.with_edges(graph.canonical().edges)
        own = Ledger(parent=ledger)
        # One wrapper for each model, not for each agent: a thousand agents may share one.
        wrapped = {
            id(backend): llm.stack(
                backend,
                ledger=own,
                allowance=allowance,
                retry=self.retry,
                pauses=self._pauses,
                limiter=self.limiter,
                cache=self.cache,
                prices=self.prices,
            )
            for backend in self._backends.values()
        }
        speaker = Speaker(
            task,
            self.agents,
            {name: wrapped[id(backend)] for name, backend in self._backends.items()},
            self.routing,
            seed,
            CallContext(run=run, task=task.id, topology=graph.digest()),
        )
        result = await Orchestrator(speaker, graph, own, design).run()
        if self._bandit is None or play is None:
            return result
        tokens = result.usage.total_tokens
        return replace(result, learn=partial(self._bandit.learn, play.id, tokens=tokens))

    def solve_sync(self, task: str | Task, **options: Any) -> Result:
        """`solve` for synchronous code; works inside a running event loop too."""
        return run_sync(self.solve(task, **options))

    async def aclose(self) -> None:
        """Close every backend, and the state of a team that is online."""
        if self._bandit is not None:
            self._bandit.close()
        for backend in {id(b): b for b in self._backends.values()}.values():
            await backend.aclose()

    def close(self) -> None:
        """`aclose` for synchronous code."""
        run_sync(self.aclose())

    async def __aenter__(self) -> Team:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    def __enter__(self) -> Team:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Team({self.name!r}, agents={list(self.agents)}, topology={self.topology!r})"


def team_digest(agents: Iterable[Agent], topology: str) -> str:
    """Names the team and topology that a state file belongs to; reliabilities may change."""
    text = json.dumps([sorted((agent.id, agent.role) for agent in agents), topology])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _checked(agents: Iterable[Agent]) -> list[Agent]:
    agents = list(agents)
    if not agents:
        raise ConfigError("a team needs at least one agent, got none")
    seen: set[str] = set()
    for agent in agents:
        if not isinstance(agent, Agent):
            raise ConfigError(f"agents must be Agent objects, got {agent!r}")
        if agent.id in seen:
            raise ConfigError(f"agent id {agent.id!r} stands twice")
        seen.add(agent.id)
        get_tools(agent.tools)
    return agents
