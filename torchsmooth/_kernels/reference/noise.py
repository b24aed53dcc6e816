"""Perturbing points, and sums over samples."""

import torch
from torch import Tensor

from ...distributions import LAWS, AbstractDistribution
from .philox import MASK
from .samplers import words


def _resolve_law(law: str | AbstractDistribution) -> AbstractDistribution:
    return LAWS[law]() if isinstance(law, str) else law


def evaluate_law(x: Tensor, law: str, function: str) -> Tensor:
    """One function ("icdf", "cdf", "log_prob", "score") of a law of scale 1, elementwise."""
    standard = LAWS[law]()
    functions = {
        "icdf": standard.icdf,
        "cdf": standard.cdf,
        "log_prob": standard.log_prob,
        "score": standard.score,
    }
    return functions[function](x)


def draw_weights(
    law: str | AbstractDistribution,
    words: Tensor,  # [..., n], int64
    dtype: torch.dtype,
    pair_weight: float,
) -> tuple[Tensor, Tensor, Tensor]:  # 3 x [..., n]
    """Noise of scale 1, and what f is multiplied with for the gradients in x and in the scale.

    These weights are the score and score * noise - 1. With `pair_weight` w, the weight h of a
    sample becomes h + w (h + h'), h' that of its mirror image: leave one pair out.
    """
    law = _resolve_law(law)
    noise, score = law.draw(words, dtype)
    scale = score * noise - 1
    if pair_weight != 0:
        mirror_noise, mirror_score = law.draw(words ^ MASK, dtype)
        mirror_scale = mirror_score * mirror_noise - 1
        score = score + pair_weight * (score + mirror_score)
        scale = scale + pair_weight * (scale + mirror_scale)
    return noise, score, scale


def perturb(
    x: Tensor,  # [B, n]
    scale: Tensor,  # [1 or B, 1 or n], or the matrix L: [1 or B, n, n]
    seed: Tensor,
    directions: Tensor,
    law: str | AbstractDistribution,
    sampler: str,
    antithetic: bool,
    num_samples: int,
    start: int,
    stop: int,
) -> Tensor:  # [stop - start, n]
    """The perturbed points of rows start to stop: x + scale * noise, or x + L noise."""
    n = x.shape[1]
    word = words(seed, directions, sampler, antithetic, num_samples, n, start, stop)
    noise, _ = _resolve_law(law).draw(word, x.dtype)
    element = torch.arange(start, stop, device=x.device) // num_samples
    center = x.index_select(0, element)
    if scale.ndim == 2:
        return center + pick(scale, element) * noise
    if scale.shape[0] == 1:
        return center + noise @ scale[0].mT
    # Column by column: no [rows, n, n] is stored.
    for k in range(n):
        center = center + scale[:, :, k].index_select(0, element) * noise[:, k : k + 1]
    return center


def pick(per_element: Tensor, element: Tensor) -> Tensor:
    return per_element if per_element.shape[0] == 1 else per_element.index_select(0, element)


def without_bad_rows(x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x and scale with numbers in place of NaN and infinities, and the batch elements with any."""
    bad_scale = ~(scale.isfinite() & (scale != 0))
    bad = ~x.isfinite().all(-1) | bad_scale.expand(-1, x.shape[1]).any(-1)
    safe_x = torch.where(bad.unsqueeze(-1), 0, x)
    return safe_x, torch.where(bad_scale, 1, scale), bad


def sums_of_products(
    a: Tensor,  # [rows, p]
    b: Tensor,  # [rows, q]
    num_samples: int,
    start: int,
) -> Tensor:  # [elements, p, q]
    """The sum of outer(a_r, b_r) over the rows of each batch element, in double precision."""
    a, b = a.to(accumulator(a)), b.to(accumulator(b))
    rows = a.shape[0]
    # An element that is cut at the front, whole elements, an element that is cut at the end.
    head = min(-start % num_samples, rows)
    body = (rows - head) // num_samples * num_samples
    sums = []
    for begin, end, length in (
        (0, head, head),
        (head, head + body, num_samples),
        (head + body, rows, rows - head - body),
    ):
        if end > begin:
            shape = ((end - begin) // length, length)
            left = a[begin:end].reshape(*shape, a.shape[1])
            right = b[begin:end].reshape(*shape, b.shape[1])
            sums.append(left.mT @ right)
    return torch.cat(sums) if sums else a.new_zeros((0, a.shape[1], b.shape[1]))


def accumulator(x: Tensor) -> torch.dtype:
    return torch.float32 if x.device.type == "mps" else torch.float64  # mps has no doubles


def reduce(
    values: Tensor,  # [stop - start, M]
    pivot: Tensor,  # [B, M]
    seed: Tensor,
    directions: Tensor,
    law: str | AbstractDistribution,
    sampler: str,
    antithetic: bool,
    num_samples: int,
    n: int,
    pair_weight: float,
    moment: str,
    start: int,
    stop: int,
) -> tuple[Tensor, Tensor]:  # [elements, M + 1, n], [elements, M + 1, 0 or n or n * n]
    """Sums of (value - pivot) * weight over the rows start to stop of each batch element.

    The weights are the scores and, for `moment` "diagonal", score_j noise_j - 1, or for "outer",
    score_i noise_j - [i == j]. The last row of each result has 1 in place of the value.
    """
    word = words(seed, directions, sampler, antithetic, num_samples, n, start, stop)
    _, score, scale = draw_weights(law, word, values.dtype, pair_weight)
    element = torch.arange(start, stop, device=values.device) // num_samples
    centered = values - pivot.index_select(0, element)
    centered = torch.cat((centered, values.new_ones((values.shape[0], 1))), 1)

    def sums(weight: Tensor) -> Tensor:
        return sums_of_products(centered, weight, num_samples, start).to(values.dtype)

    if moment == "none":
        return sums(score), sums(score[:, :0])
    if moment == "diagonal":
        return sums(score), sums(scale)
    # Row by row of the matrix: no [rows, n, n] is stored.
    law = _resolve_law(law)
    noise, score_i = law.draw(word, values.dtype)
    mirror_noise, mirror_score_i = law.draw(word ^ MASK, values.dtype)
    moments = []
    for i in range(n):
        identity = torch.zeros_like(noise)
        identity[:, i] = 1
        weight = score_i[:, i : i + 1] * noise - identity
        if pair_weight != 0:
            mirror = mirror_score_i[:, i : i + 1] * mirror_noise - identity
            weight = weight + pair_weight * (weight + mirror)
        moments.append(sums(weight))
    return sums(score), torch.cat(moments, -1) if moments else sums(score[:, :0])
