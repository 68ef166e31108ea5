"""Least squares on a support: what a solution would be without the penalty's shrinkage."""

from __future__ import annotations

import torch
from torch import Tensor

from hyperagent.errors import SparsityError
from hyperagent.sparsity import checks


@torch.no_grad()
def debias(matrix: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """``argmin ||A z - y||^2`` over all z that are zero wherever `x` is.

    Comparing its misfit with that of `x` tells how much of a penalty's misfit is shrinkage
    and how much a wrong support.

    Parameters
    ----------
    matrix : (M, N) tensor
        A, real or complex.
    y : (M,) or (B, M) tensor
    x : (N,) or (B, N) tensor
        Only its support counts.

    Returns
    -------
    tensor of the shape of `x`
        The solution of least norm where a support has more than M or dependent columns.

    Raises
    ------
    SparsityError
        For NaN or shapes that do not fit.
    """
    checks.finite("matrix", matrix)
    checks.finite("y", y)
    checks.finite("x", x)
    if (
        matrix.ndim != 2
        or y.shape[-1:] != matrix.shape[:1]
        or x.shape[-1:] != matrix.shape[1:]
        or x.shape[:-1] != y.shape[:-1]
        or x.ndim > 2
    ):
        raise SparsityError(
            "matrix, y and x must be (M, N), (M,) or (B, M), and (N,) or (B, N), got "
            f"{tuple(matrix.shape)}, {tuple(y.shape)}, {tuple(x.shape)}"
        )
    rows, data = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
    on = rows != 0
    width = int(on.sum(1).max()) if len(rows) else 0
    if not width:
        return torch.zeros_like(x)
    # Every row gets as many columns as the largest support needs; the spare ones are zero
    # columns, to which least squares of least norm gives 0.
    order = torch.sort(on.to(torch.int8), dim=1, descending=True, stable=True).indices[:, :width]
    real = on.gather(1, order)
    columns = matrix.mT[order] * real.unsqueeze(-1)
    found = torch.linalg.pinv(columns.mT) @ data.unsqueeze(-1)
    out = torch.zeros_like(rows).scatter(1, order, found.squeeze(-1) * real)
    return out.reshape(x.shape)
