"""Plans: limits, certificates, prices, ties, batches."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import torch

from hyperagent.sparsity.transport import MarginalWarning, TransportPlan
from hyperagent.sparsity.transport.inputs import problem
from hyperagent.sparsity.transport.newton import maximise
from hyperagent.sparsity.transport.semi_dual import SemiDual
from hyperagent.sparsity.transport.solve import TOLERANCE, oracle, scale

FORMS = ["semi_dual", "dual"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("row", ["eq", "le"])
@pytest.mark.parametrize("gamma", [0.005, 0.1, 2.0])
def test_unlimited_plan_is_exact(random_problem, form, row, gamma):
    cost, a, b = random_problem(12, 20, 0)
    if row == "le":
        a = 1.5 * a
    plan = TransportPlan(None, gamma, row=row, form=form)(cost, a, b)
    assert torch.allclose(plan.share.sum(0), b, atol=1e-12)
    assert float(plan.row_error) <= 1e-9
    assert abs(float(plan.gap)) <= 1e-9
    assert int(plan.n_tied) == 0
    assert plan.share.min() >= 0
    if row == "eq":
        assert torch.allclose(plan.load, a, atol=1e-9)
    else:
        assert (plan.load <= a + 1e-9).all()
        assert (plan.price >= 0).all()
        # A price only where the capacity binds.
        assert torch.allclose(plan.price * (a - plan.load), torch.zeros_like(a), atol=1e-9)
        assert float(plan.price.max()) > 0


def test_unlimited_plan_equals_a_quadratic_program(random_problem):
    cvxpy = pytest.importorskip("cvxpy", reason="cvxpy is not installed")
    for row, rows in (("eq", 15), ("le", 8)):
        cost, a, b = random_problem(rows, 15, 1)
        a = a if row == "eq" else 1.4 * a
        plan = TransportPlan(None, 0.3, row=row)(cost, a, b)
        share = cvxpy.Variable(cost.shape, nonneg=True)
        sums = cvxpy.sum(share, axis=1)
        limits = [sums == a.numpy() if row == "eq" else sums <= a.numpy()]
        limits.append(cvxpy.sum(share, axis=0) == b.numpy())
        paid = cvxpy.sum(cvxpy.multiply(cost.numpy(), share)) + 0.15 * cvxpy.sum_squares(share)
        value = cvxpy.Problem(cvxpy.Minimize(paid), limits).solve(solver="CLARABEL")
        assert abs(float(plan.value) - value) <= 1e-6
        assert abs(plan.share.numpy() - share.value).max() <= 1e-4


def test_one_row_per_column_is_unregularised_transport(random_problem):
    """The semi-dual of k = 1 is that of the linear program plus a constant, at any gamma."""
    cost, a, b = random_problem(6, 9, 2)
    generator = torch.Generator().manual_seed(0)
    for gamma in (0.1, 5.0):
        function = SemiDual(
            cost.T[None], a[None], b[None], torch.tensor([gamma], dtype=torch.float64), 1, False
        )
        for _ in range(20):
            alpha = torch.randn(1, 6, generator=generator, dtype=torch.float64)
            linear = (alpha[0] @ a) - (b * (alpha.T - cost).amax(0)).sum()
            value = function.at(alpha).value - 0.5 * gamma * b.square().sum()
            assert abs(float(value - linear)) <= 1e-12


def test_one_row_per_column_is_the_best_assignment():
    from scipy.optimize import linear_sum_assignment

    found = 0
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        cost = torch.rand(32, 32, generator=generator, dtype=torch.float64)
        ones = torch.ones(32, dtype=torch.float64)
        plan = TransportPlan(1, 0.5)(cost, ones)
        i, j = linear_sum_assignment(cost.numpy())
        found += bool((plan.support.numpy()[i, j]).all())
        assert abs(float((plan.share * cost).sum() - cost[i, j].sum())) <= 1e-9
    assert found >= 5


def test_certificate_against_every_support():
    """4 x 4, k = 2: the least objective over all 6^4 supports lies between the bounds."""
    pairs = list(itertools.combinations(range(4), 2))
    supports = torch.zeros(len(pairs), 4, dtype=torch.bool)
    for i, pair in enumerate(pairs):
        supports[i, list(pair)] = True
    chosen = torch.tensor(list(itertools.product(range(6), repeat=4)))
    mask = supports[chosen]  # (1296, T, A)
    optimal = 0
    for seed in range(8):
        generator = torch.Generator().manual_seed(seed)
        cost = torch.rand(4, 4, generator=generator, dtype=torch.float64)
        a = torch.full((4,), 0.25, dtype=torch.float64)
        gamma = 0.3 if seed % 2 else 3.0
        whole = problem(cost, a, a, gamma, None, False)
        every = whole._replace(
            cost=whole.cost.expand(1296, 4, 4).masked_fill(~mask, torch.inf),
            a=a.expand(1296, 4),
            b=a.expand(1296, 4),
            gamma=whole.gamma.expand(1296),
        )
        found = maximise(oracle(every), torch.zeros_like(every.a), scale(every), TOLERANCE, 60)
        met = found.point.gradient.abs().amax(-1) < 1e-9
        best = float(found.point.value[met].min())
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            plan = TransportPlan(2, gamma)(cost, a, a)
        assert (plan.support.sum(0) <= 2).all()
        assert float(plan.value) <= best + 1e-6
        missed = float(plan.row_error) > 1e-6
        assert missed == any(isinstance(w.message, MarginalWarning) for w in said)
        assert missed == bool(torch.isinf(plan.gap))
        if not missed:
            assert float(plan.value + plan.gap) >= best - 1e-9
        if int(plan.n_tied) == 0:
            assert not missed
            assert abs(float(plan.gap)) < 1e-4
            assert abs(best - float(plan.value)) < 1e-4
            optimal += 1
    assert optimal >= 2


@pytest.mark.parametrize("form", FORMS)
def test_limit_holds_whatever_else_fails(random_problem, quiet, form):
    for k, seed in itertools.product((2, 3, 5), range(3)):
        cost, a, b = random_problem(20, 30, seed)
        with quiet():
            plan = TransportPlan(k, 0.5, form=form)(cost, a, b)
        assert (plan.support.sum(0) <= k).all()
        assert torch.allclose(plan.share.sum(0), b, atol=1e-12)


def test_a_plan_that_misses_its_marginals_says_so(random_problem):
    cost, a, b = random_problem(40, 40, 0)
    with pytest.warns(MarginalWarning, match="k=2 is too small"):
        plan = TransportPlan(2, 0.5)(cost, a, b)
    assert float(plan.row_error) > 0.01
    assert torch.isinf(plan.gap)


def test_each_column_may_have_its_own_limit(random_problem, quiet):
    cost, a, b = random_problem(8, 12, 0)
    k = torch.arange(12) % 4 + 1
    with quiet():
        plan = TransportPlan(k, 1.0, row="le")(cost, 2 * a, b)
        same = TransportPlan(torch.full((12,), 3), 1.0, row="le")(cost, 2 * a, b)
        plain = TransportPlan(3, 1.0, row="le")(cost, 2 * a, b)
    assert (plan.support.sum(0) <= k).all()
    assert (plan.support.sum(0) == k).any()
    assert torch.equal(same.share, plain.share)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("k", [None, 3])
def test_a_batch_is_its_items(random_problem, quiet, form, k):
    items = [random_problem(9, 14, seed) for seed in range(4)]
    cost, a, b = (
        torch.stack(part).reshape(2, 2, *part[0].shape) for part in zip(*items, strict=True)
    )
    gamma = torch.tensor([[0.2, 0.4], [0.4, 0.8]], dtype=torch.float64)
    with quiet():
        together = TransportPlan(k, gamma, form=form)(cost, a, b)
        for i, j in itertools.product(range(2), range(2)):
            alone = TransportPlan(k, gamma[i, j], form=form)(cost[i, j], a[i, j], b[i, j])
            assert abs(float(together.value[i, j] - alone.value)) <= 1e-6 * abs(float(alone.value))
            if int(alone.n_tied) == 0:
                assert torch.allclose(together.share[i, j], alone.share, atol=1e-8)
    assert together.share.shape == cost.shape
    assert together.price.shape == a.shape
    assert together.column_price.shape == b.shape
    assert together.row_error.shape == together.steps.shape == (2, 2)


def test_prices_are_what_a_unit_more_is_worth(random_problem):
    cost, a, b = random_problem(6, 20, 4)
    capacity = 1.3 * a
    module = TransportPlan(None, 0.2, row="le")
    plan = module(cost, capacity, b)
    for i in range(6):
        step = torch.zeros(6, dtype=torch.float64)
        step[i] = 1e-6
        more, less = module(cost, capacity + step, b).value, module(cost, capacity - step, b).value
        assert abs(float((less - more) / 2e-6 - plan.price[i])) <= 1e-5
    used = plan.support
    unit = cost + 0.2 * plan.share + plan.price[:, None]
    assert torch.allclose(unit[used], plan.column_price.expand(6, 20)[used], atol=1e-8)


def test_more_freedom_never_costs_more(random_problem, quiet):
    cost, a, b = random_problem(10, 10, 3, dirichlet=False)
    with quiet():
        values = [float(TransportPlan(k, 0.8)(cost, a, b).value) for k in (1, 2, 3, 5, 10)]
    assert all(more >= less - 1e-6 for more, less in itertools.pairwise(values))


def test_ties_policies():
    """Four equal rows and one row per column: who gets the mass?"""
    cost = torch.zeros(4, 16, dtype=torch.float64)
    a, b = torch.full((4,), 4.0, dtype=torch.float64), torch.ones(16, dtype=torch.float64)
    with pytest.warns(MarginalWarning):
        index = TransportPlan(1, 0.5, ties="index", row="eq")(cost, a, b)
    assert int(index.n_tied) == 16
    average = TransportPlan(1, 0.5, ties="average")(cost, a, b)
    assert torch.allclose(average.load, a)
    assert (average.support.sum(0) == 4).all()
    jitter = TransportPlan(1, 0.5, ties="jitter", seed=3)(cost, a, b)
    again = TransportPlan(1, 0.5, ties="jitter", seed=3)(cost, a, b)
    assert torch.equal(jitter.share, again.share)
    assert (jitter.support.sum(0) == 1).all()
    assert torch.allclose(jitter.load, a)


def test_forbidden_pairs_stay_empty(random_problem):
    cost, a, b = random_problem(8, 12, 5)
    closed = torch.rand(8, 12, generator=torch.Generator().manual_seed(1)) < 0.3
    plan = TransportPlan(None, 0.1, row="le")(cost.masked_fill(closed, torch.inf), 4 * a, b)
    assert not plan.support[closed].any()
    assert float(plan.row_error) <= 1e-9
    assert torch.isfinite(plan.gap)


def test_a_good_start_saves_steps(random_problem):
    cost, a, b = random_problem(30, 40, 6)
    module = TransportPlan(None, 0.1)
    cold = module(cost, a, b)
    near = cost + 1e-4 * torch.rand(cost.shape, dtype=torch.float64)
    warm = module(near, a, b, start=cold.price)
    assert int(warm.steps) < int(module(near, a, b).steps) / 2
    assert torch.allclose(warm.share, module(near, a, b).share, atol=1e-8)


def test_float32_and_untouched_silent_input(random_problem, capsys):
    cost, a, b = (x.float() for x in random_problem(10, 12, 7))
    before = [x.clone() for x in (cost, a, b)]
    plan = TransportPlan(4, 0.5)(cost, a, b)
    assert all(torch.equal(x, y) for x, y in zip((cost, a, b), before, strict=True))
    assert plan.share.dtype == plan.price.dtype == plan.gap.dtype == torch.float32
    wide = TransportPlan(4, 0.5)(cost.double(), a.double(), b.double())
    assert torch.allclose(plan.share.double(), wide.share, atol=1e-6)
    assert capsys.readouterr() == ("", "")


def test_hot_agents_are_served_within_two_percent_by_prices_alone(hot_affinity):
    """The dense plan's prices, each column then cut to its two best agents."""
    for seed in range(3):
        affinity = hot_affinity(seed)
        plan = TransportPlan(None, 0.05, row="le")(-affinity, torch.full((16,), 20.0).double())
        function = oracle(
            problem(-affinity, torch.full((16,), 20.0), None, 0.05, 2, True), limit=True
        )
        load = function.at(-plan.price[None]).share.sum(1)[0]
        assert float((load - 20).clamp_min(0).sum()) <= 0.02 * 256


