"""Learn the costs of a map's cells from the cheapest path across it.

A network, the first block of ResNet18, sees the picture of a map of 12 x 12 tiles and predicts the
cost of each tile. The costs are not given: the only supervision is the cheapest path from the upper
left to the lower right. Shortest paths have no gradient; under noise they have one. Either the path
is smoothed and the loss gets the expected path (--smooth algorithm), or the loss is smoothed
together with the path (--smooth objective). For comparison, --method selects other sources of the
gradient.

    python examples/warcraft.py                                     # some minutes on two CPU cores
    python examples/warcraft.py --distribution gaussian --beta 5 --sampler rqmc_latin
    python examples/warcraft.py --method fenchel-young
    python examples/warcraft.py --resume runs/warcraft              # after Ctrl-C, a crash, kill -9
    python examples/warcraft.py --preset full --device cuda --cuda-graphs \\
        --sampler rqmc_latin --num-samples 10000                    # the published experiment

For the published maps, add --data warcraft --data-root and the directory with 12x12/train_maps.npy.

Two accuracies are reported: cost match, the share of predicted paths that cost no more than the
cheapest one, and exact match, the share of those that are the labelled one, cell by cell. (Ties are
common, and a label is one path only.) The cost ratio is the mean cost of predicted paths, in units
of the cheapest. Generated maps are kept below --data-root.

The output directory gets result.json, learning_curve.png, paths.png (test maps with both paths and
the costs that the network predicts), checkpoint.pt, and best.pt (the weights of the best
validation). Exit codes: 0 done, 2 wrong arguments, 130 interrupted (Ctrl-C) and saved.
"""

import argparse
import functools
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path


# Read when torch is loaded: threads that wait for others sleep. Spinning, as they do by default,
# costs nothing on an idle machine and makes this program several times slower on a busy one.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from common import cli, plotting
from common.cuda_graph import CudaGraph
from common.errors import UserError, run_program, user_errors
from common.optional_package import optional_package
from common.run_directory import RunDirectory
from common.seeding import step_seed
from common.training import Training
from maps import PIXELS_PER_CELL, Generator, Maps, read
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch import Tensor, nn

import torchsmooth as ts


PROGRAM = Path(__file__).name
MAPS_PER_CHUNK = 100  # bounds the memory of an evaluation
DRAWN_MAPS = 6
DATA_SEED = 0  # all runs see the same maps, whatever their own seed

# short: minutes on two cores. full: the published experiment.
PRESETS = {
    "short": dict(
        train_maps=5000,
        val_maps=200,
        test_maps=1000,
        epochs=8,
        batch_size=20,
        lr=3e-3,
        lr_drops=(6,),
    ),
    "full": dict(
        train_maps=10_000,
        val_maps=1000,
        test_maps=1000,
        epochs=50,
        batch_size=70,
        lr=1e-3,
        lr_drops=(30, 40),
    ),
}


# --- Data ---------------------------------------------------------------------------------------


def load_data(args: argparse.Namespace) -> dict[str, Maps]:
    """The three splits, which stay on disk until their maps are used."""
    root, size = Path(args.data_root), args.grid
    counts = {split: getattr(args, f"{split}_maps") for split in ("train", "val", "test")}
    if args.data == "generated":
        directory = Generator(size=size, **counts, seed=DATA_SEED).cached(
            root, progress=args.progress
        )
    else:
        directory = root / f"{size}x{size}"
    splits = {split: read(directory, split)[:count] for split, count in counts.items()}
    for split, maps in splits.items():
        if maps.size != (size, size) or not len(maps):
            raise UserError(
                f"--data-root: expected maps of {size} x {size} cells in {directory}, got "
                f"{len(maps)} of {maps.size[0]} x {maps.size[1]} in the split {split}; "
                "give --grid as it is, or fetch the maps again"
            )
    if len(splits["train"]) < args.batch_size:
        raise UserError(
            f"--batch-size: expected at most {len(splits['train'])}, which is how many maps there "
            f"are to train with, got {args.batch_size}; lower it, or raise --train-maps"
        )
    return splits


@functools.lru_cache(maxsize=2)
def order_of_epoch(seed: int, epoch: int, count: int) -> np.ndarray:
    """A permutation of the maps."""
    generator = torch.Generator().manual_seed(step_seed(seed, "epoch", epoch))
    return torch.randperm(count, generator=generator).numpy()


