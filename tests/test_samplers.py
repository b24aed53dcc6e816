"""The point sets: exact combinatorial properties, and the joint laws of what is random in them.

Batch elements are independent replicas, so that one call gives 10^5 of them. Chi-square tests raise
a false alarm at 5 sigma (one in 3.5 million), for fixed seeds.
"""

import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

import torchsmooth as ts
from torchsmooth import samplers
from torchsmooth._kernels.reference import philox
from torchsmooth.samplers import SAMPLERS, AbstractSampler, resolve_sampler, seed_tensor


REPLICAS = 100_000
CPU = torch.device("cpu")


def draw_words(
    sampler: AbstractSampler,
    num_samples: int,
    n: int,
    batch: int = 1,
    *,
    seed: int = 0,
    antithetic: bool = False,
    start: int = 0,
    stop: int | None = None,
) -> Tensor:
    """[batch, num_samples, n], or the rows start to stop."""
    rows = torch.ops.torchsmooth.words(
        torch.tensor(seed),
        sampler.directions(n, CPU),
        sampler.name,
        antithetic,
        num_samples,
        n,
        start,
        batch * num_samples if stop is None else stop,
    )
    return rows.reshape(batch, num_samples, n) if stop is None else rows


def cells(words: Tensor, count: int) -> Tensor:
    """Which of `count` equal intervals the uniform numbers lie in."""
    return (2 * words + 1) * count >> 33


def assert_uniform(*digits: tuple[Tensor, int]) -> None:
    """The joint law of several integers below their bounds is uniform, by chi-square."""
    code, size = torch.zeros((), dtype=torch.int64), 1
    for digit, bound in digits:
        code, size = code * bound + digit, size * bound
    assert_equal_counts(np.bincount(code.flatten().numpy(), minlength=size))


def assert_equal_counts(counts: np.ndarray) -> None:
    assert counts.mean() >= 5, "too few for the chi-square law"
    assert scipy.stats.chisquare(counts).pvalue > 2.9e-7


