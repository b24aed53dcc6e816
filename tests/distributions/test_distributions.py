"""The laws against scipy in both tails, against quadrature and automatic differentiation."""

import inspect
import math
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from laws import FACTS, Facts
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.distributions import transforms

import torchsmooth as ts
from torchsmooth.distributions import LAWS, AbstractDistribution


# Probabilities in both tails, as far as doubles go, and in the middle.
TAILS = np.concatenate([10.0 ** np.arange(-300, -20, 20), 10.0 ** np.arange(-20, 0)])
MIDDLE = np.linspace(0.01, 0.99, 99)
EDGE_WORDS = [0, 1, 2, 1000, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 2, 2**32 - 1]
DTYPES = [torch.float32, torch.float64]


def numpy64(t: Tensor) -> np.ndarray:
    return t.detach().double().numpy()


class DistributionSuite:
    """What holds for every law. Subclasses name the law, and have what holds for it only.

    What is known about the law is in the table of facts.
    """

    law: type[AbstractDistribution]

    @property
    def facts(self) -> Facts:
        assert self.law.name is not None
        return FACTS[self.law.name]

    def quantiles(self, p: np.ndarray) -> np.ndarray:
        """Of probabilities p and 1 - p."""
        noise, symmetric = self.facts.scipy, self.facts.symmetric
        return np.concatenate([noise.ppf(p), -noise.ppf(p) if symmetric else noise.isf(p)])

    def grid(self, dtype: torch.dtype) -> Tensor:
        smallest = 1e-300 if dtype == torch.float64 else 1e-30
        p = TAILS[TAILS > smallest]
        x = np.concatenate([self.quantiles(p), self.facts.scipy.ppf(MIDDLE)])
        return torch.tensor(x, dtype=dtype)

    def interior(self) -> Tensor:
        """Points of the support away from kinks, where all derivatives exist."""
        x = torch.tensor(self.facts.scipy.ppf(np.array([0.013, 0.21, 0.4, 0.57, 0.81, 0.98])))
        return x.requires_grad_()

    # Values.

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_cdf(self, dtype: torch.dtype) -> None:
        x = self.grid(dtype)
        tolerance = self.facts.cdf_condition * 10 * torch.finfo(dtype).eps
        np.testing.assert_allclose(
            numpy64(self.law().cdf(x)),
            self.facts.scipy.cdf(numpy64(x)),
            rtol=tolerance,
            atol=10 * torch.finfo(dtype).tiny,
        )

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_icdf(self, dtype: torch.dtype) -> None:
        u = torch.tensor(np.concatenate([TAILS[TAILS > 1e-30], MIDDLE, 1 - TAILS]), dtype=dtype)
        u = u[u < 1]
        eps = torch.finfo(dtype).eps
        np.testing.assert_allclose(
            numpy64(self.law().icdf(u)),
            self.facts.scipy.ppf(numpy64(u)),
            rtol=100 * eps,
            atol=10 * eps,
        )

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_log_prob(self, dtype: torch.dtype) -> None:
        x = self.grid(dtype)
        eps = torch.finfo(dtype).eps
        with np.errstate(divide="ignore", over="ignore"):
            expected = self.facts.scipy.logpdf(numpy64(x))
        expected[np.abs(expected) > torch.finfo(dtype).max] = -math.inf
        np.testing.assert_allclose(
            numpy64(self.law().log_prob(x)), expected, rtol=100 * eps, atol=10 * eps
        )

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_score_is_the_slope_of_the_log_density(self, dtype: torch.dtype) -> None:
        x = self.grid(dtype)
        inside = [x != kink for kink in (*self.facts.score_jumps, *self.facts.support)]
        x = x[torch.stack(inside).all(0)].requires_grad_()
        (slope,) = torch.autograd.grad(self.law().log_prob(x).sum(), x)
        torch.testing.assert_close(
            self.law().score(x), -slope, rtol=200 * torch.finfo(dtype).eps, atol=1e-30
        )

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("scale", [1.0, 0.7])
    def test_extreme_arguments(self, dtype: torch.dtype, scale: float) -> None:
        law = self.law(scale)
        largest = torch.finfo(dtype).max
        x = torch.tensor([-math.inf, -largest, largest, math.inf], dtype=dtype)
        torch.testing.assert_close(law.cdf(x), x.new_tensor([0, 0, 1, 1]), rtol=0, atol=1e-30)
        assert (law.log_prob(x)[[0, 3]] == -math.inf).all()
        assert (law.log_prob(x) < -80).all()
        assert not law.score(x).isnan().any()
        u = torch.tensor([0.0, 1.0], dtype=dtype)
        torch.testing.assert_close(law.icdf(u), scale * u.new_tensor(self.facts.support))

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_extreme_arguments_have_gradients(self, dtype: torch.dtype) -> None:
        scale = torch.tensor(0.7, requires_grad=True)
        law = self.law(scale)
        largest = torch.finfo(dtype).max
        for function, arguments in (
            (law.cdf, (-math.inf, -largest, largest, math.inf)),
            (law.log_prob, (-math.inf, -largest, largest, math.inf)),
            (law.score, (-math.inf, -largest, largest, math.inf)),
            (law.icdf, (0.0, torch.finfo(dtype).tiny, 1.0)),
        ):
            for argument in arguments:
                x = torch.tensor(argument, dtype=dtype, requires_grad=True)
                for grad in torch.autograd.grad(function(x), (x, scale)):
                    assert not grad.isnan()

    def test_nan_stays_nan(self) -> None:
        law, x = self.law(), torch.tensor([math.nan])
        for function in (law.cdf, law.icdf, law.log_prob, law.score):
            assert function(x).isnan().all()

    def test_icdf_of_no_probability_is_nan(self) -> None:
        assert self.law().icdf(torch.tensor([-0.1, 1.1, math.inf, -math.inf])).isnan().all()

    def test_beyond_the_support(self) -> None:
        low, high = self.facts.support
        if math.isfinite(low):
            law, x = self.law(2.0), torch.tensor([2 * low - 0.1, 2 * low, 2 * high, 2 * high + 0.1])
            assert law.cdf(x).tolist() == [0, 0, 1, 1]
            assert law.log_prob(x).tolist() == [-math.inf] * 4
            assert law.score(x).tolist() == [0] * 4

    # Derivatives.

    def test_derivatives(self) -> None:
        law, x = self.law(1.3), self.interior()
        density = law.log_prob(x).exp()
        (slope,) = torch.autograd.grad(law.cdf(x).sum(), x)
        torch.testing.assert_close(slope, density, rtol=1e-11, atol=0)
        u = law.cdf(x).detach().requires_grad_()
        (inverse_slope,) = torch.autograd.grad(law.icdf(u).sum(), u)
        torch.testing.assert_close(inverse_slope, 1 / density, rtol=1e-10, atol=0)

    @pytest.mark.parametrize("function", ["cdf", "icdf", "log_prob", "score"])
    def test_gradcheck(self, function: str) -> None:
        x = self.interior()
        if function == "icdf":
            x = self.law().cdf(x).detach().requires_grad_()
        scale = torch.full((), 1.1, dtype=torch.float64, requires_grad=True)

        def evaluate(x: Tensor, scale: Tensor) -> Tensor:
            return getattr(self.law(scale), function)(x)

        assert gradcheck(evaluate, (x, scale))
        assert gradgradcheck(evaluate, (x, scale))

    def test_cdf_has_the_density_as_slope_at_its_kinks(self) -> None:
        x = torch.zeros((), dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(self.law().cdf(x), x)
        assert slope.item() == pytest.approx(self.facts.scipy.pdf(0.0), rel=1e-14)

    # Integrals.

    def integrate(self, weight: Any) -> float:
        """The expectation of weight(noise, score) by quadrature over the density."""
        law = self.law()

        def integrand(x: float) -> float:
            t = torch.tensor(x, dtype=torch.float64)
            return float(weight(t, law.score(t)) * law.log_prob(t).exp())

        low, high = self.facts.mass
        options = {"epsabs": 1e-9, "epsrel": 1e-9, "limit": 200}
        left, _ = scipy.integrate.quad(integrand, low, 0, **options)
        right, _ = scipy.integrate.quad(integrand, 0, high, **options)
        return left + right

    def test_score_identities(self) -> None:
        # Integration by parts: E f'(noise) = E f(noise) score, for f = 1 and f = x.
        assert self.integrate(lambda x, score: torch.ones_like(x)) == pytest.approx(1, abs=1e-8)
        assert self.integrate(lambda x, score: score) == pytest.approx(0, abs=1e-8)
        assert self.integrate(lambda x, score: score * x) == pytest.approx(1, abs=1e-8)

    def test_moments(self) -> None:
        mean, variance = self.facts.scipy.stats(moments="mv")
        if np.isfinite(variance):
            assert self.integrate(lambda x, score: x) == pytest.approx(float(mean), abs=1e-8)
            second = self.integrate(lambda x, score: x * x)
            assert second == pytest.approx(float(variance + mean**2), abs=1e-8)

    # Noise.

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_draw(self, dtype: torch.dtype) -> None:
        generator = torch.Generator().manual_seed(0)
        words = torch.cat(
            [torch.tensor(EDGE_WORDS), torch.randint(2**32, (4000,), generator=generator)]
        )
        noise, score = self.law().draw(words, dtype)
        assert noise.dtype == score.dtype == dtype

        w = words.double().numpy()
        upper = w >= 2**31
        tail = (np.where(upper, 2**32 - 1 - w, w) + 0.5) / 2**32
        below, above = np.split(self.quantiles(tail), 2)
        expected = np.where(upper, above, below)
        eps = torch.finfo(dtype).eps
        np.testing.assert_allclose(numpy64(noise), expected, rtol=30 * eps, atol=4 * eps)
        # Away from the edges of a bounded support the score follows from the noise.
        expected_score = numpy64(self.law().score(torch.tensor(expected)))
        easy = tail > 1e-5
        np.testing.assert_allclose(
            numpy64(score)[easy], expected_score[easy], rtol=100 * eps, atol=10 * eps
        )
        assert score.isfinite().all()

    def test_draw_has_mirror_images(self) -> None:
        words = torch.tensor(EDGE_WORDS)
        noise, score = self.law().draw(words, torch.float32)
        mirror, mirror_score = self.law().draw(2**32 - 1 - words, torch.float32)
        if self.facts.symmetric:
            assert torch.equal(mirror, -noise)
            assert torch.equal(mirror_score, -score)
        else:
            assert not torch.allclose(mirror, -noise)

    def test_draw_in_float32_is_the_rounded_draw_in_float64(self) -> None:
        words = torch.randint(2**32, (1000, 3), generator=torch.Generator().manual_seed(1))
        for single, double in zip(
            self.law().draw(words, torch.float32),
            self.law().draw(words, torch.float64),
            strict=True,
        ):
            torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-6)

    # Scales, shapes, types.

    def test_scale(self) -> None:
        x = self.interior().detach()
        for scale in (0.3, torch.tensor([0.3, 2.0, 1.0, 0.5, 4.0, 0.1], dtype=torch.float64)):
            law, standard = self.law(scale), self.law()
            z = x / scale
            torch.testing.assert_close(law.cdf(x), standard.cdf(z))
            torch.testing.assert_close(law.icdf(standard.cdf(x)), x * scale)
            torch.testing.assert_close(
                law.log_prob(x), standard.log_prob(z) - torch.as_tensor(scale).log()
            )
            torch.testing.assert_close(law.score(x), standard.score(z) / scale)

    def test_scale_broadcasts(self) -> None:
        law = self.law(torch.rand(3, 1) + 0.5)
        x = torch.rand(5, 1, 4) * 0.4
        for function in (law.cdf, law.icdf, law.log_prob, law.score):
            assert function(x).shape == (5, 3, 4)

    def test_diagonal_scale_matrix(self) -> None:
        scale = torch.tensor([0.5, 3.0], dtype=torch.float64)
        x = torch.tensor([[0.1, -0.7], [0.3, 2.0], [-0.2, 0.4]], dtype=torch.float64)
        elementwise, joint = self.law(scale), self.law(scale_matrix=scale.diag())
        torch.testing.assert_close(joint.log_prob(x), elementwise.log_prob(x).sum(-1))
        torch.testing.assert_close(joint.score(x), elementwise.score(x))

    def test_scale_matrix(self) -> None:
        matrix = torch.tensor([[2.0, 0.0], [1.0, -3.0]], dtype=torch.float64)  # det < 0
        law = self.law(scale_matrix=matrix)
        noise = torch.tensor([[0.1, -0.2], [0.4, 0.3], [-0.2, -0.4]], dtype=torch.float64)
        x = (noise @ matrix.T).requires_grad_()
        expected = self.law().log_prob(noise).sum(-1) - math.log(6)
        torch.testing.assert_close(law.log_prob(x), expected)
        (slope,) = torch.autograd.grad(law.log_prob(x).sum(), x)
        torch.testing.assert_close(law.score(x), -slope)
        matrices = torch.stack([matrix, torch.eye(2, dtype=torch.float64)])
        assert self.law(scale_matrix=matrices).score(x.unsqueeze(1)).shape == (3, 2, 2)
        assert self.law(scale_matrix=matrices).log_prob(x.unsqueeze(1)).shape == (3, 2)

    def test_scale_matrix_gradcheck(self) -> None:
        matrix = torch.tensor([[1.0, 0.2], [0.1, 1.5]], dtype=torch.float64, requires_grad=True)
        x = torch.tensor([0.2, -0.3], dtype=torch.float64, requires_grad=True)
        assert gradcheck(lambda x, m: self.law(scale_matrix=m).log_prob(x), (x, matrix))
        assert gradcheck(lambda x, m: self.law(scale_matrix=m).score(x), (x, matrix))

    def test_elementwise_functions_refuse_a_scale_matrix(self) -> None:
        law = self.law(scale_matrix=torch.eye(2))
        for function in (law.cdf, law.icdf):
            with pytest.raises(ValueError, match="mixes the dimensions"):
                function(torch.rand(2))
        with pytest.raises(ValueError, match="last dimension of size 2"):
            law.log_prob(torch.rand(3))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_types_compute_in_float32(self, dtype: torch.dtype) -> None:
        law = self.law(0.5)
        x = torch.tensor([-0.3, 0.0, 0.1, 0.4], dtype=dtype)
        for function in (law.cdf, law.log_prob, law.score):
            assert torch.equal(function(x), function(x.float()).to(dtype))
        u = x + 0.5
        assert torch.equal(law.icdf(u), law.icdf(u.float()).to(dtype))

    def test_types_follow_torch(self) -> None:
        for scale in (1.0, torch.tensor(1.0, dtype=torch.float64), torch.ones(1).double()):
            for x in (torch.tensor([1, 0]), torch.tensor([0.5]), torch.tensor(0.5)):
                expected = x * scale
                expected = expected if expected.is_floating_point() else expected.float()
                assert self.law(scale).cdf(x).dtype == expected.dtype

    def test_transforms_of_functorch(self) -> None:
        x = torch.tensor([[0.1, -0.3], [0.2, 0.4]], dtype=torch.float64)
        scale = torch.tensor([0.8, 1.3], dtype=torch.float64)

        def loss(x: Tensor, scale: Tensor) -> Tensor:
            law = self.law(scale)
            return (law.cdf(x) + law.log_prob(x) + law.score(x)).sum()

        gradient = torch.func.vmap(torch.func.grad(loss, (0, 1)))(x, scale)
        for i in range(2):
            torch.testing.assert_close(
                [g[i] for g in gradient], list(torch.func.grad(loss, (0, 1))(x[i], scale[i]))
            )

    @pytest.mark.compiled
    def test_compiles_without_graph_breaks(self) -> None:
        scale = torch.tensor(0.8, requires_grad=True)

        def evaluate(x: Tensor) -> Tensor:
            law = self.law(scale)  # constructed within the graph
            return law.cdf(x) + law.icdf(torch.sigmoid(x)) + law.log_prob(x) + law.score(x)

        compiled = torch.compile(evaluate, fullgraph=True, backend="aot_eager")
        x = torch.tensor([-0.4, 0.1, 0.5], requires_grad=True)
        torch.testing.assert_close(compiled(x), evaluate(x))
        torch.testing.assert_close(
            torch.autograd.grad(compiled(x).sum(), (x, scale)),
            torch.autograd.grad(evaluate(x).sum(), (x, scale)),
        )


