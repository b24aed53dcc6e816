"""Find the pose of a camera from the outline that it saw.

A camera looks at the Utah teapot. Its distance, elevation, azimuth and angle of view are unknown,
and 64 x 64 pixels show its outline. The pose starts elsewhere and is moved until the outlines
agree. Pixels are 0 or 1, so that rendering has no gradient; under noise of the pose it has one.
Either the renderer is smoothed and the loss gets the expected image (--smooth algorithm), or the
loss is smoothed together with the renderer (--smooth objective). Many seeds, with different poses,
run in one batch.

    python examples/teapot_pose.py                                  # some minutes on two CPU cores
    python examples/teapot_pose.py --distribution cauchy --sampler rqmc_latin --covariate fx
    python examples/teapot_pose.py --resume runs/teapot_pose        # after Ctrl-C, a crash, kill -9
    python examples/teapot_pose.py --preset full --device cuda --cuda-graphs    # as published

The experiment is that of arXiv 2410.08125, section 4.4 and appendix D. True poses are uniform on
the sphere, at a distance in [2.5, 4], with half a field of view of 20 degrees. The start is 15 to
75 degrees from there, farther by -0.5 to 6, with an angle of view in [10, 30]. Adam (betas 0.5 and
0.99) changes distance and degrees at the same rate, which falls along a cosine; the noise falls by
the same factor in every step. A seed succeeds if the directions of the found and the true camera
differ by less than 5 degrees. The interval of the success rate is Wilson's, 95 %.

The teapot is as long as the published one, 2.05, and the middle of its box is the origin. Where the
true camera is nearer than 3.1, handle or spout may leave the image; with --size 1.6 neither does.

The output directory gets result.json, optimization.png (loss and success over the steps), poses.png
(what is seen from the start, the true and the found pose), optimization.gif (one seed on its way),
checkpoint.pt, and best.pt (the poses at the step with most successes). The result is that of the
last step. Exit codes: 0 done, 2 wrong arguments, 130 interrupted (Ctrl-C) and saved.
"""

import argparse
import functools
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


# Read when torch is loaded: threads that wait for others sleep. Spinning, as they do by default,
# costs nothing on an idle machine and makes this program several times slower on a busy one.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from common import cli, plotting
from common.cuda_graph import CudaGraph
from common.errors import UserError, run_program, user_errors
from common.run_directory import RunDirectory
from common.seeding import step_seed
from common.training import Training
from matplotlib import colors
from matplotlib.animation import PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import LogFormatter, PercentFormatter
from scipy import stats
from torch import Tensor, nn

import torchsmooth as ts
from torchsmooth.meshes import Mesh


PROGRAM = Path(__file__).name
SUCCESS = 5.0  # degrees
BETAS = (0.5, 0.99)
# Of distance, elevation, azimuth and half the field of view; the exponents of 10 at both ends.
NOISE = (0.1, 5.0, 5.0, 0.25)
NOISE_EXPONENTS = (0.75, -1.75)
LOOKS = 100  # at the poses on their way, at most
DRAWN_SEEDS = 6
LEAST_DRAWN_PIXELS = 256
FRAMES_PER_SECOND = 12

# short: minutes on two cores. full: the published experiment.
PRESETS = {
    "short": dict(seeds=64, num_samples=64),
    "full": dict(seeds=768, num_samples=256),
}


# --- Poses --------------------------------------------------------------------------------------


def direction(
    pose: Tensor,  # [..., 4]
) -> Tensor:  # [..., 3], float64
    """The direction of the camera, seen from the origin; of length 1."""
    _, elevation, azimuth, _ = torch.deg2rad(pose.double()).unbind(-1)
    horizontal = elevation.cos()
    return torch.stack(
        (horizontal * azimuth.sin(), elevation.sin(), -horizontal * azimuth.cos()), -1
    )


