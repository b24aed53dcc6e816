"""Learn to read four-digit numbers from their order only.

A network sees n images, each four handwritten digits side by side, and gives each image one score.
The numbers are not given: the only supervision is the order of the n images. Sorting has no
gradient; sorting under noise has one. Either the sorting is smoothed and the loss gets the expected
permutation matrix (--smooth algorithm), or the loss is smoothed together with the sorting (--smooth
objective). Both are estimated from samples; --method exact computes the expected permutation matrix
without samples. For comparison, --method replaces the smoothing by other published relaxations.

    python examples/mnist_sort.py                                  # about a minute on two CPU cores
    python examples/mnist_sort.py --distribution cauchy --scale 1/3 --num-samples 4096
    python examples/mnist_sort.py --method exact --distribution cauchy --scale 1/3
    python examples/mnist_sort.py --method diffsort-cauchy --temperature 1/3
    python examples/mnist_sort.py --resume runs/mnist_sort         # after Ctrl-C, a crash, kill -9
    python examples/mnist_sort.py --data mnist --data-root data --download --device cuda --amp \\
        --cuda-graphs --distribution cauchy --num-samples 32768    # the published benchmark

The digits that numbers are made of are split first: those of the validation and test numbers are
never seen in training. Two accuracies are reported: exact match, the share of sets that are sorted
without a mistake (chance: 1/n!), and element-wise, the share of images in their right place
(chance: 1/n). Equal numbers count as sorted when the one that came first comes first.

The output directory gets result.json, learning_curve.png, sorted.png (test numbers in the order
that the network gave them), checkpoint.pt, and best.pt (the weights of the best validation).
Exit codes: 0 done, 2 wrong arguments, 130 interrupted (Ctrl-C) and saved.
"""

import argparse
import functools
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


# Read when torch is loaded: threads that wait for others sleep. Spinning, as they do by default,
# costs nothing on an idle machine and makes this program several times slower on a busy one.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
import torch.nn.functional as F
from common import cli, plotting
from common.cuda_graph import CudaGraph
from common.errors import UserError, run_program, user_errors
from common.optional_package import optional_package
from common.permutation_loss import permutation_loss
from common.run_directory import RunDirectory
from common.seeding import random_integers, step_seed
from common.training import Training
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from rivals import RIVALS
from torch import Tensor, nn

import torchsmooth as ts


PROGRAM = Path(__file__).name
DIGITS_PER_NUMBER = 4
MNIST_VALIDATION = 5000
VALIDATION_SETS = 500
TEST_SETS = 2000
EXACT_SAMPLES = 500_000  # half a sample of so many is 1e-6, the error of exact probabilities
SETS_PER_CHUNK = 100  # bounds the memory of an evaluation
DRAWN_SETS = 8

# Digits: the most that is learned in less than a minute. MNIST: as in the published benchmark.
DEFAULTS = {
    "digits": dict(steps=1600, batch_size=25, lr=2e-3, eval_every=100, checkpoint_every=100),
    "mnist": dict(steps=100_000, batch_size=100, lr=1e-3, eval_every=1000, checkpoint_every=1000),
}


# --- Data ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Digits:
    """Single digits: what numbers are composed of."""

    images: Tensor  # [m, h, w]
    labels: Tensor  # [m], 0 to 9

    def __getitem__(self, indices: Any) -> "Digits":
        return Digits(self.images[indices], self.labels[indices])

    def with_shifts(self) -> "Digits":
        """These, and each of them moved by one pixel in the four directions."""
        height, width = self.images.shape[1:]
        padded = F.pad(self.images, (1, 1, 1, 1))
        corners = ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))
        shifted = [padded[:, y : y + height, x : x + width] for y, x in corners]
        return Digits(torch.cat(shifted), self.labels.repeat(len(corners)))


def load_digits() -> dict[str, Digits]:
    """The 1797 digits of 8x8 pixels that come with scikit-learn: 1197, 300 and 300 of them.

    So few are soon known by heart. Each of the training split is therefore also there moved by one
    pixel, to either side, up and down.
    """
    datasets, model_selection = (
        optional_package(
            f"sklearn.{module}", name="scikit-learn", needed_by="--data digits", extra="examples"
        )
        for module in ("datasets", "model_selection")
    )
    pixels, labels = datasets.load_digits(return_X_y=True)
    images = torch.tensor(pixels / 16, dtype=torch.float32).view(-1, 8, 8)
    digits = Digits(images, torch.tensor(labels, dtype=torch.int64))

    def split(indices: Any) -> tuple[Any, Any]:
        result: tuple[Any, Any] = model_selection.train_test_split(
            indices, test_size=300, stratify=labels[indices], random_state=0
        )
        return result

    rest, test = split(range(len(labels)))
    train, validation = split(rest)
    return {
        "train": digits[train].with_shifts(),
        "validation": digits[validation],
        "test": digits[test],
    }


