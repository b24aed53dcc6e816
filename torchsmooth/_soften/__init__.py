"""Existing PyTorch code with its hard operators replaced by their smooth twins.

A mode of `torch.overrides` sees every call of an operator inside the block. Operators of
floating-point tensors are replaced as `operators` says; comparisons and argmax return `stands` for
bool and integer tensors, for which `events` and `indices` say what may be done with them.
"""

from . import indices as indices  # says what a soft index can do
from .mode import Softening as Softening, soften as soften
from .operators import SOFTENED as SOFTENED
from .places import Place as Place
from .replacements import Replacement as Replacement, Replacements as Replacements
from .stands import SoftBoolean as SoftBoolean, SoftIndex as SoftIndex
