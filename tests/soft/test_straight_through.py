"""Straight-through: the value of one, every derivative of the other."""

import pytest
import torch
from torch import Tensor

import torchsmooth as ts
from torchsmooth import soft
from torchsmooth._straight_through import straight_through


NOISE = ts.Logistic(0.5)


@straight_through(soft=lambda x: soft.heaviside(x, NOISE))
def step(x: Tensor) -> Tensor:
    """A step."""
    return (x > 0).float()


def test_value_of_hard_and_derivatives_of_soft() -> None:
    x = torch.tensor([-1.0, 0.2, 0.7], requires_grad=True)
    y = step(x)
    assert y.tolist() == [0, 1, 1]
    (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    p = torch.sigmoid(2 * x)
    torch.testing.assert_close(slope, 2 * p * (1 - p))
    (curvature,) = torch.autograd.grad(slope.sum(), x)
    torch.testing.assert_close(curvature, 4 * p * (1 - p) * (1 - 2 * p))


def test_identity() -> None:
    x = torch.tensor([0.4, 1.6], requires_grad=True)
    y = straight_through(x.round(), x)
    assert y.tolist() == [0, 2]
    assert torch.autograd.grad(y.sum(), x)[0].tolist() == [1, 1]


def test_no_gradient_of_hard() -> None:
    x = torch.tensor([0.4, 1.6], requires_grad=True)
    y = straight_through(x.square(), 3 * x)
    torch.testing.assert_close(y, x.square())
    assert torch.autograd.grad(y.sum(), x)[0].tolist() == [3, 3]


def test_functions() -> None:
    combined = straight_through(lambda x, scale: scale * x.round(), lambda x, scale: scale * x)
    x = torch.tensor([0.4, 1.6], requires_grad=True)
    y = combined(x, scale=2.0)
    assert y.tolist() == [0, 4]
    assert torch.autograd.grad(y.sum(), x)[0].tolist() == [2, 2]
    assert step.__doc__ == "A step."


def test_structures() -> None:
    x = torch.tensor([0.4, 1.6], requires_grad=True)
    result = straight_through({"a": x.round(), "b": (x > 1,)}, {"a": x, "b": (2 * x,)})
    assert result["a"].tolist() == [0, 2] and result["b"][0].tolist() == [0, 1]
    assert torch.autograd.grad(result["b"][0].sum(), x)[0].tolist() == [2, 2]


def test_types() -> None:
    x = torch.tensor([0.4, 1.6], dtype=torch.float16, requires_grad=True)
    assert straight_through(x > 1, x).dtype == torch.float16
    assert straight_through(torch.tensor([0, 1]), x).tolist() == [0, 1]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of jvp
def test_transforms() -> None:
    x = torch.tensor([-1.0, 0.2, 0.7])
    p = torch.sigmoid(2 * x)
    expected = 2 * p * (1 - p)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(step))(x), expected)
    value, tangent = torch.func.jvp(step, (x,), (torch.ones(3),))
    assert value.tolist() == [0, 1, 1]
    torch.testing.assert_close(tangent, expected)


@pytest.mark.compiled
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_compiles_whole() -> None:
    torch._dynamo.reset()
    x = torch.tensor([-1.0, 0.2, 0.7], requires_grad=True)
    y = torch.compile(step, fullgraph=True, backend="aot_eager")(x)
    assert y.tolist() == [0, 1, 1]
    p = torch.sigmoid(2 * x)
    torch.testing.assert_close(torch.autograd.grad(y.sum(), x)[0], 2 * p * (1 - p))
    torch._dynamo.reset()


def test_topk_mask() -> None:
    x = torch.tensor([0.1, 2.0, 1.0], requires_grad=True)
    expected = soft.topk_mask_quadrature(x, 2, 0, ts.Gaussian(0.5))
    mask = straight_through(torch.tensor([0.0, 1.0, 1.0]), expected)
    assert mask.tolist() == [0, 1, 1]
    weights = torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(
        torch.autograd.grad((mask * weights).sum(), x, retain_graph=True),
        torch.autograd.grad((expected * weights).sum(), x),
    )


def test_bad_input() -> None:
    x = torch.zeros(2)
    with pytest.raises(TypeError, match="soft must be given"):
        straight_through(x)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="hard and soft must both be tensors or both be functions"):
        straight_through(x, torch.relu)
    with pytest.raises(ValueError, match=r"must have the same shape, got \(2,\) and \(2, 1\)"):
        straight_through(x, x.unsqueeze(1))
    with pytest.raises(ValueError, match="hard and soft must have the same structure"):
        straight_through((x, x), [x, x])
    with pytest.raises(TypeError, match="hard must consist of tensors, got float"):
        straight_through((1.0,), (x,))
    with pytest.raises(TypeError, match="soft must be a floating-point tensor, got torch.int64"):
        straight_through(x, x.long())
