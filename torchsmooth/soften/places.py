"""Where in a program an operator stands."""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch


_TORCH = str(Path(torch.__file__).parent)
_PACKAGE = str(Path(__file__).parents[1])
_HERE = str(Path(__file__).parent)
_DYNAMO = str(Path(_TORCH, "_dynamo"))
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


class Place(NamedTuple):
    """A line of a program."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def caller() -> Place | None:
    """The line that called an operator; None if that is code of torch or of this package."""
    for place, library in _traced() if torch.compiler.is_compiling() else _frames():
        if not place.file.startswith(_BETWEEN):
            return None if library else place
    return None


def innermost_user() -> Place:
    """The innermost line that is neither torch's nor this package's."""
    for place, library in _traced() if torch.compiler.is_compiling() else _frames():
        if not library:
            return place
    raise AssertionError("some program must have called")


def _frames() -> Iterator[tuple[Place, bool]]:
    """The lines being executed, innermost first, and whether they are a library's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code, outer = frame.f_code, frame.f_back
        library = code.co_filename.startswith((_TORCH, _PACKAGE))
        if code.co_filename.startswith("<eval_with_key>") and outer is not None:
            # A graph that Dynamo made: its operators have been replaced when it was traced.
            library = outer.f_code.co_filename.startswith(_DYNAMO)
        yield Place(code.co_filename, frame.f_lineno), library
        frame = outer


def _traced() -> list[tuple[Place, bool]]:
    """The lines being traced by Dynamo, which runs this function while it traces."""
    from torch._dynamo.symbolic_convert import InstructionTranslator

    lines = []
    translator: Any = InstructionTranslator.current_tx().output.current_tx
    while translator is not None:
        file = translator.f_code.co_filename
        lines.append((Place(file, translator.lineno), file.startswith((_TORCH, _PACKAGE))))
        translator = getattr(translator, "parent", None)
    return lines


def leave_to_python() -> bool:
    """Keeps torch.compile from starting at a function of this package.

    It traces into them from a program, whose lines it then knows; it must not compile them alone,
    inside a program that runs in Python. Returns whether there was anything to do.
    """
    global _left
    if _left:
        return False
    from torch._dynamo.decorators import skip_code

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

# Dynamo runs them while it traces. torch.compiler.assume_constant_result does this, but imports the
# compiler first: more than a second.
_traced._dynamo_marked_constant = True  # type: ignore[attr-defined]
leave_to_python._dynamo_marked_constant = True  # type: ignore[attr-defined]
