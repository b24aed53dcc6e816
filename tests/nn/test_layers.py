"""Layers against the functions that they wrap, closed forms, and torch's own sort."""

import copy
import inspect
import math
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from facts import assert_mean
from torch import Tensor, nn

import torchsmooth as ts
import torchsmooth.nn


class Layer(NamedTuple):
    """A layer, the function that it wraps, and the exact algorithm."""

    make: Callable[..., nn.Module]
    smooth: Callable[..., Tensor]
    hard: Callable[[Tensor], Tensor]


def one_hot(index: Tensor, n: int) -> Tensor:
    return nn.functional.one_hot(index, n).float()


def rows(f: Callable[..., Tensor], x: Tensor, *args: Any, **options: Any) -> Tensor:
    return ts.smooth(f, *args, **options)(x)


# The exact algorithms are torch's, for x [B, n] without ties.
LAYERS = {
    "argsort": Layer(
        ts.nn.ArgSort,
        ts.functional.argsort,
        lambda x: one_hot(x.argsort(-1), x.shape[-1]),
    ),
    "argsort of columns, descending": Layer(
        lambda *args, **options: ts.nn.ArgSort(*args, dim=0, descending=True, **options),
        lambda x, *args, **options: ts.functional.argsort(
            x, *args, dim=0, descending=True, **options
        ),
        lambda x: one_hot(x.mT.argsort(-1, descending=True), x.shape[0]),
    ),
    "sort": Layer(
        ts.nn.Sort,
        ts.functional.sort,
        lambda x: x.sort(-1).values,
    ),
    "sort of columns, descending": Layer(
        lambda *args, **options: ts.nn.Sort(*args, dim=0, descending=True, **options),
        lambda x, *args, **options: ts.functional.sort(x, *args, dim=0, descending=True, **options),
        lambda x: x.sort(0, descending=True).values,
    ),
    "rank": Layer(
        ts.nn.Rank,
        ts.functional.rank,
        lambda x: 1.0 + x.argsort(-1).argsort(-1),
    ),
    "rank of columns, descending": Layer(
        lambda *args, **options: ts.nn.Rank(*args, dim=0, descending=True, **options),
        lambda x, *args, **options: ts.functional.rank(x, *args, dim=0, descending=True, **options),
        lambda x: 1.0 + x.argsort(0, descending=True).argsort(0),
    ),
    "argmax": Layer(
        ts.nn.ArgMax,
        ts.functional.argmax,
        lambda x: one_hot(x.argmax(-1), x.shape[-1]),
    ),
    "argmax of columns": Layer(
        lambda *args, **options: ts.nn.ArgMax(*args, dim=0, **options),
        lambda x, *args, **options: ts.functional.argmax(x, *args, dim=0, **options),
        lambda x: one_hot(x.argmax(0), x.shape[0]).mT,
    ),
    "topk": Layer(
        lambda *args, **options: ts.nn.TopK(2, *args, **options),
        lambda x, *args, **options: ts.functional.topk(x, 2, *args, **options),
        lambda x: one_hot(x.topk(2).indices, x.shape[-1]),
    ),
    "topk of columns, smallest": Layer(
        lambda *args, **options: ts.nn.TopK(2, *args, dim=0, largest=False, **options),
        lambda x, *args, **options: ts.functional.topk(
            x, 2, *args, dim=0, largest=False, **options
        ),
        lambda x: one_hot(x.mT.topk(2, largest=False).indices, x.shape[0]),
    ),
    "median": Layer(
        ts.nn.Median,
        ts.functional.median,
        lambda x: x.median(-1).values,
    ),
    "median of columns, kept": Layer(
        lambda *args, **options: ts.nn.Median(*args, dim=0, keepdim=True, **options),
        lambda x, *args, **options: ts.functional.median(x, *args, dim=0, keepdim=True, **options),
        lambda x: x.median(0, keepdim=True).values,
    ),
    "quantile": Layer(
        lambda *args, **options: ts.nn.Quantile(0.3, *args, **options),
        lambda x, *args, **options: ts.functional.quantile(x, 0.3, *args, **options),
        lambda x: x.quantile(0.3, -1),
    ),
    "quantiles of columns, kept": Layer(
        lambda *args, **options: ts.nn.Quantile(
            torch.tensor([0.25, 0.9]), *args, dim=0, keepdim=True, **options
        ),
        lambda x, *args, **options: ts.functional.quantile(
            x, torch.tensor([0.25, 0.9], device=x.device), *args, dim=0, keepdim=True, **options
        ),
        lambda x: x.quantile(torch.tensor([0.25, 0.9]).to(x), 0, keepdim=True),
    ),
    "any callable": Layer(
        lambda *args, **options: ts.nn.Smooth(lambda y: y.cumsum(-1).sign(), *args, **options),
        lambda x, *args, **options: rows(lambda y: y.cumsum(-1).sign(), x, *args, **options),
        lambda x: x.cumsum(-1).sign(),
    ),
    "any callable, event by event": Layer(
        lambda *args, **options: ts.nn.Smooth(
            lambda y: float(y.amax()), *args, event_dim=2, vectorized=False, chunk_size=5, **options
        ),
        lambda x, *args, **options: rows(
            lambda y: float(y.amax()),
            x,
            *args,
            event_dim=2,
            vectorized=False,
            chunk_size=5,
            **options,
        ),
        lambda x: x.amax(),
    ),
    "any callable, its median": Layer(
        lambda *args, **options: ts.nn.Smooth(
            lambda y: y.cumsum(-1).sign(), *args, statistic=ts.Median(5), **options
        ),
        lambda x, *args, **options: rows(
            lambda y: y.cumsum(-1).sign(), x, *args, statistic=ts.Median(5), **options
        ),
        lambda x: x.cumsum(-1).sign(),
    ),
}

