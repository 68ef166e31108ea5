"""What a group is: how magnitudes are read from a tensor and how a group is scaled.

Every penalty of this room is a function of group magnitudes, and its prox multiplies each
group by one factor >= 0. So everything that depends on shapes, phases, channels or several
tensors at once sits here, and nowhere else.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hyperagent.errors import SparsityError
from hyperagent.sparsity import checks


class Groups(ABC):
    """Disjoint groups of the entries of a tensor (or, for slices, of several tensors).

    Attributes
    ----------
    why : str
        What one group stands for, in words; it is printed.
    names : tuple of str
        Names of the groups where they have some, else empty.
    """

    why: str = ""
    names: tuple[str, ...] = ()

    @abstractmethod
    def magnitudes(self, x: Any) -> Tensor:
        """Magnitude >= 0 of every group: the absolute value or the Euclidean norm."""

    @abstractmethod
    def scale(self, x: Any, z: Tensor, new: Tensor) -> Any:
        """`x` with group g scaled from magnitude ``z[g]`` to ``new[g]``.

        A group with ``new == z`` comes back bit for bit, one with ``new == 0`` is exactly 0.
        `x` is not modified.
        """

    @abstractmethod
    def describe(self, x: Any) -> str:
        """How many groups of what size `x` has, and what they stand for."""

    def scale_(self, x: Any, z: Tensor, new: Tensor) -> None:
        """As `scale`, in place and outside autograd; for the parameters of a model."""
        with torch.no_grad():
            x.copy_(self.scale(x, z, new))

    def refuse_signed(self, who: str) -> None:
        """Raise unless groups are single real numbers, which alone have a sign."""
        raise SparsityError(f"{who} acts on single real numbers, so groups must be elements")

    @staticmethod
    def elements() -> Groups:
        """Every entry for itself; a complex entry is one group and keeps its phase."""
        return Elements()

    @staticmethod
    def complex() -> Groups:
        """Complex numbers: complex tensors, or real ones with (re, im) as last dimension."""
        return Complex()

    @staticmethod
    def along(*dims: int, why: str = "", names: Sequence[str] = ()) -> Groups:
        """All entries along `dims` form one group."""
        return Along(dims, why, tuple(names))

    @staticmethod
    def rows(names: Sequence[str] = ()) -> Groups:
        """The rows of a matrix (last two dimensions)."""
        return Along((-1,), "rows of a matrix", tuple(names), least=2)

    @staticmethod
    def columns(names: Sequence[str] = ()) -> Groups:
        """The columns of a matrix (last two dimensions)."""
        return Along((-2,), "columns of a matrix", tuple(names), least=2)

    @staticmethod
    def by_agent(names: Sequence[str] = ()) -> Groups:
        """Incidence (..., agents, hyperedges): the memberships of one agent; 0 benches it."""
        return Along((-1,), "agents: all memberships of one agent", tuple(names), least=2)

    @staticmethod
    def by_hyperedge(names: Sequence[str] = ()) -> Groups:
        """Incidence (..., agents, hyperedges): the members of one edge; 0 deletes it."""
        return Along((-2,), "hyperedges: all members of one hyperedge", tuple(names), least=2)

    @staticmethod
    def blocks(*size: int, why: str = "") -> Groups:
        """Contiguous blocks of `size` entries over the last ``len(size)`` dimensions."""
        return Blocks(size, why)

    @staticmethod
    def slices(
        slices: Sequence[Slice], names: Sequence[str] = (), why: str = "", **per_group: Tensor
    ) -> Slices:
        """Slices of several tensors that live and die together; see `Slices`."""
        return Slices(slices, tuple(names), why, **per_group)

    def _label(self, z: Tensor) -> str:
        if not self.names:
            return ""
        if z.ndim and len(self.names) != z.shape[-1]:
            raise SparsityError(
                f"names must name the {z.shape[-1]} groups along the last dimension, "
                f"got {len(self.names)}"
            )
        return f" ({', '.join(self.names)})"


def _factor(z: Tensor, new: Tensor) -> Tensor:
    """``new / z``, 0 where z is 0 (a zero group has no direction), 1 exactly where equal."""
    checks.same_shape("new", new, "the magnitudes", z)
    zero = z == 0
    return torch.where(zero, torch.zeros_like(z), new / torch.where(zero, torch.ones_like(z), z))


class Elements(Groups):
    """Single entries: absolute value and sign, or modulus and phase."""

    why = "single entries"

    def magnitudes(self, x: Tensor) -> Tensor:
        return checks.tensor("x", x).abs()

    def scale(self, x: Tensor, z: Tensor, new: Tensor) -> Tensor:
        checks.same_shape("new", new, "x", x)
        if not x.is_complex():
            return torch.copysign(new, x)
        # Phase 0 at 0: a denoiser may raise a zero voxel, and that must not be lost. For a
        # subnormal modulus new / z overflows, so there the phase comes first.
        low = z < torch.finfo(z.dtype).tiny
        safe = z.masked_fill(z == 0, 1)
        raised = torch.complex(x.real / safe, x.imag / safe) * new
        moved = torch.where(low, raised, x * _factor(z.masked_fill(low, 1), new))
        return torch.where(z == 0, new.to(x.dtype), moved)

    def describe(self, x: Tensor) -> str:
        kind = "complex numbers (phase kept)" if x.is_complex() else "real numbers (sign kept)"
        return f"{x.numel()} groups of 1: {kind}"

    def refuse_signed(self, who: str) -> None:
        return None

    def __repr__(self) -> str:
        return "Groups.elements()"


class Complex(Groups):
    """Modulus and phase; a real tensor is read as pairs (re, im) along its last dimension."""

    why = "complex numbers; the phase is kept"

    def magnitudes(self, x: Tensor) -> Tensor:
        return self._as_complex(x).abs()

    def scale(self, x: Tensor, z: Tensor, new: Tensor) -> Tensor:
        out = Elements().scale(self._as_complex(x), z, new)
        return out if x.is_complex() else torch.view_as_real(out)

    def describe(self, x: Tensor) -> str:
        return f"{self._as_complex(x).numel()} groups of 1: {self.why}"

    @staticmethod
    def _as_complex(x: Tensor) -> Tensor:
        checks.tensor("x", x)
        if x.is_complex():
            return x
        if not x.ndim or x.shape[-1] != 2:
            got = tuple(x.shape)
            raise SparsityError(f"x must be complex, or real with last dimension 2, got {got}")
        return torch.view_as_complex(x.contiguous())

    def __repr__(self) -> str:
        return "Groups.complex()"


class Along(Groups):
    """Euclidean norms over given dimensions; the others index the groups."""

    def __init__(
        self, dims: Sequence[int], why: str, names: tuple[str, ...], least: int = 1
    ) -> None:
        if not dims or not all(isinstance(d, int) for d in dims) or len(set(dims)) != len(dims):
            raise SparsityError(f"dims must be different integers, at least one, got {dims!r}")
        self.dims, self.names, self.least = tuple(dims), names, least
        self.why = why or f"norms along the dimensions {self.dims}"

    def magnitudes(self, x: Tensor) -> Tensor:
        return torch.linalg.vector_norm(self._checked(x), dim=self.dims)

    def scale(self, x: Tensor, z: Tensor, new: Tensor) -> Tensor:
        factor = _factor(z, new)
        for dim in sorted(d % x.ndim for d in self.dims):
            factor = factor.unsqueeze(dim)
        return x * factor

    def describe(self, x: Tensor) -> str:
        z = self.magnitudes(x)
        size = math.prod(x.shape[d] for d in self.dims)
        return f"{z.numel()} groups of {size}: {self.why}{self._label(z)}"

    def _checked(self, x: Tensor) -> Tensor:
        checks.tensor("x", x)
        inside = {d % x.ndim for d in self.dims if -x.ndim <= d < x.ndim}
        if x.ndim < self.least or len(inside) != len(self.dims):
            raise SparsityError(
                f"x must have at least {self.least} dimensions, the dims {self.dims} among them, "
                f"got the shape {tuple(x.shape)}"
            )
        return x

    def __repr__(self) -> str:
        return f"Groups.along{self.dims} [{self.why}]"


class Blocks(Groups):
    """Contiguous blocks over the last dimensions, which they must divide."""

    def __init__(self, size: Sequence[int], why: str = "") -> None:
        if not size:
            raise SparsityError("size must name at least one block length")
        self.size = tuple(checks.count("size", s, 1) for s in size)
        self.why = why or f"blocks of {' x '.join(map(str, self.size))}"

    def magnitudes(self, x: Tensor) -> Tensor:
        split = self._split(x)
        return torch.linalg.vector_norm(split, dim=self._inner(split))

    def scale(self, x: Tensor, z: Tensor, new: Tensor) -> Tensor:
        split = self._split(x)
        factor = _factor(z, new)
        for dim in self._inner(split):
            factor = factor.unsqueeze(dim)
        return (split * factor).reshape(x.shape)

    def describe(self, x: Tensor) -> str:
        return f"{self.magnitudes(x).numel()} groups of {math.prod(self.size)}: {self.why}"

    def _inner(self, split: Tensor) -> tuple[int, ...]:
        first = split.ndim - 2 * len(self.size)
        return tuple(range(first + 1, split.ndim, 2))

    def _split(self, x: Tensor) -> Tensor:
        checks.tensor("x", x)
        n = len(self.size)
        tail = x.shape[x.ndim - n :] if x.ndim >= n else ()
        if len(tail) != n or any(length % s for length, s in zip(tail, self.size, strict=True)):
            raise SparsityError(
                f"x must end in dimensions divisible by {self.size}, got {tuple(x.shape)}"
            )
        parts = [p for length, s in zip(tail, self.size, strict=True) for p in (length // s, s)]
        return x.reshape(*x.shape[: x.ndim - n], *parts)

    def __repr__(self) -> str:
        return f"Groups.blocks{self.size}"


@dataclass(frozen=True)
class Slice:
    """Positions `index` along `dim` of the tensor `param`, and the group of each position.

    Parameters
    ----------
    param : str
        Key in the mapping of tensors.
    dim : int
    index : (n,) int64 tensor
        Positions along `dim`, none twice.
    group : (n,) int64 tensor
        Number of the group that each position belongs to.
    """

    param: str
    dim: int
    index: Tensor
    group: Tensor

    def __post_init__(self) -> None:
        for name in ("index", "group"):
            x = getattr(self, name)
            if not isinstance(x, Tensor) or x.dtype != torch.int64 or x.ndim != 1:
                raise SparsityError(f"{name} of the slice of {self.param!r} must be (n,) int64")
        checks.same_shape("index", self.index, "group", self.group)
        if len(self.index[self.index >= 0].unique()) != len(self.index):
            raise SparsityError(f"index of the slice of {self.param!r} must be >= 0, none twice")


class Slices(Groups):
    """Groups made of slices of several tensors, e.g. a channel: filter, scale and shift.

    ``x`` is a mapping from parameter name to tensor; `magnitudes` is one norm per group over
    all its slices, `scale` gives a new mapping with the tensors that have slices.

    Parameters
    ----------
    slices : sequence of Slice
        A tensor may occur several times along one dimension at different positions. Slices
        along two dimensions of one tensor would overlap, and are refused.
    names : sequence of str
        One a group, or none.
    why : str
    layer : (m,) int64 tensor, optional
        Layer of each group, for budgets and floors per layer.
    cost : (m,) tensor, optional
        What removing the group saves, e.g. multiply-adds or parameters.
    """

    def __init__(
        self,
        slices: Sequence[Slice],
        names: tuple[str, ...] = (),
        why: str = "",
        layer: Tensor | None = None,
        cost: Tensor | None = None,
    ) -> None:
        if not any(len(s.group) for s in slices):
            raise SparsityError("slices must hold at least one slice with a position")
        self.parts, self.names = tuple(slices), names
        self.why = why or "slices of several tensors"
        self.m = 1 + max(int(s.group.max()) for s in slices if len(s.group))
        if min(int(s.group.min()) for s in slices if len(s.group)) < 0:
            raise SparsityError("group numbers must be >= 0")
        if names and len(names) != self.m:
            raise SparsityError(f"names must name the {self.m} groups, got {len(names)}")
        for name, values in (("layer", layer), ("cost", cost)):
            if values is not None and values.shape != (self.m,):
                got = tuple(values.shape)
                raise SparsityError(f"{name} must have the shape ({self.m},), got {got}")
        self.layer, self.cost = layer, cost
        self._refuse_overlap()

    def _refuse_overlap(self) -> None:
        seen: dict[str, tuple[int, set[int]]] = {}
        for s in self.parts:
            dim, taken = seen.setdefault(s.param, (s.dim, set()))
            if dim != s.dim or taken & set(s.index.tolist()):
                raise SparsityError(f"the slices of {s.param!r} overlap; groups must be disjoint")
            taken.update(s.index.tolist())

    def magnitudes(self, x: Mapping[str, Tensor]) -> Tensor:
        total: Tensor | None = None
        for s in self.parts:
            p = self._tensor(x, s)
            picked = p.movedim(s.dim, 0).index_select(0, s.index.to(p.device))
            picked = picked.unsqueeze(-1).flatten(1)  # a vector has one entry a position
            # Squares in float32 at least: the norm of a half-precision filter overflows.
            wide = picked.float() if picked.dtype.itemsize < 4 else picked
            squares = torch.linalg.vector_norm(wide, dim=1).square()
            if total is None:
                total = squares.new_zeros(self.m)
            total = total.index_add(0, s.group.to(p.device), squares.to(total))
        # The root has an infinite slope at 0; an empty or dead group gets the slope 0.
        dead = total == 0
        return torch.where(dead, total, torch.where(dead, torch.ones_like(total), total).sqrt())

    def scale(self, x: Mapping[str, Tensor], z: Tensor, new: Tensor) -> dict[str, Tensor]:
        factor = _factor(z, new)
        out: dict[str, Tensor] = {}
        for s in self.parts:
            p = out.get(s.param, self._tensor(x, s))
            along = torch.ones(p.shape[s.dim], dtype=factor.dtype, device=p.device)
            along = along.index_copy(0, s.index.to(p.device), factor[s.group].to(p.device))
            shape = [1] * p.ndim
            shape[s.dim] = -1
            out[s.param] = p * along.view(shape).to(p.dtype)
        return out

    def scale_(self, x: Mapping[str, Tensor], z: Tensor, new: Tensor) -> None:
        with torch.no_grad():
            for name, value in self.scale(x, z, new).items():
                x[name].copy_(value)

    def describe(self, x: Mapping[str, Tensor]) -> str:
        shapes = ((s, tuple(self._tensor(x, s).shape)) for s in self.parts)
        held = ", ".join(f"{s.param}{shape} along {s.dim}" for s, shape in shapes)
        return f"{self.m} groups: {self.why}; each holds its slices of {held}"

    def _tensor(self, x: Mapping[str, Tensor], s: Slice) -> Tensor:
        if s.param not in x:
            raise SparsityError(f"x must hold the tensor {s.param!r}; it has {sorted(x)}")
        p = checks.tensor(s.param, x[s.param])
        if not -p.ndim <= s.dim < p.ndim or (len(s.index) and int(s.index.max()) >= p.shape[s.dim]):
            raise SparsityError(
                f"{s.param} has the shape {tuple(p.shape)}; the slice wants position "
                f"{int(s.index.max())} along dimension {s.dim}"
            )
        return p

    def __repr__(self) -> str:
        return f"Groups.slices({self.m} groups of {len(self.parts)} slices) [{self.why}]"
