"""Measured gradient variances against closed forms, and what is evaluated for them."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from laws import SCIPY
from torch import Tensor

import torchsmooth as ts


A = torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64)
X = torch.tensor([0.3, -0.2, 0.4], dtype=torch.float64)
GAMMA = 0.5
SAMPLES = 16


def linear(y: Tensor) -> Tensor:
    return y @ A.to(y)


def exact_variance(covariate: str) -> float:
    """Of the score estimator of the gradient of <a, x> under Gaussian noise, independent samples.

    From E[(c + <a, e>)^2 |e|^2] = c^2 n + |a|^2 (n + 2), with c = <a, x> / gamma for no baseline, 0
    for f(x). Leave-one-out is the sample covariance of f and the noise: s_xy of normal variables
    has the variance (s_xx s_yy + s_xy^2) / (s - 1).
    """
    n, square = len(A), A.square().sum().item()
    if covariate == "loo":
        return square * (n + 1) / (SAMPLES - 1)
    offset = (A @ X).item() / GAMMA if covariate == "none" else 0.0
    return (offset**2 * n + square * (n + 1)) / SAMPLES


def test_variances_of_a_linear_function() -> None:
    """Within 5 of their standard errors (6e-7 by chance), which see errors of 10 %."""
    result = ts.tune(
        linear,
        X,
        SAMPLES * 4000 + 1,
        [ts.Gaussian(GAMMA)],
        num_samples=SAMPLES,
        samplers=["mc"],
        antithetic=False,
        seed=0,
    )
    assert result.repetitions == 4000
    assert {c.covariate for c in result.candidates} == {"none", "fx", "loo"}
    square = A.square().sum().item()
    for c in result.candidates:
        exact = exact_variance(c.covariate)
        assert 5 * c.variance_error < 0.1 * exact
        assert abs(c.variance - exact) < 5 * c.variance_error
        assert abs(c.relative_variance - exact / square) < 5 * c.relative_variance_error
        assert 5 * c.relative_variance_error < 0.15 * exact / square


def test_standard_errors_are_the_scatter_of_variances() -> None:
    """Over 300 seeds; the scatter of so many is known within 4 %, the jackknife within its bias."""
    results = [
        ts.tune(
            linear,
            X,
            SAMPLES * 64,
            [ts.Gaussian(GAMMA)],
            num_samples=SAMPLES,
            samplers=["mc"],
            antithetic=False,
            covariates=["loo"],
            seed=seed,
        ).best
        for seed in range(300)
    ]
    for name in ("variance", "relative_variance"):
        scatter = np.std([getattr(c, name) for c in results])
        errors = np.mean([getattr(c, f"{name}_error") ** 2 for c in results]) ** 0.5
        assert errors == pytest.approx(scatter, rel=0.2)


@pytest.mark.parametrize("vectorized", [True, False])
@pytest.mark.parametrize("chunk_size", [None, 7])
@pytest.mark.parametrize("law", [ts.Gumbel(GAMMA), ts.Logistic(scale_matrix=torch.eye(3) / 2)])
def test_is_the_scatter_of_what_smooth_gives(
    law: ts.AbstractDistribution, chunk_size: int | None, vectorized: bool
) -> None:
    """For each covariate, in a batch of two, though all see the same evaluations of f.

    The standard errors are the jackknife's, with each of the repetitions left out in turn.
    """
    x = torch.stack([X, -X])
    law = ts.Logistic(scale_matrix=law.scale_matrix.double()) if law.scale is None else law

    def f(y: Tensor) -> Tensor:
        return torch.stack([(y.sum(-1) > 0).double(), y[..., 0].round()], -1)

    result = ts.tune(
        f,
        x,
        2 * 8 * 10 + 2,
        [law],
        num_samples=8,
        samplers=["mc"],
        antithetic=True,
        vectorized=vectorized,
        chunk_size=chunk_size,
        seed=3,
    )
    assert result.repetitions == 10 and result.evaluations == 2 * 8 * 10 + 2
    scatter: dict[str, Tensor] = {}
    for c in result.candidates:
        copies = x.expand(10, 2, 3).clone().requires_grad_()
        values = ts.smooth(f, law, **c.options, seed=3)(copies)
        gradients = torch.stack(
            [
                torch.autograd.grad(values[..., m].sum(), copies, retain_graph=True)[0]
                for m in range(2)
            ],
            1,
        ).flatten(1)  # [repetitions, entries]
        scatter[c.covariate] = gradients
    without = [[r for r in range(10) if r != left_out] for left_out in range(10)]
    clearest = min(scatter.values(), key=lambda gradients: gradients.var(0).sum())

    def squared_norm(rows: list[int]) -> float:
        """Of the expected gradient, from the covariate with the least variance."""
        chosen = clearest[rows]
        return (chosen.mean(0).square().sum() - chosen.var(0).sum() / len(rows)).item()

    for c in result.candidates:
        variances = np.array([scatter[c.covariate][rows].var(0).sum() for rows in without])
        ratios = variances / [squared_norm(rows) for rows in without]
        variance = scatter[c.covariate].var(0).sum().item()
        assert c.variance == pytest.approx(variance, rel=1e-10)
        assert c.variance_error == pytest.approx(3 * variances.std(), rel=1e-10)  # sqrt(10 - 1)
        assert c.relative_variance == pytest.approx(
            variance / squared_norm(list(range(10))), rel=1e-10
        )
        assert c.relative_variance_error == pytest.approx(3 * ratios.std(), rel=1e-10)


@pytest.mark.parametrize("vectorized", [True, False])
def test_evaluations_are_counted(vectorized: bool) -> None:
    """All but f(x) are shared among the covariates, and the budget holds."""
    seen: list[int] = []
    buffer = np.empty(4096)

    def f(y: Tensor) -> Any:
        if not vectorized:
            seen.append(1)
            return float(y.sum())
        seen.append(len(y))
        buffer[: len(y)] = y.numpy().sum(-1)  # only possible without a graph
        return buffer[: len(y)]

    steps: list[tuple[int, int]] = []
    result = ts.tune(
        f,
        torch.zeros(2, 3),
        1000,
        [ts.Gaussian(), ts.Laplace()],
        num_samples=8,
        samplers=["mc", "sobol"],
        antithetic=False,
        vectorized=vectorized,
        seed=0,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert result.repetitions == 15 and len(result.candidates) == 2 * 2 * 3
    assert sum(seen) == result.evaluations == 2 + 15 * 2 * 2 * 2 * 8 <= 1000
    assert steps == [(2 + k * 240, 962) for k in (1, 2, 3, 4)]


LAWS = {
    "number": ts.Logistic(0.3),
    "heavy": ts.Cauchy(2.0),
    "not the first of its kind": ts.HyperbolicSecant(0.4),
    "per element": ts.Gaussian(torch.tensor([0.1, 2.0, 1.0], dtype=torch.float64)),
    "of torch": ts.FromTorch(torch.distributions.Normal(0.0, 2.0), 0.3),
}


@pytest.mark.parametrize("reference", LAWS)
def test_laws_of_the_same_interquartile_range(reference: str) -> None:
    law = LAWS[reference]
    result = ts.tune(linear, X, 20_000, law, samplers=["mc"], antithetic=False, seed=0)
    laws = {type(c.distribution): c.distribution for c in result.candidates}
    others = {ts.Gaussian, ts.Logistic, ts.Gumbel, ts.Cauchy, ts.Laplace}
    assert set(laws) == others | {type(law)}
    quarter, three = torch.tensor([0.25, 0.75], dtype=torch.float64)
    wanted = law.icdf(three) - law.icdf(quarter)
    for other in laws.values():
        if other.name is None:
            continue
        noise = SCIPY[other.name]
        width = torch.as_tensor(other.scale) * (noise.ppf(0.75) - noise.ppf(0.25))
        torch.testing.assert_close(width.double(), wanted.double(), rtol=1e-6, atol=0)


def test_more_laws_of_a_kind_are_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor are laws whose score has infinite variance: the search is as long as before."""
    options: dict[str, Any] = dict(samplers=["mc"], antithetic=False, seed=0)
    before = ts.tune(linear, X, 20_000, ts.Cauchy(), **options)
    for name, law in (("another", ts.Logistic), ("compact", ts.Triangular)):
        monkeypatch.setitem(ts.LAWS, name, law)
    assert str(ts.tune(linear, X, 20_000, ts.Cauchy(), **options)) == str(before)
    kinds = [c.distribution.traits.kind for c in before.candidates if c.covariate == "loo"]
    assert len(set(kinds)) == len(kinds)


