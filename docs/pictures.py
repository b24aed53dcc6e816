"""Draws the pictures of README.md and of the pages: `python docs/pictures.py [name ...]`."""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from torch import Tensor

import torchsmooth as ts


IMAGES = Path(__file__).parent / "images"


# --- README.md: a shortest path before and after smoothing -----------------------------------

MARKED = (7, 5)


def terrain(size: int) -> Tensor:
    """Costs of a map with three hills, from 1 in the plain to about 5 on the summits."""
    row, column = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    costs = torch.ones(size, size)
    for height, y, x, width in ((4.0, 3.6, 4.0, 1.9), (3.0, 10.5, 5.0, 2.2), (3.0, 6.0, 12.0, 2.0)):
        costs = costs + height * (-((row - y) ** 2 + (column - x) ** 2) / (2 * width**2)).exp()
    return costs


def shortest_path() -> Figure:
    """A map, its cheapest path, the expected path under noise, and the gradient of that."""
    costs = terrain(14).requires_grad_()
    hard = ts.hard.shortest_path(costs)
    soft = ts.functional.shortest_path(costs, ts.Logistic(0.2), num_samples=2**14, seed=0)
    (gradient,) = torch.autograd.grad(soft[MARKED], costs)
    largest = float(gradient.abs().max())

    figure = Figure(figsize=(11.2, 3.6), layout="constrained")
    panels: list[tuple[str, Tensor, dict[str, object]]] = [
        ("cost of each cell, w", costs.detach(), {"cmap": "YlGn"}),
        ("hard.shortest_path(w): no gradient", hard, {"cmap": "magma_r"}),
        ("functional.shortest_path(w, noise)", soft.detach(), {"cmap": "magma_r"}),
        (
            "its gradient at the marked cell",
            gradient,
            {"cmap": "RdBu_r", "norm": TwoSlopeNorm(0.0, -largest, largest)},
        ),
    ]
    every: list[Axes] = list(figure.subplots(1, len(panels)))
    for axes, (title, values, style) in zip(every, panels, strict=True):
        image = axes.imshow(values, **style)
        axes.set_title(title, fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
        figure.colorbar(image, ax=axes, orientation="horizontal", shrink=0.9, aspect=26)
    for axes in every[2:]:
        axes.plot(MARKED[1], MARKED[0], "s", markersize=12, fillstyle="none", color="tab:cyan")
    return figure


# --- docs/diagnose.md ------------------------------------------------------------------------


def gate(y: Tensor) -> Tensor:
    """A cost with one break of each common kind, in one coordinate each."""
    rounded = y[0].round()
    kinked = (y[1] - 0.05).abs()
    branched = y[2] if y[2] > 0.1 else y[2] - 0.5
    return rounded + kinked + branched


def diagnose() -> Figure:
    """The plot of the report that the page shows."""
    x = torch.tensor([0.45, 0.0, 0.0], dtype=torch.float64)
    figure: Figure = ts.diagnose(gate, x, seed=0).plot()
    return figure


def diagnose_exponents() -> Figure:
    """Second differences over a width, for one function of each class."""
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "pole 1/x": lambda t: 1 / t,
        "jump": lambda t: (t > 0).double(),
        "tangent √|x|": lambda t: t.abs().sqrt(),
        "kink |x|": torch.abs,
        "smooth, steep tanh(100 x)": lambda t: (100 * t).tanh(),
    }
    width = torch.logspace(-7, -1, 40, dtype=torch.float64)
    figure = Figure(figsize=(5.5, 3.4), layout="constrained")
    axes = figure.subplots()
    for name, f in functions.items():
        # The largest among three centres, as the search takes it.
        centres = torch.tensor([-0.3, 0.1, 0.4], dtype=torch.float64)[:, None] * width
        bends = (f(centres + width) - 2 * f(centres) + f(centres - width)).abs().amax(0)
        axes.loglog(width, bends, label=name)
    axes.set_xlabel("width")
    axes.set_ylabel("second difference")
    axes.set_ylim(1e-11, 1e9)
    axes.legend(fontsize="small", loc="upper right")
    return figure


PICTURES = (shortest_path, diagnose, diagnose_exponents)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    names = [picture.__name__ for picture in PICTURES]
    parser.add_argument("names", nargs="*", metavar="name", help=f"one of {', '.join(names)}")
    chosen = parser.parse_args().names or names
    for picture in PICTURES:
        if picture.__name__ in chosen:
            picture().savefig(IMAGES / f"{picture.__name__}.png", dpi=110)
