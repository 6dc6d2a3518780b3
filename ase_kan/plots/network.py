"""Figures of the edges of a KAN."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib.figure import Figure

from ase_kan.types import Array

if TYPE_CHECKING:
    from ase_kan.kan.network import KANNetwork


from ase_kan.plots.figures import KAN_COLOR


def plot_edges(network: KANNetwork, inputs: Array) -> Figure:
    """Every edge function of a KAN over the values that reach it; `inputs` (n,) are those of the network."""
    layers = list(network)
    columns = max(layer.n_in * layer.n_out for layer in layers)
    figure = Figure(figsize=(2.6 * columns + 1.2, 2.6 * len(layers)), layout="constrained")
    grid = figure.subplots(len(layers), columns, squeeze=False)
    x = torch.from_numpy(np.asarray(inputs, dtype=float))[:, None]
    for number, (layer, row) in enumerate(zip(layers, grid, strict=True)):
        reach = x.aminmax(dim=0)
        t = reach.min + (reach.max - reach.min) * torch.linspace(0, 1, 400, dtype=torch.float64)[:, None]
        with torch.no_grad():
            values = layer.edges(t)
            x = layer(x)
        edges = [(i, o) for i in range(layer.n_in) for o in range(layer.n_out)]
        for axes, (i, o) in zip(row, edges, strict=False):
            axes.plot(t[:, i], values[i, :, o], color=KAN_COLOR)
            for knot in layer.grid[i, layer.k : -layer.k or None]:
                if reach.min[i] <= knot <= reach.max[i]:
                    axes.axvline(float(knot), color="gray", lw=0.4, ls=":")
            axes.set_title(f"layer {number}: node {i} to {o}", fontsize=10)
            axes.set_xlabel("input")
            axes.tick_params(labelsize=8)
        row[0].set_ylabel("edge output")
        for axes in row[len(edges) :]:
            axes.axis("off")
    figure.suptitle("The KAN's edge functions (dotted: grid points)")
    return figure
