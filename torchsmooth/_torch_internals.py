"""The only user of torch's private parts: torch._C, torch._dynamo and torch._functorch.

Everything here answers a question about the surroundings of a call (a compiler, a transform of
torch.func, forward mode), or does what torch has no public function for.
"""

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch._functorch.pyfunctorch import temporarily_pop_interpreter_stack
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _disable_current_modes


P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


# What surrounds a call.


def transforms_are_active() -> bool:
    """Whether a transform of torch.func is at work."""
    active: bool = torch._C._are_functorch_transforms_active()
    return active


def transform_level() -> int:
    """How many transforms of torch.func are at work."""
    level: int | None = torch._C._functorch.maybe_current_level()
    return 0 if level is None else level


def in_forward_mode() -> bool:
    """Whether tensors may have tangents, by torch.func.jvp or by torch.autograd.forward_ad."""
    return forward_ad._current_level >= 0


def in_plain_eager() -> bool:
    """Whether nothing looks into an autograd function: no compiler, no transform, no dual numbers.

    Then it can do without `setup_context`, whose arguments `apply` binds to their names.
    """
    return not (torch.compiler.is_compiling() or transforms_are_active() or in_forward_mode())


def compiler_is_loaded() -> bool:
    """Whether Dynamo has been imported. Nothing imports it to ask: that takes a second."""
    return "torch._dynamo" in sys.modules


def refuse_nested_forward_mode() -> None:
    """To be called by rules for forward mode, whose result torch takes for a constant there."""
    levels = torch._C._functorch.get_interpreter_stack() or []
    if sum(level.key() == torch._C._functorch.TransformType.Jvp for level in levels) > 1:
        raise NotImplementedError(
            "forward mode of forward mode does not reach into torchsmooth: take second derivatives "
            "by torch.func.hessian, or by another order in which not both are forward mode"
        )


