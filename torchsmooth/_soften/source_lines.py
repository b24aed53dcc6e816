"""Where in a program an operator stands."""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch

from .._torch_internals import COMPILER_FOLDER, constant_in_graphs, lines_being_traced, skip_code


_TORCH = str(Path(torch.__file__).parent)
_PACKAGE = str(Path(__file__).parents[1])
_HERE = str(Path(__file__).parent)
# Code of torch that stands between a program and its operators. All other code of torch, such as
# optimizers and checks of distributions, is not what the block is about.
_BETWEEN = (
    _HERE,
    *(
        str(Path(_TORCH, *part))
        for part in (
            ("nn", "modules"),
            ("nn", "functional.py"),
            ("overrides.py",),
            ("_tensor.py",),
            ("functional.py",),
            ("_jit_internal.py",),
        )
    ),
)


class SourceLine(NamedTuple):
    """A line of a program."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def caller() -> SourceLine | None:
    """The line that called an operator; None if that is code of torch or of this package."""
    for place, library in _traced() if torch.compiler.is_compiling() else _frames():
        if not place.file.startswith(_BETWEEN):
            return None if library else place
    return None


def innermost_user() -> SourceLine:
    """The innermost line that is neither torch's nor this package's."""
    for place, library in _traced() if torch.compiler.is_compiling() else _frames():
        if not library:
            return place
    raise AssertionError("some program must have called")


def _frames() -> Iterator[tuple[SourceLine, bool]]:
    """The lines being executed, innermost first, and whether they are a library's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code, outer = frame.f_code, frame.f_back
        library = code.co_filename.startswith((_TORCH, _PACKAGE))
        if code.co_filename.startswith("<eval_with_key>") and outer is not None:
            # A graph that Dynamo made: its operators have been replaced when it was traced.
            library = outer.f_code.co_filename.startswith(COMPILER_FOLDER)
        yield SourceLine(code.co_filename, frame.f_lineno), library
        frame = outer


@constant_in_graphs
def _traced() -> list[tuple[SourceLine, bool]]:
    """The lines being traced by Dynamo, which runs this function while it traces."""
    return [
        (SourceLine(file, line), file.startswith((_TORCH, _PACKAGE)))
        for file, line in lines_being_traced()
    ]


@constant_in_graphs
def leave_to_python() -> bool:
    """Keeps torch.compile from starting at a function of this package.

    It traces into them from a program, whose lines it then knows; it must not compile them alone,
    inside a program that runs in Python. Returns whether there was anything to do.
    """
    global _left
    if _left:
        return False
    modules = [m for name, m in sys.modules.items() if name.startswith(f"{__package__}.")]
    for module in modules:
        for member in vars(module).values():
            for part in [member, *vars(member).values()] if isinstance(member, type) else [member]:
                function: Any = part.fget if isinstance(part, property) else part
                function = inspect.unwrap(getattr(function, "__func__", function))
                code = getattr(function, "__code__", None)
                if code is not None and code.co_filename.startswith(_HERE):
                    skip_code(code)
    _left = True
    return True


_left = False