def batch_of_step(seed: int, step: int, count: int, batch_size: int) -> np.ndarray:
    """The maps of a step. The maps left over in one epoch are in batches of another."""
    epoch, place = divmod(step, count // batch_size)
    order = order_of_epoch(seed, epoch, count)
    return np.sort(order[place * batch_size : (place + 1) * batch_size])  # in their order on disk


# --- Network, losses, metrics --------------------------------------------------------------------


class CostReader(nn.Module):
    """The benchmark's network: from the picture of a map to the cost of each cell, at least 0.

    It is ResNet18 up to its first block; the largest activation in a cell is taken, and the mean
    over the channels (Vlastelica et al., ICLR 2020).
    """

    def __init__(
        self,
        mean: Tensor,  # [3], of the training pixels
        std: Tensor,  # [3]
        *,
        amp: bool,
    ) -> None:
        super().__init__()
        models = optional_package(
            "torchvision.models", name="torchvision", needed_by=PROGRAM, extra="warcraft"
        )
        resnet = models.resnet18(weights=None)
        self.amp = amp
        self.mean, self.std = nn.Buffer(mean), nn.Buffer(std)
        self.body = nn.Sequential(
            resnet.conv1,
            resnet.bn1,
            resnet.relu,
            resnet.maxpool,
            resnet.layer1,
            # Pixels were halved twice: of the 8 to a cell 2 are left, as for adaptive pooling.
            nn.MaxPool2d(2),
        )
        # Convolutions of this size run faster so. (The overload is missing from torch's stubs.)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(
        self,
        images: Tensor,  # [b, 8 h, 8 w, 3], uint8
    ) -> Tensor:  # [b, h, w], float32
        pixels = (images - self.mean) / self.std
        # Each weight is used once a pass, so that autocast's cache of cast weights would gain
        # nothing; and it must not outlive the capture of a CUDA graph.
        with torch.autocast(
            images.device.type, torch.bfloat16, enabled=self.amp, cache_enabled=False
        ):
            features = self.body(pixels.permute(0, 3, 1, 2))
        result: Tensor = features.float().mean(1)
        return result


def hamming_distance(
    paths: Tensor,  # [..., h, w]
    truth: Tensor,  # [..., h, w]
) -> Tensor:  # [...]
    """The number of cells that are in one path only; linear in `paths` in between."""
    return (paths * (1 - truth) + (1 - paths) * truth).sum((-2, -1))


# costs [b, h, w], truth [b, h, w], seed [] -> the loss []
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def smoothed_loss(args: argparse.Namespace) -> Loss:
    """The loss of the expected path, or the expected loss of a path.

    The two ways to smooth l(h(costs)), the shortest path being h: l(E[h]) and E[l(h)] (arXiv
    2410.08125, section 2.3). Of a path, the squared distance is the Hamming distance.
    """
    distribution, sampling = cli.smoothing(args)

    def of_path(costs: Tensor, truth: Tensor) -> Tensor:
        return hamming_distance(ts.hard.shortest_path(costs), truth)

    def of_algorithm(costs: Tensor, truth: Tensor, seed: Tensor) -> Tensor:
        expected = ts.functional.shortest_path(costs, distribution, seed=seed, **sampling)
        return (expected - truth).square().sum((-2, -1)).mean()

    def of_objective(costs: Tensor, truth: Tensor, seed: Tensor) -> Tensor:
        smoothed = ts.smooth(of_path, distribution, event_dim=2, seed=seed, **sampling)
        result: Tensor = smoothed(costs, truth).mean()
        return result

    return {"algorithm": of_algorithm, "objective": of_objective}[args.smooth]


def fenchel_young_loss(args: argparse.Namespace) -> Loss:
    """A convex loss of the costs, of which the expected path is the gradient (Berthet et al.)."""
    distribution, sampling = cli.smoothing(args)
    del sampling["covariate"]

    def of_costs(costs: Tensor, truth: Tensor, seed: Tensor) -> Tensor:
        loss = ts.fenchel_young_loss(
            ts.hard.shortest_path, distribution, maximize=False, event_dim=2, seed=seed, **sampling
        )
        return loss(costs, truth)

    return of_costs


def blackbox_loss(args: argparse.Namespace) -> Loss:
    """The path itself, with the gradient of an interpolation (Vlastelica et al., ICLR 2020)."""

    def of_costs(costs: Tensor, truth: Tensor, seed: Tensor) -> Tensor:
        # The mean over the maps also divides the distance by which the costs are moved.
        solver = ts.blackbox(
            ts.hard.shortest_path, args.interpolation * len(costs), maximize=False, event_dim=2
        )
        return hamming_distance(solver(costs), truth).mean()

    return of_costs


