"""ProximalOptimizer: what its fixed points are under every optimizer, and that zeros are zeros."""

from __future__ import annotations

import copy

import pytest
import torch

from hyperagent.errors import SparsityError
from hyperagent.sparsity.groups import Groups, Slice
from hyperagent.sparsity.masks import Mask
from hyperagent.sparsity.optim import ProximalOptimizer, Term
from hyperagent.sparsity.penalties.firm import CEL0, MCP
from hyperagent.sparsity.penalties.l1 import L1, GroupLasso
from hyperagent.sparsity.schedules import Linear
from hyperagent.sparsity.solvers import ista

D = torch.float64


class Quadratic:
    """``1/2 ||A x - y||^2`` with a minimum that l1 makes sparse."""

    def __init__(self, n: int = 12, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.a = torch.randn(80, n, dtype=D) / 80**0.5
        truth = torch.where(torch.rand(n, dtype=D) < 0.4, torch.randn(n, dtype=D), 0.0)
        self.y = self.a @ truth + 0.05 * torch.randn(80, dtype=D)
        self.n = n

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        return 0.5 * (self.a @ x.reshape(-1) - self.y).square().sum()

    def grad(self, x: torch.Tensor) -> torch.Tensor:
        return (self.a.T @ (self.a @ x.reshape(-1) - self.y)).reshape(x.shape)

    def run(self, optimizer, x, steps, decay=False, scale=1.0) -> None:
        start = [g["lr"] for g in optimizer.param_groups]
        for i in range(steps):
            if decay:
                for g, lr in zip(optimizer.param_groups, start, strict=True):
                    g["lr"] = lr * (1 - i / steps) ** 2 + 1e-7
            optimizer.zero_grad()
            (scale * self.loss(x)).backward()
            optimizer.step()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.5, "dampening": 0.3},
    ],
)
@pytest.mark.parametrize("penalty", [L1(0.05), CEL0(0.02, 0.7), MCP(0.05, 3.0)])
def test_sgd_ends_at_a_stationary_point_of_loss_plus_penalty(penalty, options) -> None:
    problem = Quadratic()
    x = torch.nn.Parameter(torch.zeros(problem.n, dtype=D))
    lr = 0.2 * (1 - options.get("momentum", 0)) / (1 - options.get("dampening", 0))
    optimizer = ProximalOptimizer(torch.optim.SGD([x], lr=lr, **options), [Term(penalty, x)])
    problem.run(optimizer, x, 800)
    assert penalty.residual(x.detach(), problem.grad(x.detach()), 0.05) < 1e-6
    assert 0 < int((x == 0).sum()) < problem.n
    if isinstance(penalty, L1):
        best = ista(problem.a, problem.y, penalty, iterations=20_000, tol=1e-12)
        torch.testing.assert_close(x.detach(), best.x, atol=1e-6, rtol=0)
        assert torch.equal(x == 0, best.x == 0)


def test_momentum_unmatched_would_end_elsewhere() -> None:
    """The control for the factor 1 / (1 - momentum): without it the penalty is ten times weaker."""
    problem, weight = Quadratic(), 0.05
    x = torch.nn.Parameter(torch.zeros(problem.n, dtype=D))
    base = torch.optim.SGD([x], lr=0.05, momentum=0.9)
    for _ in range(800):
        base.zero_grad()
        problem.loss(x).backward()
        base.step()
        with torch.no_grad():
            x.copy_(L1(weight).on().prox(x, 0.05))
    assert L1(weight).residual(x.detach(), problem.grad(x.detach()), 0.05) > 0.05
    assert L1(weight / 10).residual(x.detach(), problem.grad(x.detach()), 0.05) < 1e-6


ADAPTIVE = {
    "adam": lambda p: torch.optim.Adam(p, 0.02),
    "adamw": lambda p: torch.optim.AdamW(p, 0.02, weight_decay=0.0, amsgrad=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.5),
}


