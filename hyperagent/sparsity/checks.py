"""Argument checks of the sparsity room: each raises a `SparsityError` that names the argument."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from hyperagent.errors import SparsityError

Number = float | Tensor
"""A parameter: a Python number for all groups, or a tensor that broadcasts over them."""

_trusted: ContextVar[bool] = ContextVar("_trusted", default=False)


@contextmanager
def trusted() -> Iterator[None]:
    """Skip the checks that read tensor values (NaN, signs), e.g. inside a solver's loop.

    Reading a value makes the host wait for a GPU; a loop that checked its input once need
    not pay for that in every round. Types, shapes and Python numbers are checked always.
    """
    token = _trusted.set(True)
    try:
        yield
    finally:
        _trusted.reset(token)


def tensor(name: str, x: Any, *, complex_ok: bool = True) -> Tensor:
    """`x` if it is a real (or complex) floating-point tensor."""
    if not isinstance(x, Tensor):
        raise SparsityError(f"{name} must be a torch tensor, got {type(x).__name__}")
    if not (x.dtype.is_floating_point or (complex_ok and x.dtype.is_complex)):
        kind = "a floating-point or complex" if complex_ok else "a real floating-point"
        raise SparsityError(f"{name} must be {kind} tensor, got {x.dtype}")
    return x


def finite(name: str, x: Any, *, complex_ok: bool = True) -> Tensor:
    """`x` if it is a floating-point tensor without NaN and infinities."""
    tensor(name, x, complex_ok=complex_ok)
    # A sum is not finite as soon as one term is not: one pass, no boolean tensor. It can
    # overflow for finite terms, so a suspicious sum is looked at element by element.
    if not _trusted.get() and not bool(x.detach().sum().isfinite()):
        bad = int((~x.detach().isfinite()).sum())
        if bad:
            raise SparsityError(f"{name} must be finite, got {bad} NaN or infinite entries")
    return x


def magnitudes(name: str, z: Any) -> Tensor:
    """`z` if it is a real tensor of numbers >= 0 without NaN."""
    tensor(name, z, complex_ok=False)
    if not _trusted.get() and z.numel():
        low = z.detach().amin()  # NaN comes through a minimum
        if not bool(low >= 0):
            got = "NaN" if bool(low.isnan()) else f"{float(low):g}"
            raise SparsityError(f"{name} must hold magnitudes >= 0 (no NaN), got {got}")
    return z


def vectors(name: str, z: Any) -> Tensor:
    """`magnitudes` of at least one dimension and at least one group."""
    magnitudes(name, z)
    if not z.ndim or not z.shape[-1]:
        raise SparsityError(f"{name} must hold vectors of groups (..., m), got {tuple(z.shape)}")
    return z


def number(
    name: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    open_low: bool = False,
    open_high: bool = False,
) -> Number:
    """A parameter between `low` and `high`: a float, or a floating-point tensor as it is.

    ``open_low`` and ``open_high`` exclude the bound itself. NaN is never accepted, an
    infinite number only where the bound is infinite and not open.
    """
    if isinstance(value, Tensor):
        tensor(name, value, complex_ok=False)
        if _trusted.get() or not value.numel():
            return value
        data = value.detach()
        least, most = float(data.amin()), float(data.amax())
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        value = least = most = float(value)
    else:
        raise SparsityError(
            f"{name} must be a number or a floating-point tensor, got {type(value).__name__}"
        )
    above = least > low if open_low else least >= low
    below = most < high if open_high else most <= high
    if not (above and below):
        left, right = "(" if open_low else "[", ")" if open_high else "]"
        got = f"{least:g}" if not above else f"{most:g}"
        raise SparsityError(f"{name} must lie in {left}{low:g}, {high:g}{right}, got {got}")
    return value


def weight(name: str, value: Any) -> Number:
    """A finite weight >= 0."""
    return number(name, value, low=0.0, high=math.inf, open_high=True)


def positive(name: str, value: Any) -> Number:
    """A finite number > 0."""
    return number(name, value, low=0.0, high=math.inf, open_low=True, open_high=True)


def count(name: str, value: Any, low: int, high: int | None = None) -> int:
    """An integer between `low` and `high`, both allowed."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise SparsityError(f"{name} must be an integer, got {value!r}")
    if value < low or (high is not None and value > high):
        most = "" if high is None else f" and <= {high}"
        raise SparsityError(f"{name} must be >= {low}{most}, got {value}")
    return value


def choice(name: str, value: Any, options: Sequence[str]) -> str:
    """One of `options`."""
    if value not in options:
        raise SparsityError(f"{name} must be one of {', '.join(options)}, got {value!r}")
    return value


def same_shape(name: str, x: Tensor, other: str, y: Tensor) -> None:
    """Two tensors must have one shape."""
    if x.shape != y.shape:
        raise SparsityError(
            f"{name} must have the shape of {other}, {tuple(y.shape)}, got {tuple(x.shape)}"
        )


def broadcasts(name: str, value: Number, shape: Sequence[int]) -> None:
    """A parameter must broadcast to `shape` without enlarging it."""
    if isinstance(value, Tensor):
        try:
            fits = torch.broadcast_shapes(value.shape, tuple(shape)) == torch.Size(shape)
        except RuntimeError:
            fits = False
        if not fits:
            raise SparsityError(
                f"{name} must broadcast to {tuple(shape)}, got the shape {tuple(value.shape)}"
            )
