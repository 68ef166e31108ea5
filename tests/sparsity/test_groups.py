"""Groups read magnitudes and scale; phases, signs and kept groups stay bit for bit."""

from __future__ import annotations

import math

import pytest
import torch

from hyperagent.errors import SparsityError
from hyperagent.sparsity import Groups, Slice, apply
from hyperagent.sparsity.penalties import CEL0, L0, L1, GroupLasso, SparseEnvelope


def model() -> dict[str, torch.Tensor]:
    """A layer of 4 channels: filters, scale, shift, and the inputs of the next layer."""
    g = torch.Generator().manual_seed(3)
    return {
        "conv": torch.randn(4, 3, 2, 2, generator=g),
        "scale": torch.randn(4, generator=g),
        "next": torch.randn(5, 4, generator=g),
    }


def channels() -> Groups:
    along = torch.arange(4)
    return Groups.slices(
        [
            Slice("conv", 0, along, along),
            Slice("scale", 0, along, along),
            Slice("next", 1, along, along),
        ],
        names=("a", "b", "c", "d"),
        why="channels",
        cost=torch.full((4,), 18.0),
    )


SHAPED = [
    (Groups.elements(), (3, 4)),
    (Groups.rows(), (3, 4)),
    (Groups.columns(), (2, 3, 4)),
    (Groups.by_agent(), (3, 4)),
    (Groups.by_hyperedge(), (3, 4)),
    (Groups.along(0, 2), (3, 4, 5)),
    (Groups.blocks(2), (3, 4)),
    (Groups.blocks(3, 2), (2, 3, 4)),
    (Groups.complex(), (5, 2)),
]


@pytest.mark.parametrize(("groups", "shape"), SHAPED, ids=lambda x: repr(x))
def test_scaling_reaches_the_wanted_magnitudes(groups: Groups, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64)
    before = x.clone()
    z = groups.magnitudes(x)
    assert math.isclose(float(z.square().sum()), float(x.square().sum()))
    new = z * torch.rand_like(z)
    assert torch.allclose(groups.magnitudes(groups.scale(x, z, new)), new)
    assert torch.equal(groups.scale(x, z, z), x), "a kept group must not change by one bit"
    gone = groups.scale(x, z, torch.zeros_like(z))
    assert (gone == 0).all()
    assert torch.equal(x, before)
    copy = x.clone()
    groups.scale_(copy, z, new)
    assert torch.equal(copy, groups.scale(x, z, new))
    assert str(z.numel()) in groups.describe(x)


def test_the_prox_on_a_group_is_the_minimum_over_vectors() -> None:
    x = torch.randn(1, 3, dtype=torch.float64)
    for penalty in (GroupLasso(0.4), CEL0(0.3, 1.2), L0(0.5)):
        on = penalty.on(Groups.rows())
        best = on.prox(x, 0.5)

        def cost(w: torch.Tensor, penalty: object = penalty) -> torch.Tensor:
            norms = torch.linalg.vector_norm(w, dim=-1)
            return penalty.value(norms) + (w - x).square().sum(-1)  # type: ignore[attr-defined]

        tried = best + torch.randn(20_000, 3, dtype=torch.float64) * 10 ** (
            -5 * torch.rand(20_000, 1, dtype=torch.float64)
        )
        assert cost(tried).min() >= cost(best).min() - 1e-12


@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.complex64, 1e-6), (torch.complex128, 1e-12)], ids=str
)
def test_the_phase_is_kept(dtype: torch.dtype, bound: float) -> None:
    x = torch.randn(4000, dtype=dtype)
    x[:3] = 0
    for penalty in (L1(0.3), CEL0(0.3, 0.9), SparseEnvelope(0.3, 500)):
        w = apply(penalty, x, 0.7)
        assert w.dtype == dtype
        assert (w[:3] == 0).all()
        on = w != 0
        assert 0 < on.sum() <= 4000
        turn = torch.angle(w[on] * x[on].conj()).abs().max()
        assert turn <= bound
        assert torch.allclose(w.abs(), penalty.prox(x.abs(), 0.7), atol=1e-6)
    pairs = torch.view_as_real(x)
    assert torch.equal(
        torch.view_as_complex(apply(L1(0.3), pairs, 0.7, Groups.complex())), apply(L1(0.3), x, 0.7)
    )


def test_a_raised_zero_gets_phase_zero() -> None:
    """A denoiser may lift a zero voxel; its phase is then 0 and its magnitude is not lost."""
    x = torch.tensor([0j, 1j], dtype=torch.complex128)
    groups = Groups.elements()
    raised = groups.scale(x, groups.magnitudes(x), torch.tensor([0.5, 2.0], dtype=torch.float64))
    assert raised.tolist() == [0.5 + 0j, 2j]


