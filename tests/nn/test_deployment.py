"""Models with layers inside: compiled, saved, loaded and exported."""

import copy
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch._dynamo
from torch import Tensor, nn

import torchsmooth as ts
import torchsmooth.nn
from torchsmooth import samplers


# Warnings of the compiler and of the exporter are about themselves.
pytestmark = [
    pytest.mark.compiled,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

LAYERS: dict[str, Callable[..., nn.Module]] = {
    "argsort": lambda **options: ts.nn.ArgSort(ts.Logistic(0.5), **options),
    "sort": lambda **options: ts.nn.Sort(ts.Gaussian(0.5), descending=True, **options),
    "rank": lambda **options: ts.nn.Rank(ts.Cauchy(0.5), **options),
    "argmax": lambda **options: ts.nn.ArgMax(ts.Gumbel(0.5), **options),
    "topk": lambda **options: ts.nn.TopK(2, ts.Laplace(0.5), **options),
    "median": lambda **options: ts.nn.Median(ts.Triangular(0.5), keepdim=True, **options),
    "quantile": lambda **options: ts.nn.Quantile(
        torch.tensor([0.1, 0.6]), ts.Gaussian(0.5), **options
    ),
    "any callable": lambda **options: ts.nn.Smooth(
        lambda y: y.cumsum(-1).sign(), ts.Gaussian(torch.full((4,), 0.5)), **options
    ),
    "module": lambda **options: ts.nn.Smooth(nn.Linear(4, 2), ts.Gaussian(0.5), **options),
}


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def make(name: str, device: torch.device, **options: Any) -> nn.Module:
    layer = LAYERS[name](**{"num_samples": 16, "seed": 3, **options})
    return nn.Sequential(nn.Linear(4, 4), layer).to(device)


def train(model: nn.Module, step: Callable[[Tensor], Tensor], device: torch.device) -> list[float]:
    """Five steps of Adam towards the permutation that reverses every row."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(32, 4, generator=generator).to(device)
    target = ts.hard.argsort(x, descending=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = (step(x) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_a_compiled_model_trains(device: torch.device) -> None:
    """As in eager mode, with its scale; then it sorts exactly in evaluation."""
    model = make("argsort", device, learn_scale=True, eval_mode="hard", num_samples=64)
    eager = copy.deepcopy(model)
    losses = train(model, torch.compile(model, fullgraph=True), device)
    torch.testing.assert_close(losses, train(eager, eager, device), rtol=1e-4, atol=1e-5)
    assert losses[-1] < losses[0]
    assert not torch.allclose(model[1].scale, torch.tensor(0.5, device=device))
    for p, q in zip(model.parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-4)

    x = torch.randn(3, 4, device=device)
    compiled = torch.compile(model.eval(), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x), ts.hard.argsort(model[0](x)))


@pytest.mark.parametrize("name", LAYERS)
def test_compiled_equals_eager(name: str, device: torch.device) -> None:
    """Values and all gradients, for every layer, in one graph."""
    model = make(name, device, learn_scale=True)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    x = torch.randn(3, 4, device=device, requires_grad=True)
    leaves = (x, *model.parameters())
    actual, expected = compiled(x), model(x)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    weight = torch.randn_like(expected)
    in_actual, in_expected = (
        torch.autograd.grad((weight * value).sum(), leaves) for value in (actual, expected)
    )
    torch.testing.assert_close(in_actual, in_expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", LAYERS)
def test_compiled_hard_equals_eager(name: str, device: torch.device) -> None:
    model = make(name, device, eval_mode="hard").eval()
    x = torch.randn(3, 4, device=device)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), model(x))


def test_a_schedule_does_not_recompile(device: torch.device) -> None:
    """One graph for every scale, assigned, scheduled or loaded, and for every seed."""
    seed = torch.tensor(3)
    model = make("argsort", device, seed=seed)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    x = torch.randn(3, 4, device=device)
    schedule = ts.nn.ExponentialScale(compiled, 1.0, 0.01, 10)
    before = copy.deepcopy(model.state_dict())
    compiled(x)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(3):
            schedule.step()
            assert torch.equal(compiled(x), model(x))
        model[1].scale = 0.7
        expected = ts.functional.argsort(model[0](x), ts.Logistic(0.7), num_samples=16, seed=3)
        assert torch.equal(compiled(x), expected)
        model[1].seed.fill_(4)
        expected = ts.functional.argsort(model[0](x), ts.Logistic(0.7), num_samples=16, seed=4)
        assert torch.equal(compiled(x), expected)
        model.load_state_dict(before)
        expected = ts.functional.argsort(model[0](x), ts.Logistic(1.0), num_samples=16, seed=3)
        assert torch.equal(compiled(x), expected)


def test_a_captured_graph_follows_the_scale(device: torch.device) -> None:
    if device.type != "cuda":
        pytest.skip("CUDA graphs need a CUDA device")
    model = make("argsort", device)
    x = torch.randn(3, 4, device=device)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.no_grad(), torch.cuda.stream(stream):
        model(x)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        value = model(x)
    schedule = ts.nn.ExponentialScale(model, 1.0, 0.01, 10)
    for _ in range(3):
        schedule.step()
        graph.replay()
        assert torch.equal(value, model(x))


@pytest.mark.parametrize("learn_scale", [False, True])
@pytest.mark.parametrize("name", [name for name in LAYERS if name != "any callable"])
def test_saved_and_loaded(name: str, learn_scale: bool, device: torch.device) -> None:
    """The state_dict, without trusting the file, and the whole model."""
    model = make(name, device, learn_scale=learn_scale, eval_mode="hard")
    model[1].scale = 0.8
    x = torch.randn(3, 4, device=device)
    state, whole = io.BytesIO(), io.BytesIO()
    torch.save(model.state_dict(), state)
    torch.save(model, whole)
    state.seek(0)
    whole.seek(0)
    restored = make(name, device, learn_scale=learn_scale, eval_mode="hard")
    restored.load_state_dict(torch.load(state, weights_only=True), strict=True)
    loaded = torch.load(whole, weights_only=False)
    for _ in range(2):
        expected = model(x)
        assert torch.equal(restored(x), expected)
        assert torch.equal(loaded(x), expected)
        for m in (model, restored, loaded):
            m.eval()


@pytest.mark.parametrize("training", [True, False], ids=["smooth", "hard"])
@pytest.mark.parametrize(
    "name, learn_scale", [("argsort", False), *((name, True) for name in LAYERS)]
)
def test_exported(
    name: str,
    training: bool,
    learn_scale: bool,
    device: torch.device,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Saved and loaded as a program, it computes the same, for other batches too."""
    model = make(name, device, learn_scale=learn_scale, eval_mode="hard").train(training)
    monkeypatch.setattr(samplers, "_sobol_tables", {})  # as in a process that exports first of all
    batch = torch.export.Dim("batch", min=2, max=64)
    x = torch.randn(5, 4, device=device)
    program = torch.export.export(model, (x,), dynamic_shapes=({0: batch},))
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    for elements in (5, 9):
        x = torch.randn(elements, 4, device=device)
        assert torch.equal(loaded(x), model(x))


def test_an_exported_program_without_a_seed_draws_one(device: torch.device) -> None:
    model = make("argsort", device, seed=None)
    x = torch.randn(5, 4, device=device)
    program = torch.export.export(model, (x,)).module()
    torch.manual_seed(5)
    first, second = program(x), program(x)
    torch.manual_seed(5)
    assert torch.equal(program(x), first)
    assert not torch.equal(first, second)