def pose_at(
    where: Tensor,  # [..., 3], of length 1
    distance: Tensor,  # [...]
    view: Tensor,  # [...], half the field of view, in degrees
) -> Tensor:  # [..., 4]
    """The pose of a camera in this direction."""
    x, y, z = where.unbind(-1)
    elevation = torch.rad2deg(torch.atan2(y, torch.hypot(x, z)))
    azimuth = torch.rad2deg(torch.atan2(x, -z))
    return torch.stack((distance, elevation, azimuth, view), -1)


def angle_between(
    pose: Tensor,  # [..., 4]
    other: Tensor,  # [..., 4]
) -> Tensor:  # [...], float64
    """The angle between the directions of two cameras, in degrees."""
    a, b = torch.broadcast_tensors(direction(pose), direction(other))
    # The arc cosine of the product would lose half of the digits near 0.
    sine = torch.linalg.vector_norm(torch.linalg.cross(a, b), dim=-1)
    return torch.rad2deg(torch.atan2(sine, (a * b).sum(-1)))


def draw_poses(seed: int, count: int) -> tuple[Tensor, Tensor]:
    """The true poses and the starts of the search for them, [count, 4] both, in float64."""
    generator = torch.Generator().manual_seed(step_seed(seed, "poses", 0))

    def uniform(low: float, high: float) -> Tensor:
        points = torch.rand(count, dtype=torch.float64, generator=generator)
        return low + (high - low) * points

    def on_circle(angle: Tensor) -> Tensor:
        return torch.stack((angle.cos(), angle.sin()), -1)

    distance = uniform(2.5, 4)
    height, around = uniform(-1, 1), uniform(-math.pi, math.pi)  # Archimedes: uniform on the sphere
    x, z = ((1 - height.square()).sqrt()[:, None] * on_circle(around)).unbind(-1)
    truth = pose_at(torch.stack((x, height, z), -1), distance, torch.full_like(distance, 20))

    # Away from the true direction by `turn`, along any of the great circles through it.
    turn, way = torch.deg2rad(uniform(15, 75)), on_circle(uniform(-math.pi, math.pi))
    here = direction(truth)
    _, elevation, azimuth, _ = torch.deg2rad(truth).unbind(-1)
    east = torch.stack((azimuth.cos(), torch.zeros_like(azimuth), azimuth.sin()), -1)
    north = torch.stack(
        (
            -elevation.sin() * azimuth.sin(),
            elevation.cos(),
            elevation.sin() * azimuth.cos(),
        ),
        -1,
    )
    aside = way[:, :1] * east + way[:, 1:] * north
    there = turn.cos()[:, None] * here + turn.sin()[:, None] * aside
    return truth, pose_at(there, distance + uniform(-0.5, 6), uniform(10, 30))


class Poses(nn.Module):
    """The true poses, the current poses, and the poses at earlier evaluations."""

    def __init__(self, seed: int, count: int, looks: int) -> None:
        super().__init__()
        truth, start = draw_poses(seed, count)
        self.truth, self.start = nn.Buffer(truth.float()), nn.Buffer(start.float())
        self.pose = nn.Parameter(start.float())
        self.passed = nn.Buffer(torch.zeros(looks, count, 4))  # the poses at each evaluation

    @torch.no_grad()
    def angles(self) -> Tensor:
        """From each pose to the true one, in degrees; [seeds] in float64 on the CPU."""
        return angle_between(self.pose.cpu(), self.truth.cpu())


def load_mesh(args: argparse.Namespace) -> Mesh:
    with user_errors(ValueError, OSError, ImportError):
        mesh = ts.meshes.load(args.mesh) if args.mesh else ts.meshes.teapot(args.level)
        mesh = mesh.normalized()
    vertices = mesh.vertices * (args.size / 2)
    return Mesh(vertices.to(args.device), mesh.faces.to(args.device))


# --- Losses, schedules, metrics -------------------------------------------------------------------

# poses [b, 4], the silhouettes to match [b, N, N], scale of the noise [4], seed [] -> losses [b]
Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def squared_distance(
    images: Tensor,  # [..., N, N]
    targets: Tensor,  # [..., N, N]
) -> Tensor:  # [...]
    """Of silhouettes, the number of pixels that differ."""
    return (images - targets).square().sum((-2, -1))


