"""The base of all layers: a typed call, and errors that name the layer."""

import abc
import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, ParamSpec, TypeVar

import torch
from torch import Tensor, fx, nn

from .._torch_internals import values_are_readable
from ..distributions import AbstractDistribution


P = ParamSpec("P")
R = TypeVar("R")


class AbstractLayer(nn.Module, abc.ABC, Generic[P, R]):
    """A layer of this package. `P` is what it is called with, and `R` what it returns.

    `torch.fx` takes it for one operation, as it does with the layers of PyTorch.

    **Subclassing.** Subclasses are final or abstract. Final ones implement `_compute`. `_options`
    names the attributes that are arguments of the function behind the layer, besides its inputs and
    the noise; `repr` shows them, and those that abstract classes name.
    """

    _options: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__init__ = _explain_calls(cls.__init__)  # type: ignore[method-assign]

    if TYPE_CHECKING:  # torch declares that calls take and return anything

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    def forward(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Computes what the class describes."""
        for value in (*args, *kwargs.values()):
            if isinstance(value, fx.Proxy):
                return _as_leaf(self, value.tracer, args, kwargs)  # type: ignore[no-any-return]
        return self._compute(*args, **kwargs)

    @abc.abstractmethod
    def _compute(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The layer's function."""

    def _hold(self, name: str, value: object) -> None:
        """Makes a tensor a buffer, and anything else (modules, parameters) an attribute."""
        if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
            self.register_buffer(name, value)
        else:
            setattr(self, name, value)

    def _given(self) -> dict[str, Any]:
        """The options by their names, as the function takes them."""
        return {name: getattr(self, name) for name in self._options}

    def extra_repr(self) -> str:
        options = {name: getattr(self, name) for name in self._shown()}
        return ", ".join(
            f"{name}={_describe(value)}"
            for name, value in options.items()
            if not isinstance(value, nn.Module)  # torch shows these itself
        )

    def _shown(self) -> tuple[str, ...]:
        """The names of all options, those of abstract classes first."""
        classes = reversed(type(self).__mro__)
        return tuple(
            dict.fromkeys(name for cls in classes for name in vars(cls).get("_options", ()))
        )


def own(value: object, name: str) -> object:
    """The part of an argument that a layer keeps: a copy of a tensor, anything else as it is."""
    if not isinstance(value, Tensor) or isinstance(value, nn.Parameter):
        return value
    if value.requires_grad:
        raise ValueError(
            f"{name} must be a number, a tensor that requires no grad, because the layer keeps a "
            "copy, or an nn.Parameter, got a tensor that requires grad; pass "
            f"nn.Parameter({name}.detach()) if it is to be learned, or use torchsmooth.soft"
        )
    return value.clone()


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        # The values of larger tensors stay out: they may be many, or on a busy device.
        if value.numel() == 1 and values_are_readable(value):
            return repr(torch.as_tensor(value).detach())
        return f"<{value.dtype} tensor of shape {tuple(value.shape)}>"
    if callable(value):
        return str(getattr(value, "__name__", value))
    return repr(value)


def _as_leaf(layer: nn.Module, tracer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return tracer.create_proxy("call_module", tracer.path_of_module(layer), args, kwargs)


def _explain_calls(init: Callable[..., None]) -> Callable[..., None]:
    """The same `__init__`, whose errors about arguments name the class that was called."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def explained(self: AbstractLayer[Any, Any], *args: Any, **kwargs: Any) -> None:
        if type(self).__init__ is explained:  # otherwise a subclass calls, and has been checked
            _check_call(type(self).__name__, signature, args, kwargs)
        init(self, *args, **kwargs)

    return explained


def _check_call(
    layer: str, signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    try:
        given = signature.bind(None, *args, **kwargs).arguments
    except TypeError as error:
        parameters = list(signature.parameters.values())[1:]
        bare = [p.replace(annotation=p.empty) for p in parameters]
        shown = signature.replace(parameters=bare, return_annotation=signature.empty)
        raise TypeError(f"{layer}: {error}; the signature is {layer}{shown}") from None
    law = given.get("distribution")
    if law is None or isinstance(law, AbstractDistribution):
        return
    for name, value in given.items():
        if isinstance(value, AbstractDistribution):
            order = [p.name for p in signature.parameters.values() if p.kind < p.VAR_POSITIONAL]
            raise TypeError(
                f"distribution must be a distribution of torchsmooth, got {type(law).__name__}, "
                f"and a distribution as {name}; the order is {layer}({', '.join(order[1:])})"
            )
