"""Layers without sampling against the functions that they wrap, and torch's own operators."""

import copy
import math
import pickle
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
import torch._dynamo
from torch import Tensor, nn

import torchsmooth as ts
import torchsmooth.nn


F = nn.functional
LEVELS = [-1.0, 0.25, 0.5, 2.0]


class Layer(NamedTuple):
    """A layer, the function that it wraps, and the operator of torch."""

    make: Callable[..., nn.Module]
    smooth: Callable[..., Tensor]
    hard: Callable[..., Tensor]
    law: type[ts.AbstractDistribution] = ts.Gaussian
    inputs: int = 1


def one_hot(index: Tensor, n: int) -> Tensor:
    return F.one_hot(index, n).double()


# At the top level of the module, so that they can be pickled.


def loop_margin(x: Tensor) -> Tensor:
    return 1.5 - x[:, 0].abs()


def double(x: Tensor) -> Tensor:
    return 2 * x


def loop(x: Tensor) -> Tensor:
    """Doubles every row while its first entry is below 1.5, at most three times."""
    rows = []
    for row in x:
        for _ in range(3):
            if not 1.5 - row[0].abs() > 0:
                break
            row = 2 * row
        rows.append(row)
    return torch.stack(rows)


def cube(x: Tensor, c: Tensor) -> Tensor:
    return x * x * x - c


def bisect(c: Tensor) -> Tensor:
    """Four halvings of [-3, 3], element by element."""
    roots = []
    for value in c.flatten().tolist():
        a, b = -3.0, 3.0
        for _ in range(4):
            m = 0.5 * (a + b)
            if (a**3 - value) * (m**3 - value) > 0:
                a = m
            else:
                b = m
        roots.append(math.nan if math.isnan(value) else 0.5 * (a + b))
    return torch.tensor(roots, dtype=c.dtype).reshape(c.shape)


