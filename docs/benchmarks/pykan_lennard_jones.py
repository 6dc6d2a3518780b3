"""The task of a user of pykan (https://github.com/KindXiaoming/pykan/issues/422): recover Lennard-Jones with [1, 2, 1].

python docs/benchmarks/pykan_lennard_jones.py

First with pykan alone, automatically and with symbols that are added to its library, then with `discover`. About a
minute on one core. pykan's training differs from processor to processor.
"""

import contextlib
import io
import os
import tempfile
import warnings

import numpy as np
import torch
from kan import KAN
from kan.utils import SYMBOLIC_LIB, add_symbolic

from ase_kan import PairCurve, discover

warnings.simplefilter("ignore")
os.chdir(tempfile.mkdtemp())  # pykan writes to the current folder
torch.set_default_dtype(torch.float64)

r = np.sort(np.random.default_rng(0).uniform(0.95, 2.0, 50))
energy = r**-12 - r**-6
x, y = torch.from_numpy(r)[:, None], torch.from_numpy(energy)[:, None]
data = {"train_input": x, "train_label": y, "test_input": x, "test_label": y}


def rmse(model):
    with torch.no_grad():
        return float(((model(x) - y) ** 2).mean().sqrt())


def train(model, steps):
    with contextlib.redirect_stderr(io.StringIO()):
        model.fit(data, opt="LBFGS", steps=steps)


def trained():
    model = KAN(width=[1, 2, 1], grid=5, k=3, seed=0, auto_save=False)
    train(model, 50)
    model(x)
    return model


model = trained()
print(f"pykan, splines: RMSE {rmse(model):.1e}")
print("powers in its library:", ", ".join(name for name in SYMBOLIC_LIB if "x^" in name or name == "1/x"))
model.auto_symbolic(verbose=0)
print(f"auto_symbolic: {model.symbolic_formula()[0][0]}, RMSE {rmse(model):.1e}")

for sign, symbols in ((1, ("x^6", "x^12")), (-1, ("1/x^6", "1/x^12"))):
    for name, power in zip(symbols, (6, 12), strict=True):
        add_symbolic(name, lambda z, n=sign * power: z**n, c=1)
    model = trained()
    for edge, name in enumerate(symbols):
        model.fix_symbolic(0, 0, edge, name, verbose=False)
        model.fix_symbolic(1, edge, 0, "x", verbose=False)
    before = rmse(model)
    train(model, 100)
    print(f"fixed to {' and '.join(symbols)}: RMSE {before:.1e}, after 100 steps {rmse(model):.1e}")

law = discover(PairCurve(r, energy))
network = law.network()
print(f"\ndiscover: {law.verdict}, {law.formula}")
print(f"law.network(), a pykan model: {network.symbolic_formula()[0][0]}, RMSE {rmse(network):.1e}")
