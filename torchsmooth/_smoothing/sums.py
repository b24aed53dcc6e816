"""Sums over the samples, for the mean: nothing of their number is kept."""

import torch
from torch import Tensor

from .noise import Noise
from .process_group import Ranks


class Sums:
    """The mean of f's outputs and, if it is wanted, its Jacobian."""

    statistic = None  # what is kept is not the samples

    def __init__(
        self,
        noise: Noise,
        elements: int,
        unperturbed: Tensor | None,  # [B, M], f(x) if it is the baseline
        pair_weight: float,
        moment: str,
        wanted: bool,
    ):
        self.noise = noise
        self.elements = elements
        self.unperturbed = unperturbed
        self.pair_weight = pair_weight
        self.moment = moment
        self.wanted = wanted
        self.empty = True

    def add(self, chunk: Tensor, start: int, stop: int) -> None:
        """Takes f's outputs [rows, M] for the rows [start, stop)."""
        s = self.noise.num_samples
        first, last = start // s, -(-stop // s)
        fresh = -(-start // s)  # the first element that begins in this chunk
        if self.empty:
            self._begin(chunk.detach())
            if self.unperturbed is None and first < fresh:  # this rank begins within an element
                self.pivot[first] = chunk[0].detach()
            self.empty = False
        self.total[first:last] += _sum_by_element(chunk, start, stop, s)
        if not self.wanted or start == stop:
            return
        chunk = chunk.detach()
        if self.unperturbed is None and fresh < last:
            self.pivot[fresh:last] = chunk[fresh * s - start :: s]
        scores, moments = self.noise.reduce(
            chunk.contiguous(), self.pivot, self.pair_weight, self.moment, start, stop
        )
        self.scores[first:last] += scores
        self.moments[first:last] += moments

    def _begin(self, like: Tensor) -> None:
        n, columns = self.noise.n, like.shape[1]
        self.total = like.new_zeros(self.elements, columns)
        # Subtracted from f before it is multiplied with the weights, so that their products do not
        # cancel: f(x), or an element's first output.
        self.pivot = self.total.clone() if self.unperturbed is None else self.unperturbed
        if self.wanted:
            parameters = {"none": 0, "diagonal": n, "outer": n * n}[self.moment]
            self.scores = like.new_zeros(self.elements, columns + 1, n)
            self.moments = like.new_zeros(self.elements, columns + 1, parameters)

    def value(self, ranks: Ranks | None) -> Tensor:  # [B, M]
        total = self.total if ranks is None else ranks.sum(self.total)
        return total / self.noise.num_samples

    def payload(
        self, value: Tensor, baseline: Tensor, factor: float, ranks: Ranks | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What `ScoreRule` takes, of samples that are compared with the baseline [B, M]."""
        if not self.wanted:  # no pass will ask
            return value.new_empty(value.shape[0], 0), value.new_empty(value.shape[0], 0), baseline
        shift = (self.pivot - baseline).unsqueeze(-1)
        scores, moments = (
            factor * (sums[:, :-1] + shift * sums[:, -1:]) for sums in (self.scores, self.moments)
        )
        if ranks is not None:
            scores, moments = ranks.sum(scores), ranks.sum(moments)
        return scores, moments, baseline


def _sum_by_element(chunk: Tensor, start: int, stop: int, s: int) -> Tensor:
    """Sums over the rows [start, stop) of each of the elements that they belong to."""
    columns = chunk.shape[1]
    head = min(-start % s, stop - start)  # rows of an element that began before
    whole = (stop - start - head) // s
    parts = []
    if head:
        parts.append(chunk[:head].sum(0, keepdim=True))
    if whole:
        parts.append(chunk[head : head + whole * s].reshape(whole, s, columns).sum(1))
    if head + whole * s < stop - start:
        parts.append(chunk[head + whole * s :].sum(0, keepdim=True))
    return torch.cat(parts) if parts else chunk.new_zeros(0, columns)
