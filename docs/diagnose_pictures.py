"""Draws the pictures of diagnose.md: run it from the repository's root after a change."""

from collections.abc import Callable
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

import torchsmooth as ts


HERE = Path(__file__).parent


def gate(y: Tensor) -> Tensor:
    """A cost with one break of each common kind, of one number each."""
    rounded = y[0].round()
    kinked = (y[1] - 0.05).abs()
    branched = y[2] if y[2] > 0.1 else y[2] - 0.5
    return rounded + kinked + branched


def save(figure: Figure, name: str) -> None:
    figure.savefig(HERE / name, dpi=75)


def exponents() -> Figure:
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


if __name__ == "__main__":
    x = torch.tensor([0.45, 0.0, 0.0], dtype=torch.float64)
    report = ts.diagnose(gate, x, seed=0)
    print(report)
    save(report.plot(), "diagnose.png")
    save(exponents(), "diagnose_exponents.png")
