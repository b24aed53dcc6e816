"""One call of a smoothed function: its value, and the rule for its derivatives."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .._autodiff.derivatives import AbstractRule
from .._kernels.noise import scale_score_size
from .._torch_internals import frames_of_the_package
from .._typing import BatchKind, ScaleScore
from ..statistics import Mean
from .accumulator import AbstractAccumulator
from .calls import Calls, Points
from .jacobian_rule import JacobianRule
from .noise import Noise, NoiseSource
from .options import SmoothingOptions
from .outputs import Outputs
from .outputs_rule import OutputsRule
from .process_group import Ranks
from .samples import Samples
from .sums import Sums


class Evaluation:
    """One call, without the tensors that transforms of torch.func may wrap.

    Its methods take these, so that the call can be part of a larger batch.
    """

    # Known after `run`:
    outputs: Outputs
    keeps_outputs: bool

    def __init__(
        self,
        f: Callable[..., Any],
        options: SmoothingOptions,
        source: NoiseSource,
        args: tuple[Any, ...],  # tensors [B, ...], and what is passed on as it is
        event: tuple[int, ...],
        dtype: torch.dtype,
        device: torch.device,
        ranks: Ranks | None,
        wanted: bool,  # whether derivatives may be asked for
        scale_score: ScaleScore,
        unchecked: bool,  # see `Calls`
    ):
        self.f = f
        self.options = options
        self.source = source
        self.args = args
        self.event = event
        self.dtype = dtype
        self.device = device
        self.ranks = ranks
        self.wanted = wanted
        self.scale_score = scale_score
        self.unchecked = unchecked

    def run(
        self, x: Tensor, scale: Tensor, seed: Tensor, directions: Tensor, *own: Tensor
    ) -> tuple[Tensor, ...]:
        """The value [B, R] and, if derivatives are wanted, what their rule saves.

        `x` is [B, n]; `own` are the tensors among f's arguments.
        """
        elements, n, s = x.shape[0], self.source.n, self.source.num_samples
        statistic = self.options.statistic
        baseline_kind, factor, pair_weight = self.options.estimator
        calls = self._calls(own, self.unchecked)
        unperturbed = None
        if baseline_kind == "fx":
            at_x = calls.evaluate(Points(x, scale, None), Samples(Mean(), elements, 1))
            unperturbed = at_x.value(self.ranks).detach()
        noise = Noise(self.source, seed, directions)
        omits = self.options.nan_policy == "omit"
        accumulator: AbstractAccumulator = Sums(
            noise, elements, unperturbed, pair_weight, self.scale_score, self.wanted, omits
        )
        # Between the passes the smaller one is kept: all outputs, or the accumulated Jacobian.
        jacobian = n + scale_score_size(self.scale_score, n)
        if not isinstance(statistic, Mean) or (self.wanted and s <= jacobian and not omits):
            accumulator = Samples(statistic, elements, s)
        accumulator = calls.evaluate(
            Points(x, scale, noise), accumulator, self.scale_score, self.wanted, seed
        )
        if calls.nans:
            _warn_of_nan(calls, elements * s)
        self.unchecked = calls.unchecked
        assert calls.outputs is not None  # f has been called
        self.outputs, self.keeps_outputs = calls.outputs, isinstance(accumulator, Samples)

        # Whatever f makes of it: NaN for the value and the gradient of an example with NaN or inf.
        finite = x.isfinite().all(1, keepdim=True)
        value = accumulator.value(self.ranks)
        bad = torch.where(finite, 0.0, torch.nan).to(value.dtype)
        value = value + bad
        if not self.wanted:
            return (value,)
        if unperturbed is not None:  # the statistic of samples that are all f(x)
            baseline = statistic.value(unperturbed.unsqueeze(1).expand(-1, statistic.k, -1)) + bad
        elif baseline_kind == "none":
            baseline = bad.expand_as(value)
        else:
            baseline = value.detach()
        return value, *accumulator.saved(value.detach(), baseline, factor, self.ranks)

    def run_again(
        self, x: Tensor, scale: Tensor, seed: Tensor, directions: Tensor, *own: Tensor
    ) -> tuple[Tensor]:
        """f's outputs [B, s, M]."""
        samples = Samples(Mean(), x.shape[0], self.source.num_samples)
        points = Points(x, scale, Noise(self.source, seed, directions))
        self._calls(own, unchecked=False).evaluate(points, samples, seed)
        samples.value(self.ranks)
        return (samples.outputs.detach(),)

    def rule(self, seed_kind: BatchKind) -> AbstractRule:
        """The derivatives of what `run` returned."""
        common = (self.source, seed_kind, self.options.estimator)
        if self.keeps_outputs:
            return OutputsRule(*common, self.options.statistic, self.scale_score)
        return JacobianRule(*common, self.run_again)

    def _calls(self, own: tuple[Tensor, ...], unchecked: bool) -> Calls:
        tensors = iter(own)
        args = self.args
        if own:
            args = tuple(next(tensors) if isinstance(arg, Tensor) else arg for arg in args)
        return Calls(
            self.f,
            self.options,
            args,
            self.event,
            self.dtype,
            self.device,
            self.ranks,
            unchecked,
        )


def _warn_of_nan(calls: Calls, total: int) -> None:
    warnings.warn(
        f"f returned NaN for {calls.nans} of {total} perturbed points, among them "
        f"{calls.undefined_at}: value and gradient of their examples are NaN; define f there, or "
        "pass nan_policy='omit' to leave such samples out",
        UserWarning,
        stacklevel=frames_of_the_package(),
    )