# For inputs [5, 4] without ties.
LAYERS = {
    "SoftHeaviside": Layer(
        ts.nn.SoftHeaviside, ts.soft.heaviside, lambda x: torch.heaviside(x, torch.zeros_like(x))
    ),
    "SoftLogHeaviside": Layer(
        ts.nn.SoftLogHeaviside,
        ts.soft.log_heaviside,
        lambda x: torch.where(x > 0, 0.0, -math.inf).to(x),
    ),
    "SoftSign": Layer(ts.nn.SoftSign, ts.soft.sign, torch.sign),
    "SoftAbs": Layer(ts.nn.SoftAbs, ts.soft.abs, torch.abs),
    "SoftReLU": Layer(ts.nn.SoftReLU, ts.soft.relu, torch.relu),
    "SoftClamp": Layer(
        lambda *args, **options: ts.nn.SoftClamp(-0.5, 0.75, *args, **options),
        lambda x, law: ts.soft.clamp(x, -0.5, 0.75, law),
        lambda x: torch.clamp(x, -0.5, 0.75),
    ),
    "SoftThreshold": Layer(
        lambda *args, **options: ts.nn.SoftThreshold(0.25, -1.0, *args, **options),
        lambda x, law: ts.soft.threshold(x, 0.25, -1.0, law),
        lambda x: F.threshold(x, 0.25, -1.0),
    ),
    "SoftHardshrink": Layer(
        lambda *args, **options: ts.nn.SoftHardshrink(0.5, *args, **options),
        lambda x, law: ts.soft.hardshrink(x, 0.5, law),
        lambda x: F.hardshrink(x, 0.5),
    ),
    "SoftRound": Layer(ts.nn.SoftRound, ts.soft.round, torch.round),
    "SoftFloor": Layer(ts.nn.SoftFloor, ts.soft.floor, torch.floor),
    "SoftCeil": Layer(ts.nn.SoftCeil, ts.soft.ceil, torch.ceil),
    "SoftTrunc": Layer(ts.nn.SoftTrunc, ts.soft.trunc, torch.trunc),
    "SoftQuantize": Layer(
        lambda *args, **options: ts.nn.SoftQuantize(LEVELS, *args, **options),
        lambda x, law: ts.soft.quantize(x, LEVELS, law),
        lambda x: torch.tensor(LEVELS).to(x)[
            (x.unsqueeze(-1) - torch.tensor(LEVELS).to(x)).abs().argmin(-1)
        ],
        ts.Cauchy,
    ),
    "SoftMaximum": Layer(ts.nn.SoftMaximum, ts.soft.maximum, torch.maximum, inputs=2),
    "SoftMinimum": Layer(ts.nn.SoftMinimum, ts.soft.minimum, torch.minimum, inputs=2),
    "SoftGreater": Layer(
        ts.nn.SoftGreater, ts.soft.greater, lambda a, b: (a > b).to(a), ts.Gumbel, 2
    ),
    "SoftLess": Layer(ts.nn.SoftLess, ts.soft.less, lambda a, b: (a < b).to(a), ts.Gumbel, 2),
    "SoftEqual": Layer(
        lambda *args, **options: ts.nn.SoftEqual(0.8, *args, **options),
        lambda a, b, law: ts.soft.equal(a, b, 0.8, law),
        lambda a, b: ((a - b).abs() < 0.8).to(a),
        ts.Laplace,
        2,
    ),
    "SoftArgMax": Layer(
        lambda *args, **options: ts.nn.SoftArgMax(-1, *args, **options),
        lambda x, law: ts.soft.argmax(x, -1, law),
        lambda x: one_hot(x.argmax(-1), x.shape[-1]),
        ts.Gumbel,
    ),
    "SoftArgMin": Layer(
        lambda *args, **options: ts.nn.SoftArgMin(0, *args, **options),
        lambda x, law: ts.soft.argmin(x, 0, law),
        lambda x: one_hot(x.argmin(0), x.shape[0]).mT,
        ts.Gumbel,
    ),
    "SoftAMax": Layer(
        lambda *args, **options: ts.nn.SoftAMax(0, *args, keepdim=True, **options),
        lambda x, law: ts.soft.amax(x, 0, law, keepdim=True),
        lambda x: torch.amax(x, 0, True),
        ts.Gumbel,
    ),
    "SoftAMin": Layer(
        lambda *args, **options: ts.nn.SoftAMin(-1, *args, **options),
        lambda x, law: ts.soft.amin(x, -1, law),
        lambda x: torch.amin(x, -1),
        ts.Gumbel,
    ),
    "SoftArgMax by quadrature": Layer(
        lambda *args, **options: ts.nn.SoftArgMax(-1, *args, **options),
        lambda x, law: ts.soft.argmax(x, -1, law),
        lambda x: one_hot(x.argmax(-1), x.shape[-1]),
    ),
    "SoftArgMin by quadrature": Layer(
        lambda *args, **options: ts.nn.SoftArgMin(0, *args, **options),
        lambda x, law: ts.soft.argmin(x, 0, law),
        lambda x: one_hot(x.argmin(0), x.shape[0]).mT,
    ),
    "SoftTopKMask": Layer(
        lambda *args, **options: ts.nn.SoftTopKMask(2, *args, dim=0, **options),
        lambda x, law: ts.soft.topk_mask(x, 2, law, dim=0),
        lambda x: one_hot(x.topk(2, 0).indices, x.shape[0]).sum(0).mT,
    ),
    "SoftTopKMask of the smallest": Layer(
        lambda *args, **options: ts.nn.SoftTopKMask(3, *args, largest=False, **options),
        lambda x, law: ts.soft.topk_mask(x, 3, law, largest=False),
        lambda x: 1 - one_hot(x.argmax(-1), x.shape[-1]),
    ),
    "SoftAMax by quadrature": Layer(
        lambda *args, **options: ts.nn.SoftAMax(-1, *args, **options),
        lambda x, law: ts.soft.amax(x, -1, law),
        lambda x: torch.amax(x, -1),
    ),
    "SoftAMin by quadrature": Layer(
        lambda *args, **options: ts.nn.SoftAMin(0, *args, keepdim=True, **options),
        lambda x, law: ts.soft.amin(x, 0, law, keepdim=True),
        lambda x: torch.amin(x, 0, True),
    ),
    "SoftArgSort": Layer(
        lambda *args, **options: ts.nn.SoftArgSort(*args, dim=0, descending=True, **options),
        lambda x, law: ts.soft.argsort(x, law, dim=0, descending=True),
        lambda x: one_hot(x.argsort(0, descending=True).mT, x.shape[0]),
    ),
    "SoftLogArgSort": Layer(
        ts.nn.SoftLogArgSort,
        ts.soft.log_argsort,
        lambda x: one_hot(x.argsort(-1), x.shape[-1]).log(),
    ),
    "SoftLogArgMax": Layer(
        lambda *args, **options: ts.nn.SoftLogArgMax(0, *args, **options),
        lambda x, law: ts.soft.log_argmax(x, 0, law),
        lambda x: one_hot(x.argmax(0), x.shape[0]).mT.log(),
    ),
    "SoftSort": Layer(
        lambda *args, **options: ts.nn.SoftSort(*args, descending=True, **options),
        lambda x, law: ts.soft.sort(x, law, descending=True),
        lambda x: x.sort(-1, descending=True).values,
    ),
    "SoftRank": Layer(
        lambda *args, **options: ts.nn.SoftRank(*args, dim=0, **options),
        lambda x, law: ts.soft.rank(x, law, dim=0),
        lambda x: 1 + x.argsort(0).argsort(0).to(x),
        ts.Cauchy,
    ),
    "SoftTopK": Layer(
        lambda *args, **options: ts.nn.SoftTopK(2, *args, dim=0, **options),
        lambda x, law: ts.soft.topk(x, 2, law, dim=0),
        lambda x: one_hot(x.topk(2, 0).indices.mT, x.shape[0]),
    ),
    "SoftMedian": Layer(
        lambda *args, **options: ts.nn.SoftMedian(*args, dim=0, keepdim=True, **options),
        lambda x, law: ts.soft.median(x, law, dim=0, keepdim=True),
        lambda x: x.median(0, keepdim=True).values,
        ts.Cauchy,
    ),
    "SoftQuantile": Layer(
        lambda *args, **options: ts.nn.SoftQuantile(0.4, *args, **options),
        lambda x, law: ts.soft.quantile(x, 0.4, law),
        lambda x: x.quantile(0.4, -1),
        ts.Cauchy,
    ),
    "SoftCond": Layer(
        lambda *args, **options: ts.nn.SoftCond(
            lambda x: x[:, 0] - 0.1, torch.sin, lambda x: x.square(), *args, **options
        ),
        lambda x, law: ts.soft.cond(
            x[:, 0] - 0.1, torch.sin, lambda x: x.square(), x, distribution=law
        ),
        lambda x: torch.where(x[:, :1] > 0.1, torch.sin(x), x.square()),
    ),
    "SoftWhile": Layer(
        lambda *args, **options: ts.nn.SoftWhile(loop_margin, double, 3, *args, **options),
        lambda x, law: ts.soft.while_loop(loop_margin, double, x, 3, distribution=law),
        loop,
    ),
    "SoftBisect": Layer(
        lambda *args, **options: ts.nn.SoftBisect(cube, -3.0, 3.0, *args, num_steps=4, **options),
        lambda c, law: ts.soft.bisect(cube, -3.0, 3.0, c, num_steps=4, distribution=law),
        bisect,
    ),
}
# What has other inputs or outputs, and tests apart.
APART = {"SoftGridSearch", "SoftImplicitBisect", "SoftTake", "SoftTakeAlongDim"}