def test_scale_matrices_are_matched() -> None:
    matrix = torch.tensor([[0.5, 0.0, 0.0], [0.1, 0.4, 0.0], [0.0, 0.2, 0.3]]).double()
    law = ts.Logistic(scale_matrix=matrix.requires_grad_())
    result = ts.tune(linear, X, 20_000, law, samplers=["mc"], antithetic=False, seed=0)
    for c in result.candidates:
        other = c.distribution
        ratio = SCIPY["logistic"].ppf(0.75) / SCIPY["laplace"].ppf(0.75)
        if isinstance(other, ts.Laplace):
            torch.testing.assert_close(other.scale_matrix, ratio * matrix.detach())
        assert not other.scale_matrix.requires_grad


def test_same_seed_same_result() -> None:
    options: dict[str, Any] = dict(samplers=["mc", "rqmc_latin"], covariates=["loo"])
    first = ts.tune(linear, X, 20_000, seed=3, **options)
    assert str(ts.tune(linear, X, 20_000, seed=torch.tensor(3), **options)) == str(first)
    assert str(ts.tune(linear, X, 20_000, seed=4, **options)) != str(first)


def test_candidates_have_samples_of_their_own() -> None:
    options: dict[str, Any] = dict(samplers=["mc"], antithetic=False, covariates=["loo"])
    result = ts.tune(linear, X, 20_000, [ts.Gaussian(), ts.Gaussian()], **options, seed=0)
    assert result.candidates[0].variance != result.candidates[1].variance