class TestGaussian(DistributionSuite):
    law = ts.Gaussian

    def test_scale_matrix_is_a_factor_of_the_covariance(self) -> None:
        matrix = torch.tensor([[1.0, 0.0], [0.7, -0.5]], dtype=torch.float64)
        x = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        torch_law = torch.distributions.MultivariateNormal(
            torch.zeros(2, dtype=torch.float64), matrix @ matrix.T
        )
        torch.testing.assert_close(
            ts.Gaussian(scale_matrix=matrix).log_prob(x), torch_law.log_prob(x)
        )


class TestLogistic(DistributionSuite):
    law = ts.Logistic

    def test_cdf_is_the_sigmoid(self) -> None:
        x = torch.linspace(-30, 30, 100)
        assert torch.equal(ts.Logistic(0.3).cdf(x), torch.sigmoid(x / 0.3))


class TestGumbel(DistributionSuite):
    law = ts.Gumbel

    def test_mean_is_eulers_constant(self) -> None:
        assert self.integrate(lambda x, score: x) == pytest.approx(np.euler_gamma, abs=1e-8)


class TestCauchy(DistributionSuite):
    law = ts.Cauchy


class TestLaplace(DistributionSuite):
    law = ts.Laplace


class TestTriangular(DistributionSuite):
    law = ts.Triangular


