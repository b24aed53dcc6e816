"""Verdicts on functions whose breaks are known, at and beside them, and on smooth ones."""

import builtins
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import torchsmooth as ts
from torchsmooth._analysis.diagnosis.diagnose import diagnose
from torchsmooth._analysis.diagnosis.result import CoordinateDiagnosis
from torchsmooth._analysis.diagnosis.verdicts import VERDICTS


DTYPES = [torch.float32, torch.float64]


def examine(
    f: Callable[[Tensor], Any], x: float, dtype: torch.dtype = torch.float64, **options: Any
) -> CoordinateDiagnosis:
    """The diagnosis of a function of one number. The default noise has scale 0.1, reach 0.3."""
    options = {"seed": 0, "num_samples": 16, **options}
    return diagnose(lambda y: f(y[0]), torch.tensor([x], dtype=dtype), **options).coordinates[0]


def branch(y: Tensor) -> Tensor:
    return y * y if y > 0 else y - 1


def throw(speed: Tensor) -> Tensor:
    """Where a ball lands that is thrown at a wall of height 0.9 at distance 1, and bounces off it.

    It starts at height 1 with velocity (2, speed), under a gravity of 10, and is at the wall at
    time 1/2: it flies over if speed / 2 - 5 / 4 + 1 > 0.9, that is beyond 2.3.
    """
    landing = (speed + (speed * speed + 20).sqrt()) / 10
    if speed / 2 - 0.25 > 0.9:
        return 2 * landing
    return 1 - (landing - 0.5)  # at half the speed, back


def slide(start: Tensor) -> Tensor:
    """How deep a disc at `start` is pushed into a wall at 1: contact begins there."""
    depth = start.new_zeros(())
    if start > 1:
        depth = start - 1
    return depth


def march(y: Tensor) -> Tensor:
    """Steps until 1 is passed: their number changes with their length."""
    position = 0 * y
    while position < 1:
        position = position + 0.05 * y
    return position


def chaos(y: Tensor) -> Tensor:
    for _ in range(60):
        y = 3.1 * y.sin()
    return y


TABLE = torch.tensor([1.0, 5.0, 2.0], dtype=torch.float64)

