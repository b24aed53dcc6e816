"""Other ways to train by sorting, for comparison: one per file, each with its source.

All but one relax the permutation matrix: scores [b, n] to a matrix [b, n, n], with the convention
of `torchsmooth.functional.argsort`. They differ in nothing else.
"""

import functools
from collections.abc import Callable

from .neural_sort import NeuralSort as NeuralSort
from .ot_sort import OTSort as OTSort
from .perturbed_sort import PerturbedSort as PerturbedSort
from .rival import AbstractRelaxation as AbstractRelaxation, AbstractRival as AbstractRival
from .soft_rank import SoftRank as SoftRank
from .soft_sort import SoftSort as SoftSort
from .sorting_network import SortingNetwork as SortingNetwork


# By the names that they have on the command line; called with the temperature.
RIVALS: dict[str, Callable[..., AbstractRival]] = {
    "neuralsort": NeuralSort,
    "softsort": SoftSort,
    "diffsort-logistic": functools.partial(SortingNetwork, distribution="logistic"),
    "diffsort-cauchy": functools.partial(SortingNetwork, distribution="cauchy"),
    "diffsort-optimal": functools.partial(SortingNetwork, distribution="optimal"),
    "softrank": SoftRank,
    "ot-sort": OTSort,
    "perturbed": PerturbedSort,
}
