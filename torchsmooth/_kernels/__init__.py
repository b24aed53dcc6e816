"""The compiled ops: loading, fake kernels, and the plain PyTorch twins.

`_C` registers the schemas and the CPU kernels, `_C_cuda` the CUDA kernels. On a device that has no
kernel the twin of the op in `reference` runs instead.
"""

# Each registers the fake kernels and the twins of its ops.
from . import noise, order_statistics, render, shortest_path, sort  # noqa: F401
