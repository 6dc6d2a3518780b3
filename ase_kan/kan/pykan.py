"""The bridge to pykan 0.2.8: build its models, read them, train with them, and undo what it does to the process.

pykan's constructor seeds torch, numpy and random; its `fit` draws from numpy's global state, keeps its losses
in module globals and prints through tqdm. All of that happens here under one lock, and is put back.
Its grid updates call `torch.linalg.lstsq`, whose last digits change from call to call with where its workspace
lies in memory; LBFGS turns them into visibly different models. SciPy's call of the same LAPACK routine (gelsy)
gives the same digits every time.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from ase_kan.kan.network import BASE_FUNCTIONS, KANLayer, KANNetwork
from ase_kan.types import Report

if TYPE_CHECKING:
    from kan import KAN


_LOCK = threading.RLock()


@contextmanager
def _deterministic() -> Iterator[None]:
    """Hold pykan still: one user at a time, global random states kept, reproducible least squares."""
    layer: Any = import_module("kan.KANLayer")
    with _LOCK, _random_states_kept():
        original, layer.curve2coef = layer.curve2coef, _curve2coef
        try:
            yield
        finally:
            layer.curve2coef = original


def _curve2coef(x: Tensor, y: Tensor, grid: Tensor, k: int) -> Tensor:
    """pykan's `curve2coef`: spline coefficients (in, out, G + k) from curves y of shape (b, in, out)."""
    from kan.spline import B_batch

    basis = B_batch(x, grid, k).permute(1, 0, 2).detach().cpu().numpy()
    curves = y.permute(1, 0, 2).detach().cpu().numpy()
    rcond = np.finfo(float).eps * max(basis.shape[1:])  # torch's default
    solve = partial(scipy.linalg.lstsq, cond=rcond, lapack_driver="gelsy")
    coef = [solve(b, c)[0].T for b, c in zip(basis, curves, strict=True)]
    return torch.from_numpy(np.stack(coef)).to(y).contiguous()


@contextmanager
def _random_states_kept() -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def new_model(width: Sequence[int], grid: int, k: int, seed: int, base: str = "silu") -> KAN:
    """A fresh float64 pykan model that keeps its hands off the disk and the global random states."""
    from kan import KAN

    with _deterministic():
        # A list, and a fresh one: pykan refuses tuples and rewrites the list it gets.
        model = KAN(width=list(width), grid=grid, k=k, seed=seed, base_fun=base, auto_save=False)
        # The model is built in the default dtype and then promoted: the default dtype is the user's.
        return model.double()


def to_pykan(network: KANNetwork) -> KAN:
    """The genuine pykan model of a network: same values to round-off, with pykan's plot, prune and so on."""
    model = new_model(network.width, network[0].n_cells, network[0].k, seed=0, base=network[0].base)
    for ours, theirs in zip(network, model.act_fun, strict=True):
        # Layers may differ in grid and k, which one constructor call cannot say: set them afterwards.
        theirs.num, theirs.k = ours.n_cells, ours.k
        theirs.grid.data = ours.grid.cpu().clone()
        for name, values in (("coef", ours.coef), ("scale_base", ours.scale_base), ("scale_sp", ours.scale_spline)):
            getattr(theirs, name).data = values.detach().cpu().clone()
    for bias, ours in zip(model.node_bias, network, strict=True):
        bias.data = ours.bias.detach().cpu().clone()
    return model


def from_pykan(model: KAN) -> KANNetwork:
    """Read a pykan model whose edges are all numerical (no symbolic edges, no multiplication nodes).

    Raises
    ------
    ValueError
        If the model has multiplication nodes, active symbolic edges or an unknown base function.
    """
    if any(multiplications for _, multiplications in model.width):
        raise ValueError(f"pykan model of width {model.width} has multiplication nodes: use sums only")
    base = model.base_fun_name
    if not isinstance(base, str) or base not in BASE_FUNCTIONS:
        raise ValueError(f"pykan model has base_fun {base!r}: use one of {', '.join(BASE_FUNCTIONS)}")
    layers = []
    for number, theirs in enumerate(model.act_fun):
        symbolic = model.symbolic_fun[number].mask
        if model.symbolic_enabled and bool((symbolic != 0).any()):
            o, i = (int(index) for index in torch.nonzero(symbolic)[0])
            raise ValueError(
                f"edge ({number}, {i}, {o}) of the pykan model is symbolic: use the model before fix_symbolic"
            )
        # y = scale2 (scale1 (sum of masked edges) + bias1) + bias2, folded into the edges' own scales.
        scale = (model.node_scale[number] * model.subnode_scale[number]).double()
        bias = model.node_scale[number] * model.subnode_bias[number] + model.node_bias[number]
        mask = theirs.mask.double() * scale
        layers.append(KANLayer(theirs.grid, theirs.coef, theirs.scale_base * mask, theirs.scale_sp * mask, bias, base))
    return KANNetwork(layers)


def train(
    model: KAN,
    points: tuple[Tensor, Tensor],
    holdout: tuple[Tensor, Tensor],
    steps: int,
    report: Report | None = None,
) -> dict[str, np.ndarray]:
    """pykan's own training, LBFGS with grid updates, on (inputs, targets), each of shape (n, 1).

    Returns the RMSE on both sets after every step, as ``{"train": (steps,), "holdout": (steps,)}``. The same
    model, data and NumPy seed (0, set here) give the same result.
    """
    import_module("kan")
    module: Any = import_module("kan.MultKAN")

    class Bar:
        """Stands in for tqdm, which would write to stderr: hands each step's loss to `report`."""

        def __init__(self, steps: Iterable[int], **_: Any) -> None:
            self.steps = steps

        def __iter__(self) -> Iterator[int]:
            for step in self.steps:
                self.step = step
                yield step

        def set_description(self, _: str) -> None:
            if report:
                report(self.step + 1, float(module.train_loss.detach()) ** 0.5)

    data = dict(zip(("train_input", "train_label", "test_input", "test_label"), points + holdout, strict=True))
    symbolic, save_act = model.symbolic_enabled, model.save_act
    with _deterministic():
        np.random.seed(0)
        original, module.tqdm = module.tqdm, Bar
        try:
            losses = model.fit(data, opt="LBFGS", steps=steps)
        finally:
            module.tqdm = original
            # An interruption inside pykan's fit would leave these off.
            model.symbolic_enabled, model.save_act = symbolic, save_act
    return {"train": np.array(losses["train_loss"], float), "holdout": np.array(losses["test_loss"], float)}
