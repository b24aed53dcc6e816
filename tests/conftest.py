"""Fixtures that all tests share.

Every test starts from the same seed, so that it passes or fails always. How often a statistical
test would fail by chance if the seed were another is said by `facts.assert_mean`.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator

import hypothesis
import pytest
import torch
from facts import assert_mean as assert_mean_of_estimates

from torchsmooth import samplers


hypothesis.settings.register_profile(
    "torchsmooth", derandomize=True, database=None, deadline=None, max_examples=50
)
hypothesis.settings.load_profile("torchsmooth")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--every",
        type=int,
        default=1,
        metavar="N",
        help="run every N-th parameter set of each test, the first one included (default: all)",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seen: Counter[str] = Counter()
    kept, left_out = [], []
    for item in items:
        function = item.nodeid.split("[")[0]
        (left_out if seen[function] % config.getoption("every") else kept).append(item)
        seen[function] += 1
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


def has_cuda_kernels() -> bool:
    return torch.cuda.is_available() and torch._C._dispatch_has_kernel_for_dispatch_key(
        "torchsmooth::words", "CUDA"
    )


# As many workers as cores: threads of torch would only take turns.
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)

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
    return assert_mean_of_estimates
