"""Formulas as pykan models: a KAN whose edges are symbols.

A sum of C_t r^-n_t exp(-b_t r - g_t r^2) is a KAN [1, features, terms, 1]:

    first layer    r -> log r, r, r^2            (those that the terms need)
    second layer   straight edges: node t is -n_t log r - b_t r - g_t r^2
    third layer    C_t exp(node t), summed
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from ase_kan.kan.pykan import new_model

if TYPE_CHECKING:
    from kan import KAN

#: pykan's names of the features, in the order of the exponents n, b, g.
FEATURES = ("log", "x", "x^2")


def symbolic_model(terms: Sequence[tuple[float, float, float, float]]) -> KAN:
    """The pykan model, in float64, of a sum of terms.

    Parameters
    ----------
    terms : sequence of (C, n, b, g)

    Returns
    -------
    kan.KAN
        Maps r, shape (n, 1), to the sum, shape (n, 1). All edges are symbolic: ``symbolic_formula()`` prints them.
    """
    if not terms:
        raise ValueError("a formula needs at least one term")
    used = [place for place in range(len(FEATURES)) if any(term[1 + place] for term in terms)] or [0]
    model = new_model([1, len(used), len(terms), 1], grid=1, k=1, seed=0)

    def fix(layer: int, i: int, o: int, name: str, scale: float) -> None:
        model.fix_symbolic(layer, i, o, name, fit_params_bool=False, verbose=False, log_history=False)
        # The numerical edge is off; y = c f(a x + b) + d.
        affine = torch.tensor([1.0, 0.0, scale, 0.0], dtype=torch.float64)
        model.symbolic_fun[layer].affine.data[o, i] = affine

    for number, place in enumerate(used):
        fix(0, 0, number, FEATURES[place], 1.0)
        for t, term in enumerate(terms):
            fix(1, number, t, "x", -term[1 + place])
    for t, term in enumerate(terms):
        fix(2, t, 0, "exp", term[0])
    return model
