"""The exact algorithms against NumPy and scipy."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

import torchsmooth as ts


DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def ranks(x: Tensor, descending: bool = False) -> np.ndarray:
    """Rank of every element of the last dimension, from 0, equal ones in order of their index."""
    values = x.double().cpu().numpy()
    return scipy.stats.rankdata(-values if descending else values, method="ordinal", axis=-1) - 1


def with_ties(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randint(0, 4, shape).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("shape", [(1,), (7,), (5, 2), (2, 3, 40)])
def test_argsort(
    shape: tuple[int, ...], descending: bool, dtype: torch.dtype, device: torch.device
) -> None:
    for x in (torch.randn(shape, dtype=dtype), with_ties(*shape, dtype=dtype)):
        matrix = ts.hard.argsort(x.to(device), descending=descending)
        assert matrix.dtype == dtype and matrix.device.type == device.type
        n = shape[-1]
        expected = np.eye(n)[ranks(x, descending)].swapaxes(-1, -2)
        np.testing.assert_array_equal(matrix.double().cpu(), expected)


@pytest.mark.parametrize("descending", [False, True])
def test_argsort_sorts(descending: bool, device: torch.device) -> None:
    """The matrix times the elements is the elements in order."""
    x = torch.randn(6, 9, device=device)
    sorted_by_matrix = (ts.hard.argsort(x, descending=descending) @ x.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(sorted_by_matrix, x.sort(descending=descending).values)


def test_argsort_ties_go_to_the_lower_index(device: torch.device) -> None:
    x = torch.tensor([1.0, 0.0, 1.0, 0.0], device=device)
    for descending, order in ((False, [1, 3, 0, 2]), (True, [0, 2, 1, 3])):
        matrix = ts.hard.argsort(x, descending=descending)
        assert matrix.argmax(-1).tolist() == order


def test_argsort_orders_infinities(device: torch.device) -> None:
    x = torch.tensor([math.inf, 0.0, -math.inf, math.inf], device=device)
    assert ts.hard.argsort(x).argmax(-1).tolist() == [2, 1, 0, 3]
    assert ts.hard.argsort(x, descending=True).argmax(-1).tolist() == [0, 3, 1, 2]


def test_argsort_keeps_nan_in_its_row(device: torch.device) -> None:
    x = torch.randn(4, 5, device=device)
    expected = ts.hard.argsort(x)
    x[2, 3] = math.nan
    matrix = ts.hard.argsort(x)
    assert matrix[2].isnan().all()
    matrix[2] = expected[2]
    torch.testing.assert_close(matrix, expected, rtol=0, atol=0)


@pytest.mark.parametrize("dim", [-3, -2, -1, 0, 1, 2])
def test_argsort_dim(dim: int, device: torch.device) -> None:
    x = torch.randn(3, 4, 5, device=device)
    torch.testing.assert_close(ts.hard.argsort(x, dim=dim), ts.hard.argsort(x.movedim(dim, -1)))


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (0, 0)])
def test_argsort_empty(shape: tuple[int, ...], device: torch.device) -> None:
    assert ts.hard.argsort(torch.ones(shape, device=device)).shape == (*shape, shape[-1])


def test_argsort_has_no_gradient() -> None:
    x = torch.randn(4, requires_grad=True)
    assert not ts.hard.argsort(x).requires_grad


@pytest.mark.parametrize("n", [1, 2, 3, 6, 7, 200])
def test_family_is_numpys_scipys_and_torchs(n: int, device: torch.device) -> None:
    """With ties: numbers of a few values."""
    for x in (torch.randn(4, 3, n), torch.randint(0, 3, (4, 3, n)).double()):
        keys = x.numpy()
        x = x.to(device)
        for descending, sign in ((False, 1), (True, -1)):
            ranks = scipy.stats.rankdata(sign * keys, method="ordinal", axis=-1)
            np.testing.assert_array_equal(ts.hard.rank(x, descending=descending).cpu(), ranks)
            values = sign * np.sort(sign * keys, axis=-1)
            np.testing.assert_array_equal(ts.hard.sort(x, descending=descending).cpu(), values)
        np.testing.assert_array_equal(ts.hard.argmax(x).cpu(), np.eye(n)[np.argmax(keys, axis=-1)])
        k = (n + 1) // 2
        for largest, sign in ((True, -1), (False, 1)):
            order = np.argsort(sign * keys, axis=-1, kind="stable")[..., :k]
            top = ts.hard.topk(x, k, largest=largest)
            np.testing.assert_array_equal(top.cpu(), np.eye(n)[order])
            values = torch.topk(x, k, largest=largest).values
            torch.testing.assert_close((top @ x.unsqueeze(-1)).squeeze(-1), values)
        torch.testing.assert_close(ts.hard.median(x), x.median(-1).values, rtol=0, atol=0)
        for q in (0.0, 0.2, 0.5, 1.0):
            np.testing.assert_allclose(
                ts.hard.quantile(x, q).cpu(), np.quantile(keys, q, axis=-1), rtol=1e-6, atol=1e-7
            )


def test_family_has_no_gradient() -> None:
    x = torch.randn(3, requires_grad=True)
    for value in (
        ts.hard.sort(x),
        ts.hard.rank(x),
        ts.hard.argmax(x),
        ts.hard.topk(x, 2),
        ts.hard.median(x),
        ts.hard.quantile(x, 0.3),
        ts.hard.quantile(x, torch.tensor([0.3, 0.4])),
    ):
        assert not value.requires_grad


@pytest.mark.parametrize("dtype", DTYPES)
def test_fractions_are_not_rounded_to_the_type_of_x(dtype: torch.dtype) -> None:
    """0.9 of 70001 elements is the 63001st. bfloat16 has no 0.9, and float16 no 70000."""
    x = (torch.arange(70001) >= 62990).to(dtype)
    assert ts.hard.quantile(x, torch.tensor([0.9])) == 1