class SamplerSuite:
    """What holds for every sampler."""

    sampler: AbstractSampler
    name: str
    sizes: tuple[tuple[int, int], ...]  # (num_samples, n)
    centred = False
    # Whether a dimension's points depend on it alone, and not on the number of dimensions.
    separable = True

    def test_name(self) -> None:
        assert self.sampler.name == self.name
        assert resolve_sampler(self.name) == self.sampler
        assert resolve_sampler(self.sampler) is self.sampler

    def test_range(self) -> None:
        for s, n in self.sizes:
            words = draw_words(self.sampler, s, n, 50)
            assert words.min() >= 0 and words.max() < 2**32

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_uniforms(self, dtype: torch.dtype) -> None:
        for s, n in self.sizes:
            u = self.sampler.uniforms(s, n, batch_shape=(2, 3), seed=7, dtype=dtype)
            assert u.shape == (2, 3, s, n) and u.dtype == dtype
            assert (u > 0).all() and (u < 1).all()
            exact = (draw_words(self.sampler, s, n, 6, seed=7).double() + 0.5) / 2**32
            error = (u.double() - exact.reshape(u.shape)).abs().max()
            assert error <= (0 if dtype == torch.float64 else torch.finfo(dtype).eps)

    def test_antithetic_samples_are_mirror_images(self) -> None:
        for s, n in self.sizes:
            words = draw_words(self.sampler, 2 * s, n, 3, antithetic=True)
            assert torch.equal(words[:, 0::2], draw_words(self.sampler, s, n, 3))
            assert torch.equal(words[:, 1::2], 2**32 - 1 - words[:, 0::2])
            u = self.sampler.uniforms(2 * s, n, antithetic=True, seed=0, dtype=torch.float64)
            assert (u[0::2] + u[1::2] == 1).all()

    def test_any_range_of_rows(self) -> None:
        for s, n in self.sizes:
            words = draw_words(self.sampler, s, n, 4).reshape(4 * s, n)
            for start, stop in ((0, 0), (0, 1), (s // 2, 4 * s), (s - 1, 2 * s + 1), (s, 2 * s)):
                part = draw_words(self.sampler, s, n, start=start, stop=stop)
                assert torch.equal(part, words[start:stop])

    def test_seeds(self) -> None:
        s, n = self.sizes[-1]
        torch.manual_seed(3)
        first = self.sampler.uniforms(s, n)
        torch.manual_seed(3)
        assert torch.equal(self.sampler.uniforms(s, n), first)
        by_tensor = self.sampler.uniforms(s, n, seed=torch.tensor([11]))
        assert torch.equal(self.sampler.uniforms(s, n, seed=11), by_tensor)
        if self.sampler != ts.Cartesian(randomized=False):  # in which nothing is random
            others = [first, self.sampler.uniforms(s, n), by_tensor]
            # All 64 bits of the seed count.
            others += [self.sampler.uniforms(s, n, seed=11 + 2**k) for k in (0, 31, 32, 62)]
            for a, b in itertools.combinations(others, 2):
                assert not torch.equal(a, b)

    def test_dimensions_come_on_top(self) -> None:
        if self.separable:
            s, n = self.sizes[-1]
            words = draw_words(self.sampler, s, n + 2, 3)
            assert torch.equal(words[..., :n], draw_words(self.sampler, s, n, 3))

    def test_empty(self) -> None:
        assert self.sampler.uniforms(1, 0, seed=0).shape == (1, 0)
        assert self.sampler.uniforms(1, 2, batch_shape=(0, 3), seed=0).shape == (0, 3, 1, 2)

    def test_marginal_law(self) -> None:
        if not self.centred:
            s, n = self.sizes[0]
            words = draw_words(self.sampler, s, n, REPLICAS)
            for i, j in ((0, 0), (s - 1, n - 1)):
                for shift in (26, 16, 0):  # the highest bits, some between, and the lowest
                    assert_uniform((words[:, i, j] >> shift & 63, 64))

    def test_batch_elements_are_independent(self) -> None:
        if not self.centred:
            s, n = self.sizes[0]
            top = draw_words(self.sampler, s, n, REPLICAS)[:, 0, 0] >> 28
            for distance in (1, 2, 16, 1024):
                assert_uniform((top[distance:], 16), (top[:-distance], 16))

    @pytest.mark.compiled
    def test_compiles(self) -> None:
        s, n = self.sizes[0]

        def evaluate(x: Tensor) -> Tensor:
            return x * self.sampler.uniforms(s, x.shape[-1], seed=torch.tensor(5))

        x = torch.ones(n)
        compiled = torch.compile(evaluate, fullgraph=True, backend="aot_eager")
        assert torch.equal(compiled(x), evaluate(x))


class TestMonteCarlo(SamplerSuite):
    sampler = ts.MonteCarlo()
    name = "mc"
    sizes = ((8, 2), (1, 1), (3, 5), (33, 2), (100, 3))

    def test_samples_are_independent(self) -> None:
        top = draw_words(self.sampler, 8, 2, REPLICAS) >> 28
        for a, b in (((0, 0), (1, 0)), ((0, 0), (4, 0)), ((3, 0), (3, 1))):
            assert_uniform((top[(..., *a)], 16), (top[(..., *b)], 16))


class _LatinSuite(SamplerSuite):
    sizes = ((8, 2), (1, 1), (2, 1), (3, 2), (7, 3), (100, 2), (1000, 2), (1024, 1))

    def test_every_interval_is_hit_once(self) -> None:
        for s in (1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 32, 33, 100, 1000, 1024, 40_000):
            for antithetic in (False, True):
                size = 2 * s if antithetic else s
                words = draw_words(self.sampler, size, 3, 5, antithetic=antithetic)
                hit = cells(words[:, 0::2] if antithetic else words, s).sort(1).values
                assert (hit == torch.arange(s)[:, None]).all()

    def test_joint_law_of_two_dimensions(self) -> None:
        cell = cells(draw_words(self.sampler, 8, 2, REPLICAS), 8)
        for i in (0, 3, 7):
            assert_uniform((cell[:, i, 0], 8), (cell[:, i, 1], 8))

    def test_joint_law_of_two_samples(self) -> None:
        cell = cells(draw_words(self.sampler, 8, 2, REPLICAS), 8)
        for i, k in ((0, 1), (2, 5), (0, 7)):
            for j in (0, 1):
                counts = np.bincount((8 * cell[:, i, j] + cell[:, k, j]).numpy(), minlength=64)
                counts = counts.reshape(8, 8)
                assert (counts.diagonal() == 0).all()
                assert_equal_counts(counts[~np.eye(8, dtype=bool)])  # 56 ordered pairs

    @pytest.mark.parametrize("s", [2, 3, 4, 5, 6, 7])
    def test_law_of_the_permutation(self, s: int) -> None:
        cell = cells(draw_words(self.sampler, s, 2, REPLICAS), s)
        for j in (0, 1):
            code = (cell[:, :, j] * s ** torch.arange(s)).sum(1)
            counts = np.unique(code.numpy(), return_counts=True)[1]
            assert len(counts) == math.factorial(s)
            assert_equal_counts(counts)

    def test_law_of_a_large_permutation(self) -> None:
        # For a uniform permutation p of s elements, sum_i a_i b_p(i) has mean 0 and variance
        # |a|^2 |b|^2 / (s - 1) if a or b sum to 0: here for Walsh functions of all frequencies.
        s, batch = 32, 20_000
        cell = cells(draw_words(self.sampler, s, 1, batch), s).squeeze(-1)
        walsh = torch.tensor([[(-1) ** (i & k).bit_count() for i in range(s)] for k in range(1, s)])
        walsh = walsh.to(torch.float32)
        sums = torch.stack([walsh @ part.T for part in walsh[:, cell].unbind(0)])  # [31, 31, batch]
        z = sums.mean(-1) / math.sqrt(s * s / (s - 1) / batch)
        assert z.abs().max() < 6.5  # 5 sigma for the largest of 961
        spread = sums.square().mean(-1) * (s - 1) / s**2 - 1
        assert spread.abs().max() < 6.5 * math.sqrt(2 / batch)


class TestLatinHypercube(_LatinSuite):
    sampler = ts.LatinHypercube()
    name = "rqmc_latin"

    def test_place_within_the_interval(self) -> None:
        words = draw_words(self.sampler, 8, 2, REPLICAS)
        place = words >> 25 & 15  # the four bits after the interval's
        assert_uniform((cells(words[:, 0, 0], 8), 8), (place[:, 0, 0], 16))
        assert_uniform((place[:, 0, 0], 16), (place[:, 1, 0], 16))
        assert_uniform((place[:, 0, 0], 16), (place[:, 0, 1], 16))
        uneven = draw_words(self.sampler, 7, 1, REPLICAS)[:, 0, 0]
        assert_uniform((cells(uneven, 7 * 16), 7 * 16))


class TestCentredLatinHypercube(_LatinSuite):
    sampler = ts.LatinHypercube(randomized=False)
    name = "qmc_latin"
    centred = True

    def test_centres(self) -> None:
        for s in (1, 2, 3, 10, 1000):
            u = self.sampler.uniforms(s, 1, seed=0, dtype=torch.float64).flatten().sort().values
            expected = (torch.arange(s).double() + 0.5) / s
            torch.testing.assert_close(u, expected, rtol=0, atol=2.0**-31)


class _CartesianSuite(SamplerSuite):
    sizes = ((8, 3), (1, 1), (1, 4), (5, 1), (9, 2), (64, 3), (1024, 5), (3**7, 7))
    separable = False

    def test_every_cell_is_hit_once(self) -> None:
        for k, n in ((1, 3), (2, 1), (2, 10), (3, 4), (5, 2), (100, 2), (7, 3), (1000, 1)):
            for antithetic in (False, True):
                size = k**n * (2 if antithetic else 1)
                words = draw_words(self.sampler, size, n, 2, antithetic=antithetic)
                cell = cells(words[:, 0::2] if antithetic else words, k)
                index = (cell * k ** torch.arange(n)).sum(-1).sort(1).values
                assert torch.equal(index, torch.arange(k**n).expand(2, -1))

    @pytest.mark.parametrize(
        ("s", "n", "antithetic", "nearest"),
        [
            (10, 2, False, "9 or 16"),
            (2, 3, False, "1 or 8"),
            (1023, 5, False, "243 or 1024"),
            (1025, 5, False, "1024 or 3125"),
            (10, 2, True, "8 or 18"),
            (16, 2, True, "8 or 18"),
            (2**29, 30, False, "1 or 1073741824"),
            (1000, 40, False, "1;"),
            (2**30 - 1, 2, False, "1073676289 or 1073741824"),
        ],
    )
    def test_refuses_other_numbers(self, s: int, n: int, antithetic: bool, nearest: str) -> None:
        with pytest.raises(ValueError, match=f"nearest valid: {nearest}"):
            self.sampler.validate(s, n, antithetic)

    def test_accepts_all_powers(self) -> None:
        for k, n in itertools.product(range(1, 130), range(1, 31)):
            if k**n <= 2**30:
                self.sampler.validate(k**n, n)
            if 2 * k**n <= 2**30:
                self.sampler.validate(2 * k**n, n, antithetic=True)
        self.sampler.validate(17, 0)  # without dimensions there is nothing to divide


class TestCartesian(_CartesianSuite):
    sampler = ts.Cartesian()
    name = "rqmc_cartesian"

    # A sample has its own cell, and is uniform within that: not over the whole cube.
    def test_marginal_law(self) -> None:
        words = draw_words(self.sampler, 8, 3, REPLICAS)
        for i, j in ((0, 0), (7, 2)):
            assert (words[:, i, j] >> 31 == words[0, i, j] >> 31).all()
            assert_uniform((words[:, i, j] >> 25 & 63, 64))

    def test_batch_elements_are_independent(self) -> None:
        place = draw_words(self.sampler, 8, 3, REPLICAS) >> 27 & 15
        assert_uniform((place[1:, 0, 0], 16), (place[:-1, 0, 0], 16))

    def test_place_within_the_cell(self) -> None:
        place = draw_words(self.sampler, 8, 3, REPLICAS) >> 27 & 15
        for a, b in (((0, 0), (1, 0)), ((0, 0), (0, 1)), ((3, 1), (4, 2))):
            assert_uniform((place[(..., *a)], 16), (place[(..., *b)], 16))


class TestCentredCartesian(_CartesianSuite):
    sampler = ts.Cartesian(randomized=False)
    name = "qmc_cartesian"
    centred = True

    def test_centres(self) -> None:
        u = self.sampler.uniforms(9, 2, seed=0, dtype=torch.float64)
        axis = [1 / 6, 3 / 6, 5 / 6]
        expected = torch.tensor([(x, y) for y in axis for x in axis], dtype=torch.float64)
        torch.testing.assert_close(u, expected, rtol=0, atol=2.0**-31)


class TestSobol(SamplerSuite):
    sampler = ts.Sobol()
    name = "sobol"
    sizes = ((8, 2), (1, 1), (2, 3), (4, 2), (64, 5), (1024, 20))

    def test_two_dimensions_are_a_net(self) -> None:
        # A (0, m, 2)-net: one point in every rectangle of area 2^-m with sides 2^-a and 2^-b.
        for m in range(11):
            words = draw_words(self.sampler, 2**m, 2, 4, seed=m)
            for a in range(m + 1):
                width, height = 2**a, 2 ** (m - a)
                index = cells(words[..., 0], width) * height + cells(words[..., 1], height)
                assert torch.equal(index.sort(1).values, torch.arange(2**m).expand(4, -1))

    def test_every_dimension_is_stratified(self) -> None:
        for m in (0, 1, 5, 12):
            words = draw_words(self.sampler, 2**m, 300, 2)
            hit = cells(words, 2**m).sort(1).values
            assert (hit == torch.arange(2**m)[:, None]).all()

    def test_consecutive_blocks_are_stratified(self) -> None:
        # Also those of numbers that are no power of 2.
        words = draw_words(self.sampler, 40, 3, 2)
        for start in range(0, 40, 8):
            hit = cells(words[:, start : start + 8], 8).sort(1).values
            assert (hit == torch.arange(8)[:, None]).all()

    def test_joint_law_of_two_dimensions(self) -> None:
        top = draw_words(self.sampler, 8, 2, REPLICAS) >> 29
        for i in (0, 3, 7):
            assert_uniform((top[:, i, 0], 8), (top[:, i, 1], 8))

    @pytest.mark.slow
    def test_law_of_two_points(self) -> None:
        # Points that first differ in bit r stay together in the bits before, differ in that bit,
        # and are independent in all bits after it.
        words = draw_words(self.sampler, 8, 2, REPLICAS)
        directions = self.sampler.directions(2, CPU)
        for i, k in itertools.combinations(range(8), 2):
            difference = 0
            for bit in range(3):
                difference ^= int(directions[1, bit]) * ((i ^ k) >> bit & 1)
            r = (difference & -difference).bit_length() - 1
            a, b = words[:, i, 1], words[:, k, 1]
            assert torch.equal(a >> (32 - r), b >> (32 - r))
            assert torch.equal(a >> (31 - r) & 1, 1 - (b >> (31 - r) & 1))
            assert_uniform(
                (a >> (31 - r), 2 << r), (a >> (27 - r) & 15, 16), (b >> (27 - r) & 15, 16)
            )

    @pytest.mark.slow
    def test_law_of_eight_points(self) -> None:
        # Nested uniform scrambling flips each of the 7 inner nodes of a binary tree by a fair coin.
        top = draw_words(self.sampler, 8, 2, 20 * REPLICAS) >> 29
        codes = (top * 8 ** torch.arange(8)[:, None]).sum(1)
        scrambles = []
        for j in (0, 1):
            kinds, which = np.unique(codes[:, j].numpy(), return_inverse=True)
            assert len(kinds) == 128
            scrambles.append((torch.from_numpy(which), 128))
        assert_uniform(*scrambles)

    def test_without_scrambling_these_are_the_points_of_torch(self) -> None:
        n, m = 50, 6
        directions = self.sampler.directions(n, CPU).long() & 0xFFFFFFFF
        point = torch.zeros(2**m, n, dtype=torch.int64)
        for bit in range(m):
            point ^= (torch.arange(2**m)[:, None] >> bit & 1) * directions[:, bit]
        u = philox.reverse_bits(point) / 2**32
        expected = torch.quasirandom.SobolEngine(n).draw(2**m, dtype=torch.float64)
        # torch visits them in the order of the Gray code.
        gray = torch.arange(2**m)
        assert torch.equal(u[gray ^ (gray >> 1)], expected)

    def test_directions(self) -> None:
        for n in (0, 1, 2, 15, 16, 17, 1000):
            table = self.sampler.directions(n, CPU)
            assert table.shape == (n, 32) and table.dtype == torch.int32
            assert table.is_contiguous() and (table[:, 30:] == 0).all()
            assert torch.equal(table, self.sampler.directions(1111, CPU)[:n])
            assert self.sampler.directions(n, CPU).data_ptr() == table.data_ptr()  # cached

    def test_directions_from_inference_mode_serve_autograd(self) -> None:
        samplers._sobol_tables.clear()
        with torch.inference_mode():
            self.sampler.directions(3, CPU)
        assert not self.sampler.directions(3, CPU).is_inference()

    @pytest.mark.compiled
    @pytest.mark.parametrize("strict", [True, False])
    def test_directions_from_an_export_serve_all(self, strict: bool) -> None:
        class Uniforms(torch.nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return x * ts.Sobol().uniforms(4, x.shape[-1], seed=3)

        samplers._sobol_tables.clear()
        x = torch.ones(3)
        exported = torch.export.export(Uniforms(), (x,), strict=strict).module()
        assert torch.equal(exported(x), Uniforms()(x))
        assert all(type(table) is Tensor for table in samplers._sobol_tables.values())

    def test_most_dimensions(self) -> None:
        most = torch.quasirandom.SobolEngine.MAXDIM
        words = draw_words(self.sampler, 4, most)
        assert (cells(words[0, :, -5:], 4).sort(0).values == torch.arange(4)[:, None]).all()
        with pytest.raises(ValueError, match=f"{most} dimensions.*rqmc_latin"):
            self.sampler.validate(4, most + 1)

    @pytest.mark.parametrize(
        ("s", "antithetic", "message"),
        [(1000, False, "num_samples=512 or 1024"), (12, True, "num_samples=8 or 16")],
    )
    def test_warns_once_for_other_numbers(
        self, s: int, antithetic: bool, message: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(samplers, "_warned_unbalanced", False)
        self.sampler.validate(16 if antithetic else 1024, 3, antithetic)
        with pytest.warns(UserWarning, match=message):
            self.sampler.validate(s, 3, antithetic)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            self.sampler.validate(s, 3, antithetic)

    @pytest.mark.compiled
    def test_does_not_warn_while_compiling(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(samplers, "_warned_unbalanced", False)

        def evaluate(x: Tensor) -> Tensor:
            return x * self.sampler.uniforms(3, x.shape[-1], seed=1)

        compiled = torch.compile(evaluate, fullgraph=True, backend="aot_eager")
        compiled(torch.ones(2))
        assert not samplers._warned_unbalanced

    @pytest.mark.compiled
    def test_compiles_for_any_number_of_dimensions(self) -> None:
        def evaluate(x: Tensor) -> Tensor:
            return x * self.sampler.uniforms(4, x.shape[-1], seed=1)

        compiled = torch.compile(evaluate, fullgraph=True, backend="aot_eager", dynamic=True)
        for n in (2, 5, 40):
            assert torch.equal(compiled(torch.ones(n)), evaluate(torch.ones(n)))


def test_the_suites_cover_all_samplers() -> None:
    suites = [TestMonteCarlo, TestLatinHypercube, TestCentredLatinHypercube]
    suites += [TestCartesian, TestCentredCartesian, TestSobol]
    assert [suite.name for suite in suites] == [
        "mc",
        "rqmc_latin",
        "qmc_latin",
        "rqmc_cartesian",
        "qmc_cartesian",
        "sobol",
    ]
    assert {suite.sampler for suite in suites} == set(SAMPLERS.values())
    assert {name for name, sampler in SAMPLERS.items() if sampler.independent} == {"mc"}


class TestAuto:
    """The default."""

    most = torch.quasirandom.SobolEngine.MAXDIM

    def test_is_sobol_as_far_as_that_goes(self) -> None:
        auto = resolve_sampler("auto")
        assert auto == samplers.AutoSampler() and auto.name == "auto" and not auto.independent
        for n, name in ((1, "sobol"), (self.most, "sobol"), (self.most + 1, "rqmc_latin")):
            expected = SAMPLERS[name].uniforms(4, n, seed=3)
            assert torch.equal(auto.uniforms(4, n, seed=3), expected)

    @pytest.mark.parametrize(
        "smoothed",
        [
            lambda x, **options: ts.smooth(torch.sign, ts.Gaussian(), num_samples=2, **options)(x),
            lambda x, **options: ts.functional.rank(x, ts.Gaussian(), num_samples=2, **options),
            lambda x, **options: ts.nn.Smooth(torch.sign, num_samples=2, **options)(x),
        ],
    )
    def test_is_the_default_in_any_number_of_dimensions(self, smoothed: Any) -> None:
        for n, name in ((3, "sobol"), (self.most + 1, "rqmc_latin")):
            x = torch.linspace(-1, 1, n)
            assert torch.equal(smoothed(x, seed=0), smoothed(x, seed=0, sampler=name))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: ts.smooth(torch.sign, ts.Gaussian(), num_samples=3)(x),
        lambda x: ts.functional.rank(x, ts.Gaussian(), num_samples=3),
        lambda x: ts.nn.Rank(ts.Gaussian(), num_samples=3)(x),
        lambda x: ts.Sobol().uniforms(3, 2),
        lambda x: ts.estimate(torch.sign, x, ts.Gaussian(), num_samples=3),
    ],
)
def test_the_warning_about_sobol_points_is_at_the_users_line_once(
    call: Callable[[Tensor], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samplers, "_warned_unbalanced", False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(torch.zeros(2))
        call(torch.zeros(2))
    (warning,) = caught
    assert warning.filename == __file__
    assert warning.lineno == call.__code__.co_firstlineno


class TestPhilox:
    # The known answers that its authors publish with the Random123 library.
    @pytest.mark.parametrize(
        ("counter", "key", "answer"),
        [
            ("00000000 00000000 00000000 00000000", "00000000 00000000",
             "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
            ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
             "408f276d 41c83b0e a20bc7c6 6d5451fd"),
            ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
             "d16cfe09 94fdcceb 5001e420 24126ea1"),
        ],
    )  # fmt: skip
    def test_known_answers(self, counter: str, key: str, answer: str) -> None:
        def parse(text: str) -> tuple[Tensor, ...]:
            return tuple(torch.tensor(int(word, 16)) for word in text.split())

        k0, k1 = parse(key)
        assert philox.philox(parse(counter), (k0, k1)) == parse(answer)

    def test_known_answer_through_the_op(self) -> None:
        words = draw_words(ts.MonteCarlo(), 4, 1, seed=0).flatten()
        assert words.tolist() == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]

    @pytest.mark.parametrize("seed", [0xA4093822299F31D0 - 2**64, 2**63 - 1, -(2**63), 5])
    def test_counter_and_key_of_a_word(self, seed: int) -> None:
        words = draw_words(ts.MonteCarlo(), 70, 3, 5, seed=seed)
        counter = tuple(torch.tensor(c) for c in (66 // 4, 2, 4, 0))
        unsigned = seed % 2**64
        key = torch.tensor(unsigned % 2**32), torch.tensor(unsigned >> 32)
        answer = torch.stack(philox.philox(counter, key))
        assert torch.equal(words[4, 64:68, 2], answer)


class TestArguments:
    @pytest.mark.parametrize("sampler", SAMPLERS.values())
    @pytest.mark.parametrize(
        ("num_samples", "antithetic", "error", "message"),
        [
            (0, False, ValueError, "positive"),
            (-4, False, ValueError, "positive"),
            (2**30 + 1, False, ValueError, "at most"),
            (3, True, ValueError, "even.*pass 4"),
            (True, False, TypeError, "integer"),
            (4.0, False, TypeError, "integer"),
            ("4", False, TypeError, "integer"),
            (None, False, TypeError, "integer"),
        ],
    )
    def test_bad_num_samples(
        self,
        sampler: AbstractSampler,
        num_samples: Any,
        antithetic: bool,
        error: type[Exception],
        message: str,
    ) -> None:
        with pytest.raises(error, match=f"num_samples must be.*{message}"):
            sampler.validate(num_samples, 1, antithetic)
        with pytest.raises(error, match="num_samples"):
            sampler.uniforms(num_samples, 1, antithetic=antithetic, seed=0)

    def test_num_samples_from_numpy(self) -> None:
        ts.MonteCarlo().validate(np.int64(8), 1)

    def test_unknown_names(self) -> None:
        with pytest.raises(ValueError, match="one of 'mc', .*'sobol', 'auto', got 'halton'"):
            resolve_sampler("halton")
        with pytest.raises(TypeError, match="got <class"):
            resolve_sampler(ts.Sobol)  # type: ignore[arg-type]

    def test_values(self) -> None:
        assert ts.LatinHypercube() == ts.LatinHypercube(randomized=True)
        assert ts.LatinHypercube() != ts.LatinHypercube(randomized=False)
        assert repr(ts.Cartesian(False)) == "Cartesian(randomized=False)"
        with pytest.raises(TypeError, match="abstract"):
            AbstractSampler()  # type: ignore[abstract]

    def test_uniforms_are_floating(self) -> None:
        with pytest.raises(TypeError, match="dtype must be"):
            ts.Sobol().uniforms(4, 1, dtype=torch.int64)


class TestSeedTensor:
    @pytest.mark.parametrize("seed", [0, -1, 2**63 - 1, -(2**63), np.int32(7)])
    def test_numbers(self, seed: int) -> None:
        t = seed_tensor(seed, "cpu")
        assert t.dtype == torch.int64 and t.shape == () and int(t) == seed

    @pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
    def test_tensors(self, shape: tuple[int, ...]) -> None:
        t = seed_tensor(torch.full(shape, 12), CPU)
        assert t.shape == () and t == 12

    def test_none_draws_from_the_generator(self) -> None:
        torch.manual_seed(0)
        first, second = seed_tensor(None, "cpu"), seed_tensor(None, "cpu")
        assert first.dtype == torch.int64 and first.shape == () and first != second
        torch.manual_seed(0)
        assert seed_tensor(None, "cpu") == first

    @pytest.mark.parametrize("seed", [True, 1.0, "1", torch.tensor(1.0), torch.tensor(True)])
    def test_other_types(self, seed: Any) -> None:
        with pytest.raises(TypeError, match="seed must be an int, None, or an int64 tensor"):
            seed_tensor(seed, "cpu")

    @pytest.mark.parametrize("seed", [2**63, -(2**63) - 1, torch.tensor([1, 2])])
    def test_other_values(self, seed: Any) -> None:
        with pytest.raises(ValueError, match="seed must"):
            seed_tensor(seed, "cpu")
