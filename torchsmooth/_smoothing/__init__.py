"""The generic road: any callable, called once per sample and never differentiated.

smoothed.py        the public function, its arguments and their shapes
evaluation.py      one call: perturbs, calls f on chunks of points, and hands the outputs on to
sums.py            what sums up over the samples, or
samples.py         what needs the outputs of all samples
score_rule.py      the derivatives of what came out
noise.py           the noise, drawn again wherever it is needed
outputs.py         f's outputs as one matrix
user_function.py   how f is called; executor.py: by an executor; process_group.py: on several ranks
estimator.py       what a sample is compared with, and how the products are averaged
"""

from .executor import SupportsSubmit as SupportsSubmit
from .smoothed import Smoothed as Smoothed, smooth as smooth
