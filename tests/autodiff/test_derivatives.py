"""Forward mode, torch.vmap and second derivatives of what is sampled, on both roads."""

import functools
import importlib
import math
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
import torch.autograd.forward_ad as forward_ad
from facts import assert_mean, replicate
from laws import SCIPY
from torch import Tensor
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap

import torchsmooth as ts
from torchsmooth._autodiff import derivatives
from torchsmooth.distributions import LAWS


# torch's own, where forward mode is used first.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")

DOUBLE = torch.float64
# A smoothed function of rows [..., n], of a law and of keywords.
Road = Callable[..., Tensor]


def argsort(x: Tensor, law: Any, **options: Any) -> Tensor:
    return ts.functional.argsort(x, law, **options)


def path(x: Tensor, law: Any, **options: Any) -> Tensor:
    """Through grids of 2 rows."""
    n = x.shape[-1]
    grid = (1.5 + 0.3 * x).reshape(*x.shape[:-1], 2, n // 2)
    if isinstance(law.scale, Tensor):
        law = law.with_scale(law.scale.reshape(*law.scale.shape[:-1], 2, n // 2))
    return ts.functional.shortest_path(grid, law, **options)


def render(x: Tensor, law: Any, **options: Any) -> Tensor:
    """From poses of which x moves the numbers a little."""
    vertices = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [0, 1, 0.5]], dtype=x.dtype)
    pose = torch.tensor([4.0, 10, 20, 25], dtype=x.dtype) + 0.1 * x
    faces = torch.tensor([[0, 1, 2]])
    return ts.functional.render(pose, vertices, faces, law, image_size=8, **options)


def render_again(x: Tensor, law: Any, **options: Any) -> Tensor:
    """Images that are taken for too large to accumulate their Jacobians."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("torchsmooth._kernels.render"), "ONE_PASS", 0)
        return render(x, law, **options)


def steps(y: Tensor) -> Tensor:
    return torch.stack([y.cumsum(-1).sign(), (y * y.roll(1, -1) > 0.2).to(y.dtype)], -1)


def smooth(x: Tensor, law: Any, **options: Any) -> Tensor:
    smoothed: Tensor = ts.smooth(steps, law, **options)(x)
    return smoothed


def smooth_steps(x: Tensor, law: Any, **options: Any) -> Tensor:
    smoothed: Tensor = ts.smooth(torch.sign, law, **options)(x)
    return smoothed


# With the size of the event. The names say how derivatives come about.
ROADS: dict[str, tuple[Road, int]] = {
    "one pass": (argsort, 3),
    "two passes": (argsort, 12),
    "values": (ts.functional.sort, 4),
    "ranks": (ts.functional.rank, 40),
    "path": (path, 6),
    "images, one pass": (render, 4),
    "images, two passes": (render_again, 4),
    "sums": (smooth, 3),
    "outputs": (smooth, 24),
}
ALL = pytest.mark.parametrize("road, n", ROADS.values(), ids=ROADS.keys())
# Of a kind each: for what is the same on all roads.
SOME = pytest.mark.parametrize(
    "road, n", [(argsort, 3), (argsort, 12), (path, 6), (smooth, 3), (smooth, 24)]
)


def of_x(road: Road, law: Any, num_samples: int) -> Callable[[Tensor], Tensor]:
    return lambda x: road(x, law, num_samples=num_samples, seed=0)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def scales(*shape: int) -> Tensor:
    return 0.5 + numbers(*shape, seed=9).abs()


# --- forward mode ----------------------------------------------------------------------------


def assert_transposed(f: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> None:
    """<v, J t> is <J^T v, t>, by torch.func.jvp and by dual numbers, and the value is the same."""
    tangents = tuple(numbers(*t.shape, seed=i + 1) for i, t in enumerate(inputs))
    leaves = tuple(t.clone().requires_grad_() for t in inputs)
    value = f(*leaves)
    upstream = numbers(*value.shape, seed=5)
    gradients = torch.autograd.grad(value, leaves, upstream)
    backward = sum((g * t).sum() for g, t in zip(gradients, tangents, strict=True))

    again, tangent = jvp(f, inputs, tangents)
    torch.testing.assert_close(again, value.detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close((upstream * tangent).sum(), backward, rtol=1e-9, atol=1e-10)
    with forward_ad.dual_level():
        duals = map(forward_ad.make_dual, inputs, tangents)
        dual_tangent = forward_ad.unpack_dual(f(*duals)).tangent
    torch.testing.assert_close(dual_tangent, tangent, rtol=1e-12, atol=1e-12)


@ALL
@pytest.mark.parametrize("covariate", ["none", "fx", "loo"])
@pytest.mark.parametrize("sampler, antithetic", [("sobol", False), ("mc", False), ("mc", True)])
def test_forward_mode_is_the_transpose_of_reverse_mode(
    road: Road, n: int, covariate: str, sampler: str, antithetic: bool
) -> None:
    """In x and in the scale, with every baseline, factor and weight of pairs."""
    options = dict(num_samples=16, seed=3, covariate=covariate, sampler=sampler)

    def f(x: Tensor, scale: Tensor) -> Tensor:
        return road(x, ts.Logistic(scale), antithetic=antithetic, **options)

    assert_transposed(f, (numbers(2, n), scales(2, n)))


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())
@SOME
def test_forward_mode_under_all_laws(road: Road, n: int, law: Any) -> None:
    assert_transposed(
        lambda x, scale: road(x, law(scale), num_samples=32, seed=1), (numbers(2, n), scales(n))
    )


@pytest.mark.parametrize("statistic", ["mean", ts.Median(3), ts.Covariance()], ids=str)
@pytest.mark.parametrize("num_samples", [4, 64])
@pytest.mark.parametrize("batch", [(), (2,)])
def test_forward_mode_in_a_scale_matrix(
    num_samples: int, batch: tuple[int, ...], statistic: Any
) -> None:
    def f(x: Tensor, matrix: Tensor) -> Tensor:
        law = ts.Gumbel(scale_matrix=matrix)
        smoothed = ts.smooth(
            lambda y: steps(y) * y.exp().unsqueeze(-1),
            law,
            num_samples=num_samples,
            statistic=statistic,
            seed=0,
        )
        return smoothed(x)

    matrix = torch.eye(3, dtype=DOUBLE) + 0.3 * numbers(*batch, 3, 3)
    assert_transposed(f, (numbers(2, 3), matrix))


@ALL
def test_no_tangent_is_silently_zero(road: Road, n: int) -> None:
    """Directions in x alone and in the scale alone add up to the one in both."""

    def f(x: Tensor, scale: Tensor) -> Tensor:
        return road(x, ts.Gaussian(scale), num_samples=16, seed=0)

    x, scale, in_x, in_scale = numbers(n), scales(n), numbers(n, seed=1), numbers(n, seed=2)
    _, both = jvp(f, (x, scale), (in_x, in_scale))
    _, first = jvp(lambda t: f(t, scale), (x,), (in_x,))
    _, second = jvp(lambda t: f(x, t), (scale,), (in_scale,))
    assert first.abs().max() > 1e-3 and second.abs().max() > 1e-3
    torch.testing.assert_close(first + second, both, rtol=1e-9, atol=1e-12)


REPLICATES = 4000


def test_tangents_of_gumbel_argmax_are_those_of_softmax() -> None:
    """Within 5 sigmas, of 8 numbers: a false alarm once in 200 000 seeds."""
    x, scale, in_x = numbers(4), torch.tensor(0.7, dtype=DOUBLE), numbers(4, seed=1)
    in_scale = torch.tensor(-0.4, dtype=DOUBLE)
    _, expected = jvp(lambda x, scale: (x / scale).softmax(-1), (x, scale), (in_x, in_scale))

    def f(x: Tensor, scale: Tensor) -> Tensor:
        law = ts.Gumbel(scale.reshape(1))
        return ts.functional.argmax(x, law, num_samples=64, sampler="mc", seed=2)

    rows = replicate(x, REPLICATES).detach()
    _, tangent = jvp(f, (rows, scale), (in_x.expand_as(rows), in_scale))
    assert_mean(tangent, expected, resolution=0.02)


def test_tangents_of_polynomials() -> None:
    """E (x + gamma eps)^3 = x^3 + 3 x gamma^2 under a Gaussian, with each baseline."""
    x, gamma = torch.tensor([0.6], dtype=DOUBLE), torch.tensor(0.8, dtype=DOUBLE)
    expected = 3 * (x**2 + gamma**2) * 0.5 + 6 * x * gamma * 2.0

    for covariate in ("none", "fx", "loo"):

        def f(rows: Tensor, gamma: Tensor, covariate: str = covariate) -> Tensor:
            return ts.smooth(
                lambda y: y**3,
                ts.Gaussian(gamma),
                num_samples=64,
                sampler="mc",
                covariate=covariate,
                seed=1,
            )(rows)

        rows = replicate(x, REPLICATES).detach()
        _, tangent = jvp(
            f, (rows, gamma), (torch.full_like(rows, 0.5), torch.tensor(2.0, dtype=DOUBLE))
        )
        assert_mean(tangent, expected, resolution=0.6)


@pytest.mark.parametrize("name", ["gaussian", "cauchy", "logistic", "laplace"])
def test_tangents_of_argsort_of_two(name: str) -> None:
    """P(x_1 + eps_1 > x_2 + eps_2) has the density of the difference law for its derivative."""
    law = SCIPY[name]
    gap = 0.7
    density, _ = scipy.integrate.quad(lambda t: law.pdf(t) * law.pdf(t - gap), -60, 60, limit=500)
    rows = replicate(torch.tensor([0.0, gap], dtype=DOUBLE), REPLICATES).detach()
    direction = torch.tensor([0.5, -1.0], dtype=DOUBLE)

    def f(x: Tensor) -> Tensor:
        return ts.functional.argsort(x, LAWS[name](), num_samples=64, sampler="mc", seed=1)

    _, tangent = jvp(f, (rows,), (direction.expand_as(rows),))
    # The gap shrinks by 1.5: element 0 is less probably the smaller one.
    change = -1.5 * density
    assert_mean(tangent, [[change, -change], [-change, change]], resolution=0.02)


@pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node")  # torch's own
@SOME
def test_linearize(road: Road, n: int) -> None:
    f = of_x(road, ts.Gaussian(scales(n)), num_samples=16)
    x, direction = numbers(2, n), numbers(2, n, seed=1)
    value, linear = torch.func.linearize(f, x)
    torch.testing.assert_close(value, f(x), rtol=0, atol=0)
    expected = jvp(f, (x,), (direction,))[1]
    torch.testing.assert_close(linear(direction), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@SOME
def test_tangents_have_the_type_of_x(road: Road, n: int, dtype: torch.dtype) -> None:
    x, direction = numbers(n).to(dtype), numbers(n, seed=1).to(dtype)
    f = of_x(road, ts.Gaussian(), num_samples=16)
    value, tangent = jvp(f, (x,), (direction,))
    assert value.dtype == tangent.dtype == dtype
    exact = jvp(f, (x.double(),), (direction.double(),))[1]
    tolerance = 0.05 if dtype == torch.bfloat16 else 1e-4
    torch.testing.assert_close(tangent.double(), exact, rtol=tolerance, atol=tolerance)


@SOME
def test_autocast_does_not_reach_the_derivatives(road: Road, n: int) -> None:
    f = of_x(road, ts.Gaussian(), num_samples=16)

    def curvature(x: Tensor, direction: Tensor) -> Tensor:
        return jvp(grad(lambda x: f(x).square().sum()), (x,), (direction,))[1]

    x, direction = numbers(n).float(), numbers(n, seed=1).float()
    expected = jvp(f, (x,), (direction,))[1], curvature(x, direction)
    with torch.autocast("cpu", torch.bfloat16):
        actual = jvp(f, (x,), (direction,))[1], curvature(x, direction)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have no notes")
def test_numpy_under_torch_func_says_what_to_do() -> None:
    g = ts.smooth(lambda y: np.sign(y.numpy()), ts.Gaussian(), num_samples=16, seed=0)
    x = numbers(3)
    with pytest.raises(RuntimeError) as caught:
        jvp(g, (x,), (x,))
    assert "torch.autograd and its forward_ad take any f" in caught.value.__notes__[-1]
    with forward_ad.dual_level():
        value = g(forward_ad.make_dual(x, torch.ones_like(x)))
        assert forward_ad.unpack_dual(value).tangent.abs().max() > 0.1


def test_tangents_of_arguments_and_parameters() -> None:
    """They come by f's own derivatives, and add to those of x."""

    def f(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        g = ts.smooth(
            lambda y, a: steps(y) * a.unsqueeze(-1).sin() * b, ts.Gaussian(), num_samples=8, seed=0
        )
        return g(x, a)

    assert_transposed(f, (numbers(2, 3), numbers(2, 3, seed=7), torch.tensor(0.3, dtype=DOUBLE)))


def test_tangents_of_bad_numbers_stay_in_their_batch_element() -> None:
    for road, n in ROADS.values():
        if road in (path, render, render_again):  # whose outputs have other rules for infinities
            continue
        x = numbers(3, n)
        f = of_x(road, ts.Logistic(), num_samples=8)
        clean = jvp(f, (x,), (torch.ones_like(x),))[1]
        x[1, 0] = math.nan
        tangent = jvp(f, (x,), (torch.ones_like(x),))[1]
        assert tangent[1].isnan().all()
        torch.testing.assert_close(tangent[[0, 2]], clean[[0, 2]], rtol=0, atol=0)


@SOME
def test_chunks_change_nothing(road: Road, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of samples that are drawn again, whose elements a chunk may cut."""
    x, direction = numbers(3, n), numbers(3, n, seed=1)
    f = of_x(road, ts.Gaussian(), num_samples=16)
    expected = jvp(f, (x,), (direction,))[1]
    monkeypatch.setattr(derivatives, "CHUNK_ELEMENTS", 1000)
    torch.testing.assert_close(jvp(f, (x,), (direction,))[1], expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (1,), (2, 1)])
@pytest.mark.parametrize("num_samples", [2, 64])
def test_empty_and_trivial(shape: tuple[int, ...], num_samples: int) -> None:
    """What has one outcome, or none, has derivatives 0."""
    for road in (argsort, ts.functional.rank, smooth_steps):
        x = numbers(*shape)

        def loss(x: Tensor, road: Road = road) -> Tensor:
            return road(x, ts.Gaussian(), num_samples=num_samples, seed=0).square().sum()

        value, tangent = jvp(of_x(road, ts.Gaussian(), num_samples), (x,), (torch.ones_like(x),))
        assert tangent.shape == value.shape
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(leaf), leaf, create_graph=True)
        (curvature,) = torch.autograd.grad(gradient.sum(), leaf)
        assert curvature.shape == shape
        if road is not smooth_steps:
            torch.testing.assert_close(tangent, torch.zeros_like(value), rtol=0, atol=1e-9)
            torch.testing.assert_close(curvature, torch.zeros_like(x), rtol=0, atol=1e-9)
        if len(shape) > 1 and shape[0] > 0:
            assert torch.equal(vmap(loss)(x).sum(), loss(x))


@SOME
def test_forward_mode_of_forward_mode_raises(road: Road, n: int) -> None:
    """torch drops the outer tangents in autograd functions, without a word."""

    def f(x: Tensor) -> Tensor:
        return road(x, ts.Gaussian(), num_samples=8, seed=0).sum()

    with pytest.raises(NotImplementedError, match="forward mode of forward mode"):
        jacfwd(jacfwd(f))(numbers(n))


@ALL
def test_reverse_over_forward_is_reverse_over_reverse(road: Road, n: int) -> None:
    """Also where the outputs enter linearly, so that what comes back to their values is zero."""
    x, direction = numbers(n), numbers(n, seed=1)
    weight = numbers(*road(x, ts.Gaussian(), num_samples=2, seed=0).shape, seed=2)

    def loss(x: Tensor) -> Tensor:
        return (weight * road(x, ts.Gaussian(), num_samples=16, seed=0)).sum()

    actual = grad(lambda x: jvp(loss, (x,), (direction,))[1])(x)
    expected = grad(lambda x: grad(loss)(x) @ direction)(x)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)
    assert expected.abs().max() > 0


# --- torch.vmap ------------------------------------------------------------------------------


@ALL
@pytest.mark.parametrize("batch", [(), (3,)])
def test_vmap_is_a_batch(road: Road, n: int, batch: tuple[int, ...]) -> None:
    """Bit for bit, wherever the mapped dimension stands."""
    x = numbers(4, *batch, n)
    f = of_x(road, ts.Logistic(0.5), num_samples=16)
    assert torch.equal(vmap(f)(x), f(x))
    assert torch.equal(vmap(f, in_dims=-1)(x.movedim(0, -1)), f(x))
    assert torch.equal(vmap(f, out_dims=1)(x).movedim(1, 0), f(x))
    if batch:
        assert torch.equal(vmap(vmap(f))(x), f(x))


@SOME
def test_gradients_of_each_example(road: Road, n: int) -> None:
    x, scale = numbers(4, n), scales(4, n)
    weight = numbers(*road(x[0], ts.Gumbel(), num_samples=2, seed=0).shape, seed=1)

    def loss(x: Tensor, scale: Tensor) -> Tensor:
        return (weight * road(x, ts.Gumbel(scale), num_samples=16, seed=0)).square().sum()

    leaves = x.clone().requires_grad_(), scale.clone().requires_grad_()
    expected = torch.autograd.grad(loss(*leaves), leaves)
    actual = vmap(grad(loss, (0, 1)))(x, scale)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)
    # Around vmap, too.
    outside = grad(lambda x, scale: vmap(loss)(x, scale).sum(), (0, 1))(x, scale)
    torch.testing.assert_close(outside, expected, rtol=1e-9, atol=1e-12)
    plain = torch.autograd.grad(vmap(loss)(*leaves).sum(), leaves)
    torch.testing.assert_close(plain, expected, rtol=1e-9, atol=1e-12)


@ALL
def test_batches_of_gradients(road: Road, n: int) -> None:
    """Of `is_grads_batched=True`, and of Jacobians that take it: each is what it is alone."""
    x, scale = numbers(2, n).requires_grad_(), scales(2, n).requires_grad_()
    value = road(x, ts.Gumbel(scale), num_samples=16, seed=0)
    upstream = numbers(3, *value.shape, seed=1)
    for inputs in ((x, scale), (x,)):
        actual = torch.autograd.grad(
            value, inputs, upstream, is_grads_batched=True, retain_graph=True
        )
        alone = [torch.autograd.grad(value, inputs, g, retain_graph=True) for g in upstream]
        expected = tuple(torch.stack(column) for column in zip(*alone, strict=True))
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-13)
    f = of_x(road, ts.Gumbel(0.5), num_samples=16)
    jacobian = torch.autograd.functional.jacobian
    torch.testing.assert_close(
        jacobian(f, x[0].detach(), vectorize=True),
        jacobian(f, x[0].detach()),
        rtol=1e-12,
        atol=1e-13,
    )


def test_what_is_mapped_counts_where_jacobians_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """8 numbers for each pixel of an image of 8 x 8: room for those of two poses, not of three."""
    module = importlib.import_module("torchsmooth._kernels.render")
    monkeypatch.setattr(module, "ONE_PASS", 2 * 8 * 8**2)
    kept: list[str] = []
    mean = module.RenderOp.mean

    def spy(options: Any, jacobian: str, *tensors: Tensor) -> Any:
        kept.append(jacobian)
        return mean(options, jacobian, *tensors)

    monkeypatch.setattr(module.RenderOp, "mean", spy)
    weight = numbers(8, 8, seed=1)

    def loss(x: Tensor, scale: Tensor) -> Tensor:
        return (weight * render(x, ts.Gumbel(scale), num_samples=16, seed=0)).square().sum()

    for poses, jacobian in ((2, "x_and_scale"), (3, "none")):
        leaves = numbers(poses, 4).requires_grad_(), scales(poses, 4).requires_grad_()
        expected = torch.autograd.grad(loss(*leaves), leaves)
        actual = vmap(grad(loss, (0, 1)))(*(t.detach() for t in leaves))
        assert kept == [jacobian, jacobian]
        kept.clear()
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)


@SOME
def test_vmap_over_scales(road: Road, n: int) -> None:
    """x is repeated, each time with noise of its own."""
    x, scale = numbers(n), scales(4, n)

    def f(scale: Tensor) -> Tensor:
        return road(x, ts.Logistic(scale), num_samples=16, seed=0)

    expected = road(x.expand(4, n), ts.Logistic(scale), num_samples=16, seed=0)
    assert torch.equal(vmap(f)(scale), expected)


@ALL
def test_jacobians(road: Road, n: int) -> None:
    """By both modes, of one example and of each of several."""
    f = of_x(road, ts.Gaussian(), num_samples=8)
    x = numbers(2, n)
    torch.testing.assert_close(jacfwd(f)(x[0]), jacrev(f)(x[0]), rtol=1e-9, atol=1e-11)
    each = vmap(jacrev(f))(x)
    torch.testing.assert_close(vmap(jacfwd(f))(x), each, rtol=1e-9, atol=1e-11)
    tangents = numbers(2, n, seed=1)
    _, pushed = vmap(lambda x, t: jvp(f, (x,), (t,)))(x, tangents)
    torch.testing.assert_close(pushed, jvp(f, (x,), (tangents,))[1], rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(pushed, torch.einsum("b...n,bn->b...", each, tangents))


@SOME
def test_vmap_over_seeds(road: Road, n: int) -> None:
    x, seeds = numbers(n), torch.arange(3)

    def f(seed: Tensor) -> Tensor:
        return road(x, ts.Gaussian(), num_samples=8, seed=seed)

    assert torch.equal(vmap(f)(seeds), torch.stack([f(seed) for seed in seeds]))


@SOME
def test_randomness(road: Road, n: int) -> None:
    """Without a seed the noise is what torch's own random functions would be under vmap."""
    x = numbers(n).expand(3, n)

    def f(x: Tensor) -> Tensor:
        return road(x, ts.Gaussian(), num_samples=16, sampler="mc", seed=None)

    def slope(x: Tensor) -> Tensor:
        return grad(lambda x: f(x).square().sum())(x)

    with pytest.raises(RuntimeError, match="randomness"):
        vmap(f)(x)
    for function in (f, slope):
        same = vmap(function, randomness="same")(x)
        assert torch.equal(same[0], same[1]) and torch.equal(same[0], same[2])
        different = vmap(function, randomness="different")(x)
        assert not torch.equal(different[0], different[1])
        torch.manual_seed(3)
        first = vmap(function, randomness="different")(x)
        torch.manual_seed(3)
        assert torch.equal(vmap(function, randomness="different")(x), first)


@pytest.mark.parametrize("num_samples", [2, 64])
def test_f_sees_one_batch(num_samples: int) -> None:
    """Of ordinary tensors, once per sample: under vmap, f may be NumPy."""
    seen: list[tuple[int, ...]] = []

    def f(y: Tensor, shift: Tensor) -> np.ndarray:
        seen.append(tuple(y.shape))
        return np.sign(y.numpy() + shift.numpy()).cumsum(-1)

    g = ts.smooth(f, ts.Gaussian(), num_samples=num_samples, seed=0, check=False)
    x, shift = numbers(4, 3), numbers(4, 3, seed=1)
    assert torch.equal(vmap(g)(x, shift), g(x, shift))
    assert seen == 2 * [(4 * num_samples, 3)]
    x.requires_grad_()
    (expected,) = torch.autograd.grad(g(x, shift).square().sum(), x)
    seen.clear()
    actual = vmap(grad(lambda x, shift: g(x, shift).square().sum()))(x.detach(), shift)
    assert seen == [(4 * num_samples, 3)]
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)
    mapped = vmap(g, in_dims=(None, 0))(x[0].detach(), shift)
    assert torch.equal(mapped, g(x[:1].detach().expand(4, 3), shift))


def test_f_is_differentiable_under_vmap() -> None:
    """In parameters, and in arguments by a gradient around vmap."""
    weight = torch.tensor(0.5, dtype=DOUBLE, requires_grad=True)
    g = ts.smooth(lambda y, a: (y > 0).to(y) * a * weight, ts.Gaussian(), num_samples=8, seed=0)
    x, a = numbers(4, 3), numbers(4, 3, seed=1).requires_grad_()
    expected = torch.autograd.grad(g(x, a).square().sum(), (weight, a))
    actual = torch.autograd.grad(vmap(g)(x, a).square().sum(), (weight, a))
    torch.testing.assert_close(actual, expected)


def test_what_vmap_cannot_reach_raises() -> None:
    """No derivative of f is dropped without a word."""

    def g(x: Tensor, a: Tensor) -> Tensor:
        return ts.smooth(lambda y: (y * a).sum(-1), ts.Gaussian(), num_samples=8, seed=0)(x)

    def h(x: Tensor, a: Tensor) -> Tensor:
        return ts.smooth(lambda y, a: (y * a).sum(-1), ts.Gaussian(), num_samples=8, seed=0)(x, a)

    x, a = numbers(4, 3), numbers(4, 3, seed=1)
    for f, in_dims in (
        (g, 0),
        (grad(g, 0), 0),
        (grad(g, 1), (0, None)),
        (grad(h, 1), 0),
    ):
        with pytest.raises(NotImplementedError, match="dimension to the smoothed function as a"):
            vmap(f, in_dims=in_dims)(x, a if in_dims == 0 else a[0])


def test_workers_know_no_transforms() -> None:
    """Threads evaluate f for derivatives in x; those of f itself would be lost there."""

    def f(y: Tensor, a: Tensor) -> Tensor:
        return (y.sign() * a).sum(-1)

    x, a = numbers(4, 3), numbers(4, 3, seed=1)
    options = dict(num_samples=16, seed=0)
    here = ts.smooth(f, ts.Gaussian(), **options)
    with ThreadPoolExecutor(2) as executor:
        there = ts.smooth(f, ts.Gaussian(), executor=executor, **options)
        assert torch.equal(vmap(there)(x, a), here(x, a))
        results = [
            (
                grad(g)(x[0], a[0]),
                jvp(lambda x, g=g: g(x, a), (x,), (x,))[1],
                hessian(g)(x[0], a[0]),
            )
            for g in (here, there)
        ]
        torch.testing.assert_close(*results)
        with pytest.raises(NotImplementedError, match="does not reach through executor"):
            grad(there, 1)(x[0], a[0])
        with pytest.raises(NotImplementedError, match="does not reach through executor"):
            jvp(lambda a: there(x, a), (a,), (a,))

        def closure(a: Tensor) -> Tensor:
            return ts.smooth(lambda y: f(y, a), ts.Gaussian(), executor=executor, **options)(x[0])

        with pytest.raises(NotImplementedError, match="in the threads of an executor"):
            grad(closure)(a[0])


# --- second derivatives ----------------------------------------------------------------------


def second(f: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> list[list[Tensor]]:
    """The second derivatives of a sum of functions of one row each, in numbers of each row."""
    leaves = tuple(t.detach().clone().requires_grad_() for t in inputs)
    first = torch.autograd.grad(f(*leaves).sum(), leaves, create_graph=True)
    return [list(torch.autograd.grad(g.sum(), leaves, retain_graph=True)) for g in first]


# E f(x + gamma eps) of a number x under a Gaussian, which torch differentiates for the truth.
CLOSED: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "cube": (lambda y: y**3, lambda x, gamma: x**3 + 3 * x * gamma**2),
    "fourth power": (
        lambda y: y**4,
        lambda x, gamma: x**4 + 6 * x**2 * gamma**2 + 3 * gamma**4,
    ),
    "exponential": (torch.exp, lambda x, gamma: (x + gamma**2 / 2).exp()),
    "step": (
        lambda y: (y > 0).to(y),
        lambda x, gamma: 0.5 * torch.special.erfc(-x / gamma / math.sqrt(2)),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("covariate", ["none", "fx", "loo"])
@pytest.mark.parametrize("num_samples", [4, 64])
def test_second_derivatives_under_a_gaussian(
    name: str, antithetic: bool, covariate: str, num_samples: int
) -> None:
    """In x, in the scale, and mixed: within 5 sigmas, 6e-7 for each of 4 numbers.

    f is called again here; where its outputs were kept, `test_all_ways_to_a_hessian_agree` and
    `test_derivatives_in_x_and_in_f_itself` have the same.
    """
    f, exact = CLOSED[name]
    x, gamma = torch.tensor([0.3], dtype=DOUBLE), torch.tensor([0.7], dtype=DOUBLE)
    expected = hessian(lambda x, gamma: exact(x, gamma).sum(), (0, 1))(x, gamma)

    def g(x: Tensor, gamma: Tensor) -> Tensor:
        return ts.smooth(
            f,
            ts.Gaussian(gamma),
            num_samples=num_samples,
            sampler="mc",
            antithetic=antithetic,
            covariate=covariate,
            seed=4,
        )(x)

    replicates = 4_000_000 // num_samples // 4
    rows = replicate(x, replicates), replicate(gamma, replicates)
    size = max(1.0, max(abs(e.item()) for row in expected for e in row))
    for i, row in enumerate(second(g, rows)):
        for j, estimates in enumerate(row):
            assert_mean(estimates, expected[i][j].flatten(), resolution=0.25 * size)


@pytest.mark.parametrize("name", ["gaussian", "logistic", "gumbel", "cauchy"])
@pytest.mark.parametrize("scale", ["x", "both"])
def test_second_derivatives_under_other_laws(name: str, scale: str) -> None:
    """P(x + gamma eps > 0) has the slope of the density for its second derivative.

    In x that is score(t) density(t) / gamma^2 at t = -x / gamma; in the scale it follows by
    substitution. Within 5 sigmas: 6e-7.
    """
    x, gamma = 0.4, 0.8
    t, law = -x / gamma, SCIPY[name]
    h = 1e-5
    slope = (law.pdf(t + h) - law.pdf(t - h)) / (2 * h)
    expected = -slope / gamma**2
    in_scale = -(2 * t * law.pdf(t) + t**2 * slope) / gamma**2 if scale == "both" else None

    def g(x: Tensor, gamma: Tensor) -> Tensor:
        law = LAWS[name](gamma)
        return ts.smooth(
            lambda y: (y > 0).to(y), law, num_samples=64, sampler="mc", seed=1, covariate="loo"
        )(x)

    rows = replicate(torch.tensor([x], dtype=DOUBLE), 20000)
    gammas = replicate(torch.tensor([gamma], dtype=DOUBLE), 20000)
    derivatives = second(g, (rows, gammas))
    assert_mean(derivatives[0][0], expected, resolution=0.05)
    if in_scale is not None:
        # d/dgamma of 1 - F(-x / gamma) is -density(t) x / gamma^2 = density(t) t / gamma, and its
        # derivative -(2 density t + t^2 slope) / gamma^2, dt/dgamma being -t / gamma.
        assert_mean(derivatives[1][1], in_scale, resolution=0.1)


def test_second_derivatives_of_argsort_of_two() -> None:
    """P = Phi(gap / (gamma sqrt 2)), whose second derivative is -t phi(t) / (2 gamma^2)."""
    gap, gamma = 0.7, 0.6
    t = gap / (gamma * math.sqrt(2))
    curvature = -t * scipy.stats.norm.pdf(t) / (2 * gamma**2)
    rows = replicate(torch.tensor([0.0, gap], dtype=DOUBLE), 20000)
    matrix = ts.functional.argsort(rows, ts.Gaussian(gamma), num_samples=64, sampler="mc", seed=0)
    (first,) = torch.autograd.grad(matrix[:, 0, 0].sum(), rows, create_graph=True)
    columns = [torch.autograd.grad(first[:, i].sum(), rows, retain_graph=True)[0] for i in (0, 1)]
    expected = [[curvature, -curvature], [-curvature, curvature]]
    assert_mean(torch.stack(columns, 1), expected, resolution=0.05)


def test_second_derivatives_of_argmax_are_those_of_softmax() -> None:
    x, weight = numbers(3), numbers(3, seed=1)
    expected = hessian(lambda x: weight @ x.softmax(-1))(x)
    rows = replicate(x, 20000)
    value = ts.functional.argmax(rows, ts.Gumbel(), num_samples=64, sampler="mc", seed=0)
    (first,) = torch.autograd.grad((value @ weight).sum(), rows, create_graph=True)
    columns = [torch.autograd.grad(first[:, i].sum(), rows, retain_graph=True)[0] for i in range(3)]
    assert_mean(torch.stack(columns, 1), expected, resolution=0.06)


def test_second_derivatives_in_a_scale_matrix() -> None:
    """E (a^T y)^2 = (a^T x)^2 + |L^T a|^2: 2 a a^T in x, none mixed, 2 a_i a_k [j = l] in L."""
    a, x = torch.tensor([1.0, -0.5], dtype=DOUBLE), torch.tensor([0.3, 0.2], dtype=DOUBLE)
    matrix = torch.tensor([[0.9, 0.0], [0.4, 0.6]], dtype=DOUBLE)

    def exact(x: Tensor, matrix: Tensor) -> Tensor:
        return (a @ x) ** 2 + (matrix.mT @ a).square().sum()

    direction = numbers(2, seed=1), numbers(2, 2, seed=2)
    _, expected = jvp(grad(exact, (0, 1)), (x, matrix), direction)

    def g(x: Tensor, matrix: Tensor) -> Tensor:
        return ts.smooth(
            lambda y: (y @ a) ** 2,
            ts.Gaussian(scale_matrix=matrix),
            num_samples=64,
            sampler="mc",
            seed=0,
        )(x)

    rows = replicate(x, 20000), replicate(matrix, 20000)
    first = torch.autograd.grad(g(*rows).sum(), rows, create_graph=True)
    along = (first[0] @ direction[0]).sum() + (first[1] * direction[1]).sum()
    in_x, in_matrix = torch.autograd.grad(along, rows)
    assert_mean(in_x, expected[0], resolution=0.3)
    assert_mean(in_matrix, expected[1], resolution=0.5)


@pytest.mark.slow
@ALL
@pytest.mark.parametrize("antithetic", [False, True])
def test_all_ways_to_a_hessian_agree(road: Road, n: int, antithetic: bool) -> None:
    """And it is symmetric, mixed derivatives included."""
    options = dict(num_samples=8, sampler="mc", seed=0, antithetic=antithetic)
    x, scale = numbers(n), scales(n)
    weight = numbers(*road(x, ts.Gumbel(), **options).shape, seed=1)

    def loss(x: Tensor, scale: Tensor) -> Tensor:
        return (weight * road(x, ts.Gumbel(scale), **options)).square().sum()

    both = (0, 1)
    expected = hessian(loss, both)(x, scale)
    torch.testing.assert_close(expected[0][1], expected[1][0].mT)
    for diagonal in (expected[0][0], expected[1][1]):
        torch.testing.assert_close(diagonal, diagonal.mT)
        assert diagonal.abs().max() > 1e-3
    close = functools.partial(torch.testing.assert_close, rtol=1e-8, atol=1e-9)
    close(jacrev(jacrev(loss, both), both)(x, scale), expected)
    close(jacrev(jacfwd(loss, both), both)(x, scale), expected)
    close(torch.autograd.functional.hessian(loss, (x, scale)), expected)
    # Forward over reverse with dual numbers.
    direction = numbers(n, seed=2)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x.clone().requires_grad_(), direction)
        (gradient,) = torch.autograd.grad(loss(dual, scale), dual)
        tangent = forward_ad.unpack_dual(gradient).tangent
    close(tangent, expected[0][0] @ direction)
    # The curvature of each example.
    rows = numbers(2, n, seed=3)
    each = vmap(hessian(loss), in_dims=(0, None))(rows, scale)
    whole = hessian(lambda rows: loss(rows, scale).sum())(rows)
    close(each, torch.stack([whole[i, :, i] for i in range(2)]))


@SOME
def test_gradients_do_not_change_by_being_differentiable(road: Road, n: int) -> None:
    x = numbers(2, n).requires_grad_()
    value = road(x, ts.Laplace(), num_samples=8, seed=0).square().sum()
    (expected,) = torch.autograd.grad(value, x, retain_graph=True)
    (actual,) = torch.autograd.grad(value, x, create_graph=True)
    assert torch.equal(actual, expected) and actual.requires_grad


@pytest.mark.parametrize("num_samples, again", [(3, False), (64, True)])
def test_what_f_is_called_for(num_samples: int, again: bool) -> None:
    """Second derivatives need the outputs: f is called again only where the Jacobian was kept."""
    seen: list[int] = []

    def f(y: Tensor) -> np.ndarray:
        seen.append(len(y))
        return np.sign(y.numpy())

    x = numbers(5, 4).requires_grad_()
    smoothed = ts.smooth(f, ts.Gaussian(), num_samples=num_samples, seed=0, check=False)
    value = smoothed(x).square().sum()
    (gradient,) = torch.autograd.grad(value, x, create_graph=True)
    assert sum(seen) == 5 * num_samples
    gradient.sum().backward()
    # The second derivative of the square has two terms: of the value and of its gradient.
    assert sum(seen) == 5 * num_samples * (2 if again else 1)


def test_derivatives_in_x_and_in_f_itself() -> None:
    """E y^2 t = (x^2 + gamma^2) t: 2 x in x and t, in both orders, for arguments and parameters."""
    x, t = 0.6, torch.tensor([0.9], dtype=DOUBLE)
    for num_samples in (2, 64):
        for parameter in (False, True):
            rows = replicate(torch.tensor([x], dtype=DOUBLE), 30000)
            factor = replicate(t, 30000)

            def g(
                rows: Tensor, factor: Tensor, p: bool = parameter, s: int = num_samples
            ) -> Tensor:
                options = dict(num_samples=s, sampler="mc", seed=0)
                if p:
                    own = factor.repeat_interleave(s, 0)
                    return ts.smooth(
                        lambda y: y**2 * own,
                        ts.Gaussian(),
                        chunk_size=10**8,
                        check=False,  # f knows all rows of the batch
                        **options,
                    )(rows)
                return ts.smooth(lambda y, t: y**2 * t, ts.Gaussian(), **options)(rows, factor)

            derivatives = second(g, (rows, factor))
            assert_mean(derivatives[0][1], 2 * x, resolution=0.2)
            assert_mean(derivatives[1][0], 2 * x, resolution=0.2)
            torch.testing.assert_close(derivatives[0][1], derivatives[1][0])


def test_third_derivatives() -> None:
    """E (x + gamma eps)^3 has 6. Within 5 sigmas: 6e-7."""
    rows = replicate(torch.tensor([0.3], dtype=DOUBLE), 30000)
    derivative = ts.smooth(lambda y: y**3, ts.Gaussian(), num_samples=64, sampler="mc", seed=0)(
        rows
    )
    for _ in range(3):
        (derivative,) = torch.autograd.grad(derivative.sum(), rows, create_graph=True)
    assert_mean(derivative, 6.0, resolution=1.0)


def test_second_derivatives_of_other_laws_of_torch() -> None:
    """A Gaussian of torch that has a scale of its own in each dimension is ours with these."""
    base = torch.distributions.Normal(
        torch.zeros(2, dtype=DOUBLE), torch.tensor([1.0, 2.0]).double()
    )
    x = numbers(3, 2)
    hessians = [
        hessian(lambda x, law=law: smooth(x, law, num_samples=16, seed=0).square().sum())(x)
        for law in (ts.FromTorch(base), ts.Gaussian(torch.tensor([1.0, 2.0], dtype=DOUBLE)))
    ]
    torch.testing.assert_close(*hessians, rtol=1e-6, atol=1e-8)


LAPLACE_OF_TORCH = torch.distributions.Laplace(torch.zeros((), dtype=DOUBLE), 1.0)


@pytest.mark.parametrize(
    "law",
    [ts.Laplace(), ts.Triangular(), ts.WignerSemicircle(), ts.FromTorch(LAPLACE_OF_TORCH)],
    ids=repr,
)
@SOME
def test_kinks_of_densities_have_no_second_derivatives_here(road: Road, n: int, law: Any) -> None:
    def loss(x: Tensor) -> Tensor:
        return road(x, law, num_samples=16, seed=0).square().sum()

    x = numbers(n)
    for way in (hessian, lambda f: jacrev(jacrev(f)), lambda f: jacrev(jacfwd(f))):
        with pytest.raises(ValueError, match="whose density has one at"):
            way(loss)(x)
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf), leaf, create_graph=True)
    with pytest.raises(ValueError, match="use Gaussian, Logistic, Gumbel or Cauchy"):
        gradient.sum().backward()
