"""The laws that the compiled kernels know, by their names."""

from ._tail_law import AbstractTailLaw


LAWS: dict[str, type[AbstractTailLaw]] = {}
"""In the order of `csrc/core/laws.h`."""


def register(*laws: type[AbstractTailLaw]) -> None:
    for law in laws:
        LAWS[law.name] = law
