"""A training loop that can be killed at any step and resumed bit for bit."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from . import checkpoint, environment
from .errors import Interrupted, UserError
from .interrupt import Interrupt
from .progress import Progress
from .run_directory import RunDirectory


class Training:
    """The state of a training loop at the end of a step, and the loop itself.

    Two runs that reach step t in different ways (one without a stop, one killed and resumed) must
    have the same state there, bit for bit. A step may therefore depend only on this state and on
    its number, and nothing here may depend on the last step of a run.

    - `settings`: the settings of the run, kept in the checkpoints.
    - `best_by`: the validation metric; the weights with its maximum are kept as the best.
    """

    def __init__(
        self,
        directory: RunDirectory,
        settings: dict[str, Any],
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        best_by: str,
    ) -> None:
        self.directory = directory
        self.settings = settings
        self.model = model
        self.optimizer = optimizer
        self.best_by = best_by
        self.step = 0
        self.seconds = 0.0
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Any] = {}  # step, metrics, and the weights of the model
        # Summed on its device: reading it in every step would make the loop wait for a GPU.
        self._loss_sum = torch.zeros((), device=next(model.parameters()).device)

    def run(
        self,
        steps: int,
        train_step: Callable[[int], Tensor],
        evaluate: Callable[[], dict[str, float]],
        *,
        eval_every: int,
        checkpoint_every: int,
        progress: bool,
    ) -> None:
        """Train up to step `steps`; `train_step(t)` returns the loss of step t as a tensor.

        SIGINT and SIGTERM end the step under way, save a checkpoint, and raise `Interrupted`.
        """
        started = time.perf_counter() - self.seconds
        with Interrupt() as interrupt, Progress(steps, start=self.step, shown=progress) as bar:
            while self.step < steps:
                self._loss_sum += train_step(self.step)
                self.step += 1
                if self.step % eval_every == 0:
                    self._look(evaluate())
                self.seconds = time.perf_counter() - started
                last = self.step == steps
                if self.step % checkpoint_every == 0 or last or interrupt.requested:
                    checkpoint.save(self.directory.checkpoint, self.state_dict())
                bar.advance(self._numbers)
                if interrupt.requested and not last:
                    raise Interrupted(
                        f"interrupted after step {self.step} of {steps}, saved; "
                        f"continue with --resume {self.directory.path}"
                    )

    def finish(self, evaluate: Callable[[], dict[str, float]]) -> None:
        """Evaluate after the last step too, if it is between two evaluations.

        This comes after the last checkpoint. Otherwise a run that continues from the checkpoint
        would differ from one that never stopped there.
        """
        if not self.history or self.history[-1]["step"] != self.step:
            self._look(evaluate())
        self._save_best()  # a resumed run may have another directory

    def test(self, evaluate: Callable[[], dict[str, float]]) -> dict[str, Any]:
        """Results on the test set, with the last weights and with the best, which stay loaded."""
        last = best = evaluate()
        if self.best["step"] != self.step:
            self.model.load_state_dict(self.best["model"])
            best = evaluate()
        return {
            "best_step": self.best["step"],
            "validation": self.best["metrics"],
            "test": best,
            "test_after_last_step": last,
        }

    def write_result(
        self, results: dict[str, Any], *, started: float, device: str, packages: Sequence[str]
    ) -> None:
        """Write result.json; `started`: when the program began, by `time.perf_counter()`."""
        self.directory.write_result(
            {
                "settings": self.settings,
                "versions": environment.versions(*packages),
                "machine": environment.machine(device),
                "timings": {
                    "total_seconds": time.perf_counter() - started,
                    # With the evaluations in between, and all parts of a resumed run.
                    "training_seconds": self.seconds,
                    "steps_per_second": self.step / self.seconds,
                },
                "history": self.history,
                "results": results,
            }
        )

    def state_dict(self) -> dict[str, Any]:
        rng = {"cpu": torch.get_rng_state()}
        if self._loss_sum.is_cuda:
            rng["cuda"] = torch.cuda.get_rng_state(self._loss_sum.device)
        return {
            "settings": self.settings,
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "best": self.best,
            "loss_sum": self._loss_sum,
            "rng": rng,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.seconds = state["seconds"]
        self.history = state["history"]
        self.best = state["best"]
        self._loss_sum.copy_(state["loss_sum"])
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"]["cpu"])
        if self._loss_sum.is_cuda and "cuda" in state["rng"]:
            torch.cuda.set_rng_state(state["rng"]["cuda"], self._loss_sum.device)

    def _look(self, metrics: dict[str, float]) -> None:
        """Add a row to the history, with the mean loss since the last row; keep the best."""
        row = {"step": self.step, "loss": self._mean_loss(), **metrics}
        if not math.isfinite(row["loss"]):
            raise UserError(
                f"the loss is {row['loss']} at step {self.step}; "
                "start anew with a smaller --lr, or with more smoothing"
            )
        self.history.append(row)
        self._loss_sum.zero_()
        if not self.best or metrics[self.best_by] > self.best["metrics"][self.best_by]:
            weights = {name: w.cpu().clone() for name, w in self.model.state_dict().items()}
            self.best = {"step": self.step, "metrics": metrics, "model": weights}
            self._save_best()

    def _save_best(self) -> None:
        checkpoint.save(self.directory.best, {"settings": self.settings, **self.best})

    def _mean_loss(self) -> float:
        return self._loss_sum.item() / (self.step - self._last_look())

    def _last_look(self) -> int:
        return int(self.history[-1]["step"]) if self.history else 0

    def _numbers(self) -> dict[str, float]:
        """The numbers of the progress bar: the loss since the last evaluation, and its results."""
        shown = dict(self.history[-1]) if self.history else {}
        shown.pop("step", None)
        if self.step > self._last_look():
            shown["loss"] = self._mean_loss()
        return shown
