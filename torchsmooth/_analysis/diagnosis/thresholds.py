"""The numbers of the rules, each with its reason."""

import torch


# Quantities of f are compared with other quantities of f, or with its rounding. Therefore no
# threshold except INNER_DIGITS has a unit.

# Within reach means within 3 scales of the noise: 99.7 % of a Gaussian.
REACH = 3
# The number of cells of a line through x; refinement searches between their ends.
CELLS = 64
# The number of places that are refined, in addition to x.
MAX_CANDIDATES = 8
# Second differences are used down to this multiple of the rounding, which then changes them by at
# most 1/16.
TRUSTED = 32.0
# Levels of refinement, each of half the width, over which the exponent is measured: the last few
# show whether f is smooth there, more of them which kind of break it has.
LEVELS = 4
LONG_LEVELS = 12
# Second differences over a width w behave as w^p: p = 2 (or more) where f is smooth, 1 at a kink, 0
# at a jump, between 0 and 1 at a vertical tangent, below 0 at a pole. Over 4 levels a kink that is
# not centred can appear 1/4 away from 1: the bounds are half way.
SMOOTH_EXPONENT = 1.5
KINK_EXPONENT = 0.75
JUMP_EXPONENT = 0.25
# If all values of f have few digits, numbers inside of f are assumed to be rounded to up to this
# many times the precision of x, or of 1.
INNER_DIGITS = 64.0
# A break exceeds the median of the neighbouring differences by this factor; rounding does not.
ISOLATED = 8.0
# A jump counts from this share of f's range within reach, a kink from this share of its mean slope:
# smaller ones move the smoothed gradient by less than its usual standard error.
RELEVANT_JUMP = 1e-3
RELEVANT_KINK = 1e-2
# From this many jumps within reach on, the branch alternates.
OSCILLATION = 3
# A slope is a spike from this many times the mean slope within reach.
SPIKE = 1e3
# f is unstable if it scatters over short distances by this share of its range within reach and by
# this many times its last digit. Rounding makes a few; smaller scatter is treated as noise.
UNSTABLE_SHARE = 1e-2
UNSTABLE_DIGITS = 1e3
# Two evaluations at one point may differ by this many times the last digit, as parallel sums do.
REPEATABLE_DIGITS = 64.0
# AD contradicts finite differences by this many of their errors, and by this share of the slope.
MISMATCH_ERRORS = 10.0
MISMATCH_SHARE = 1e-2
# The smoothed gradient differs from 0 from this many standard errors on (by chance with probability
# 2.4e-5, by Student's law with 15 degrees of freedom).
SIGNIFICANT = 6.0
# AD is evaluated at x, at this many points drawn like the noise, and at these shares of the reach
# on the line of each coordinate.
NEIGHBOURS = 16
LINE_SHARES = (-1.0, -0.5, 0.5, 1.0)
# Evaluations at one point, to see whether f is deterministic.
REPEATS = 8

# The number of nodes for measuring noise, and their distance in reaches. Rounding is a staircase,
# whose steps must be closer than this distance, and over it f must be close to a parabola.
NOISE_NODES = 16
LEFT_OUT = 4  # third differences that one jump changes
SHORT_CELL = {torch.float32: 2**-12, torch.float64: 2**-20}
