"""``hyperagent explain``: who was seated for one question, in which groups, and what it took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hyperagent.cli import output
from hyperagent.cli.options import (
    AsJson,
    BackendSpec,
    BaseUrl,
    ConfigFile,
    DataDir,
    Kind,
    Model,
    Quiet,
    Seed,
    TeamName,
    Timeout,
)

if TYPE_CHECKING:
    from hyperagent.cli.settings import Resolved
    from hyperagent.hypergraph import Hypergraph
    from hyperagent.tasks import Task
    from hyperagent.team import Result, Team
    from hyperagent.topology import Design

DEFAULT_TEAM = "math"


def explain(
    question: Annotated[str, typer.Argument(help="The question; - reads standard input.")],
    topology: Annotated[
        str | None,
        typer.Option("--topology", "-t", metavar="NAME", help="What to explain, e.g. learned:DIR; "
                     "the team's own by default."),
    ] = None,
    team: TeamName = None,
    backend: BackendSpec = None,
    base_url: BaseUrl = None,
    model: Model = None,
    kind: Annotated[
        Kind, typer.Option("--kind", help="What the answer is, as in ask.")
    ] = Kind.AUTO,
    dry: Annotated[bool, typer.Option("--dry", help="Only design; call no model.")] = False,
    seed: Seed = None,
    timeout: Timeout = None,
    data: DataDir = None,
    config: ConfigFile = None,
    json: AsJson = False,
    quiet: Quiet = False,
) -> int:  # fmt: skip
    """Say for one question who was seated, in which groups, and at what cost.

    The explanation goes to standard output.
    """
    from hyperagent.cli import settings
    from hyperagent.cli.ask import read_question
    from hyperagent.cli.kinds import make_task
    from hyperagent.team import run_sync

    resolved = settings.resolve(
        {
            "base_url": base_url, "model": model, "backend": backend, "team": team,
            "topology": topology, "seed": seed, "timeout": timeout, "data": data,
        },
        file=config,
    )  # fmt: skip
    task = make_task(read_question(question), kind)
    with output.waiting("the team is working", quiet=quiet or json or dry):
        told = run_sync(_explain(resolved, task, dry=dry, quiet=quiet or json))
    if json:
        output.json_result(told.to_json())
    else:
        for line in told.lines():
            output.result(line)
    return output.OK if told.result is None or told.result.answer is not None else output.FAILED


async def _explain(resolved: Resolved, task: Task, *, dry: bool, quiet: bool) -> Explanation:
    from hyperagent.cli import connect
    from hyperagent.team import Team, load_team_file
    from hyperagent.topology import designer

    values, options = resolved.values, resolved.options()
    name = values.team or DEFAULT_TEAM
    if dry:
        # No model is opened, so that a design needs neither a key nor a server.
        parts = load_team_file(name)
        source = designer(values.topology or parts["topology"])
        design = source.design(task, parts["agents"], seed=values.seed)
        roles = {agent.id: agent.role for agent in parts["agents"]}
        return _told(task, source, design, roles, None)
    team: Team = Team.from_config(
        name,
        backend=await connect.choose_backend(resolved, name, quiet=quiet),
        topology=values.topology,
        backend_options=options,
    )
    if values.timeout is not None:
        team = team.with_routing(timeout=values.timeout)
    async with team:
        await connect.check_servers(team.backends.values())
        result = await team.solve(task, seed=values.seed)
    roles = {agent.id: agent.role for agent in team.agents.values()}
    return _told(task, team.designer, result.design, roles, result)


@dataclass(frozen=True)
class Explanation:
    """A design, what was expected of it and what it took.

    Attributes
    ----------
    design : Design
        With its groups in canonical order.
    roles : dict of str to str
        By agent.
    success : float or None
        Expected probability that the answer is right.
    tokens : float or None
        Expected tokens.
    saved : tuple of (float or None)
        Expected tokens that each group adds to the others.
    result : Result or None
        None if nothing was run.
    """

    design: Design
    roles: dict[str, str]
    success: float | None
    tokens: float | None
    saved: tuple[float | None, ...]
    result: Result | None

    def spent(self, column: str) -> dict[Any, float]:
        """Tokens on the ledger by agent, or by group; a call for several groups is divided."""
        found: dict[Any, float] = {}
        for row in () if self.result is None else self.result.ledger:
            keys = (row.agent,) if column == "agent" else row.edges
            for key in keys:
                found[key] = found.get(key, 0.0) + (row.total_tokens or 0) / len(keys)
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary, ready for `json.dumps`."""
        by_agent, by_group = self.spent("agent"), self.spent("group")
        ran = self.result is not None
        seats = self._seats()
        return {
            "designer": self.design.name,
            "agents": [
                {
                    "id": name,
                    "role": role,
                    "seated": name in seats,
                    "tokens": by_agent.get(name, 0.0) if ran else None,
                }
                for name, role in self.roles.items()
            ],
            "hyperedges": [
                {
                    "id": f"e{i}",
                    "members": list(edge.members),
                    "mode": edge.mode,
                    "phase": edge.phase,
                    "probability": self._probability(i),
                    "opened": self._opened(i),
                    "expected_tokens": self.saved[i],
                    "tokens": by_group.get(f"e{i}", 0.0) if ran else None,
                }
                for i, edge in enumerate(self.design.hypergraph.edges)
            ],
            "expected_success": self.success,
            "expected_tokens": self.tokens,
            "tokens": self.result.usage.total_tokens if self.result else None,
            "answer": self.result.answer if self.result else None,
        }

    def lines(self) -> list[str]:
        """Two tables and their sums."""
        data = self.to_json()
        lines = [f"designed by {data['designer']}", ""]
        lines += output.columns(
            [("agent", "role", "seated", "tokens")]
            + [
                (a["id"], a["role"], "yes" if a["seated"] else "no", _count(a["tokens"]))
                for a in data["agents"]
            ]
        )
        lines += ["", *output.columns(
            [("group", "members", "mode", "phase", "probability", "opened", "expected", "tokens")]
            + [
                (
                    e["id"], ", ".join(e["members"]), e["mode"], str(e["phase"]),
                    f"{e['probability']:.0%}",
                    {None: "-", True: "yes", False: "no"}[e["opened"]],
                    _count(e["expected_tokens"]), _count(e["tokens"]),
                )
                for e in data["hyperedges"]
            ]
        )]  # fmt: skip
        expected = f"expected: {_count(self.tokens)} tokens"
        if self.success is not None:
            expected += f", right with probability {self.success:.0%}"
        lines += ["", expected]
        if self.result is not None:
            lines.append(
                f"on the ledger: {data['tokens']:,} tokens in "
                f"{output.plural(self.result.usage.calls, 'call')}; answer: "
                f"{self.result.answer or 'none'}"
            )
        return lines

    def _seats(self) -> set[str]:
        from hyperagent.hypergraph import agent_of

        return {agent_of(node)[0] for node in self.design.hypergraph.seated()}

    def _probability(self, number: int) -> float:
        # A designer that draws nothing has chosen its groups for certain.
        known = self.design.probabilities
        return 1.0 if known is None else float(known[f"e{number}"])

    def _opened(self, number: int) -> bool | None:
        if self.result is None:
            return None
        return bool(self.result.boards[number].notes)


