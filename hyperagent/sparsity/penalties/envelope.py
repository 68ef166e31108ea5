"""The sparse envelope: the convex function closest to "at most k groups are not zero"."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hyperagent.errors import SparsityError
from hyperagent.sparsity import checks
from hyperagent.sparsity.checks import Number
from hyperagent.sparsity.penalties.base import Penalty
from hyperagent.sparsity.penalties.level import METHODS, gates


class Certificate(NamedTuple):
    """What is known about the number of non-zero groups.

    Attributes
    ----------
    exact : bool
        Exactly k groups are not zero.
    active : int
        Number of groups that are not zero.
    margin : float
        The rule as a ratio: ``exact`` needs ``margin >= 1``.
    """

    exact: bool
    active: int
    margin: float


class SparseEnvelope(Penalty):
    """``lam S(z)``, S the biconjugate of ``1/2 sum d z^2`` over at most k non-zero groups.

    S equals ``1/2 sum d z^2`` on k-sparse z and half a squared k-support norm in general::

        S(z) = 1/2 min { sum d z^2 / u :  0 <= u <= 1, sum c u <= k }

    Parameters
    ----------
    lam : float or 0-dim tensor
        Weight > 0, loss units per squared magnitude.
    k : int or (...) integer tensor
        Groups that stay, per vector along the last dimension (a tensor gives each vector of
        a batch, or each layer, its own). With `cost` a budget, then any number > 0.
    weights : float or tensor
        d > 0, broadcast over the groups.
    debiased : bool
        Subtract ``lam / 2 sum d z^2``: the penalty is then zero on every k-sparse z, and a
        group whose gate is 1 comes back bit for bit. Not convex: ``rho = lam max d``.
    cost : (m,) tensor, optional
        c > 0, e.g. multiply-adds of a group: a relaxation of ``sum c [z != 0] <= k``.
    layer : (m,) int64 tensor, optional
        Layer 0 .. L-1 of each group of one vector; `k` then holds one number per layer.
    method : {"bisect", "sort", "linear"}
        How the level of the gates is found: 64 bisections, batched and without a wait for the
        device; sorted breakpoints; medians, in linear expected time. All give the same gates.

    Notes
    -----
    ``value`` gives one number per vector. float32 input is worked on in float64.

    The debiased prox for ``step lam d >= 1`` keeps the k largest groups: in the gates the
    problem is concave then, so that they are 0 or 1.

    References
    ----------
    Refael, Arbel and Huleihel, "Sparsity by a weighted group sparse envelope function",
    arXiv 2212.12921. Beck and Refael, "Sparse regularization via bidualization", J. Global
    Optim. 82, 2022. Argyriou, Foygel and Srebro, "Sparse prediction with the k-support
    norm", NeurIPS 2012.
    """

    separable = False

    def __init__(
        self,
        lam: Number,
        k: int | float | Tensor,
        weights: Number = 1.0,
        *,
        debiased: bool = False,
        cost: Tensor | None = None,
        layer: Tensor | None = None,
        method: str = "bisect",
    ) -> None:
        self.lam = checks.positive("lam", lam)
        if isinstance(self.lam, Tensor) and self.lam.ndim:
            raise SparsityError(f"lam must be one number, got the shape {tuple(self.lam.shape)}")
        self.k = _budget(k, cost is not None)
        self.weights = checks.positive("weights", weights)
        self.debiased = debiased
        self.cost = None if cost is None else checks.positive("cost", cost)
        self.layer = layer
        if layer is not None and not (isinstance(k, Tensor) and k.ndim == 1):
            raise SparsityError("k must be a (L,) tensor, one number a layer, if layer is given")
        self.method = checks.choice("method", method, tuple(METHODS))

    @property
    def rho(self) -> Number:
        if not self.debiased:
            return 0.0
        d = self.weights
        return self.lam * (d.max() if isinstance(d, Tensor) else d)

    def value(self, z: Tensor) -> Tensor:
        checks.vectors("z", z)
        wide = z.double()
        d, c = self._wide(self.weights, wide), self._wide(self.cost, wide)
        with torch.no_grad():
            a = wide * (d / c).sqrt()
            u = self._gates(a, torch.zeros_like(a), torch.ones_like(a), c)
        # At the best gates their own variation does not count (envelope theorem).
        square = d * wide * wide
        held = square / torch.where(wide > 0, u, torch.ones_like(u))
        total = (held - square if self.debiased else held).sum(-1)
        return (self.lam / 2 * total).to(z.dtype)

    def prox(self, v: Tensor, step: Number) -> Tensor:
        checks.vectors("v", v)
        weight = checks.positive("step", step) * self.lam
        checks.broadcasts("step", step, v.shape)
        wide = v.double()
        b = self._wide(self.weights, wide) * weight  # step lam d
        if not self.debiased:
            u, w = self._open(wide, b, torch.ones_like(wide)), torch.ones_like(wide)
            return (wide * u / (b + w * u)).to(v.dtype)
        small = b < 1
        if bool(small.all()):
            w = 1 - b
            u = self._open(wide, b, w)
            return torch.where(u >= 1, v, (wide * u / (b + w * u)).to(v.dtype))
        if bool(small.any()) or self.cost is not None:
            raise SparsityError(
                "step must keep step * lam * weights below 1 for all groups (or, without a cost, "
                "at 1 or above for all): between the two the debiased prox is a knapsack"
            )
        return torch.where(self._largest(wide), v, torch.zeros_like(v))

    def gates(self, v: Tensor, step: Number) -> Tensor:
        """The gate u in [0, 1] of every group in ``prox(v, step)``, float64, summing to <= k."""
        checks.vectors("v", v)
        wide = v.double()
        b = self._wide(self.weights, wide) * (checks.positive("step", step) * self.lam)
        return self._open(wide, b, 1 - b if self.debiased else torch.ones_like(b))

    def certificate(self, v: Tensor, step: Number) -> Certificate:
        """Whether ``prox(v, step)`` has exactly k non-zero groups; `v` is one vector (m,).

        With equal weights the rule is ``v_(k+1) / v_(k) <= L / (1 + L)``, L = step lam d, and
        ``<= L`` if debiased. Fewer than k only if `v` has fewer.
        """
        k = self._plain_k(v)
        active = int((self.prox(v, step) > 0).sum())
        b = self._wide(self.weights, v.double()) * (step * self.lam)
        one = torch.ones_like(b) if self.debiased else 1 + b
        a = b.sqrt() * v.double()
        kept = (one / a).topk(k, largest=False)
        others = torch.ones_like(a, dtype=torch.bool)
        others[kept.indices] = False
        opens = float((b / a)[others].amin()) if k < len(a) else float("inf")
        margin = opens / float(kept.values.amax())
        return Certificate(active == k, active, margin)

    def stationary(self, z: Tensor, grad: Tensor) -> Certificate:
        """Whether a stationary point with magnitudes `z` is held k-sparse by the penalty.

        Parameters
        ----------
        z, grad : (m,) tensors
            Group magnitudes, and the group norms of the gradient of the data term.

        Returns
        -------
        Certificate
            ``margin = lam min_kept sqrt(d) z / max_dropped (|grad| / sqrt(d))``. Below 1 a
            final projection to k groups would move the point off its optimum.
        """
        checks.magnitudes("z", z)
        checks.same_shape("grad", checks.magnitudes("grad", grad), "z", z)
        k = self._plain_k(z)
        root = self._wide(self.weights, z.double()).sqrt()
        kept = z > 0
        active = int(kept.sum())
        pull = (grad / root)[~kept]
        push = self.lam * (root * z)[kept]
        if not active:
            return Certificate(False, 0, 0.0)
        strongest = float(pull.amax()) if len(pull) else 0.0
        margin = float(push.amin()) / strongest if strongest else float("inf")
        return Certificate(active == k and margin >= 1, active, margin)

    def _plain_k(self, v: Tensor) -> int:
        if v.ndim != 1 or self.cost is not None or not isinstance(self.k, int):
            raise SparsityError("a certificate needs one vector, one integer k and no cost")
        return checks.count("k", self.k, 1, v.shape[-1])

    def _open(self, v: Tensor, b: Tensor, w: Tensor) -> Tensor:
        c = self._wide(self.cost, v)
        return self._gates((b / c).sqrt() * v, b, w, c)

    def _gates(self, a: Tensor, b: Tensor, w: Tensor, c: Tensor) -> Tensor:
        if self.layer is None:
            return gates(a, b, w, c, self._levels(a), self.method)
        u = torch.zeros_like(a)
        for index, k in self._layers(a):
            part = [x.index_select(0, index) for x in (a, b, w, c)]
            u = u.index_copy(0, index, gates(*part, k, self.method))
        return u

    def _levels(self, a: Tensor) -> Tensor:
        k = torch.as_tensor(self.k, dtype=torch.float64, device=a.device)
        checks.broadcasts("k", k, a.shape[:-1])
        if self.cost is None and int(k.max()) > a.shape[-1]:
            raise SparsityError(f"k must be <= {a.shape[-1]}, the number of groups, got {k.max()}")
        return k.unsqueeze(-1)

    def _layers(self, a: Tensor) -> list[tuple[Tensor, Tensor]]:
        layer = self.layer
        if layer is None or layer.shape != a.shape or layer.dtype != torch.int64:
            raise SparsityError(f"layer must be int64 of the shape {tuple(a.shape)} of the groups")
        found = []
        for number, k in enumerate(self.k.tolist()):
            index = (layer == number).nonzero().squeeze(-1).to(a.device)
            if self.cost is None and k > len(index):
                raise SparsityError(f"k of layer {number} must be <= {len(index)}, got {k}")
            found.append((index, torch.tensor([float(k)], dtype=a.dtype, device=a.device)))
        return found

    def _largest(self, v: Tensor) -> Tensor:
        """True at the k largest entries, the first of equal ones."""

        def top(x: Tensor, k: Tensor) -> Tensor:
            order = x.argsort(dim=-1, descending=True, stable=True)
            rank = torch.arange(x.shape[-1], device=x.device).expand(x.shape)
            return torch.zeros_like(x, dtype=torch.bool).scatter(-1, order, rank < k)

        if self.layer is None:
            return top(v, self._levels(v))
        mask = torch.zeros_like(v, dtype=torch.bool)
        for index, k in self._layers(v):
            mask[index] = top(v[index], k)
        return mask

    def _wide(self, x: Number | None, like: Tensor) -> Tensor:
        x = 1.0 if x is None else x
        checks.broadcasts("weights or cost", x, like.shape)
        return torch.as_tensor(x, dtype=torch.float64, device=like.device).expand_as(like)


def _budget(k: int | float | Tensor, spends: bool) -> int | float | Tensor:
    if isinstance(k, Tensor):
        if k.dtype.is_complex or k.dtype == torch.bool or (not spends and k.is_floating_point()):
            raise SparsityError(f"k must be an integer tensor, got {k.dtype}")
        if bool((k <= 0).any()):
            raise SparsityError(f"k must be > 0, got {k.min()}")
        return k
    if spends:
        return checks.positive("k", k)
    return checks.count("k", k, 1)
