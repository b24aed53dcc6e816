"""Packages that only some settings need, imported on request."""

import importlib
from typing import Any

from .errors import UserError


def optional_package(module: str, *, name: str, needed_by: str, extra: str) -> Any:
    """The module, or a UserError that names the extra with the package `name`."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"{needed_by} needs {name}; run: pip install torchsmooth[{extra}]"
        ) from error
