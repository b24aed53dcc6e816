"""How estimates are compared with what is known exactly."""

import torch
from laws import FACTS
from torch import Tensor


def replicate(x: Tensor, replicates: int) -> Tensor:
    """A batch of the same x, a leaf: every element has noise of its own."""
    return x.detach().expand(replicates, *x.shape).clone().requires_grad_()


def assert_mean(
    estimates: Tensor,  # [replicates, ...], independent
    expected: Tensor | list | float,  # [...]
    *,
    resolution: float,
    sigmas: float = 5.0,
) -> None:
    """The mean of independent estimates is `expected`.

    A correct estimator fails with the probability that a normal variable lies `sigmas` standard
    deviations away from its mean (5: 6e-7) per entry. `resolution` is the error that the test must
    be able to see: estimates that scatter so much that it could hide are a failure of the test.
    """
    estimates = estimates.detach().double().cpu()
    mean = estimates.mean(0)
    error = estimates.std(0) / len(estimates) ** 0.5
    expected = torch.as_tensor(expected, dtype=torch.float64).detach().cpu().expand_as(mean)
    allowed = sigmas * error + 1e-12
    assert (allowed <= resolution).all(), f"{sigmas} standard errors are {allowed}: they hide much"
    off = (mean - expected).abs() / allowed * sigmas
    assert (off <= sigmas).all(), f"{off.max():.1f} sigmas: got {mean}, expected {expected}"


def assert_mean_gradient(
    law: str, estimates: Tensor, expected: Tensor | list | float, *, resolution: float
) -> None:
    """`assert_mean` for products with the scores of a law.

    Sigmas bound nothing strictly where the score has infinite variance: 8 are allowed there. The
    triangular law's grows as the logarithm of the number of samples; Wigner's, whose moments end
    below 2, as its cube root, so that only errors 5 times as large are seen.
    """
    moments = FACTS[law].score_moments
    assert_mean(
        estimates,
        expected,
        resolution=5 * resolution if moments < 2 else resolution,
        sigmas=8.0 if moments <= 2 else 5.0,
    )