def test_report() -> None:
    result = ts.tune(linear, X, 40_000, ts.Logistic(0.3), seed=0)
    best = result.best
    assert best is result.candidates[0] and best.num_samples == 64
    relative = [c.relative_variance for c in result.candidates]
    assert relative == sorted(relative)
    lines = str(result).splitlines()
    assert lines[0].startswith("variance of a gradient from 64 samples")
    assert lines[1].split() == [
        *("distribution", "sampler", "antithetic", "covariate", "relative", "variance")
    ]
    assert len(lines) == 23 and lines[-1] == f"and {len(result.candidates) - 20} more"
    assert f"{best.relative_variance:.3g} ± " in lines[2] and best.sampler in lines[2]
    saved = json.loads(json.dumps(result.to_dict()))
    assert len(saved["candidates"]) == len(result.candidates)
    assert saved["candidates"][0]["variance"] == best.variance
    # What is recommended can be used as it is.
    x = X.clone().requires_grad_()
    ts.smooth(linear, best.distribution, **best.options)(x).backward()
    torch.testing.assert_close(x.grad, A, rtol=0, atol=10 * best.variance**0.5)


def test_cartesian_is_left_out_where_it_is_impossible() -> None:
    for n, num_samples, included in ((3, 64, True), (3, 32, False), (2, 64, True)):
        result = ts.tune(
            lambda y: y.sum(-1), torch.zeros(n), 20_000, num_samples=num_samples, antithetic=False
        )
        samplers = {c.sampler for c in result.candidates}
        expected = {"mc", "rqmc_latin", "sobol"} | ({"rqmc_cartesian"} if included else set())
        assert samplers == expected


