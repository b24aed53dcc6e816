"""The table of facts: it has a row for every law of the registry, and its columns agree."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.integrate
import torch
from laws import FACTS, UNBOUNDED, difference, difference_by_quadrature

import torchsmooth as ts
from torchsmooth import distributions
from torchsmooth.distributions import LAWS


def test_every_law_has_a_row() -> None:
    assert list(FACTS) == list(LAWS)


def test_the_kernels_have_the_same_laws() -> None:
    source = Path(__file__).parents[2] / "csrc/core/laws.h"
    rows = re.findall(r"^ +X\((\w+), (\w+)\)", source.read_text(), re.MULTILINE)
    assert [(law.__name__, name) for name, law in LAWS.items()] == rows


def test_the_registry_has_every_law() -> None:
    exported = [getattr(distributions, name) for name in distributions.__all__]
    laws = {law for law in exported if inspect.isclass(law) and not inspect.isabstract(law)}
    assert set(LAWS.values()) == laws - {ts.FromTorch}
    assert all(LAWS[name].name == name for name in LAWS)
    assert all(getattr(ts, name) is getattr(distributions, name) for name in distributions.__all__)


@pytest.mark.parametrize("law", LAWS)
def test_what_a_law_says_of_itself(law: str) -> None:
    facts, traits = FACTS[law], LAWS[law]().traits
    assert traits.support == facts.support
    assert (traits.tails == "none") == facts.is_compact
    assert (traits.tails, traits.symmetric) == (facts.tails, facts.symmetric)
    assert traits.mean == pytest.approx(facts.mean, abs=0) if facts.mean else not traits.mean
    assert (traits.mean is None) == (facts.mean is None)
    assert traits.finite_score_variance == (facts.score_moments > 2)
    assert (traits.kinks is None) == (not facts.kinks)


def test_what_a_law_of_torch_says_of_itself() -> None:
    for law, kinks in (
        (torch.distributions.Normal(0.0, 1.0), None),
        (torch.distributions.Laplace(1.0, 1.0), "at its location"),
    ):
        assert ts.FromTorch(law).traits.kinks == kinks


@pytest.mark.parametrize("law", LAWS)
def test_density_is_that_of_scipy(law: str) -> None:
    x = np.linspace(-6, 6, 101)
    expected = FACTS[law].scipy.pdf(x)
    np.testing.assert_allclose([FACTS[law].density(e) for e in x], expected, rtol=1e-13, atol=1e-60)


@pytest.mark.parametrize("law", LAWS)
def test_mean_is_that_of_scipy(law: str) -> None:
    mean = FACTS[law].mean
    assert float(FACTS[law].scipy.mean()) == pytest.approx(
        np.nan if mean is None else mean, abs=1e-15, nan_ok=True
    )


@pytest.mark.parametrize("law", LAWS)
def test_score_is_the_slope_of_the_density(law: str) -> None:
    """By the central difference, between the kinks."""
    facts = FACTS[law]
    x, h = facts.scipy.ppf(np.array([0.02, 0.2, 0.45, 0.6, 0.9])), 1e-5
    slope = -(facts.scipy.logpdf(x + h) - facts.scipy.logpdf(x - h)) / (2 * h)
    np.testing.assert_allclose(facts.score(x), slope, rtol=1e-5)


@pytest.mark.parametrize("law", LAWS)
def test_characteristic_function_is_that_of_the_density(law: str) -> None:
    facts = FACTS[law]
    for t in (0.7, 2.0):
        parts = []
        for weight in ("cos", "sin"):
            total = 0.0
            for sign in (-1, 1):  # the density over both halves, e = sign * a
                end = abs(facts.mass[0 if sign < 0 else 1])
                value, _ = scipy.integrate.quad(
                    lambda a, sign=sign: facts.density(sign * a), 0, end, weight=weight, wvar=t
                )
                total += value * (sign if weight == "sin" else 1)
            parts.append(total)
        assert complex(*parts) == pytest.approx(complex(facts.characteristic(t)), abs=1e-7)


@pytest.mark.parametrize("law", UNBOUNDED)
def test_tail_far_out(law: str) -> None:
    facts = FACTS[law]
    d = np.array([30.0, 300.0])
    value, slope = facts.log_tail(d)
    np.testing.assert_allclose(value, facts.scipy.logsf(d), rtol=1e-3)
    hazard = np.exp(facts.scipy.logpdf(d) - facts.scipy.logsf(d))
    np.testing.assert_allclose(slope, hazard, rtol=2e-3)


# The difference of two Cauchy variables is that of a stable law, and not within 40 scales.
@pytest.mark.parametrize("law", [law for law in LAWS if FACTS[law].tails != "power"])
def test_difference_of_two(law: str) -> None:
    for z in (-1.3, 0.0, 0.4, 2.0):
        assert difference(law, z) == pytest.approx(difference_by_quadrature(law, z), abs=1e-9)
