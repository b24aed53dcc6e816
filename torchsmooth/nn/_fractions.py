"""The fractions of a quantile as an option of a layer."""

from collections.abc import Callable

from torch import Tensor, nn


class HoldsFractions(nn.Module):
    """A layer with the option `q`: a number, or a tensor that moves with the layer.

    The tensor keeps its type, because fractions in half precision would be others. It is not part
    of the `state_dict`.
    """

    q: float | Tensor

    def _hold_fractions(self, q: float | Tensor) -> None:
        if isinstance(q, Tensor):
            self.register_buffer("q", q, persistent=False)
        else:
            self.q = q

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "HoldsFractions":
        q = self.q
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if isinstance(q, Tensor):
            self.q = q.to(self.get_buffer("q").device)
        return self