def load_mnist(root: Path, *, download: bool) -> dict[str, Digits]:
    """MNIST, 28x28 pixels; the validation split is the last 5000 of the training set."""
    datasets = optional_package(
        "torchvision.datasets", name="torchvision", needed_by="--data mnist", extra="mnist"
    )
    try:
        train, test = (datasets.MNIST(root, train=t, download=download) for t in (True, False))
    except (RuntimeError, OSError) as error:
        raise UserError(
            f"--data-root: expected the files of MNIST in {root / 'MNIST' / 'raw'} "
            f"({str(error).splitlines()[0]}); give the directory that has them, or add --download"
        ) from error
    digits = Digits(train.data / 255, train.targets)
    return {
        "train": digits[:-MNIST_VALIDATION],
        "validation": digits[-MNIST_VALIDATION:],
        "test": Digits(test.data / 255, test.targets),
    }


def load_data(args: argparse.Namespace) -> dict[str, Digits]:
    """The three splits on the device, with mean 0 and variance 1 over the training pixels."""
    if args.data == "digits":
        splits = load_digits()
    else:
        splits = load_mnist(Path(args.data_root), download=args.download)
    std, mean = torch.std_mean(splits["train"].images)
    return {
        name: Digits(((d.images - mean) / std).to(args.device), d.labels.to(args.device))
        for name, d in splits.items()
    }


def compose(
    digits: Digits,
    seed: Tensor,  # [], int64
    sets: int,
    n: int,
) -> tuple[Tensor, Tensor]:  # images [sets, n, h, 4 w]; numbers [sets, n], 0 to 9999
    """Sets of numbers: a pure function of the seed, computed on the device of the digits."""
    chosen = random_integers(seed, len(digits.labels), (sets, n, DIGITS_PER_NUMBER))
    images = digits.images[chosen].transpose(2, 3).flatten(3)
    places = digits.labels[chosen].unbind(-1)
    return images, functools.reduce(lambda number, digit: 10 * number + digit, places)


def compose_chunk(digits: Digits, stream: str, chunk: int, n: int) -> tuple[Tensor, Tensor]:
    """Some of the sets that all runs are judged on, whatever their own seed."""
    seed = torch.tensor(step_seed(0, stream, chunk), device=digits.labels.device)
    return compose(digits, seed, SETS_PER_CHUNK, n)


# --- Network, losses, metrics --------------------------------------------------------------------


class Scorer(nn.Module):
    """The benchmark's network: an image of a number to a score that grows with the number."""

    def __init__(self, height: int, width: int, *, amp: bool) -> None:
        super().__init__()
        self.amp = amp
        # The published network rectifies before it pools. Maxima commute with ReLU: the function
        # is the same to the bit, and a quarter of the values is left to rectify.
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, kernel_size=5, padding=2),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(32, 64, kernel_size=5, padding=2),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * (height // 4) * (width // 4), 64),
            nn.ReLU(),
        )
        self.head = nn.Linear(64, 1)
        # Convolutions of this size run faster so. (The overload is missing from torch's stubs.)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(
        self,
        images: Tensor,  # [b, n, h, w]
    ) -> Tensor:  # [b, n], float32
        # Each weight is used once a pass, so that autocast's cache of cast weights would gain
        # nothing; and it must not outlive the capture of a CUDA graph.
        with torch.autocast(
            images.device.type, torch.bfloat16, enabled=self.amp, cache_enabled=False
        ):
            features = self.body(images.flatten(0, 1).unsqueeze(1))
        # Scores are float32 in any case: the 8 bits of a bfloat16 would make ties.
        result: Tensor = self.head(features.float()).view(images.shape[:2])
        return result


def order(
    values: Tensor,  # [..., n]
) -> Tensor:  # [..., n]
    """The indices from smallest to largest; of equal values the first comes first, as in `ts`."""
    return torch.argsort(values, dim=-1, stable=True)


