"""Lets Ctrl-C end an op that takes long."""

import ctypes
from typing import Any

import torch

from .._torch_internals import below_autograd
from .library import LIBRARY


# Keeps the interpreter's lock: it takes less than giving the lock away.
_set_interruptible = ctypes.PyDLL(str(LIBRARY)).torchsmooth_set_interruptible
_set_interruptible.argtypes = [ctypes.c_int]
_set_interruptible.restype = None


def interruptible(op: Any, *args: Any) -> Any:
    """Calls an op from an autograd function, see `below_autograd`, so that a signal can end it.

    While an op runs, Python's own handler of the signal waits. The library notices the signal and
    gives up, and then Python runs the handler, which raises KeyboardInterrupt unless a program has
    another one. If that raises nothing, the op is called again: it depends on its arguments alone.
    In compiled graphs and in other threads than the main one a signal waits for the op.
    """
    if torch.compiler.is_compiling():
        return below_autograd(op, *args)
    while True:
        try:
            _set_interruptible(True)
            return below_autograd(op, *args)
        except RuntimeError as error:
            if "interrupted by a signal" not in str(error):
                raise
        finally:
            _set_interruptible(False)
