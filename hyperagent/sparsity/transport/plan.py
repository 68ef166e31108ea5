"""Cardinality-constrained optimal transport as a differentiable module."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hyperagent.sparsity import checks
from hyperagent.sparsity.transport.gradient import Implicit
from hyperagent.sparsity.transport.inputs import Problem, problem, whole
from hyperagent.sparsity.transport.newton import Maximum
from hyperagent.sparsity.transport.solve import breadth, limit, repair, solve, within

NEAR = 1e-6
"""Two scores closer than this share of the cost's range are a tie."""


class MarginalWarning(UserWarning):
    """A plan that misses its marginals, as a rule because the limit k is too small for them."""


class Plan(NamedTuple):
    """A plan with its prices and its certificate; leading dimensions as the cost's.

    Attributes
    ----------
    share : Tensor, shape (..., A, T)
        Mass that column j takes from row i: >= 0, at most k non-zeros in a column (more
        only under ``ties="average"``), column sums exact.
    price : Tensor, shape (..., A)
        What one more unit through row i costs the objective, in loss units. For
        capacities it is >= 0, and 0 where the capacity does not bind: the price of
        congestion. For equalities it is known up to one constant for all rows.
    column_price : Tensor, shape (..., T)
        Threshold of each column: what its last unit cost, prices included.
    row_error : Tensor, shape (...)
        Mass by which the loads miss the marginals (exceed the capacities), as a share of
        all mass.
    gap : Tensor, shape (...)
        Objective of the plan minus the dual value: the plan costs at most this much more
        than the best one. ``inf`` where the marginals are missed.
    n_tied : Tensor of int64, shape (...)
        Columns in which the limit cut between equal scores. With none the plan is
        optimal; with some, the plan and its gradient jump as the costs move.
    value : Tensor, shape (...)
        Dual value, a lower bound of every plan's objective.
    steps : Tensor of int64, shape (...)
        Evaluations of the dual.
    """

    share: Tensor
    price: Tensor
    column_price: Tensor
    row_error: Tensor
    gap: Tensor
    n_tied: Tensor
    value: Tensor
    steps: Tensor

    @property
    def load(self) -> Tensor:
        """Mass of each row, shape (..., A)."""
        return self.share.sum(-1)

    @property
    def support(self) -> Tensor:
        """Pairs in use, bool, shape (..., A, T)."""
        return self.share > 0


