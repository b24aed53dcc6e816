# A fresh machine needs Python >= 3.10, g++ and make.
#
#   make demo    environment, build, then the main job: learn to sort numbers from their order alone
#   make test    environment, build, all tests
#   make quick   environment, build, a part of each test that takes no seconds
#
# Others: lint, abi, cuda (compiles, links and loads the CUDA library, with or without a GPU), clean,
# wheel, sanitize (finds memory errors and undefined behaviour of the CPU kernels), cuda-static (what
# nvcc made of the kernels), gpu-check (for a machine with a GPU).

PYTHON ?= python3
VENV ?= .venv
CUDA_VENV ?= .venv-cuda
# Any version from 2.10 on works; one is named so that every machine tests the same.
TORCH ?= torch==2.13.0
CUDA_TORCH ?= torch torchvision
# One architecture is enough to see that everything compiles; a wheel has more, see setup.py.
CUDA_ARCH ?= 9.0
# A process per core; set WORKERS=0 to have all output of one test at a time, or a debugger.
WORKERS ?= auto
PYTEST_ARGS ?=
# Every N-th parameter set of each test is run; 1 is all.
SANITIZE_EVERY ?= 16

# The tests that call the CPU ops, directly or through thin functions.
SANITIZE_TESTS := $(addprefix tests/,kernels/test_ops.py test_bad_input.py functional hard)
MINUTES ?= 10

# Examples that torchvision is needed for, which the CUDA environment has.
TORCHVISION_TESTS := tests/examples/test_mnist_sort.py tests/examples/test_warcraft.py

PIP := -m pip --quiet --disable-pip-version-check
BUILD_TOOLS := "setuptools>=77" wheel ninja
SOURCES := setup.py $(shell find csrc -type f)

.PHONY: demo test quick sanitize lint abi wheel cuda cuda-static gpu-check clean

demo: $(VENV)/.built
	$(VENV)/bin/python examples/mnist_sort.py

test: $(VENV)/.built
	$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadscope $(PYTEST_ARGS)

quick: $(VENV)/.built
	$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadscope -m "not (compiled or processes or slow)" --every 5 $(PYTEST_ARGS)

# The sanitizers' libraries come before all others; a build folder of its own comes before the
# installed package. What they find goes to the standard error, which pytest must not capture.
SANITIZE := build/sanitize
SANITIZERS = $(shell $(CXX) -print-file-name=libasan.so):$(shell $(CXX) -print-file-name=libstdc++.so)

sanitize: $(SANITIZE)/.built
	LD_PRELOAD=$(SANITIZERS) PYTHONPATH=$(SANITIZE) ASAN_OPTIONS=detect_leaks=0 \
		$(VENV)/bin/pytest --capture=no -q -m "not (compiled or processes)" --every $(SANITIZE_EVERY) \
		$(SANITIZE_TESTS) $(PYTEST_ARGS) 2> $(SANITIZE)/errors \
		|| (tail -n 60 $(SANITIZE)/errors; exit 1)
	@sed -n '/runtime error/s/address 0x[0-9a-f]*/an address/p' $(SANITIZE)/errors | sort | uniq -c \
		> $(SANITIZE)/report
	@cat $(SANITIZE)/report; test ! -s $(SANITIZE)/report

$(SANITIZE)/.built: $(VENV)/.built $(shell find torchsmooth -name "*.py")
	TORCHSMOOTH_SANITIZE=1 TORCHSMOOTH_CUDA=0 $(VENV)/bin/python setup.py --quiet build \
		--build-base $(SANITIZE) --build-lib $(SANITIZE)
	touch $@

lint: $(VENV)/.built
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# What the library needs of LibTorch must be stable; prints the oldest torch that it runs with.
abi: $(VENV)/.built
	$(VENV)/bin/torch-abi-audit --check torch torchsmooth/_C.so

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python $(PIP) install --upgrade pip
	$(VENV)/bin/python $(PIP) install "$(TORCH)" $(BUILD_TOOLS)
	TORCHSMOOTH_CUDA=0 $(VENV)/bin/python $(PIP) install --no-build-isolation --editable . --group test --group lint
	touch $@

$(VENV)/.built: $(VENV)/.installed $(SOURCES)
	TORCHSMOOTH_CUDA=0 $(VENV)/bin/python setup.py --quiet build_ext --inplace
	touch $@

# An sdist, made where no nvcc is, and the wheel that is built from it.
wheel: $(VENV)/.installed
	rm -rf dist
	TORCHSMOOTH_CUDA=0 $(VENV)/bin/python setup.py --quiet sdist
	TORCHSMOOTH_CUDA=0 $(VENV)/bin/python $(PIP) wheel --no-build-isolation --no-deps --wheel-dir dist dist/*.tar.gz

# A CUDA build of torch, of another version than the one that built the wheel: first the wheel as it
# is, then the CUDA library, from the same sdist. nvcc comes from PyPI where the machine has none.
cuda: $(CUDA_VENV)/.installed wheel
	$(CUDA_VENV)/bin/python $(PIP) install --force-reinstall --no-deps dist/*.whl
	$(CUDA_VENV)/bin/pytest tests/kernels/test_ops.py $(TORCHVISION_TESTS) $(PYTEST_ARGS)
	TORCHSMOOTH_CUDA=1 TORCH_CUDA_ARCH_LIST=$(CUDA_ARCH) $(CUDA_VENV)/bin/python $(PIP) install --no-build-isolation --force-reinstall --no-deps dist/*.tar.gz
	$(VENV)/bin/torch-abi-audit --check torch $(CUDA_VENV)/lib/python*/site-packages/torchsmooth/_C_cuda.so
	$(CUDA_VENV)/bin/pytest tests/kernels/test_cuda_library.py $(PYTEST_ARGS)

# Registers, spills and occupancy of the CUDA kernels, from what nvcc compiles; no GPU is needed.
cuda-static: $(VENV)/.built
	$(VENV)/bin/python tools/cuda_static.py

# For whoever has a GPU, with a CUDA build of torch in $(PYTHON)'s environment: builds, compares,
# sanitizes and times for MINUTES, and writes a page to send with an issue. Again: goes on from there.
gpu-check:
	$(PYTHON) tools/gpu_check.py --minutes $(MINUTES)

$(CUDA_VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(CUDA_VENV)
	$(CUDA_VENV)/bin/python $(PIP) install --upgrade pip
	$(CUDA_VENV)/bin/python $(PIP) install $(CUDA_TORCH) $(BUILD_TOOLS)
	$(CUDA_VENV)/bin/python $(PIP) install --group test
	command -v nvcc > /dev/null || $(CUDA_VENV)/bin/python $(PIP) install "cuda-toolkit[nvcc,cudart,cccl]==13.0.*"
	touch $@

clean:
	rm -rf build dist runs $(VENV) $(CUDA_VENV) *.egg-info torchsmooth/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
