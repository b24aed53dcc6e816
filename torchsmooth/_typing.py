"""Types that several parts share: the option strings, each list of names once."""

from typing import Literal, TypeAlias


Covariate: TypeAlias = Literal["none", "fx", "loo"]
SamplerName: TypeAlias = Literal[
    "mc", "qmc_latin", "rqmc_latin", "qmc_cartesian", "rqmc_cartesian", "sobol", "auto"
]
Inputs: TypeAlias = Literal["torch", "numpy"]
NanPolicy: TypeAlias = Literal["propagate", "raise", "omit"]
StatisticName: TypeAlias = Literal["mean"]
# What f is compared with: 0, its unperturbed value, or the mean of all samples.
Baseline: TypeAlias = Literal["none", "fx", "mean"]
# Which score of the scale is wanted: none, that of a diagonal, or of a matrix, an outer product.
ScaleScore: TypeAlias = Literal["none", "diagonal", "outer"]
# Which Jacobians a fused op accumulates with the mean.
Jacobian: TypeAlias = Literal["none", "x", "x_and_scale"]
SortOutput: TypeAlias = Literal["matrix", "ranks", "values"]
RenderOutput: TypeAlias = Literal["silhouette", "depth", "lambert"]
# How a tensor takes part in a batch, see `as_batch`.
BatchKind: TypeAlias = Literal["each", "all or each", "shared", "drawn"]
