"""What every penalty is: a function of group magnitudes with a proximal map.

Convention of the whole room::

    prox(v, s) = argmin_z  pen(z) + (z - v)^2 / (2 s)

The penalty holds its own weight, in units of loss per group; `s` is the step of the gradient
iteration that the prox belongs to; the data term is 1/2 ||A x - y||^2.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from hyperagent.errors import SparsityError
from hyperagent.sparsity import checks
from hyperagent.sparsity.checks import Number
from hyperagent.sparsity.groups import Elements, Groups

_CHUNK = 1 << 16
"""Elements per piece of a large vector: a handful of temporaries then stay in the cache."""


class Penalty(ABC):
    """A function of magnitudes z >= 0 with a value, a proximal map and a weak convexity.

    Attributes
    ----------
    separable : bool
        Whether the penalty is a sum over elements. Then `value` is elementwise; otherwise it
        is one number per vector along the last dimension.
    signed : bool
        Whether the penalty sees the numbers themselves and not their magnitudes (boxes).
    """

    separable: bool = True
    signed: bool = False

    @property
    @abstractmethod
    def rho(self) -> Number:
        """Weak convexity: pen + rho z^2 / 2 is convex. The prox is single-valued for
        ``step * rho < 1``; ``inf`` where no such number exists."""

    @abstractmethod
    def value(self, z: Tensor) -> Tensor:
        """The penalty, in loss units.

        Parameters
        ----------
        z : (..., m) real tensor
            Magnitudes.

        Returns
        -------
        Tensor
            Same shape as `z` if `separable`, else ``(...)``.
        """

    @abstractmethod
    def prox(self, v: Tensor, step: Number) -> Tensor:
        """The proximal map, for any step > 0.

        Parameters
        ----------
        v : (..., m) real tensor
            Magnitudes. Never modified.
        step : float or tensor that broadcasts to `v`
            Step s > 0.

        Returns
        -------
        (..., m) tensor
            ``argmin_z pen(z) + (z - v)^2 / (2 s)``, differentiable in `v`, `step` and the
            parameters. Where two minimisers tie, the smaller.

        Raises
        ------
        SparsityError
            For NaN, a negative magnitude, an integer tensor, a step that is not positive or
            a parameter that does not broadcast to `v`.
        """

    def residual(
        self, x: Tensor, grad: Tensor, step: float, groups: Groups | None = None
    ) -> Tensor:
        """How far `x` is from a stationary point of data term + penalty.

        Parameters
        ----------
        x, grad : tensors of one shape
            The point and the gradient of the data term there.
        step : float
            Step s > 0 of the proximal gradient iteration.

        Returns
        -------
        0-dim tensor
            ``||x - prox(x - s grad)|| / s``, in units of the gradient; 0 exactly at the
            fixed points of the iteration.
        """
        checks.same_shape("grad", grad, "x", x)
        checks.positive("step", step)
        return torch.linalg.vector_norm(x - self.on(groups).prox(x - step * grad, step)) / step

    def on(self, groups: Groups | None = None) -> Regulariser:
        """This penalty on the groups of a tensor (single elements by default)."""
        return Regulariser(self, groups)

    def _names(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if not k.startswith("_") and k != "signed"}

    def __repr__(self) -> str:
        def show(x: Any) -> str:
            return f"tensor{tuple(x.shape)}" if isinstance(x, Tensor) else repr(x)

        inner = ", ".join(f"{name}={show(x)}" for name, x in self._names().items())
        return f"{type(self).__name__}({inner})"


class Elementwise(Penalty):
    """A separable penalty whose prox has a closed form (or a scalar iteration).

    A subclass lists its parameters in `parameters` and writes three pure functions; the
    derivatives of the prox follow from the optimality condition z = v - s pen'(z)::

        dz/dv = 1 / (1 + s pen''(z)),  dz/ds = -pen'(z) dz/dv,
        dz/dp = -s (d pen'(z) / dp) dz/dv,  and 0 where z = 0.
    """

    parameters: ClassVar[tuple[str, ...]]
    two_wells: ClassVar[bool] = False
    """Whether for every step the prox objective has only 0 and one other local minimum."""
    _single_pass: ClassVar[bool] = False  # `_solve` reads v once: pieces would only cost a copy

    @staticmethod
    @abstractmethod
    def _value(z: Tensor, *parameters: Number) -> Tensor: ...

    @staticmethod
    @abstractmethod
    def _slope(z: Tensor, *parameters: Number) -> Tensor:
        """pen'(z) at z > 0, built from differentiable operations."""

    @staticmethod
    @abstractmethod
    def _solve(v: Tensor, step: Number, *parameters: Number) -> Tensor:
        """The prox without autograd. Parameters may be floats or tensors; `v` must not be
        modified and the result must be new."""

    def _arguments(self, z: Tensor) -> list[Number]:
        values: list[Number] = []
        for name in self.parameters:
            value = getattr(self, name)
            checks.broadcasts(name, value, z.shape)
            values.append(value.to(z) if isinstance(value, Tensor) else value)
        return values

    def value(self, z: Tensor) -> Tensor:
        checks.magnitudes("z", z)
        return self._value(z, *self._arguments(z))

    def prox(self, v: Tensor, step: Number) -> Tensor:
        checks.magnitudes("v", v)
        step = checks.positive("step", step)
        if v.dtype.itemsize < 4:  # half precision has no digits to spare for a root
            return self.prox(v.float(), step).to(v.dtype)
        checks.broadcasts("step", step, v.shape)
        if isinstance(step, Tensor):
            step = step.to(v)
        arguments = self._arguments(v)
        tensors = [x for x in (step, *arguments) if isinstance(x, Tensor)]
        if torch.is_grad_enabled() and any(x.requires_grad for x in (v, *tensors)):
            return _Prox.apply(self, v, step, *arguments)
        if tensors or self._single_pass or not _long(v):
            return self._solve(v.detach(), step, *arguments)
        return _by_pieces(v, lambda piece: self._solve(piece, step, *arguments))

    def prox_signed(self, x: Tensor, step: Number) -> Tensor:
        """``sign(x) prox(|x|)`` of a real tensor."""
        learned = any(isinstance(getattr(self, name), Tensor) for name in self.parameters)
        grad = torch.is_grad_enabled() and x.requires_grad
        if grad or learned or isinstance(step, Tensor) or x.is_complex() or not _long(x):
            return torch.copysign(self.prox(x.abs(), step), x)
        # A product with the sign: copysign takes twice as long.
        return _by_pieces(x, lambda piece: self.prox(piece.abs(), step).mul_(piece.sign()))


def _long(v: Tensor) -> bool:
    """Whether working piece by piece keeps temporaries in the cache of a CPU."""
    return v.numel() > _CHUNK and v.device.type == "cpu" and v.is_contiguous()


def _by_pieces(v: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    out = torch.empty_like(v)
    for piece, target in zip(
        v.detach().view(-1).split(_CHUNK), out.view(-1).split(_CHUNK), strict=True
    ):
        target.copy_(function(piece))
    return out


class _Prox(torch.autograd.Function):
    """Implicit differentiation of an `Elementwise` prox."""

    @staticmethod
    def forward(ctx: Any, pen: Elementwise, v: Tensor, step: Number, *parameters: Number) -> Tensor:
        z = pen._solve(v, step, *parameters)
        held = [x for x in (step, *parameters) if isinstance(x, Tensor)]
        ctx.save_for_backward(z, *held)
        ctx.pen = pen
        ctx.numbers = [None if isinstance(x, Tensor) else x for x in (step, *parameters)]
        return z

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        z, *tensors = ctx.saved_tensors
        held = iter(tensors)
        step, *parameters = [next(held) if x is None else x for x in ctx.numbers]
        on = z > 0
        with torch.enable_grad():
            # Slopes may be infinite at 0, where every derivative is 0 anyway.
            at = torch.where(on, z, torch.ones_like(z)).requires_grad_()
            leaves = [
                x.detach().requires_grad_() if isinstance(x, Tensor) else x for x in parameters
            ]
            slope = ctx.pen._slope(at, *leaves)
            curvature = _derivative(slope, at, torch.ones_like(z))
        scale = 1 + step * curvature
        # A minimiser has scale >= 0; at a tie on the edge of a branch it is 0, and there the
        # derivative of the outer branch, 1, is the one that a small step sees.
        scale = torch.where(scale > 1e-12, scale, torch.ones_like(scale))
        inner = torch.where(on, grad / scale, torch.zeros_like(grad))
        grads: list[Any] = [None, inner]
        needs = ctx.needs_input_grad[2:]
        grads.append((-inner * slope.detach()).sum_to_size(step.shape) if needs[0] else None)
        for leaf, needed in zip(leaves, needs[1:], strict=True):
            grads.append(_derivative(slope, leaf, -inner * step) if needed else None)
        return tuple(grads)


def _derivative(y: Tensor, x: Tensor, grad: Tensor) -> Tensor:
    """d<grad, y>/dx, zero where y does not depend on x."""
    if not y.requires_grad:
        return torch.zeros_like(x)
    (found,) = torch.autograd.grad(y, x, grad, retain_graph=True, allow_unused=True)
    return torch.zeros_like(x) if found is None else found


class Regulariser:
    """A penalty together with the groups of a tensor that it looks at.

    Parameters
    ----------
    penalty : Penalty
    groups : Groups, optional
        Single elements by default: real numbers keep their sign, complex ones their phase.
    """

    def __init__(self, penalty: Penalty, groups: Groups | None = None) -> None:
        self.penalty = penalty
        self.groups = Groups.elements() if groups is None else groups
        if not isinstance(self.groups, Groups):
            raise SparsityError(f"groups must be Groups, got {groups!r}")
        if penalty.signed:
            self.groups.refuse_signed(repr(penalty))
        self._single = isinstance(self.groups, Elements) and isinstance(penalty, Elementwise)

    def value(self, x: Any) -> Tensor:
        """Sum of the penalty over all groups of `x`, in loss units; 0-dim."""
        return self.penalty.value(self._seen(x)).sum()

    def prox(self, x: Any, step: Number) -> Any:
        """``argmin_w penalty(w) + ||w - x||^2 / (2 step)``; `x` is not modified.

        Every group is scaled by one factor >= 0, so signs, phases and directions stay.
        """
        if self._single and not checks.tensor("x", x).is_complex():
            return self.penalty.prox_signed(x, step)
        z = self._seen(x)
        new = self.penalty.prox(z, step)
        return new if self.penalty.signed else self.groups.scale(x, z, new)

    def _seen(self, x: Any) -> Tensor:
        if self.penalty.signed:
            return checks.finite("x", x, complex_ok=False)
        return self.groups.magnitudes(x)

    def __repr__(self) -> str:
        return f"{self.penalty!r} on {self.groups!r}"


def apply(penalty: Penalty, x: Tensor, step: Number, groups: Groups | None = None) -> Tensor:
    """The prox of `penalty` on the groups of `x`, single elements by default."""
    return penalty.on(groups).prox(x, step)
