"""One speech of one agent: the call, the tools it uses, the note it posts."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hyperagent.errors import BackendError, BudgetExceeded
from hyperagent.hypergraph import agent_of
from hyperagent.llm import Backend, CallContext, ChatRequest, Message
from hyperagent.tasks import Task
from hyperagent.team.agent import Agent
from hyperagent.team.note import NOTE_SCHEMA, Note, parse_note
from hyperagent.team.prompts import build_messages
from hyperagent.team.routing import Routing
from hyperagent.team.tools import find_call, get_tools


def call_seed(seed: int, task: str, node: str, purpose: str, round: int) -> int:
    """Decoding seed of a call, equal in every topology that makes the same call.

    Common random numbers make topologies comparable, and let the cache share their calls.
    """
    key = f"{seed}\x1f{task}\x1f{node}\x1f{purpose}\x1f{round}"
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") >> 1


@dataclass(frozen=True)
class Speaker:
    """Speaks for the agents of a team on one task.

    Parameters
    ----------
    task : Task
    agents : dict of str to Agent
    backends : dict of str to Backend
        By agent id, wrapped for this task.
    routing : Routing
    seed : int
    context : CallContext
        Run, task and topology; the rest is filled in per call.
    """

    task: Task
    agents: dict[str, Agent]
    backends: dict[str, Backend]
    routing: Routing
    seed: int
    context: CallContext

    async def speak(
        self,
        node: str,
        *,
        purpose: str,
        phase: int,
        edges: tuple[str, ...],
        round: int = 0,
        notes: Sequence[Note] = (),
        own: Note | None = None,
    ) -> Note:
        """Let `node` speak and return its note.

        A failure becomes an empty note that says why, so that nobody waits for it. Three things do
        pass through: cancellation, a spent budget, and errors that no later call can escape.
        """
        try:
            async with asyncio.timeout(self.routing.timeout):
                text = await self._converse(node, purpose, phase, edges, round, notes, own)
        except (BudgetExceeded, asyncio.CancelledError):
            raise
        except TimeoutError:
            error = f"CallTimeout: no answer within {self.routing.timeout:g} s"
        # A backend is other people's code; one agent's crash must not take the team with it. It is
        # reported in the note and in `Result.errors`.
        except Exception as problem:
            if isinstance(problem, BackendError) and problem.fatal:
                raise
            error = f"{type(problem).__name__}: {problem}"
        else:
            return parse_note(
                text, self.task, node, tokens=self.routing.note_tokens, round=round, phase=phase
            )
        return Note(node, round=round, phase=phase, error=error)

    async def _converse(
        self,
        node: str,
        purpose: str,
        phase: int,
        edges: tuple[str, ...],
        round: int,
        notes: Sequence[Note],
        own: Note | None,
    ) -> str:
        name, sample = agent_of(node)
        agent, backend, routing = self.agents[name], self.backends[name], self.routing
        tools = get_tools(agent.tools)
        structured = routing.structured == "always" or (
            # JSON leaves no room for a fenced tool call or a program.
            routing.structured == "auto"
            and backend.capabilities.schema is True
            and not tools
            and self.task.kind != "code"
        )
        messages = build_messages(
            agent.prompt,
            self.task,
            purpose=purpose,
            notes=notes,
            own=own,
            tools=tools,
            structured=structured,
            answer_tokens=routing.answer_tokens,
        )
        request = ChatRequest(
            messages,
            temperature=agent.sampling.temperature,
            top_p=agent.sampling.top_p,
            max_tokens=agent.sampling.max_tokens,
            stop=agent.sampling.stop,
            seed=call_seed(self.seed, self.task.id, node, purpose, round),
            schema=NOTE_SCHEMA if structured else None,
            sample=sample,
            context=replace(
                self.context,
                phase=phase,
                edges=edges,
                agent=name,
                purpose=purpose,
                reads=tuple(note.author for note in notes),
            ),
        )
        said: list[str] = []
        for turn in range(routing.tool_calls + 1):
            text = (await backend.complete(request)).text
            said.append(text)
            call = find_call(text, tools) if turn < routing.tool_calls else None
            if call is None:
                break
            tool, source = call
            output = await tool.run(source)
            said.append(output)
            request = replace(
                request,
                messages=(
                    *request.messages,
                    Message("assistant", text),
                    Message("user", f"Result of {tool.name}:\n{output}\nGo on from here."),
                ),
            )
        return "\n".join(said)
