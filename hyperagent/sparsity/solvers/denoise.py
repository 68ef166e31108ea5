"""Denoisers as penalties on magnitudes: plug-and-play priors and total variation.

In a complex image with free phases only the magnitude carries structure, so a denoiser sees
the magnitude and the phase is copied. That is not a heuristic: for any function g of the
magnitudes, ``argmin_w g(|w|) + ||w - x||^2 / (2 s)`` has the phases of x, because
``|w_v - x_v| >= ||w_v| - |x_v||`` with equality where the phases agree. `Penalty.on` does
the copying (phase 0 where x is 0, so a voxel that a denoiser raises from 0 is not lost).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from hyperagent.errors import SparsityError
from hyperagent.sparsity import checks
from hyperagent.sparsity.checks import Number
from hyperagent.sparsity.penalties.base import Penalty

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""``(z, sigma) -> z'``: magnitudes and the standard deviation of their noise, which
broadcasts to them, to magnitudes of the same shape."""


class PnP(Penalty):
    """A denoiser in the place of a proximal map (plug-and-play).

    Under a Gaussian noise of variance s the maximum a posteriori estimate is the prox with
    step s of the negative log prior. So ``prox(v, s)`` calls the denoiser with ``sigma =
    strength sqrt(s)``. Negative output is set to 0: as a modulus it would turn the
    phase by pi.

    Parameters
    ----------
    denoiser : callable
        ``(z, sigma) -> z'``; see `Denoiser`. A module should be in evaluation mode.
    strength : float
        > 0; factor on the noise level.

    References
    ----------
    Venkatakrishnan, Bouman and Wohlberg, "Plug-and-play priors for model based
    reconstruction", GlobalSIP 2013; Oral and Oktem, IEEE Trans. Comput. Imaging 10, 2024, for
    the magnitude.
    """

    separable: ClassVar[bool] = False

    def __init__(self, denoiser: Denoiser, strength: float = 1.0) -> None:
        if not callable(denoiser):
            raise SparsityError(f"denoiser must be callable, got {type(denoiser).__name__}")
        self.denoiser = denoiser
        self.strength = float(checks.positive("strength", strength))

    @property
    def rho(self) -> float:
        """Infinite: nothing is known about the function behind a denoiser."""
        return float("inf")

    def value(self, z: Tensor) -> Tensor:
        """A denoiser has no value; always a `SparsityError`."""
        raise SparsityError(
            "penalty must have a value where one is asked for; a plug-and-play prior has only a "
            "prox: watch the misfit and the change of the iterates instead"
        )

    def prox(self, v: Tensor, step: Number) -> Tensor:
        checks.magnitudes("v", v)
        checks.broadcasts("step", checks.positive("step", step), v.shape)
        sigma = self.strength * torch.as_tensor(step, dtype=v.dtype, device=v.device).sqrt()
        out = self.denoiser(v.clone(), sigma)  # it may work in place
        if not isinstance(out, Tensor) or out.shape != v.shape or out.dtype != v.dtype:
            got = f"{tuple(out.shape)}, {out.dtype}" if isinstance(out, Tensor) else type(out)
            raise SparsityError(
                f"denoiser must return a tensor {tuple(v.shape)}, {v.dtype}, got {got}"
            )
        return checks.finite("denoiser's output", out).clamp_min(0)


class Scaled:
    """A denoiser for one range of magnitudes, used at another.

    Every image is divided by its largest magnitude over `peak`, and so is its noise level;
    the result is multiplied back: ``D(t z, t sigma) = t D(z, sigma)`` for all t > 0.

    Parameters
    ----------
    denoiser : callable
        See `Denoiser`.
    dims : int
        Number of trailing dimensions that form one image; the others are a batch.
    peak : float
        Largest magnitude in the images that the denoiser was made for.
    """

    def __init__(self, denoiser: Denoiser, dims: int = 3, peak: float = 1.0) -> None:
        self.denoiser = denoiser
        self.dims = checks.count("dims", dims, 1)
        self.peak = float(checks.positive("peak", peak))

    def __call__(self, z: Tensor, sigma: Tensor) -> Tensor:
        if z.ndim < self.dims:
            raise SparsityError(f"z must have at least {self.dims} dimensions, got {z.ndim}")
        scale = z.amax(tuple(range(-self.dims, 0)), keepdim=True) / self.peak
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        return scale * self.denoiser(z / scale, sigma / scale)


