"""Which way to differentiate sorting learns best from the same, small budget?

Trains examples/mnist_sort.py on sets of 5 four-digit MNIST numbers with every method: the same
network, initial weights, numbers, steps, batch size and optimizer. Each method has one parameter of
softness: of three values, the one with the best element-wise accuracy (less noisy than exact match)
on the validation split after a short pilot with seed 0. Runs are kept: what is finished is not run
again, what was interrupted is continued.

Needs torchsmooth[benchmarks,examples,mnist].

    python mnist_sort.py --data-root data     # writes results/mnist_sort.json, .md and .png
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


BATCH_SIZE = 10
N = 5
PILOT_STEPS = 150
TEST_SETS = 2000
PUBLISHED_SETS = 100_000 * 100


@dataclass(frozen=True)
class Method:
    options: tuple[str, ...]
    softness: str  # the option that is chosen by the pilot
    values: tuple[str, ...]


# Among these the published experiments choose the scale of smoothing.
VALUES = ("1", "1/3", "0.1")


def smoothing(distribution: str) -> Method:
    options = ("--method", "gss", "--distribution", distribution, "--num-samples", "1024")
    return Method(options, "--scale", VALUES)


def rival(name: str, values: tuple[str, ...] = VALUES) -> Method:
    return Method(("--method", name), "--temperature", values)


METHODS = {
    "gss-logistic": smoothing("logistic"),
    "gss-laplace": smoothing("laplace"),
    "gss-cauchy": smoothing("cauchy"),
    "diffsort-cauchy": rival("diffsort-cauchy"),
    "diffsort-optimal": rival("diffsort-optimal"),
    "neuralsort": rival("neuralsort"),
    "softsort": rival("softsort"),
    "softrank": rival("softrank"),
    "diffsort-logistic": rival("diffsort-logistic"),
    # Relative to squared distances in [0, 1].
    "ot-sort": rival("ot-sort", ("0.1", "0.03", "0.01")),
    "perturbed": rival("perturbed"),
}


class Runs:
    def __init__(self, root: Path, data_root: Path) -> None:
        self.root = root
        self.data_root = data_root.resolve()

    def run(self, name: str, value: str, seed: int) -> Run:
        method = METHODS[name]
        options = (
            *(*method.options, method.softness, value, "--seed", str(seed), "--lr", "1e-3"),
            *("--batch-size", str(BATCH_SIZE), "--num-images", str(N), "--data", "mnist"),
            *("--eval-every", str(PILOT_STEPS), "--checkpoint-every", "50"),
        )
        return Run(self.root / f"{name}-{value}-{seed}".replace("/", "_"), options)

    def train(self, runs: list[Run], steps: int, workers: int) -> None:
        more = ["--data-root", str(self.data_root), "--steps", str(steps)]
        more += ["--device", "cpu", "--threads", "1", "--no-progress"]
        keep_activations()
        train_all("mnist_sort", runs, steps, more, workers)

    def pilots(self, name: str) -> list[Run]:
        return [self.run(name, value, 0) for value in METHODS[name].values]

    def chosen(self, name: str) -> str | None:
        """The value that a method did best with after its pilots; None before they are done."""
        looks = {}
        for value, pilot in zip(METHODS[name].values, self.pilots(name), strict=True):
            result = pilot.result(PILOT_STEPS)
            if result is None:
                return None
            looks[value] = result["history"][0]["element_wise"]
        return max(looks, key=lambda value: looks[value])


def loss_milliseconds(chosen: dict[str, str]) -> dict[str, float]:
    """Forward and backward of the loss alone, scores to their gradient, one thread."""
    program = example("mnist_sort")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    scores = torch.randn(BATCH_SIZE, N, requires_grad=True)
    truth = ts.hard.argsort(torch.randn(BATCH_SIZE, N))
    seed = torch.tensor(0)
    calls = {}
    for name, value in chosen.items():
        method = METHODS[name]
        args = program.build_parser().parse_args([*method.options, method.softness, value])
        loss = program.METHODS[args.method](args)
        calls[name] = lambda loss=loss: torch.autograd.grad(loss(scores, truth, seed), scores)
    return {name: 1e3 * seconds for name, seconds in interleaved(calls).items()}


def finished(runs: Runs, seeds: range, steps: int) -> dict[str, tuple[str, list[dict[str, Any]]]]:
    """The methods whose runs are all there: the chosen value, and the result of each seed."""
    methods = {}
    for name in METHODS:
        value = runs.chosen(name)
        results = [runs.run(name, value, seed).result(steps) for seed in seeds] if value else []
        done = [result for result in results if result and result["history"][-1]["step"] == steps]
        if value and len(done) == len(seeds):
            methods[name] = value, done
    return methods


def accuracies(results: list[dict[str, Any]], metric: str) -> list[float]:
    return [result["results"]["test"][metric] for result in results]


def report(runs: Runs, seeds: range, steps: int, workers: int) -> None:
    methods = finished(runs, seeds, steps)
    exact = {name: accuracies(results, "exact_match") for name, (_, results) in methods.items()}
    ranking = sorted(methods, key=lambda name: -statistics.mean(exact[name]))
    milliseconds = loss_milliseconds({name: value for name, (value, _) in methods.items()})
    best = ranking[0]
    rows, open_to, beaten = [], [], []
    for name in ranking:
        value, results = methods[name]
        differences = [a - b for a, b in zip(exact[best], exact[name], strict=True)]
        behind, uncertain = (
            statistics.mean(differences),
            difference_interval(differences, exact[name], TEST_SETS),
        )
        if name != best:
            (open_to if behind <= uncertain else beaten).append(name)
        timings = [result["timings"] for result in results]
        rows.append(
            {
                "method": name,
                "temperature or scale": value,
                "exact match [%]": percent(exact[name]),
                "behind the best [points]": None
                if name == best
                else f"{100 * behind:.1f} ± {100 * uncertain:.1f}",
                "element-wise [%]": percent(accuracies(results, "element_wise")),
                "exact match by seed [%]": ", ".join(f"{100 * e:.1f}" for e in exact[name]),
                "step [s]": statistics.mean(t["training_seconds"] for t in timings) / steps,
                "loss [ms]": milliseconds[name],
            }
        )
    missing = ", ".join(name for name in METHODS if name not in methods)
    verdict = f"{best} has the best mean exact match"
    if beaten:
        verdict += f", and is ahead of {', '.join(beaten)}"
    if open_to:
        verdict += f"; whether it is better than {', '.join(open_to)} remains open"
    write(
        "mnist_sort",
        rows,
        [
            f"who wins: {verdict if beaten else 'nobody. ' + verdict}.",
            "behind the best: the mean difference, seed by seed; its 95 % interval covers seeds "
            "and test sets, and is not corrected for the number of comparisons.",
            "this is how training begins: the published runs see "
            f"{PUBLISHED_SETS // (steps * BATCH_SIZE)} times as many sets.",
            f"budget of every method: {steps} steps of {BATCH_SIZE} sets of {N} four-digit MNIST "
            f"numbers, Adam 1e-3, seeds {seeds[0]} to {seeds[-1]}; a seed decides initial weights "
            "and numbers, the same for all methods. gss: 1024 samples, sobol, leave-one-out.",
            f"accuracies: on {TEST_SETS} test sets, with the weights of the best validation; mean "
            "and Student's 95 % interval over the seeds.",
            "temperature or scale: the best element-wise accuracy on 500 validation sets after "
            f"the first {PILOT_STEPS} steps with seed 0, out of "
            + "; ".join(
                f"{', '.join(values)} for "
                + ", ".join(name for name in ranking if METHODS[name].values == values)
                for values in dict.fromkeys(METHODS[name].values for name in ranking)
            )
            + ".",
            "gss: smoothing, this package; diffsort: sorting networks, their authors' package.",
            "loss: the cross entropy of the permutation matrix; softrank has none, its loss is "
            "the squared error of the ranks.",
            f"step: wall clock, network and looks at the validation sets included, {workers} runs "
            "of one thread at once on a machine that was also used otherwise. loss: forward and "
            "backward of the loss alone, one thread, the minimum of interleaved repetitions.",
            *([f"not run with this budget: {missing}."] if missing else []),
        ],
    )
    draw(methods, ranking, exact, RESULTS / "mnist_sort.png")


def draw(
    methods: dict[str, tuple[str, list[dict[str, Any]]]],
    ranking: list[str],
    exact: dict[str, list[float]],
    path: Path,
) -> None:
    from common import plotting
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    with plotting.style():
        figure = Figure(figsize=(12, 1.8 + 0.36 * len(ranking)), layout="constrained")
        left, right = figure.subplots(1, 2)
        colours = {}
        for name in ranking:
            colours[name] = plotting.BLUE if name.startswith("gss") else plotting.ORANGE
        for place, name in enumerate(reversed(ranking)):
            mean, colour = statistics.mean(exact[name]), colours[name]
            left.errorbar(mean, place, xerr=interval(exact[name]), fmt="D", color=colour, capsize=3)
            left.plot(exact[name], [place] * len(exact[name]), "o", color="black", markersize=3)
        left.set_yticks(range(len(ranking)), list(reversed(ranking)))
        left.set(title="Exact match, test", xlabel="mean, 95 % interval; dots: the seeds")
        left.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))

        styles = ("-", "--", ":", "-.")
        seen = dict.fromkeys(colours.values(), 0)
        for name in ranking:
            histories = [result["history"] for result in methods[name][1]]
            steps = [row["step"] for row in histories[0]]
            means = [
                statistics.mean(row["exact_match"] for row in rows)
                for rows in zip(*histories, strict=True)
            ]
            kind = seen[colours[name]]
            seen[colours[name]] += 1
            right.plot(
                *(steps, means),
                color=colours[name],
                linestyle=styles[kind % len(styles)],
                marker=".s^"[kind // len(styles)],
                label=name,
            )
        right.set(title="Exact match, validation, mean of the seeds", xlabel="step")
        right.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        right.set_xlim(left=0)
        right.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        plotting.save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where runs are kept")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="runs at once, of a thread each")
    args = parser.parse_args()
    if args.seeds < 2:
        parser.error(f"--seeds: expected at least 2, for an interval, got {args.seeds}")

    runs, seeds = Runs(args.runs, args.data_root), range(args.seeds)
    # A choice is made by validation alone: the accuracy of a pilot on the test split is not used.
    pilots = [pilot for name in args.methods for pilot in runs.pilots(name)]
    runs.train(pilots, PILOT_STEPS, args.workers)
    chosen = {name: runs.chosen(name) or "" for name in args.methods}
    jobs = [runs.run(*choice, seed) for seed in seeds for choice in chosen.items()]
    runs.train(jobs, args.steps, args.workers)
    report(runs, seeds, args.steps, args.workers)


if __name__ == "__main__":
    main()
