"""The hypergraph convolution against the dense formula."""

from __future__ import annotations

import time

import pytest
import torch
from torch_geometric.nn import HypergraphConv

from hyperagent.errors import ConfigError
from hyperagent.topology.conv import SoftHypergraphConv

FORMS = ("sym", "row")


def reference(x, theta, bias, h, w, form):
    """The formula written out with dense float64 matrices."""
    x, theta, bias, h, w = (t.double() for t in (x, theta, bias, h, w))

    def inverse(d, power):
        return torch.diag(torch.where(d > 0, d.clamp(min=1e-300) ** -power, torch.zeros_like(d)))

    d, b = h @ w, h.sum(0)
    middle = h @ torch.diag(w) @ inverse(b, 1) @ h.T
    if form == "sym":
        return inverse(d, 0.5) @ middle @ inverse(d, 0.5) @ x @ theta + bias
    return inverse(d, 1) @ middle @ x @ theta + bias


def example(n=7, m=5, seed=0, dtype=torch.float32):
    """Soft incidence with an empty hyperedge (column 2) and an isolated node (row 3)."""
    g = torch.Generator().manual_seed(seed)
    h = torch.rand(n, m, generator=g, dtype=dtype)
    h = h * (torch.rand(n, m, generator=g) < 0.6)
    h[:, 2] = 0
    h[3] = 0
    x = torch.randn(n, 6, generator=g, dtype=dtype)
    w = torch.rand(m, generator=g, dtype=dtype) * 3 + 0.1
    return x, h, w


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("soft", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_dense_formula(form: str, soft: bool, seed: int) -> None:
    x, h, w = example(seed=seed)
    h = h if soft else (h > 0).float()
    conv = SoftHypergraphConv(6, 4, normalisation=form)
    torch.nn.init.normal_(conv.bias)
    want = reference(x, conv.theta, conv.bias, h, w, form)
    for incidence in (h, h.clone().requires_grad_()):
        got = conv(x, incidence, w)
        assert (got.double() - want).abs().max() <= 1e-5
    assert torch.equal(got[3], conv.bias), "an isolated node keeps the bias alone"


@pytest.mark.parametrize("form", FORMS)
def test_weights_default_to_ones_and_act_is_applied(form: str) -> None:
    x, h, _ = example()
    conv = SoftHypergraphConv(6, 4, normalisation=form, act=torch.relu)
    want = torch.relu(reference(x, conv.theta, conv.bias, h, torch.ones(5), form))
    assert (conv(x, h).double() - want).abs().max() <= 1e-5


@pytest.mark.parametrize("form", FORMS)
def test_gradcheck_in_everything(form: str) -> None:
    x, h, w = example(n=5, m=4, dtype=torch.float64)
    # Away from zero: at a membership of 0 the function has only a one-sided derivative
    # wherever that makes a degree 0.
    h = h + 0.1
    conv = SoftHypergraphConv(6, 3, normalisation=form).double()

    def function(x, theta, w, h):
        return torch.func.functional_call(conv, {"theta": theta}, (x, h, w))

    inputs = [t.detach().clone().requires_grad_() for t in (x, conv.theta, w, h)]
    assert torch.autograd.gradcheck(function, inputs)


def test_a_membership_of_zero_has_the_slope_of_the_formula() -> None:
    x, h, w = example(dtype=torch.float64)
    conv = SoftHypergraphConv(6, 4).double()
    ours = h.clone().requires_grad_()
    conv(x, ours, w).square().sum().backward()
    # Node 0 is seated elsewhere, so every degree in reach is positive.
    zeros = [(i, e) for i in (0, 1) for e in (0, 1, 3, 4) if h[i, e] == 0 and h[:, e].sum() > 0]
    assert zeros
    for i, e in zeros:
        up = h.clone()
        up[i, e] = 1e-6
        slope = (conv(x, up, w).square().sum() - conv(x, h, w).square().sum()) / 1e-6
        assert ours.grad[i, e].item() == pytest.approx(slope.item(), rel=1e-3, abs=1e-6)
    assert torch.isfinite(ours.grad).all()


def test_pyg_leaves_the_hyperedge_weights_out() -> None:
    """Pins the reason for our own layer: PyG normalises by W but never multiplies by it."""
    x, h, w = example()
    h = (h > 0).float()
    ours = SoftHypergraphConv(6, 4, normalisation="row", bias=False)
    theirs = HypergraphConv(6, 4, bias=False)
    theirs.lin.weight.data = ours.theta.data.T.clone()
    index = h.nonzero().T

    def pyg(weight):
        return theirs(x, index, hyperedge_weight=weight, num_edges=5)

    ones = torch.ones(5)
    assert torch.allclose(ours(x, h, ones), pyg(ones), atol=1e-5), "equal without weights"
    assert (ours(x, h, w) - pyg(w)).abs().max() > 0.1
    assert torch.allclose(ours(x, h, 2 * ones), 2 * pyg(2 * ones), atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [5, 50, 1000])
def test_permutation_equivariance(form: str, n: int) -> None:
    g = torch.Generator().manual_seed(n)
    x = torch.randn(n, 6, generator=g)
    h = (torch.rand(n, 8, generator=g) < 0.3).float() * torch.rand(n, 8, generator=g)
    w = torch.rand(8, generator=g)
    p, q = torch.randperm(n, generator=g), torch.randperm(8, generator=g)
    conv = SoftHypergraphConv(6, 4, normalisation=form)
    assert (conv(x[p], h[p][:, q], w[q]) - conv(x, h, w)[p]).abs().max() <= 1e-5


def test_row_form_is_blind_to_the_topology_when_all_agents_are_alike() -> None:
    """Negative control: a mean of equal features is that feature, whoever meets whom."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(1, 6, generator=g).expand(6, 6)
    row = SoftHypergraphConv(6, 4, normalisation="row")
    sym = SoftHypergraphConv(6, 4, normalisation="sym")
    outputs = {"row": [], "sym": []}
    for _ in range(50):
        h = (torch.rand(6, 5, generator=g) < 0.5).float()
        h[:, 0] = 1
        outputs["row"].append(row(x, h))
        outputs["sym"].append(sym(x, h))
    spread = {name: torch.stack(o).std(0).max().item() for name, o in outputs.items()}
    assert spread["row"] <= 1e-6
    assert spread["sym"] > 1e-3, "the symmetric form sees at least the degrees"


def test_a_thousand_agents_and_64_groups_are_fast() -> None:
    g = torch.Generator().manual_seed(0)
    x, h, w = (torch.rand(s, generator=g) for s in ((1000, 384), (1000, 64), (64,)))
    conv = SoftHypergraphConv(384, 64)
    spent = []
    for incidence in (h, h.clone().requires_grad_(), h):
        start = time.process_time()
        conv(x, incidence, w)
        spent.append(time.process_time() - start)
    assert min(spent) <= 0.250


def test_unknown_normalisation_is_named() -> None:
    with pytest.raises(ConfigError, match="'left'"):
        SoftHypergraphConv(2, 2, normalisation="left")
