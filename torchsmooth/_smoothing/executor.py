"""Calls of f by an executor: threads, processes, or the machines of a cluster."""

import contextlib
import os
import pickle
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from .._autodiff.vmap import NoOtherTransforms
from .._torch_internals import has_tangent, requires_grad, transforms_are_active, unwrapped
from .user_function import Convention, add_notes, call_f


# Calls that are submitted and not yet taken at any time: enough to keep the cores of one machine
# busy, and few enough for memory.
IN_FLIGHT = 2 * (os.cpu_count() or 1)

# Forked processes have the name of their parent, but not its number.
_NAME = uuid.uuid4().hex


class SupportsSubmit(Protocol):
    """An executor: an object with the method of `concurrent.futures.Executor`."""

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Any: ...


def check_executor(executor: Any) -> SupportsSubmit | None:
    if executor is None or (
        callable(getattr(executor, "submit", None)) and not isinstance(executor, type)
    ):
        return executor
    raise TypeError(
        "executor must be a concurrent.futures.Executor, or have its method submit, got "
        f"{executor!r}; pass for example concurrent.futures.ThreadPoolExecutor(8)"
    )


class _State(NamedTuple):
    """The settings of torch for one thread, as they were at the call of the smoothed function."""

    grad: bool
    inference: bool
    autocast: tuple[str, bool, torch.dtype]
    stream: Any  # of CUDA, for threads only
    transformed: bool  # by torch.func, whose transforms other threads do not know

    @contextlib.contextmanager
    def restored(self) -> Iterator[None]:
        kind, enabled, dtype = self.autocast
        with (
            torch.inference_mode(self.inference),
            torch.set_grad_enabled(self.grad),
            torch.autocast(kind, dtype, enabled),
            contextlib.nullcontext() if self.stream is None else torch.cuda.stream(self.stream),
            NoOtherTransforms() if self.transformed else contextlib.nullcontext(),
        ):
            yield


class Task(NamedTuple):
    """A call of f that is under way."""

    points: Tensor
    future: Any


class Workers:
    """The calls of f in one evaluation."""

    def __init__(self, executor: SupportsSubmit, f: Any, how: Convention, device: torch.device):
        self.executor = executor
        self.how = how
        threads = isinstance(executor, ThreadPoolExecutor)
        kind = device.type
        self.state = _State(
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            (kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)),
            torch.cuda.current_stream(device) if threads and kind == "cuda" else None,
            transforms_are_active(),
        )
        # To processes everything goes as bytes: what cannot be pickled shows here, and tensors do
        # not take one file descriptor each.
        self.pickled = isinstance(executor, ProcessPoolExecutor)
        self.f = self._dump(f, "f") if self.pickled else f

    def in_order(self, tasks: Iterable[tuple[Tensor, list[Any]]]) -> Generator["Task", None, None]:
        """The calls that are submitted for the tasks (points, args), in their order.

        What was submitted is cancelled when the iterator is closed.
        """
        pending: deque[Task] = deque()
        try:
            for points, args in tasks:
                pending.append(Task(points, self._submit(points, args)))
                if len(pending) == IN_FLIGHT:
                    yield pending.popleft()
            while pending:
                yield pending.popleft()
        finally:
            for task in pending:
                task.future.cancel()

    def outputs(self, task: "Task") -> tuple[list[Tensor], Any]:
        """Returns or raises as `call_f` does: not within `in_order`, which StopIteration would end.

        It waits for the task.
        """
        try:
            result = task.future.result()
        except BrokenExecutor as error:
            add_notes(error, task.points, task.points.shape[0])
            raise
        if self.pickled:
            result, raised = pickle.loads(result)
            if raised is not None:
                raise raised
        return pytree.tree_flatten(result)

    def _submit(self, points: Tensor, args: list[Any]) -> Any:
        common = (self.how, self.state, _here())
        if self.state.transformed:
            args = [_without_transforms(arg) for arg in args]
        if self.pickled:
            # A tensor that is no leaf cannot be pickled.
            plain = [_as_leaf(arg) if isinstance(arg, Tensor) else arg for arg in args]
            task = self._dump((points.detach(), plain), "args")
            return self.executor.submit(_run_pickled, self.f, task, *common)
        return self.executor.submit(_run, self.f, points, args, *common)

    def _dump(self, what: Any, name: str) -> bytes:
        try:
            return pickle.dumps(what, pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            shown = getattr(what, "__qualname__", type(what).__name__)
            raise TypeError(
                f"{name} must be picklable for executor={type(self.executor).__name__}, which "
                f"sends {'it' if name == 'f' else 'them'} to other processes, got {shown}, which "
                f"pickle refuses ({error}); define functions at the top level of a module, and "
                "smooth them under another name, or pass a ThreadPoolExecutor"
            ) from error


def _without_transforms(arg: Any) -> Any:
    if not isinstance(arg, Tensor):
        return arg
    if requires_grad(arg) or has_tangent(arg):
        raise NotImplementedError(
            "torch.func does not reach through executor of torchsmooth.smooth into args of f: take "
            "their gradients by torch.autograd, or leave the executor out"
        )
    return unwrapped(arg)


def _as_leaf(t: Tensor) -> Tensor:
    return t.detach().requires_grad_(t.requires_grad)


def _here() -> tuple[str, int]:
    """Tells this process from all others."""
    return _NAME, os.getpid()


def _run(
    f: Any,
    points: Tensor,
    args: list[Any],
    how: Convention,
    state: _State,
    home: tuple[str, int],
) -> Any:
    """One task, by a worker."""
    name, process = _here()
    if name == home[0] and process != home[1]:
        # Forked: torch's other threads stayed with the parent, and would be waited for.
        torch.set_num_threads(1)
    with state.restored():
        leaves, spec = call_f(f, points, args, how)
    if (name, process) != home and any(leaf.requires_grad for leaf in leaves):
        raise ValueError(
            "f must return tensors without a graph from another process, where their gradient in "
            "f's own arguments and parameters would be lost, got one that requires grad; pass a "
            "ThreadPoolExecutor, or detach what f returns"
        )
    # Copied before this worker calls f again, which may fill its own buffer.
    return pytree.tree_unflatten([leaf.clone() for leaf in leaves], spec)


def _run_pickled(f: bytes, task: bytes, *common: Any) -> bytes:
    try:
        result = _run(pickle.loads(f), *pickle.loads(task), *common)
    except Exception as error:
        return pickle.dumps((None, _sendable(error)))
    return pickle.dumps((result, None))


def _sendable(error: Exception) -> Exception:
    """The exception, or what tells of it where it does not survive being pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
        return RuntimeError(
            f"f raised {type(error).__qualname__}, which cannot be sent between processes: "
            f"{error}{notes}"
        )
    return error