def perceptron_loss(args: argparse.Namespace) -> Loss:
    """Without smoothing: the cost of the true path minus that of the cheapest (Collins, 2002).

    It is the limit of the Fenchel-Young loss for no noise. Its gradient is the difference of both
    paths, which is also what the squared distance gives if the derivative of the solver is taken to
    be minus the identity (Sahoo et al., ICLR 2023).
    """

    def of_costs(costs: Tensor, truth: Tensor, seed: Tensor) -> Tensor:
        excess = costs * (truth - ts.hard.shortest_path(costs))
        return excess.sum((-2, -1)).mean()

    return of_costs


METHODS = {
    "gss": smoothed_loss,
    "fenchel-young": fenchel_young_loss,
    "blackbox": blackbox_loss,
    "perceptron": perceptron_loss,
}

SMOOTHING = ("smooth", "distribution", "scale", "sampler", "antithetic", "covariate", "num_samples")
# The options that a method does not use.
UNREAD = {
    "gss": ("interpolation",),
    "fenchel-young": ("smooth", "covariate", "interpolation"),
    "blackbox": SMOOTHING,
    "perceptron": (*SMOOTHING, "interpolation"),
}


@torch.inference_mode()
def predict(network: CostReader, maps: Maps, device: str) -> tuple[Tensor, Tensor]:
    """The costs that the network predicts, and the cheapest paths; [m, h, w] both."""
    network.eval()
    costs = []
    for first in range(0, len(maps), MAPS_PER_CHUNK):
        images = np.array(maps.images[first : first + MAPS_PER_CHUNK])
        costs.append(network(torch.from_numpy(images).to(device)))
    network.train()
    read_off = torch.cat(costs)
    return read_off.cpu(), ts.hard.shortest_path(read_off).cpu()


def total_costs(maps: Maps, paths: Tensor) -> Tensor:  # [m], float64
    """The true costs of paths."""
    weights = torch.from_numpy(np.array(maps.weights, dtype=np.float64))
    return (weights * paths).sum((-2, -1))


