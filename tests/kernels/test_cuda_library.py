"""The CUDA library, compiled and loaded: this needs a CUDA build of torch, but no GPU."""

from pathlib import Path

import pytest
import torch

import torchsmooth
from torchsmooth._kernels import library


LIBRARY = Path(torchsmooth.__file__).parent / "_C_cuda.so"

pytestmark = pytest.mark.skipif(
    torch.version.cuda is None or not LIBRARY.exists(),
    reason="needs a CUDA build of torch, and the CUDA library",
)


def test_is_loaded():
    assert str(LIBRARY) in torch.ops.loaded_libraries


@pytest.mark.parametrize("name", library.NAMES)
def test_ops_have_cuda_kernels(name):
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    assert has_kernel(f"torchsmooth::{name}", "CUDA") == (name not in library.TWINS_ON_CUDA)