def smoothed_loss(args: argparse.Namespace, mesh: Mesh) -> Loss:
    """The loss of the expected image, or the expected loss of an image.

    The two ways to smooth l(h(pose)), the renderer being h: l(E[h]) and E[l(h)] (arXiv 2410.08125,
    section 2.3).
    """
    law = ts.LAWS[args.distribution]
    _, sampling = cli.smoothing(args)
    view: dict[str, Any] = {"image_size": args.image_size}

    def of_image(poses: Tensor, targets: Tensor) -> Tensor:
        return squared_distance(ts.hard.render(poses, *mesh, **view), targets)

    def of_algorithm(poses: Tensor, targets: Tensor, scale: Tensor, seed: Tensor) -> Tensor:
        noise = law(scale=scale)
        expected = ts.functional.render(
            poses, mesh.vertices, mesh.faces, noise, seed=seed, **view, **sampling
        )
        return squared_distance(expected, targets)

    def of_objective(poses: Tensor, targets: Tensor, scale: Tensor, seed: Tensor) -> Tensor:
        result: Tensor = ts.smooth(of_image, law(scale=scale), seed=seed, **sampling)(
            poses, targets
        )
        return result

    return {"algorithm": of_algorithm, "objective": of_objective}[args.smooth]


def noise_scale(step: int, steps: int, factor: float) -> Tensor:  # [4]
    """The diagonal of the noise: the first in step 0, the last in the last one."""
    first, last = NOISE_EXPONENTS
    exponent = first + (last - first) * step / max(steps - 1, 1)
    return torch.tensor(NOISE) * (factor * 10**exponent)


def learning_rate(step: int, steps: int, first: float) -> float:
    """Half a cosine, which would be 0 after the last step."""
    return first * (1 + math.cos(math.pi * step / steps)) / 2


def success_rate(angles: Tensor) -> tuple[float, tuple[float, float]]:
    """The share of seeds that succeed, and its interval."""
    return share(int((angles < SUCCESS).sum()), len(angles))


def share(successes: int, trials: int) -> tuple[float, tuple[float, float]]:
    """With its 95 % interval (Wilson's)."""
    low, high = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return successes / trials, (float(low), float(high))


# --- Figures ------------------------------------------------------------------------------------


def draw_optimization(training: Training, poses: Poses, path: Path) -> None:
    steps = [row["step"] for row in training.history]
    rates = [row["success"] for row in training.history]
    seeds = len(poses.truth)
    intervals = [share(round(rate * seeds), seeds)[1] for rate in rates]
    with plotting.style():
        figure = Figure(figsize=(14, 3.8), layout="constrained")
        left, middle, right = figure.subplots(1, 3)

        left.semilogy(steps, [row["loss"] for row in training.history], color=plotting.BLUE)
        left.set(title="Loss", xlabel="step", ylabel="mean squared difference per pixel")

        middle.plot(steps, rates, color=plotting.BLUE)
        middle.fill_between(
            steps, *zip(*intervals, strict=True), color=plotting.BLUE, alpha=0.2, linewidth=0
        )
        middle.set(
            title=f"Success: {rates[-1]:.1%} of {seeds} seeds",
            xlabel="step",
            ylabel=f"share within {SUCCESS:g}°, 95 % interval",
        )
        middle.set_ylim(0, 1)
        middle.yaxis.set_major_formatter(PercentFormatter(1))

        starts = angle_between(poses.start, poses.truth)
        right.plot(starts.cpu().numpy(), poses.angles().numpy(), ".")
        right.axhline(
            SUCCESS, color=plotting.RED, linewidth=1, label=f"success: below {SUCCESS:g}°"
        )
        right.set_yscale("log")
        right.set(
            title="Each seed",
            xlabel="degrees from the truth at the start",
            ylabel="degrees from the truth at the end",
        )
        right.legend()
        right.yaxis.set_major_formatter(LogFormatter())  # degrees are plain numbers
        right.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False))
        for axis in (left, middle):
            axis.set_xlim(left=0)
        plotting.save(figure, path)


