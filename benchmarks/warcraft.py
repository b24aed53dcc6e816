"""Which gradient of shortest paths learns best from the same, small budget, from how many samples?

Trains examples/warcraft.py with smoothing and with the Fenchel-Young loss of perturbed optimizers,
both with 10, 100 and 1000 samples, with the interpolation of black-box solvers, and without any
smoothing: the same network, initial weights, maps, steps, batch size and optimizer. Each but the
last has one parameter; of some values, the one whose paths cost least on the validation maps after
a pilot with seed 0 is taken. The pilots of smoothing also show how the best inverse scale beta
depends on the number of samples. Runs are kept: what is finished is not run again, what was
interrupted is continued.

Needs torchsmooth[benchmarks,examples,warcraft].

    python warcraft.py --data-root data     # writes results/warcraft.json, .md, .png and _beta.png
"""

import argparse
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from timing import RESULTS, interleaved, write
from training_runs import (
    Run,
    difference_interval,
    example,
    interval,
    keep_activations,
    percent,
    train_all,
)

import torchsmooth as ts


TRAIN_MAPS, VALIDATION_MAPS, TEST_MAPS = 2000, 200, 1000
BATCH_SIZE = 20
STEPS_PER_EPOCH = TRAIN_MAPS // BATCH_SIZE
PUBLISHED_MAPS = 50 * 10_000
SAMPLES = (10, 100, 1000)


@dataclass(frozen=True)
class Method:
    options: tuple[str, ...]
    parameter: str | None  # the option that is chosen by the pilot
    values: tuple[str, ...] = ("",)


def smoothing(num_samples: int) -> Method:
    # The published experiment that varies beta has Gaussian noise; its best run has logistic noise.
    options = ("--method", "gss", *sampling(num_samples))
    return Method(options, "--beta", ("1/2", "1", "2", "4"))


def fenchel_young(num_samples: int) -> Method:
    options = ("--method", "fenchel-young", *sampling(num_samples))
    return Method(options, "--beta", ("1/2", "1", "2"))


def sampling(num_samples: int) -> tuple[str, ...]:
    return ("--sampler", "rqmc_latin", "--num-samples", str(num_samples))


METHODS = {
    **{f"gss-{s}": smoothing(s) for s in SAMPLES},
    **{f"fenchel-young-{s}": fenchel_young(s) for s in SAMPLES},
    "blackbox": Method(("--method", "blackbox"), "--interpolation", ("0.03", "0.1", "0.3")),
    "perceptron": Method(("--method", "perceptron"), None),
}


class Runs:
    def __init__(self, root: Path, data_root: Path, pilot_epochs: int, drop_after: int) -> None:
        self.root = root
        self.pilot_epochs = pilot_epochs
        self.common = (
            *("--data-root", str(data_root.resolve()), "--train-maps", str(TRAIN_MAPS)),
            *("--val-maps", str(VALIDATION_MAPS), "--test-maps", str(TEST_MAPS)),
            *("--batch-size", str(BATCH_SIZE), "--lr", "3e-3", "--lr-drops", str(drop_after)),
            *("--device", "cpu", "--threads", "1", "--no-progress"),
        )

    def run(self, name: str, value: str, seed: int) -> Run:
        method = METHODS[name]
        parameter = (method.parameter, value) if method.parameter else ()
        return Run(
            self.root / f"{name}-{value}-{seed}".replace("/", "_"),
            (*method.options, *parameter, "--seed", str(seed), *self.common),
        )

    def pilots(self, name: str) -> list[Run]:
        return [self.run(name, value, 0) for value in METHODS[name].values]

    def piloted(self, name: str) -> dict[str, float] | None:
        """The cost ratio on the validation maps at the end of each pilot; None before that."""
        ratios = {}
        for value, pilot in zip(METHODS[name].values, self.pilots(name), strict=True):
            result = pilot.result(self.pilot_epochs * STEPS_PER_EPOCH)
            if result is None:
                return None
            ratios[value] = result["history"][self.pilot_epochs - 1]["cost_ratio"]
        return ratios

    def chosen(self, name: str) -> str | None:
        ratios = self.piloted(name)
        return min(ratios, key=lambda value: ratios[value]) if ratios else None


def loss_milliseconds(chosen: dict[str, str]) -> dict[str, float]:
    """Forward and backward of the loss alone, costs to their gradient, one thread."""
    program = example("warcraft")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    costs = torch.rand(BATCH_SIZE, 12, 12).add(0.5).requires_grad_()
    truth = ts.hard.shortest_path(torch.rand(BATCH_SIZE, 12, 12))
    seed = torch.tensor(0)
    calls = {}
    for name, value in chosen.items():
        method = METHODS[name]
        parameter = (method.parameter, value) if method.parameter else ()
        args = program.build_parser().parse_args([*method.options, *parameter])
        loss = program.METHODS[args.method](args)
        calls[name] = lambda loss=loss: torch.autograd.grad(loss(costs, truth, seed), costs)
    return {name: 1e3 * seconds for name, seconds in interleaved(calls).items()}