@pytest.mark.parametrize("name", ADAPTIVE)
def test_preconditioned_ends_where_proximal_gradient_does(name) -> None:
    problem, penalty = Quadratic(), L1(0.05)
    x = torch.nn.Parameter(torch.zeros(problem.n, dtype=D))
    optimizer = ProximalOptimizer(ADAPTIVE[name]([x]), [Term(penalty, x)], metric="preconditioned")
    problem.run(optimizer, x, 1500, decay=True)
    best = ista(problem.a, problem.y, penalty, iterations=20_000, tol=1e-12).x
    torch.testing.assert_close(x.detach(), best, atol=2e-3, rtol=0)
    assert torch.equal(x == 0, best == 0)


def test_decoupled_does_not_see_the_scale_of_the_loss_and_preconditioned_does() -> None:
    problem = Quadratic()
    ends = {}
    for metric in ("decoupled", "preconditioned"):
        for scale in (1.0, 1000.0):
            x = torch.nn.Parameter(torch.ones(problem.n, dtype=D))
            adam = torch.optim.Adam([x], 0.01, eps=1e-30)
            problem.run(
                ProximalOptimizer(adam, [Term(L1(0.3), x)], metric=metric), x, 400, scale=scale
            )
            ends[metric, scale] = x.detach().clone()
    torch.testing.assert_close(ends["decoupled", 1.0], ends["decoupled", 1000.0])
    assert (ends["decoupled", 1.0] == 0).any()
    assert (ends["preconditioned", 1.0] == 0).sum() > (ends["preconditioned", 1000.0] == 0).sum()


def test_decoupled_zero_stays_zero_where_the_update_is_below_the_slope() -> None:
    for weight, stays in ((1.05, True), (0.95, False)):
        x = torch.nn.Parameter(torch.zeros(1, dtype=D))
        adam = torch.optim.Adam([x], 0.01)
        optimizer = ProximalOptimizer(adam, [Term(L1(weight), x)])
        for _ in range(5):
            x.grad = torch.tensor([3e-4], dtype=D)  # Adam makes |u| = 1 of a constant gradient
            optimizer.step()
        assert (x.item() == 0) is stays


def test_groups_over_several_tensors_reach_the_group_lasso() -> None:
    """Two tensors that form one vector, in groups that span both: the same as one tensor."""
    problem = Quadratic(12)
    a, b = (torch.nn.Parameter(torch.zeros(4, k, dtype=D)) for k in (1, 2))
    unit = torch.arange(4)
    groups = Groups.slices([Slice("a", 0, unit, unit), Slice("b", 0, unit, unit)])
    penalty = GroupLasso(1.5)
    sgd = torch.optim.SGD([a, b], 0.05, momentum=0.8)
    optimizer = ProximalOptimizer(sgd, [Term(penalty, {"a": a, "b": b}, groups)])
    for _ in range(800):
        optimizer.zero_grad()
        problem.loss(torch.cat([a, b], 1)).backward()
        optimizer.step()
    x = torch.cat([a, b], 1).detach()
    assert penalty.residual(x, problem.grad(x), 0.05, Groups.rows()) < 1e-6
    assert 0 < optimizer.active()[0] < 4
    zero = (x == 0).all(1)
    assert torch.equal(zero, (x == 0).any(1))  # whole groups, or nothing


@pytest.mark.parametrize("groups", [Groups.rows(), Groups.elements()])
def test_preconditioned_step_of_a_group_is_the_mean_denominator(groups) -> None:
    torch.manual_seed(0)
    w = torch.nn.Parameter(torch.randn(3, 4, dtype=D))
    adam = torch.optim.Adam([w], 0.01)
    twin = copy.deepcopy(w)
    plain = torch.optim.Adam([twin], 0.01)
    optimizer = ProximalOptimizer(adam, [Term(L1(0.2), w, groups)], metric="preconditioned")
    for _ in range(3):
        gradient = torch.randn(3, 4, dtype=D)
        w.grad, twin.grad = gradient, gradient.clone()
        with torch.no_grad():
            twin.copy_(w)
        optimizer.step()
        plain.step()
        state = plain.state[twin]
        d = (state["exp_avg_sq"] / (1 - 0.999 ** state["step"])).sqrt() + 1e-8
        mean = d.mean(1) if groups is not None and groups.why.startswith("rows") else d
        expected = L1(0.2).on(groups).prox(twin.detach(), 0.01 / mean)
        torch.testing.assert_close(w.detach(), expected)