def _count(tokens: float | None) -> str:
    return "-" if tokens is None else f"{tokens:,.0f}"


def _told(
    task: Task, source: Any, design: Design, roles: dict[str, str], result: Result | None
) -> Explanation:
    """Ask the designer what it expects; few can say."""
    from dataclasses import replace

    graph = design.hypergraph
    graph = graph.with_edges(graph.canonical().edges)
    design = replace(design, hypergraph=graph)
    success = tokens = None
    saved: list[float | None] = [None] * len(graph.edges)
    if design.expected is not None:
        tokens = design.expected.tokens
        saved = [design.expected.by_edge.get(f"e{i}") for i in range(len(graph.edges))]
        return Explanation(design, roles, success, tokens, tuple(saved), result)
    expect = getattr(source, "expect", None)
    predicted = expect(task, [graph]) if expect is not None else None
    if predicted is not None:
        success, tokens = float(predicted.mean[0]), float(predicted.tokens[0])
        for i in range(len(graph.edges)):
            rest = _without(graph, i)
            less = float(expect(task, [rest]).tokens[0]) if rest.edges else 0.0
            saved[i] = tokens - less
    return Explanation(design, roles, success, tokens, tuple(saved), result)


def _without(graph: Hypergraph, number: int) -> Hypergraph:
    return graph.with_edges(edge for i, edge in enumerate(graph.edges) if i != number)
