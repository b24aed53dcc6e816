"""The verdicts, and how they follow from the evidence."""

import math

from .evidence import Evidence
from .result import Break
from .thresholds import (
    MISMATCH_ERRORS,
    MISMATCH_SHARE,
    OSCILLATION,
    RELEVANT_JUMP,
    RELEVANT_KINK,
    REPEATABLE_DIGITS,
    SIGNIFICANT,
    SPIKE,
    UNSTABLE_DIGITS,
    UNSTABLE_SHARE,
)


VERDICTS = {
    "smooth": "no break within reach, and AD agrees with finite differences",
    "kink": "f is continuous, its slope jumps within reach",
    "jump": "f jumps within reach: AD does not see it, at x or beside it",
    "vanishing": "AD is 0 or has no graph, at x and all around, but f is not constant",
    "nan": "f or AD is not finite at x, or NaN within reach",
    "spike": "slopes are unbounded, or far steeper than the mean slope within reach",
    "unstable": "f is random, or scatters over tiny distances",
    "oscillation": "f jumps again and again within reach: the branch taken alternates",
    "mismatch": "f looks smooth, but AD disagrees with finite differences",
}
"""The verdicts of `torchsmooth.diagnose` and what they mean."""


def decide(e: Evidence) -> tuple[str, str]:
    """The verdict and its reason: the most serious finding comes first."""
    ads = [e.ad, *e.ad_line, *e.ad_around]
    if not math.isfinite(e.center):
        return "nan", f"f(x) is {e.center}"
    if e.ad is not None and not math.isfinite(e.ad):
        return "nan", f"AD is {e.ad} at x, where f is {e.center:.4g}"
    if e.scatter > REPEATABLE_DIGITS * e.digit:
        return (
            "unstable",
            f"f is random: evaluated twice at the same points, it differs by {_about(e.scatter)}",
        )
    if any(map(math.isnan, e.grid)):
        offset = min((e.grid_offset(j) for j, v in enumerate(e.grid) if math.isnan(v)), key=abs)
        return "nan", f"f is NaN at {_place(offset)}"
    if any(a is not None and math.isnan(a) for a in ads):
        return "nan", "AD is NaN at points within reach, though f is not"
    if any(map(math.isinf, e.grid)):
        offset = min((e.grid_offset(j) for j, v in enumerate(e.grid) if math.isinf(v)), key=abs)
        return "spike", f"f is infinite at {_place(offset)}"
    if e.noise > max(UNSTABLE_SHARE * e.range, UNSTABLE_DIGITS * e.digit):
        return "unstable", (
            f"f changes by {_about(e.noise)} over {e.line.short * e.line.unit:.2g}, and by "
            f"{_about(e.range)} within reach"
        )
    for b in e.breaks:
        if b.kind == "spike":
            return "spike", f"slopes grow without bound at {_place(b.offset)}"

    jumps = [b for b in e.breaks if b.kind == "jump" and abs(b.size) >= RELEVANT_JUMP * e.range]
    kinks = [
        b for b in e.breaks if b.kind == "kink" and abs(b.size) >= RELEVANT_KINK * e.mean_slope
    ]
    flat = all(not a for a in ads)
    says = "has no graph" if all(a is None for a in ads) else "is 0 at x and all around"
    alternates = len({b.size > 0 for b in jumps}) == 2
    if len(jumps) >= OSCILLATION and (alternates or not flat):
        return "oscillation", (
            f"f jumps at least {len(jumps)} times within reach, next at {_place(jumps[0].offset)}"
        )
    if flat and jumps:
        return "vanishing", f"AD {says}, but f {_jump(jumps[0])}"
    if jumps:
        return "jump", f"f {_jump(jumps[0])}"
    significant = abs(e.smoothed) > SIGNIFICANT * e.smoothed_error
    if flat and significant and abs(e.smoothed) * e.line.reach > UNSTABLE_DIGITS * e.digit:
        if not kinks or says == "has no graph":
            return "vanishing", f"AD {says}, but the smoothed gradient is {e.smoothed:.4g}"
    if kinks:
        return "kink", _kink(e, kinks[0])
    if flat and says == "has no graph" and e.range > UNSTABLE_DIGITS * e.digit:
        return "vanishing", f"AD {says}, but f changes by {_about(e.range)} within reach"
    steepest = e.steepest
    if steepest > SPIKE * e.mean_slope and steepest * e.line.reach > UNSTABLE_DIGITS * e.digit:
        return "spike", (
            f"a slope of {steepest:.3g} within reach, where the mean slope is {e.mean_slope:.3g}"
        )
    if _contradicts(e):
        return "mismatch", (
            f"AD is {'none' if e.ad is None else format(e.ad, '.4g')}, but the slope is "
            f"{e.left.value:.4g} on the left and {e.right.value:.4g} on the right"
        )
    if e.range <= UNSTABLE_DIGITS * e.digit and flat:
        return "smooth", "f is constant within reach"
    if _agrees(e):
        return "smooth", "no break within reach, and AD is the slope on both sides"
    return "smooth", "no break within reach; difference quotients are too rough to judge AD"


def _contradicts(e: Evidence) -> bool:
    """Whether AD is neither the left nor the right slope of a smooth f."""
    ad = e.ad or 0.0
    error = e.left.error + e.right.error
    if not math.isfinite(error):
        return False
    gap = min(abs(ad - e.left.value), abs(ad - e.right.value))
    slope = max(abs(ad), abs(e.left.value), abs(e.right.value))
    # A change of f by less than its rounding does not show in its values. Where f is constant, its
    # size does not show how large the numbers inside of it are: they are assumed to be 1.
    floor = e.digit if e.range else max(e.digit, e.line.eps)
    return (
        gap > MISMATCH_ERRORS * error
        and gap > MISMATCH_SHARE * max(slope, e.mean_slope)
        and gap * e.line.reach > UNSTABLE_DIGITS * floor
    )


def _agrees(e: Evidence) -> bool:
    ad = e.ad or 0.0
    share = MISMATCH_SHARE * max(abs(ad), e.mean_slope)
    return all(abs(ad - d.value) <= share and d.error <= share for d in (e.left, e.right))


def _about(size: float) -> str:
    return f"{size:.2g}"


def _place(offset: float) -> str:
    if offset == 0.0:
        return "x"
    return f"{abs(offset):.3g} {'above' if offset > 0 else 'below'} x"


def _jump(b: Break) -> str:
    return f"jumps by {b.size:.3g} at {_place(b.offset)}"


def _kink(e: Evidence, b: Break) -> str:
    text = f"the slope changes by {b.size:.3g} at {_place(b.offset)}"
    if e.ad is not None and b.offset == 0.0:
        return f"{text}, where AD is {e.ad:.4g}"
    return text
