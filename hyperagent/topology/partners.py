"""Exact distribution over the hypergraphs that agents form by inviting partners.

Every *opener* draws a set of `k` partners; opener and partners are a group; groups that
come out equal are one hyperedge. What is executed is the set of groups, and `log_prob` is
the logarithm of the probability of exactly that set: the sum over every way in which the
openers could have produced it. (The descriptions of the paper take the probability of the
sketch instead, which is another random variable, so their policy gradient is biased.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import permutations

import torch
from torch import Tensor

from hyperagent.errors import HyperagentError

MAX_STATES = 1 << 17
"""Largest number of partial explanations that `Partners.log_prob` will hold at once."""

Group = frozenset[int]


class Partners:
    r"""Each opener draws `k` of the other agents without replacement.

    Opener `i` picks one partner after the other by Plackett-Luce, i.e. a softmax of its
    logits over those not yet picked (sampled by Gumbel top-k, Kool et al., arXiv
    1903.06059). The order of picking is forgotten, so

    .. math::
        p_i(P) = \sum_{(j_1 \dots j_k)\ \text{orders of}\ P}\ \prod_t
        \frac{e^{l_{i j_t}}}{\sum_{j \ne i,\ j \notin \{j_1 \dots j_{t-1}\}} e^{l_{ij}}},
        \qquad
        P(H) = \sum_{a:\ \text{openers} \to H,\ \text{onto},\ i \in a(i)}\ \prod_i
        p_i(a(i) \setminus \{i\}).

    The outer sum is taken by dynamic programming over the openers; a partial explanation
    is the set of groups explained so far, and a group leaves that set with its last
    possible opener. Cost grows with the number of groups that are open at once, not with
    the number of agents.

    Parameters
    ----------
    logits : Tensor, shape (M, N)
        Row `i` belongs to agent `i`, an opener; the others of the N agents can only be
        invited. An agent does not invite itself, so entry (i, i) is not used.
    k : int
        Partners of each opener; at most N - 1 are drawn.
    """

    def __init__(self, logits: Tensor, k: int) -> None:
        self.openers, self.agents = logits.shape
        own = torch.eye(self.openers, self.agents, dtype=torch.bool, device=logits.device)
        self.logits = logits.to(torch.float64).masked_fill(own, -torch.inf)
        self.k = min(k, self.agents - 1)

    def sample(self, generator: torch.Generator) -> frozenset[Group]:
        """Draw a hypergraph: the set of its groups."""
        uniform = torch.rand(self.logits.shape, dtype=torch.float64, generator=generator)
        gumbel = -(-uniform.clamp(min=1e-300).log()).clamp(min=1e-300).log()
        return self._groups(self.logits.detach() + gumbel)

    def mode(self) -> frozenset[Group]:
        """The groups if every opener draws its most probable set; ties by index."""
        return self._groups(self.logits.detach())

    def _groups(self, scores: Tensor) -> frozenset[Group]:
        best = scores.argsort(dim=1, descending=True, stable=True)[:, : self.k].tolist()
        return frozenset(frozenset((i, *row)) for i, row in enumerate(best))

    def group_log_probs(self, pairs: Sequence[tuple[int, Group]]) -> Tensor:
        """Logarithm of the probability that an opener forms a group.

        Parameters
        ----------
        pairs : sequence of (opener, group), length P
            The opener is a member of its group of `k` + 1.

        Returns
        -------
        Tensor, shape (P,), float64
        """
        if self.k == 0:  # a lone agent: certain, yet part of the graph that autograd walks
            return self.logits.nan_to_num(neginf=0.0).sum(1)[[i for i, _ in pairs]] * 0.0
        openers = torch.tensor([i for i, _ in pairs])
        invited = torch.tensor([sorted(group - {i}) for i, group in pairs])
        total = []
        for order in permutations(range(self.k)):
            left = self.logits[openers]
            steps = []
            for place in order:
                pick = invited[:, place : place + 1]
                steps.append(left.gather(1, pick).squeeze(1) - left.logsumexp(dim=1))
                left = left.scatter(1, pick, -torch.inf)
            total.append(torch.stack(steps).sum(0))
        return torch.stack(total).logsumexp(dim=0)

    def formed(self, groups: Sequence[Group]) -> list[float]:
        """Probability that each group is formed by at least one of its openers."""
        pairs = [(i, g) for g in groups for i in sorted(g) if i < self.openers]
        missed = dict.fromkeys(groups, 1.0)
        for (_, group), log_p in zip(pairs, self.group_log_probs(pairs).tolist(), strict=True):
            missed[group] *= -math.expm1(log_p)
        return [1.0 - missed[group] for group in groups]

    def log_prob(self, groups: Iterable[Group]) -> Tensor:
        """Logarithm of the probability of exactly this set of groups.

        Returns
        -------
        Tensor, scalar, float64
            Differentiable with respect to the logits; -inf if the openers cannot have
            formed these groups.

        Raises
        ------
        HyperagentError
            If the groups overlap so much that the sum is out of reach: more than
            `MAX_STATES` partial explanations. It does not happen for teams of up to about
            thirty agents; larger ones take fewer openers.
        """
        groups = sorted({frozenset(group) for group in groups}, key=sorted)
        never = self.logits.new_tensor(-torch.inf)
        if any(len(g) != self.k + 1 or min(g) < 0 or max(g) >= self.agents for g in groups):
            return never
        options = [[n for n, g in enumerate(groups) if i in g] for i in range(self.openers)]
        if not all(options) or any(min(g) >= self.openers for g in groups):
            return never
        pairs = [(i, groups[n]) for i in range(self.openers) for n in options[i]]
        log_p = self.group_log_probs(pairs)
        starts, column = [], 0
        for mine in options:
            starts.append(column)
            column += len(mine)

        order = _elimination_order(options, len(groups))
        left = [sum(n in mine for mine in options) for n in range(len(groups))]
        states, weights = [0], self.logits.new_zeros(1)
        for i in order:
            for n in options[i]:
                left[n] -= 1
            closing = sum(1 << n for n in options[i] if left[n] == 0)
            after: dict[int, int] = {}
            source, choice, target = [], [], []
            for row, state in enumerate(states):
                for offset, n in enumerate(options[i]):
                    reached = state | 1 << n
                    # A group whose last possible opener has passed must be explained.
                    if reached & closing == closing:
                        source.append(row)
                        choice.append(starts[i] + offset)
                        target.append(after.setdefault(reached & ~closing, len(after)))
            if not after:
                return never
            if len(after) > MAX_STATES:
                raise HyperagentError(
                    f"the exact probability of {len(groups)} groups of {self.agents} agents "
                    f"needs more than {MAX_STATES} partial sums; use fewer openers (slots)"
                )
            weights = _scatter_logsumexp(
                weights[source] + log_p[choice], torch.tensor(target), len(after)
            )
            states = list(after)
        return weights[0]


def _elimination_order(options: Sequence[Sequence[int]], n_groups: int) -> list[int]:
    """Openers in an order that keeps few groups open at the same time."""
    left = [0] * n_groups
    for mine in options:
        for n in mine:
            left[n] += 1
    open_groups: set[int] = set()
    waiting, order = set(range(len(options))), []
    while waiting:

        def growth(i: int) -> tuple[int, int, int]:
            opened = sum(n not in open_groups and left[n] > 1 for n in options[i])
            closed = sum(n in open_groups and left[n] == 1 for n in options[i])
            return opened - closed, len(options[i]), i

        # Any candidate that touches an open group comes before one that starts afresh.
        near = [i for i in waiting if not open_groups.isdisjoint(options[i])]
        i = min(near or waiting, key=growth)
        waiting.remove(i)
        order.append(i)
        for n in options[i]:
            left[n] -= 1
            if left[n]:
                open_groups.add(n)
            else:
                open_groups.discard(n)
    return order


def _scatter_logsumexp(values: Tensor, target: Tensor, size: int) -> Tensor:
    """Log of the sum of ``exp(values)`` for each target."""
    top = values.new_full((size,), -torch.inf).scatter_reduce(0, target, values.detach(), "amax")
    # Where nothing is possible the result is -inf; the shift only has to be finite.
    shift = top.masked_fill(top == -torch.inf, 0.0)
    total = values.new_zeros(size).index_add(0, target, (values - shift[target]).exp())
    return total.log() + shift
