"""What holds for every layer: its names and signature, its errors, its copies, its place in fx."""

import copy
import inspect
import io
import pickle
import pydoc
import re
import typing
from collections.abc import Callable
from typing import Any

import pytest
import torch
from every_layer import EXAMPLES, LAW, WITH_NOISE, Example
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

import torchsmooth as ts


# --- names -----------------------------------------------------------------------------------

# What the rule for names does not give: the layer of a function.
RENAMED = {
    "soft.while_loop": "SoftWhile",
    "soft.gumbel_softmax": "GumbelSoftmax",
    "smooth": "Smooth",
    "fenchel_young_loss": "FenchelYoungLoss",
    "blackbox": "BlackBox",
    "straight_through": "StraightThrough",
}
FORMULA = "a formula of its arguments, with neither noise nor state"
# Functions without a layer, and why.
WITHOUT = {
    "soft.all": FORMULA,
    "soft.any": FORMULA,
    "soft.logical_and": FORMULA,
    "soft.logical_not": FORMULA,
    "soft.logical_or": FORMULA,
    "soft.logical_xor": FORMULA,
    "soft.where": FORMULA,
    "clarke": "analyses a function",
    "diagnose": "analyses a function",
    "directional_derivative": "analyses a function",
    "estimate": "analyses a function",
    "tune": "analyses a function",
    "soften": "changes the code that is called, layers included",
}


def functions() -> list[str]:
    found = []
    for prefix, namespace in (("", ts), ("functional.", ts.functional), ("soft.", ts.soft)):
        for name in namespace.__all__:
            value = getattr(namespace, name)
            if inspect.isfunction(value):
                found.append(prefix + name)
    return found


def layer_of(function: str) -> str:
    """CamelCase of the name, after Soft for `soft`: up to the case, which only readers know."""
    if function in RENAMED:
        return RENAMED[function]
    road, _, name = function.rpartition(".")
    wanted = ("soft" if road == "soft" else "") + name.replace("_", "")
    return next((layer for layer in ts.nn.__all__ if layer.lower() == wanted), wanted)


@pytest.mark.parametrize("function", functions())
def test_every_function_has_a_layer(function: str) -> None:
    """Or there is a reason why it has none."""
    assert (layer_of(function) in ts.nn.__all__) != (function in WITHOUT)


def test_lists_are_up_to_date() -> None:
    assert WITHOUT.keys() | RENAMED.keys() <= set(functions())
    layers = {
        name
        for name in ts.nn.__all__
        if issubclass(getattr(ts.nn, name), nn.Module) and not name.startswith("Abstract")
    }
    assert layers == EXAMPLES.keys()
    assert layers == {layer_of(name) for name in functions() if name not in WITHOUT}


# What a layer is called with, of its function's arguments, where that is not the first one.
INPUTS = {
    "smooth": (),
    "blackbox": (),
    "fenchel_young_loss": (),
    "straight_through": (),
    "soft.bisect": ("params",),
    "soft.implicit_bisect": ("params",),
    "soft.grid_search": (),
    "soft.cond": ("operands",),
    "soft.while_loop": ("carry",),
    "soft.take": ("x", "soft_index"),
    "soft.take_along_dim": ("x", "soft_index"),
    **{f"soft.{name}": ("a", "b") for name in ("equal", "greater", "less", "maximum", "minimum")},
}
# Arguments that a function of the layer's inputs takes the place of.
CALLED = {"soft.cond": {"margin": "margin_fn"}}
# The scale of the layer takes the place of the distribution.
WITHOUT_LAW = {"soft.gumbel_softmax"}


