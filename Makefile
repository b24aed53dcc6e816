# A fresh machine needs Python >= 3.10, g++ and make.
#
#   make demo    environment, build, then the main job: learn to sort numbers from their order alone
#   make test    environment, build, all tests
#
# Others: lint, abi, cuda (compiles, links and loads the CUDA library, with or without a GPU),
# cuda-static, gpu-check, clean.

PYTHON ?= python3
VENV ?= .venv
CUDA_VENV ?= .venv-cuda
# Any version from 2.10 on works; one is named so that every machine tests the same.
TORCH ?= torch==2.13.0
CUDA_TORCH ?= torch torchvision
# One architecture is enough to see that everything compiles; a wheel has more, see setup.py.
CUDA_ARCH ?= 9.0
PYTEST_ARGS ?=
MINUTES ?= 10

# Examples that torchvision is needed for, which the CUDA environment has.
TORCHVISION_TESTS := tests/examples/test_mnist_sort.py tests/examples/test_warcraft.py

PIP := -m pip install --quiet --disable-pip-version-check
BUILD_TOOLS := "setuptools>=77" wheel ninja
SOURCES := setup.py $(shell find csrc -type f)

.PHONY: demo test lint abi cuda cuda-static gpu-check clean

demo: $(VENV)/.built
	$(VENV)/bin/python examples/mnist_sort.py

test: $(VENV)/.built
	$(VENV)/bin/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.built
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# What the library needs of LibTorch must be stable; prints the oldest torch that it runs with.
abi: $(VENV)/.built
	$(VENV)/bin/torch-abi-audit --check torch torchsmooth/_C.so

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python $(PIP) --upgrade pip
	$(VENV)/bin/python $(PIP) "$(TORCH)" $(BUILD_TOOLS)
	TORCHSMOOTH_CUDA=0 $(VENV)/bin/python $(PIP) --no-build-isolation --editable . --group test --group lint
	touch $@

$(VENV)/.built: $(VENV)/.installed $(SOURCES)
	TORCHSMOOTH_CUDA=0 $(VENV)/bin/python setup.py --quiet build_ext --inplace
	touch $@

# A CUDA build of torch, of another version than the one that built the wheel: first the wheel as it
# is, then the CUDA library. nvcc comes from PyPI where the machine has none.
cuda: $(CUDA_VENV)/.installed $(VENV)/.built
	rm -rf dist
	TORCHSMOOTH_CUDA=0 $(VENV)/bin/python -m pip wheel --quiet --no-build-isolation --no-deps --wheel-dir dist .
	$(CUDA_VENV)/bin/python $(PIP) --force-reinstall --no-deps dist/*.whl
	$(CUDA_VENV)/bin/pytest tests/test_ops.py $(TORCHVISION_TESTS) $(PYTEST_ARGS)
	TORCHSMOOTH_CUDA=1 TORCH_CUDA_ARCH_LIST=$(CUDA_ARCH) $(CUDA_VENV)/bin/python $(PIP) --no-build-isolation --force-reinstall --no-deps .
	$(VENV)/bin/torch-abi-audit --check torch $(CUDA_VENV)/lib/python*/site-packages/torchsmooth/_C_cuda.so
	$(CUDA_VENV)/bin/pytest tests/test_cuda_library.py $(PYTEST_ARGS)

# Registers, spills and occupancy of the CUDA kernels, from what nvcc compiles; no GPU is needed.
cuda-static: $(VENV)/.built
	$(VENV)/bin/python tools/cuda_static.py

# For whoever has a GPU, with a CUDA build of torch in $(PYTHON)'s environment: builds, compares,
# sanitizes and times for MINUTES, and writes a page to send with an issue. Again: goes on from there.
gpu-check:
	$(PYTHON) tools/gpu_check.py --minutes $(MINUTES)

$(CUDA_VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(CUDA_VENV)
	$(CUDA_VENV)/bin/python $(PIP) --upgrade pip
	$(CUDA_VENV)/bin/python $(PIP) $(CUDA_TORCH) $(BUILD_TOOLS)
	$(CUDA_VENV)/bin/python $(PIP) --group test
	command -v nvcc > /dev/null || $(CUDA_VENV)/bin/python $(PIP) "cuda-toolkit[nvcc,cudart,cccl]==13.0.*"
	touch $@

clean:
	rm -rf build dist runs $(VENV) $(CUDA_VENV) *.egg-info torchsmooth/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
