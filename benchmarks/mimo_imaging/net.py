"""The denoiser: a small two-level 3-D U-Net that is told the noise level."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

CHECKPOINT = Path(__file__).resolve().parent / "denoiser.safetensors"


def _block(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [
            nn.Conv3d(channels, outputs, 3, padding=1, bias=False),
            nn.BatchNorm3d(outputs),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


class UNet3d(nn.Module):
    """Magnitudes and a noise level in, magnitudes out.

    Parameters
    ----------
    width : int
        Channels of the fine level; the coarse one has twice as many. 12 gives 42,049
        parameters.

    Shapes: ``z`` (..., X, Y, Z), ``sigma`` broadcastable to it; the result is as ``z``.
    """

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.fine = _block(2, width)
        self.coarse = _block(width, 2 * width)
        self.up = nn.ConvTranspose3d(2 * width, width, 2, stride=2)
        self.merge = _block(2 * width, width)
        self.out = nn.Conv3d(width, 1, 1)

    def forward(self, z: Tensor, sigma: Tensor | float) -> Tensor:
        size = z.shape[-3:]
        level = torch.as_tensor(sigma, dtype=z.dtype).expand(z.shape)
        x = torch.stack([z, level], dim=-4).reshape(-1, 2, *size)
        pad = [p for s in reversed(size) for p in (0, s % 2)]
        x = functional.pad(x, pad)
        fine = self.fine(x)
        coarse = self.up(self.coarse(functional.max_pool3d(fine, 2)))
        x = self.out(self.merge(torch.cat([fine, coarse], dim=1)))
        return x[..., : size[0], : size[1], : size[2]].reshape(z.shape)


def load(path: Path = CHECKPOINT) -> UNet3d:
    """The trained denoiser, in evaluation mode, without gradients."""
    net = UNet3d()
    net.load_state_dict(load_file(path))
    return net.eval().requires_grad_(False)