def misplaced(
    scores: Tensor,  # [m, n]
    truth: Tensor,  # [m, n, n]
) -> Tensor:  # [m]
    """The share of places that hold a wrong element: a discrete loss, without any gradient.

    The cross entropy of a 0/1 matrix is infinite or 0. With the logarithm cut off anywhere, it is
    this share times a constant, which Adam's step does not depend on.
    """
    right = (ts.hard.argsort(scores) * truth).sum((-2, -1))
    return 1 - right / scores.shape[-1]


# scores [b, n], truth [b, n, n], seed [] -> the loss []
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def smoothed_loss(args: argparse.Namespace) -> Loss:
    """The loss of the expected permutation matrix, or the expected loss of a permutation matrix.

    The two ways to smooth l(h(scores)), sorting being h: l(E[h]) and E[l(h)] (arXiv 2410.08125,
    section 2.3). The second needs no loss that takes probabilities.
    """
    distribution, sampling = cli.smoothing(args)

    def of_algorithm(scores: Tensor, truth: Tensor, seed: Tensor) -> Tensor:
        probabilities = ts.functional.argsort(scores, distribution, seed=seed, **sampling)
        return permutation_loss(probabilities, truth, args.num_samples)

    def of_objective(scores: Tensor, truth: Tensor, seed: Tensor) -> Tensor:
        result: Tensor = ts.smooth(misplaced, distribution, seed=seed, **sampling)(
            scores, truth
        ).mean()
        return result

    return {"algorithm": of_algorithm, "objective": of_objective}[args.smooth]


def exact_loss(args: argparse.Namespace) -> Loss:
    """The loss of the expected permutation matrix, computed without samples."""
    distribution, _ = cli.smoothing(args)

    def of_matrix(scores: Tensor, truth: Tensor, seed: Tensor) -> Tensor:
        probabilities = ts.soft.argsort(scores, distribution)
        return permutation_loss(probabilities, truth, EXACT_SAMPLES)

    return of_matrix


def rival_loss(args: argparse.Namespace) -> Loss:
    """The loss of another method, which differs in nothing but the way from the scores to the loss.

    Where there is a relaxed permutation matrix, it is the same loss of this matrix.
    """
    sampling = {"num_samples": args.num_samples} if args.method == "perturbed" else {}
    rival = RIVALS[args.method](temperature=args.temperature, **sampling)

    def of_rival(scores: Tensor, truth: Tensor, seed: Tensor) -> Tensor:
        return rival.loss(scores, truth)

    return of_rival


METHODS = {"gss": smoothed_loss, "exact": exact_loss, **dict.fromkeys(RIVALS, rival_loss)}

SMOOTHING = ("smooth", "distribution", "scale", "sampler", "antithetic", "covariate", "num_samples")
# The options that a method has no use for: all of the smoothing, if it is not named here.
UNREAD = {
    "gss": ("temperature",),
    "exact": ("temperature", "smooth", *SMOOTHING[3:]),
    "perturbed": SMOOTHING[:-1],
}