def test_subgradient_adds_the_gradient_and_makes_no_zeros() -> None:
    problem, weight = Quadratic(), 0.05
    x = torch.nn.Parameter(torch.ones(problem.n, dtype=D))
    optimizer = ProximalOptimizer(
        torch.optim.SGD([x], 0.01), [Term(L1(weight), x, mode="subgradient")]
    )
    problem.loss(x).backward()
    before, gradient = x.detach().clone(), x.grad.clone()
    optimizer.step()
    torch.testing.assert_close(x.detach(), before - 0.01 * (gradient + weight))
    problem.run(optimizer, x, 2000)
    best = ista(problem.a, problem.y, L1(weight), iterations=20_000, tol=1e-12).x
    torch.testing.assert_close(x.detach(), best, atol=3e-3, rtol=0)
    assert (x != 0).all()
    assert (best == 0).any()


def test_halfspace_makes_zeros_after_the_warm_up_and_they_stay() -> None:
    problem = Quadratic()
    x = torch.nn.Parameter(0.5 * torch.randn(problem.n, dtype=D))
    term = Term(L1(0.05), x, mode="halfspace", warm=200)
    optimizer = ProximalOptimizer(torch.optim.SGD([x], 0.05), [term])
    problem.run(optimizer, x, 200)
    assert optimizer.active() == [problem.n]
    problem.run(optimizer, x, 300)
    zeros = (x == 0).detach()
    best = ista(problem.a, problem.y, L1(0.05), iterations=20_000, tol=1e-12).x
    assert zeros.any()
    assert zeros[best == 0].all()
    problem.run(optimizer, x, 50)
    assert (x[zeros] == 0).all()


def test_the_half_space_is_the_inner_product_of_new_and_old() -> None:
    torch.manual_seed(0)
    old = torch.randn(50, 3, dtype=D)
    w = torch.nn.Parameter(old + 1.5 * torch.randn(50, 3, dtype=D))
    new = w.detach().clone()
    Term(L1(1.0), w, Groups.rows(), mode="halfspace", epsilon=0.2).cut(old)
    gone = (new * old).sum(1) < 0.2 * old.square().sum(1)
    assert 0 < int(gone.sum()) < 50
    assert torch.equal(w.detach(), torch.where(gone[:, None], 0.0, new))


@pytest.mark.parametrize("mode", ["prox", "subgradient", "halfspace"])
def test_closures_schedules_and_resuming(mode) -> None:
    problem = Quadratic()

    def make():
        x = torch.nn.Parameter(torch.ones(problem.n, dtype=D))
        adam = torch.optim.AdamW([x], 0.05)
        term = Term(L1(0.4), x, strength=Linear(1.0, 0.0, 40), mode=mode)
        return x, ProximalOptimizer(adam, [term])

    x, optimizer = make()
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
    y, other = make()
    other_scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(other, 40)

    def closure():
        other.zero_grad()
        loss = problem.loss(y)
        loss.backward()
        return loss

    for i in range(40):
        problem.run(optimizer, x, 1)
        scheduler.step()
        assert other.step(closure) > 0
        other_scheduler.step()
        assert torch.equal(x, y)
        if i == 20:  # go on from a checkpoint
            saved = copy.deepcopy((other.state_dict(), other_scheduler.state_dict(), y.detach()))
            y, other = make()
            other_scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(other, 40)
            other.load_state_dict(saved[0])
            other_scheduler.load_state_dict(saved[1])
            with torch.no_grad():
                y.copy_(saved[2])
    assert optimizer.count == 40
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-12)
    assert optimizer.penalty() == 0  # strength has ended


def test_strength_zero_is_the_base_optimizer_bit_for_bit() -> None:
    problem = Quadratic()
    ends = []
    for wrap in (False, True):
        x = torch.nn.Parameter(torch.ones(problem.n, dtype=D))
        optimizer = torch.optim.Adam([x], 0.05)
        if wrap:
            optimizer = ProximalOptimizer(optimizer, [Term(L1(9.0), x, strength=lambda _: 0.0)])
        problem.run(optimizer, x, 30)
        ends.append(x.detach())
    assert torch.equal(*ends)


