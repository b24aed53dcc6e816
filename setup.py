"""Builds the two libraries of torchsmooth on the stable ABI of LibTorch.

`_C` holds the schemas and the CPU kernels. `_C_cuda` holds the CUDA kernels; it is built where nvcc
is found and torch is a CUDA build, with or without a GPU in the machine. Environment variables:

TORCHSMOOTH_CUDA      0: do not build `_C_cuda`; 1: build it or fail.
TORCH_CUDA_ARCH_LIST  the architectures of `_C_cuda` (default "8.0;9.0+PTX").
MAX_JOBS              compilers that run at the same time.
"""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import torch
from setuptools import setup


def point_at_nvcc() -> None:
    """Tells torch where nvcc is installed.

    nvcc itself knows; torch would take the folder above it, wrongly if it is a script or a link.
    Where the machine has none, there may be that of the nvidia-cuda-nvcc wheel.
    """
    if "CUDA_HOME" in os.environ:
        return
    if shutil.which("nvcc"):
        dry_run = ["nvcc", "-dryrun", "-x", "cu", "-c", os.devnull]
        output = subprocess.run(dry_run, capture_output=True, text=True).stderr
        if top := re.search(r"^#\$ TOP=(.+?)\s*$", output, re.MULTILINE):
            os.environ["CUDA_HOME"] = str(Path(top[1]).resolve())
        return
    nvidia = importlib.util.find_spec("nvidia")
    for folder in nvidia.submodule_search_locations or () if nvidia else ():
        for nvcc in sorted(Path(folder).glob("cu*/bin/nvcc")):
            os.environ["CUDA_HOME"] = str(nvcc.parents[1])


point_at_nvcc()
# Reads CUDA_HOME when it is imported.
from torch.utils import cpp_extension  # noqa: E402


ROOT = Path(__file__).parent
# Torch 2.10: one byte each for major and minor, see torch/headeronly/version.h.
ABI = "-DTORCH_TARGET_VERSION=0x020a000000000000"
PREFIX_MAPS = [
    f"-ffile-prefix-map={folder}/=" for folder in (ROOT.resolve(), *cpp_extension.include_paths())
]
CXX = [
    ABI,
    "-std=c++20",
    "-O3",
    "-g0",
    "-fvisibility=hidden",
    # Errors show paths of the repository and of torch, not of the machine that built it.
    *PREFIX_MAPS,
    # What lets loops with square roots and selections vectorise. No reassociation, no contraction:
    # the kernels say themselves where a multiply-add is fused.
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=off",
    # Python asks for wrapping integers, which keep loops over lanes from vectorising.
    "-fno-wrapv",
    # Vectors wider than the machine's are passed between functions that are always inlined.
    "-Wno-psabi",
]
NVCC = [
    ABI,
    "-DUSE_CUDA",
    "-std=c++20",
    "-O3",
    "-fmad=false",
    "-Xfatbin=-compress-all",
    "--threads=2",
    f"-Xcompiler={','.join(['-fvisibility=hidden', *PREFIX_MAPS])}",
]


def sources(pattern: str) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(pattern))


def wants_cuda() -> bool:
    choice = os.environ.get("TORCHSMOOTH_CUDA", "")
    if choice not in ("", "0", "1"):
        raise SystemExit(f"TORCHSMOOTH_CUDA must be 0 or 1, got {choice!r}")
    able = torch.version.cuda is not None and cpp_extension.CUDA_HOME is not None
    if choice == "1" and not able:
        raise SystemExit(
            "TORCHSMOOTH_CUDA=1 needs a CUDA build of torch and nvcc, found "
            f"torch.version.cuda={torch.version.cuda} and CUDA_HOME={cpp_extension.CUDA_HOME}"
        )
    return able and choice != "0"


def extensions() -> list:
    headers = sources("csrc/**/*.h") + sources("csrc/**/*.cuh")
    modules = [
        cpp_extension.CppExtension(
            "torchsmooth._C",
            ["csrc/ops/schemas.cpp", *sources("csrc/cpu/**/*.cpp")],
            depends=headers,
            extra_compile_args={"cxx": CXX},
            py_limited_api=True,
        )
    ]
    if wants_cuda():
        os.environ.setdefault("TORCH_CUDA_ARCH_LIST", "8.0;9.0+PTX")
        cuda = cpp_extension.CUDAExtension(
            "torchsmooth._C_cuda",
            sources("csrc/cuda/*.cu"),
            depends=headers,
            extra_compile_args={"cxx": CXX, "nvcc": NVCC},
            extra_link_args=["-Wl,--exclude-libs,ALL"],
            py_limited_api=True,
        )
        # The CUDA runtime is linked statically: the library needs none of a certain version.
        cuda.libraries.remove("cudart")
        cuda.libraries += ["cudart_static", "dl", "rt", "pthread"]
        modules.append(cuda)
    return modules


setup(
    ext_modules=extensions(),
    cmdclass={"build_ext": cpp_extension.BuildExtension.with_options(no_python_abi_suffix=True)},
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