@torch.inference_mode()
def evaluate(
    network: Scorer, digits: Digits, stream: str, *, sets: int, n: int
) -> dict[str, float]:
    """Exact-match and element-wise accuracy over a fixed sequence of sets."""
    chunks = []
    for chunk in range(sets // SETS_PER_CHUNK):
        images, numbers = compose_chunk(digits, stream, chunk, n)
        chunks.append(order(network(images)) == order(numbers))
    right = torch.cat(chunks)  # [sets, n]
    return {
        "exact_match": right.all(-1).sum().item() / len(right),
        "element_wise": right.sum().item() / right.numel(),
    }


# --- Figures ------------------------------------------------------------------------------------


def draw_learning_curve(training: Training, test: dict[str, float], path: Path, *, n: int) -> None:
    steps = [row["step"] for row in training.history]
    with plotting.style():
        figure = Figure(figsize=(11, 3.8), layout="constrained")
        left, right = figure.subplots(1, 2)

        left.plot(steps, [row["loss"] for row in training.history], ".-", color=plotting.BLUE)
        left.set(title="Training loss", xlabel="step", ylabel="mean loss since the last point")
        left.set_ylim(bottom=0)

        for key, label, colour, chance in (
            ("element_wise", "element-wise", plotting.ORANGE, 1 / n),
            ("exact_match", "exact match", plotting.BLUE, 1 / math.factorial(n)),
        ):
            values = [row[key] for row in training.history]
            right.plot(steps, values, ".-", color=colour, label=f"{label}, validation")
            right.plot(
                *(training.best["step"], test[key], "D"),
                color=colour,
                markeredgecolor="black",
                label=f"{label}, test ({test[key]:.1%})",
            )
            right.axhline(chance, color=colour, linestyle=":", label=f"chance ({chance:.1%})")
        right.set(title=f"Accuracy on sets of {n}", xlabel="step", ylabel="share that is right")
        right.set_ylim(0, 1)
        right.yaxis.set_major_formatter(PercentFormatter(1))
        right.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        for axis in (left, right):
            axis.set_xlim(left=0)
        plotting.save(figure, path)


@torch.inference_mode()
def draw_sorted(network: Scorer, digits: Digits, path: Path, *, n: int) -> None:
    """The first test sets, each in the order that the network gave it."""
    images, numbers = compose_chunk(digits, "test", 0, n)
    predicted, true = order(network(images)), order(numbers)
    with plotting.style():
        figure = Figure(figsize=(0.5 + 1.75 * n, 0.5 + 0.82 * DRAWN_SETS), layout="constrained")
        figure.suptitle(
            "Test numbers in the order that the network gave them, smallest first "
            "(✓ in its place, ✗ not)"
        )
        axes = figure.subplots(DRAWN_SETS, n, squeeze=False)
        for row in range(DRAWN_SETS):
            for place in range(n):
                shown = predicted[row, place]
                right = bool(shown == true[row, place])
                axis = axes[row, place]
                axis.imshow(images[row, shown].numpy(force=True), cmap="gray_r")
                axis.set(xticks=[], yticks=[])
                axis.grid(False)
                axis.spines[:].set_visible(True)
                axis.spines[:].set_color("#bbbbbb")
                axis.set_title(
                    f"{numbers[row, shown]:04d} {'✓' if right else '✗'}",
                    color=plotting.GREEN if right else plotting.RED,
                    pad=3,
                )
            axes[row, 0].set_ylabel(f"set {row + 1}", rotation=0, ha="right", va="center")
        plotting.save(figure, path)


# --- The program --------------------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    task = parser.add_argument_group("task")
    task.add_argument(
        "--data",
        choices=DEFAULTS,
        default="digits",
        help="digits of 8x8 pixels that come with scikit-learn, or MNIST's of 28x28, read by "
        "torchvision (default: %(default)s)",
    )
    task.add_argument(
        "--data-root",
        default="data",
        metavar="DIR",
        help="directory of MNIST in torchvision's layout, DIR/MNIST/raw (default: %(default)s)",
    )
    task.add_argument(
        "--download",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="download MNIST into --data-root if it is missing (default: no)",
    )
    task.add_argument(
        "--num-images",
        type=cli.integer_from(2),
        default=5,
        metavar="N",
        help="images per set, which are sorted against each other (default: %(default)s)",
    )
    training = parser.add_argument_group("training")
    temperatures = ", ".join(
        f"{rival().temperature:.3g} for {name}" for name, rival in RIVALS.items()
    )
    training.add_argument(
        "--method",
        choices=METHODS,
        default="gss",
        help="source of the gradient of sorting: generalized stochastic smoothing (gss), its "
        "expectation without samples (exact), or another published method, for comparison; "
        "diffsort-* (differentiable sorting networks) need the package diffsort, softrank (fast "
        "soft ranks) torchsort; both come with torchsmooth[benchmarks] (default: %(default)s)",
    )
    training.add_argument(
        "--temperature",
        type=cli.fraction,
        metavar="TAU",
        help="of the methods other than gss and exact: how soft the sorting is (NeuralSort's and "
        "SoftSort's tau, 1/steepness of a sorting network, the strength of the regularisation of "
        f"softrank and ot-sort, the noise's standard deviation of perturbed; default: "
        f"{temperatures})",
    )
    training.add_argument(
        "--smooth",
        choices=("algorithm", "objective"),
        default="algorithm",
        help="smooth the sorting and compute the loss of its result, which learns faster, or "
        "smooth the loss together with the sorting, which works with any loss "
        "(default: %(default)s)",
    )
    for option, kind, metavar, what in (
        ("steps", cli.integer_from(1), "T", "training steps"),
        ("batch-size", cli.integer_from(1), "B", "sets per step"),
        ("lr", cli.fraction, "RATE", "learning rate of Adam"),
        ("eval-every", cli.integer_from(1), "T", "steps between two evaluations"),
        ("checkpoint-every", cli.integer_from(1), "T", "steps between two checkpoints"),
    ):
        name = option.replace("-", "_")
        defaults = ", ".join(f"{values[name]} with {data}" for data, values in DEFAULTS.items())
        training.add_argument(
            f"--{option}", type=kind, metavar=metavar, help=f"{what} (default: {defaults})"
        )
    cli.add_smoothing_arguments(parser, distribution="logistic", scale=0.1, num_samples=1024)
    cli.add_run_arguments(parser, output="runs/mnist_sort")
    return parser


def training_step(
    network: Scorer,
    optimizer: torch.optim.Optimizer,
    loss_of: Loss,
    digits: Digits,
    args: argparse.Namespace,
) -> Callable[[int], Tensor]:
    """One step of training, as a function of its number."""
    seed = torch.zeros((), dtype=torch.int64, device=args.device)

    def compute() -> Tensor:
        images, numbers = compose(digits, seed, args.batch_size, args.num_images)
        truth = ts.hard.argsort(numbers.float())
        loss = loss_of(network(images), truth, seed)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    step = CudaGraph(compute, args.device) if args.cuda_graphs else compute

    def train(number: int) -> Tensor:
        # The numbers hash the seed by SplitMix64, the noise by Philox: one seed serves both.
        seed.fill_(step_seed(args.seed, "train", number))
        return step()

    return train


def main(argv: Sequence[str] | None = None) -> None:
    started = time.perf_counter()
    parser = build_parser()
    args, state = cli.parse(parser, argv, may_change=("data_root", "download"))
    cli.require_default(
        parser, args, UNREAD.get(args.method, SMOOTHING), f"--method {args.method} does not use it"
    )
    if args.temperature is None and args.method in RIVALS:
        args.temperature = RIVALS[args.method]().temperature
    for name, value in DEFAULTS[args.data].items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    torch.backends.cudnn.deterministic = True  # or a resumed run could differ in the last bits

    n = args.num_images
    loss_of = METHODS[args.method](args)
    with user_errors(ValueError, TypeError):  # the library knows which settings go together
        loss_of(torch.zeros(1, n), torch.eye(n).unsqueeze(0), torch.tensor(0))

    digits = load_data(args)
    height, width = digits["train"].images.shape[1:]
    torch.manual_seed(step_seed(args.seed, "weights", 0))
    network = Scorer(height, width * DIGITS_PER_NUMBER, amp=args.amp).to(args.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=args.lr, capturable=args.cuda_graphs)
    settings = {name: value for name, value in vars(args).items() if name != "resume"}
    directory = RunDirectory(args.output)
    curve, picture = directory.path / "learning_curve.png", directory.path / "sorted.png"
    training = Training(directory, settings, network, optimizer, best_by="exact_match")
    if state is None:
        directory.clear(curve, picture)
    else:
        training.load_state_dict(state)

    def validate() -> dict[str, float]:
        return evaluate(network, digits["validation"], "validation", sets=VALIDATION_SETS, n=n)

    training.run(
        args.steps,
        training_step(network, optimizer, loss_of, digits["train"], args),
        validate,
        eval_every=args.eval_every,
        checkpoint_every=args.checkpoint_every,
        progress=args.progress,
    )
    training.finish(validate)

    def test() -> dict[str, float]:
        return evaluate(network, digits["test"], "test", sets=TEST_SETS, n=n)

    results = training.test(test)
    best = results["test"]
    draw_learning_curve(training, best, curve, n=n)
    draw_sorted(network, digits["test"], picture, n=n)
    training.write_result(results, started=started, device=args.device, packages=("numpy",))
    print(
        f"exact match {best['exact_match']:.1%}, element-wise {best['element_wise']:.1%} "
        f"on {TEST_SETS} test sets of {n} (weights of step {training.best['step']} of "
        f"{training.step}); trained {training.seconds:.1f} s; wrote "
        + ", ".join(str(file) for file in (directory.result, curve, picture, directory.best))
    )


if __name__ == "__main__":
    run_program(PROGRAM, main)