def frames_of_the_package() -> int:
    """The `stacklevel` that puts a warning of the caller at the user's line."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in (
        "torchsmooth",
        "torch",  # layers are called through torch.nn
    ):
        level, frame = level + 1, frame.f_back
    return level


# Tensors that transforms have wrapped.


def wrapped_tensors(t: Tensor) -> list[Tensor]:
    """The tensors that transforms of torch.func have wrapped in `t`, from the outside in."""
    inner = []
    while torch._C._functorch.is_functorch_wrapped_tensor(t):
        t = torch._C._functorch.get_unwrapped(t)
        inner.append(t)
    return inner


def unwrapped(t: Tensor) -> Tensor:
    """The plain tensor inside of wrappers, whose numbers can be read; no derivative passes it."""
    while torch._C._functorch.is_functorch_wrapped_tensor(t):
        t = torch._C._functorch.get_unwrapped(t)
    return t


def tensor_level(t: Tensor) -> int:
    """The transform of torch.func that wrapped the tensor, counted from 1; -1 if none did."""
    level: int = torch._C._functorch.maybe_get_level(t)
    return level


def is_mapped(t: Tensor) -> bool:
    """Whether torch.vmap maps over the tensor, or over one that is wrapped in it."""
    return any(map(torch._C._functorch.is_batchedtensor, (t, *wrapped_tensors(t))))


def requires_grad(t: Tensor) -> bool:
    """Whether the tensor, or one that transforms of torch.func have wrapped in it, does."""
    if torch.compiler.is_compiling():  # Dynamo cannot look into tensors
        return t.requires_grad
    return t.requires_grad or any(inner.requires_grad for inner in wrapped_tensors(t))


def has_tangent(t: Tensor) -> bool:
    """Whether `t` has a tangent, or one of the tensors does that torch.func has wrapped in it."""
    if not in_forward_mode():
        return False
    if torch.compiler.is_compiling():  # Dynamo cannot look into tensors
        return forward_ad.unpack_dual(t).tangent is not None
    functorch = torch._C._functorch
    top = functorch.peek_interpreter_stack()
    mapped = top is not None and top.key() == functorch.TransformType.Vmap
    if not mapped and forward_ad.unpack_dual(t).tangent is not None:
        return True
    if top is None or not functorch.is_functorch_wrapped_tensor(t):
        return False
    own = tensor_level(t) == top.level()
    with temporarily_pop_interpreter_stack():
        return has_tangent(functorch.get_unwrapped(t) if own else t)


def values_are_readable(tensor: Tensor) -> bool:
    """Whether looking at the tensor's values costs nothing and breaks nothing.

    That is: on the CPU, in eager mode, and not a stand-in for other values (fake tensors and other
    subclasses, tensors under `torch.func` transforms), nor traced as by `torch.func.linearize`.
    """
    return (
        not torch.compiler.is_compiling()
        and torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.PROXY) is None
        and type(tensor) in (Tensor, torch.nn.Parameter)
        and tensor.device.type == "cpu"
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    )


def has_values(tensor: Tensor) -> bool:
    """Whether there are numbers to look at, even if a device must be waited for.

    Not in tracing, nor while a CUDA graph is captured.
    """
    if tensor.device.type == "cuda":
        return type(tensor) in (Tensor, torch.nn.Parameter) and not (
            torch.compiler.is_compiling() or torch.cuda.is_current_stream_capturing()
        )
    return values_are_readable(tensor)


def materialized(t: Tensor) -> Tensor:
    """The tensor with memory behind it, which torch leaves out of derivatives that are zero."""
    if torch.compiler.is_compiling() or not unwrapped(t)._is_zerotensor():
        return t
    return torch.zeros(t.shape, dtype=t.dtype, device=t.device)


_BATCHED: Any = torch._C._parse_dispatch_key("Batched")


def is_batched_gradient(t: Tensor) -> bool:
    """Whether `torch.autograd.grad` was called with `is_grads_batched=True`.

    Its vmap is an older one than `torch.vmap`, and knows few operations.
    """
    if torch.compiler.is_compiling():
        return False
    batched: bool = torch._C._dispatch_keys(t).has(_BATCHED)
    return batched


def one_gradient_at_a_time(
    function: Callable[[Tensor], Sequence[Tensor | None]], gradients: Tensor
) -> list[Tensor | None]:
    """The result of the function for each gradient of a batch for which `is_batched_gradient`."""
    level = torch._C._vmapmode_increment_nesting() - 1
    torch._C._vmapmode_decrement_nesting()
    rows = torch._remove_batch_dim(gradients, level, 1, 0)
    results = [function(row.contiguous()) for row in rows]
    return [
        None if column[0] is None else torch._add_batch_dim(torch.stack(column), 0, level)
        for column in zip(*results, strict=True)
    ]


# Calls that torch should see in another way.


def below_autograd(op: Any, *args: Any) -> Any:
    """Calls an op from an autograd function, without the Python kernel that refuses gradients."""
    if torch.compiler.is_compiling() or transforms_are_active():
        return op(*args)
    with torch._C._AutoDispatchBelowAutograd():
        return op(*args)


@contextlib.contextmanager
def outside_of_transforms_and_modes() -> Iterator[None]:
    """Tensors made inside are plain ones, whatever transforms, traces or infers outside."""
    with torch.inference_mode(False), torch._C._DisableFuncTorch(), _disable_current_modes():
        yield


def function_modes() -> Iterator[Any]:
    """The modes of torch.overrides that are at work, innermost first."""
    for i in reversed(range(torch._C._len_torch_function_stack())):
        yield torch._C._get_function_stack_at(i)


# torch.compile.


def constant_in_graphs(function: F) -> F:
    """Makes Dynamo run a function while it traces, and take the result for a constant.

    `torch.compiler.assume_constant_result` does this too, but imports the compiler: more than a
    second.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def one_node(function: Callable[P, T]) -> Callable[P, T]:
    """Makes a function one node of Dynamo's graph, which the stages behind Dynamo see through.

    Dynamo would rebuild an autograd function from the operations in it. It loses second derivatives
    by that under transforms of torch.func, without an error, and refuses forward mode. The
    arguments must be tensors, numbers or strings.
    """

    # Called while a graph is traced, and no part of it. To register at import would import the
    # compiler.
    @constant_in_graphs
    def register() -> None:
        torch.compiler.allow_in_graph(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if torch.compiler.is_compiling():
            register()
        return function(*args, **kwargs)

    return call


@contextlib.contextmanager
def stored_for_backward(like: Tensor) -> Iterator[None]:
    """Results computed inside are stored for the backward pass, if compiled for a CPU.

    A compiler would compute elementwise functions a second time there, because on GPUs that takes
    no longer than reading what was stored. On CPUs an exponential does. Whoever asks for
    `torch.utils.checkpoint` is not overruled.
    """
    # Not imported, because where nobody has, no graph is traced.
    traceback: Any = sys.modules.get("torch.fx.traceback")
    if traceback is None or not traceback.has_preserved_node_meta() or like.device.type != "cpu":
        yield
        return
    # The tags by which selective checkpointing tells the partitioner what to do.
    tags = {"recompute": torch.utils.checkpoint.CheckpointPolicy.MUST_SAVE, "ac_graph_id": 0}
    meta = traceback.current_meta
    added = {} if "recompute" in meta else tags
    meta.update(added)
    try:
        yield
    finally:
        for tag in added:
            del meta[tag]


COMPILER_FOLDER = str(Path(torch.__file__).parent / "_dynamo")


def lines_being_traced() -> list[tuple[str, int]]:
    """The files and lines that Dynamo traces, innermost first, for functions that it runs then."""
    from torch._dynamo.symbolic_convert import InstructionTranslator

    lines = []
    translator: Any = InstructionTranslator.current_tx().output.current_tx
    while translator is not None:
        lines.append((translator.f_code.co_filename, translator.lineno))
        translator = getattr(translator, "parent", None)
    return lines


def skip_code(code: CodeType) -> None:
    """Keeps Dynamo from starting at this code. It still traces into it from a program."""
    from torch._dynamo import decorators

    decorators.skip_code(code)  # type: ignore[attr-defined]  # of another module, and imported
