"""A scale_matrix that a layer learns: L = C Q, C lower triangular with a positive diagonal."""

import copy
import math
import pickle

import pytest
import torch
from torch import Tensor

import torchsmooth as ts


LOWER = torch.tensor([[0.5, 0.0, 0.0], [0.2, 0.8, 0.0], [-0.3, 0.1, 1.5]], dtype=torch.float64)
FULL = torch.tensor([[0.5, 0.4, -0.2], [0.2, -0.8, 0.3], [-0.3, 0.1, 1.5]], dtype=torch.float64)
MATRICES = {
    "lower": LOWER,
    "full": FULL,
    "negative determinant": FULL[[1, 0, 2]],
    "batch": torch.stack([LOWER, FULL]),
}
LAWS = [ts.Gaussian, ts.Gumbel, ts.Laplace]


def layer(
    matrix: Tensor, law: type[ts.AbstractDistribution] = ts.Gaussian, num_samples: int = 64
) -> ts.nn.Sort:
    noise = law(scale_matrix=matrix)
    return ts.nn.Sort(noise, num_samples=num_samples, seed=1, learn_scale=True)


@pytest.mark.parametrize("name", MATRICES)
def test_the_layer_starts_at_the_given_matrix(name: str) -> None:
    matrix = MATRICES[name]
    module = layer(matrix)
    torch.testing.assert_close(module.scale_matrix, matrix, rtol=1e-14, atol=1e-15)
    assert [key for key, _ in module.named_parameters()] == ["log_cholesky"]
    assert module.scale is None
    # C has the covariance of L, and so it is its Cholesky factor.
    factor = (
        module.log_cholesky.tril(-1)
        + module.log_cholesky.diagonal(dim1=-2, dim2=-1).exp().diag_embed()
    )
    expected = torch.linalg.cholesky(matrix @ matrix.mT)
    torch.testing.assert_close(factor, expected, rtol=1e-12, atol=1e-14)
    rotation = module.fixed_rotation
    identity = torch.eye(3, dtype=torch.float64).expand_as(rotation)
    torch.testing.assert_close(rotation @ rotation.mT, identity, rtol=0, atol=1e-14)
    if name == "lower":
        assert torch.equal(rotation, identity)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", ["lower", "full"])
def test_equals_the_function(name: str, law: type[ts.AbstractDistribution]) -> None:
    """The law of the noise is the given one, whatever the law: a rotation of it would not be."""
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    module = layer(MATRICES[name], law)
    matrix = module.scale_matrix.detach().requires_grad_()
    expected = ts.functional.sort(x, law(scale_matrix=matrix), num_samples=64, seed=1)
    value = module(x)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-14)
    weight = torch.randn_like(value)
    in_x, in_matrix = torch.autograd.grad((weight * expected).sum(), (x, matrix))
    actual, in_log = torch.autograd.grad((weight * value).sum(), (x, module.log_cholesky))
    torch.testing.assert_close(actual, in_x, rtol=1e-12, atol=1e-14)
    # By the chain rule: dL = dC Q, and d(diagonal of C) = its exponential d(logarithm).
    in_factor = in_matrix @ module.fixed_rotation.mT
    diagonal = module.log_cholesky.detach().diagonal().exp()
    in_logarithm = (in_factor.diagonal() * diagonal).diag()
    torch.testing.assert_close(in_log, in_factor.tril(-1) + in_logarithm, rtol=1e-10, atol=1e-12)


def test_a_covariance_is_learned() -> None:
    """E (L e)(L e)^T = L L^T under a Gaussian: descent on a far start finds a given covariance."""
    target = LOWER.float() @ LOWER.float().mT
    module = ts.nn.Smooth(
        lambda y: (y.unsqueeze(-1) * y.unsqueeze(-2)).flatten(-2),
        ts.Gaussian(scale_matrix=FULL.float()),
        num_samples=512,
        seed=0,
        learn_scale=True,
    )
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    x = torch.zeros(1, 3)
    for _ in range(200):
        optimizer.zero_grad()
        (module(x).reshape(3, 3) - target).square().sum().backward()
        optimizer.step()
    matrix = module.scale_matrix.detach()
    torch.testing.assert_close(matrix @ matrix.mT, target, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("gradient", [-3e4, 3e4])
def test_it_stays_invertible(gradient: float, dtype: torch.dtype) -> None:
    """After steps in the logarithms of up to 30000, where exp is 0 or infinite in every type."""
    module = layer(torch.eye(3)).to(dtype)
    module.log_cholesky.grad = torch.full_like(module.log_cholesky, gradient).tril(-1) * 0
    module.log_cholesky.grad.diagonal().fill_(gradient)
    torch.optim.SGD(module.parameters(), lr=1.0).step()
    diagonal = module.scale_matrix.diagonal()
    assert bool(((diagonal > 0) & (diagonal < math.inf) & (1 / diagonal < math.inf)).all())


@pytest.mark.parametrize("learn_scale", [False, True])
def test_assigning_the_matrix(learn_scale: bool) -> None:
    """In place: the tensors that optimizers and graphs know stay the same."""
    noise = ts.Gaussian(scale_matrix=FULL)
    module = ts.nn.Sort(noise, num_samples=64, seed=1, learn_scale=learn_scale)
    states = dict(module.state_dict(keep_vars=True))
    module.scale_matrix = LOWER
    torch.testing.assert_close(module.scale_matrix, LOWER, rtol=1e-14, atol=1e-15)
    for key, state in module.state_dict(keep_vars=True).items():
        assert states[key] is state
    x = torch.randn(2, 3, dtype=torch.float64)
    expected = ts.functional.sort(x, ts.Gaussian(scale_matrix=LOWER), num_samples=64, seed=1)
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize(
    "matrix, message",
    [
        (torch.zeros(3, 3), "scale_matrix must be"),
        (torch.ones(3), "scale_matrix must"),
        (torch.eye(2), r"scale_matrix must broadcast against that of the layer, \[3, 3\]"),
    ],
)
@pytest.mark.parametrize("learn_scale", [False, True])
def test_bad_matrices(matrix: Tensor, message: str, learn_scale: bool) -> None:
    module = ts.nn.Sort(ts.Gaussian(scale_matrix=FULL.float()), learn_scale=learn_scale)
    before = copy.deepcopy(module.state_dict())
    with pytest.raises(ValueError, match=message):
        module.scale_matrix = matrix
    for key, state in module.state_dict().items():
        assert torch.equal(state, before[key])  # nothing was changed


def test_no_matrix_beside_a_scale() -> None:
    module = ts.nn.Sort(ts.Gaussian(0.5))
    with pytest.raises(ValueError, match="scale_matrix must not be set for a layer with a scale"):
        module.scale_matrix = torch.eye(3)


def test_copies_and_state() -> None:
    x = torch.randn(2, 3, dtype=torch.float64)
    module, restored = layer(FULL, ts.Laplace), layer(LOWER, ts.Laplace)
    restored.load_state_dict(module.state_dict(), strict=True)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), restored):
        assert torch.equal(other(x), module(x))


def test_layers_that_need_independent_noise_say_so() -> None:
    for learn_scale in (False, True):
        with pytest.raises(ValueError, match="scale_matrix"):
            ts.nn.SoftReLU(ts.Gaussian(scale_matrix=LOWER), learn_scale=learn_scale)