@pytest.fixture(params=LAYERS)
def layer(request: pytest.FixtureRequest) -> Layer:
    return LAYERS[request.param]


def example(layer: Layer, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [torch.randn(5, 4, dtype=dtype) for _ in range(layer.inputs)]


def test_every_layer_is_here() -> None:
    names = {name for name in vars(ts.nn) if name.startswith("Soft")}
    assert names == {name.split()[0] for name in LAYERS} | APART


# --- what layers compute ---------------------------------------------------------------------


@pytest.mark.parametrize("learn_scale", [False, True])
def test_equals_the_function(layer: Layer, learn_scale: bool) -> None:
    """With its derivatives, in training and in evaluation; d/d(log scale) = scale d/d(scale)."""
    inputs = [x.requires_grad_() for x in example(layer)]
    law = layer.law(torch.tensor(0.4, dtype=torch.float64))
    module = layer.make(law, learn_scale=learn_scale)
    scale = module.scale.detach().requires_grad_()
    expected = layer.smooth(*inputs, layer.law(scale))
    weight = torch.randn_like(expected)
    *in_x, in_scale = torch.autograd.grad((weight * expected).sum(), [*inputs, scale])
    assert in_scale.abs() > 1e-6
    for training in (True, False):
        value = module.train(training)(*inputs)
        torch.testing.assert_close(value, expected, rtol=1e-14, atol=1e-15)
        leaves = [*inputs, *module.parameters()]
        gradients = torch.autograd.grad((weight * value).sum(), leaves)
        for actual, exact in zip(gradients, in_x, strict=False):
            torch.testing.assert_close(actual, exact, rtol=1e-12, atol=1e-14)
        if learn_scale:
            torch.testing.assert_close(
                gradients[-1], scale.detach() * in_scale, rtol=1e-12, atol=1e-14
            )


def test_gradcheck(layer: Layer) -> None:
    inputs = [x.requires_grad_() for x in example(layer)]
    law = layer.law(torch.tensor(0.4, dtype=torch.float64))
    module = layer.make(law, learn_scale=True)

    def f(log_scale: Tensor, *inputs: Tensor) -> Tensor:
        return torch.func.functional_call(module, {"log_scale": log_scale}, inputs)

    torch.autograd.gradcheck(f, (module.log_scale, *inputs), fast_mode=True)


def test_hard_in_evaluation(layer: Layer) -> None:
    """torch's operator, for a scale that would blur it beyond recognition."""
    inputs = example(layer)
    module = layer.make(layer.law(30.0), eval_mode="hard")
    expected = layer.hard(*inputs)
    assert not torch.allclose(module(*inputs).double(), expected, atol=0.1)
    assert torch.equal(module.eval()(*inputs), expected)
    assert torch.equal(layer.make(layer.law(30.0)).eval()(*inputs), module.train()(*inputs))


@pytest.mark.parametrize(
    "name",
    [
        "SoftSign",
        "SoftAbs",
        "SoftReLU",
        "SoftClamp",
        "SoftThreshold",
        "SoftHardshrink",
        "SoftRound",
        "SoftMaximum",
        "SoftMinimum",
        "SoftAMax",
        "SoftAMin",
        "SoftAMax by quadrature",
        "SoftCond",
    ],
)
def test_hard_gradient(name: str) -> None:
    """The one that torch gives its operator."""
    layer = LAYERS[name]
    inputs = [x.requires_grad_() for x in example(layer)]
    module = layer.make(layer.law(), eval_mode="hard", learn_scale=True).eval()
    expected = layer.hard(*inputs)
    weight = torch.randn_like(expected)
    in_hard = torch.autograd.grad((weight * expected).sum(), inputs)
    value = module(*inputs)
    torch.testing.assert_close(torch.autograd.grad((weight * value).sum(), inputs), in_hard)


@pytest.mark.parametrize(
    "name",
    "SoftHeaviside SoftGreater SoftQuantize SoftArgMax SoftArgSort SoftSort SoftMedian".split(),
)
def test_hard_without_gradient(name: str) -> None:
    layer = LAYERS[name]
    inputs = [x.requires_grad_() for x in example(layer)]
    module = layer.make(layer.law(), eval_mode="hard").eval()
    assert module.train()(*inputs).requires_grad
    assert not module.eval()(*inputs).requires_grad or name == "SoftQuantize"


def test_at_the_jump() -> None:
    """Where hard operators leave a choice, it is torch's."""
    x = torch.tensor([-1.5, -0.5, 0.0, 0.5, 1.5])
    options: dict[str, Any] = {"eval_mode": "hard"}
    law = ts.Gaussian()
    for module, expected in [
        (ts.nn.SoftHeaviside(law, **options), [0.0, 0.0, 0.0, 1.0, 1.0]),
        (ts.nn.SoftSign(law, **options), [-1.0, -1.0, 0.0, 1.0, 1.0]),
        (ts.nn.SoftRound(law, **options), [-2.0, 0.0, 0.0, 0.0, 2.0]),
        (ts.nn.SoftThreshold(0.5, 9.0, law, **options), [9.0, 9.0, 9.0, 9.0, 1.5]),
        (ts.nn.SoftHardshrink(0.5, law, **options), [-1.5, 0.0, 0.0, 0.0, 1.5]),
        (ts.nn.SoftQuantize([-1.0, 0.0, 1.0], law, **options), [-1.0, -1.0, 0.0, 0.0, 1.0]),
    ]:
        assert module.eval()(x).tolist() == expected


def test_nan(layer: Layer) -> None:
    """Stays NaN under unbounded operators, soft and hard."""
    inputs = example(layer)
    for x in inputs:
        x[2, 0] = math.nan
    module = layer.make(layer.law(0.5), eval_mode="hard")
    soft, exact = module(*inputs), module.eval()(*inputs)
    assert soft.isnan().any()
    compares = type(module).__name__ in (
        "SoftHeaviside SoftLogHeaviside SoftSign SoftGreater SoftLess SoftEqual".split()
    )
    assert exact.isnan().any() != compares  # those are torch's comparisons


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_dtypes(layer: Layer, dtype: torch.dtype) -> None:
    inputs = example(layer, dtype)
    module = layer.make(layer.law(0.5), eval_mode="hard").to(dtype)
    expected = layer.smooth(*inputs, layer.law(torch.tensor(0.5, dtype=dtype)))
    value = module(*inputs)
    assert value.dtype == dtype
    torch.testing.assert_close(value, expected, rtol=4 * torch.finfo(dtype).eps, atol=0)
    exact = module.eval()(*inputs)
    assert exact.dtype == dtype
    rounding = torch.finfo(dtype).eps  # of operands, and of the branch
    torch.testing.assert_close(
        exact.double(), layer.hard(*(x.double() for x in inputs)), rtol=rounding, atol=rounding
    )


@pytest.mark.parametrize("name", [name for name in LAYERS if LAYERS[name].law is not ts.Gumbel])
def test_the_scale_has_dimensions_too(name: str) -> None:
    """A scale per row, or with one more dimension: hard results have the shape of smooth ones."""
    layer = LAYERS[name]
    inputs = example(layer, torch.float32)
    scales = [(5, 1), (2, 5, 4)]
    if name in ("SoftCond", "SoftWhile"):  # a scale per margin
        scales = [(5,)]
    for shape in scales:
        scale = torch.rand(shape) + 0.1
        module = layer.make(layer.law(scale), eval_mode="hard")
        soft = module(*inputs)
        torch.testing.assert_close(soft, layer.smooth(*inputs, layer.law(scale)))
        exact = module.eval()(*inputs)
        assert exact.shape == soft.shape
        torch.testing.assert_close(exact, layer.hard(*inputs).to(exact).expand(exact.shape))


# --- operands --------------------------------------------------------------------------------


def test_a_number_beside_a_tensor() -> None:
    x = torch.randn(6)
    for make, hard in [
        (ts.nn.SoftMaximum, lambda a, b: torch.maximum(torch.as_tensor(a), torch.as_tensor(b))),
        (ts.nn.SoftLess, lambda a, b: (torch.as_tensor(a) < b).float()),
    ]:
        module = make(ts.Logistic(), eval_mode="hard").eval()
        assert torch.equal(module(x, 0.25), hard(x, 0.25))
        assert torch.equal(module(0.25, x), hard(0.25, x))


def test_operands_that_are_tensors() -> None:
    """They move with the layer, are its own, and broadcast, soft and hard."""
    lo = torch.tensor([-1.0, 0.0, 0.5])
    module = ts.nn.SoftClamp(lo, 0.75, ts.Gaussian(0.1), eval_mode="hard")
    lo.fill_(7.0)
    assert sorted(module.state_dict()) == ["fixed_scale", "lo"]
    assert list(module.parameters()) == []
    module.double()
    x = torch.randn(5, 3, dtype=torch.float64)
    bound = torch.tensor([-1.0, 0.0, 0.5], dtype=torch.float64)
    law = ts.Gaussian(module.scale)
    torch.testing.assert_close(module(x), ts.soft.clamp(x, bound, 0.75, law))
    assert torch.equal(module.eval()(x), x.clamp(bound, torch.tensor(0.75, dtype=x.dtype)))
    assert "lo=<torch.float64 tensor of shape (3,)>, hi=0.75" in repr(module)


def test_operands_that_are_learned() -> None:
    """Parameters of the layer, with the function's gradient, and torch's in hard evaluation."""
    lo, hi = (nn.Parameter(torch.tensor(v, dtype=torch.float64)) for v in (-0.5, 0.5))
    module = ts.nn.SoftClamp(lo, hi, ts.Gaussian(0.1), eval_mode="hard")
    assert module.lo is lo
    assert [name for name, _ in module.named_parameters()] == ["lo", "hi"]
    x = torch.randn(50, dtype=torch.float64)
    for value, expected in [
        (module(x), ts.soft.clamp(x, lo, hi, ts.Gaussian(0.1))),
        (module.eval()(x), torch.clamp(x, lo, hi)),
    ]:
        actual = torch.autograd.grad(value.sum(), (lo, hi))
        exact = torch.autograd.grad(expected.sum(), (lo, hi))
        torch.testing.assert_close(actual, exact, rtol=1e-6, atol=1e-6)
        assert min(g.abs() for g in actual) > 1


def test_levels_are_learned() -> None:
    """Two levels for four clusters: descent on the squared error finds the means of the pairs."""
    x = torch.tensor([-1.2, -0.8, 0.9, 1.1]).repeat(8)
    module = ts.nn.SoftQuantize(
        nn.Parameter(torch.tensor([-0.3, 0.2])), ts.Gaussian(0.05), eval_mode="hard"
    )
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        (module(x) - x).square().mean().backward()
        optimizer.step()
    torch.testing.assert_close(module.levels.detach(), torch.tensor([-1.0, 1.0]), rtol=0, atol=1e-3)
    hard = module.eval()(x)
    assert torch.equal(hard, module.levels[(x > 0).long()])
    (in_levels,) = torch.autograd.grad(hard.sum(), module.levels)
    assert in_levels.tolist() == [16.0, 16.0]


# --- modules ---------------------------------------------------------------------------------


def test_scheduled() -> None:
    """With the scale, the layer goes to torch's operator."""
    model = nn.Sequential(ts.nn.SoftReLU(ts.Logistic()), ts.nn.SoftFloor(ts.Gaussian()))
    schedule = ts.nn.ExponentialScale(model, 1.0, 1e-4, 3)
    x = torch.tensor([-0.6, 0.4, 1.7])
    errors = []
    for _ in range(4):
        errors.append((model(x) - x.relu().floor()).abs()[1:].max().item())
        schedule.step()
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.1 and errors[-1] < 1e-5


def test_a_scale_is_learned() -> None:
    """E |scale e| = scale sqrt(2 / pi) for a Gaussian: descent finds the scale that makes it 1."""
    module = ts.nn.SoftAbs(ts.Gaussian(0.2), learn_scale=True)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        (module(torch.zeros(1)) - 1).square().backward()
        optimizer.step()
    assert abs(module.scale.item() - math.sqrt(math.pi / 2)) < 1e-3


def picklable(layer: Layer, **options: Any) -> nn.Module:
    """With modules in place of lambdas."""
    if layer is LAYERS["SoftCond"]:
        law = ts.Gaussian(0.3)
        return ts.nn.SoftCond(nn.Linear(4, 1), nn.Linear(4, 2), nn.Linear(4, 2), law, **options)
    return layer.make(layer.law(0.3), **options)


@pytest.mark.parametrize("learn_scale", [False, True])
def test_copies(layer: Layer, learn_scale: bool) -> None:
    """Copied, pickled or restored, a layer computes the same, and shares nothing."""
    inputs = example(layer, torch.float32)
    module = picklable(layer, learn_scale=learn_scale, eval_mode="hard")
    expected = module(*inputs)
    restored = picklable(layer, learn_scale=learn_scale, eval_mode="hard")
    restored.scale = 0.7
    restored.load_state_dict(module.state_dict(), strict=True)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), restored):
        assert repr(other) == repr(module)
        assert torch.equal(other(*inputs), expected)
        other.scale = 0.7
        assert not torch.equal(other(*inputs), expected)
        assert torch.equal(module(*inputs), expected)
    assert torch.equal(copy.deepcopy(module).eval()(*inputs), module.eval()(*inputs))