def draw_poses_seen(poses: Poses, mesh: Mesh, size: int, path: Path) -> None:
    """The first seeds: the mesh from the three poses, and where the outlines differ."""
    angles, starts = poses.angles(), angle_between(poses.start.cpu(), poses.truth.cpu())
    count = min(DRAWN_SEEDS, len(angles))
    three = torch.stack((poses.start, poses.truth, poses.pose.detach()), 1)[:count]
    seen = _shaded(three, mesh, size)
    outlines = ts.hard.render(three, *mesh, image_size=size).cpu().numpy()
    with plotting.style():
        figure = Figure(figsize=(8.4, 0.3 + 2.25 * count), layout="constrained")
        axes = figure.subplots(count, 4, squeeze=False)
        for i, row in enumerate(axes):
            for axis, image in zip(row, seen[i], strict=False):
                _show(axis, image)
            _show_difference(row[3], outlines[i, 2], outlines[i, 1])
            row[0].set_title(f"start, {starts[i]:.0f}° away", fontsize=9)
            row[1].set_title("true pose", fontsize=9)
            mark, colour = ("✓", plotting.GREEN) if angles[i] < SUCCESS else ("✗", plotting.RED)
            row[2].set_title(f"found, {angles[i]:.1f}° away {mark}", color=colour, fontsize=9)
            row[3].set_title("outlines", fontsize=9)
            if i + 1 < count:
                row[3].set_xlabel("")  # the last row has the legend of the colours
        plotting.save(figure, path)


def draw_animation(
    training: Training, poses: Poses, mesh: Mesh, size: int, looks: Sequence[int], path: Path
) -> None:
    """The first seed that succeeds on its way; the first one if none does."""
    chosen = int((poses.angles() < SUCCESS).double().argmax())
    way = torch.cat((poses.passed[: len(looks), chosen], poses.pose.detach()[chosen, None]))
    truth = poses.truth[chosen]
    angles = angle_between(way.cpu(), truth.cpu())
    seen = _shaded(way, mesh, size)
    outlines = ts.hard.render(way, *mesh, image_size=size).cpu().numpy()
    target = ts.hard.render(truth, *mesh, image_size=size).cpu().numpy()
    with plotting.style():
        figure = Figure(figsize=(6, 3.2))
        left, right = figure.subplots(1, 2)
        figure.subplots_adjust(left=0.02, right=0.98, bottom=0.06, top=0.92, wspace=0.04)
        picture, difference = _show(left, seen[0]), _show_difference(right, outlines[0], target)
        writer = PillowWriter(fps=FRAMES_PER_SECOND)
        steps = [*looks, training.step]
        with writer.saving(figure, str(path), dpi=80):
            for i, step in enumerate(steps):
                picture.set_data(seen[i])
                difference.set_data(outlines[i] + 2 * target)
                left.set_title(f"step {step}", fontsize=10)
                right.set_title(f"{angles[i]:.1f}° away", fontsize=10)
                for _ in range(FRAMES_PER_SECOND if step == steps[-1] else 1):  # stop and look
                    writer.grab_frame()


def _shaded(poses: Tensor, mesh: Mesh, size: int) -> np.ndarray:
    """A shaded picture for the figure, with more pixels than the optimizer needs."""
    pixels = max(size, LEAST_DRAWN_PIXELS)
    return ts.hard.render(poses, *mesh, image_size=pixels, output="lambert").cpu().numpy()


def _show(axis: Axes, image: np.ndarray, **more: Any) -> AxesImage:
    axis.set(xticks=[], yticks=[])
    axis.grid(False)
    axis.spines[:].set_visible(True)
    return axis.imshow(image, **{"cmap": "gray", "vmin": 0, "vmax": 1, **more})


def _show_difference(axis: Axes, found: np.ndarray, target: np.ndarray) -> AxesImage:
    """Pixels that both outlines cover, only the found one, and only the true one."""
    palette = colors.ListedColormap(["white", plotting.ORANGE, plotting.BLUE, "#888888"])
    axis.set_xlabel("only found: orange; only true: blue", fontsize=7, labelpad=2)
    return _show(axis, found + 2 * target, cmap=palette, vmax=3, interpolation="nearest")