def test_slices_are_one_norm_over_all_tensors() -> None:
    tensors, groups = model(), channels()
    z = groups.magnitudes(tensors)
    by_hand = tensors["conv"].flatten(1).square().sum(1) + tensors["scale"].square()
    by_hand += tensors["next"].square().sum(0)
    assert torch.allclose(z, by_hand.sqrt())
    threshold = float(z.sort().values[1:3].mean())
    new = L0(threshold**2 / 2).on(groups).prox(tensors, 1.0)
    gone = z <= threshold
    assert gone.sum() == 2
    assert (new["conv"][gone] == 0).all()
    assert (new["next"][:, gone] == 0).all()
    assert torch.equal(new["conv"][~gone], tensors["conv"][~gone])
    groups.scale_(tensors, z, torch.zeros(4))
    assert all((t == 0).all() for t in tensors.values())
    assert "channels" in groups.describe(tensors)
    assert "conv" in groups.describe(tensors)


def test_a_dead_slice_has_a_gradient() -> None:
    tensors = {k: v.requires_grad_() for k, v in model().items()}
    with torch.no_grad():
        for t in tensors.values():
            t.zero_()
    channels().magnitudes(tensors).sum().backward()
    assert all(t.grad.isfinite().all() for t in tensors.values())


def test_gradients_flow_through_groups() -> None:
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    for groups in (Groups.elements(), Groups.rows(), Groups.blocks(3, 2)):
        assert torch.autograd.gradcheck(lambda x, g=groups: apply(CEL0(0.05), x, 0.5, g), (x,))
    c = torch.randn(5, dtype=torch.complex128, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c: apply(CEL0(0.05), c, 0.5).abs(), (c,))
    zero = torch.zeros(3, dtype=torch.complex128, requires_grad=True)
    apply(L1(0.1), zero, 1.0).abs().sum().backward()
    assert zero.grad.isfinite().all()


def test_a_group_says_what_it_holds_and_why() -> None:
    h = torch.rand(2, 3)
    assert "2 groups of 3" in Groups.by_agent(("ann", "bob")).describe(h)
    assert "ann, bob" in Groups.by_agent(("ann", "bob")).describe(h)
    assert "hyperedge" in Groups.by_hyperedge().describe(h)
    assert "phase kept" in Groups.elements().describe(torch.ones(2, dtype=torch.complex64))
    with pytest.raises(SparsityError, match="names"):
        Groups.by_agent(("ann",)).describe(h)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: Groups.rows().magnitudes(torch.ones(3)), "at least 2 dimensions"),
        (lambda: Groups.rows().magnitudes(torch.ones(3, 3, dtype=torch.int64)), "x must be"),
        (lambda: Groups.blocks(3).magnitudes(torch.ones(4)), "divisible"),
        (lambda: Groups.blocks(0), "size"),
        (lambda: Groups.along(0, 0), "dims"),
        (lambda: Groups.complex().magnitudes(torch.ones(3)), "last dimension 2"),
        (lambda: Groups.rows().scale(torch.ones(2, 3), torch.ones(2), torch.ones(3)), "new"),
        (lambda: Groups.slices([]), "slices"),
        (lambda: Slice("w", 0, torch.ones(2), torch.arange(2)), "index"),
        (lambda: Slice("w", 0, torch.zeros(2, dtype=torch.int64), torch.arange(2)), "twice"),
        (
            lambda: Groups.slices(
                [Slice("w", d, torch.arange(2), torch.arange(2)) for d in (0, 1)]
            ),
            "overlap",
        ),
        (lambda: channels().magnitudes({"conv": torch.ones(4, 1)}), "scale"),
        (lambda: channels().magnitudes({**model(), "conv": torch.ones(3, 1)}), "conv"),
    ],
)
def test_bad_groups_are_refused(call: object, word: str) -> None:
    with pytest.raises(SparsityError, match=word):
        call()  # type: ignore[operator]


@pytest.mark.parametrize(("dtype", "tiny"), [(torch.complex64, 1e-40), (torch.complex128, 1e-310)])
def test_a_subnormal_modulus_is_raised_with_its_phase(dtype, tiny):
    x = torch.tensor([tiny * (0.6 + 0.8j), 0, 1 + 1j], dtype=dtype)
    z = Groups.elements().magnitudes(x)
    out = Groups.elements().scale(x, z, torch.full_like(z, 0.5))
    torch.testing.assert_close(out[0].item(), 0.3 + 0.4j, rtol=1e-3, atol=0)
    torch.testing.assert_close(out.abs(), torch.full_like(z, 0.5), rtol=1e-3, atol=0)


def test_slices_and_dimensions_that_name_nothing_twice_or_negatively():
    none = torch.zeros(0, dtype=torch.int64)
    with pytest.raises(SparsityError, match="position"):
        Groups.slices([Slice("a", 0, none, none)])
    with pytest.raises(SparsityError, match="index"):
        Slice("a", 0, torch.tensor([-1, 0]), torch.tensor([0, 1]))
    with pytest.raises(SparsityError, match="dims"):
        Groups.along(0, -2).magnitudes(torch.ones(2, 3))