def finished(runs: Runs, seeds: range, steps: int) -> dict[str, tuple[str, list[dict[str, Any]]]]:
    """The methods whose runs are all there: the chosen value, and the result of each seed."""
    methods = {}
    for name in METHODS:
        value = runs.chosen(name)
        if value is None:
            continue
        results = [runs.run(name, value, seed).result(steps) for seed in seeds]
        done = [result for result in results if result and result["history"][-1]["step"] == steps]
        if len(done) == len(seeds):
            methods[name] = value, done
    return methods


def of_test(results: list[dict[str, Any]], metric: str) -> list[float]:
    return [result["results"]["test"][metric] for result in results]


def report(runs: Runs, seeds: range, epochs: int, drop_after: int, workers: int) -> None:
    steps = epochs * STEPS_PER_EPOCH
    methods = finished(runs, seeds, steps)
    match = {name: of_test(results, "cost_match") for name, (_, results) in methods.items()}
    ranking = sorted(methods, key=lambda name: -statistics.mean(match[name]))
    milliseconds = loss_milliseconds({name: value for name, (value, _) in methods.items()})
    best = ranking[0]
    rows, open_to, beaten = [], [], []
    for name in ranking:
        value, results = methods[name]
        differences = [a - b for a, b in zip(match[best], match[name], strict=True)]
        behind, uncertain = (
            statistics.mean(differences),
            difference_interval(differences, match[name], TEST_MAPS),
        )
        if name != best:
            (open_to if behind <= uncertain else beaten).append(name)
        ratios = of_test(results, "cost_ratio")
        seconds = [result["timings"]["training_seconds"] / steps for result in results]
        rows.append(
            {
                "method": name,
                "beta or lambda": value or None,
                "cost match [%]": percent(match[name]),
                "behind the best [points]": None
                if name == best
                else f"{100 * behind:.1f} ± {100 * uncertain:.1f}",
                "exact match [%]": percent(of_test(results, "exact_match")),
                "cost ratio": f"{statistics.mean(ratios):.3f} ± {interval(ratios):.3f}",
                "cost match by seed [%]": ", ".join(f"{100 * m:.1f}" for m in match[name]),
                "step [s]": statistics.mean(seconds),
                "loss [ms]": milliseconds[name],
            }
        )
    pilots = {name: ratios for name in METHODS if (ratios := runs.piloted(name))}
    missing = ", ".join(name for name in METHODS if name not in methods)
    verdict = f"{best} has the best mean cost match"
    if beaten:
        verdict += f", and is ahead of {', '.join(beaten)}"
    if open_to:
        verdict += f"; whether it is better than {', '.join(open_to)} remains open"
    write(
        "warcraft",
        rows,
        [
            f"who wins: {verdict if beaten else 'nobody. ' + verdict}.",
            "behind the best: the mean difference, seed by seed; its 95 % interval covers seeds "
            "and test maps, and is not corrected for the number of comparisons.",
            "this is how training begins: the published runs see "
            f"{PUBLISHED_MAPS // (steps * BATCH_SIZE)} times as many maps.",
            f"budget of every method: {steps} steps of {BATCH_SIZE} out of {TRAIN_MAPS} generated "
            f"maps of 12 x 12 cells, Adam 3e-3, 3e-4 after {drop_after} of {epochs} epochs, seeds "
            f"{seeds[0]} to {seeds[-1]}; a seed decides initial weights and the order of the maps, "
            "the same for all methods. gss and fenchel-young: logistic noise, latin RQMC; gss: "
            "smoothing of the algorithm, leave-one-out. The number behind their names: samples.",
            f"metrics: on {TEST_MAPS} test maps, with the weights of the best validation; mean and "
            "Student's 95 % interval over the seeds. Cost match: predicted paths that cost no more "
            "than the cheapest one. Cost ratio: what predicted paths cost, in units of that.",
            "beta or lambda: the one with the lowest cost ratio on "
            f"{VALIDATION_MAPS} validation maps after {runs.pilot_epochs} epochs with seed 0: "
            + "; ".join(
                f"{name}: " + ", ".join(f"{value} ({ratio:.3f})" for value, ratio in ratios.items())
                for name, ratios in pilots.items()
                if METHODS[name].parameter
            )
            + ".",
            "perceptron: no smoothing at all, the gradient is the difference of both paths.",
            f"step: wall clock, network and looks at the validation maps included, {workers} runs "
            "of one thread at once on a machine that was also used otherwise. loss: forward and "
            "backward of the loss alone, one thread, the minimum of interleaved repetitions.",
            *([f"not run with this budget: {missing}."] if missing else []),
        ],
    )
    draw(methods, ranking, match, RESULTS / "warcraft.png")
    draw_beta(runs, RESULTS / "warcraft_beta.png")