OPTIONS: dict[str, Any] = dict(
    num_samples=64, sampler="rqmc_latin", antithetic=True, covariate="fx", seed=3
)


def example(device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(5, 4, dtype=dtype).to(device)


@pytest.fixture(params=LAYERS)
def layer(request: pytest.FixtureRequest) -> Layer:
    return LAYERS[request.param]


# --- what layers compute ---------------------------------------------------------------------


@pytest.mark.parametrize("options", [dict(num_samples=8, seed=1), OPTIONS], ids=["few", "all"])
def test_equals_the_function(layer: Layer, options: dict[str, Any], device: torch.device) -> None:
    """To the last bit, at the same seed, whether the module is trained or evaluated."""
    x = example(device).requires_grad_()
    module = layer.make(ts.Cauchy(0.5), **options).to(device)
    expected = layer.smooth(x, ts.Cauchy(0.5), **options)
    weight = torch.randn_like(expected)
    (in_x,) = torch.autograd.grad((weight * expected).sum(), x)
    for _ in range(2):
        value = module(x)
        assert torch.equal(value, expected)
        assert torch.equal(torch.autograd.grad((weight * value).sum(), x)[0], in_x)
        module.eval()


@pytest.mark.parametrize("learn_scale", [False, True])
def test_hard_in_evaluation(layer: Layer, learn_scale: bool, device: torch.device) -> None:
    """Exact, without a gradient, and without a number drawn from torch's generator."""
    x = example(device).requires_grad_()
    module = layer.make(
        ts.Logistic(2.0), num_samples=16, eval_mode="hard", learn_scale=learn_scale
    ).to(device)
    assert module(x).requires_grad
    before = torch.get_rng_state()
    for _ in range(2):
        value = module.eval()(x)
        torch.testing.assert_close(value, layer.hard(x.detach()), rtol=1e-6, atol=1e-6)
        assert not value.requires_grad
    assert torch.equal(torch.get_rng_state(), before)
    assert module.train()(x).requires_grad


@pytest.mark.parametrize(
    "make, function",
    [
        (ts.nn.ArgSort, ts.functional.argsort),
        (ts.nn.Sort, ts.functional.sort),
        (ts.nn.Rank, ts.functional.rank),
        (ts.nn.ArgMax, ts.functional.argmax),
        (partial(ts.nn.TopK, 2), ts.functional.topk),
        (ts.nn.Median, ts.functional.median),
        (partial(ts.nn.Quantile, 0.5), ts.functional.quantile),
        (partial(ts.nn.Smooth, torch.sign), ts.smooth),
    ],
)
def test_every_keyword_of_the_function(
    make: Callable[..., nn.Module], function: Callable[..., Any]
) -> None:
    """The layer takes it, and shows it."""
    parameters = inspect.signature(function).parameters.values()
    keywords = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    representation = repr(make(ts.Logistic(), **keywords))
    for name, value in keywords.items():
        assert f"{name}={value!r}" in representation


def test_without_a_seed_the_samples_differ(layer: Layer, device: torch.device) -> None:
    x = example(device)
    module = layer.make(ts.Logistic(2.0), num_samples=16).to(device)
    torch.manual_seed(5)
    first, second = module(x), module(x)
    torch.manual_seed(5)
    assert torch.equal(module(x), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_dtypes(layer: Layer, dtype: torch.dtype, device: torch.device) -> None:
    x = example(device, dtype)
    module = layer.make(ts.Logistic(0.5), num_samples=16, seed=0, eval_mode="hard")
    module = module.to(device, dtype)
    assert module.scale.dtype == dtype
    value = module(x)
    expected = layer.smooth(x, ts.Logistic(0.5), num_samples=16, seed=0)
    assert value.dtype == expected.dtype
    assert torch.equal(value, expected)  # 1/2 has no rounding
    rounding = 2 * torch.finfo(dtype).eps  # of values near 1, in what the interpolation is made of
    exact = layer.hard(x.double()).to(value.dtype)
    torch.testing.assert_close(module.eval()(x), exact, rtol=rounding, atol=rounding)


def test_a_seed_that_is_a_tensor_can_be_filled(device: torch.device) -> None:
    x = example(device)
    module = ts.nn.ArgSort(ts.Logistic(), num_samples=8, seed=torch.tensor(1)).to(device)
    assert module.seed.device.type == device.type
    assert list(module.state_dict()) == ["fixed_scale", "seed"]
    for seed in (1, 2):
        module.seed.fill_(seed)
        expected = ts.functional.argsort(x, ts.Logistic(), num_samples=8, seed=seed)
        assert torch.equal(module(x), expected)


# --- the scale -------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (4,), (4, 4)], ids=["one", "event", "batch x event"])
def test_gradient_of_a_learned_scale(
    layer: Layer, shape: tuple[int, ...], device: torch.device
) -> None:
    """By the chain rule, d/d(log scale) = scale d/d(scale)."""
    x = torch.randn(4, 4, dtype=torch.float64).to(device)
    scale = torch.rand(shape, dtype=torch.float64).to(device) + 0.5
    module = layer.make(ts.Gaussian(scale), learn_scale=True, **OPTIONS)
    torch.testing.assert_close(module.scale, scale, rtol=1e-14, atol=0)
    # At the layer's scale, which exp and log may have moved by a rounding error.
    leaf = module.scale.detach().requires_grad_()
    expected = layer.smooth(x, ts.Gaussian(leaf), **OPTIONS)
    value = module(x)
    assert torch.equal(value, expected)
    weight = torch.randn_like(value)
    (in_scale,) = torch.autograd.grad((weight * expected).sum(), leaf)
    (in_log_scale,) = torch.autograd.grad((weight * value).sum(), module.log_scale)
    assert in_scale.abs().min() > 0
    torch.testing.assert_close(in_log_scale, leaf.detach() * in_scale, rtol=1e-12, atol=1e-14)


def test_learned_scale_of_a_square(device: torch.device) -> None:
    """E |x + scale e|^2 = |x|^2 + n scale^2, whose derivative in log scale is 2 n scale^2."""
    x, n, scale = torch.tensor([0.3, -0.2, 0.5], device=device), 3, 0.7
    module = ts.nn.Smooth(
        lambda y: y.square().sum(-1),
        ts.Gaussian(torch.full((200, 1), scale)),
        num_samples=1024,
        sampler="mc",
        seed=0,
        learn_scale=True,
    ).to(device)
    value = module(x.expand(200, n))
    (gradient,) = torch.autograd.grad(value.sum(), module.log_scale)
    assert_mean(value, float(x.square().sum()) + n * scale**2, resolution=0.02)
    assert_mean(gradient.squeeze(1), 2 * n * scale**2, resolution=0.1)


def test_a_scale_is_learned(device: torch.device) -> None:
    """E (scale e)^2 = scale^2 for a Gaussian: descent finds the scale that makes it 1/4."""
    module = ts.nn.Smooth(
        lambda y: y.square(), ts.Gaussian(2.0), num_samples=4096, seed=0, learn_scale=True
    ).to(device)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    x = torch.zeros(1, device=device)
    for _ in range(100):
        optimizer.zero_grad()
        (module(x) - 0.25).square().backward()
        optimizer.step()
    torch.testing.assert_close(module.scale.cpu(), torch.tensor(0.5), rtol=0.02, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("gradient", [-3e4, 3e4])
def test_a_learned_scale_stays_positive(
    gradient: float, dtype: torch.dtype, device: torch.device
) -> None:
    """After steps in log scale of up to 30000, where exp is 0 or infinite in every type."""
    module = ts.nn.ArgSort(ts.Logistic(0.3), learn_scale=True).to(device, dtype)
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    module.log_scale.grad = torch.full_like(module.log_scale, gradient)
    optimizer.step()
    assert 0 < module.scale < math.inf
    assert 0 < 1 / module.scale < math.inf


def test_a_fixed_scale_is_not_learned() -> None:
    module = ts.nn.ArgSort(ts.Logistic(0.3))
    assert list(module.parameters()) == []
    assert list(module.state_dict()) == ["fixed_scale"]
    assert torch.equal(module.scale, torch.tensor(0.3))


def test_the_layer_owns_its_scale() -> None:
    scale = torch.tensor([0.5, 1.0])
    fixed, learned = (ts.nn.ArgSort(ts.Logistic(scale), learn_scale=b) for b in (False, True))
    scale.fill_(7.0)
    for module in (fixed, learned):
        torch.testing.assert_close(module.scale, torch.tensor([0.5, 1.0]))


def test_scale_matrix(device: torch.device) -> None:
    x = torch.randn(3, 2, device=device)
    matrix = torch.tensor([[0.5, 0.0], [0.2, 0.8]])
    module = ts.nn.ArgSort(ts.Gaussian(scale_matrix=matrix), num_samples=16, seed=0)
    assert list(module.state_dict()) == ["fixed_scale_matrix"]
    module = module.to(device)
    assert module.scale is None
    assert torch.equal(module.scale_matrix, matrix.to(device))
    law = ts.Gaussian(scale_matrix=matrix.to(device))
    expected = ts.functional.argsort(x, law, num_samples=16, seed=0)
    assert torch.equal(module(x), expected)
    assert ts.nn.ArgSort(ts.Gaussian()).scale_matrix is None


def test_law_of_torch(device: torch.device) -> None:
    x = example(device)
    law = ts.FromTorch(torch.distributions.Normal(0.0, 1.0), 0.4)
    module = ts.nn.ArgSort(law, num_samples=16, seed=0, learn_scale=True).to(device)
    module = copy.deepcopy(module)
    expected = ts.functional.argsort(x, ts.Gaussian(0.4), num_samples=16, seed=0)
    torch.testing.assert_close(module(x), expected)
    assert "Normal" in repr(module) and "scale=0.4" in repr(module)


@pytest.mark.parametrize("learn_scale", [False, True])
def test_assigning_the_scale(learn_scale: bool, device: torch.device) -> None:
    """In place: the tensor that optimizers and graphs know stays the same."""
    module = ts.nn.ArgSort(ts.Logistic(torch.ones(3)), learn_scale=learn_scale).to(device)
    (name, state), *_ = module.state_dict(keep_vars=True).items()
    for scale in (0.5, torch.tensor(0.25), torch.tensor([0.5, 1.0, 2.0], device=device)):
        module.scale = scale
        expected = torch.as_tensor(scale, device=device).expand(3)
        torch.testing.assert_close(module.scale, expected, check_dtype=False)
        assert module.state_dict(keep_vars=True)[name] is state
    assert module.scale.requires_grad == learn_scale


@pytest.mark.parametrize("learn_scale", [False, True])
def test_assigned_numbers_keep_double_precision(learn_scale: bool) -> None:
    module = ts.nn.ArgSort(ts.Logistic(), learn_scale=learn_scale).double()
    module.scale = 0.3
    assert abs(module.scale.item() - 0.3) < 1e-15


# --- modules ---------------------------------------------------------------------------------

KINDS = {
    "fixed": dict(distribution=ts.Gumbel(0.3)),
    "per dimension": dict(distribution=ts.Gumbel(torch.tensor([0.3, 0.5, 0.7, 0.9]))),
    "learned": dict(distribution=ts.Gumbel(0.3), learn_scale=True),
    "matrix": dict(distribution=ts.Gumbel(scale_matrix=torch.eye(4) + 0.1)),
    "seed": dict(distribution=ts.Gumbel(0.3), seed=torch.tensor(7)),
    "torch": dict(distribution=ts.FromTorch(torch.distributions.Normal(0.0, 1.0), 0.3)),
}


@pytest.fixture(params=KINDS)
def module(request: pytest.FixtureRequest, device: torch.device) -> nn.Module:
    options = {"num_samples": 16, "seed": 0, **copy.deepcopy(KINDS[request.param])}
    return nn.Sequential(nn.Linear(4, 4), ts.nn.ArgSort(**options)).to(device)


def test_state_dict_round_trip(module: nn.Module, device: torch.device) -> None:
    x = example(device)
    other = copy.deepcopy(module)
    with torch.no_grad():
        for tensor in other.state_dict().values():
            tensor.add_(tensor * tensor)
    assert not torch.equal(other(x), module(x))
    other.load_state_dict(module.state_dict(), strict=True)
    assert torch.equal(other(x), module(x))


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"]
)
def test_copies(
    copied: Callable[[nn.Module], nn.Module], module: nn.Module, device: torch.device
) -> None:
    """They compute the same, and share nothing."""
    x = example(device)
    expected = module(x)
    other = copied(module)
    assert repr(other) == repr(module)
    assert torch.equal(other(x), expected)
    with torch.no_grad():
        for tensor in other.state_dict().values():
            tensor.add_(tensor * tensor)
    assert not torch.equal(other(x), expected)
    assert torch.equal(module(x), expected)


def test_state_dict_of_a_learned_scale_is_not_that_of_a_fixed_one() -> None:
    fixed, learned = (ts.nn.ArgSort(ts.Logistic(), learn_scale=b) for b in (False, True))
    with pytest.raises(RuntimeError, match="log_scale"):
        fixed.load_state_dict(learned.state_dict())


def test_functional_call_replaces_the_scale(device: torch.device) -> None:
    x = example(device)
    module = ts.nn.ArgSort(ts.Logistic(), num_samples=16, seed=0).to(device)
    state = {"fixed_scale": torch.tensor(0.1, device=device)}
    value = torch.func.functional_call(module, state, x)
    expected = ts.functional.argsort(x, ts.Logistic(0.1), num_samples=16, seed=0)
    assert torch.equal(value, expected)


def test_representation() -> None:
    module = ts.nn.ArgSort(
        ts.Logistic(0.3), num_samples=64, sampler="mc", learn_scale=True, eval_mode="hard", dim=1
    )
    for part in (
        "ArgSort(",
        "Logistic(scale=0.3)",
        "num_samples=64",
        "sampler='mc'",
        "antithetic=False",
        "covariate='loo'",
        "seed=None",
        "learn_scale=True",
        "eval_mode='hard'",
        "dim=1",
        "descending=False",
    ):
        assert part in repr(module)
    assert "seed=tensor(1)" in repr(ts.nn.ArgSort(ts.Logistic(), seed=torch.tensor(1)))
    tensor = ts.nn.ArgSort(ts.Logistic(torch.ones(3)))
    assert "Logistic(scale=<torch.float32 tensor of shape (3,)>)" in repr(tensor)
    assert "k=2" in repr(ts.nn.TopK(2, ts.Logistic()))
    assert "q=0.3" in repr(ts.nn.Quantile(0.3, ts.Logistic()))


@pytest.mark.parametrize("layer", ["Quantile", "SoftQuantile"])
def test_quantile_fractions_move_with_the_layer(layer: str, device: torch.device) -> None:
    """But are not rounded to its type, and not saved."""
    module = getattr(ts.nn, layer)(torch.tensor([0.25, 0.9]), ts.Logistic())
    assert [name for name, _ in module.named_buffers()] == ["fixed_scale", "q"]
    assert list(module.state_dict()) == ["fixed_scale"]
    module.to(device, torch.bfloat16)
    assert module.scale.dtype == torch.bfloat16
    assert module.q.device.type == device.type
    assert torch.equal(module.q.cpu(), torch.tensor([0.25, 0.9]))


# --- any callable ----------------------------------------------------------------------------


class Weighted(nn.Module):
    """w * step(y), which is linear in w."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([2.0, -1.0, 0.5]))

    def forward(self, y: Tensor, offset: Tensor | float = 0.0) -> Tensor:
        return self.weight * (y > offset)


def test_parameters_of_a_module(device: torch.device) -> None:
    """E[w step(x + e)] = w F(x): its derivative in w is F(x), that in x is w times the density."""
    law = torch.distributions.Normal(0.0, 0.5)
    module = ts.nn.Smooth(Weighted(), ts.Gaussian(0.5), num_samples=2**14, seed=0).to(device)
    assert sorted(module.state_dict()) == ["f.weight", "fixed_scale"]
    x = torch.tensor([0.3, -0.2, 0.0], requires_grad=True, device=device)
    value = module(x)
    in_x, in_weight = torch.autograd.grad(value.sum(), (x, module.f.weight))
    p, weight = law.cdf(x.detach().cpu()), module.f.weight.detach().cpu()
    torch.testing.assert_close(in_weight.cpu(), p, rtol=0, atol=2e-3)
    torch.testing.assert_close(value.detach().cpu(), weight * p, rtol=0, atol=4e-3)
    density = law.log_prob(x.detach().cpu()).exp()
    torch.testing.assert_close(in_x.cpu(), weight * density, rtol=0, atol=4e-2)


def test_hard_module_with_arguments(device: torch.device) -> None:
    """The exact f, with the gradient of its parameters and arguments but none in x."""
    module = ts.nn.Smooth(Weighted(), eval_mode="hard", num_samples=4).to(device).eval()
    x = torch.randn(2, 5, 3, device=device, requires_grad=True)
    offset = torch.randn(2, 5, 3, device=device)
    value = module(x, offset)
    assert torch.equal(value, module.f.weight * (x > offset))
    in_x, in_weight = torch.autograd.grad(
        value.sum(), (x, module.f.weight), allow_unused=True, materialize_grads=False
    )
    assert in_x is None
    torch.testing.assert_close(in_weight, (x > offset).float().sum((0, 1)))


def test_training_mode_reaches_f() -> None:
    module = ts.nn.Smooth(nn.Dropout(0.5), num_samples=4)
    assert not module.eval().f.training
    assert module.train().f.training


def test_hard_outputs_of_every_kind(device: torch.device) -> None:
    """Structures, NumPy arrays, numbers and integers come in the types of the smoothed function."""

    def f(y: Tensor) -> dict[str, Any]:
        return {"places": y.argsort(-1), "numpy": np.sign(y.cpu().numpy()), "pair": (y[:, 0], y)}

    smoothed = ts.nn.Smooth(f, num_samples=8, eval_mode="hard", chunk_size=3)
    x = example(device).requires_grad_()
    soft, exact = smoothed(x), smoothed.eval()(x)
    assert torch.equal(exact["places"], x.argsort(-1).float())
    assert torch.equal(exact["numpy"], x.detach().sign())
    assert torch.equal(exact["pair"][0], x[:, 0]) and torch.equal(exact["pair"][1], x)
    for name in ("places", "numpy"):
        assert exact[name].dtype == soft[name].dtype and exact[name].shape == soft[name].shape


def test_hard_calls_f_once_per_example(device: torch.device) -> None:
    seen = []

    def f(y: Tensor) -> Tensor:
        seen.append(y.clone())
        return y.sign()

    x = example(device)
    ts.nn.Smooth(f, num_samples=8, eval_mode="hard").eval()(x)
    assert torch.equal(torch.cat(seen), x)


def test_covariance(device: torch.device) -> None:
    """There is none without noise."""
    x = example(device)
    options = {"num_samples": 8, "seed": 0, "statistic": ts.Covariance()}
    module = ts.nn.Smooth(torch.sign, ts.Gaussian(), eval_mode="hard", **options).to(device)
    assert torch.equal(module(x), ts.smooth(torch.sign, ts.Gaussian(), **options)(x))
    with pytest.raises(ValueError, match="eval_mode must be 'smooth' with statistic=Covariance()"):
        module.eval()(x)


def test_what_belongs_to_the_process_is_not_copied(device: torch.device) -> None:
    x = example(device)
    with ThreadPoolExecutor(1) as executor:
        module = ts.nn.Smooth(torch.sign, num_samples=8, seed=0, executor=executor).to(device)
        assert list(module.state_dict()) == ["fixed_scale"]
        expected = module(x)
        assert repr(executor) in repr(module)
        copies = [copy.deepcopy(module), pickle.loads(pickle.dumps(module))]
    for other in copies:
        assert other.executor is None
        assert torch.equal(other(x), expected)


@pytest.mark.parametrize("event_dim", [0, 1, 2])
def test_event_dim(event_dim: int, device: torch.device) -> None:
    module = ts.nn.Smooth(torch.sign, num_samples=8, event_dim=event_dim, eval_mode="hard")
    x = example(device)
    assert module(x).shape == x.shape
    assert torch.equal(module.eval()(x), x.sign())


def test_gumbel_argmax_is_softmax(device: torch.device) -> None:
    """Also with another scale; each share within 6 standard deviations (2e-9 per entry)."""
    s, x = 2**14, torch.randn(4, 6)
    module = ts.nn.ArgMax(ts.Gumbel(), num_samples=s, sampler="mc", seed=0).to(device)
    for scale in (1.0, 0.5):
        module.scale = scale
        p = torch.softmax(x / scale, -1)
        assert ((module(x.to(device)).cpu() - p).abs() <= 6 * (p * (1 - p) / s).sqrt() + 1e-6).all()
