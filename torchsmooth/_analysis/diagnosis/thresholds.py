"""The numbers of the rules, each with its reason."""

import torch


# A quantity of f is compared with other quantities of f, or with its rounding: but for INNER_DIGITS
# none of them has a unit.

# Within reach means within 3 scales of the noise: 99.7 % of what a Gaussian smooths over.
REACH = 3
# A line through x is looked at on this many cells; what lies between is found by refinement.
CELLS = 64
# Places that are refined, beside x itself.
MAX_CANDIDATES = 8
# Second differences are trusted this far above rounding: it then changes them by 1/16 at most.
TRUSTED = 32.0
# Levels of refinement, each of half the width, over which their exponent is told: the last few tell
# whether f is smooth there, more of them how it is not.
LEVELS = 4
LONG_LEVELS = 12
# Second differences over a width w behave as w^p: p = 2 (or more) where f is smooth, 1 at a kink, 0
# at a jump, between 0 and 1 at a vertical tangent, below 0 at a pole. Over 4 levels a kink that is
# not centred can look 1/4 away from 1: the bounds lie half way.
SMOOTH_EXPONENT = 1.5
KINK_EXPONENT = 0.75
JUMP_EXPONENT = 0.25
# Numbers inside of f are taken to be rounded to this many times the precision of x, or of 1, if all
# values of f have so few digits.
INNER_DIGITS = 64.0
# A break stands out among the differences beside it; rounding does not.
ISOLATED = 8.0
# A jump counts from this share of what f does within reach, a kink from this share of its mean
# slope: less moves the smoothed gradient by less than its usual standard error.
RELEVANT_JUMP = 1e-3
RELEVANT_KINK = 1e-2
# From this many jumps within reach on, the branch is said to alternate.
OSCILLATION = 3
# A slope is a spike from this many times the mean slope within reach.
SPIKE = 1e3
# f is unstable if it scatters over short distances by this share of what f does within reach, and
# by this many times its last digit: rounding alone makes a few. Noise of f up to there is noise.
UNSTABLE_SHARE = 1e-2
UNSTABLE_DIGITS = 1e3
# Two evaluations at one point may differ by this many times the last digit: sums of a parallel
# program do.
REPEATABLE_DIGITS = 64.0
# AD contradicts finite differences by this many of their errors, and by this share of the slope.
MISMATCH_ERRORS = 10.0
MISMATCH_SHARE = 1e-2
# The smoothed gradient is not 0 from this many standard errors on (Student's law with 15 degrees of
# freedom: 2.4e-5 by chance).
SIGNIFICANT = 6.0
# Where AD is asked, beside x: at points drawn like the noise, and on the line of each coordinate.
NEIGHBOURS = 16
LINE_SHARES = (-1.0, -0.5, 0.5, 1.0)
# Evaluations at one point, to see whether f repeats itself.
REPEATS = 8

# Nodes from which noise is told, and their distance: rounding is a staircase, whose steps must lie
# closer than that, and f must be no more than a parabola over it.
NOISE_NODES = 16
LEFT_OUT = 4  # what one jump changes
SHORT_CELL = {torch.float32: 2**-12, torch.float64: 2**-20}
