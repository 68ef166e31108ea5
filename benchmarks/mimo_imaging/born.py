"""Near-field MIMO radar under the Born approximation, as a factorised linear operator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hyperagent.sparsity.solvers.operators import Linear

SPEED_OF_LIGHT = 299_792_458.0
"""Metres per second."""


@dataclass(frozen=True)
class System:
    """Where the antennas and voxels are and which frequencies are sent.

    Attributes
    ----------
    transmitters, receivers : (T, 3) and (R, 3) float64 tensors
        Positions, metres.
    voxels : (N, 3) float64 tensor
        Voxel centres, metres, in C order of `grid`.
    grid : tuple of int
        Voxels along x, y, z.
    frequencies : (K,) float64 tensor
        Hertz.
    """

    transmitters: Tensor
    receivers: Tensor
    voxels: Tensor
    grid: tuple[int, int, int]
    frequencies: Tensor

    @property
    def wavenumbers(self) -> Tensor:
        """(K,) wavenumbers ``2 pi f / c``, radians per metre."""
        return 2 * math.pi * self.frequencies / SPEED_OF_LIGHT


def cross_array(
    side: int = 15,
    transmitters: int = 8,
    receivers: int = 9,
    frequencies: int = 6,
    aperture: float = 0.5,
    extent: float = 0.3,
    distance: float = 0.35,
    band: Sequence[float] = (4e9, 16e9),
) -> System:
    """Transmitters on one diagonal of a square in z = 0, receivers on the other.

    Parameters
    ----------
    side : int
        Voxels along each axis of the cube.
    transmitters, receivers, frequencies : int
        How many, evenly spaced.
    aperture, extent, distance : float
        Side of the square, side of the cube and its distance from the square, metres.
    band : pair of float
        First and last frequency, hertz.

    References
    ----------
    The cross-shaped array of Oral and Oktem, IEEE Trans. Comput. Imaging 10:762-773, 2024,
    with fewer antennas, frequencies and voxels; and wider, so that it resolves the voxels.
    """

    def line(count: int, slope: float) -> Tensor:
        along = torch.linspace(-aperture / 2, aperture / 2, count, dtype=torch.float64)
        return torch.stack([along, slope * along, torch.zeros_like(along)], dim=1)

    half = extent / 2 - extent / (2 * side)
    flat = torch.linspace(-half, half, side, dtype=torch.float64)
    depth = flat + distance + extent / 2
    voxels = torch.stack(torch.meshgrid(flat, flat, depth, indexing="ij"), dim=-1)
    return System(
        line(transmitters, 1.0),
        line(receivers, -1.0),
        voxels.reshape(-1, 3),
        (side, side, side),
        torch.linspace(band[0], band[1], frequencies, dtype=torch.float64),
    )


class Born(Linear):
    """Point scatterers without multiple scattering::

        A[(k, t, r), v] = c exp(-j k (R_t + R_r)) / ((4 pi)^2 R_t R_r)

    The phase of a sum is a product, so A = T R with one factor per transmitter and one per
    receiver. Only these two are held: (T + R) / (T R) of the dense matrix.

    Parameters
    ----------
    system : System
    dtype : torch.dtype
        complex64 or complex128.

    Attributes
    ----------
    unit : float
        The constant c (4 pi)^-2, chosen so that the columns have unit energy on average; weights
        and penalties then need no physical scale.
    """

    def __init__(self, system: System, dtype: torch.dtype = torch.complex64) -> None:
        k, t, r = len(system.frequencies), len(system.transmitters), len(system.receivers)
        super().__init__(system.grid, (k, t, r), dtype)
        self.system = system
        distances = [torch.cdist(a, system.voxels) for a in (system.transmitters, system.receivers)]
        energy = k * (distances[0] ** -2).sum(0) * (distances[1] ** -2).sum(0)
        self.unit = float(energy.mean() ** -0.5)
        # Phases in double precision: k R is hundreds of radians.
        legs = [
            torch.polar(
                (self.unit**0.5 / d).expand(k, -1, -1), -system.wavenumbers[:, None, None] * d
            )
            for d in distances
        ]
        self.transmit, self.receive = (leg.to(dtype) for leg in legs)  # (K, T, N), (K, R, N)

    @property
    def nbytes(self) -> int:
        """Memory of the two factors, bytes."""
        return sum(f.numel() * f.element_size() for f in (self.transmit, self.receive))

    def dense(self) -> Tensor:
        """The (m, n) matrix; for tests."""
        return (self.transmit[:, :, None] * self.receive[:, None]).reshape(self.m, self.n)

    def _mv(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, 1, self.n)
        parts = [
            (flat * t) @ r.mT for t, r in zip(self.transmit, self.receive, strict=True)
        ]  # each (b, T, R)
        return torch.stack(parts, dim=1)

    def _rmv(self, y: Tensor) -> Tensor:
        out = torch.zeros(len(y), self.n, dtype=self.dtype)
        factors = zip(self.transmit, self.receive, y.unbind(1), strict=True)
        for t, r, data in factors:
            out += ((data @ r.conj()) * t.conj()).sum(dim=1)
        return out.reshape(-1, *self.domain)


def back_projection(system: System, y: Tensor) -> Tensor:
    """Phases undone, amplitudes left: ``x_v = sum exp(j k (R_t + R_r)) y``.

    Parameters
    ----------
    system : System
    y : (B, K, T, R) complex tensor

    Returns
    -------
    (B, *grid) complex tensor
    """
    return _summed(system, y, lambda rt, rr, k: torch.ones_like(rt * rr))


def kirchhoff(system: System, y: Tensor) -> Tensor:
    """Kirchhoff migration for a multistatic array in the plane z = 0.

    Each datum is weighted by the normal derivatives of the two Green functions: obliquity
    factors z / R and the near-field terms ``(j k)^2 R_t R_r + j k (R_t + R_r) + 1``.

    Parameters
    ----------
    system : System
    y : (B, K, T, R) complex tensor

    Returns
    -------
    (B, *grid) complex tensor

    References
    ----------
    Zhuge, Yarovoy, Savelyev and Ligthart, "Modified Kirchhoff migration for UWB MIMO
    array-based radar imaging", IEEE Trans. Geosci. Remote Sens. 48(6), 2010.
    """
    depth = system.voxels[:, 2]

    def weight(rt: Tensor, rr: Tensor, k: Tensor) -> Tensor:
        oblique = depth**2 / (rt * rr)
        return oblique / (rt * rr) * (1 - k**2 * rt * rr + 1j * k * (rt + rr))

    return _summed(system, y, weight)


def _summed(system: System, y: Tensor, weight) -> Tensor:
    rt, rr = (torch.cdist(a, system.voxels) for a in (system.transmitters, system.receivers))
    out = torch.zeros(len(y), len(system.voxels), dtype=torch.complex128)
    for k, data in zip(system.wavenumbers, y.to(torch.complex128).unbind(1), strict=True):
        for t, row in zip(rt, data.unbind(1), strict=True):
            w = weight(t, rr, k) * torch.polar(torch.ones_like(rr), k * (t + rr))
            out += row @ w.to(torch.complex128)
    return out.reshape(-1, *system.grid).to(y.dtype)