class TV(Penalty):
    """Isotropic total variation of an image of magnitudes: ``lam sum ||grad z||``.

    Forward differences, no difference across the border. The prox runs a fixed number of
    accelerated projected gradient steps on the dual, so a batch gives what its items give.

    **On magnitudes with free phases this is a degenerate prior.** With fewer data than
    voxels, an image of constant magnitude with suitable phases fits almost any data, and its
    total variation is 0. So the constrained minimiser is as good as arbitrary, and what total
    variation seems to achieve on such data it owes to the start and to stopping early. Use it
    as a baseline, or together with a term that prefers zeros.

    Parameters
    ----------
    lam : float
        Weight >= 0, loss units per unit of gradient magnitude.
    dims : int
        Number of trailing dimensions that form one image.
    iterations : int
        Dual steps in one prox.

    References
    ----------
    Rudin, Osher and Fatemi, Physica D 60, 1992; Beck and Teboulle, "Fast gradient-based
    algorithms for constrained total variation image denoising and deblurring problems", IEEE
    Trans. Image Process. 18(11), 2009.
    """

    separable: ClassVar[bool] = False

    def __init__(self, lam: float, dims: int = 3, iterations: int = 20) -> None:
        self.lam = float(checks.weight("lam", lam))
        self.dims = checks.count("dims", dims, 1)
        self.iterations = checks.count("iterations", iterations, 1)

    @property
    def rho(self) -> float:
        return 0.0

    def value(self, z: Tensor) -> Tensor:
        """Total variation of each image: (..., *image) to (...)."""
        self._image("z", z)
        lengths = torch.linalg.vector_norm(self._gradient(z), dim=0)
        return self.lam * lengths.sum(tuple(range(-self.dims, 0)))

    def prox(self, v: Tensor, step: float) -> Tensor:
        """As `Penalty.prox`; `step` is one number for all images."""
        self._image("v", v)
        weight = self.lam * float(checks.positive("step", step))
        if weight == 0:
            return v.clone()
        # min over z of the dual pair: z = v - weight div^T p with every ||p_v|| <= 1. The
        # squared norm of the gradient is at most 4 per dimension.
        rate = 1 / (4 * self.dims * weight)
        p = q = torch.zeros(self.dims, *v.shape, dtype=v.dtype, device=v.device)
        t = 1.0
        for _ in range(self.iterations):
            z = v - weight * self._adjoint(q)
            new = q + rate * self._gradient(z)
            new = new / torch.linalg.vector_norm(new, dim=0).clamp_min(1)
            faster = (1 + (1 + 4 * t * t) ** 0.5) / 2
            q = new + (t - 1) / faster * (new - p)
            p, t = new, faster
        # The exact prox lies between the extremes of v; an early stop may undershoot.
        return (v - weight * self._adjoint(p)).clamp_min(0)

    def _image(self, name: str, z: Tensor) -> None:
        checks.magnitudes(name, z)
        if z.ndim < self.dims:
            raise SparsityError(
                f"{name} must have at least {self.dims} dimensions, got {tuple(z.shape)}"
            )

    def _gradient(self, z: Tensor) -> Tensor:
        """(..., *image) to (dims, ..., *image); the last difference of each line is 0."""
        out = torch.zeros(self.dims, *z.shape, dtype=z.dtype, device=z.device)
        for i in range(self.dims):
            dim, size = i - self.dims, z.shape[i - self.dims]
            out[i].narrow(dim, 0, size - 1).copy_(z.diff(dim=dim))
        return out

    def _adjoint(self, p: Tensor) -> Tensor:
        """Transpose of `_gradient`."""
        out = torch.zeros_like(p[0])
        for i in range(self.dims):
            dim, size = i - self.dims, p.shape[i - self.dims]
            part = p[i].narrow(dim, 0, size - 1)
            out.narrow(dim, 0, size - 1).sub_(part)
            out.narrow(dim, 1, size - 1).add_(part)
        return out
