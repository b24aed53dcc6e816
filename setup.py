"""Builds the two libraries of torchsmooth on the stable ABI of LibTorch.

`_C` holds the schemas and the CPU kernels. `_C_cuda` holds the CUDA kernels; it is built where nvcc
is found and torch is a CUDA build, with or without a GPU in the machine. Environment variables:

TORCHSMOOTH_CUDA      0: do not build `_C_cuda`; 1: build it or fail.
TORCH_CUDA_ARCH_LIST  the architectures of `_C_cuda` (default "7.5;8.0;8.6;9.0;10.0;12.0+PTX").
TORCHSMOOTH_SANITIZE  1: `_C` reports memory errors and undefined behaviour while it runs; slow.
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
from setuptools.command.build_py import build_py


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
# Optimised little, so that reports name the right lines. No check needs type information of torch.
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize=vptr"]
SANITIZED = [*SANITIZERS, "-O1", "-g1", "-fno-omit-frame-pointer"]
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


def switch(name: str) -> str:
    choice = os.environ.get(name, "")
    if choice not in ("", "0", "1"):
        raise SystemExit(f"{name} must be 0 or 1, got {choice!r}")
    return choice


def wants_cuda() -> bool:
    choice = switch("TORCHSMOOTH_CUDA")
    able = torch.version.cuda is not None and cpp_extension.CUDA_HOME is not None
    if choice == "1" and not able:
        raise SystemExit(
            "TORCHSMOOTH_CUDA=1 needs a CUDA build of torch and nvcc, found "
            f"torch.version.cuda={torch.version.cuda} and CUDA_HOME={cpp_extension.CUDA_HOME}"
        )
    return able and choice != "0"


def extensions() -> list:
    headers = sources("csrc/**/*.h") + sources("csrc/**/*.cuh")
    sanitize = switch("TORCHSMOOTH_SANITIZE") == "1"
    modules = [
        cpp_extension.CppExtension(
            "torchsmooth._C",
            ["csrc/ops/schemas.cpp", *sources("csrc/cpu/**/*.cpp")],
            depends=headers,
            extra_compile_args={"cxx": [*CXX, *SANITIZED] if sanitize else CXX},
            extra_link_args=SANITIZERS if sanitize else [],
            py_limited_api=True,
        )
    ]
    if wants_cuda():
        os.environ.setdefault("TORCH_CUDA_ARCH_LIST", "7.5;8.0;8.6;9.0;10.0;12.0+PTX")
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


class BuildPackage(build_py):
    """Also installs the headers of csrc/core, which C++ functions of users include.

    torchsmooth/include/torchsmooth/core/laws.h is included as <torchsmooth/core/laws.h>. An
    editable package has none: its checkout holds them.
    """

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        include = Path(self.build_lib, "torchsmooth", "include", "torchsmooth")
        for header in sources("csrc/core/**/*.h"):
            target = include / Path(header).relative_to("csrc")
            target.parent.mkdir(parents=True, exist_ok=True)
            self.copy_file(str(ROOT / header), str(target))


setup(
    ext_modules=extensions(),
    cmdclass={
        "build_ext": cpp_extension.BuildExtension.with_options(no_python_abi_suffix=True),
        "build_py": BuildPackage,
    },
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
