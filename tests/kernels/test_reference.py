"""The plain PyTorch twins against arithmetic in Python, and against expectations in closed form.

That the compiled ops equal their twins is tested in test_ops.py.
"""

import importlib
import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from laws import FACTS, difference
from torch import Tensor

import torchsmooth as ts
from torchsmooth._kernels import reference as reference
from torchsmooth._kernels.reference import philox
from torchsmooth._kernels.reference.samplers import cell_edge, word_in_cell
from torchsmooth.distributions import LAWS
from torchsmooth.samplers import SAMPLERS


CPU = torch.device("cpu")
MASK = 0xFFFFFFFF
WORDS = [0, 1, 2, 0x7FFFFFFF, 0x80000000, 0x9E3779B9, 0xFFFFFFFE, MASK]


def noise_options(
    n: int,
    law: Any = "gaussian",
    sampler: str = "sobol",
    antithetic: bool = False,
    num_samples: int = 64,
    seed: int = 5,
) -> dict[str, Any]:
    """The arguments that say what the noise is."""
    return {
        "seed": torch.tensor(seed),
        "directions": SAMPLERS[sampler].directions(n, CPU),
        "law": law,
        "sampler": sampler,
        "antithetic": antithetic,
        "num_samples": num_samples,
    }


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


class TestArithmetic:
    def test_products(self) -> None:
        for a, b in itertools.product(WORDS, WORDS):
            for second in (b, torch.tensor(b)):
                low = philox.low_product(torch.tensor(a), second)
                high = philox.high_product(torch.tensor(a), second)
                assert (int(low), int(high)) == (a * b & MASK, a * b >> 32)

    def test_reversed_bits(self) -> None:
        for word in WORDS:
            expected = int(f"{word:032b}"[::-1], 2)
            assert int(philox.reverse_bits(torch.tensor(word))) == expected

    @pytest.mark.parametrize("cells", [2, 3, 7, 10, 1000, 2**15, 2**20 - 1, 2**29, 2**30])
    def testcell_edges(self, cells: int) -> None:
        cell = [0, 1, 2, cells // 3, cells // 2, cells - 1, cells]
        edges = cell_edge(torch.tensor(cell), cells).tolist()
        assert edges == [(c * (2**63 // cells) + 2**30) >> 31 for c in cell]
        for c, edge in zip(cell, edges, strict=True):
            # The first word w with (w + 1/2) / 2^32 >= c / cells.
            first = math.ceil(Fraction(c * 2**32, cells) - Fraction(1, 2))
            assert abs(edge - first) <= (0 if cells <= 2**15 else 1)

    def test_words_in_a_cell_stay_there(self) -> None:
        jitter = torch.tensor(WORDS)
        for cells in (1, 2, 3, 1000, 2**30):
            for cell in {0, cells // 2, cells - 1}:
                word = word_in_cell(torch.full_like(jitter, cell), cells, jitter)
                low, high = cell_edge(torch.tensor([cell, cell + 1]), cells)
                assert ((word >= low) & (word < high)).all()


class TestWords:
    @pytest.mark.parametrize("sampler", SAMPLERS)
    def test_ranges_of_rows(self, sampler: str) -> None:
        n, s, batch = 2, 16, 3
        options = noise_options(n, sampler=sampler, num_samples=s)
        del options["law"]
        whole = reference.words(**options, n=n, start=0, stop=batch * s)
        assert whole.shape == (batch * s, n) and whole.dtype == torch.int64
        for start, stop in ((0, 0), (5, 6), (15, 17), (3, 48), (16, 32)):
            part = reference.words(**options, n=n, start=start, stop=stop)
            assert torch.equal(part, whole[start:stop])

    def test_words_on_every_device(self, device: torch.device) -> None:
        for sampler in SAMPLERS:
            options = noise_options(2, sampler=sampler, num_samples=16)
            del options["law"]
            on_device = {
                name: value.to(device) if isinstance(value, Tensor) else value
                for name, value in options.items()
            }
            expected = reference.words(**options, n=2, start=0, stop=48)
            words = reference.words(**on_device, n=2, start=0, stop=48)
            assert torch.equal(words.cpu(), expected)


class TestWeights:
    @pytest.mark.parametrize("law", LAWS)
    def test_weights_have_the_right_means(self, law: str) -> None:
        # Over words in the middle of 2^16 equal cells: the midpoint rule for the integral over u.
        # Its error is that of the last cells: where the score grows as tail^-p, some 2^(-16 (1-p)).
        # Its moments end at 1/p.
        words = (torch.arange(2**16) << 16) + 2**15
        _, score, scale = reference.draw_weights(law, words, torch.float64, 0.0)
        assert abs(float(score.mean())) < 1e-4
        tolerance = 2.0 ** (1 - min(math.ceil(16 - 16 / FACTS[law].score_moments), 12))
        assert abs(float(scale.mean())) < tolerance

    def test_pair_weight(self) -> None:
        words = torch.tensor(WORDS)
        for law in LAWS:
            noise, score, scale = reference.draw_weights(law, words, torch.float64, 0.0)
            _, mirror, mirror_scale = reference.draw_weights(law, MASK - words, torch.float64, 0.0)
            paired = reference.draw_weights(law, words, torch.float64, 0.25)
            torch.testing.assert_close(paired[0], noise)
            torch.testing.assert_close(paired[1], 1.25 * score + 0.25 * mirror)
            torch.testing.assert_close(paired[2], 1.25 * scale + 0.25 * mirror_scale)

    def test_functions_of_laws(self) -> None:
        x = torch.tensor([0.1, 0.4], dtype=torch.float64)
        for law, function in itertools.product(LAWS, ("icdf", "cdf", "log_prob", "score")):
            expected = getattr(LAWS[law](), function)(x)
            assert torch.equal(reference.evaluate_law(x, law, function), expected)


class TestPerturb:
    def test_elementwise_scales(self) -> None:
        batch, n, s = 3, 4, 8
        x, options = random(batch, n), noise_options(n, "logistic", num_samples=s)
        rows = {"start": 0, "stop": batch * s}
        noise = reference.perturb(torch.zeros_like(x), torch.ones(1, 1), **options, **rows)
        for shape in ((1, 1), (1, n), (batch, 1), (batch, n)):
            scale = random(*shape).exp()
            y = reference.perturb(x, scale, **options, **rows)
            expected = x[:, None] + scale[:, None] * noise.reshape(batch, s, n)
            torch.testing.assert_close(y, expected.reshape(-1, n))

    @pytest.mark.parametrize("matrices", [1, 3])
    def test_scale_matrix(self, matrices: int) -> None:
        batch, n, s = 3, 4, 8
        x, options = random(batch, n), noise_options(n, "gumbel", num_samples=s)
        matrix = random(matrices, n, n)
        noise = reference.perturb(
            torch.zeros_like(x), torch.ones(1, 1), **options, start=0, stop=batch * s
        )
        expected = x[:, None] + (matrix[:, None] @ noise.reshape(batch, s, n, 1)).squeeze(-1)
        for start, stop in ((0, batch * s), (5, 21), (0, 0)):
            y = reference.perturb(x, matrix, **options, start=start, stop=stop)
            torch.testing.assert_close(y, expected.reshape(-1, n)[start:stop])

    def test_a_law_in_place_of_its_name(self) -> None:
        zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
        law = ts.FromTorch(torch.distributions.Normal(zero, one))
        x, values, pivot = random(2, 3), random(16, 2), random(2, 2)
        rows = {"start": 0, "stop": 16}
        ours = noise_options(3, "gaussian", num_samples=8)
        theirs = noise_options(3, law, num_samples=8)
        torch.testing.assert_close(
            reference.perturb(x, torch.ones(1, 1), **theirs, **rows),
            reference.perturb(x, torch.ones(1, 1), **ours, **rows),
        )
        arguments = {"n": 3, "pair_weight": 0.0, "moment": "outer", **rows}
        torch.testing.assert_close(
            reference.reduce(values, pivot, **theirs, **arguments),
            reference.reduce(values, pivot, **ours, **arguments),
        )


class TestReduce:
    batch, n, s, m = 3, 2, 8, 4

    def reduce(
        self,
        values: Tensor,
        pivot: Tensor,
        *,
        moment: str = "none",
        pair_weight: float = 0.0,
        start: int = 0,
        stop: int | None = None,
        **options: Any,
    ) -> tuple[Tensor, Tensor]:
        return reference.reduce(
            values,
            pivot,
            **noise_options(self.n, num_samples=self.s, **options),
            n=self.n,
            pair_weight=pair_weight,
            moment=moment,
            start=start,
            stop=self.batch * self.s if stop is None else stop,
        )

    def test_shapes(self) -> None:
        for start, stop, elements in ((0, 24, 3), (0, 8, 1), (7, 9, 2), (9, 15, 1), (5, 5, 0)):
            for moment, size in (("none", 0), ("diagonal", 2), ("outer", 4)):
                scores, moments = self.reduce(
                    random(stop - start, self.m),
                    random(self.batch, self.m),
                    moment=moment,
                    start=start,
                    stop=stop,
                )
                assert scores.shape == (elements, self.m + 1, self.n)
                assert moments.shape == (elements, self.m + 1, size)

    def test_chunks_add_up(self) -> None:
        values, pivot = random(self.batch * self.s, self.m), random(self.batch, self.m)
        whole = self.reduce(values, pivot, moment="outer", law="gumbel")
        total = [torch.zeros_like(part) for part in whole]
        for start, stop in itertools.pairwise((0, 3, 4, 13, 16, 24)):
            chunk = self.reduce(
                values[start:stop], pivot, moment="outer", law="gumbel", start=start, stop=stop
            )
            first = start // self.s
            for sums, part in zip(total, chunk, strict=True):
                sums[first : first + len(part)] += part
        torch.testing.assert_close(total, list(whole))

    @pytest.mark.parametrize("pair_weight", [0.0, 1 / 6])
    def test_diagonal_of_the_outer_moment(self, pair_weight: float) -> None:
        values, pivot = random(self.batch * self.s, self.m), random(self.batch, self.m)
        options: dict[str, Any] = {
            "law": "gumbel",
            "antithetic": pair_weight > 0,
            "pair_weight": pair_weight,
        }
        _, diagonal = self.reduce(values, pivot, moment="diagonal", **options)
        _, outer = self.reduce(values, pivot, moment="outer", **options)
        outer = outer.unflatten(-1, (self.n, self.n))
        torch.testing.assert_close(outer.diagonal(dim1=-2, dim2=-1), diagonal)

    def test_constants_have_no_gradient(self) -> None:
        pivot = random(self.batch, self.m)
        values = pivot.repeat_interleave(self.s, 0)
        for moment in ("diagonal", "outer"):
            scores, moments = self.reduce(values, pivot, moment=moment)
            assert (scores[:, :-1] == 0).all() and (moments[:, :-1] == 0).all()

    def test_last_row_is_the_value_one(self) -> None:
        values = torch.ones(self.batch * self.s, 1, dtype=torch.float64)
        scores, moments = self.reduce(values, torch.zeros(self.batch, 1), moment="outer")
        assert torch.equal(scores[:, 0], scores[:, 1])
        assert torch.equal(moments[:, 0], moments[:, 1])

    def test_leave_one_pair_out(self) -> None:
        # Comparing each sample with the mean of the other pairs is the same as comparing it with
        # the mean of all, if the weights take their mirror images' with them.
        values = random(self.batch * self.s, 1)
        samples = values.reshape(self.batch, self.s // 2, 2)
        others = (samples.sum((1, 2), keepdim=True) - samples.sum(2, keepdim=True)) / (self.s - 2)
        others = others.expand_as(samples).reshape(-1, 1)
        zero, mean = torch.zeros(self.batch, 1).double(), samples.mean((1, 2))[:, None]
        options: dict[str, Any] = {"law": "gumbel", "antithetic": True, "moment": "outer"}
        expected = self.reduce(values - others, zero, **options)
        paired = self.reduce(values, mean, pair_weight=1 / (self.s - 2), **options)
        for left, right in zip(paired, expected, strict=True):
            torch.testing.assert_close(left[:, 0], right[:, 0])


class TestExpectations:
    """Gradients of known functions. The batch elements are replicates; 5 sigma of false alarm."""

    @pytest.mark.parametrize("law", ["gaussian", "logistic", "gumbel", "laplace"])
    @pytest.mark.parametrize("sampler", ["mc", "rqmc_latin", "sobol"])
    def test_linear_function(
        self, law: str, sampler: str, assert_mean: Callable[..., None]
    ) -> None:
        batch, n, s = 1000, 3, 64
        matrix = torch.tensor([[1.0, 0.0, 0.0], [0.7, -0.5, 0.0], [0.2, 0.3, 0.8]]).double()[None]
        slope = torch.tensor([1.0, -2.0, 0.5]).double()
        options = noise_options(n, law, sampler, num_samples=s)
        rows = {"start": 0, "stop": batch * s}
        y = reference.perturb(torch.zeros(batch, n).double(), matrix, **options, **rows)
        scores, _ = reference.reduce(
            (y @ slope)[:, None],
            torch.zeros(batch, 1).double(),
            **options,
            **rows,
            n=n,
            pair_weight=0.0,
            moment="none",
        )
        # L^-T, not L^-1: they differ for a triangular factor.
        gradient = torch.linalg.solve(matrix.mT, scores[:, 0].unsqueeze(-1)).squeeze(-1) / s
        assert_mean(gradient, slope, resolution=0.1)

    @pytest.mark.parametrize(
        ("law", "second_moment"),
        [("gaussian", 1.0), ("logistic", math.pi**2 / 3), ("laplace", 2.0)],
    )
    def test_gradient_of_the_square_in_the_scale(
        self, law: str, second_moment: float, assert_mean: Callable[..., None]
    ) -> None:
        # E |x + gamma noise|^2 = |x|^2 + gamma^2 n E noise^2; one gamma for all n inputs.
        batch, n, s, gamma = 2000, 3, 64, 0.7
        x = torch.tensor([0.3, -0.2, 0.1]).double().expand(batch, -1)
        options = noise_options(n, law, "mc", num_samples=s)
        rows = {"start": 0, "stop": batch * s}
        y = reference.perturb(x, torch.full((1, 1), gamma).double(), **options, **rows)
        _, moments = reference.reduce(
            y.square().sum(1, keepdim=True),
            torch.full((batch, 1), n * gamma**2 * second_moment).double(),
            **options,
            **rows,
            n=n,
            pair_weight=0.0,
            moment="diagonal",
        )
        gradient = moments[:, 0].sum(-1) / (s * gamma)
        assert_mean(gradient, 2 * n * gamma * second_moment, resolution=0.8)

    def test_gradient_of_the_square_in_the_scale_matrix(
        self, assert_mean: Callable[..., None]
    ) -> None:
        # E |L noise|^2 = tr L L^T, whose gradient is 2 L.
        batch, n, s = 2000, 2, 64
        matrix = torch.tensor([[[0.8, 0.0], [0.5, -1.2]]]).double()  # det < 0
        options = noise_options(n, "gaussian", "mc", num_samples=s)
        rows = {"start": 0, "stop": batch * s}
        y = reference.perturb(torch.zeros(batch, n).double(), matrix, **options, **rows)
        _, moments = reference.reduce(
            y.square().sum(1, keepdim=True),
            torch.full((batch, 1), float(matrix.square().sum())).double(),
            **options,
            **rows,
            n=n,
            pair_weight=0.0,
            moment="outer",
        )
        gradient = torch.linalg.solve(matrix.mT, moments[:, 0].reshape(batch, n, n)) / s
        assert_mean(gradient, 2 * matrix[0], resolution=0.2)


def plackett_luce(x: Tensor) -> Tensor:  # [n] -> [n, n]
    """The probability that element i has rank k if elements are drawn in turn, with probabilities
    proportional to exp(x), from those that are left.
    """
    n = len(x)
    rows = [[torch.zeros((), dtype=x.dtype) for _ in range(n)] for _ in range(n)]
    for order in itertools.permutations(range(n)):
        left = [torch.logsumexp(x[list(order[k:])], 0) for k in range(n)]
        probability = torch.exp(sum(x[i] - z for i, z in zip(order, left, strict=True)))
        for k, i in enumerate(order):
            rows[k][i] = rows[k][i] + probability
    return torch.stack([torch.stack(row) for row in rows])


def sort_options(n: int, **options: Any) -> dict[str, Any]:
    """All arguments of the op `sort`, for the whole permutation matrix, but x and scale."""
    chosen: dict[str, Any] = {
        "descending": False,
        "output": "matrix",
        "first": 0,
        "last": n,
        "baseline": "none",
        "factor": 1.0,
        "pair_weight": 0.0,
        "jacobian": "none",
    }
    for name in chosen:
        chosen[name] = options.pop(name, chosen[name])
    return noise_options(n, **options) | chosen


class TestSort:
    def test_plackett_luce(self, assert_mean: Callable[..., None]) -> None:
        batch, n, s, gamma = 400, 3, 256, 0.8
        x = torch.tensor([0.3, -0.5, 0.9], dtype=torch.float64)
        scale = torch.tensor(gamma, dtype=torch.float64)

        def expected(x: Tensor, scale: Tensor) -> Tensor:
            return plackett_luce(x / scale)

        share, in_x, in_scale = reference.sort(
            x.expand(batch, -1),
            scale.reshape(1, 1),
            **sort_options(
                n,
                law="gumbel",
                num_samples=s,
                descending=True,
                baseline="mean",
                factor=1 / s,
                jacobian="x_and_scale",
            ),
        )
        assert_mean(share, expected(x, scale), resolution=5e-3)
        assert_mean(share[:, 0], torch.softmax(x / scale, 0), resolution=5e-3)
        jacobian_x, jacobian_scale = torch.autograd.functional.jacobian(expected, (x, scale))
        assert_mean(in_x, jacobian_x, resolution=2e-2)
        # Each input has a scale of its own here; a shared one sums them.
        assert_mean(in_scale.sum(-1), jacobian_scale, resolution=3e-2)

    @pytest.mark.parametrize("law", LAWS)
    def test_two_elements(self, law: str, assert_mean: Callable[..., None]) -> None:
        batch, s, gap, gamma = 400, 256, 0.4, 0.7
        z = gap / gamma
        expected, _ = difference(law, z)
        x = torch.tensor([0.0, gap], dtype=torch.float64).expand(batch, -1)
        share, _, _ = reference.sort(
            x,
            torch.full((1, 1), gamma, dtype=torch.float64),
            **sort_options(2, law=law, num_samples=s),
        )
        assert_mean(share[:, 0, 0], expected, resolution=4e-3)

    @pytest.mark.parametrize("descending", [False, True])
    @pytest.mark.parametrize("baseline", ["none", "fx", "mean"])
    @pytest.mark.parametrize("pair_weight", [0.0, 1 / 14])
    @pytest.mark.parametrize(
        "output, first, last",
        [("matrix", 0, 4), ("matrix", 1, 3), ("values", 0, 3), ("ranks", 0, 4)],
    )
    def test_jacobians_are_sums_over_samples(
        self,
        output: str,
        first: int,
        last: int,
        descending: bool,
        baseline: str,
        pair_weight: float,
    ) -> None:
        batch, n, s, factor = 2, 4, 16, 0.3
        x, scale = random(batch, n), random(batch, n).exp()
        noise = noise_options(n, "gumbel", antithetic=pair_weight > 0, num_samples=s)
        sorting = {"descending": descending, "output": output, "first": first, "last": last}

        def hard(y: Tensor) -> Tensor:
            if output == "ranks":
                return ts.hard.rank(y, descending=descending)
            if output == "values":
                return ts.hard.sort(y, descending=descending)[..., first:last]
            return ts.hard.argsort(y, descending=descending)[..., first:last, :]

        share, in_x, in_scale = reference.sort(
            x,
            scale,
            **noise,
            **sorting,
            baseline=baseline,
            factor=factor,
            pair_weight=pair_weight,
            jacobian="x_and_scale",
        )
        rows = {"start": 0, "stop": batch * s}
        y = reference.perturb(x, scale, **noise, **rows).reshape(batch, s, n)
        law = noise.pop("law")
        words = reference.words(**noise, n=n, **rows)
        _, score, scale_weight = reference.draw_weights(law, words, torch.float64, pair_weight)
        samples = hard(y)
        torch.testing.assert_close(share, samples.mean(1))
        base = {
            "none": torch.zeros_like(share),
            "fx": hard(x),
            "mean": share,
        }[baseline]
        outcome = samples.shape[2:]
        centred = (samples - base[:, None]).flatten(2)
        for jacobian, weight in ((in_x, score), (in_scale, scale_weight)):
            expected = torch.einsum("bsm,bsj->bmj", centred, weight.reshape(batch, s, n))
            expected = factor / scale[:, None] * expected
            torch.testing.assert_close(jacobian, expected.reshape(batch, *outcome, n))

        grad = random(batch, *outcome)
        grad_x, grad_scale = reference.sort_backward(
            grad,
            (grad * base).flatten(1).sum(1),
            x,
            scale,
            law=law,
            **noise,
            **sorting,
            factor=factor,
            pair_weight=pair_weight,
            scale_gradient=True,
        )
        for gradient, jacobian in ((grad_x, in_x), (grad_scale, in_scale)):
            expected = torch.einsum("bm,bmj->bj", grad.flatten(1), jacobian.flatten(1, -2))
            torch.testing.assert_close(gradient, expected)

    def test_probabilities(self) -> None:
        share, in_x, _ = reference.sort(
            random(5, 6),
            torch.ones(1, 1).double(),
            **sort_options(6, num_samples=32, baseline="mean", jacobian="x"),
        )
        one, zero = torch.ones(5, 6).double(), torch.zeros(5, 6, 6).double()
        torch.testing.assert_close(share.sum(1), one)
        torch.testing.assert_close(share.sum(2), one)
        torch.testing.assert_close(in_x.sum(1), zero)
        torch.testing.assert_close(in_x.sum(2), zero)

    @pytest.mark.parametrize("descending", [False, True])
    def test_ties_go_to_the_lower_index(self, descending: bool) -> None:
        # The noise is too small to change the number that it is added to.
        x = torch.tensor([[1e8, 2e8, 1e8, 2e8]])
        share, _, _ = reference.sort(
            x, torch.full((1, 1), 1e-20), **sort_options(4, descending=descending)
        )
        order = [1, 3, 0, 2] if descending else [0, 2, 1, 3]
        assert share[0].argmax(-1).tolist() == order
        assert torch.equal(share, ts.hard.argsort(x, descending=descending))

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_bad_numbers_stay_in_their_batch_element(self, bad: float) -> None:
        x, scale = random(4, 3), random(4, 3).exp()
        options = sort_options(3, num_samples=16, baseline="mean", jacobian="x_and_scale")
        backward = {k: v for k, v in options.items() if k not in ("baseline", "jacobian")}
        grad, center = random(4, 3, 3), random(4)

        def results(x: Tensor, scale: Tensor) -> tuple[Tensor, ...]:
            gradients = reference.sort_backward(
                grad, center, x, scale, **backward, scale_gradient=True
            )
            return *reference.sort(x, scale, **options), *gradients

        good = results(x, scale)
        x[1, 2] = bad
        scale[3, 0] = bad
        for result, expected in zip(results(x, scale), good, strict=True):
            assert result[[1, 3]].isnan().all()
            assert torch.equal(result[[0, 2]], expected[[0, 2]])

    def test_chunks_do_not_change_the_result(self, monkeypatch: pytest.MonkeyPatch) -> None:
        x, scale = random(5, 3), random(1, 3).exp()
        options = sort_options(3, num_samples=50, sampler="mc", jacobian="x_and_scale")
        whole = reference.sort(x, scale, **options)
        module = importlib.import_module("torchsmooth._kernels.reference.sort")
        monkeypatch.setattr(module, "_CHUNK_ELEMENTS", 9 * 7)  # 7 samples
        torch.testing.assert_close(reference.sort(x, scale, **options), whole)

    @pytest.mark.parametrize(("batch", "n"), [(0, 3), (3, 0), (3, 1), (0, 0)])
    def test_empty(self, batch: int, n: int) -> None:
        x, scale = random(batch, n), torch.ones(1, 1).double()
        options = sort_options(n, num_samples=8, jacobian="x_and_scale")
        share, in_x, in_scale = reference.sort(x, scale, **options)
        assert torch.equal(share, torch.ones(batch, n, n).double())
        assert in_x.shape == in_scale.shape == (batch, n, n, n)
        backward = {k: v for k, v in options.items() if k not in ("baseline", "jacobian")}
        gradients = reference.sort_backward(
            random(batch, n, n), random(batch), x, scale, **backward, scale_gradient=False
        )
        assert [g.shape for g in gradients] == [(batch, n), (batch, 0)]

    def test_absent_jacobians(self) -> None:
        x, scale = random(2, 3), torch.ones(1, 1).double()
        for jacobian, shapes in (
            ("none", [(0,), (0,)]),
            ("x", [(2, 3, 3, 3), (0,)]),
            ("x_and_scale", [(2, 3, 3, 3), (2, 3, 3, 3)]),
        ):
            _, *jacobians = reference.sort(x, scale, **sort_options(3, jacobian=jacobian))
            assert [tuple(j.shape) for j in jacobians] == shapes

    def test_types(self) -> None:
        for dtype in (torch.float32, torch.float64):
            results = reference.sort(
                torch.zeros(2, 3, dtype=dtype),
                torch.ones(1, 1, dtype=dtype),
                **sort_options(3, jacobian="x_and_scale"),
            )
            assert all(result.dtype == dtype for result in results)
            assert np.isfinite(results[1].numpy()).all()