class TransportPlan(nn.Module):
    """Optimal transport with at most k rows per column, and its gradient.

    ``min <P, C> + gamma/2 ||P||^2`` over ``P >= 0`` with column sums b, row sums a (or at
    most a) and at most k non-zeros in each column (Liu, Puigcerver, Blondel, ICLR 2023).
    The dual is solved in float64 whatever the type of the cost; the gradient is implicit.

    Parameters
    ----------
    k : int, integer Tensor broadcastable to (..., T), or None
        Most rows of a column, one number or one for each column. None: no limit.
    gamma : float, or Tensor broadcastable to (...)
        Strength of the square, loss units per unit of mass squared. A good one lets the
        unlimited plan have about k non-zeros in a column. Gradients grow as 1 / gamma.
    row : {"eq", "le"}
        Whether `a` must be met or is a capacity.
    ties : {"index", "jitter", "average"}
        Where the limit cuts between equal scores: keep the lower row; move each cost by
        up to 1e-6 of the range at random (`seed`) so that there are none; or spread the
        last places evenly over the tied rows, which may use more than k.
    form : {"semi_dual", "dual"}
        What Newton's method works on.
    tol : float
        Row error above which a `MarginalWarning` is given.
    differentiable : bool
    seed : int
        For ``ties="jitter"``.

    Examples
    --------
    >>> cost = torch.tensor([[0.0, 1.0, 0.2], [0.1, 0.0, 0.25]])
    >>> plan = TransportPlan(k=1, gamma=0.1, row="le")(cost, torch.tensor([1.0, 2.0]))
    >>> plan.support.int().tolist()
    [[1, 0, 0], [0, 1, 1]]
    """

    def __init__(
        self,
        k: int | Tensor | None = None,
        gamma: float | Tensor = 1.0,
        *,
        row: str = "eq",
        ties: str = "index",
        form: str = "semi_dual",
        tol: float = 1e-6,
        differentiable: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.k, self.gamma = k, gamma
        self.row = checks.choice("row", row, ("eq", "le"))
        self.ties = checks.choice("ties", ties, ("index", "jitter", "average"))
        self.form = checks.choice("form", form, ("semi_dual", "dual"))
        self.tol = checks.weight("tol", tol)
        self.differentiable, self.seed = differentiable, seed
        whole(k, 1, 2**31)
        checks.positive("gamma", gamma)

    def extra_repr(self) -> str:
        return f"k={self.k}, gamma={self.gamma}, row={self.row!r}, ties={self.ties!r}"

    def forward(
        self, cost: Tensor, a: Tensor, b: Tensor | None = None, start: Tensor | None = None
    ) -> Plan:
        """Solve a batch of problems.

        Parameters
        ----------
        cost : Tensor, shape (..., A, T)
            Loss units; ``inf`` forbids a pair.
        a : Tensor, broadcastable to (..., A)
            Marginal or capacity of the rows.
        b : Tensor, broadcastable to (..., T), optional
            Mass of the columns; default 1 each.
        start : Tensor, shape (..., A), optional
            Prices near the answer, e.g. `Plan.price` of the last training step.

        Raises
        ------
        SparsityError
            Naming the argument that is wrong, or the marginals that cannot be met.

        Warns
        -----
        MarginalWarning
            If the plan found misses the marginals by more than `tol`.
        """
        given = problem(cost, a, b, self.gamma, self.k, self.row == "le")
        lead, (rows, columns) = cost.shape[:-2], cost.shape[-2:]
        if start is not None:
            checks.finite("start", start, complex_ok=False)
            checks.broadcasts("start", start, (*lead, rows))
            start = -start.detach().to(given.a).expand(*lead, rows).reshape(-1, rows)
        # Inference mode is faster than no_grad; the copies may take part in autograd again.
        with torch.inference_mode():
            solved = self._jitter(given) if self.ties == "jitter" else given
            found, value, tied = self._solve(solved, start)
            row_error, gap = certificate(given, found, value)
        outcome = (found.point.share, found.x, found.point.tau, value, row_error, gap, tied)
        share, alpha, tau, value, row_error, gap, tied = (x.clone() for x in outcome)
        self._warn(row_error)
        inputs = (cost, a, b, self.gamma)
        if self.differentiable and torch.is_grad_enabled() and any(map(wants_gradient, inputs)):
            share, alpha = Implicit.apply(
                cost.to(torch.float64).reshape(-1, rows, columns).mT,
                lift(a, given.a, (*lead, rows)),
                lift(b, given.b, (*lead, columns)),
                lift(self.gamma, given.gamma, lead),
                share,
                alpha,
                alpha < 0 if given.capacity else torch.ones_like(alpha, dtype=torch.bool),
            )
        dtype = cost.dtype
        return Plan(
            share.mT.reshape(cost.shape).to(dtype),
            # 0 - x rather than -x: a price of nothing is 0, not -0.
            (0 - alpha).reshape(*lead, rows).to(dtype),
            -tau.reshape(*lead, columns).to(dtype),
            row_error.reshape(lead).to(dtype),
            gap.reshape(lead).to(dtype),
            tied.reshape(lead),
            value.reshape(lead).to(dtype),
            found.steps.clone().reshape(lead),
        )

    def _solve(self, given: Problem, start: Tensor | None) -> tuple[Maximum, Tensor, Tensor]:
        """Answer, dual value and number of tied columns."""
        found = solve(given, self.form, start)
        if within(given, found.point.share):
            return found, found.point.value, torch.zeros_like(found.steps)
        found = limit(given, found, self.form)
        value = found.point.value
        tied, averaged = ties(given, found)
        if self.ties == "average":
            return found._replace(point=found.point._replace(share=averaged)), value, tied
        missed = certificate(given, found, value)[0] > self.tol
        if bool(missed.any()):
            # It stopped at a kink, whether or not the scores look equal there.
            tied = tied.clamp_min(missed.to(tied.dtype))
            found = repair(given, found)
        return found, value, tied

    def _jitter(self, given: Problem) -> Problem:
        generator = torch.Generator().manual_seed(self.seed)
        noise = torch.rand(given.cost.shape, generator=generator, dtype=torch.float64)
        return given._replace(cost=given.cost + cost_range(given) * NEAR * noise.to(given.cost))

    def _warn(self, row_error: Tensor) -> None:
        worst = float(row_error.max())
        if worst > self.tol:
            missed = int((row_error > self.tol).sum())
            reason = f"k={self.k} is too small for them. Raise k or gamma, or round the plan."
            if self.k is None:
                reason = f"no convergence at gamma={self.gamma}. Raise gamma."
            warnings.warn(
                f"{missed} of {row_error.numel()} plans miss their row marginals, the worst by "
                f"{worst:.2g} of the mass: {reason}",
                MarginalWarning,
                stacklevel=5,
            )


def wants_gradient(value: object) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def lift(value: float | Tensor | None, solved: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The caller's tensor in the solver's shape if it wants a gradient, else the solver's."""
    if isinstance(value, Tensor) and value.requires_grad:
        return value.to(solved).expand(shape).reshape(solved.shape)
    return solved


def cost_range(given: Problem) -> Tensor:
    """Largest minus smallest allowed cost, shape (B, 1, 1), positive."""
    width = breadth(given)[:, None, None]
    return torch.where(width > 0, width, 1.0)


def ties(given: Problem, found: Maximum) -> tuple[Tensor, Tensor]:
    """Columns in which the limit cut between equal scores, and the plan that averages them.

    Returns
    -------
    Tensor of int64, shape (B,)
    Tensor, shape (B, T, A)
        The mass of the tied rows spread evenly over all of them: the average of the plans
        that the tie-breaks allow.
    """
    share, tau = found.point.share, found.point.tau[..., None]
    score = found.x[:, None, :] - given.cost
    near = NEAR * cost_range(given)
    seats = given.k
    top = score.topk(min(int(torch.as_tensor(seats).max()), score.shape[-1]), dim=-1).values
    index = torch.as_tensor(seats, device=score.device).expand(tau.shape) - 1
    edge = top.gather(-1, index)
    close = ((score - edge).abs() <= near) & (score > tau + near)
    cut = close & (share == 0)
    tied = cut.any(-1, keepdim=True)
    pooled = torch.where(close, share, 0).sum(-1, keepdim=True)
    even = pooled / close.sum(-1, keepdim=True).clamp_min(1)
    averaged = torch.where(tied & close, even, share)
    return tied[..., 0].sum(-1), averaged


def certificate(given: Problem, found: Maximum, value: Tensor) -> tuple[Tensor, Tensor]:
    """Row error (B,) and duality gap (B,), ``inf`` where the marginals are missed."""
    share = found.point.share
    over = share.sum(1) - given.a
    over = over.clamp_min(0) if given.capacity else over.abs()
    mass = given.b.sum(-1)
    row_error = over.sum(-1) / torch.where(mass > 0, mass, 1.0)
    paid = torch.where(share > 0, given.cost, 0) * share
    objective = paid.sum((1, 2)) + 0.5 * given.gamma * share.square().sum((1, 2))
    gap = torch.where(row_error <= 1e-6, objective - value, torch.inf)
    return row_error, gap
