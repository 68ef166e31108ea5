"""Natural pictures, whitened as in the V1 paper, cut into patches; and orientation tuning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hyperagent import datadir

SHIPPED = ("astronaut", "camera", "chelsea", "coffee")
"""Pictures of scikit-image that show scenes or animals and not a texture or a page."""


def load() -> tuple[list[np.ndarray], str]:
    """Gray pictures (h, w) in [0, 1] and where they come from.

    Raises
    ------
    hyperagent.errors.DataError
        If neither the data directory nor scikit-image has any.
    """
    folder = datadir.find("natural_gray")
    if folder is not None:
        import matplotlib.image

        stack = np.load(folder / "bsds20_gray.npz")["images"]
        pictures = [picture / 255.0 for picture in stack]
        for name in SHIPPED:
            pictures.append(_gray(matplotlib.image.imread(folder / f"skimage_{name}_gray.png")))
        return pictures, "20 BSDS500 pictures and 4 of scikit-image (data directory)"
    try:
        import skimage.data
    except ImportError:
        datadir.require("natural_gray")  # says how to provide it
        raise
    pictures = [_gray(getattr(skimage.data, name)() / 255.0) for name in SHIPPED]
    return pictures, "4 pictures shipped inside scikit-image"


def _gray(picture: np.ndarray) -> np.ndarray:
    if picture.ndim == 3:
        picture = picture[..., :3] @ np.array([0.299, 0.587, 0.114])
    return picture.astype(np.float64)


def whiten(picture: np.ndarray, variance: float = 0.1) -> np.ndarray:
    """Filter by ``f exp(-(f / 0.4)^4)``, f in cycles per pixel, and scale to `variance`."""
    fy = np.fft.fftfreq(picture.shape[0])[:, None]
    fx = np.fft.fftfreq(picture.shape[1])[None, :]
    f = np.hypot(fy, fx)
    flat = np.fft.ifft2(np.fft.fft2(picture - picture.mean()) * f * np.exp(-((f / 0.4) ** 4))).real
    return flat * np.sqrt(variance / flat.var())


def patches(pictures: list[np.ndarray], n: int, side: int, seed: int) -> Tensor:
    """(n, side^2) float32 patches without their mean, from random places."""
    rng = np.random.default_rng(seed)
    margin = 4  # the filter wraps around the border
    out = np.empty((n, side * side))
    for i in range(n):
        picture = pictures[rng.integers(len(pictures))]
        top = rng.integers(margin, picture.shape[0] - side - margin)
        left = rng.integers(margin, picture.shape[1] - side - margin)
        out[i] = picture[top : top + side, left : left + side].ravel()
    return torch.tensor(out - out.mean(axis=1, keepdims=True), dtype=torch.float32)


def circular_variance(columns: Tensor, side: int) -> Tensor:
    """Orientation selectivity of every column as a linear filter: 0 sharp, 1 none.

    The response to a grating is taken at its best phase, and at the frequency of the column's
    strongest response; then ``1 - |sum R(t) exp(2 i t)| / sum R(t)`` over 36 orientations t.
    """
    angles = torch.arange(36) * torch.pi / 36
    cycles = torch.logspace(np.log10(1 / side), np.log10(0.45), 12)
    place = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
    y, x = torch.meshgrid(place, place, indexing="ij")
    along = angles.cos()[:, None] * x.ravel() + angles.sin()[:, None] * y.ravel()
    gratings = torch.exp(2j * torch.pi * cycles[:, None, None] * along)  # (frequency, angle, d)
    gratings = gratings - gratings.mean(-1, keepdim=True)  # patches have no mean
    response = (gratings @ columns.to(gratings.dtype)).abs()  # (frequency, angle, K)
    best = response.amax(1).argmax(0)
    tuned = response[best, :, torch.arange(columns.shape[1])]  # (K, angle)
    turned = (tuned * torch.exp(2j * angles)).sum(1).abs()
    return 1 - turned / tuned.sum(1)


def plate(path: Path, panels: dict[str, Tensor], side: int, show: int = 8) -> None:
    """PNG with ``show^2`` receptive fields of each dictionary, most selective first."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(panels), figsize=(2.6 * len(panels), 2.9))
    for axis, (name, columns) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        spread = circular_variance(columns, side)
        order = spread.argsort()[torch.linspace(0, columns.shape[1] - 1, show * show).long()]
        canvas = np.full((show * (side + 1) + 1,) * 2, 1.0)
        for i, k in enumerate(order.tolist()):
            field = columns[:, k].reshape(side, side).numpy()
            top, left = (1 + (i // show) * (side + 1), 1 + (i % show) * (side + 1))
            canvas[top : top + side, left : left + side] = field / np.abs(field).max()
        axis.imshow(canvas, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
        axis.set_title(f"{name}\nmedian circular variance {spread.median():.2f}", fontsize=8)
        axis.axis("off")
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.86, wspace=0.04)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