@pytest.mark.parametrize("function", [name for name in functions() if name not in WITHOUT])
def test_arguments_are_those_of_the_function(function: str) -> None:
    """In the same order, with the same defaults; then learn_scale and eval_mode."""
    value: Any = ts
    for part in function.split("."):
        value = getattr(value, part)
    of_function = inspect.signature(value).parameters
    inputs = INPUTS.get(function, tuple(of_function)[:1])
    called = CALLED.get(function, {})
    expected = {
        called.get(name, name): parameter.default
        for name, parameter in of_function.items()
        if name not in inputs
    }
    of_layer = inspect.signature(getattr(ts.nn, layer_of(function))).parameters
    own = {name: parameter.default for name, parameter in of_layer.items()}
    if "distribution" in expected or function in WITHOUT_LAW:
        assert own.pop("learn_scale") is False
        assert own.pop("eval_mode") == "smooth"
    else:
        assert not own.keys() & {"learn_scale", "eval_mode"}
    if function == "smooth":  # a decorator may leave f out, and the law has a default
        expected |= {"f": inspect.Parameter.empty, "distribution": ts.Logistic()}
    if function == "straight_through":
        expected = dict.fromkeys(expected, inspect.Parameter.empty)
    assert {k: repr(v) for k, v in own.items()} == {k: repr(v) for k, v in expected.items()}
    # The distribution of functions that take any number of inputs can only be a keyword; that of a
    # layer comes after what else is required.
    positional = [name for name, p in of_layer.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    if "distribution" in expected:
        assert positional[-1] == "distribution"
    required = [name for name in expected if name in positional]
    assert positional == [name for name in required if name != "distribution"] + (
        ["distribution"] if "distribution" in expected else []
    )


# --- what is written down --------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_keywords_are_written_out(name: str) -> None:
    """In help(), and for tools that read annotations."""
    layer = getattr(ts.nn, name)
    signature = inspect.signature(layer)
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    assert not kinds & {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    hints = typing.get_type_hints(layer.__init__)
    assert hints.keys() == signature.parameters.keys() | {"return"}
    summary = inspect.getdoc(layer).splitlines()[0]
    shown = pydoc.plain(pydoc.render_doc(layer)).split(summary)[0]
    for parameter in signature.parameters:
        assert f"{parameter}: " in shown
    for option in {"eval_mode", "covariate", "output", "reduction"} & hints.keys():
        assert typing.get_origin(hints[option]) is typing.Literal


@pytest.mark.parametrize("name", EXAMPLES)
def test_docstrings_have_all_sections(name: str) -> None:
    text = inspect.getdoc(getattr(ts.nn, name)) or ""
    places = [text.find(part) for part in ("**Arguments:**", "**Returns:**", "**Raises:**", ">>>")]
    assert -1 not in places and places == sorted(places)
    summary = text.split("**Arguments:**")[0]
    assert re.search(r"`torchsmooth\.\w+(\.\w+)?`", summary)  # the function


@pytest.mark.parametrize("name", EXAMPLES)
def test_classes_are_final(name: str) -> None:
    layer = getattr(ts.nn, name)
    assert not inspect.isabstract(layer)
    assert layer.__subclasses__() == []
    assert getattr(layer, "__final__", True)  # Python 3.10 does not mark them


@pytest.mark.parametrize("name", EXAMPLES)
def test_representation_shows_all_options(name: str) -> None:
    module = EXAMPLES[name].make()
    text = repr(module)
    for option in inspect.signature(type(module)).parameters:
        if option not in ("distribution", "temperature"):
            assert f"{option}=" in text
    assert len(text) < 600 and "\n" not in text


# --- errors ----------------------------------------------------------------------------------


def message_of(call: Callable[[], Any], error: type[Exception]) -> str:
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and not message.endswith(".")
    return message


@pytest.mark.parametrize("name", EXAMPLES)
def test_errors_of_calls_name_the_layer(name: str) -> None:
    """With its signature, whatever class its `__init__` is written in."""
    layer = getattr(ts.nn, name)
    parameters = inspect.signature(layer).parameters
    calls: list[Callable[[], Any]] = [lambda: EXAMPLES[name].make(sigma=0.3)]
    calls.append(lambda: layer(*(None for _ in parameters), None))
    if any(p.default is p.empty for p in parameters.values()):
        calls.append(layer)
    for call in calls:
        message = message_of(call, TypeError)
        assert message.startswith(f"{name}: ")
        assert f"the signature is {name}({next(iter(parameters))}" in message
        assert "Abstract" not in message and "__init__" not in message
        for parameter in parameters:
            assert parameter in message


def test_the_message_without_a_law() -> None:
    assert message_of(ts.nn.ArgSort, TypeError) == (
        "ArgSort: missing a required argument: 'distribution'; the signature is ArgSort("
        "distribution, *, dim=-1, descending=False, num_samples=1024, sampler='auto', "
        "antithetic=False, covariate='loo', seed=None, learn_scale=False, eval_mode='smooth')"
    )


@pytest.mark.parametrize(
    "call, order",
    [
        (lambda: ts.nn.TopK(LAW, 2), "TopK(k, distribution)"),
        (lambda: ts.nn.Quantile(LAW, 0.5), "Quantile(q, distribution)"),
        (lambda: ts.nn.Render(LAW, X, X), "Render(vertices, faces, distribution)"),
        (lambda: ts.nn.SoftClamp(LAW, 0.0, 1.0), "SoftClamp(lo, hi, distribution)"),
        (lambda: ts.nn.SoftArgMax(LAW, 0), "SoftArgMax(dim, distribution)"),
        (lambda: ts.nn.SoftEqual(LAW, 0.1), "SoftEqual(tolerance, distribution)"),
        (lambda: ts.nn.Smooth(LAW, torch.sign), "Smooth(f, distribution)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_order_of_arguments(call: Callable[[], Any], order: str) -> None:
    """A distribution in another place is answered with the order."""
    message = message_of(call, TypeError)
    assert "distribution must be a distribution of torchsmooth, got " in message
    assert message.endswith(f"; the order is {order}")


X = torch.zeros(3, 3)


def test_errors_of_subclasses_are_checked_once() -> None:
    """The signature of the class that was called counts, not that of the one it extends."""

    class Own(ts.nn.AbstractSmoothingLayer[[Tensor], Tensor]):
        def __init__(self, width: int) -> None:
            super().__init__(ts.Logistic(float(width)))

        def _smooth(self, x: Tensor) -> Tensor:
            return ts.soft.relu(x, self.distribution)

        def _hard(self, x: Tensor) -> Tensor:
            return x.relu()

    assert "the signature is Own(width)" in message_of(Own, TypeError)
    x = torch.linspace(-1, 1, 5)
    torch.testing.assert_close(Own(2)(x), ts.soft.relu(x, ts.Logistic(2.0)))


# --- copies ----------------------------------------------------------------------------------


def leaves(value: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]


def assert_same(actual: Any, expected: Any) -> None:
    assert type(actual) is type(expected)
    for a, b in zip(leaves(actual), leaves(expected), strict=True):
        assert torch.equal(a, b)


def saved_and_loaded(module: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    loaded: nn.Module = torch.load(file, weights_only=False)
    return loaded


COPIES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda module: pickle.loads(pickle.dumps(module)),
    "torch.save": saved_and_loaded,
}


def options_of(name: str) -> list[dict[str, Any]]:
    if name not in WITH_NOISE:
        return [{}]
    return [{"learn_scale": learn, "eval_mode": "hard"} for learn in (False, True)]


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("name", EXAMPLES)
def test_copies(name: str, copied: str) -> None:
    """They compute the same, smooth and exact, and share no state."""
    make, inputs = EXAMPLES[name]
    for options in options_of(name):
        module = make(**options)
        other = COPIES[copied](module)
        assert repr(other) == repr(module)
        for training in (True, False):
            assert_same(other.train(training)(*inputs), module.train(training)(*inputs))
        if options:
            expected = module.train()(*inputs)
            other.train().scale = 0.1 * other.scale
            assert any(
                not torch.equal(a, b)
                for a, b in zip(leaves(other(*inputs)), leaves(expected), strict=True)
            )
            assert_same(module(*inputs), expected)


@pytest.mark.parametrize("name", EXAMPLES)
def test_state_dict_round_trip(name: str) -> None:
    """Through a file that is not trusted."""
    make, inputs = EXAMPLES[name]
    for options in options_of(name):
        module, restored = make(**options), make(**options)
        if options:
            module.scale = 0.9 * module.scale
        file = io.BytesIO()
        torch.save(module.state_dict(), file)
        file.seek(0)
        restored.load_state_dict(torch.load(file, weights_only=True), strict=True)
        assert_same(restored(*inputs), module(*inputs))
        for key, value in module.state_dict().items():
            assert torch.equal(restored.state_dict()[key], value)


# --- torch.fx --------------------------------------------------------------------------------


class Model(nn.Module):
    """A layer among other operations, called with more inputs than one."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.body = nn.ModuleDict({"layer": layer})

    def forward(self, x: Tensor, *rest: Tensor) -> Any:
        return self.body["layer"](x * 1.0, *rest)


def traced(example: Example, **options: Any) -> tuple[nn.Module, fx.GraphModule]:
    model = Model(example.make(**options))
    arguments = [f"x{i}" for i in range(len(example.inputs))]
    # symbolic_trace cannot see how many arguments *rest has.
    scope: dict[str, Any] = {"model": model, "nn": nn}
    exec(
        "class Wrapped(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.model = model\n"
        f"    def forward(self, {', '.join(arguments)}):\n"
        f"        return self.model({', '.join(arguments)})\n",
        scope,
    )
    wrapped = scope["Wrapped"]()
    return wrapped, fx.symbolic_trace(wrapped)


@pytest.mark.parametrize("name", EXAMPLES)
def test_fx_takes_layers_for_one_operation(name: str) -> None:
    """Which does after tracing what it does before: in training and in exact evaluation."""
    example = EXAMPLES[name]
    for options in options_of(name):
        wrapped, graph = traced(example, **options)
        targets = [node.target for node in graph.graph.nodes if node.op == "call_module"]
        assert targets == ["model.body.layer"]
        graph.graph.lint()
        for training in (True, False):
            actual = graph.train(training)(*example.inputs)
            assert_same(actual, wrapped.train(training)(*example.inputs))
