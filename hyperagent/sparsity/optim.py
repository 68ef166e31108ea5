"""Training with a penalty: any torch optimizer, and a proximal step that makes exact zeros.

What one step means under each optimizer, for parameters x, loss f and penalty pen:

SGD, with or without momentum, dampening, Nesterov
    The prox gets the step ``lr (1 - dampening) / (1 - momentum)``, the length that a constant
    gradient travels per step in the long run. Then the fixed points are exactly the
    stationary points of f + pen. With momentum and a penalty that is not convex the iterates
    may circle around one whose entries lie near the knee.
Adam and its kin, metric "decoupled"
    The prox gets the step lr (as under every other optimizer; LBFGS has no step that fits: its
    curvature knows nothing of the prox, and where it ends is not stationary). As with AdamW's
    weight decay the penalty acts beside the
    normalised update u, not inside it: a zero stays zero where ``|u| <= pen'(0)``. The result
    does not change when the loss is scaled, so the weight is no longer in loss units.
Adam, AdamW, RMSprop, metric "preconditioned"
    The prox gets the step ``lr / d`` with d the mean over the group of the denominators
    ``sqrt(v) + eps`` of the optimizer: the prox in its own metric. For groups of one entry
    the fixed points are the stationary points of f + pen; for larger ones the prox in a
    diagonal metric has no closed form and the mean is an approximation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from hyperagent.errors import SparsityError
from hyperagent.sparsity import checks
from hyperagent.sparsity.groups import Groups
from hyperagent.sparsity.penalties.base import Penalty
from hyperagent.sparsity.schedules import Constant, Schedule

MODES = ("prox", "subgradient", "halfspace")
METRICS = ("decoupled", "preconditioned")
ADAPTIVE = (torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop)


@dataclass
class Term:
    """One penalty on some parameters.

    Attributes
    ----------
    penalty : Penalty
        Weight in loss units per group (but see "decoupled" above).
    tensors : parameter, or mapping of str to parameter
        What the groups read; a mapping for slices over several tensors.
    groups : Groups
        Single entries by default.
    strength : callable
        Factor >= 0 on the penalty as a function of the step number; 1 by default.
    mode : {"prox", "subgradient", "halfspace"}
        prox: after the optimizer's step. subgradient: added to the gradient before it, as
        plain l1 training does; it makes small numbers but no zeros. halfspace: subgradient,
        and then a group becomes zero if the step left the half-space ``<new, old> >=
        epsilon ||old||^2``; zero groups stay zero.
    warm : int
        First step in which halfspace may make zeros.
    epsilon : float
        In [0, 1); larger makes more zeros.

    References
    ----------
    Chen et al., "Orthant based proximal stochastic gradient method" (ECML 2020) and "Only
    train once" (NeurIPS 2021), for the half-space step.
    """

    penalty: Penalty
    tensors: Tensor | Mapping[str, Tensor]
    groups: Groups = field(default_factory=Groups.elements)
    strength: Schedule = field(default_factory=lambda: Constant(1.0))
    mode: str = "prox"
    warm: int = 0
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        checks.choice("mode", self.mode, MODES)
        checks.count("warm", self.warm, 0)
        checks.number("epsilon", self.epsilon, low=0.0, high=1.0, open_high=True)
        if self.penalty.signed:
            self.groups.refuse_signed(repr(self.penalty))
            if self.mode != "prox":
                raise SparsityError(f"mode must be 'prox' for {self.penalty!r}")
        self.groups.magnitudes(self._now())  # shapes fit, or an error here and not in training

    @property
    def parameters(self) -> list[Tensor]:
        """The parameters of this term."""
        return list(self.tensors.values() if isinstance(self.tensors, Mapping) else [self.tensors])

    def value(self) -> Tensor:
        """The penalty now, without `strength`; 0-dim, differentiable in the parameters."""
        x = self.tensors if self.penalty.signed else self.groups.magnitudes(self.tensors)
        return self.penalty.value(x).sum()

    def active(self) -> int:
        """Number of groups that are not zero."""
        return int((self.groups.magnitudes(self._now()) != 0).sum())

    def add_gradient(self, strength: float) -> None:
        """Add a subgradient of the penalty to the gradients; 0 for groups that are zero."""
        with torch.enable_grad():
            value = strength * self.value()
        parameters = self.parameters
        found = torch.autograd.grad(value, parameters, allow_unused=True)
        for p, g in zip(parameters, found, strict=True):
            if g is not None:
                p.grad = g if p.grad is None else p.grad + g

    def shrink(self, step: float | Tensor) -> None:
        """``x <- prox(x, step)`` in place; a tensor step is per group."""
        if self.penalty.signed:
            self.tensors.copy_(self.penalty.prox(self.tensors.detach(), step))
            return
        x = self._now()
        z = self.groups.magnitudes(x)
        self.groups.scale_(self.tensors, z, self.penalty.prox(z, step))

    def cut(self, old: Any) -> None:
        """Zero the groups that left the half-space of `old`, and those that were zero."""
        new = self._now()
        plus = self.groups.magnitudes(_pairs(torch.add, new, old))
        minus = self.groups.magnitudes(_pairs(torch.sub, new, old))
        inner = (plus - minus) * (plus + minus) / 4  # <new, old> for every kind of group
        before = self.groups.magnitudes(old)
        z = self.groups.magnitudes(new)
        gone = (before == 0) | (inner < self.epsilon * before * before)
        self.groups.scale_(self.tensors, z, z.masked_fill(gone, 0))

    def _now(self) -> Any:
        if isinstance(self.tensors, Mapping):
            return {name: p.detach() for name, p in self.tensors.items()}
        return self.tensors.detach()

    def copy(self) -> Any:
        """The parameters as they are now."""
        x = self._now()
        return {n: p.clone() for n, p in x.items()} if isinstance(x, Mapping) else x.clone()

    def spread(self, denominators: Mapping[Tensor, Tensor]) -> Tensor:
        """Mean over each group of a positive number per entry."""

        def over(values: Mapping[Tensor, Tensor]) -> Tensor:
            # Magnitudes of roots are roots of sums, whatever a group is made of.
            if isinstance(self.tensors, Mapping):
                x: Any = {name: values[p].sqrt() for name, p in self.tensors.items()}
            else:
                x = values[self.tensors].sqrt()
            return self.groups.magnitudes(x).square()

        return over(denominators) / over({p: torch.ones_like(d) for p, d in denominators.items()})


class ProximalOptimizer(Optimizer):
    """A torch optimizer followed by proximal (or half-space) steps.

    It is an optimizer itself, with the parameter groups and the state of the one inside, so
    learning-rate schedulers, masks and trainers take it as they take any other.

    Parameters
    ----------
    base : torch.optim.Optimizer
    terms : sequence of Term
        Parameters of one term must share one parameter group (one learning rate).
    metric : {"decoupled", "preconditioned"}
        See the module's text; "preconditioned" needs Adam, AdamW or RMSprop and separable
        penalties.

    Raises
    ------
    SparsityError
        For parameters that `base` does not hold, or a metric that does not fit.

    Examples
    --------
    >>> layer = torch.nn.Linear(8, 4)
    >>> sgd = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    >>> from hyperagent.sparsity.penalties import GroupLasso
    >>> optimizer = ProximalOptimizer(sgd, [Term(GroupLasso(0.1), layer.weight, Groups.rows())])
    """

    def __init__(
        self, base: Optimizer, terms: Sequence[Term], *, metric: str = "decoupled"
    ) -> None:
        checks.choice("metric", metric, METRICS)
        super().__init__(base.param_groups, base.defaults)
        self.base, self.terms, self.metric, self.count = base, list(terms), metric, 0
        self._link()
        for term in self.terms:
            self._options(term)
            if metric == "preconditioned" and term.mode == "prox":
                if not isinstance(base, ADAPTIVE):
                    raise SparsityError(
                        "metric 'preconditioned' needs Adam, AdamW or RMSprop, "
                        f"got {type(base).__name__}"
                    )
                if not term.penalty.separable:
                    raise SparsityError(
                        "metric 'preconditioned' gives every group a step of its own; "
                        f"{term.penalty!r} is not separable and takes one step: use 'decoupled'"
                    )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of the base optimizer and of every term.

        Parameters
        ----------
        closure : callable, optional
            As for torch optimizers: clears gradients, computes the loss, calls backward.

        Returns
        -------
        The closure's loss, if there is one. The penalty is not part of it.
        """
        strengths = [float(checks.weight("strength", t.strength(self.count))) for t in self.terms]
        work = [(t, s) for t, s in zip(self.terms, strengths, strict=True) if s > 0]
        added = [(t, s) for t, s in work if t.mode != "prox"]

        def add() -> None:
            for term, strength in added:
                # An optimizer that climbs must still walk down the penalty.
                climbs = self._options(term).get("maximize", False)
                term.add_gradient(-strength if climbs else strength)

        def with_penalty() -> Any:
            with torch.enable_grad():
                loss = closure()
            add()
            return loss

        with checks.trusted():
            cuts = [
                (t, t.copy()) for t in self.terms if t.mode == "halfspace" and self.count >= t.warm
            ]
            if closure is None:
                add()
                loss = self.base.step()
            else:
                loss = self.base.step(with_penalty)
            with torch.no_grad():
                for term, old in cuts:
                    term.cut(old)
                for term, strength in work:
                    if term.mode == "prox":
                        self._prox(term, strength)
        self.count += 1
        return loss

    def _prox(self, term: Term, strength: float) -> None:
        options = self._options(term)
        length = float(options["lr"]) * strength
        # RMSprop and SGD accumulate a momentum that is not normalised; Adam's is.
        if "betas" not in options:
            momentum = checks.number(
                "momentum", float(options.get("momentum", 0.0)), low=0.0, high=1.0, open_high=True
            )
            length *= (1 - options.get("dampening", 0.0)) / (1 - momentum)
        if length <= 0:
            return
        if self.metric == "decoupled":
            term.shrink(length)
            return
        denominators = {p: self._denominator(p, options) for p in term.parameters}
        if all(d is not None for d in denominators.values()):
            term.shrink(length / term.spread(denominators))

    def _denominator(self, p: Tensor, options: Mapping[str, Any]) -> Tensor | None:
        """``sqrt(v) + eps`` as the optimizer used it; None before a first gradient."""
        state = self.base.state.get(p) or {}
        if "betas" in options:
            key = "max_exp_avg_sq" if options.get("amsgrad") else "exp_avg_sq"
            if key not in state:
                return None
            second = state[key] / (1 - options["betas"][1] ** float(state["step"]))
        elif "square_avg" in state:
            second = state["square_avg"]
            if options.get("centered"):
                second = second - state["grad_avg"].square()
        else:
            return None
        if second.is_complex():  # torch keeps one moment for each of the two parts
            second = torch.view_as_real(second).mean(-1)
        return second.clamp_min(0).sqrt() + options["eps"]

    def _options(self, term: Term) -> dict[str, Any]:
        """The one parameter group that holds all of the term's parameters."""
        found = [
            options
            for options in self.base.param_groups
            if any(p is q for p in term.parameters for q in options["params"])
        ]
        inside = {id(q) for options in found for q in options["params"]}
        if len(found) != 1 or any(id(p) not in inside for p in term.parameters):
            raise SparsityError(
                "tensors of a term must lie in one parameter group of the base optimizer, "
                f"found them in {len(found)}"
            )
        return found[0]

    def penalty(self) -> Tensor:
        """Sum of the terms now, each times its strength at this step; 0-dim, detached."""
        with torch.no_grad():
            parts = [t.strength(self.count) * t.value() for t in self.terms]
        return torch.stack(parts).sum() if parts else torch.zeros(())

    def active(self) -> list[int]:
        """Groups that are not zero, per term."""
        return [t.active() for t in self.terms]

    def __getstate__(self) -> dict[str, Any]:
        # torch's own state leaves out what a subclass adds, so that a copy would break.
        own = {name: vars(self)[name] for name in ("base", "terms", "metric", "count")}
        return {**super().__getstate__(), **own}

    def state_dict(self) -> dict[str, Any]:
        """State of the base optimizer and the step count."""
        return {"base": self.base.state_dict(), "count": self.count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.base.load_state_dict(state_dict["base"])
        self.count = checks.count("count", state_dict["count"], 0)
        self._link()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters to the base optimizer."""
        if hasattr(self, "base"):
            self.base.add_param_group(param_group)
        else:  # called by torch's constructor
            super().add_param_group(param_group)

    def _link(self) -> None:
        self.param_groups, self.state = self.base.param_groups, self.base.state


def _pairs(f: Callable[[Tensor, Tensor], Tensor], a: Any, b: Any) -> Any:
    if isinstance(a, Mapping):
        return {name: f(a[name], b[name]) for name in a}
    return f(a, b)