def compare(maps: Maps, paths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Costs of paths over those of the labels; which cost no more; which are the labels; [m].

    The weights are stored as float16, so that sums which were equal before agree to its resolution.
    """
    truth = torch.from_numpy(np.array(maps.paths))
    ratio = total_costs(maps, paths) / total_costs(maps, truth)
    cheap = ratio <= 1 + torch.finfo(torch.float16).eps
    return ratio, cheap, (paths == truth).flatten(1).all(1)


def evaluate(network: CostReader, maps: Maps, device: str) -> dict[str, float]:
    _, paths = predict(network, maps, device)
    ratio, cheap, exact = compare(maps, paths)
    return {
        "cost_match": cheap.sum().item() / len(maps),
        "exact_match": exact.sum().item() / len(maps),
        "cost_ratio": ratio.mean().item(),
    }


# --- Figures ------------------------------------------------------------------------------------


def draw_learning_curve(training: Training, test: dict[str, float], path: Path) -> None:
    steps = [row["step"] for row in training.history]
    with plotting.style():
        figure = Figure(figsize=(11, 3.8), layout="constrained")
        left, right = figure.subplots(1, 2)

        left.plot(steps, [row["loss"] for row in training.history], ".-", color=plotting.BLUE)
        left.set(title="Training loss", xlabel="step", ylabel="mean loss since the last point")
        left.set_ylim(bottom=0)

        for key, label, colour in (
            ("cost_match", "cost match", plotting.BLUE),
            ("exact_match", "exact match", plotting.ORANGE),
        ):
            values = [row[key] for row in training.history]
            right.plot(steps, values, ".-", color=colour, label=f"{label}, validation")
            right.plot(
                *(training.best["step"], test[key], "D"),
                color=colour,
                markeredgecolor="black",
                label=f"{label}, test ({test[key]:.1%})",
            )
        right.set(title="Predicted paths", xlabel="step", ylabel="share that is right")
        right.set_ylim(0, 1)
        right.yaxis.set_major_formatter(PercentFormatter(1))
        right.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        for axis in (left, right):
            axis.set_xlim(left=0)
        plotting.save(figure, path)


def draw_paths(network: CostReader, maps: Maps, path: Path, device: str) -> None:
    """The first test maps: both paths, the predicted costs, and the true ones."""
    maps = maps[:DRAWN_MAPS]
    costs, paths = predict(network, maps, device)
    truth = torch.from_numpy(np.array(maps.paths))
    optimal, paid = total_costs(maps, truth).tolist(), total_costs(maps, paths).tolist()
    _, cheap, _ = compare(maps, paths)
    with plotting.style():
        figure = Figure(figsize=(8.8, 0.4 + 2.25 * len(maps)), layout="constrained")
        axes = figure.subplots(len(maps), 4, squeeze=False)
        for i, row in enumerate(axes):
            for axis in row:
                axis.set(xticks=[], yticks=[])
                axis.grid(False)
                axis.spines[:].set_visible(False)
            for axis, way, colour in (
                (row[0], truth[i], "white"),
                (row[1], paths[i], "white" if cheap[i] else plotting.RED),
            ):
                axis.imshow(maps.images[i])
                _draw_way(axis, way, colour)
            row[0].set_title(f"cheapest path: {optimal[i]:.1f}", fontsize=9)
            mark, colour = ("✓", plotting.GREEN) if cheap[i] else ("✗", plotting.RED)
            row[1].set_title(f"predicted path: {paid[i]:.1f} {mark}", color=colour, fontsize=9)
            row[2].imshow(costs[i].numpy(), vmin=0)
            row[2].set_title("predicted costs", fontsize=9)
            row[3].imshow(maps.weights[i].astype(np.float32), vmin=0)
            row[3].set_title("true costs", fontsize=9)
        plotting.save(figure, path)


def _draw_way(axis: Axes, way: Tensor, colour: str) -> None:
    row, column = way.nonzero().T.tolist()
    x, y = ([PIXELS_PER_CELL * (place + 0.5) - 0.5 for place in places] for places in (column, row))
    axis.scatter(x, y, s=22, color=colour, edgecolors="black", linewidths=0.8)


# --- The program --------------------------------------------------------------------------------


def inverse(text: str) -> float:
    """The inverse of a positive number or fraction."""
    return 1 / cli.fraction(text)


def build_parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    task = parser.add_argument_group("task")
    task.add_argument(
        "--data",
        choices=("generated", "warcraft"),
        default="generated",
        help="maps that are generated here from a seed, or the published ones, read from files "
        "(default: %(default)s)",
    )
    task.add_argument(
        "--data-root",
        default="data",
        metavar="DIR",
        help="directory for generated maps, or the directory with 12x12/train_maps.npy and the "
        "other files (default: %(default)s)",
    )
    task.add_argument(
        "--grid",
        type=cli.integer_from(2),
        default=12,
        metavar="N",
        help="cells to a side; published are 12, 18, 24 and 30 (default: %(default)s)",
    )
    training = parser.add_argument_group("training")
    training.add_argument(
        "--preset",
        choices=PRESETS,
        default="short",
        help="the defaults of the following options: for minutes on two cores, or those of the "
        "published experiment (default: %(default)s)",
    )
    training.add_argument(
        "--method",
        choices=METHODS,
        default="gss",
        help="source of the gradient of the shortest path: generalized stochastic smoothing (gss), "
        "or for comparison: the loss of perturbed optimizers (fenchel-young), the interpolation of "
        "a solver (blackbox), or no smoothing (perceptron) (default: %(default)s)",
    )
    training.add_argument(
        "--interpolation",
        type=cli.fraction,
        default=0.3,
        metavar="LAMBDA",
        help="of blackbox: how far the costs are moved to find a path that is nearer to the true "
        "one. Published is 20 for the mean over 70 maps, 2/7 for each (default: %(default)s)",
    )
    training.add_argument(
        "--smooth",
        choices=("algorithm", "objective"),
        default="algorithm",
        help="smooth the path and compute the loss of the result, or smooth the loss together with "
        "the path, which works with any loss (default: %(default)s)",
    )
    count = cli.integer_from(1)
    for option, kind, metavar, what in (
        ("train-maps", count, "M", "maps to train with, at most"),
        ("val-maps", count, "M", "maps to validate with, at most"),
        ("test-maps", count, "M", "maps to test with, at most"),
        ("epochs", count, "E", "passes over the maps"),
        ("batch-size", count, "B", "maps per step"),
        ("lr", cli.fraction, "RATE", "learning rate of Adam, at first"),
        ("lr-drops", count, "E", "epochs after which it falls to a tenth"),
    ):
        name = option.replace("-", "_")
        training.add_argument(
            f"--{option}",
            type=kind,
            nargs="*" if name == "lr_drops" else None,
            metavar=metavar,
            help=f"{what} (default: {_defaults(name)})",
        )
    smoothing = cli.add_smoothing_arguments(
        parser, distribution="logistic", scale=1 / 3, num_samples=1024
    )
    smoothing.add_argument(
        "--beta",
        type=inverse,
        dest="scale",
        default=argparse.SUPPRESS,
        metavar="BETA",
        help="inverse of --scale, instead of it",
    )
    cli.add_run_arguments(parser, output="runs/warcraft")
    return parser


def _defaults(name: str) -> str:
    values = {preset: values[name] for preset, values in PRESETS.items()}
    return ", ".join(f"{value} with {preset}" for preset, value in values.items())


def training_step(
    network: CostReader,
    optimizer: torch.optim.Optimizer,
    loss_of: Loss,
    maps: Maps,
    args: argparse.Namespace,
) -> Callable[[int], Tensor]:
    """One step of training, as a function of its number."""
    # Values that differ from step to step are in these, which a CUDA graph reads again.
    blank = functools.partial(torch.zeros, device=args.device)
    seed, rate = blank((), dtype=torch.int64), blank(())
    images = blank((args.batch_size, *maps.images.shape[1:]), dtype=torch.uint8)
    truth = blank((args.batch_size, *maps.size))

    def compute() -> Tensor:
        loss = loss_of(network(images), truth, seed)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    step = CudaGraph(compute, args.device) if args.cuda_graphs else compute
    per_epoch = len(maps) // args.batch_size

    def train(number: int) -> Tensor:
        chosen = batch_of_step(args.seed, number, len(maps), args.batch_size)
        images.copy_(torch.from_numpy(np.array(maps.images[chosen])))
        truth.copy_(torch.from_numpy(np.array(maps.paths[chosen])))
        drops = sum(number >= epoch * per_epoch for epoch in args.lr_drops)
        rate.fill_(args.lr * 0.1**drops)
        for group in optimizer.param_groups:
            # Without a graph a number is faster.
            group["lr"] = rate if args.cuda_graphs else args.lr * 0.1**drops
        seed.fill_(step_seed(args.seed, "train", number))
        return step()

    return train


def main(argv: Sequence[str] | None = None) -> None:
    started = time.perf_counter()
    parser = build_parser()
    args, state = cli.parse(parser, argv, may_change=("data_root", "epochs"))
    cli.require_default(
        parser, args, UNREAD[args.method], f"--method {args.method} does not use it"
    )
    for name, value in PRESETS[args.preset].items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    torch.backends.cudnn.deterministic = True  # or a resumed run could differ in the last bits

    loss_of = METHODS[args.method](args)
    with user_errors(ValueError, TypeError):  # the library checks which settings are compatible
        size = args.grid  # some samplers make only certain numbers of points
        loss_of(torch.ones(1, size, size), torch.eye(size).unsqueeze(0), torch.tensor(0))

    maps = load_data(args)
    pixels = torch.from_numpy(np.array(maps["train"].images[:MAPS_PER_CHUNK]))
    std, mean = torch.std_mean(pixels.float(), (0, 1, 2))
    torch.manual_seed(step_seed(args.seed, "weights", 0))
    network = CostReader(mean, std, amp=args.amp).to(args.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=args.lr, capturable=args.cuda_graphs)
    settings = {name: value for name, value in vars(args).items() if name != "resume"}
    directory = RunDirectory(args.output)
    curve, picture = directory.path / "learning_curve.png", directory.path / "paths.png"
    training = Training(directory, settings, network, optimizer, best_by="cost_match")
    if state is None:
        directory.clear(curve, picture)
    else:
        training.load_state_dict(state)

    def validate() -> dict[str, float]:
        return evaluate(network, maps["val"], args.device)

    per_epoch = len(maps["train"]) // args.batch_size
    training.run(
        args.epochs * per_epoch,
        training_step(network, optimizer, loss_of, maps["train"], args),
        validate,
        eval_every=per_epoch,
        checkpoint_every=per_epoch,
        progress=args.progress,
    )
    training.finish(validate)

    results = training.test(lambda: evaluate(network, maps["test"], args.device))
    best = results["test"]
    draw_learning_curve(training, best, curve)
    draw_paths(network, maps["test"], picture, args.device)
    training.write_result(
        results,
        started=started,
        device=args.device,
        packages=("numpy", "torchvision"),
    )
    print(
        f"cost match {best['cost_match']:.1%}, exact match {best['exact_match']:.1%}, "
        f"cost ratio {best['cost_ratio']:.3f} "
        f"on {len(maps['test'])} test maps (weights of step {training.best['step']} of "
        f"{training.step}); trained {training.seconds:.1f} s; wrote "
        + ", ".join(str(file) for file in (directory.result, curve, picture, directory.best))
    )


if __name__ == "__main__":
    run_program(PROGRAM, main)
