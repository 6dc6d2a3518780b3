"""A KAN drawn as what it is: nodes that add up, and a function on every edge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ase_kan.plots.figures import KAN_COLOR, Figure
from ase_kan.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ase_kan.kan.network import KANNetwork

#: Size of the inset of an edge, in units of the distance between layers and between nodes.
WIDTH, HEIGHT = 0.42, 0.62


def plot_network(network: KANNetwork, inputs: Array, ends: tuple[str, str] = ("r (Å)", "E (eV)")) -> Figure:
    """The nodes of a KAN in layers, with each edge function, over the values that reach it, drawn on its edge.

    Parameters
    ----------
    network : KANNetwork
    inputs : ndarray, shape (n,)
        Values of its input (reduced, as the network sees them).
    ends : (str, str)
        What goes in and comes out.
    """
    layers = list(network)
    widths = [layers[0].n_in, *(layer.n_out for layer in layers)]
    most = max(layer.n_in * layer.n_out for layer in layers)
    figure = Figure(figsize=(3.0 * len(layers) + 1.6, max(2.6, 1.5 * most)), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(-0.35, len(layers) + 0.35), ylim=(-0.15, most + 0.15))
    axes.axis("off")
    places = [[(float(column), most * (n + 0.5) / width) for n in range(width)] for column, width in enumerate(widths)]
    x = torch.from_numpy(np.asarray(inputs, dtype=float))[:, None]
    for number, layer in enumerate(layers):
        reach = x.aminmax(dim=0)
        t = reach.min + (reach.max - reach.min) * torch.linspace(0, 1, 400, dtype=torch.float64)[:, None]
        with torch.no_grad():
            values = layer.edges(t)
            x = layer(x)
        edges = [(i, o) for i in range(layer.n_in) for o in range(layer.n_out)]
        for place, (i, o) in enumerate(edges):
            middle = number + 0.5, most * (place + 0.5) / len(edges)
            for node in (places[number][i], places[number + 1][o]):
                axes.plot(*zip(node, middle, strict=True), color="0.6", lw=1.2, zorder=1)
            _draw_edge(axes, middle, t[:, i].numpy(), values[i, :, o].numpy())
    for column in places:
        axes.plot(*zip(*column, strict=True), "o", ms=11, color="0.25", zorder=3)
    for text, (at, level), shift in ((ends[0], places[0][0], -0.09), (ends[1], places[-1][0], 0.09)):
        axes.text(at + shift, level, text, ha="right" if shift < 0 else "left", va="center", fontsize=12)
    shape = ", ".join(map(str, widths))
    axes.set_title(f"KAN [{shape}]: every edge is a function, every node adds up")
    return figure


def _draw_edge(axes: Axes, middle: tuple[float, float], t: Array, values: Array) -> None:
    x, y = middle
    inset = axes.inset_axes((x - WIDTH / 2, y - HEIGHT / 2, WIDTH, HEIGHT), transform=axes.transData)
    inset.plot(t, values, color=KAN_COLOR, lw=1.6)
    inset.tick_params(labelsize=7)
    inset.set_facecolor("white")
