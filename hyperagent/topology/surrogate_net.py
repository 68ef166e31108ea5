"""The network behind the surrogate: a set function of agents, groups and the task.

The incidence is read itself, and every agent has features of its own name, so that topologies
differ also when all profiles are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor, nn

from hyperagent.errors import ConfigError
from hyperagent.hypergraph import MODES, Hypergraph, agent_of
from hyperagent.topology.design import AgentLike
from hyperagent.topology.encoders import TextEncoder, text_encoder
from hyperagent.topology.features import DIM, encode_texts

EDGE_FEATURES = len(MODES) + 2
GRAPH_FEATURES = 6
WIDTH, TEXT = 48, 16.0
"""Components of a question, and the length of a row of features."""
KINDS = 16
"""Most kinds of agents that are told apart before training."""


@dataclass(frozen=True)
class Layout:
    """Hypergraphs as arrays: R hypergraphs, E hyperedges of all of them, N nodes.

    Attributes
    ----------
    nodes : tuple of str
        The seated nodes of all hypergraphs, sorted.
    member : Tensor, shape (E, N), float32
        1 where the node is in the hyperedge.
    row : Tensor, shape (E,), int64
        Hypergraph of each hyperedge.
    edge : Tensor, shape (E, EDGE_FEATURES), float32
        Mode, phase and size.
    seated : Tensor, shape (R, N), float32
    graph : Tensor, shape (R, GRAPH_FEATURES), float32
        Logarithms of counts: seats, groups, places, meetings, distinct pairs, phases.
    """

    nodes: tuple[str, ...]
    member: Tensor
    row: Tensor
    edge: Tensor
    seated: Tensor
    graph: Tensor

    def __len__(self) -> int:
        return len(self.graph)

    def take(self, rows: Tensor) -> Layout:
        """The layout of some of the hypergraphs, in the order of `rows`, repeats included."""
        # Hyperedges lie sorted by hypergraph, so those of one are a slice.
        counts = torch.bincount(self.row, minlength=len(self))
        starts = torch.cumsum(counts, 0) - counts
        taken = counts[rows]
        row = torch.repeat_interleave(torch.arange(len(rows)), taken)
        begin = torch.repeat_interleave(torch.cumsum(taken, 0) - taken, taken)
        edges = starts[rows][row] + torch.arange(len(row)) - begin
        return Layout(
            self.nodes, self.member[edges], row, self.edge[edges], self.seated[rows],
            self.graph[rows],
        )  # fmt: skip


@lru_cache(maxsize=16)
def lay_out(graphs: tuple[Hypergraph, ...]) -> Layout:
    """Arrays of hypergraphs.

    Raises
    ------
    ConfigError
        If there is no hypergraph, or one seats nobody.
    """
    if not graphs or not all(graph.edges for graph in graphs):
        raise ConfigError("every hypergraph needs at least one hyperedge")
    graphs = tuple(graph.canonical() for graph in graphs)
    nodes = tuple(sorted({node for graph in graphs for node in graph.seated()}))
    place = {node: i for i, node in enumerate(nodes)}
    member, row, edge, seated, counts = [], [], [], [], []
    for r, graph in enumerate(graphs):
        here = np.zeros((len(graph.edges), len(nodes)), dtype=np.float32)
        for i, group in enumerate(graph.edges):
            here[i, [place[name] for name in group.members]] = 1.0
            mode = [float(group.mode == name) for name in MODES]
            edge.append([*mode, float(group.phase), np.log1p(len(group.members))])
        member.append(here)
        row.extend([r] * len(here))
        seated.append(here.max(axis=0))
        sizes, together = here.sum(axis=1), here.T @ here
        pairs = (together > 0).sum() - seated[-1].sum()
        phases = len(graph.phases())
        meetings = (sizes * (sizes - 1)).sum()
        counts.append([seated[-1].sum(), len(here), sizes.sum(), meetings, pairs, phases])
    return Layout(
        nodes,
        torch.from_numpy(np.concatenate(member)),
        torch.tensor(row),
        torch.tensor(edge, dtype=torch.float32),
        torch.from_numpy(np.stack(seated)),
        torch.log1p(torch.tensor(np.array(counts), dtype=torch.float32)),
    )


@dataclass(frozen=True)
class Reader:
    """Features of tasks and nodes, fixed before the networks are trained.

    Hashed text has more columns than a log has outcomes, so tasks are reduced to the whitened
    principal components of the questions in the log. The rows of nodes are centred: what all
    agents share tells none of them apart.

    Attributes
    ----------
    texts : dict of str to str
        Role and profile of each agent.
    mean : Tensor, shape (DIM,), float32
        Of the questions.
    basis : Tensor, shape (DIM, WIDTH), float32
        Components divided by their standard deviation; columns of zeros where the questions
        have fewer.
    encoder : str
        Reads the questions, see `hyperagent.topology.text_encoder`. Agents are always hashed.
    """

    texts: dict[str, str]
    mean: Tensor
    basis: Tensor
    encoder: str = "hashing"

    @classmethod
    def fit(
        cls, questions: Sequence[str], agents: Sequence[AgentLike], encoder: str = "hashing"
    ) -> Reader:
        """Learn the components of some questions and note what the agents are."""
        rows = torch.from_numpy(_encoder(encoder)(questions)).double()
        mean = rows.mean(dim=0)
        _, values, directions = torch.linalg.svd(rows - mean, full_matrices=False)
        kept = int((values[:WIDTH] > 1e-3 * values[0]).sum())
        basis = torch.zeros(DIM, WIDTH, dtype=torch.float64)
        deviation = values[:kept] / len(rows) ** 0.5
        # Rows have about the length TEXT whatever the number of components.
        basis[:, :kept] = directions[:kept].T / deviation * TEXT / max(kept, 1) ** 0.5
        texts = {a.id: f"{a.role} {a.profile or ''}" for a in sorted(agents, key=lambda a: a.id)}
        return cls(texts, mean.float(), basis.float(), encoder)

    def tasks(self, questions: Sequence[str]) -> Tensor:
        """Features of questions, shape (n, WIDTH), float32."""
        return (torch.from_numpy(_encoder(self.encoder)(questions)) - self.mean) @ self.basis

    def nodes(self, nodes: Sequence[str]) -> Tensor:
        """Features of nodes: what the agent is, and the node's own name (its seat).

        Parameters
        ----------
        nodes : sequence of str
            Agents or their samples, ``agent#k``.

        Returns
        -------
        Tensor, shape (n_nodes, 2 * DIM), float32

        Raises
        ------
        ConfigError
            If a node is no agent that is known.
        """
        for node in nodes:
            if agent_of(node)[0] not in self.texts:
                raise ConfigError(f"the surrogate knows no agent {agent_of(node)[0]!r}")
        profiles = _centred([self.texts[agent_of(n)[0]] for n in nodes], list(self.texts.values()))
        return torch.cat([profiles, _centred(nodes, list(self.texts))], dim=1) * TEXT / 2

    def kinds(self) -> np.ndarray:
        """Kind of each agent in the order of `texts`, shape (n_agents,), int64, from 0.

        Agents with the same text are of one kind, unless all are: then each is its own. More than
        `KINDS` are merged by average linkage of the cosine distance.
        """
        texts = list(self.texts.values())
        if len(set(texts)) == 1:
            texts = list(self.texts)
        distinct = list(dict.fromkeys(texts))
        kind = np.arange(len(distinct))
        if len(distinct) > KINDS:
            tree = linkage(_centred(distinct, distinct).numpy(), "average", metric="cosine")
            kind = fcluster(tree, KINDS, "maxclust").astype(np.int64) - 1
        return kind[[distinct.index(text) for text in texts]]


@lru_cache(maxsize=4)
def _encoder(spec: str) -> TextEncoder:
    return text_encoder(spec)


START = 3.0
"""Logit of an ability that an agent starts with; the others start at the negative."""


def _centred(texts: Sequence[str], team: Sequence[str]) -> Tensor:
    rows = torch.from_numpy(encode_texts(texts) - encode_texts(team).mean(axis=0))
    lengths = rows.norm(dim=1, keepdim=True)
    # Equal texts leave nothing but rounding.
    return torch.where(lengths > 1e-4, rows / lengths.clamp_min(1e-4), torch.zeros_like(rows))


class SurrogateNet(nn.Module):
    """Logit of success and logarithm of tokens.

    An agent has latent abilities ``a_ik`` in (0, 1). A board has those of its members,
    ``z_ek = 1 - prod(1 - a_ik)``; the team has ``Z_k = max_e z_ek``, and two abilities meet as
    well as on their best board, ``M_kl = max_e f_e z_ek z_el``, where ``f_e`` depends on mode,
    phase and size. A task has needs ``n_k >= 0``. Its shortfall is what nobody brings and what
    is there but does not meet,

    ``s = sum_k n_k (1 - Z_k) + sum_{k < l} n_k n_l (Z_k Z_l - M_kl)``,

    and success is a mixture of a team that has all and one that must guess,
    ``exp(-s) sigmoid(b) + (1 - exp(-s)) sigmoid(b - d)``, with ``b`` a function of the graph. With
    one board this is the noisy-or of Pearl (1988).

    Parameters
    ----------
    width : int
        Of the hidden layers.
    abilities : int
        Number of latent abilities.
    """

    def __init__(self, width: int = 32, abilities: int = 8) -> None:
        super().__init__()
        self.agent = nn.Linear(2 * DIM, abilities)
        self.board = nn.Linear(EDGE_FEATURES, 1)
        self.need = nn.Linear(WIDTH, abilities)
        self.depth = nn.Parameter(torch.tensor(4.0))
        self.ease = nn.Sequential(nn.Linear(GRAPH_FEATURES, width), nn.ReLU(), nn.Linear(width, 1))
        self.tokens = nn.Sequential(
            nn.Linear(GRAPH_FEATURES + EDGE_FEATURES, width), nn.ReLU(), nn.Linear(width, 1)
        )
        with torch.no_grad():
            # The shortfall starts near 1: a large one saturates and has no gradient.
            self.need.weight.mul_(0.1)
            self.need.bias.fill_(-0.5)
            self.board.bias.fill_(3.0)
        pairs = torch.tril_indices(abilities, abilities, -1)
        self.register_buffer("pairs", pairs, persistent=False)

    @classmethod
    def for_team(cls, reader: Reader, width: int = 32) -> SurrogateNet:
        """A network with one ability for each kind of agent in the team of `reader`.

        An agent starts with the ability of its kind and hardly any other. Abilities that start
        at random have to be found first, and then several thousand outcomes were too few to
        bench anybody with confidence.
        """
        kinds = reader.kinds()
        net = cls(width, int(kinds.max()) + 1)
        features = reader.nodes(list(reader.texts)).double()
        wanted = torch.full((len(kinds), len(net.agent.bias)), -START, dtype=torch.float64)
        wanted[torch.arange(len(kinds)), torch.from_numpy(kinds)] = START
        with torch.no_grad():
            net.agent.weight.copy_((torch.linalg.pinv(features) @ (wanted + START)).T)
            net.agent.bias.fill_(-START)
        return net

    def forward(
        self, nodes: Tensor, tasks: Tensor, task_of: Tensor, layout: Layout
    ) -> tuple[Tensor, Tensor]:
        """Evaluate R pairs of a task and a hypergraph.

        Parameters
        ----------
        nodes : Tensor, shape (N, 2 * DIM), float32
            Features of the nodes of `layout`.
        tasks : Tensor, shape (T, WIDTH), float32
        task_of : Tensor, shape (R,), int64
            Task of each hypergraph of `layout`.
        layout : Layout

        Returns
        -------
        logit, log_tokens : Tensor, shape (R,), float32
        """
        first, second = self.pairs
        needs = nn.functional.softplus(self.need(tasks))
        lacks = nn.functional.logsigmoid(-self.agent(nodes))
        brought = 1 - torch.exp(layout.member @ lacks)
        there = _best(brought, layout)
        quality = torch.sigmoid(self.board(layout.edge))
        meets = _best(brought[:, first] * brought[:, second] * quality, layout)
        here = needs[task_of]
        shortfall = (here * (1 - there)).sum(dim=1)
        apart = there[:, first] * there[:, second] - meets
        shortfall = shortfall + (here[:, first] * here[:, second] * apart).sum(dim=1)
        ease = self.ease(layout.graph)[:, 0]
        guess = ease - nn.functional.softplus(self.depth)
        has, lack = -shortfall, torch.log(-torch.expm1(-shortfall.clamp_min(1e-6)))
        yes, no = (
            torch.logaddexp(
                has + nn.functional.logsigmoid(sign * ease),
                lack + nn.functional.logsigmoid(sign * guess),
            )
            for sign in (1, -1)
        )
        logit = yes - no
        modes = layout.edge.new_zeros(len(layout), EDGE_FEATURES)
        modes = modes.index_add(0, layout.row, layout.edge)
        return logit, self.tokens(torch.cat([layout.graph, modes], dim=1))[:, 0]


def _best(values: Tensor, layout: Layout) -> Tensor:
    """Largest value over the boards of each hypergraph; (E, K) to (R, K)."""
    index = layout.row[:, None].expand_as(values)
    return values.new_zeros(len(layout), values.shape[1]).scatter_reduce(0, index, values, "amax")
