"""Everything that cannot be asked for is one error of ours that names the argument."""

from __future__ import annotations

import pytest
import torch

from hyperagent.errors import SparsityError
from hyperagent.sparsity.transport import TransportPlan, b_matching, round_bmatching, route

COST = torch.rand(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
ONES = torch.ones(4, dtype=torch.float64)
CAP = torch.full((3,), 2.0, dtype=torch.float64)


def holed(value: float) -> torch.Tensor:
    cost = COST.clone()
    cost[0, 0] = value
    return cost


def closed(*pairs: tuple[int, int]) -> torch.Tensor:
    cost = COST.clone()
    for i, j in pairs:
        cost[i, j] = torch.inf
    return cost


def solve(cost=COST, a=CAP, b=None, start=None, **options):
    options = {"row": "le", "gamma": 0.5, **options}
    return TransportPlan(options.pop("k", 2), **options)(cost, a, b, start)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: solve(cost=COST.long()), "cost must be a real floating-point"),
        (lambda: solve(cost=[[1.0]]), "cost must be a torch tensor"),
        (lambda: solve(cost=COST[0]), r"cost must have shape \(..., rows, columns\), got \(4,\)"),
        (lambda: solve(cost=holed(torch.nan)), "cost must be finite or .inf"),
        (lambda: solve(cost=holed(-torch.inf)), "cost must be finite or .inf"),
        (lambda: solve(a=ONES), r"a must broadcast to shape \(3,\), got \(4,\)"),
        (lambda: solve(a=-CAP), "a must not be negative"),
        (lambda: solve(a=CAP * torch.nan), "a must be finite"),
        (lambda: solve(a=CAP.long()), "a must be a real floating-point"),
        (lambda: solve(b=CAP), r"b must broadcast to shape \(4,\)"),
        (lambda: solve(a=0 * CAP, b=0 * ONES, row="eq"), "b must have a positive entry"),
        (lambda: solve(a=CAP / 2), "the capacities sum to 3, b needs 4"),
        (lambda: solve(row="eq"), "equal sums, got 6 and 4"),
        (lambda: solve(k=0), r"k must be in \[1"),
        (lambda: solve(k=4), r"k must be in \[1, 3\], got 4"),
        (lambda: solve(k=1.5), "k must be an integer"),
        (lambda: solve(k=True), "k must be an integer"),
        (lambda: solve(k=torch.tensor([1, 2])), "k must broadcast"),
        (lambda: solve(k=torch.tensor([1, 2, 3, 5])), r"k must be in \[1, 3\], got 1 to 5"),
        (lambda: solve(gamma=0.0), "gamma"),
        (lambda: solve(gamma=-1.0), "gamma"),
        (lambda: solve(gamma=torch.tensor([1.0, 2.0])), "gamma must broadcast"),
        (lambda: solve(row="lt"), "row must be one of eq, le, got 'lt'"),
        (lambda: solve(ties="coin"), "ties must be one of"),
        (lambda: solve(form="primal"), "form must be one of"),
        (lambda: solve(start=torch.ones(5).double()), "start must broadcast"),
        # One column that its rows cannot fill.
        (lambda: solve(b=torch.tensor([5.0, 0.1, 0.1, 0.1]).double()), "column 0 needs 5.*limit k"),
        (lambda: solve(cost=closed((0, 1), (1, 1), (2, 1)), k=None), "column 1 needs 1"),
        # Each column alone could be filled, all together cannot (Hall).
        (
            lambda: solve(cost=closed(*((i, j) for i in (1, 2) for j in range(3))), k=None, a=CAP),
            "the forbidden pairs leave 25.00% of b",
        ),
        (
            lambda: TransportPlan(1, 0.5)(
                torch.rand(9, 4).double(), torch.full((9,), 4 / 9).double()
            ),
            "column 0 needs 1",
        ),
        (
            lambda: TransportPlan(1, 0.5)(
                torch.rand(5, 4).double(), torch.tensor([1.0, 1.0, 1.0, 0.5, 0.5]).double()
            ),
            "k is too small: the columns have 4 places, 5 rows",
        ),
        (lambda: b_matching(COST.long(), 2, 2), "score must be a real floating-point"),
        (lambda: b_matching(COST * torch.nan, 2, 2), "score must be finite or -inf"),
        (lambda: b_matching(COST[0], 2, 2), "score must have shape"),
        (lambda: b_matching(COST, -1, 2), "load must be in"),
        (lambda: b_matching(COST, 2, 4), r"k must be in \[1, 3\]"),
        (lambda: b_matching(COST, 2, 2, 4), r"least must be in \[0, 3\]"),
        (lambda: b_matching(COST, 1, 2), "need at least 4 places, the rows offer 3"),
        (lambda: b_matching(COST, 2, 1, 2), "least must be <= k in every column"),
        (lambda: round_bmatching(-COST, 2, 2), "share must hold magnitudes"),
        (lambda: round_bmatching(COST, 2, 2, affinity=COST[:2]), "affinity must have the shape"),
        (lambda: route(COST.long(), max_size=2, load=2), "affinity must be a real floating-point"),
        (lambda: route(holed(torch.nan), max_size=2, load=2), "affinity must be finite"),
        (lambda: route(COST, ONES[:2], max_size=2, load=2), "cost must broadcast"),
        (lambda: route(COST, max_size=2, load=1), "cannot be met together"),
        (lambda: route(COST, max_size=5, load=2), "max_size must be in"),
        (lambda: route(COST, max_size=2, load=2, allowed=COST), "allowed must be a bool"),
        (lambda: route(COST, max_size=2, load=2, follow="luck"), "follow must be one of"),
    ],
)
def test_named(call, said, capsys):
    with pytest.raises(SparsityError, match=said):
        call()
    assert capsys.readouterr() == ("", "")


def test_a_float32_rounding_of_the_sums_is_forgiven():
    a = torch.full((3,), 4 / 3, dtype=torch.float32)
    assert float(solve(cost=COST.float(), a=a, row="eq", k=3).row_error) <= 1e-6
