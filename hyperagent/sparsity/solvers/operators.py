"""Linear operators: all a solver may ask of the matrix A in 1/2 ||A x - y||^2.

A solver never sees a matrix. It applies A and its adjoint, asks for the spectral norm (step
sizes) and, where one side is small, for a Gram matrix (exact solves). So a factorised radar
model and a dictionary of patches run through the same code.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hyperagent.errors import SparsityError
from hyperagent.sparsity import checks

_CHUNK = 64
"""Unit vectors per application when a Gram matrix is built."""


class Linear(ABC):
    """A linear map with its adjoint; a subclass writes `_mv` and `_rmv`.

    Parameters
    ----------
    domain, codomain : sequence of int
        Shape of one x and of one ``A x``; everything to the left of it is a batch.
    dtype : torch.dtype
        Of A, x and A x alike; float32, float64, complex64 or complex128.
    device : torch.device or str
        Where A lives.

    Attributes
    ----------
    n, m : int
        Number of unknowns and of data.
    """

    def __init__(
        self,
        domain: Sequence[int],
        codomain: Sequence[int],
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
    ) -> None:
        self.domain = tuple(checks.count("domain", d, 1) for d in domain)
        self.codomain = tuple(checks.count("codomain", d, 1) for d in codomain)
        if not (dtype.is_floating_point or dtype.is_complex):
            raise SparsityError(f"dtype must be floating-point or complex, got {dtype}")
        self.dtype, self.device = dtype, torch.device(device)
        self.n, self.m = math.prod(self.domain), math.prod(self.codomain)
        self._norm: float | None = None

    @abstractmethod
    def _mv(self, x: Tensor) -> Tensor:
        """``A x`` for x of shape (b, *domain)."""

    @abstractmethod
    def _rmv(self, y: Tensor) -> Tensor:
        """``A^H y`` for y of shape (b, *codomain)."""

    def mv(self, x: Tensor) -> Tensor:
        """``A x``.

        Parameters
        ----------
        x : (..., *domain) tensor of the operator's dtype

        Returns
        -------
        (..., *codomain) tensor

        Raises
        ------
        SparsityError
            For another shape or dtype.
        """
        batch = self._batch("x", x, self.domain)
        return self._mv(x.reshape(-1, *self.domain)).reshape(*batch, *self.codomain)

    def rmv(self, y: Tensor) -> Tensor:
        """``A^H y``, the conjugate transpose; (..., *codomain) to (..., *domain)."""
        batch = self._batch("y", y, self.codomain)
        return self._rmv(y.reshape(-1, *self.codomain)).reshape(*batch, *self.domain)

    def norm(self) -> float:
        """Spectral norm of A, to about 1e-4 relative; computed once and kept.

        Power iteration on A^H A from a fixed start approaches it from below, so take steps
        of at most ``0.99 / norm()**2``.
        """
        if self._norm is None:
            self._norm = self._spectral_norm()
        return self._norm

    def gram(self) -> Tensor:
        """``A A^H``, (m, m). For operators with few data."""
        return self._square(self.m, self.codomain, lambda e: self._mv(self._rmv(e)))

    def normal(self) -> Tensor:
        """``A^H A``, (n, n). For operators with few unknowns."""
        return self._square(self.n, self.domain, lambda e: self._rmv(self._mv(e)))

    def _spectral_norm(self, rounds: int = 500, tol: float = 1e-6) -> float:
        generator = torch.Generator().manual_seed(0)
        v = torch.randn(1, *self.domain, generator=generator, dtype=torch.float64)
        v = v.to(self.device, self.dtype)
        last = 0.0
        for _ in range(rounds):
            w = self._rmv(self._mv(v / torch.linalg.vector_norm(v)))
            value = float(torch.linalg.vector_norm(w))
            if value == 0 or abs(value - last) <= tol * value:
                break
            v, last = w, value
        return math.sqrt(value)

    def _square(
        self, size: int, shape: tuple[int, ...], apply: Callable[[Tensor], Tensor]
    ) -> Tensor:
        out = torch.empty(size, size, dtype=self.dtype, device=self.device)
        eye = torch.eye(size, dtype=self.dtype, device=self.device)
        for start in range(0, size, _CHUNK):
            piece = eye[start : start + _CHUNK].reshape(-1, *shape)
            # Rows of the batch are columns of the matrix.
            out[:, start : start + _CHUNK] = apply(piece).reshape(-1, size).mT
        return out

    def _batch(self, name: str, x: Tensor, shape: tuple[int, ...]) -> tuple[int, ...]:
        checks.tensor(name, x)
        cut = x.ndim - len(shape)
        if cut < 0 or tuple(x.shape[cut:]) != shape:
            wanted = ", ".join(map(str, ("...", *shape)))
            raise SparsityError(f"{name} must have the shape ({wanted}), got {tuple(x.shape)}")
        if x.dtype != self.dtype:
            raise SparsityError(f"{name} must be {self.dtype} as the operator, got {x.dtype}")
        return tuple(x.shape[:cut])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.domain} -> {self.codomain}, {self.dtype})"


class Dense(Linear):
    """A matrix that is held in memory.

    Parameters
    ----------
    matrix : (m, n) tensor
        Kept as it is, not copied.
    """

    def __init__(self, matrix: Tensor) -> None:
        checks.finite("matrix", matrix)
        if matrix.ndim != 2 or not matrix.numel():
            raise SparsityError(f"matrix must have the shape (m, n), got {tuple(matrix.shape)}")
        m, n = matrix.shape
        super().__init__((n,), (m,), matrix.dtype, matrix.device)
        self.matrix = matrix

    def _mv(self, x: Tensor) -> Tensor:
        return x @ self.matrix.mT

    def _rmv(self, y: Tensor) -> Tensor:
        return y @ self.matrix.conj()

    def gram(self) -> Tensor:
        return self.matrix @ self.matrix.mH

    def normal(self) -> Tensor:
        return self.matrix.mH @ self.matrix

    def _spectral_norm(self, rounds: int = 0, tol: float = 0.0) -> float:
        return float(torch.linalg.matrix_norm(self.matrix, ord=2))


class Functional(Linear):
    """An operator given by two functions.

    Parameters
    ----------
    mv : callable
        (b, *domain) to (b, *codomain).
    rmv : callable
        Its adjoint, (b, *codomain) to (b, *domain); `adjoint_gap` tells whether it is.
    domain, codomain, dtype, device
        As in `Linear`.
    """

    def __init__(
        self,
        mv: Callable[[Tensor], Tensor],
        rmv: Callable[[Tensor], Tensor],
        domain: Sequence[int],
        codomain: Sequence[int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(domain, codomain, dtype, device)
        self._forward, self._adjoint = mv, rmv

    def _mv(self, x: Tensor) -> Tensor:
        return self._forward(x)

    def _rmv(self, y: Tensor) -> Tensor:
        return self._adjoint(y)


def as_linear(operator: Linear | Tensor) -> Linear:
    """An operator as it is; a matrix wrapped as `Dense`."""
    if isinstance(operator, Linear):
        return operator
    if isinstance(operator, Tensor):
        return Dense(operator)
    raise SparsityError(
        f"operator must be a Linear or an (m, n) tensor, got {type(operator).__name__}"
    )


def adjoint_gap(operator: Linear, seed: int = 0) -> float:
    """``|<A x, y> - <x, A^H y>| / (||A x|| ||y||)`` for one random pair; rounding if all is well.

    Parameters
    ----------
    operator : Linear
    seed : int
        Of the random x and y.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(shape: tuple[int, ...]) -> Tensor:
        real = torch.randn(*shape, generator=generator, dtype=torch.float64)
        if not operator.dtype.is_complex:
            return real.to(operator.device, operator.dtype)
        imaginary = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return torch.complex(real, imaginary).to(operator.device, operator.dtype)

    x, y = draw(operator.domain), draw(operator.codomain)
    forward, back = operator.mv(x), operator.rmv(y)
    left = torch.vdot(y.reshape(-1), forward.reshape(-1))
    right = torch.vdot(back.reshape(-1), x.reshape(-1))
    size = torch.linalg.vector_norm(forward) * torch.linalg.vector_norm(y)
    return float((left - right).abs() / size.clamp_min(torch.finfo(size.dtype).tiny))
