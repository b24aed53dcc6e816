"""The output directory of a run."""

import json
import os
from pathlib import Path
from typing import Any

from . import checkpoint
from .errors import UserError


class RunDirectory:
    """Names the files of a run: checkpoint.pt, best.pt, result.json; figures are beside them."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.checkpoint = self.path / checkpoint.FILE_NAME
        self.best = self.path / "best.pt"
        self.result = self.path / "result.json"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"--output: expected a directory that can be made or written, got {self.path} "
                f"({error.strerror}); choose another one"
            ) from error

    def clear(self, *figures: Path) -> None:
        """Remove the files of an earlier run, which must not be mistaken for those of the next."""
        for file in (self.checkpoint, self.best, self.result, *figures):
            file.unlink(missing_ok=True)

    def write_result(self, result: dict[str, Any]) -> None:
        temporary = self.result.with_name(self.result.name + ".tmp")
        temporary.write_text(json.dumps(result, indent=2) + "\n")
        os.replace(temporary, self.result)
