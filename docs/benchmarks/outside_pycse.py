"""What pycse's KANs say of their errors outside the data, for the table of docs/uncertainty.md.

pip install pycse                # in an environment of its own: it brings JAX
python docs/benchmarks/outside_pycse.py
"""

import numpy as np
from pycse.sklearn.kan import KAN
from pycse.sklearn.kan_llpr import KANLLPR


def law(r):
    return r**-12.0 - r**-6.0


r = np.sort(np.random.default_rng(0).uniform(0.95, 2.0, 50))
x = np.array([0.7, 0.9, 1.5, 2.5])
models = {
    "ensemble (CRPS)": KAN(layers=(1, 2, 1), grid_size=5, loss_type="crps", n_ensemble=10),
    "last layer (LLPR)": KANLLPR(layers=(1, 2, 1), grid_size=5),
}
for name, model in models.items():
    model.fit(r[:, None], law(r))
    energy, std = model.predict(x[:, None], return_std=True)
    error = np.abs(np.ravel(energy) - law(x))
    for place, e, s in zip(x, error, np.ravel(std), strict=True):
        print(f"{name:18s} r = {place}: error {e:.2e}, standard deviation {s:.2e}, ratio {e / s:.1f}")