class TestWignerSemicircle(DistributionSuite):
    law = ts.WignerSemicircle

    def test_is_scipys_semicircle(self) -> None:
        x = np.linspace(-1.9, 1.9, 50)
        reference = scipy.stats.semicircular(scale=2.0)
        t, law = torch.tensor(x), ts.WignerSemicircle(2.0)
        np.testing.assert_allclose(law.cdf(t), reference.cdf(x), rtol=1e-12)
        np.testing.assert_allclose(law.log_prob(t), reference.logpdf(x), rtol=1e-12, atol=1e-14)


class TestHyperbolicSecant(DistributionSuite):
    law = ts.HyperbolicSecant


def test_the_suites_cover_all_laws() -> None:
    assert {suite.law for suite in DistributionSuite.__subclasses__()} == set(LAWS.values())


ZERO, ONE = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)


class TestFromTorch:
    @pytest.mark.parametrize(
        ("torch_law", "law"),
        [
            (torch.distributions.Normal(ZERO, ONE), ts.Gaussian),
            (torch.distributions.Laplace(ZERO, ONE), ts.Laplace),
            (torch.distributions.Cauchy(ZERO, ONE), ts.Cauchy),
            (torch.distributions.Gumbel(ZERO, ONE), ts.Gumbel),
            (
                torch.distributions.TransformedDistribution(
                    torch.distributions.Uniform(ZERO, ONE), [transforms.SigmoidTransform().inv]
                ),
                ts.Logistic,
            ),
        ],
    )
    def test_equals_the_law_of_the_same_name(
        self, torch_law: torch.distributions.Distribution, law: type[AbstractDistribution]
    ) -> None:
        for options in (
            {},
            {"scale": 0.4},
            {"scale": torch.tensor([0.4, 2.0], dtype=torch.float64)},
            {"scale_matrix": torch.tensor([[1.0, 0.5], [0.0, 2.0]], dtype=torch.float64)},
        ):
            ours, theirs = law(**options), ts.FromTorch(torch_law, **options)
            x = torch.tensor([[0.1, -1.2], [3.0, 0.4]], dtype=torch.float64)
            functions = ["log_prob", "score"]
            functions += [] if "scale_matrix" in options else ["cdf", "icdf"]
            for function in functions:
                argument = torch.sigmoid(x) if function == "icdf" else x
                torch.testing.assert_close(
                    getattr(theirs, function)(argument),
                    getattr(ours, function)(argument),
                    rtol=1e-9,
                    atol=1e-12,
                )
        words = torch.randint(2**32, (500, 2), generator=torch.Generator().manual_seed(0))
        for dtype in DTYPES:
            for theirs, ours in zip(
                ts.FromTorch(torch_law).draw(words, dtype), law().draw(words, dtype), strict=True
            ):
                assert theirs.dtype == dtype
                torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-6)

    def test_bounded_support(self) -> None:
        law = ts.FromTorch(torch.distributions.Weibull(1.0, 2.0))
        x = torch.tensor([-math.inf, -1.0, 0.0, 0.5, math.inf, math.nan], requires_grad=True)
        nan = math.nan
        inner = 1 - math.exp(-0.25)
        for value, expected in (
            (law.cdf(x), [0, 0, 0, inner, 1, nan]),
            (law.log_prob(x).exp(), [0, 0, 0, 2 * 0.5 * math.exp(-0.25), 0, nan]),
            (law.score(x), [0, 0, 0, 2 * 0.5 - 1 / 0.5, 0, nan]),
        ):
            torch.testing.assert_close(value, x.new_tensor(expected), equal_nan=True)
            (grad,) = torch.autograd.grad(value[:5].sum(), x)
            assert not grad[:5].isnan().any()

    def test_derivatives(self) -> None:
        scale = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
        x = torch.tensor([0.3, 1.1], dtype=torch.float64, requires_grad=True)
        for function in ("cdf", "icdf", "log_prob", "score"):

            def evaluate(x: Tensor, scale: Tensor, function: str = function) -> Tensor:
                law = ts.FromTorch(torch.distributions.LogNormal(0.0, 0.5), scale)
                return getattr(law, function)(x / 2 if function == "icdf" else x)

            assert gradcheck(evaluate, (x, scale))

    def test_batch_of_laws_belongs_to_the_event(self) -> None:
        scales = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]).double()
        law = ts.FromTorch(torch.distributions.Laplace(torch.zeros(3, 2).double(), scales))
        words = torch.randint(2**32, (7, 6), generator=torch.Generator().manual_seed(0))
        noise, score = law.draw(words, torch.float64)
        expected, expected_score = ts.Laplace().draw(words, torch.float64)
        torch.testing.assert_close(noise, expected * scales.flatten())
        torch.testing.assert_close(score, expected_score / scales.flatten())
        with pytest.raises(ValueError, match="fits the event"):
            law.draw(words[:, :4], torch.float64)

    @pytest.mark.compiled
    def test_compiles(self) -> None:
        law = ts.FromTorch(torch.distributions.Normal(0.0, 1.0), 0.5)
        compiled = torch.compile(
            lambda x: law.cdf(x) + law.log_prob(x) + law.score(x),
            fullgraph=True,
            backend="aot_eager",
        )
        x = torch.tensor([0.3, -0.2])
        gaussian = ts.Gaussian(0.5)
        expected = gaussian.cdf(x) + gaussian.log_prob(x) + gaussian.score(x)
        torch.testing.assert_close(compiled(x), expected)

    def test_leaves_the_law_as_it_was(self) -> None:
        law = torch.distributions.LogNormal(0.0, 1.0, validate_args=True)
        ts.FromTorch(law)
        with pytest.raises(ValueError):
            law.log_prob(torch.tensor(-1.0))  # its own validation still works

    @pytest.mark.parametrize(
        "law",
        [
            torch.distributions.Uniform(-1.0, 1.0),
            torch.distributions.Exponential(1.0),
            torch.distributions.HalfNormal(1.0),
            torch.distributions.HalfCauchy(1.0),
            torch.distributions.Pareto(1.0, 3.0),
            torch.distributions.ContinuousBernoulli(torch.tensor(0.3)),
            # By their densities near the edges: a jump, a pole, and a jump of one of two laws.
            torch.distributions.Weibull(1.0, 1.0),
            torch.distributions.Weibull(1.0, 0.5),
            torch.distributions.Weibull(1.0, torch.tensor([3.0, 1.0])),
            torch.distributions.TransformedDistribution(
                torch.distributions.Uniform(0.0, 1.0), [transforms.AffineTransform(0.0, 2.0)]
            ),
            torch.distributions.Kumaraswamy(torch.tensor(1.0), torch.tensor(2.0)),
        ],
        ids=lambda law: type(law).__name__,
    )
    def test_refuses_jumps(self, law: torch.distributions.Distribution) -> None:
        with pytest.raises(ValueError, match=r"jump.*gradient is undefined; use Triangular"):
            ts.FromTorch(law)

    @pytest.mark.parametrize(
        "law",
        [
            torch.distributions.Weibull(1.0, 1.5),
            torch.distributions.Kumaraswamy(torch.tensor(2.0), torch.tensor(2.0)),
            torch.distributions.LogNormal(0.0, 1.0),
            torch.distributions.Gumbel(1.0, 2.0),
        ],
        ids=lambda law: type(law).__name__,
    )
    def test_accepts_densities_that_vanish_at_the_edges(
        self, law: torch.distributions.Distribution
    ) -> None:
        noise, score = ts.FromTorch(law).draw(torch.tensor(EDGE_WORDS), torch.float64)
        assert not noise.isnan().any() and not score.isnan().any()

    @pytest.mark.parametrize(
        ("law", "error", "message"),
        [
            (torch.distributions.Poisson(1.0), ValueError, "discrete"),
            (torch.distributions.Gamma(2.0, 1.0), ValueError, "no icdf"),
            (torch.distributions.StudentT(3.0), ValueError, "no icdf"),
            (
                torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2)),
                ValueError,
                "univariate",
            ),
            (
                torch.distributions.Normal(0.0, torch.tensor(1.0, requires_grad=True)),
                ValueError,
                "require grad.*pass the scale as scale=",
            ),
            (
                torch.distributions.Gumbel(torch.tensor(0.0, requires_grad=True), 1.0),
                ValueError,
                "require grad",
            ),
            (torch.distributions.Normal(torch.zeros(3, 1), 1.0), ValueError, "expand"),
            (scipy.stats.norm, TypeError, "law of torch.distributions"),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_refuses(self, law: Any, error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            ts.FromTorch(law)


@pytest.mark.parametrize("law", [ts.Gaussian, ts.Gumbel])
class TestArguments:
    @pytest.mark.parametrize(
        ("scale", "error"),
        [
            (0, ValueError),
            (-1.0, ValueError),
            (math.inf, ValueError),
            (math.nan, ValueError),
            (True, TypeError),
            ("0.3", TypeError),
            (1j, TypeError),
            ([0.3], TypeError),
            (torch.tensor(1), TypeError),
            (torch.tensor(True), TypeError),
            (torch.tensor(1j), TypeError),
            (torch.tensor([1.0, 0.0]), ValueError),
            (torch.tensor([1.0, -2.0]), ValueError),
            (torch.tensor([1.0, math.nan]), ValueError),
            (torch.tensor([1.0, math.inf]), ValueError),
            (torch.nn.Parameter(torch.tensor(-1.0)), ValueError),
        ],
    )
    def test_bad_scale(self, law: Any, scale: Any, error: type[Exception]) -> None:
        with pytest.raises(error, match="scale must be a number or a floating-point tensor"):
            law(scale)

    @pytest.mark.parametrize("scale", [2, np.float32(0.5), np.float64(0.5), 1e-30])
    def test_numbers(self, law: Any, scale: Any) -> None:
        assert law(scale).scale == float(scale)
        assert type(law(scale).scale) is float

    @pytest.mark.parametrize(
        ("matrix", "error", "message"),
        [
            (2.0, TypeError, "pass a tensor"),
            (torch.eye(2, dtype=torch.int64), TypeError, "float"),
            (torch.ones(3), ValueError, "one scale per dimension"),
            (torch.ones(2, 3), ValueError, "n, n"),
            (torch.full((2, 2), math.nan), ValueError, "NaN or infinite"),
            (torch.zeros(2, 2), ValueError, "singular"),
            (torch.ones(2, 2), ValueError, "singular"),
            (torch.tensor([[0.1, 0.2], [0.3, 0.6]], dtype=torch.float64), ValueError, "singular"),
            (torch.stack([torch.eye(3), torch.ones(3, 3)]), ValueError, "singular"),
        ],
    )
    def test_bad_scale_matrix(
        self, law: Any, matrix: Any, error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=f"scale_matrix must be.*{message}"):
            law(scale_matrix=matrix)

    @pytest.mark.parametrize(
        "matrix",
        [
            torch.tensor([[0.0, 1.0], [1.0, 0.0]]),
            torch.tensor([[1e-30, 0.0], [0.0, 1.0]]),
            torch.tensor([[1.0, 0.0], [1e10, 1.0]]).T,
            torch.eye(3).half(),
            torch.empty(0, 0),
            torch.empty(0, 2, 2),
        ],
    )
    def test_invertible_matrices(self, law: Any, matrix: Tensor) -> None:
        assert law(scale_matrix=matrix).scale is None

    def test_scale_or_scale_matrix(self, law: Any) -> None:
        assert law().scale == 1.0 and law().scale_matrix is None
        for arguments, keywords in (((1.0,), {}), ((), {"scale": 1.0})):
            with pytest.raises(ValueError, match="exclude each other"):
                law(*arguments, scale_matrix=torch.eye(2), **keywords)
        with pytest.raises(TypeError, match="scale must be a number or.*, got None"):
            law(None)
        with pytest.raises(TypeError, match="scale must be a number or.*, got None"):
            law(scale=None, scale_matrix=None)

    @pytest.mark.parametrize("keyword", ["sigma", "std", "loc", "temperature"])
    def test_unknown_keywords(self, law: Any, keyword: str) -> None:
        name = law.__name__
        message = f"^{name} takes scale= or scale_matrix=, got {keyword}=;.*{name}\\(scale=0.3\\)$"
        with pytest.raises(TypeError, match=message):
            law(**{keyword: 0.3})

    def test_a_second_positional_argument(self, law: Any) -> None:
        message = f"^{law.__name__} takes scale= or scale_matrix=, got 2 positional arguments; "
        with pytest.raises(TypeError, match=message):
            law(0.0, 1.0)

    def test_the_signature_is_that_of_the_class(self, law: Any) -> None:
        parameters = inspect.signature(law).parameters
        assert list(parameters) == ["scale", "scale_matrix"]
        assert parameters["scale"].default == 1.0

    def test_values_are_read_on_the_cpu_only(self, law: Any) -> None:
        meta = torch.full((2,), -1.0, device="meta")
        assert law(meta).scale is meta
        assert law(scale_matrix=torch.zeros(2, 2, device="meta")).scale is None

    @pytest.mark.parametrize("x", [0.5, np.zeros(2), None])
    def test_argument_must_be_a_tensor(self, law: Any, x: Any) -> None:
        with pytest.raises(TypeError, match="x must be a tensor"):
            law().cdf(x)
        with pytest.raises(TypeError, match="u must be a tensor"):
            law().icdf(x)
        with pytest.raises(TypeError, match="x must be real"):
            law().score(torch.tensor(1j))

    def test_repr(self, law: Any) -> None:
        assert repr(law(0.3)) == f"{law.__name__}(scale=0.3)"
        assert repr(law(torch.ones(2))) == (
            f"{law.__name__}(scale=<torch.float32 tensor of shape (2,)>)"
        )
        assert "scale_matrix=<" in repr(law(scale_matrix=torch.eye(2)))


def test_unknown_keywords_of_from_torch() -> None:
    law = torch.distributions.Normal(0.0, 1.0)
    message = "^FromTorch takes distribution, scale= or scale_matrix=, got sigma=;"
    with pytest.raises(TypeError, match=message):
        ts.FromTorch(law, sigma=0.3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="^FromTorch takes.*, got 3 positional arguments"):
        ts.FromTorch(law, 0.3, 0.4)  # type: ignore[misc]
    with pytest.raises(TypeError, match="scale must be a number or.*, got None"):
        ts.FromTorch(law, None)  # type: ignore[arg-type]


def test_from_torch_repr() -> None:
    law = ts.FromTorch(torch.distributions.Normal(0.0, 1.0), 0.5)
    assert repr(law) == "FromTorch(Normal(loc: 0.0, scale: 1.0), scale=0.5)"


def test_abstract_laws_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="abstract"):
        AbstractDistribution()  # type: ignore[abstract]


def test_law_of_torch_without_a_mean() -> None:
    law = ts.FromTorch(torch.distributions.Cauchy(0.0, 1.0))
    with pytest.raises(ValueError, match="distribution must have a mean"):
        law.mean()
