"""Existing PyTorch code with its hard operators replaced by their smooth twins.

A mode of `torch.overrides` sees every call of an operator inside the block. `operators` replaces
those of floating-point tensors. Comparisons and argmax return soft booleans and soft indices
(`soft_tensors`); `booleans` and `indices` tell what may be done with them.
"""

from . import indices as indices  # says what a soft index can do
from .mode import Softening as Softening, soften as soften
from .operators import SOFTENED as SOFTENED
from .replacements import Replacement as Replacement, Replacements as Replacements
from .soft_tensors import SoftBoolean as SoftBoolean, SoftIndex as SoftIndex
from .source_lines import SourceLine as SourceLine
