"""Random scenes: clustered blobs of reflectivity with a random phase in every voxel."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def magnitudes(count: int, generator: torch.Generator, side: int = 15) -> Tensor:
    """Clusters of 4 to 15 points, blurred by 0.8 to 1.5 voxels, sharpened by a sigmoid.

    Parameters
    ----------
    count : int
        How many scenes.
    generator : torch.Generator
        The only source of randomness.
    side : int
        Voxels along each axis.

    Returns
    -------
    (count, side, side, side) float32 tensor
        Between 0 and 1; each scene reaches 1.
    """

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=generator)

    most = 15
    number = torch.randint(4, most + 1, (count, 1), generator=generator)
    present = (torch.arange(most) < number).float()
    centre = uniform(0.25, 0.75, count, 1, 3) * (side - 1)
    spread = uniform(0.08, 0.2, count, 1, 1) * side
    points = centre + spread * torch.randn(count, most, 3, generator=generator)
    points = points.clamp(1, side - 2)
    width = uniform(0.8, 1.5, count, 1, 1)
    axis = torch.arange(side, dtype=torch.float32)
    bumps = torch.exp(-((axis - points[..., None]) ** 2) / (2 * width[..., None] ** 2))
    density = torch.einsum("bp,bpx,bpy,bpz->bxyz", present, *bumps.unbind(2))
    density = density / density.amax((1, 2, 3), keepdim=True)
    middle = uniform(0.3, 0.5, count, 1, 1, 1)
    sharp = torch.sigmoid(12 * (density - middle))
    floor = torch.sigmoid(-12 * middle)
    sharp = (sharp - floor).clamp_min(0)
    return sharp / sharp.amax((1, 2, 3), keepdim=True)


def sticks(count: int, generator: torch.Generator, side: int = 15) -> Tensor:
    """Three to five straight bars, one voxel thick: nothing that the denoiser was trained on.

    Parameters and result are as in `magnitudes`; a voxel is 0 or between 0.5 and 1.
    """
    out = torch.zeros(count, side, side, side)
    for scene in out:
        for _ in range(int(torch.randint(3, 6, (), generator=generator))):
            axis = int(torch.randint(3, (), generator=generator))
            low, high = (
                torch.randint(1, side - 1, (2,), generator=generator).sort().values
            ).tolist()
            at = [
                slice(int(i), int(i) + 1)
                for i in torch.randint(2, side - 2, (3,), generator=generator)
            ]
            at[axis] = slice(low, high + 3)
            scene[tuple(at)] = 0.5 + 0.5 * float(torch.rand((), generator=generator))
    return out / out.amax((1, 2, 3), keepdim=True)


def scatterers(magnitude: Tensor, generator: torch.Generator) -> Tensor:
    """The magnitudes with independent uniform phases: complex64 of the same shape."""
    phase = 2 * math.pi * torch.rand(magnitude.shape, generator=generator)
    return torch.polar(magnitude, phase)


def noisy(data: Tensor, decibel: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Measured data and the misfit that the noise explains.

    Parameters
    ----------
    data : (B, ...) complex tensor
        Noiseless.
    decibel : float
        Mean power of the data over that of the noise.
    generator : torch.Generator

    Returns
    -------
    y : tensor of the shape of `data`
        With complex white noise.
    eps : (B,) tensor
        ``sqrt(m)`` times the standard deviation of the noise: the expected ``||y - A x||``.
    """
    eps = torch.linalg.vector_norm(data.flatten(1), dim=1) * 10 ** (-decibel / 20)
    noise = torch.randn(data.shape, dtype=data.dtype, generator=generator)
    deviation = (eps / math.sqrt(data[0].numel())).reshape(-1, *[1] * (data.ndim - 1))
    return data + deviation * noise, eps
