"""The properties that a law declares."""

import dataclasses
from typing import Literal, final


Tails = Literal["squared exponential", "exponential", "power", "none"]


@final
@dataclasses.dataclass(frozen=True)
class Traits:
    """Properties of a law at scale 1; None where they are not known."""

    support: tuple[float, float] | None
    tails: Tails | None
    """How the logarithm of the heavier tail falls, up to factors: as -x^2, -x or -log x; "none" if
    the support is compact."""
    symmetric: bool | None
    mean: float | None
    """None also if there is none."""
    finite_score_variance: bool | None
    """Whether averages of the score have a confidence bound."""
    kinks: str | None = None
    """Where the density has no derivative, in words; None if there is no such point."""

    @property
    def kind(self) -> tuple[Tails | None, bool | None, bool]:
        """Tails, symmetry and smoothness. Laws of one kind smooth alike."""
        return self.tails, self.symmetric, self.kinks is None