def test_representation() -> None:
    law = ts.Logistic(0.3)
    for module, parts in [
        (ts.nn.SoftAbs(law, eval_mode="hard"), ("SoftAbs(Logistic(scale=0.3)", "'hard'")),
        (ts.nn.SoftClamp(-1, 2.5, law), ("learn_scale=False", "lo=-1, hi=2.5")),
        (ts.nn.SoftQuantize([0, 1], law), ("levels=<torch.float32 tensor of shape (2,)>",)),
        (ts.nn.SoftAMin(1, ts.Gumbel()), ("dim=1, keepdim=False",)),
        (ts.nn.SoftTopKMask(3, law), ("dim=-1, k=3, largest=True",)),
        (
            ts.nn.SoftCond(torch.sum, nn.Identity(), torch.neg, law),
            ("Logistic(scale=0.3)", "margin_fn=sum, else_fn=neg", "(then_fn): Identity()"),
        ),
        (ts.nn.StraightThrough(torch.sign, nn.Identity()), ("hard=sign", "(soft): Identity()")),
    ]:
        for part in parts:
            assert part in repr(module)


# --- compiled and exported ---------------------------------------------------------------------


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


compiler = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.mark.compiled
@compiler
@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize(
    "name",
    "SoftHeaviside SoftReLU SoftClamp SoftRound SoftQuantize SoftMaximum SoftEqual SoftArgMax "
    "SoftAMax SoftArgMin SoftTopKMask SoftAMin SoftCond".split(),
)
def test_compiled(name: str) -> None:
    """One graph for all scales, and one of the hard operator, with the same gradients."""
    layer = LAYERS[name]
    inputs = [x.requires_grad_() for x in example(layer)]
    module = layer.make(layer.law(0.5), learn_scale=True, eval_mode="hard").double()
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    leaves = [*inputs, module.log_scale]
    for scale in (0.5, 0.25):
        with torch._dynamo.config.patch(error_on_recompile=scale != 0.5):
            module.scale = scale
            actual, expected = compiled(*inputs), module(*inputs)
            torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)
            weight = torch.randn_like(expected)
            in_actual, in_expected = (
                torch.autograd.grad((weight * value).sum(), leaves) for value in (actual, expected)
            )
            torch.testing.assert_close(in_actual, in_expected, rtol=1e-8, atol=1e-10)
    module.eval()
    assert torch.equal(compiled(*inputs), layer.hard(*inputs))