def test_masks_attach_to_it() -> None:
    problem = Quadratic()
    x = torch.nn.Parameter(torch.ones(problem.n, dtype=D))
    optimizer = ProximalOptimizer(torch.optim.Adam([x], 0.05), [Term(L1(0.01), x)])
    problem.run(optimizer, x, 5)
    keep = torch.arange(problem.n) % 2 == 0
    with Mask({"x": keep}).attach({"x": x}, optimizer):
        problem.run(optimizer, x, 20)
    assert not x[~keep].any()
    assert x[keep].any()


def test_bad_arguments_are_named() -> None:
    x, y = (torch.nn.Parameter(torch.zeros(3)) for _ in range(2))
    sgd = torch.optim.SGD([{"params": [x], "lr": 0.1}, {"params": [y], "lr": 0.2}], lr=0.1)
    unit = torch.arange(3)
    both = Groups.slices([Slice("x", 0, unit, unit), Slice("y", 0, unit, unit)])
    for make, name in (
        (lambda: Term(L1(0.1), x, mode="magic"), "mode"),
        (lambda: Term(L1(0.1), x, epsilon=1.0), "epsilon"),
        (lambda: Term(L1(0.1), x, warm=-1), "warm"),
        (lambda: Term(L1(0.1), {"x": x}, both), "'y'"),
        (lambda: ProximalOptimizer(sgd, [Term(L1(0.1), {"x": x, "y": y}, both)]), "tensors"),
        (lambda: ProximalOptimizer(sgd, [Term(L1(0.1), torch.zeros(3))]), "tensors"),
        (lambda: ProximalOptimizer(sgd, [Term(L1(0.1), x)], metric="own"), "metric"),
        (lambda: ProximalOptimizer(sgd, [Term(L1(0.1), x)], metric="preconditioned"), "Adam"),
    ):
        with pytest.raises(SparsityError, match=name):
            make()
    bad = ProximalOptimizer(sgd, [Term(L1(0.1), x, strength=lambda _: -1.0)])
    with pytest.raises(SparsityError, match="strength"):
        bad.step()


@pytest.mark.parametrize("kind", [torch.optim.Adamax, torch.optim.ASGD])
def test_preconditioned_refuses_optimizers_without_second_moments(kind):
    p = torch.nn.Parameter(torch.ones(3))
    with pytest.raises(SparsityError, match="preconditioned"):
        ProximalOptimizer(kind([p], lr=0.1), [Term(L1(0.1), p)], metric="preconditioned")


def test_a_deep_copy_goes_on_like_the_original():
    p = torch.nn.Parameter(torch.tensor([1.0, 0.02]))
    both = {"optimizer": ProximalOptimizer(torch.optim.Adam([p], lr=0.1), [Term(L1(0.5), p)])}
    other = copy.deepcopy({**both, "p": p})
    for optimizer, x in ((both["optimizer"], p), (other["optimizer"], other["p"])):
        x.grad = torch.ones(2)
        optimizer.step()
    assert other["optimizer"].param_groups is other["optimizer"].base.param_groups
    assert other["optimizer"].count == 1
    assert torch.equal(p, other["p"])


def test_an_optimizer_that_climbs_still_shrinks():
    p = torch.nn.Parameter(torch.ones(2))
    sgd = torch.optim.SGD([p], lr=0.1, maximize=True)
    p.grad = torch.zeros(2)
    ProximalOptimizer(sgd, [Term(L1(1.0), p, mode="subgradient")]).step()
    torch.testing.assert_close(p.detach(), torch.full((2,), 0.9))


def test_momentum_of_one_has_no_step():
    p = torch.nn.Parameter(torch.ones(2))
    p.grad = torch.ones(2)
    optimizer = ProximalOptimizer(torch.optim.SGD([p], lr=0.1, momentum=1.0), [Term(L1(1.0), p)])
    with pytest.raises(SparsityError, match="momentum"):
        optimizer.step()
