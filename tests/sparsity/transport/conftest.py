"""Problems that the transport tests share."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor


@pytest.fixture
def random_problem() -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """Uniform costs with uniform or Dirichlet marginals, float64."""

    def make(rows: int, columns: int, seed: int, dirichlet: bool = True):
        generator = torch.Generator().manual_seed(seed)
        cost = torch.rand(rows, columns, generator=generator, dtype=torch.float64)
        a = torch.full((rows,), 1 / rows, dtype=torch.float64)
        b = torch.full((columns,), 1 / columns, dtype=torch.float64)
        if dirichlet:
            a = -torch.log(torch.rand(rows, generator=generator, dtype=torch.float64))
            b = -torch.log(torch.rand(columns, generator=generator, dtype=torch.float64))
        return cost, a / a.sum(), b / b.sum()

    return make


@pytest.fixture
def hot_affinity() -> Callable[[int], Tensor]:
    """Softmax affinities of 256 tasks to 16 agents, two of them everybody's favourite."""

    def make(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        logits = torch.randn(16, 256, generator=generator, dtype=torch.float64)
        logits[:2] += 2
        return torch.softmax(logits, dim=0)

    return make


@pytest.fixture
def quiet() -> Callable[[], contextlib.AbstractContextManager[None]]:
    """Silence for plans that are expected to miss their marginals."""

    @contextlib.contextmanager
    def hush() -> Iterator[None]:
        from hyperagent.sparsity.transport import MarginalWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MarginalWarning)
            yield

    return hush
