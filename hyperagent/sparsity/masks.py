"""Which groups stay, and how the others remain zero while an optimizer runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from hyperagent.errors import SparsityError
from hyperagent.sparsity import checks
from hyperagent.sparsity.groups import Groups


def keep_best(
    scores: Tensor,
    *,
    k: int | Sequence[int] | None = None,
    fraction: float | None = None,
    budget: float | None = None,
    layers: Tensor | None = None,
    scope: str = "layer",
    floor: int = 1,
    round_to: int = 1,
    cost: Tensor | None = None,
) -> Tensor:
    """The groups with the highest scores that an allowance has room for.

    Exactly one of `k`, `fraction` and `budget` is given. The allowance is never exceeded,
    except that `floor` wins against it in the scopes layer and uniform. Equal scores are
    kept in the order of their index.

    Parameters
    ----------
    scores : (m,) real tensor
        Higher is better. Infinite scores are allowed, NaN is not.
    k : int or sequence of int
        Groups to keep: in all (scope global), in every layer (uniform), or in each layer
        (layer; one number for all of them, or one a layer).
    fraction : float in [0, 1]
        The same as a part of all groups, or of the groups of each layer, rounded to the
        nearest number.
    budget : float
        Allowance >= 0 in units of `cost`; scope global only. Groups are kept best first and
        the first that does not fit ends it, so that less than one group is left unused.
    layers : (m,) int64 tensor, optional
        Layer of each group, 0 ... L - 1; one layer by default.
    scope : {"layer", "global", "uniform"}
        Whether each layer has its own allowance, all layers share one, or every layer must
        end with the same number (what one width per config file needs).
    floor : int
        Groups that every layer keeps at least.
    round_to : int
        Number of kept groups per layer is a multiple of this, or the whole layer. Groups
        then compete in bunches of this size by their mean score.
    cost : (m,) real tensor, optional
        Cost > 0 of each group for `budget`, 1 by default.

    Returns
    -------
    (m,) bool tensor

    Raises
    ------
    SparsityError
        For an argument out of range, floors that alone exceed a shared allowance, or a
        uniform scope that cannot give all layers one number.
    """
    checks.tensor("scores", scores, complex_ok=False)
    if scores.ndim != 1 or bool(scores.isnan().any()):
        raise SparsityError(f"scores must be (m,) without NaN, got shape {tuple(scores.shape)}")
    checks.choice("scope", scope, ("layer", "global", "uniform"))
    checks.count("floor", floor, 0)
    checks.count("round_to", round_to, 1)
    if sum(x is not None for x in (k, fraction, budget)) != 1:
        raise SparsityError("exactly one of k, fraction and budget must be given")
    if (budget is not None and scope != "global") or (cost is not None and budget is None):
        raise SparsityError("budget and its cost need scope='global' and neither k nor fraction")
    if not len(scores):
        return scores > 0

    layers = torch.zeros_like(scores, dtype=torch.int64) if layers is None else layers
    if layers.dtype != torch.int64 or layers.shape != scores.shape or int(layers.amin()) < 0:
        raise SparsityError(f"layers must be {tuple(scores.shape)} int64, all >= 0")
    sizes = torch.bincount(layers)
    order = torch.sort(scores.detach(), descending=True, stable=True).indices
    order = order[torch.sort(layers[order], stable=True).indices]  # by layer, best first
    layer = layers[order]
    rank = torch.arange(len(order), device=order.device) - (sizes.cumsum(0) - sizes)[layer]

    forced = rank // round_to < -(-floor // round_to)
    if scope == "global":
        taken = _shared(scores, order, layer, rank, forced, round_to, k, fraction, budget, cost)
    else:
        allowed = _per_layer(k, fraction, sizes)
        # A bunch is in when its last member is within the allowance of its layer.
        last = torch.minimum((rank // round_to + 1) * round_to, sizes[layer])
        taken = forced | (last <= allowed[layer])
    keep = torch.zeros_like(scores, dtype=torch.bool)
    keep[order] = taken
    if scope == "uniform":
        counts = torch.bincount(layers[keep], minlength=len(sizes))[sizes > 0]
        if len(counts.unique()) > 1:
            raise SparsityError(
                f"scope='uniform' must leave one number in every layer, got {counts.tolist()}; "
                "layers of several sizes need k"
            )
    return keep


def _per_layer(k: int | Sequence[int] | None, fraction: float | None, sizes: Tensor) -> Tensor:
    if fraction is not None:
        checks.number("fraction", fraction, low=0.0, high=1.0)
        return (fraction * sizes).round().long()
    wanted = [k] * len(sizes) if isinstance(k, int) else list(k or ())
    if len(wanted) != len(sizes):
        raise SparsityError(f"k must be one integer or one for each of {len(sizes)} layers")
    for number, size in zip(wanted, sizes.tolist(), strict=True):
        checks.count("k", number, 0, size or None)
    return torch.tensor(wanted, device=sizes.device)


def _shared(
    scores: Tensor,
    order: Tensor,
    layer: Tensor,
    rank: Tensor,
    forced: Tensor,
    round_to: int,
    k: int | Sequence[int] | None,
    fraction: float | None,
    budget: float | None,
    cost: Tensor | None,
) -> Tensor:
    """Best bunches of all layers under one allowance; arguments are sorted by (layer, rank)."""
    m = len(order)
    if budget is not None:
        total = float(checks.weight("budget", budget))
    elif fraction is not None:
        total = float(round(checks.number("fraction", fraction, low=0.0, high=1.0) * m))
    else:
        total = float(checks.count("k", k, 0, m))
    price = torch.ones(m, dtype=torch.float64, device=order.device)
    if cost is not None:
        checks.same_shape("cost", cost, "scores", scores)
        price = checks.positive("cost", cost).detach().double()[order]

    bunch = (rank % round_to == 0).cumsum(0) - 1
    n = int(bunch[-1]) + 1
    zeros = torch.zeros(n, dtype=torch.float64, device=order.device)
    size = zeros.index_add(0, bunch, torch.ones_like(price))
    value = zeros.index_add(0, bunch, scores.detach().double()[order]) / size
    if round_to > 1:
        # Means of equal scores differ in the last digit; a later bunch of a layer must never
        # overtake an earlier one.
        bunch_layer = layer[rank % round_to == 0]
        for one in bunch_layer.unique().tolist():
            mine = bunch_layer == one
            value[mine] = value[mine].cummin(0).values
    price = zeros.index_add(0, bunch, price)
    sure = torch.zeros(n, dtype=torch.bool, device=order.device)
    sure[bunch] = forced
    left = total - float(price[sure].sum())
    slack = 1e-9 * max(total, 1.0)
    if left < -slack:
        raise SparsityError(f"floor alone needs {total - left:g}, more than the allowed {total:g}")
    open_ = torch.nonzero(~sure).squeeze(1)
    open_ = open_[torch.sort(value[open_], descending=True, stable=True).indices]
    sure[open_[price[open_].cumsum(0) <= left + slack]] = True
    return sure[bunch]


class Mask:
    """Which entries of named tensors are kept; the others are zero, or stay as they are.

    Parameters
    ----------
    keep : mapping of str to bool tensor
        For each tensor that has a mask, a tensor of its shape.

    Examples
    --------
    >>> layer = torch.nn.Linear(4, 2)
    >>> rows = Groups.rows()
    >>> keep = keep_best(rows.magnitudes(layer.weight), k=1)
    >>> mask = Mask.of_groups(rows, {"weight": layer.weight}, keep)
    >>> optimizer = torch.optim.Adam(layer.parameters())
    >>> with mask.attach(dict(layer.named_parameters()), optimizer):
    ...     pass  # train: the masked row stays exactly zero
    """

    def __init__(self, keep: Mapping[str, Tensor]) -> None:
        for name, value in keep.items():
            if not isinstance(value, Tensor) or value.dtype != torch.bool:
                raise SparsityError(f"keep[{name!r}] must be a bool tensor")
        self.keep = dict(keep)

    @classmethod
    def of_groups(cls, groups: Groups, tensors: Mapping[str, Tensor], keep: Tensor) -> Mask:
        """The mask of all entries whose group is kept.

        Parameters
        ----------
        groups : Groups
            Slices over several tensors, or any other kind applied to a single tensor.
        tensors : mapping of str to Tensor
            The tensors that `groups` reads, e.g. ``dict(model.named_parameters())``.
        keep : bool tensor of the shape of the groups' magnitudes
        """
        # Scaling ones by 1 or 0 marks the entries, whatever a group is made of.
        ones = {name: torch.ones_like(x, requires_grad=False) for name, x in tensors.items()}
        whole = ones if hasattr(groups, "parts") else _only(ones)
        z = torch.ones_like(groups.magnitudes(whole))
        checks.same_shape("keep", keep, "the magnitudes", z)
        scaled = groups.scale(whole, z, keep.to(z))
        named = scaled if isinstance(scaled, Mapping) else {next(iter(ones)): scaled}
        return cls({name: x != 0 for name, x in named.items()})

    @property
    def density(self) -> float:
        """Kept entries / all entries of the masked tensors."""
        total = sum(x.numel() for x in self.keep.values())
        return sum(int(x.sum()) for x in self.keep.values()) / total if total else 1.0

    def apply_(self, tensors: Mapping[str, Tensor]) -> None:
        """Set the entries that are not kept to 0, in place. Doing it twice changes nothing."""
        with torch.no_grad():
            for name, keep in self.keep.items():
                _zero(self._named(tensors, name), keep)

    def attach(
        self, tensors: Mapping[str, Tensor], optimizer: Optimizer, hold: str = "zero"
    ) -> Attached:
        """Keep the masked entries where they are through every step of `optimizer`.

        Before a step the gradient of masked entries is set to 0; after it their weights are
        restored and the optimizer's state (momentum, Adam's moments: every state tensor of
        the parameter's shape) is set to 0 there. So neither momentum from before, nor weight
        decay, nor a closure that makes new gradients can move them.

        Parameters
        ----------
        tensors : mapping of str to parameter
            E.g. ``dict(model.named_parameters())``.
        optimizer : torch.optim.Optimizer
        hold : {"zero", "value"}
            Whether masked entries are zero, or keep the value they have now.

        Returns
        -------
        Attached
            ``remove()`` ends it; also a context manager.
        """
        checks.choice("hold", hold, ("zero", "value"))
        pairs = [(self._named(tensors, name), keep) for name, keep in self.keep.items()]
        return Attached(pairs, optimizer, hold)

    def _named(self, tensors: Mapping[str, Tensor], name: str) -> Tensor:
        if name not in tensors:
            raise SparsityError(f"tensors must hold {name!r}; they are {sorted(tensors)}")
        checks.same_shape(f"keep[{name!r}]", self.keep[name], "the tensor", tensors[name])
        return tensors[name]

    def __repr__(self) -> str:
        return f"Mask({len(self.keep)} tensors, {100 * self.density:.4g} % kept)"


class Attached:
    """A mask at work on an optimizer; made by `Mask.attach`."""

    def __init__(self, pairs: list[tuple[Tensor, Tensor]], optimizer: Optimizer, hold: str) -> None:
        self._pairs, self._optimizer = pairs, optimizer
        with torch.no_grad():
            if hold == "zero":
                for p, keep in pairs:
                    _zero(p, keep)
            self._held = [
                p.detach()[~keep].clone() if hold == "value" else None for p, keep in pairs
            ]
        self._settle()
        self._hooks = [
            optimizer.register_step_pre_hook(lambda *_: self._stop_gradients()),
            optimizer.register_step_post_hook(lambda *_: self._settle()),
        ]

    def _stop_gradients(self) -> None:
        with torch.no_grad():
            for p, keep in self._pairs:
                if p.grad is not None:
                    _zero(p.grad, keep)

    def _settle(self) -> None:
        with torch.no_grad():
            for (p, keep), held in zip(self._pairs, self._held, strict=True):
                if held is None:
                    _zero(p, keep)
                else:
                    p[~keep] = held
                for value in self._optimizer.state.get(p, {}).values():
                    if isinstance(value, Tensor) and value.shape == p.shape:
                        _zero(value, keep)

    def remove(self) -> None:
        """Let the optimizer move all entries again."""
        for hook in self._hooks:
            hook.remove()

    def __enter__(self) -> Attached:
        return self

    def __exit__(self, *_: Any) -> None:
        self.remove()


def _zero(x: Tensor, keep: Tensor) -> None:
    # Not a product: 0 * inf and 0 * NaN are NaN, and -1 * 0 is -0.
    x.masked_fill_(~keep, 0)


def _only(tensors: Mapping[str, Tensor]) -> Tensor:
    if len(tensors) != 1:
        raise SparsityError("tensors must hold exactly one tensor for these groups")
    return next(iter(tensors.values()))