# --- The program --------------------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        PROGRAM,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        conflict_handler="resolve",  # --num-samples is redefined: its default depends on the preset
    )
    count = cli.integer_from(1)
    task = parser.add_argument_group("task")
    task.add_argument(
        "--mesh",
        metavar="FILE",
        help="the mesh that the camera sees, an OBJ, PLY or STL file (default: the teapot)",
    )
    task.add_argument(
        "--level",
        type=count,
        default=6,
        help="pieces that a side of the teapot's patches is cut into (default: %(default)s, 2256 "
        "triangles)",
    )
    task.add_argument(
        "--size",
        type=cli.fraction,
        default=2.05,
        help="the longest side of the mesh's box (default: %(default)s)",
    )
    task.add_argument(
        "--image-size",
        type=count,
        default=64,
        metavar="N",
        help="rows and columns of the image (default: %(default)s)",
    )
    optimization = parser.add_argument_group("optimization")
    optimization.add_argument(
        "--preset",
        choices=PRESETS,
        default="short",
        help="the defaults of --seeds and --num-samples: for minutes on two cores, or those of the "
        "published experiment (default: %(default)s)",
    )
    optimization.add_argument(
        "--smooth",
        choices=("algorithm", "objective"),
        default="algorithm",
        help="smooth the renderer and compute the loss of the image, or smooth the loss together "
        "with the renderer, which works with any loss (default: %(default)s)",
    )
    optimization.add_argument(
        "--seeds",
        type=count,
        metavar="B",
        help=f"poses to find, all at once (default: {_defaults('seeds')})",
    )
    optimization.add_argument(
        "--schedule",
        type=count,
        default=1000,
        metavar="T",
        help="steps in which learning rate and noise fall from first to last (default: "
        "%(default)s)",
    )
    optimization.add_argument(
        "--steps",
        type=count,
        metavar="T",
        help="stop after this many steps, to be continued with --resume (default: all)",
    )
    optimization.add_argument(
        "--lr",
        type=cli.fraction,
        default=0.3,
        metavar="RATE",
        help="learning rate of Adam, at first (default: %(default)s)",
    )
    optimization.add_argument(
        "--checkpoint-every",
        type=count,
        default=100,
        metavar="T",
        help="steps between two checkpoints (default: %(default)s)",
    )
    smoothing = cli.add_smoothing_arguments(
        parser, distribution="logistic", scale=1.0, num_samples=0
    )
    smoothing.add_argument(
        "--scale",
        type=cli.fraction,
        default=1.0,
        metavar="GAMMA",
        help="factor of the published scales of the noise, a number or a fraction such as 1/3 "
        "(default: %(default)s)",
    )
    smoothing.add_argument(
        "--num-samples",
        type=count,
        metavar="S",
        help=f"images per seed and step (default: {_defaults('num_samples')})",
    )
    cli.add_run_arguments(parser, output="runs/teapot_pose")
    return parser


def _defaults(name: str) -> str:
    return ", ".join(f"{values[name]} with {preset}" for preset, values in PRESETS.items())


