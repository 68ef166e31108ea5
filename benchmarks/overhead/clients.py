"""The same single chat call through each client, so that only the layers above it differ.

Every client is a factory ``make(url) -> (call, close)`` of two coroutine functions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

QUESTION = (
    "Natalia sold clips to 48 of her friends in April, and then half as many in May. How many?"
)
SYSTEM = "You solve word problems."
KEY = "sk-loopback"

Call = Callable[[], Awaitable[object]]
Client = Callable[[str], tuple[Call, Call]]


def openai_client(url: str) -> tuple[Call, Call]:
    """The bare client with its aiohttp transport, reading a completion object."""
    from openai import AsyncOpenAI, DefaultAioHttpClient

    client = AsyncOpenAI(
        base_url=url, api_key=KEY, max_retries=0, http_client=DefaultAioHttpClient()
    )

    async def call() -> object:
        reply = await client.chat.completions.create(
            model="tiny",
            max_tokens=64,
            messages=[
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": QUESTION},
            ],
        )
        return reply.choices[0].message.content

    return call, client.close


def our_backend(url: str) -> tuple[Call, Call]:
    """The `openai:` backend alone: the floor that our own layer stands on."""
    from hyperagent.llm import ChatRequest, Message, backend

    model = backend(f"openai:tiny@{url}")
    request = ChatRequest((Message("system", SYSTEM), Message("user", QUESTION)), max_tokens=64)

    async def call() -> object:
        return (await model.complete(request)).text

    return call, model.aclose


def our_team(url: str) -> tuple[Call, Call]:
    """Team, orchestrator, ledger and budget around one agent and one call."""
    import hyperagent as ha

    team = ha.Team([ha.Agent("ann", sampling=_sampling())], "single", f"openai:tiny@{url}")
    allowance = ha.Allowance(tokens=10**12)
    run = ha.Ledger(keep=False)

    async def call() -> object:
        return (await team.solve(QUESTION, allowance=allowance, ledger=run)).answer

    return call, team.aclose


def our_team_of_four(url: str) -> tuple[Call, Call]:
    """As above with four agents in one group: four calls, so costs are divided by four."""
    import hyperagent as ha

    agents = [ha.Agent(name, sampling=_sampling()) for name in ("ann", "bob", "cat", "dan")]
    team = ha.Team(agents, "group", f"openai:tiny@{url}", routing=ha.Routing(rounds=0))
    allowance = ha.Allowance(tokens=10**12)
    run = ha.Ledger(keep=False)

    async def call() -> object:
        return (await team.solve(QUESTION, allowance=allowance, ledger=run)).answer

    return call, team.aclose


def _sampling() -> object:
    from hyperagent.team import Sampling

    return Sampling(max_tokens=64)


def pydantic_ai_agent(url: str) -> tuple[Call, Call]:
    """`pydantic_ai.Agent.run` over the same client and transport."""
    from openai import AsyncOpenAI, DefaultAioHttpClient
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    client = AsyncOpenAI(
        base_url=url, api_key=KEY, max_retries=0, http_client=DefaultAioHttpClient()
    )
    model = OpenAIChatModel("tiny", provider=OpenAIProvider(openai_client=client))
    agent = Agent(model, instructions=SYSTEM, model_settings={"max_tokens": 64})

    async def call() -> object:
        return (await agent.run(QUESTION)).output

    return call, client.close


def langgraph_node(url: str) -> tuple[Call, Call]:
    """A LangGraph graph of one node that calls the same bare client."""
    from typing import TypedDict

    from langgraph.graph import END, START, StateGraph

    inner, close = openai_client(url)

    class State(TypedDict):
        answer: str

    async def node(state: State) -> State:
        return {"answer": str(await inner())}

    builder = StateGraph(State)
    builder.add_node("agent", node)
    builder.add_edge(START, "agent")
    builder.add_edge("agent", END)
    graph = builder.compile()

    async def call() -> object:
        return await graph.ainvoke({"answer": ""})

    return call, close


def langgraph_chat_model(url: str) -> tuple[Call, Call]:
    """A LangGraph graph of one node with LangChain's `ChatOpenAI`, as its manual shows it."""
    from langchain_openai import ChatOpenAI
    from langgraph.graph import END, START, MessagesState, StateGraph

    model = ChatOpenAI(base_url=url, api_key=KEY, model="tiny", max_tokens=64, max_retries=0)

    async def node(state: MessagesState) -> dict:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("agent", node)
    builder.add_edge(START, "agent")
    builder.add_edge("agent", END)
    graph = builder.compile()

    async def call() -> object:
        return await graph.ainvoke({"messages": [("system", SYSTEM), ("user", QUESTION)]})

    async def close() -> None:
        return None

    return call, close


CLIENTS: dict[str, tuple[Client, int]] = {
    "openai client": (openai_client, 1),
    "hyperagent backend": (our_backend, 1),
    "hyperagent team": (our_team, 1),
    "hyperagent team of four": (our_team_of_four, 4),
    "pydantic-ai Agent": (pydantic_ai_agent, 1),
    "langgraph, bare client": (langgraph_node, 1),
    "langgraph, ChatOpenAI": (langgraph_chat_model, 1),
}
"""Client and model calls per call."""
