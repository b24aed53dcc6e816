"""Checkpoints that are either whole or absent, whatever kills the process."""

import os
from pathlib import Path
from typing import Any

import torch

from .errors import UserError


FILE_NAME = "checkpoint.pt"


def save(path: Path, state: dict[str, Any]) -> None:
    """Write `state` beside `path` and move it there, so that `path` is never half a file."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU. `weights_only` keeps a foreign file from running code."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever its zip and pickle readers raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"--resume: {path} cannot be read as a checkpoint ({reason})") from error
    if not isinstance(state, dict) or not {"settings", "step", "optimizer"} <= state.keys():
        raise UserError(
            f"--resume: expected the {FILE_NAME} of a run, got {path}, which holds something else"
        )
    return state


def find(path: Path) -> Path:
    """The checkpoint that `--resume path` means: the file itself, or the one in that directory."""
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise UserError(
            f"--resume: expected a checkpoint or a directory with {FILE_NAME}, got {path}; "
            "give the --output directory of the run to continue, or leave --resume out to start one"
        )
    return file