def optimization_step(
    poses: Poses,
    optimizer: torch.optim.Optimizer,
    loss_of: Loss,
    targets: Tensor,  # [seeds, N, N]
    look_every: int,
    args: argparse.Namespace,
) -> Callable[[int], Tensor]:
    """One step for all poses, as a function of its number; the loss is the mean over the pixels."""
    # Values that differ from step to step are in these, which a CUDA graph reads again.
    blank = functools.partial(torch.zeros, device=args.device)
    seed, rate, scale = blank((), dtype=torch.int64), blank(()), blank(4)

    def compute() -> Tensor:
        losses = loss_of(poses.pose, targets, scale, seed)
        optimizer.zero_grad()
        # The sum: Adam's change of a pose must not depend on the number of poses.
        losses.sum().backward()
        optimizer.step()
        return losses.detach().sum() / targets.numel()

    step = CudaGraph(compute, args.device) if args.cuda_graphs else compute

    def optimize(number: int) -> Tensor:
        if number % look_every == 0:
            poses.passed[number // look_every] = poses.pose.detach()
        seed.fill_(step_seed(args.seed, "optimize", number))
        scale.copy_(noise_scale(number, args.schedule, args.scale))
        lr = learning_rate(number, args.schedule, args.lr)
        rate.fill_(lr)
        for group in optimizer.param_groups:
            group["lr"] = rate if args.cuda_graphs else lr  # without a graph a number is faster
        return step()

    return optimize


def main(argv: Sequence[str] | None = None) -> None:
    started = time.perf_counter()
    parser = build_parser()
    args, state = cli.parse(parser, argv)
    cli.require_default(parser, args, ("amp",), "poses are optimized in float32")
    if args.mesh:
        cli.require_default(parser, args, ("level",), "it is of the teapot, not of --mesh")
    for name, value in PRESETS[args.preset].items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.steps is None:
        args.steps = args.schedule
    if args.steps > args.schedule:
        raise UserError(
            f"--steps: expected at most {args.schedule}, the steps of --schedule, got "
            f"{args.steps}; lower it, or start anew with a longer --schedule"
        )
    if args.threads is not None:
        torch.set_num_threads(args.threads)

    mesh = load_mesh(args)
    loss_of = smoothed_loss(args, mesh)
    look_every = math.ceil(args.schedule / LOOKS)
    poses = Poses(args.seed, args.seeds, math.ceil(args.schedule / look_every)).to(args.device)
    with user_errors(ValueError, TypeError):  # the library checks which settings are compatible
        targets = ts.hard.render(poses.truth, *mesh, image_size=args.image_size)
        loss_of(
            poses.truth[:1],
            targets[:1],
            noise_scale(0, args.schedule, args.scale).to(args.device),
            torch.tensor(0, device=args.device),
        )
    optimizer = torch.optim.Adam(
        poses.parameters(), lr=args.lr, betas=BETAS, capturable=args.cuda_graphs
    )
    settings = {name: value for name, value in vars(args).items() if name != "resume"}
    directory = RunDirectory(args.output)
    names = ("optimization.png", "poses.png", "optimization.gif")
    curve, picture, animation = figures = [directory.path / name for name in names]
    training = Training(directory, settings, poses, optimizer, best_by="success")
    if state is None:
        directory.clear(*figures)
    else:
        training.load_state_dict(state)

    def look() -> dict[str, float]:
        angles = poses.angles()
        return {"success": success_rate(angles)[0], "median_angle": angles.median().item()}

    training.run(
        args.steps,
        optimization_step(poses, optimizer, loss_of, targets, look_every, args),
        look,
        eval_every=look_every,
        checkpoint_every=args.checkpoint_every,
        progress=args.progress,
    )
    training.finish(look)

    looks = range(0, training.step, look_every)
    draw_optimization(training, poses, curve)
    draw_poses_seen(poses, mesh, args.image_size, picture)
    draw_animation(training, poses, mesh, args.image_size, looks, animation)
    angles, starts = poses.angles(), angle_between(poses.start.cpu(), poses.truth.cpu())
    rate, interval = success_rate(angles)
    training.write_result(
        {
            "success": rate,
            "success_interval": interval,
            "median_angle": angles.median().item(),
            "start_angles": starts.tolist(),
            "angles": angles.tolist(),
            "true_poses": poses.truth.tolist(),
            "found_poses": poses.pose.tolist(),
        },
        started=started,
        device=args.device,
        packages=("matplotlib", "numpy", "scipy"),
    )
    print(
        f"success {rate:.1%} (95 % interval {interval[0]:.1%} to {interval[1]:.1%}) of "
        f"{len(angles)} seeds after step {training.step} of {args.schedule}, median angle "
        f"{angles.median():.1f} degrees; optimized {training.seconds:.1f} s; wrote "
        + ", ".join(str(file) for file in (directory.result, *figures))
    )


if __name__ == "__main__":
    run_program(PROGRAM, main)