def draw(
    methods: dict[str, tuple[str, list[dict[str, Any]]]],
    ranking: list[str],
    match: dict[str, list[float]],
    path: Path,
) -> None:
    from common import plotting
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    families = {"gss": plotting.BLUE, "fenchel-young": plotting.ORANGE}
    with plotting.style():
        figure = Figure(figsize=(12, 1.8 + 0.36 * len(ranking)), layout="constrained")
        left, right = figure.subplots(1, 2)
        styles = ("-", "--", ":")
        seen: dict[str, int] = {}
        for place, name in enumerate(ranking):
            family = name.rpartition("-")[0]
            colour = families.get(family, plotting.GREEN if name == "blackbox" else plotting.RED)
            mean, height = statistics.mean(match[name]), len(ranking) - 1 - place
            bar = interval(match[name])
            left.errorbar(mean, height, xerr=bar, fmt="D", color=colour, capsize=3)
            left.plot(match[name], [height] * len(match[name]), "o", color="black", markersize=3)

            histories = [result["history"] for result in methods[name][1]]
            kind = seen.setdefault(colour, 0)
            seen[colour] += 1
            right.plot(
                [row["step"] for row in histories[0]],
                [
                    statistics.mean(row["cost_ratio"] for row in rows)
                    for rows in zip(*histories, strict=True)
                ],
                color=colour,
                linestyle=styles[kind],
                marker=".",
                label=name,
            )
        left.set_yticks(range(len(ranking)), list(reversed(ranking)))
        left.set(title="Cost match, test", xlabel="mean, 95 % interval; dots: the seeds")
        left.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        right.set(title="Cost ratio, validation, mean of the seeds", xlabel="step")
        right.set_xlim(left=0)
        right.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        plotting.save(figure, path)


def draw_beta(runs: Runs, path: Path) -> None:
    """How the best inverse scale depends on the number of samples."""
    from common import cli, plotting
    from matplotlib.figure import Figure

    with plotting.style():
        figure = Figure(figsize=(6, 3.8), layout="constrained")
        axis = figure.subplots()
        colours = (plotting.RED, plotting.ORANGE, plotting.BLUE)
        for s, colour in zip(SAMPLES, colours, strict=True):
            ratios = runs.piloted(f"gss-{s}")
            if ratios is None:
                continue
            betas = [cli.fraction(value) for value in ratios]
            axis.plot(betas, list(ratios.values()), ".-", color=colour, label=f"{s} samples")
            axis.set_xscale("log")
            axis.set_xticks(betas, list(ratios))
        axis.minorticks_off()
        axis.set(
            title=f"Smoothing after {runs.pilot_epochs * STEPS_PER_EPOCH} steps, one seed",
            xlabel="inverse scale beta",
            ylabel="cost ratio, validation",
        )
        axis.legend()
        plotting.save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where runs are kept")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--epochs", type=int, default=5, help=f"of {STEPS_PER_EPOCH} steps")
    parser.add_argument("--pilot-epochs", type=int, default=2)
    parser.add_argument("--drop-after", type=int, default=4, help="epochs at the full rate")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="runs at once, of a thread each")
    args = parser.parse_args()
    if args.seeds < 2:
        parser.error(f"--seeds: expected at least 2, for an interval, got {args.seeds}")
    if not 1 <= args.pilot_epochs <= min(args.epochs, args.drop_after):
        parser.error(
            "--pilot-epochs: expected 1 to the smaller of --epochs and --drop-after, got "
            f"{args.pilot_epochs}"
        )

    runs = Runs(args.runs, args.data_root, args.pilot_epochs, args.drop_after)
    seeds = range(args.seeds)

    def train(jobs: list[Run], epochs: int) -> None:
        more = ["--epochs", str(epochs)]
        keep_activations()
        train_all("warcraft", jobs, epochs * STEPS_PER_EPOCH, more, args.workers)

    train([pilot for name in args.methods for pilot in runs.pilots(name)], args.pilot_epochs)
    chosen = {name: runs.chosen(name) or "" for name in args.methods}
    train([runs.run(name, chosen[name], s) for s in seeds for name in args.methods], args.epochs)
    report(runs, seeds, args.epochs, args.drop_after, args.workers)


if __name__ == "__main__":
    main()
