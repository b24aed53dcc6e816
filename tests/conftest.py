"""Fixtures that all tests share.

Every test starts from the same seed, so that it passes or fails always. Statistical tests say how
many standard errors they allow, and thereby how often they would fail by chance if the seed were
another.
"""

from collections.abc import Callable, Iterator

import hypothesis
import pytest
import torch
from torch import Tensor

from torchsmooth import samplers


hypothesis.settings.register_profile(
    "torchsmooth", derandomize=True, database=None, deadline=None, max_examples=50
)
hypothesis.settings.load_profile("torchsmooth")


def has_cuda_kernels() -> bool:
    return torch.cuda.is_available() and torch._C._dispatch_has_kernel_for_dispatch_key(
        "torchsmooth::words", "CUDA"
    )


DEVICES = ["cpu"]
if has_cuda_kernels():
    DEVICES.append(pytest.param("cuda", marks=pytest.mark.cuda))


@pytest.fixture(scope="session", params=DEVICES)
def device(request: pytest.FixtureRequest) -> torch.device:
    """Every device that has kernels."""
    return torch.device(request.param)


@pytest.fixture(autouse=True)
def deterministic() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def warned_of_unbalanced_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of Sobol points that are no power of 2 warn once per process: not in any test."""
    monkeypatch.setattr(samplers, "_warned_unbalanced", True)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of torch's threads for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def assert_mean() -> Callable[..., None]:
    return _assert_mean


def _assert_mean(
    estimates: Tensor,  # [replicates, ...], independent
    expected: Tensor | float,  # [...]
    *,
    resolution: float,
    sigmas: float = 5.0,
) -> None:
    """The mean of independent estimates is `expected`.

    A correct estimator fails with the probability that a normal variable lies `sigmas` standard
    deviations away from its mean (5: 6e-7) per entry. `resolution` is the error that the test must
    be able to see: estimates that scatter so much that it could hide are a failure of the test.
    """
    estimates = estimates.detach().double().cpu()
    mean = estimates.mean(0)
    error = estimates.std(0) / len(estimates) ** 0.5
    expected = torch.as_tensor(expected, dtype=torch.float64).detach().cpu().expand_as(mean)
    allowed = sigmas * error + 1e-12
    assert (allowed <= resolution).all(), f"standard errors up to {error.max():.2g} hide too much"
    off = (mean - expected).abs() / allowed * sigmas
    assert (off <= sigmas).all(), f"{off.max():.1f} sigmas: got {mean}, expected {expected}"