@pytest.mark.slow
def test_nothing_to_see() -> None:
    """A constant has no gradient; infinities make a law useless, not the others."""
    result = ts.tune(lambda y: torch.ones(len(y)), X, 20_000, covariates=["loo"], seed=0)
    assert all(c.relative_variance == math.inf and c.variance == 0 for c in result.candidates)
    result = ts.tune(
        lambda y: torch.where(y.abs() > 100, math.inf, y).sum(-1), X, 100_000, ts.Gaussian(), seed=0
    )
    for c in result.candidates:
        assert (c.relative_variance == math.inf) == isinstance(c.distribution, ts.Cauchy)


def test_no_dimensions_and_inference_mode() -> None:
    with torch.inference_mode():
        result = ts.tune(
            lambda y: y.exp(), torch.tensor(0.5), 5000, [ts.Gaussian()], event_dim=0, seed=0
        )
    assert all(c.variance > 0 for c in result.candidates)


@pytest.mark.parametrize(
    "options, error, message",
    [
        (dict(f=3), TypeError, "f must be callable, got int"),
        (dict(x=[0.0]), TypeError, "x must be a torch.Tensor, got list"),
        (dict(x=torch.zeros(0, 3)), ValueError, r"x must not be empty, got shape \[0, 3\]"),
        (dict(x=torch.tensor([math.nan])), ValueError, "x must be finite"),
        (dict(budget=1e5), TypeError, "budget must be an int, got 100000.0"),
        (dict(budget=100), ValueError, "budget must be at least [0-9]+ for 4 repetitions.*got 100"),
        (dict(distributions=0.3), TypeError, "distributions must be a distribution.*got 0.3"),
        (dict(distributions=[]), TypeError, "distributions must be .*or a sequence"),
        (dict(distributions=[0.3]), TypeError, "distribution must be a distribution"),
        (dict(samplers="mc"), TypeError, "samplers must be a sequence of samplers, got 'mc'"),
        (dict(samplers=[]), TypeError, "samplers must be a sequence"),
        (dict(samplers=["halton"]), ValueError, "sampler must be one of"),
        (dict(samplers=["qmc_latin"]), ValueError, "sampler must be randomised"),
        (
            dict(samplers=["rqmc_cartesian"], num_samples=63),
            ValueError,
            "nearest valid: 27 or 64",
        ),
        (dict(antithetic=[]), ValueError, "antithetic must not be empty"),
        (dict(antithetic=[1]), TypeError, "antithetic must be True or False, got 1"),
        (dict(covariates=[]), ValueError, "covariates must not be empty"),
        (dict(covariates=["mean"]), ValueError, "covariate must be one of.*got 'mean'"),
        (dict(num_samples=2, antithetic=True), ValueError, "num_samples must be at least 4"),
        (dict(event_dim=2), ValueError, "x must have at least event_dim=2"),
        (dict(vectorized=1), TypeError, "vectorized must be True or False"),
        (dict(chunk_size=0), ValueError, "chunk_size must be at least 1"),
        (dict(seed=1.5), TypeError, "seed must be an int"),
        (dict(f=lambda y: {"a": y}), TypeError, "f must return one tensor, got dict"),
        (dict(f=lambda y: y.sum()), ValueError, r"f must map \[m, \*event\]"),
    ],
)
def test_bad_input(options: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments: dict[str, Any] = {"f": linear, "x": X, "budget": 20_000, **options}
    with pytest.raises(error, match=message):
        ts.tune(arguments.pop("f"), arguments.pop("x"), arguments.pop("budget"), **arguments)


def test_what_f_raises_is_passed_on() -> None:
    with pytest.raises(ZeroDivisionError):
        ts.tune(lambda y: 1 / 0, X, 20_000)