@pytest.mark.compiled
@compiler
@pytest.mark.parametrize("training", [True, False], ids=["smooth", "hard"])
@pytest.mark.parametrize(
    "name",
    "SoftHeaviside SoftClamp SoftRound SoftQuantize SoftGreater SoftArgMax SoftAMin "
    "SoftCond".split(),
)
def test_exported(name: str, training: bool) -> None:
    """For batches of any size."""
    layer = LAYERS[name]
    module = layer.make(layer.law(0.5), learn_scale=True, eval_mode="hard").train(training)
    batch = torch.export.Dim("batch", min=2, max=64)
    inputs = tuple(example(layer, torch.float32))
    dynamic_shapes = (tuple({0: batch} for _ in inputs),)
    program = torch.export.export(module, inputs, dynamic_shapes=dynamic_shapes)
    for size in (5, 9):
        inputs = tuple(torch.randn(size, 4) for _ in inputs)
        torch.testing.assert_close(program.module()(*inputs), module(*inputs))


# --- branches --------------------------------------------------------------------------------


def test_parameters_of_a_branch() -> None:
    """p then + (1 - p) else_: all three modules and the scale learn."""
    modules = [nn.Linear(3, 1), nn.Linear(3, 2), nn.Linear(3, 2)]
    layer = ts.nn.SoftCond(*modules, ts.Logistic(0.5), learn_scale=True, eval_mode="hard")
    assert len(list(layer.parameters())) == 7
    x = torch.randn(6, 3)
    margin, then, else_ = (module(x) for module in modules)
    p = torch.sigmoid(margin / 0.5)
    expected = p * then + (1 - p) * else_
    value = layer(x)
    torch.testing.assert_close(value, expected)
    value.square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in layer.parameters())
    hard = layer.eval()(x)
    assert torch.equal(hard, torch.where(margin > 0, then, else_))
    in_margin = torch.autograd.grad(hard.sum(), modules[0].weight, allow_unused=True)[0]
    assert in_margin is None


