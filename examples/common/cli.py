"""Command lines: one-line errors with exit code 2, and the arguments that every example takes."""

import argparse
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

import torch

import torchsmooth as ts

from . import checkpoint
from .errors import USER_ERROR, UserError


COVARIATES = ("none", "fx", "loo")

# These settings do not change the results, or (device, threads) change only the rounding.
_MAY_CHANGE_ON_RESUME = frozenset(
    ("steps", "checkpoint_every", "output", "resume", "progress", "device", "threads")
)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line: the usage text would bury the message."""

    def error(self, message: str) -> NoReturn:
        self.exit(USER_ERROR, f"{self.prog}: error: {message}; see --help\n")


def fraction(text: str) -> float:
    """A positive number, written as a decimal or as a fraction: 0.1, 1/3."""
    try:
        value = float(Fraction(text))
    except (ValueError, ZeroDivisionError, OverflowError):
        value = 0.0
    if value <= 0:
        raise argparse.ArgumentTypeError(
            f"expected a positive number or fraction such as 0.1 or 1/3, got {text!r}"
        )
    return value


def integer_from(lowest: int) -> Callable[[str], int]:
    """The argparse type of whole numbers that are at least `lowest`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = lowest - 1
        if value < lowest:
            raise argparse.ArgumentTypeError(
                f"expected a whole number of at least {lowest}, got {text!r}"
            )
        return value

    return parse


def device(text: str) -> str:
    """A device of this machine, by torch's name for it."""
    try:
        torch.empty(0, device=text)
    except (RuntimeError, AssertionError) as error:  # AssertionError: a torch without CUDA
        reason = str(error).splitlines()[0]
        raise argparse.ArgumentTypeError(
            f"expected a device that this machine has, such as cpu or cuda, got {text!r} ({reason})"
        ) from error
    return text


def add_smoothing_arguments(
    parser: argparse.ArgumentParser, *, distribution: str, scale: float, num_samples: int
) -> argparse._ArgumentGroup:
    """Adds the arguments of smoothing, with the names of the library; the defaults are given here.

    The result is the group, so that a program can add to it.
    """
    group = parser.add_argument_group("smoothing")
    group.add_argument(
        "--distribution",
        choices=ts.LAWS,
        default=distribution,
        help="law of the noise (default: %(default)s)",
    )
    group.add_argument(
        "--scale",
        type=fraction,
        default=scale,
        metavar="GAMMA",
        help="scale of the noise, a number or a fraction such as 1/3 (default: %(default)s)",
    )
    group.add_argument(
        "--sampler",
        choices=("auto", *ts.samplers.SAMPLERS),
        default="sobol",
        help="sampler of the noise (default: %(default)s)",
    )
    group.add_argument(
        "--antithetic",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="draw half of the points and mirror them, u to 1 - u (default: no)",
    )
    group.add_argument(
        "--covariate",
        choices=COVARIATES,
        default="loo",
        help="baseline that reduces the variance of the gradient: nothing, the unperturbed value, "
        "or the mean of the other samples (default: %(default)s)",
    )
    group.add_argument(
        "--num-samples",
        type=integer_from(1),
        default=num_samples,
        metavar="S",
        help="perturbed evaluations per input (default: %(default)s)",
    )
    return group


def smoothing(args: argparse.Namespace) -> tuple[ts.AbstractDistribution, dict[str, Any]]:
    """The distribution, and the sampling keywords that every smoothed function takes."""
    distribution = ts.LAWS[args.distribution](scale=args.scale)
    names = ("num_samples", "sampler", "antithetic", "covariate")
    return distribution, {name: getattr(args, name) for name in names}


def add_run_arguments(parser: argparse.ArgumentParser, *, output: str) -> None:
    """Adds the arguments of every run: its device, seed, files and progress bar."""
    group = parser.add_argument_group("run")
    group.add_argument(
        "--seed",
        type=integer_from(0),
        default=0,
        help="seed of all random numbers (default: %(default)s)",
    )
    group.add_argument(
        "--device",
        type=device,
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="cpu, cuda, cuda:1, ... (default here: %(default)s)",
    )
    group.add_argument(
        "--threads",
        type=integer_from(1),
        default=None,
        help="CPU threads (default: what torch chooses)",
    )
    group.add_argument(
        "--amp",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="run the network in bfloat16 on a CUDA device (default: no)",
    )
    group.add_argument(
        "--cuda-graphs",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="record a training step once and replay it, on a CUDA device (default: no)",
    )
    group.add_argument(
        "--output",
        default=output,
        metavar="DIR",
        help="directory of the results; those of an earlier run in it are replaced "
        "(default: %(default)s, or with --resume the directory of the checkpoint)",
    )
    group.add_argument(
        "--resume",
        type=Path,
        default=None,
        metavar="PATH",
        help="continue from this checkpoint, or from the one in this directory, as if the run had "
        "never stopped; all settings come from it, and only those that do not change the results "
        "(--steps, --output, ...) may be given again",
    )
    group.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="show a progress bar (default: yes)",
    )


def parse(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None, *, may_change: Iterable[str] = ()
) -> tuple[argparse.Namespace, dict[str, Any] | None]:
    """The arguments and, with --resume, the checkpoint that they continue.

    The settings of the checkpoint replace the defaults. `may_change` names the settings of this
    program that may still be changed.
    """
    args = parser.parse_args(argv)
    state = None
    if args.resume is not None:
        path = checkpoint.find(args.resume)
        state = checkpoint.load(path)
        saved = state["settings"]
        parser.set_defaults(**{**saved, "output": str(path.parent)})
        args = parser.parse_args(argv)
        _require_same(saved, vars(args), _MAY_CHANGE_ON_RESUME.union(may_change))
    on_cuda = torch.device(args.device).type == "cuda"
    for name in ("amp", "cuda_graphs"):
        if getattr(args, name) and not on_cuda:
            raise UserError(
                f"{_option(name)} needs a CUDA device, got --device {args.device}; "
                "leave it out, or give --device cuda"
            )
    return args, state


def require_default(
    parser: argparse.ArgumentParser, args: argparse.Namespace, names: Iterable[str], why: str
) -> None:
    """Refuse settings that others make meaningless, instead of ignoring them."""
    given = [_option(name) for name in names if getattr(args, name) != parser.get_default(name)]
    if given:
        raise UserError(f"{', '.join(given)}: {why}; leave it out")


def _require_same(saved: dict[str, Any], given: dict[str, Any], may_change: frozenset[str]) -> None:
    different = [
        f"{_option(name)} was {saved.get(name)}, is {value}"
        for name, value in given.items()
        if name not in may_change and value != saved.get(name)
    ]
    if different:
        raise UserError(
            f"--resume: these settings would change the result: {'; '.join(different)}; "
            "leave them out to continue the run, or start a new one without --resume"
        )


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