# name: (function, {x: verdict})
CASES: dict[str, tuple[Callable[[Tensor], Any], dict[float, str]]] = {
    "abs": (torch.abs, {0.0: "kink", 0.05: "kink", -2.0: "smooth"}),
    "max": (lambda y: torch.maximum(y, 1 - y), {0.5: "kink", 0.6: "kink", 3.0: "smooth"}),
    "clip": (lambda y: y.clamp(-1, 1), {1.0: "kink", 1.05: "kink", 0.0: "smooth", 3.0: "smooth"}),
    "relu": (torch.relu, {0.0: "kink", -0.25: "kink", -1.0: "smooth", 1.0: "smooth"}),
    "sort": (
        lambda y: torch.stack([y, 0 * y, y * 0 + 1]).sort().values @ TABLE.to(y),
        {0.0: "kink", 1.1: "kink", 0.5: "smooth"},
    ),
    "threshold": (
        lambda y: (y > 0.3).to(y.dtype),
        {0.3: "vanishing", 0.25: "vanishing", 1.0: "smooth"},
    ),
    "threshold that passes": (
        lambda y: torch.nn.functional.threshold(y, 0.3, 0.0),
        {0.3: "jump", 0.35: "jump", -1.0: "smooth", 1.0: "smooth"},
    ),
    "argmax": (
        lambda y: TABLE[torch.stack([0 * y, y]).argmax()],
        {0.0: "vanishing", 0.1: "vanishing", 1.0: "smooth"},
    ),
    "indexing": (
        lambda y: TABLE.to(y)[int(y.detach().clamp(0, 2))] * y,
        {1.0: "jump", 1.9: "jump", 0.5: "smooth"},
    ),
    "round": (torch.round, {0.5: "vanishing", 0.45: "vanishing", 0.0: "smooth"}),
    "staircase": (lambda y: (10 * y).round(), {0.02: "vanishing"}),
    "if": (branch, {0.0: "jump", 0.1: "jump", 1.0: "smooth", -1.0: "smooth"}),
    "sampling": (lambda y: torch.bernoulli(y.sigmoid()), {0.0: "unstable", 2.0: "unstable"}),
    "noise": (lambda y: y + 0.01 * torch.randn(()).to(y), {0.0: "unstable"}),
    "ball and wall": (throw, {2.3: "jump", 2.5: "jump", 4.5: "smooth"}),
    "contact": (slide, {1.0: "kink", 0.9: "kink", 2.0: "smooth", 0.0: "smooth"}),
    "sqrt": (torch.sqrt, {0.0: "nan", 0.1: "nan", 1.0: "smooth"}),
    "where that hides NaN": (
        lambda y: torch.where(y > 0, y.sqrt(), 0 * y),
        {-1.0: "nan", 0.05: "nan", 1.0: "smooth"},
    ),
    "pole": (lambda y: 1 / y, {0.0: "nan", 0.05: "spike", -0.1: "spike", 2.0: "smooth"}),
    "even pole": (lambda y: (y - math.pi / 40) ** -2, {0.05: "spike", 2.0: "smooth"}),
    "logarithm": (lambda y: (y - 0.07).abs().log(), {0.05: "spike", 2.0: "smooth"}),
    "vertical tangent": (
        lambda y: (y - 0.07).sign() * (y - 0.07).abs() ** (1 / 3),
        {0.05: "spike", 2.0: "smooth"},
    ),
    "cusp": (lambda y: y.abs().sqrt(), {0.05: "spike", 2.0: "smooth"}),
    "steep": (lambda y: (100 * y).tanh(), {0.0: "smooth", 0.05: "smooth", 1.0: "smooth"}),
    "steep step": (lambda y: (1e5 * y).tanh(), {0.05: "vanishing", 1.0: "smooth"}),
    "steep step on a slope": (lambda y: y + (1e5 * y).tanh(), {0.05: "spike", 1.0: "smooth"}),
    "exp": (torch.exp, {0.0: "smooth", 3.0: "smooth"}),
    "alternating sign": (lambda y: (1 / y).sin().sign(), {0.05: "oscillation", 2.0: "smooth"}),
    "steps until": (march, {1.0: "oscillation"}),
    "remainder": (lambda y: y % 0.1, {0.55: "oscillation"}),
    "chaos": (chaos, {0.3: "unstable"}),
    "detached factor": (lambda y: y.detach() * y, {1.0: "mismatch"}),
    "two conventions": (lambda y: y.relu() - (-y).relu(), {0.0: "mismatch", 1.0: "smooth"}),
    "straight through": (lambda y: y + (y.round() - y).detach(), {0.45: "jump"}),
    "NumPy": (lambda y: float(y.numpy() ** 2), {1.0: "vanishing"}),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_verdict(name: str, dtype: torch.dtype) -> None:
    f, verdicts = CASES[name]
    found = {x: examine(f, x, dtype) for x in verdicts}
    assert {x: c.verdict for x, c in found.items()} == verdicts, {
        x: c.reason for x, c in found.items()
    }


def network(seed: int, activation: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    first, second, last = (torch.randn(*s, generator=generator) for s in ((3, 16), (16, 16), (16,)))

    def f(y: Tensor) -> Tensor:
        hidden = activation(activation(y @ first.to(y)) @ second.to(y) / 4)
        return hidden @ last.to(y) / 4

    return f


SMOOTH: dict[str, Callable[[int], Callable[[Tensor], Tensor]]] = {
    "polynomial": lambda seed: lambda y: ((y - 0.3) ** 5 - 2 * y**3).sum(-1) + y.prod(-1),
    "exp": lambda seed: lambda y: (2 * y).exp().sum(-1),
    "softmax": lambda seed: lambda y: torch.softmax(20 * y, -1)[..., 0],
    "cross-entropy": lambda seed: lambda y: torch.logsumexp(5 * y, -1) - 5 * y[..., 0],
    "network of tanh": lambda seed: network(seed, torch.tanh),
    "network of silu": lambda seed: network(seed, torch.nn.functional.silu),
    "far from 0": lambda seed: lambda y: 1000 + 0.01 * y.sin().sum(-1),
    "steep": lambda seed: lambda y: (100 * y).tanh().sum(-1),
    "valley": lambda seed: (
        lambda y: ((1 - y[..., :-1]) ** 2 + 100 * (y[..., 1:] - y[..., :-1] ** 2) ** 2).sum(-1)
    ),
    "bell": lambda seed: lambda y: (-50 * y * y).sum(-1).exp(),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_functions_are_not_flagged(name: str, dtype: torch.dtype) -> None:
    """Of 3 random points with 3 coordinates each, none; the documentation has rates over more."""
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(3, generator=generator, dtype=torch.float64).to(dtype)
        report = diagnose(SMOOTH[name](seed), x, vectorized=True, num_samples=4, seed=seed)
        assert report.verdicts == ("smooth",) * 3, str(report)


@pytest.mark.parametrize("dtype", DTYPES)
def test_breaks_are_where_they_are(dtype: torch.dtype) -> None:
    """Kinks and jumps with their place and size, to the precision of x or of f's noise."""
    tolerance = {torch.float32: 1e-3, torch.float64: 1e-6}[dtype]
    kinked = examine(lambda y: 3 * (y - 0.11).abs() + y.sin(), 0.0, dtype)
    assert [b.kind for b in kinked.breaks] == ["kink"]
    assert kinked.breaks[0].offset == pytest.approx(0.11, abs=tolerance)
    assert kinked.breaks[0].size == pytest.approx(6.0, rel=0.05)

    jumping = examine(lambda y: y.exp() - 2 * (y > 0.53), 0.4, dtype)
    assert [b.kind for b in jumping.breaks] == ["jump"]
    assert jumping.breaks[0].offset == pytest.approx(0.13, abs=1e-6)
    assert jumping.breaks[0].size == pytest.approx(-2.0, rel=tolerance)

    both = examine(lambda y: (y + 0.2).abs() + (y > 0.1).to(y.dtype), 0.0, dtype)
    assert {b.kind: round(b.offset, 3) for b in both.breaks} == {"jump": 0.1, "kink": -0.2}


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_verdicts_have_no_unit(scale: float, size: float) -> None:
    """In other units of x and f the verdicts are the same."""
    for f, x, verdict in (
        (torch.abs, 0.05, "kink"),
        (torch.exp, 1.0, "smooth"),
        (branch, 0.1, "jump"),
        (torch.round, 0.45, "vanishing"),
    ):
        c = examine(
            lambda y, f=f: size * f(y / scale), scale * x, distribution=ts.Gaussian(0.1 * scale)
        )
        assert c.verdict == verdict, c.reason


def test_gradients_are_what_they_are() -> None:
    """The numbers beside the verdicts, against closed forms; 6 standard errors."""
    x = torch.tensor([[0.3, -0.1], [0.05, 1.0]], dtype=torch.float64)

    def f(y: Tensor) -> Tensor:
        return (y[0, 0] > 0.25).double() + 2 * y[0, 1].abs() + y[1, 0] ** 2 + y[1, 1].exp()

    gamma = 0.2
    report = diagnose(f, x, ts.Gaussian(scale=gamma), seed=1, num_samples=256)
    assert report.value == pytest.approx(float(f(x)), rel=1e-15)
    density = math.exp(-((0.05 / gamma) ** 2) / 2) / math.sqrt(2 * math.pi) / gamma
    expected = [density, 2 * math.erf(-0.1 / gamma / math.sqrt(2)), 0.1, math.exp(1 + gamma**2 / 2)]
    for c, smoothed, ad in zip(report.coordinates, expected, [0, -2, 0.1, math.e], strict=True):
        assert abs(c.smoothed - smoothed) < 6 * c.smoothed_error < 0.5
        assert c.ad == pytest.approx(ad)
        assert abs(c.left.value - ad) <= c.left.error + 1e-9
        assert abs(c.right.value - ad) <= c.right.error + 1e-9
        assert c.reach == pytest.approx(3 * gamma)
        assert c.x == float(x[c.index])
    assert [c.index for c in report.coordinates] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_ladder() -> None:
    """Quotients of a parabola: 2 x + t, 2 x - t, 2 x."""
    c = examine(lambda y: y * y, 0.5)
    assert len(c.steps) == len(c.forward) == len(c.backward) == len(c.central) > 40
    assert list(c.steps) == sorted(c.steps, reverse=True)
    for t, forward, backward, central in zip(
        c.steps, c.forward, c.backward, c.central, strict=True
    ):
        rounding = 1e-15 / t
        assert forward == pytest.approx(1 + t, abs=rounding)
        assert backward == pytest.approx(1 - t, abs=rounding)
        assert central == pytest.approx(1, abs=rounding)
    assert [v - (0.5 + o) ** 2 for o, v in zip(c.offsets, c.values, strict=True)] == pytest.approx(
        [0.0] * len(c.offsets), abs=1e-15
    )


@pytest.mark.parametrize(
    "distribution",
    [
        ts.Logistic(scale=0.1),
        ts.Cauchy(scale=torch.tensor([0.1, 0.2], dtype=torch.float64)),
        ts.Gaussian(scale_matrix=torch.tensor([[0.1, 0.0], [0.1, -0.2]], dtype=torch.float64)),
    ],
    ids=str,
)
def test_distributions(distribution: ts.AbstractDistribution) -> None:
    x = torch.tensor([0.05, 0.4], dtype=torch.float64)
    report = diagnose(lambda y: y[0].abs() + y[1].round(), x, distribution, seed=0, num_samples=16)
    assert report.verdicts == ("kink", "vanishing")
    if distribution.scale_matrix is not None:
        assert report.coordinates[1].reach == pytest.approx(3 * math.sqrt(0.05))
    assert type(distribution).__name__ in str(report)


def test_coordinates_and_shapes() -> None:
    x = torch.arange(6, dtype=torch.float64).reshape(2, 3) + 0.45
    report = diagnose(lambda y: y.round().sum(), x, coordinates=[4, 0], num_samples=2, seed=0)
    assert [c.index for c in report.coordinates] == [(1, 1), (0, 0)]
    scalar = diagnose(torch.abs, torch.tensor(0.0, dtype=torch.float64), num_samples=2, seed=0)
    assert scalar.verdicts == ("kink",) and scalar.coordinates[0].index == ()
    empty = diagnose(lambda y: y.sum(), torch.zeros(0))
    assert empty.verdicts == () and empty.value == 0.0 and "f(x) = 0" in str(empty)
    assert empty.plot().axes == []


def test_vectorized_is_the_same() -> None:
    x = torch.tensor([0.45, 0.0], dtype=torch.float64)
    single = diagnose(lambda y: y[0].round() + y[1].abs(), x, seed=3, num_samples=4)
    batch = diagnose(
        lambda y: y[:, 0].round() + y[:, 1].abs(), x, seed=3, num_samples=4, vectorized=True
    )
    assert single.coordinates == batch.coordinates and single.value == batch.value


def test_seed() -> None:
    x = torch.zeros(1, dtype=torch.float64)
    first, again, other = (
        diagnose(lambda y: y.sum(), x, seed=seed, num_samples=4) for seed in (0, 0, 1)
    )
    assert first.coordinates == again.coordinates
    assert first.coordinates[0].smoothed != other.coordinates[0].smoothed


def test_report() -> None:
    x = torch.tensor([0.45, 0.0, 1.0])
    report = diagnose(lambda y: y[0].round() + y[1].abs() + y[2].exp(), x, num_samples=4, seed=0)
    title, head, *rows, hint = str(report).splitlines()
    assert "in float32" in title and "16 independent repetitions of 4 samples" in title
    assert head.split()[:3] == ["index", "x", "AD"]
    assert [row.split()[0] for row in rows] == ["[0]", "[1]", "[2]"]
    assert all(c.reason in row for c, row in zip(report.coordinates, rows, strict=True))
    assert hint.startswith("float32 hides")
    assert "smoothed by Gaussian(scale=0.1)," in title
    wide = diagnose(lambda y: y.sum(), torch.tensor([0.45, 3.0]), num_samples=4, seed=0)
    assert "smoothed by Gaussian(scale=0.1 to 0.3)," in str(wide)
    assert wide.to_dict()["distribution"] == "Gaussian(scale=0.1 to 0.3)"
    smooth = diagnose(lambda y: y.sum(), x, num_samples=4, seed=0)
    assert "hides" not in str(smooth)
    graphless = diagnose(lambda y: float(y.detach().sum()), x.double(), num_samples=4, seed=0)
    assert "none" in str(graphless) and "hides" not in str(graphless)

    plain = report.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert [c["verdict"] for c in plain["coordinates"]] == ["vanishing", "kink", "smooth"]
    assert plain["coordinates"][1]["breaks"][0]["kind"] == "kink"


def test_rules_are_documented() -> None:
    """Every verdict is explained, in the code and in the documentation."""
    page = (Path(__file__).parents[2] / "docs" / "diagnose.md").read_text("utf-8")
    for verdict in VERDICTS:
        assert f"`{verdict}`" in page
    assert {verdict for _, verdicts in CASES.values() for verdict in verdicts.values()} == set(
        VERDICTS
    )


def test_plot(tmp_path: Any) -> None:
    x = torch.tensor([0.45, 0.0, 0.05], dtype=torch.float64)
    report = diagnose(lambda y: y[0].round() + y[1].abs() + y[2].sqrt(), x, num_samples=4, seed=0)
    figure = report.plot()
    assert len(figure.axes) == 6
    titles = [axes.get_title() for axes in figure.axes[::2]]
    assert [title.split(": ")[1] for title in titles] == ["vanishing", "kink", "nan"]
    figure.savefig(tmp_path / "report.png")


def test_plot_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    report = diagnose(lambda y: y.sum(), torch.zeros(1), num_samples=4)
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        report.plot()


def test_leaves_x_and_f_alone() -> None:
    weight = torch.ones(2, dtype=torch.float64, requires_grad=True)
    x = torch.ones(2, dtype=torch.float64, requires_grad=True)

    def f(y: Tensor) -> Tensor:
        result = (y.clone() * weight).sum()
        y.detach().zero_()  # what f does to its argument stays there
        return result

    with torch.inference_mode():
        assert diagnose(f, x, num_samples=4, seed=0).verdicts == ("smooth", "smooth")
    assert x.tolist() == [1.0, 1.0] and x.grad is None and weight.grad is None


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        (dict(f=3), TypeError, "f must be callable, got int"),
        (dict(f=lambda y: y), ValueError, r"f must return one number, got shape \[2\]; reduce it"),
        (dict(f=lambda y: "a"), TypeError, "f must return one number, got str"),
        (dict(vectorized=True), ValueError, "with vectorized=True"),
        (dict(vectorized=1), TypeError, "vectorized must be True or False"),
        (dict(x=[0.0]), TypeError, "x must be a torch.Tensor"),
        (dict(x=torch.zeros(2, dtype=torch.bfloat16)), TypeError, r"x\.double\(\)"),
        (dict(x=torch.tensor([0.0, math.nan])), ValueError, "x must be finite"),
        (dict(distribution=0.1), TypeError, "distribution must be"),
        (dict(distribution=ts.Gaussian(scale=torch.ones(3))), ValueError, "scale must broadcast"),
        (dict(distribution=ts.Gaussian(scale_matrix=torch.eye(3))), ValueError, "scale_matrix"),
        (
            dict(x=torch.full((2,), 1e6), distribution=ts.Gaussian(scale=1.0)),
            ValueError,
            r"scale that x resolves.*x\.double\(\)",
        ),
        (dict(coordinates=[2]), ValueError, "coordinates must be below 2"),
        (dict(coordinates=[-1]), ValueError, "coordinates must be at least 0"),
        (dict(coordinates=[0.5]), TypeError, "coordinates must be an int"),
        (dict(coordinates=1), TypeError, "coordinates must be a sequence"),
        (dict(num_samples=0), ValueError, "num_samples must be at least 2"),
        (dict(repetitions=1), ValueError, "repetitions must be at least 2"),
        (dict(seed=0.5), TypeError, "seed must be an int"),
    ],
)
def test_bad_input(options: dict[str, Any], kind: Any, message: str) -> None:
    arguments = dict(f=lambda y: y.sum(), x=torch.zeros(2)) | options
    with pytest.raises(kind, match=message):
        diagnose(arguments.pop("f"), arguments.pop("x"), **arguments)


def test_errors_of_f_name_the_point() -> None:
    def f(y: Tensor) -> Tensor:
        if y[0] < 0:
            raise ZeroDivisionError("no luck")
        return y.sum()

    with pytest.raises(ZeroDivisionError, match="no luck") as caught:
        diagnose(f, torch.tensor([0.05, 1.0]), seed=0)
    if hasattr(caught.value, "add_note"):  # Python 3.11
        note = caught.value.__notes__[0]
        assert note.startswith("raised by f, called by torchsmooth.diagnose at x = [-")