def test_structures_of_a_branch() -> None:
    """Several operands, and pytrees of results."""
    layer = ts.nn.SoftCond(
        lambda a, b: a - b,
        lambda a, b: {"gain": a, "pair": (b, 1.0)},
        lambda a, b: {"gain": -a, "pair": (0.0 * b, 0.0)},
        ts.Logistic(),
        eval_mode="hard",
    )
    a, b = torch.tensor([2.0, -1.0]), torch.tensor([1.0, 1.0])
    p = torch.sigmoid(a - b)
    value = layer(a, b)
    torch.testing.assert_close(value["gain"], (2 * p - 1) * a)
    torch.testing.assert_close(value["pair"], (p * b, p))
    hard = layer.eval()(a, b)
    assert hard["gain"].tolist() == [2.0, 1.0]
    assert [leaf.tolist() for leaf in hard["pair"]] == [[1.0, 0.0], [1.0, 0.0]]


def test_the_other_branch_may_be_nan() -> None:
    """As in a program, what is not taken does not matter: neither its value nor its gradient."""
    layer = ts.nn.SoftCond(
        lambda x: x, torch.sqrt, torch.zeros_like, ts.Triangular(), eval_mode="hard"
    )
    x = torch.tensor([-4.0, 4.0], requires_grad=True)
    for module in (layer, layer.eval()):
        value = module(x)
        assert value.tolist() == [0.0, 2.0]
        assert torch.autograd.grad(value.sum(), x)[0].tolist() == [0.0, 0.25]
    margin = torch.tensor([math.nan, 0.0])
    assert torch.equal(layer(margin).isnan(), torch.tensor([True, False]))