@pytest.mark.parametrize("k", [2, 5, 39, 40])
def test_side_by_side_with_pot(random_problem, quiet, capsys, k):
    smooth = pytest.importorskip("ot.smooth", reason="POT is not installed")
    cost, a, b = random_problem(40, 40, 0)
    arrays = [x.numpy().copy() for x in (a, b, cost)]
    with quiet():
        ours = TransportPlan(k, 0.5)(cost, a, b)
    assert capsys.readouterr().out == ""
    if k == 40:
        # Their dual fails at k = m.
        assert float(ours.row_error) <= 1e-9
        return
    theirs, log = smooth.smooth_ot_semi_dual(
        *arrays, 0.5, reg_type="sparsity_constrained", max_nz=k, log=True
    )
    capsys.readouterr()
    function = oracle(problem(cost, a, b, 0.5, k, False), limit=True)
    value = float(function.at(torch.from_numpy(np.asarray(log["alpha"]))[None]).value)
    error = abs(theirs.sum(1) - a.numpy()).sum()
    if k == 2:
        assert float(ours.value) >= 0.995 * value
    else:
        assert float(ours.value) >= value - 1e-9
        assert float(ours.row_error) <= min(1e-8, error / 100)


def test_the_warning_points_at_the_caller():
    with pytest.warns(MarginalWarning) as caught:
        TransportPlan(k=1, gamma=0.1)(torch.rand(2, 3), torch.full((2,), 1.5))
    assert caught[0].filename == __file__
