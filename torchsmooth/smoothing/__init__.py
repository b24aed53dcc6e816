"""The generic road: any callable, called once per sample and never differentiated.

smoothed.py        the public function, its arguments and their shapes
evaluation.py      one call: perturbs, calls f on chunks of points, and hands the outputs on to
sums.py            what sums up over the samples, or
samples.py         what needs the outputs of all samples
score_rule.py      the derivatives of what came out
noise.py           the noise, drawn again wherever it is needed
outputs.py         f's outputs as one matrix
calls.py           how f is called; workers.py: by an executor; ranks.py: on several ranks
"""

from .score_rule import _finish as _finish
from .smoothed import Smoothed as Smoothed, smooth as smooth
from .workers import SupportsSubmit as SupportsSubmit
