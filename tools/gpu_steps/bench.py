"""Steps that time every family of kernels, and what one would write in eager PyTorch."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from .journal import Step
from .target import ROOT, Target


# Output, first and last position, of n elements.
OUTCOMES: dict[str, Callable[[int], tuple[str, int, int]]] = {
    "argsort": lambda n: ("matrix", 0, n),
    "argmax": lambda n: ("matrix", 0, 1),
    "topk": lambda n: ("matrix", 0, (n + 1) // 2),
    "sort": lambda n: ("values", 0, n),
    "median": lambda n: ("values", (n - 1) // 2, (n - 1) // 2 + 1),
    "rank": lambda n: ("ranks", 0, n),
}

SORTS = [
    ("argsort", "logistic", "mc", 100, 5, 32768),
    ("argsort", "logistic", "mc", 100, 5, 1024),
    ("argsort", "logistic", "sobol", 100, 5, 32768),
    ("argsort", "gaussian", "mc", 100, 5, 32768),
    ("argsort", "wigner_semicircle", "mc", 100, 5, 32768),
    ("argsort", "logistic", "mc", 100, 3, 32768),
    ("argsort", "logistic", "mc", 100, 8, 32768),
    ("argsort", "logistic", "mc", 100, 16, 4096),
    ("argsort", "logistic", "mc", 16, 100, 4096),
    ("argsort", "logistic", "mc", 2, 1024, 1024),
    ("rank", "logistic", "mc", 100, 5, 32768),
    ("rank", "logistic", "sobol", 16, 100, 4096),
    ("rank", "logistic", "mc", 2, 1024, 1024),
    ("rank", "logistic", "mc", 2, 10000, 64),
    ("sort", "logistic", "mc", 100, 5, 32768),
    ("sort", "logistic", "mc", 16, 100, 4096),
    ("median", "logistic", "mc", 2, 1024, 1024),
    ("argmax", "gumbel", "mc", 100, 5, 32768),
    ("argmax", "gumbel", "mc", 16, 100, 4096),
    ("argmax", "gumbel", "mc", 2, 1024, 1024),
    ("topk", "logistic", "mc", 16, 100, 4096),
]
PATHS = [
    (70, 12, "mc", 1000),
    (70, 12, "sobol", 1000),
    (70, 12, "mc", 10000),
    (10, 24, "mc", 1000),
    (10, 30, "mc", 1000),
    (2, 96, "mc", 128),
]
IMAGES = [
    ("silhouette", 64, 768, 256),
    ("silhouette", 64, 1, 16384),
    ("lambert", 64, 64, 256),
    ("silhouette", 512, 16, 256),
    ("lambert", 256, 16, 256),
]
PERTURBED = [(100, 5, 25, 1024), (100, 5, 1, 32768), (100, 100, 1, 1024), (16, 144, 144, 1024)]


class Bench:
    """Makes the steps. A dry run has one element and four samples of everything."""

    def __init__(self, target: Target):
        sys.path.insert(0, str(ROOT / "benchmarks"))
        self.target = target
        self.ops = target.ops()

    def tensor(self, *shape: int) -> Tensor:
        generator = torch.Generator().manual_seed(sum(shape))
        return torch.randn(*shape, generator=generator).to(self.target.device)

    def drawing(self, sampler: str, n: int) -> tuple[Tensor, Tensor]:
        """Seed and direction numbers."""
        from kernel_cases.comparison import noise

        seed, table = noise(sampler, n)
        return seed.to(self.target.device), table.to(self.target.device)

    def size(self, b: int, s: int) -> tuple[int, int]:
        return (1, 4) if self.target.emulated else (b, s)

    def timed(self, call: Callable[[], object], graph: bool = True, **counts: float) -> dict:
        notes: dict[str, Any] = {"plain": self.target.milliseconds(call)}
        if graph:
            notes["graph"] = self.target.graphed(call)
        best = notes["graph" if graph else "plain"]["min"]
        for what, count in counts.items():
            notes[f"million {what} / s"] = count / best / 1e3
        return notes

    def sort(self, outcome: str, law: str, sampler: str, b: int, n: int, s: int) -> Iterator[Step]:
        what = f"{outcome} {law} {sampler} {b=} {n=} {s=}"
        b, s = self.size(b, s)
        output, first, last = OUTCOMES[outcome](n)
        shape = (last - first, n) if output == "matrix" else (last - first,)

        def tensors() -> tuple[Tensor, Tensor, tuple]:
            x, grad = self.tensor(b, n), self.tensor(b, *shape)
            scale = torch.ones(1, 1, device=self.target.device)
            descending = outcome in ("argmax", "topk")
            options = (law, sampler, False, s, descending, output, first, last)
            return x, grad, (x, scale, *self.drawing(sampler, n), *options)

        def forward() -> dict:
            _, _, call = tensors()
            return self.timed(lambda: self.ops.sort(*call, "mean", 1 / s, 0.0, "none"))

        def both() -> dict:
            _, grad, call = tensors()

            def step() -> None:
                mean = self.ops.sort(*call, "mean", 1 / s, 0.0, "none")[0]
                center = (mean * grad).flatten(1).sum(1)
                self.ops.sort_backward(grad, center, *call, 1 / s, 0.0, False)

            return self.timed(step, sorts=b * s)

        def eager() -> dict:
            from eager import EagerSmoothing, permutation_matrices, ranks

            x, grad, _ = tensors()
            variable = x.clone().requires_grad_()
            functions = {
                "argsort": permutation_matrices,
                "rank": ranks,
                "sort": lambda y: y.sort(-1).values,
            }

            def step() -> None:
                mean = EagerSmoothing.apply(variable, functions[outcome], 1.0, s)
                torch.autograd.grad(mean, variable, grad)

            return self.timed(step, graph=False)

        yield Step("bench", f"forward, {what}", forward)
        yield Step("bench", f"forward + backward, {what}", both)
        numbers = b * s * n * (n if output == "matrix" else 1)
        if outcome in ("argsort", "rank", "sort") and law == "logistic" and numbers < 2e8:
            yield Step("bench", f"eager PyTorch, {what}", eager)

    def path(self, b: int, side: int, sampler: str, s: int) -> Iterator[Step]:
        what = f"shortest path logistic {sampler} {b=} {side} x {side} {s=}"
        b, s = self.size(b, s)

        def both() -> dict:
            from kernel_cases.shortest_path import ends

            x, grad = 5 + self.tensor(b, side, side).abs(), self.tensor(b, side, side)
            scale = torch.ones(1, 1, device=self.target.device)
            options = ("logistic", sampler, False, s, *ends(side, side, 8))
            call = (x, scale, *self.drawing(sampler, side * side), *options)

            def step() -> None:
                center = (self.ops.shortest_path(*call) * grad).flatten(1).sum(1)
                self.ops.shortest_path_backward(grad, center, *call, 1 / s, 0.0, False)

            return self.timed(step, paths=b * s)

        yield Step("bench", f"forward + backward, {what}", both)

    def image(self, output: str, size: int, b: int, s: int) -> Iterator[Step]:
        what = f"{output} of 2450 triangles {size=} {b=} {s=}"
        b, s = self.size(b, s)

        def both() -> dict:
            from kernel_cases.render import torus

            mesh = [t.to(self.target.device) for t in torus(35)]
            poses = torch.tensor([[3.0, 30.0, 40.0, 20.0]]).repeat(b, 1).to(self.target.device)
            spread = torch.tensor([[0.1, 5.0, 5.0, 0.25]]).to(self.target.device)
            options = ("logistic", "mc", False, s, size, output)
            call = (poses, *mesh, spread, *self.drawing("mc", 4), *options)
            grad = self.tensor(b, size, size)
            center = torch.zeros(b, device=self.target.device)

            def step() -> None:
                self.ops.render(*call, "none", 1 / s, 0.0, "none")
                self.ops.render_backward(grad, center, *call, 1 / s, 0.0, False)

            return self.timed(step, graph=False, images=b * s)

        yield Step("bench", f"forward + backward, {what}", both)

    def perturb(self, b: int, n: int, m: int, s: int) -> Iterator[Step]:
        what = f"{b=} {n=} {s=}"
        b, s = self.size(b, s)
        options = ("logistic", "mc", False, s)

        def perturb() -> dict:
            scale = torch.ones(1, 1, device=self.target.device)
            call = (self.tensor(b, n), scale, *self.drawing("mc", n), *options, 0, b * s)
            return self.timed(lambda: self.ops.perturb(*call))

        def randn() -> dict:
            return self.timed(lambda: torch.randn(b * s, n, device=self.target.device))

        def reduce() -> dict:
            values, pivot = self.tensor(b * s, m), torch.zeros(b, m, device=self.target.device)
            call = (values, pivot, *self.drawing("mc", n), *options, n, 0.0, "none", 0, b * s)
            return self.timed(lambda: self.ops.reduce(*call))

        def eager() -> dict:
            values, scores = self.tensor(b, s, m), self.tensor(b, s, n)
            return self.timed(lambda: torch.einsum("bsm,bsn->bmn", values, scores))

        yield Step("bench", f"perturb {what}", perturb)
        yield Step("bench", f"torch.randn {what}", randn)
        yield Step("bench", f"reduce {what} {m=}", reduce)
        yield Step("bench", f"eager PyTorch, sums of stored scores {what} {m=}", eager)


def steps(target: Target) -> Iterator[Step]:
    bench = Bench(target)
    for make, table in [
        (bench.sort, SORTS),
        (bench.path, PATHS),
        (bench.image, IMAGES),
        (bench.perturb, PERTURBED),
    ]:
        for row in table:
            yield from make(*row)