# --- straight-through ------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_straight_through(training: bool) -> None:
    soft = ts.nn.SoftRound(ts.Gaussian(0.2), learn_scale=True)
    layer = ts.nn.StraightThrough(torch.round, soft).train(training)
    x = torch.randn(20, dtype=torch.float64, requires_grad=True)
    value = layer(x)
    assert torch.equal(value, x.round())
    leaves = (x, soft.log_scale)
    torch.testing.assert_close(
        torch.autograd.grad(value.sum(), leaves), torch.autograd.grad(soft(x).sum(), leaves)
    )
    assert [name for name, _ in layer.named_parameters()] == ["soft.log_scale"]


def test_straight_through_modules() -> None:
    """The value of one, the gradient of the other; both are saved; the scale is scheduled."""
    hard, soft = nn.Linear(3, 2), nn.Sequential(nn.Linear(3, 2), ts.nn.SoftSign(ts.Logistic()))
    layer = ts.nn.StraightThrough(nn.Sequential(hard, nn.Hardtanh()), soft)
    schedule = ts.nn.ExponentialScale(layer, 0.5, 0.1, 4)
    schedule.step()
    assert 0 < soft[1].scale < 0.5
    x = torch.randn(4, 3)
    layer(x).sum().backward()
    assert hard.weight.grad is None
    assert soft[0].weight.grad.abs().max() > 0
    other = pickle.loads(pickle.dumps(layer))
    assert torch.equal(other(x), F.hardtanh(hard(x)))
    assert sorted(other.state_dict()) == sorted(
        ["hard.0.weight", "hard.0.bias", "soft.0.weight", "soft.0.bias", "soft.1.fixed_scale"]
    )


@pytest.mark.compiled
@compiler
@pytest.mark.usefixtures("fresh_compiler")
def test_straight_through_compiled() -> None:
    layer = ts.nn.StraightThrough(torch.sign, ts.nn.SoftSign(ts.Logistic()))
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = torch.randn(20, requires_grad=True)
    value = compiled(x)
    assert torch.equal(value, x.sign())
    (gradient,) = torch.autograd.grad(value.sum(), x)
    torch.testing.assert_close(gradient, 0.5 / torch.cosh(x / 2).square())


# --- bad input -------------------------------------------------------------------------------

LAW = ts.Gaussian()


