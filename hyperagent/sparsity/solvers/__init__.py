"""Solvers of ``1/2 ||A x - y||^2 + pen(x)`` and of its relatives.

Imported at once, not lazily: several functions bear the name of their module, and only a
finished import makes ``solvers.ista`` the function for certain.
"""

from __future__ import annotations

from hyperagent.sparsity.solvers.admm import admm
from hyperagent.sparsity.solvers.coordinate_descent import coordinate_descent
from hyperagent.sparsity.solvers.csalsa import Constrained, csalsa
from hyperagent.sparsity.solvers.debias import debias
from hyperagent.sparsity.solvers.denoise import TV, PnP, Scaled
from hyperagent.sparsity.solvers.dictionary import Dictionary, learn_dictionary
from hyperagent.sparsity.solvers.ista import ista
from hyperagent.sparsity.solvers.operators import (
    Dense,
    Functional,
    Linear,
    adjoint_gap,
    as_linear,
)
from hyperagent.sparsity.solvers.solution import Solution

__all__ = [
    "TV",
    "Constrained",
    "Dense",
    "Dictionary",
    "Functional",
    "Linear",
    "PnP",
    "Scaled",
    "Solution",
    "adjoint_gap",
    "admm",
    "as_linear",
    "coordinate_descent",
    "csalsa",
    "debias",
    "ista",
    "learn_dictionary",
]
