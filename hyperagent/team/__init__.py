"""A team of agents and the orchestrator that routes their messages along a hypergraph."""

from hyperagent.team.agent import Agent, Sampling
from hyperagent.team.board import Board
from hyperagent.team.loop import run_sync
from hyperagent.team.note import Note, parse_note
from hyperagent.team.orchestrator import Orchestrator
from hyperagent.team.result import Result
from hyperagent.team.roles import Role, get_role, role_names
from hyperagent.team.routing import Routing
from hyperagent.team.team import Team
from hyperagent.team.teamfile import load_team_file, team_names
from hyperagent.team.tools import Calculator, Python, Tool, calculate, tools
from hyperagent.team.vote import Poll, poll

__all__ = [
    "Agent",
    "Board",
    "Calculator",
    "Note",
    "Orchestrator",
    "Poll",
    "Python",
    "Result",
    "Role",
    "Routing",
    "Sampling",
    "Team",
    "Tool",
    "calculate",
    "get_role",
    "load_team_file",
    "parse_note",
    "poll",
    "role_names",
    "run_sync",
    "team_names",
    "tools",
]