@pytest.mark.parametrize(
    "make, error, parts",
    [
        (lambda: ts.nn.SoftAbs(0.3), TypeError, ("distribution must be a distribution",)),
        (lambda: ts.nn.SoftAbs(LAW, eval_mode="h"), ValueError, ("eval_mode must be", "got 'h'")),
        (lambda: ts.nn.SoftAbs(LAW, learn_scale=1), TypeError, ("learn_scale must be", "got 1")),
        (
            lambda: ts.nn.SoftAbs(LAW, lo=1),
            TypeError,
            ("unexpected keyword argument 'lo'",),
        ),
        (lambda: ts.nn.SoftAbs(ts.Cauchy()), ValueError, ("must have a mean", "Cauchy")),
        (lambda: ts.nn.SoftReLU(ts.Cauchy()), ValueError, ("must have a mean", "Cauchy")),
        (lambda: ts.nn.SoftRound(ts.Cauchy()), ValueError, ("must have a mean", "Cauchy")),
        (lambda: ts.nn.SoftMaximum(ts.Cauchy()), ValueError, ("must have a mean", "Cauchy")),
        (
            lambda: ts.nn.SoftAMin(0, ts.Cauchy()),
            ValueError,
            ("must have a mean", "Cauchy"),
        ),
        (
            lambda: ts.nn.SoftHeaviside(ts.Gaussian(scale_matrix=torch.eye(2))),
            ValueError,
            ("scale_matrix", "scale="),
        ),
        (
            lambda: ts.nn.SoftCond(
                abs, abs, abs, ts.Gaussian(scale_matrix=torch.eye(2)), eval_mode="hard"
            ),
            ValueError,
            ("scale_matrix", "scale="),
        ),
        (lambda: ts.nn.SoftAMax(0, ts.Cauchy()), ValueError, ("mean", "Cauchy", "quantile")),
        (lambda: ts.nn.SoftSort(ts.Cauchy()), ValueError, ("Cauchy for sort", "quantile")),
        (lambda: ts.nn.SoftSort(LAW, descending=1), TypeError, ("descending must be", "got 1")),
        (
            lambda: ts.nn.SoftRank(ts.Gaussian(scale_matrix=torch.eye(2))),
            ValueError,
            ("scale_matrix", "scale="),
        ),
        (
            lambda: ts.nn.SoftLogArgSort(ts.FromTorch(torch.distributions.Normal(0.0, 1.0))),
            ValueError,
            ("distribution must be a law of torchsmooth for log_argsort",),
        ),
        (
            lambda: ts.nn.SoftLogArgMax(0, ts.FromTorch(torch.distributions.Normal(0.0, 1.0))),
            ValueError,
            ("distribution must be a law of torchsmooth for log_argmax",),
        ),
        (lambda: ts.nn.SoftTopK(-1, LAW), ValueError, ("k must be at least 0", "got -1")),
        (lambda: ts.nn.SoftTopK(1.5, LAW), TypeError, ("k must be an int", "got 1.5")),
        (lambda: ts.nn.SoftMedian(LAW, keepdim=1), TypeError, ("keepdim must be",)),
        (lambda: ts.nn.SoftQuantile(1.5, LAW), ValueError, ("q must", "got 1.5")),
        (lambda: ts.nn.SoftClamp(1.0, 0.0, LAW), ValueError, ("lo must not be larger", "hi=0.0")),
        (lambda: ts.nn.SoftClamp("a", 0.0, LAW), TypeError, ("lo must be a number", "got 'a'")),
        (
            lambda: ts.nn.SoftClamp(torch.tensor(0), 1.0, LAW),
            TypeError,
            ("lo must be a floating-point tensor", "torch.int64"),
        ),
        (
            lambda: ts.nn.SoftClamp(torch.zeros(2, requires_grad=True), 1.0, LAW),
            ValueError,
            ("lo must be", "nn.Parameter(lo.detach())"),
        ),
        (lambda: ts.nn.SoftHardshrink(-1.0, LAW), ValueError, ("lambd must not be negative",)),
        (lambda: ts.nn.SoftEqual(-1.0, LAW), ValueError, ("tolerance must not be negative",)),
        (lambda: ts.nn.SoftQuantize([1.0, 0.0], LAW), ValueError, ("levels must be", "increasing")),
        (lambda: ts.nn.SoftQuantize([], LAW), ValueError, ("levels must be", "increasing")),
        (
            lambda: ts.nn.SoftTopKMask(-1, LAW),
            ValueError,
            ("k must be at least 0", "got -1"),
        ),
        (lambda: ts.nn.SoftAMax(-1, ts.Gumbel(), keepdim=1), TypeError, ("keepdim must be",)),
        (
            lambda: ts.nn.SoftCond(torch.zeros(3), abs, abs, LAW),
            TypeError,
            ("margin_fn must be a module or a function", "lambda"),
        ),
        (lambda: ts.nn.SoftCond(abs, 1.0, abs, LAW), TypeError, ("then_fn must be", "got 1.0")),
        (lambda: ts.nn.SoftCond(abs, abs, None, LAW), TypeError, ("else_fn must be", "got None")),
        (lambda: ts.nn.StraightThrough(None, abs), TypeError, ("hard must be", "got None")),
        (lambda: ts.nn.StraightThrough(abs, 3), TypeError, ("soft must be", "got 3")),
    ],
)
def test_at_construction(
    make: Callable[[], nn.Module], error: type[Exception], parts: tuple[str, ...]
) -> None:
    with pytest.raises(error) as caught:
        make()
    message = str(caught.value)
    for part in parts:
        assert part in message, message
    assert "\n" not in message and not message.endswith(".")


def test_quantiles_under_cauchy_noise() -> None:
    """Those exist that are not the outermost: how many there are is known in the call only."""
    module = ts.nn.SoftQuantile(0.2, ts.Cauchy(1e-6))
    x = torch.arange(11.0)
    assert module(x).item() == pytest.approx(2.0, abs=1e-4)
    with pytest.raises(ValueError, match="must not be Cauchy for quantile"):
        module(x[:4])


@pytest.mark.parametrize("training", [True, False], ids=["smooth", "hard"])
@pytest.mark.parametrize(
    "make, x, error, message",
    [
        (ts.nn.SoftAbs, torch.tensor([1]), TypeError, "x must be a floating-point tensor"),
        (ts.nn.SoftAbs, 1.0, TypeError, "x must be a torch.Tensor"),
        (lambda *a, **o: ts.nn.SoftAMin(2, *a, **o), torch.ones(3), ValueError, "dim"),
        (lambda *a, **o: ts.nn.SoftAMin(0, *a, **o), torch.ones(0), ValueError, "least"),
        (lambda *a, **o: ts.nn.SoftTopKMask(4, *a, **o), torch.ones(3), ValueError,
         "k must be at most"),
        (lambda *a, **o: ts.nn.SoftCond(torch.round, torch.neg, torch.abs, *a, **o),
         torch.tensor([1]), TypeError, "margin must be a floating-point tensor"),
        (lambda *a, **o: ts.nn.SoftCond(lambda x: x, torch.neg, lambda x: x[:1], *a, **o),
         torch.ones(2, 3), ValueError, "must return the same shapes"),
    ],
    ids=["integers", "number", "dim", "empty", "k", "margin", "shapes"],
)  # fmt: skip
def test_when_called(
    make: Callable[..., nn.Module], x: Any, error: type[Exception], message: str, training: bool
) -> None:
    """The same errors in training and in evaluation."""
    module = make(LAW, eval_mode="hard").train(training)
    with pytest.raises(error, match=message):
        module(x)
