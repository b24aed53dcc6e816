"""The generic road: any callable, called once per sample and never differentiated.

smoothed.py        the public function, and the shapes of batch and event
options.py         its keywords; estimator.py: what they make of the products with the scores
evaluation.py      one call: the value, and the rule for its derivatives
calls.py           the calls of f, chunk by chunk
user_function.py   how f is called; executor.py: by an executor; process_group.py: on several ranks
outputs.py         f's outputs as one matrix
accumulator.py     what becomes of them: sums.py adds up values and Jacobians, samples.py keeps all
jacobian_rule.py   the derivatives, from the Jacobians that were added up
outputs_rule.py    the derivatives, from the outputs that were kept
noise.py           the noise, drawn again wherever it is needed
resolution.py      whether x resolves the noise
"""

from .executor import SupportsSubmit as SupportsSubmit
from .smoothed import Smoothed as Smoothed, smooth as smooth
